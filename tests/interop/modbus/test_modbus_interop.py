"""The adapter against servers that others wrote: libmodbus (C) over TCP and RTU, modbus-serial (npm)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tty
from pathlib import Path

import numpy as np
import pytest

from gateway import quality as q
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.peers import device, modbus, point
from tests.support.context import RecordingContext, running

HERE = Path(__file__).parent
MODULES = HERE.parent / "node_modules"
POINTS = {
    "holding": point("holding:7"),
    "input": point("input:150"),
    "coil": point("coil:9", writable=True),
    "coil_off": point("coil:10"),
    "discrete": point("discrete:199"),
    "abcd": point("holding:100", "float32"),
    "int32": point("holding:108", "int32"),
    "int64": point("holding:110", "int64"),
    "model": point("holding:114", "string", length=3),
    "bit": point("holding:5", bit=2),
    "set": point("holding:20", "int16", scale=0.1, writable=True),
    "set2": point("holding:30", "float32", "CDAB", writable=True),
    "gone": point("holding:250"),
}
ORDERS = {
    "cdab": point("holding:102", "float32", "CDAB"),
    "badc": point("holding:104", "float32", "BADC"),
    "dcba": point("holding:106", "float32", "DCBA"),
}
WANTED = {
    "holding": 7.0,
    "coil": 1.0,
    "coil_off": 0.0,
    "discrete": 1.0,
    "abcd": 230.5,
    "int32": -123456.0,
    "int64": -1234567890123.0,
    "model": 0.0,
    "bit": 1.0,
}


@contextlib.asynccontextmanager
async def server(*command, **environment):
    """A server process; gives the first line that it prints."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        yield line.decode().strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


@pytest.fixture(scope="session")
def libmodbus(tmp_path_factory):
    import subprocess

    if shutil.which("cc") is None or not Path("/usr/include/modbus/modbus.h").exists():
        pytest.fail("needs a C compiler and libmodbus-dev")
    program = tmp_path_factory.mktemp("libmodbus") / "server"
    source = HERE / "libmodbus_server.c"
    command = ["cc", "-Wall", "-Werror", "-I/usr/include/modbus", "-o", program, source, "-lmodbus"]
    subprocess.run(command, check=True)
    return str(program)


def last(ctx, name):
    return ctx.samples(f"m/{name}")[-1]


async def check(url, wanted, points):
    ctx = RecordingContext()
    # libmodbus waits half a second before it refuses a read
    adapter = modbus(url, {"m": device(17, 0.05, points)}, timeout=2.0).create()
    async with running(adapter, ctx):
        await ctx.until(lambda: len(ctx.frames) >= 2, 20)
        await adapter.write("m/coil", 0)
        await adapter.write("m/set", -12.5)
        await adapter.write("m/set2", 6.25)
        seen = len(ctx.frames)
        await ctx.until(lambda: len(ctx.frames) >= seen + 2, 20)
    first = {name: ctx.samples(f"m/{name}")[0][1:] for name in wanted}
    assert first == {name: (value, 0) for name, value in wanted.items()}
    assert [last(ctx, name)[1] for name in ("coil", "set", "set2")] == [0.0, -12.5, 6.25]
    assert last(ctx, "gone")[2] == q.INVALID | q.BAD_REFERENCE
    assert reason_codes(np.array([last(ctx, "gone")[1]])) == [Reason.ILLEGAL_DATA_ADDRESS]
    assert ctx.stats.reasons == {"illegal-data-address": 1}
    assert ctx.points.states(ctx.points.find("m/model")) == ["SDM630"]


async def test_libmodbus_over_tcp(libmodbus):
    wanted = WANTED | {"input": 1150.0, "cdab": -12.25, "badc": 50.0625, "dcba": float(np.float32(1e-3))}
    async with server(libmodbus, "tcp") as port:
        await check(f"tcp://127.0.0.1:{port}", wanted, POINTS | ORDERS)


async def test_libmodbus_over_rtu(libmodbus):
    wanted = WANTED | {"input": 1150.0, "cdab": -12.25, "badc": 50.0625, "dcba": float(np.float32(1e-3))}
    loop = asyncio.get_running_loop()
    left_master, left = os.openpty()
    right_master, right = os.openpty()
    fds = [left_master, left, right_master, right]
    for fd in fds:
        tty.setraw(fd)
    loop.add_reader(left_master, lambda: os.write(right_master, os.read(left_master, 1024)))
    loop.add_reader(right_master, lambda: os.write(left_master, os.read(right_master, 1024)))
    try:
        async with server(libmodbus, "rtu", os.ttyname(right)):
            url = f"rtu://{os.ttyname(left)}?baudrate=19200"
            await check(url, wanted, POINTS | ORDERS)
    finally:
        loop.remove_reader(left_master)
        loop.remove_reader(right_master)
        for fd in fds:
            os.close(fd)


async def test_npm_modbus_serial():
    if shutil.which("node") is None or not (MODULES / "modbus-serial").exists():
        pytest.fail("needs node, and modbus-serial in tests/interop/node_modules (make interop)")
    script = str(HERE / "modbus_serial_server.js")
    async with server("node", script, NODE_PATH=str(MODULES)) as port:
        await check(f"tcp://127.0.0.1:{port}", WANTED | {"input": 17150.0}, POINTS)
