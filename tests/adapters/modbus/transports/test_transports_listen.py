"""Modems that dial in: registration, heartbeats, new calls, and whoever has no business here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
from pymodbus.framer import FramerType
from pymodbus.server import ModbusTcpServer

from adapters.modbus.config import Register
from gateway.quality import Reason
from gateway.units import Duration
from tests.adapters.modbus.peers import device, frame, good, modbus, point, registers, shared
from tests.adapters.modbus.test_serial import reasons_of, sealed
from tests.support.context import RecordingContext, running

POINTS = {"a": point("holding:7")}


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def endpoint(port, pattern, framing="rtu", devices=None, timeout=10.0, heartbeat="", **more):
    register = Register(pattern=pattern, timeout=Duration(timeout), heartbeat=heartbeat)
    url = f"listen+tcp://127.0.0.1:{port}?framing={framing}"
    return modbus(url, devices or {"m": device(points=POINTS)}, register=register, **more).create()


async def listening(ctx, port):
    """Connect as soon as the adapter listens."""
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await ctx.until(lambda: True)
            await asyncio.sleep(0.005)


class Modem:
    """Dials in, registers with ``packets`` and answers RTU requests by ``answer(request)``: pieces of bytes."""

    def __init__(self, ctx, port, *packets, answer=None, tcp=False):
        self.ctx, self.port, self.packets, self.tcp = ctx, port, packets, tcp
        self.answer = answer or (lambda unit, pdu, sealing: [sealing(good(pdu))])
        self.gone = asyncio.Event()
        self.asked = 0

    async def __aenter__(self):
        self.reader, self.writer = await listening(self.ctx, self.port)
        for packet in self.packets:
            if isinstance(packet, float):
                await asyncio.sleep(packet)
            else:
                self.writer.write(packet)
        self.task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def _request(self):
        """Unit, PDU, and what makes a frame of an answer."""
        if not self.tcp:
            request = await self.reader.readexactly(8)
            return request[0], request[1:6], lambda pdu: sealed(request[0], pdu)
        transaction, _, length, unit = struct.unpack(">HHHB", await self.reader.readexactly(7))
        return unit, await self.reader.readexactly(length - 1), lambda pdu: frame(transaction, unit, pdu)

    async def _serve(self):
        try:
            while True:
                request = await self._request()
                self.asked += 1
                for item in self.answer(*request):
                    self.writer.write(item)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()


def good_values(ctx, name="m/a"):
    return {value for _, value, quality in ctx.samples(name) if quality == 0}


@pytest.mark.parametrize(
    ("pattern", "packets"),
    [
        ("feeder-7", [b"feeder-7"]),
        (r"IMEI:\d{15}\r\n", [b"IMEI:490154203237518\r\n"]),
        (r"\x7e\x01.{2}\xff", [b"\x7e\x01\x0d\x0a\xff"]),
        ("Zähler", ["Zähler".encode()]),
        (r"modem-\d+", [b"mod", 0.1, b"em-7", 0.01, b"7"]),
    ],
)
async def test_a_modem_that_registers_is_read(port, pattern, packets):
    ctx = RecordingContext()
    async with running(endpoint(port, pattern), ctx), Modem(ctx, port, *packets):
        await ctx.until(lambda: len(ctx.frames) >= 2)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}
    assert not ctx.stats.reasons
    up = [detail for name, up, detail in ctx.links if name == "" and up]
    assert up[0].startswith("127.0.0.1:")
    assert " as b'" in up[0]


@pytest.mark.parametrize("tcp", [False, True])
async def test_heartbeats_are_ignored_wherever_they_come(port, tcp):
    beat = b"\xfe\xfeBEAT"

    def answer(unit, pdu, sealing):
        return [beat + beat + sealing(good(pdu)) + beat]

    ctx = RecordingContext()
    adapter = endpoint(port, "m", "tcp" if tcp else "rtu", heartbeat=r"\xfe\xfeBEAT", timeout=0.5)
    async with running(adapter, ctx), Modem(ctx, port, b"m", answer=answer, tcp=tcp) as modem:
        await ctx.until(lambda: len(ctx.frames) >= 2)
        for _ in range(5):
            modem.writer.write(beat)
            seen = len(ctx.frames)
            await ctx.until(lambda seen=seen: len(ctx.frames) > seen)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}
    assert set(ctx.stats.reasons) <= {"late-answer"}


async def test_without_a_heartbeat_pattern_one_spoils_a_tcp_answer_and_no_value(port):
    beats = [b"BEATBEAT"]

    def answer(unit, pdu, sealing):
        return [beats.pop() if beats else b"", sealing(good(pdu))]

    ctx = RecordingContext()
    async with running(endpoint(port, "m", "tcp"), ctx), Modem(ctx, port, b"m", answer=answer, tcp=True):
        await ctx.until(lambda: len(ctx.frames) >= 3)
    assert reasons_of(ctx, "m/a")[0] is Reason.MALFORMED_ANSWER
    assert good_values(ctx) == {7.0}


@pytest.mark.parametrize(
    ("packets", "reason"),
    [
        ([b"feeder-8"], "unknown-registration"),
        ([b"feeder-77"], "unknown-registration"),
        ([b"x" * 300], "unknown-registration"),
        ([b"GET / HTTP/1.1\r\n\r\n"], "unknown-registration"),
        ([b"feeder-7", 0.01, b"7"], "unknown-registration"),
        ([], "no-registration"),
    ],
)
async def test_who_is_not_known_is_refused_closed_and_counted(port, packets, reason, monkeypatch, caplog):
    monkeypatch.setattr("adapters.modbus.listen._PATIENCE_S", 0.1)
    ctx = RecordingContext()
    async with running(endpoint(port, "feeder-7", timeout=0.15), ctx):
        async with Modem(ctx, port, *packets) as stranger:
            await asyncio.wait_for(stranger.gone.wait(), 5)
            assert stranger.asked == 0
        assert ctx.stats.reasons == {reason: 1}
        assert not any(up for _, up, _ in ctx.links)
        async with Modem(ctx, port, b"feeder-7"):
            await ctx.until(lambda: good_values(ctx) == {7.0})
    assert ctx.stats.reasons == {reason: 1}
    assert sum(reason in record.getMessage() for record in caplog.records) == 1


async def test_a_caller_that_leaves_before_it_registers_is_counted(port):
    ctx = RecordingContext()
    async with running(endpoint(port, "m"), ctx):
        _, writer = await listening(ctx, port)
        writer.close()
        await writer.wait_closed()
        await ctx.until(lambda: ctx.stats.reasons["no-registration"] == 1)


async def test_callers_that_reset_at_once_do_no_harm(port):
    ctx = RecordingContext()
    async with running(endpoint(port, "m"), ctx), Modem(ctx, port, b"m"):
        await ctx.until(lambda: good_values(ctx))
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as caller:
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await ctx.until(lambda: ctx.stats.reasons.total() == 20)
        seen = len(ctx.frames)
        await ctx.until(lambda: len(ctx.frames) > seen + 2)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}


async def test_too_many_callers_are_refused_and_the_modem_gets_through_later(port, monkeypatch):
    monkeypatch.setattr("adapters.modbus.listen._CALLERS", 2)
    ctx = RecordingContext()
    async with running(endpoint(port, "m"), ctx):
        first, second = await listening(ctx, port), await listening(ctx, port)
        async with Modem(ctx, port) as third:
            await asyncio.wait_for(third.gone.wait(), 5)
        assert ctx.stats.reasons == {"too-many-callers": 1}
        for _, writer in (first, second):
            writer.close()
            await writer.wait_closed()
        await ctx.until(lambda: ctx.stats.reasons["no-registration"] == 2)
        async with Modem(ctx, port, b"m"):
            await ctx.until(lambda: good_values(ctx) == {7.0})


async def test_a_modem_that_dials_anew_replaces_its_dead_connection(port):
    def silent(unit, pdu, sealing):
        return []

    ctx = RecordingContext()
    async with running(endpoint(port, "m", timeout=0.5), ctx):
        async with Modem(ctx, port, b"m", answer=silent) as dead:
            await ctx.until(lambda: dead.asked)
            async with Modem(ctx, port, b"m") as alive:
                await ctx.until(lambda: good_values(ctx) == {7.0})
                await asyncio.wait_for(dead.gone.wait(), 5)
                assert alive.asked
        assert [up for name, up, _ in ctx.links if name == ""][:3] == [True, False, True]
        assert any("anew" in detail for _, up, detail in ctx.links if not up)


async def test_a_modem_that_goes_is_one_bad_sample_until_it_is_back(port, monkeypatch):
    monkeypatch.setattr("adapters.modbus.adapter.CONNECT_S", 0.05)
    ctx = RecordingContext()
    async with running(endpoint(port, "m"), ctx) as task:
        await ctx.until(lambda: reasons_of(ctx, "m/a") == [Reason.LINK_DOWN])
        assert ctx.links[0] == ("", False, "no modem has dialled in")
        for _ in range(2):
            async with Modem(ctx, port, b"m"):
                await ctx.until(lambda: ctx.samples("m/a")[-1][1:] == (7.0, 0))
            await ctx.until(lambda: reasons_of(ctx, "m/a")[-1] is Reason.LINK_DOWN)
            await asyncio.sleep(0.1)
            assert not task.done(), "to wait for a call is no error"
    assert reasons_of(ctx, "m/a").count(Reason.LINK_DOWN) == 3


async def test_adapters_share_a_port_and_each_gets_its_own_modem(port, monkeypatch):
    monkeypatch.setattr("adapters.modbus.listen._PATIENCE_S", 0.1)

    def fill(value):
        return lambda unit, pdu, sealing: [sealing(good(pdu, value))]

    contexts = [RecordingContext(name) for name in ("north", "south")]
    north, south = contexts
    async with running(endpoint(port, "north-[0-9]"), north):
        async with (
            running(endpoint(port, "south-[0-9]", "tcp"), south),
            Modem(south, port, b"south-1", answer=fill(2), tcp=True),
            Modem(north, port, b"north-1", answer=fill(1)),
        ):
            await north.until(lambda: good_values(north))
            await south.until(lambda: good_values(south))
            assert (good_values(north), good_values(south)) == ({1.0}, {2.0})
        # the one that is left has the port still, and nobody answers for the other
        async with Modem(north, port, b"south-1") as stranger:
            await asyncio.wait_for(stranger.gone.wait(), 5)
        assert north.stats.reasons == {"unknown-registration": 1}
    assert not south.stats.reasons
    with socket.create_server(("127.0.0.1", port)):
        pass  # the port is free again


async def test_who_fits_two_is_refused(port):
    one, two = RecordingContext("one"), RecordingContext("two")
    async with (
        running(endpoint(port, "m.*"), one),
        running(endpoint(port, ".*7"), two),
        Modem(one, port, b"m-7") as both,
    ):
        await asyncio.wait_for(both.gone.wait(), 5)
    counted = one.stats.reasons + two.stats.reasons
    assert counted == {"ambiguous-registration": 1}
    assert not one.frames
    assert not two.frames


async def test_a_port_that_is_taken_is_an_error(port):
    ctx = RecordingContext()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(OSError, match=r"in use"):
        await endpoint(port, "m").run(ctx)
    assert reasons_of(ctx, "m/a") == [Reason.LINK_DOWN]
    async with running(endpoint(port, "m"), ctx), Modem(ctx, port, b"m"):
        await ctx.until(lambda: good_values(ctx) == {7.0})


@pytest.mark.parametrize("framing", ["rtu", "ascii", "tcp"])
async def test_a_pymodbus_server_behind_a_modem_is_read(port, framing):
    """The modem is transparent: what it relays are the frames of a server that others wrote."""
    kind = FramerType.SOCKET if framing == "tcp" else FramerType(framing)
    server = ModbusTcpServer([shared(1, registers(range(20)))], framer=kind, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    ctx = RecordingContext()
    try:
        async with running(endpoint(port, "relay", framing), ctx):
            near = await listening(ctx, port)
            far = await asyncio.open_connection("127.0.0.1", server.transport.sockets[0].getsockname()[1])
            near[1].write(b"relay")
            relays = [asyncio.create_task(relay(near[0], far[1])), asyncio.create_task(relay(far[0], near[1]))]
            await ctx.until(lambda: len(ctx.frames) >= 2)
        await asyncio.gather(*relays)
    finally:
        await server.shutdown()
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}


async def relay(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1024):
            writer.write(data)
    writer.close()
