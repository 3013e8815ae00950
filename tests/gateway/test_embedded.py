"""``broker: embedded`` through the whole daemon: users, permissions, supervision, TLS."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
from pathlib import Path

import aiomqtt
import pytest
import trustme

from gateway.broker_config import subjects
from gateway.config import load
from gateway.errors import ConfigError
from tests.support.daemon import daemon, json_lines, samples_of

CONFIG = """
broker: {broker}
adapters:
  bus:
    type: mqtt
    url: embedded
    subscribe: [{{topic: "site/{{device}}/telemetry", points: {{v: {{}}}}}}]
pipelines: {{all: {{from: ["**"], to: [out]}}}}
uplinks: {{out: {{type: file, path: {out}}}}}
"""
USERS = """
  listen: 127.0.0.1:{port}
  users:
    m1: {{password: secret, publish: ["site/m1/#"], subscribe: ["site/m1/set"]}}
"""


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def config(folder, broker):
    return CONFIG.format(broker=broker, out=folder / "out")


def values(folder, point="m1/v"):
    return [sample["value"] for sample in samples_of(json_lines(folder / "out"), point)]


def runs(pid):
    """Whether it does anything: an entry that nobody has collected yet has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


async def up(running):
    return await running.until(lambda s: s["adapters"]["bus"]["link"] == "up" and s["broker"]["link"] == "up")


async def test_devices_publish_to_a_box_without_a_broker(tmp_path, port):
    async with daemon(tmp_path, config(tmp_path, f"{{listen: '127.0.0.1:{port}'}}")) as running:
        await up(running)
        async with aiomqtt.Client("127.0.0.1", port) as device:
            await device.publish("site/m1/telemetry", b'{"v": 5}', qos=1)
        await running.until(lambda _: values(tmp_path) == [5.0])
        assert await asyncio.to_thread(running.stop) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the broker outlived the gateway"


async def test_users_may_do_what_they_may_and_nothing_else(tmp_path, port):
    async with daemon(tmp_path, config(tmp_path, USERS.format(port=port))) as running:
        await up(running)
        async with aiomqtt.Client("127.0.0.1", port, username="m1", password="secret") as device:
            with contextlib.suppress(aiomqtt.MqttError):  # a broker may also close on what it denies
                await device.publish("site/m2/telemetry", b'{"v": 1}', qos=0)
                await device.publish("site/m1/telemetry", b'{"v": 2}', qos=1)
        async with aiomqtt.Client("127.0.0.1", port, username="m1", password="secret") as device:
            await device.publish("site/m1/telemetry", b'{"v": 3}', qos=1)
        await running.until(lambda _: values(tmp_path)[-1:] == [3.0])
        assert values(tmp_path, "m2/v") == []
        for login in ({}, {"username": "m1", "password": "wrong"}):
            with pytest.raises(aiomqtt.MqttError):
                await aiomqtt.Client("127.0.0.1", port, timeout=3, **login).__aenter__()
        conf = running.state / "broker" / "nats.conf"
        assert conf.stat().st_mode & 0o077 == 0


async def test_a_broker_that_dies_is_started_again_and_keeps_what_was_not_taken(tmp_path, port):
    async with daemon(tmp_path, config(tmp_path, f"{{listen: '127.0.0.1:{port}'}}")) as running:
        status = await up(running)
        os.kill(status["broker"]["pid"], signal.SIGKILL)
        await running.until(lambda s: s["broker"]["starts"] == 2 and s["adapters"]["bus"]["link"] == "up", 30)
        async with aiomqtt.Client("127.0.0.1", port) as device:
            await device.publish("site/m1/telemetry", b'{"v": 7}', qos=1)
        await running.until(lambda _: values(tmp_path) == [7.0])


async def test_after_a_kill_of_the_gateway_its_orphan_is_ended(tmp_path, port):
    async with daemon(tmp_path, config(tmp_path, f"{{listen: '127.0.0.1:{port}'}}")) as running:
        before = (await up(running))["broker"]["pid"]
        running.kill()
        await running.start()
        after = (await up(running))["broker"]["pid"]
        assert after != before
        await running.until(lambda _: not runs(before))


async def test_devices_connect_by_tls(tmp_path, port):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    (tmp_path / "cert.pem").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    options = f"{{listen: '127.0.0.1:{port}', cert: {tmp_path}/cert.pem, key: {tmp_path}/key.pem}}"
    text = config(tmp_path, options).replace("url: embedded", f"url: embedded\n    ca: {tmp_path}/ca.pem")
    async with daemon(tmp_path, text) as running:
        await up(running)
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        async with aiomqtt.Client("127.0.0.1", port, tls_context=context) as device:
            await device.publish("site/m1/telemetry", b'{"v": 8}', qos=1)
        await running.until(lambda _: values(tmp_path) == [8.0])


def problem(tmp_path, text):
    (tmp_path / "c.yaml").write_text("gateway: g\n" + text)
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "c.yaml", {})
    return str(refused.value)


def test_a_broker_for_everybody_needs_users(tmp_path):
    assert "name the users" in problem(tmp_path, "broker: {listen: '0.0.0.0:1883'}\n")


def test_embedded_without_a_broker_is_refused(tmp_path):
    bus = "adapters: {bus: {type: mqtt, url: embedded, subscribe: [{topic: a, device: a}]}}\n"
    assert "broker: embedded" in problem(tmp_path, bus)


@pytest.mark.parametrize("text", ["embeded", "{listen: 1883}", "{cert: a.pem}", "{users: {x: {}}}"])
def test_bad_options_are_named(tmp_path, text):
    assert "broker" in problem(tmp_path, f"broker: {text}\n")


def test_filters_as_subjects():
    assert subjects(["site/+/up", "a/#", "v1.2/x"]) == ["site.*.up", "a", "a.>", "v1//2.x"]
    assert subjects(["#"]) == subjects(None) == [">"]
    assert subjects([]) == []
