import asyncio
import os
import socket

import aiomqtt
import pytest

from gateway.broker import EmbeddedBroker, find_nats_server, stop_process
from gateway.errors import LinkError


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


async def test_it_starts_on_free_ports_and_carries_qos1(tmp_path):
    async with EmbeddedBroker(tmp_path / "a") as broker, EmbeddedBroker(tmp_path / "b") as other:
        assert broker.mqtt_port not in {0, other.mqtt_port}
        assert broker.url == f"mqtt://127.0.0.1:{broker.mqtt_port}"
        async with aiomqtt.Client("127.0.0.1", broker.mqtt_port) as client:
            await client.subscribe("x/+", qos=1)
            await client.publish("x/1", b"hello", qos=1)
            message = await anext(aiter(client.messages))
            assert message.payload == b"hello"


async def test_stop_ends_the_process_and_frees_the_port(tmp_path):
    broker = EmbeddedBroker(tmp_path)
    await broker.start()
    pid, port = broker.pid, broker.mqtt_port
    assert accepts(port)
    await broker.stop()
    assert not accepts(port)
    assert broker.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await broker.stop()  # a second stop has nothing to do


async def test_a_restart_keeps_what_a_session_has_not_taken(tmp_path):
    broker = EmbeddedBroker(tmp_path)
    async with (
        broker,
        aiomqtt.Client("127.0.0.1", broker.mqtt_port, identifier="keeper", clean_session=False) as client,
    ):
        await client.subscribe("x", qos=1)
    ports = broker.port, broker.mqtt_port
    async with broker, aiomqtt.Client("127.0.0.1", broker.mqtt_port) as client:
        await client.publish("x", b"while away", qos=1)
    async with (
        broker,
        aiomqtt.Client("127.0.0.1", broker.mqtt_port, identifier="keeper", clean_session=False) as client,
    ):
        message = await asyncio.wait_for(anext(aiter(client.messages)), 5)
        assert message.payload == b"while away"
        assert (broker.port, broker.mqtt_port) == ports


async def test_a_taken_port_is_told_with_the_log(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        broker = EmbeddedBroker(tmp_path, mqtt_port=taken.getsockname()[1])
        with pytest.raises(LinkError, match="address already in use"):
            await broker.start()
        assert broker.pid is None


async def test_a_folder_with_quotes_and_blanks_is_no_trap(tmp_path):
    async with EmbeddedBroker(tmp_path / 'a "b" c') as broker:
        assert accepts(broker.mqtt_port)


def test_the_binary_is_the_installed_one():
    assert os.access(find_nats_server(), os.X_OK)


async def test_a_process_that_ignores_the_signal_is_killed():
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", "trap '' TERM; echo ready; exec sleep 30", stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"ready\n"
    assert await stop_process(process, 0.1) == -9
