"""RTU over a pseudo-terminal pair: a pymodbus serial server, and a scripted line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty

import numpy as np
import pytest
from pymodbus.framer import FramerRTU
from pymodbus.server import ModbusSerialServer

from gateway.errors import LinkError
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.peers import Peer, device, good, modbus, point, registers, shared
from tests.support.context import RecordingContext, running

POINTS = {"a": point("holding:7"), "f": point("input:4", "uint32")}


def sealed(unit, pdu):
    body = bytes([unit]) + pdu
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def reasons_of(ctx, name):
    values = np.array([value for _, value, _ in ctx.samples(name)])
    return [Reason(int(code)) for code in reason_codes(values)]


@contextlib.contextmanager
def pty_pair():
    master, slave = os.openpty()
    tty.setraw(master)
    tty.setraw(slave)
    try:
        yield master, slave
    finally:
        for fd in (master, slave):
            with contextlib.suppress(OSError):
                os.close(fd)


@contextlib.asynccontextmanager
async def scripted_line(script):
    """A line whose other end answers each request (unit, pdu) with ``script``'s pieces of bytes."""
    loop = asyncio.get_running_loop()
    tasks = set()
    with pty_pair() as (master, slave):
        buffer = bytearray()

        async def answer(unit, pdu):
            for item in script(unit, pdu):
                if isinstance(item, float):
                    await asyncio.sleep(item)
                else:
                    os.write(master, item)

        def readable():
            buffer.extend(os.read(master, 1024))
            while len(buffer) >= 8:
                request, buffer[:8] = bytes(buffer[:8]), b""
                task = loop.create_task(answer(request[0], request[1:6]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        loop.add_reader(master, readable)
        try:
            yield f"rtu://{os.ttyname(slave)}?baudrate=115200"
        finally:
            loop.remove_reader(master)
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_pymodbus_serial_server_is_read():
    left_master, left = os.openpty()
    right_master, right = os.openpty()
    fds = [left_master, left, right_master, right]
    for fd in fds:
        tty.setraw(fd)
    loop = asyncio.get_running_loop()
    loop.add_reader(left_master, lambda: os.write(right_master, os.read(left_master, 1024)))
    loop.add_reader(right_master, lambda: os.write(left_master, os.read(right_master, 1024)))
    server = ModbusSerialServer(
        [shared(1, registers(range(50))), shared(2, registers(range(100, 150)))],
        port=os.ttyname(right),
        baudrate=19200,
    )
    await server.serve_forever(background=True)
    ctx = RecordingContext()
    try:
        url = f"rtu://{os.ttyname(left)}?baudrate=19200"
        devices = {"m": device(1, points=POINTS), "n": device(2, points=POINTS)}
        async with running(modbus(url, devices, timeout=0.5).create(), ctx):
            await ctx.until(lambda: len(ctx.samples("m/a")) >= 3 and len(ctx.samples("n/a")) >= 3)
    finally:
        await server.shutdown()
        loop.remove_reader(left_master)
        loop.remove_reader(right_master)
        for fd in fds:
            os.close(fd)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}
    assert {s[1:] for s in ctx.samples("m/f")} == {(float(4 << 16 | 5), 0)}
    assert {s[1:] for s in ctx.samples("n/a")} == {(107.0, 0)}


LINES = {
    "noise before": lambda u, p: [b"\x00\xff\x01", sealed(u, good(p))],
    "echo": lambda u, p: [sealed(u, p), sealed(u, good(p))],
    "pieces": lambda u, p: [sealed(u, good(p))[:2], 0.005, sealed(u, good(p))[2:4], 0.005, sealed(u, good(p))[4:]],
    "noise behind": lambda u, p: [sealed(u, good(p)) + b"\x00\x01"],
    "another unit first": lambda u, p: [sealed(u + 1, good(p, 99)), 0.005, sealed(u, good(p))],
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
async def test_an_answer_is_found_among_what_a_line_adds(name):
    async with scripted_line(LINES[name]) as url:
        ctx = RecordingContext()
        async with running(modbus(url, {"m": device(points=POINTS)}, timeout=0.3).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 3)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}
    assert ctx.stats.reasons.keys() <= {"late-answer"}


BROKEN = {
    "crc": lambda u, p: [sealed(u, good(p, 99))[:-1] + b"\x00"],
    "count": lambda u, p: [sealed(u, b"\x03\x04\0\x63\0\x63")],
    "unit": lambda u, p: [sealed(u + 1, good(p, 99))],
    "cut": lambda u, p: [sealed(u, good(p, 99))[:-3]],
    "nothing": lambda u, p: [],
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_is_a_bad_sample_and_the_line_recovers(name):
    count = 0

    def script(unit, pdu):
        nonlocal count
        count += 1
        return BROKEN[name](unit, pdu) if count == 2 else [sealed(unit, good(pdu))]

    async with scripted_line(script) as url:
        ctx = RecordingContext()
        points = {"a": POINTS["a"]}
        async with running(modbus(url, {"m": device(points=points)}, timeout=0.1).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 4)
    assert {v for _, v, quality in ctx.samples("m/a") if quality == 0} == {7.0}
    why = reasons_of(ctx, "m/a")[:4]
    assert why[1] in {Reason.TIMEOUT, Reason.MALFORMED_ANSWER}
    assert [why[0], *why[2:]] == [Reason.NONE] * 3


async def test_a_late_answer_on_a_line_is_not_taken_for_the_next():
    count = 0

    def script(unit, pdu):
        nonlocal count
        count += 1
        return [0.15, sealed(unit, good(pdu, 99))] if count == 2 else [sealed(unit, good(pdu))]

    async with scripted_line(script) as url:
        ctx = RecordingContext()
        points = {"a": POINTS["a"]}
        async with running(modbus(url, {"m": device(points=points)}, timeout=0.1).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 4)
    assert {v for _, v, quality in ctx.samples("m/a") if quality == 0} == {7.0}
    assert ctx.stats.reasons == {"timeout": 1, "late-answer": 1}


async def test_exceptions_come_over_a_line_too():
    async with scripted_line(lambda u, p: [sealed(u, bytes([p[0] | 0x80, 6]))]) as url:
        ctx = RecordingContext()
        async with running(modbus(url, {"m": device(points=POINTS)}).create(), ctx):
            await ctx.until(lambda: ctx.frames)
    assert reasons_of(ctx, "m/a")[0] is Reason.DEVICE_BUSY


async def test_a_line_that_goes_is_a_link_error():
    with pty_pair() as (master, slave):
        name = os.ttyname(slave)
        ctx = RecordingContext()
        adapter = modbus(f"rtu://{name}", {"m": device(points=POINTS)}).create()
        task = asyncio.create_task(adapter.run(ctx))
        await ctx.until(lambda: ("", True, "") in ctx.links)
        os.close(master)
        with pytest.raises((LinkError, OSError)):
            await asyncio.wait_for(task, 5)
    assert reasons_of(ctx, "m/a")[-1] is Reason.LINK_DOWN


async def test_settings_that_a_device_refuses_are_a_link_error():
    with pty_pair() as (_, slave):
        ctx = RecordingContext()
        url = f"rtu://{os.ttyname(slave)}?parity=E"  # a pseudo-terminal has no parity
        with pytest.raises(LinkError, match="settings"):
            await modbus(url, {"m": device(points=POINTS)}).create().run(ctx)
    assert reasons_of(ctx, "m/a") == [Reason.LINK_DOWN]


async def test_a_device_file_that_is_not_there_is_an_error():
    ctx = RecordingContext()
    with pytest.raises(OSError, match="onpath-no-such-line"):
        await modbus("rtu:///dev/onpath-no-such-line", {"m": device(points=POINTS)}).create().run(ctx)


async def test_rtu_frames_go_through_a_tcp_serial_server():
    ctx = RecordingContext()

    class RtuPeer(Peer):
        async def _serve(self, reader, writer):
            try:
                while True:
                    request = await reader.readexactly(8)
                    writer.write(sealed(request[0], good(request[1:6])))
            except asyncio.IncompleteReadError:
                writer.close()

    async with RtuPeer(None) as peer:
        url = peer.url.replace("tcp://", "rtu+tcp://")
        async with running(modbus(url, {"m": device(points=POINTS)}).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 2)
    assert {s[1:] for s in ctx.samples("m/a")} == {(7.0, 0)}
