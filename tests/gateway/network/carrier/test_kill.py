"""Servers and processes that are killed: nothing that returned is lost, nothing comes twice, readers go on."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import time
from contextlib import aclosing
from pathlib import Path

import nats
import pytest

from gateway.network.carrier.base import Carrier, CarrierError, Message
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig
from gateway.units import Duration
from tests.gateway.network.carrier.conftest import Place
from tests.gateway.network.carrier.test_contract import gathered, soon
from tests.torture.proxy import Proxy

_WRITER = """
import asyncio, sys
from pathlib import Path
from gateway.network.carrier.local import LocalCarrier

async def main():
    carrier = LocalCarrier(Path(sys.argv[1]))
    await carrier.open()
    number = int(sys.argv[2])
    while True:
        numbers = range(number, number + 20)
        await asyncio.gather(*(carrier.publish("up/me/w", b"%d" % n, f"w/{n}") for n in numbers))
        await carrier.put("facts", "n", b"%d" % (number + 19))
        number += 20
        print(number, flush=True)

asyncio.run(main())
"""


async def _lives(folder: Path, first: int) -> int:
    """Let a writer write from a number on, and kill it; the number up to which it had said that all is stored."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(folder), str(first), stdout=asyncio.subprocess.PIPE
    )
    said = first
    async with asyncio.timeout(30):
        while said < first + 60:
            said = int(await process.stdout.readline())
        await asyncio.sleep(random.uniform(0, 0.03))
    process.kill()
    rest = await process.stdout.read()
    await process.wait()
    return int(rest.splitlines()[-1]) if rest else said


async def test_a_writer_killed_at_any_moment_has_lost_nothing(folder_place: Place) -> None:
    """It begins again where it was last told that all is well, under the same ids."""
    carrier, folder = await folder_place.carrier(), Path(folder_place.url.removeprefix("local:"))
    found, said = list[Message](), 0
    async with aclosing(carrier.consume("up/me/**")) as messages:
        for _ in range(6):
            said = await _lives(folder, said)
            assert int((await carrier.get("facts", "n")).value) >= said - 1
        found = await gathered(messages, said)
        await carrier.publish("up/me/w", b"end")
        while found[-1].payload != b"end":
            found += await gathered(messages, 1)
    numbers = [int(m.payload) for m in found[:-1]]
    assert sorted(numbers) == list(range(len(numbers)))
    assert len(numbers) >= said
    assert [m.seq for m in found] == sorted({m.seq for m in found})


async def test_another_process_is_noticed_while_one_waits(folder_place: Place) -> None:
    carrier, folder = await folder_place.carrier(), Path(folder_place.url.removeprefix("local:"))
    async with aclosing(carrier.watch("facts")) as entries, aclosing(carrier.consume("up/**")) as messages:
        assert await soon(entries) == []
        waiting = asyncio.create_task(gathered(messages, 20))
        await _lives(folder, 0)
        assert (await soon(entries))[0].key == "n"
        assert len(await waiting) >= 20


async def _publish(carrier: Carrier, count: int, pause_s: float) -> None:
    """As a node does: again under the same id until it is confirmed."""

    async def one(number: int) -> None:
        while True:
            try:
                await carrier.publish(f"up/me/{number % 3}", b"%d" % number, f"p/{number}")
            except CarrierError:
                await asyncio.sleep(0.1)
            else:
                return

    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(one(number))
            await asyncio.sleep(pause_s)


async def test_a_server_killed_under_load_and_back_again(server_place: Place) -> None:
    writer, reader = await server_place.carrier(), await server_place.carrier()
    count = 1500
    async with aclosing(reader.consume("up/me/**")) as messages, aclosing(reader.watch("facts")) as entries:
        assert await soon(entries) == []
        publishing = asyncio.create_task(_publish(writer, count, 0.002))
        reading = asyncio.create_task(_all(messages, count))
        for number in range(2):
            await asyncio.sleep(0.7)
            await _written(writer, b"%d" % number)
            server_place.server.kill()
            await asyncio.sleep(0.3)
            assert not writer.up
            with pytest.raises(CarrierError):
                await writer.get("facts", "k")
            await server_place.server.start()
        await _written(writer, b"end")
        async with asyncio.timeout(60):
            await publishing
            found = await reading
            told = []
            while not told or told[-1].value != b"end":
                told += await soon(entries)
    assert sorted(int(m.payload) for m in found) == list(range(count))
    assert [m.seq for m in found] == sorted({m.seq for m in found})
    assert [e.revision for e in told] == sorted({e.revision for e in told})
    assert writer.up


async def _all(messages, count: int) -> list[Message]:
    found = list[Message]()
    while len(found) < count:
        found += await anext(messages)
    return found


async def _written(carrier: Carrier, value: bytes) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await carrier.put("facts", "k", value)
            except CarrierError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_what_happened_while_a_reader_was_cut_off_is_told(server_place: Place) -> None:
    proxy = Proxy(server_place.server.client_port)
    async with proxy.running():
        writer = await server_place.carrier()
        reader = carrier_of(CarrierConfig(url=f"nats://127.0.0.1:{proxy.port}", timeout=Duration(5)), "far")
        await reader.open()
        for key in "abc":
            await writer.put("services", key, b"1")
        async with (
            aclosing(reader.watch("services")) as entries,
            aclosing(reader.consume("up/**")) as messages,
            aclosing(reader.hear("w/*")) as words,
        ):
            assert len(await soon(entries)) == 3
            await writer.publish("up/me/a", b"1")
            await gathered(messages, 1)
            await proxy.cut()
            await writer.put("services", "a", b"2")
            await writer.delete("services", "b")
            await writer.put("services", "d", b"1")
            await writer.delete("services", "d")
            await writer.publish("up/me/a", b"2")
            await proxy.heal()
            assert {(e.key, e.value) for e in await soon(entries)} == {("a", b"2"), ("b", None)}
            assert [m.payload for m in await gathered(messages, 1)] == [b"2"]
            await writer.put("services", "b", b"3")
            assert [(e.key, e.value) for e in await soon(entries)] == [("b", b"3")]
            await writer.tell("w/x", b"still")
            async with asyncio.timeout(5):
                assert (await anext(words)).payload == b"still"
            assert await consumers(server_place.url) == 2
        await asyncio.sleep(0.3)
        assert await consumers(server_place.url) == 0
        await reader.close()


async def consumers(url: str) -> int:
    """How many the server has, once those of connections that were cut are gone: it forgets them in a minute."""
    client = await nats.connect(url)
    try:
        streams = client.jetstream()
        return sum(
            [len([c for c in await streams.consumers_info(s.config.name) if c.num_waiting])
             for s in await streams.streams_info()]
        )  # fmt: skip
    finally:
        await client.close()


async def test_a_server_that_stands_still_is_given_up(server_place: Place) -> None:
    """It is stopped, not ended: nobody closes the connection."""
    carrier = await server_place.carrier()
    await carrier.publish("up/me/a", b"1")
    process = server_place.server._process
    async with aclosing(carrier.consume("up/**")) as messages:
        assert len(await gathered(messages, 1)) == 1
        os.kill(process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(CarrierError):
                await carrier.publish("up/me/a", b"2", "id")
        finally:
            os.kill(process.pid, signal.SIGCONT)
        await _published(carrier, b"2", "id")
        assert [m.payload for m in await gathered(messages, 1)] == [b"2"]
        await _published(carrier, b"3", "id3")
        assert [m.payload for m in await gathered(messages, 1)] == [b"3"]


async def _published(carrier: Carrier, payload: bytes, message_id: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await carrier.publish("up/me/a", payload, message_id)
            except CarrierError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_a_server_that_was_set_up_anew_is_furnished_again(server_place: Place) -> None:
    """Its numbers are above all that were there before, so that readers see what comes."""
    carrier, server = await server_place.carrier(), server_place.server
    before = await carrier.publish("up/me/a", b"1", "id")
    async with aclosing(carrier.consume("up/**")) as messages:
        assert (await gathered(messages, 1))[0].seq == before
        server.kill()
        shutil.rmtree(server.folder / "js")
        await asyncio.sleep(1.01 - time.time() % 1)  # a stream begins with the second in which it is made
        await server.start()
        await _published(carrier, b"2", "id2")
        (message,) = await gathered(messages, 1)
        assert message.payload == b"2"
        assert message.seq > before
        await _written(carrier, b"value")
