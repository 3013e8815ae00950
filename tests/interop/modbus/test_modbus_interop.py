"""The adapter against servers that others wrote: libmodbus (C), modbus-serial and jsmodbus (npm), pymodbus."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tty
from pathlib import Path

import numpy as np
import pytest
import trustme

from adapters.base import WriteResult
from gateway import quality as q
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.commands import writable
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
WRITES = {
    "coil": (writable("coil:9"), 0),
    "coils": (writable("coil:21", function=15), 0),
    "six": (writable("holding:20", "int16", scale=0.1), -12.5),
    "one": (writable("holding:21", function=16), 65535),
    "int32": (writable("holding:30", "int32"), -123456),
    "uint32": (writable("holding:32", "uint32", "CDAB"), 4_000_000_000),
    "int64": (writable("holding:34", "int64", "BADC"), -(2**53)),
    "uint64": (writable("holding:38", "uint64", "DCBA"), 2**53),
    "float16": (writable("holding:42", "float16"), 1.5),
    "float32": (writable("holding:44", "float32", "CDAB"), 6.25),
    "float64": (writable("holding:46", "float64", "DCBA"), 0.1),
    "model": (writable("holding:50", "string", length=4), "DTSU666"),
    "high": (writable("holding:60", "uint8", byte="high", read_modify_write=True), 0xAB),
    "low": (writable("holding:60", "int8", read_modify_write=True), -2),
    "bit": (writable("holding:61", bit=15, read_modify_write=True), 1),
    "bits": (writable("holding:61", bits={"from": 4, "count": 3}, read_modify_write=True), 5),
}
"""A point for each type and function, and a value that is not there yet."""
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


async def check(url, wanted, points, gone=Reason.ILLEGAL_DATA_ADDRESS, **options):
    ctx = RecordingContext()
    # libmodbus waits half a second before it refuses a read
    adapter = modbus(url, {"m": device(17, 0.05, points)}, timeout=2.0, **options).create()
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
    assert reason_codes(np.array([last(ctx, "gone")[1]])) == [gone]
    if gone is Reason.ILLEGAL_DATA_ADDRESS:
        assert last(ctx, "gone")[2] == q.INVALID | q.BAD_REFERENCE
        assert ctx.stats.reasons == {"illegal-data-address": 1}
    assert ctx.points.states(ctx.points.find("m/model")) == ["SDM630"]


async def check_writes(url, *, knows_mask_writes):
    """Everything is written, read back, and read by the polls; what is not there is refused by name."""
    points = {name: one for name, (one, _) in WRITES.items()}
    points |= {"gone": writable("holding:250"), "gone_coil": writable("coil:250"), "plain": point("holding:62")}
    points["mask"] = writable("holding:63", bit=1)
    ctx = RecordingContext()
    adapter = modbus(url, {"m": device(17, 0.1, points)}, timeout=2.0).create()
    async with running(adapter, ctx):
        await ctx.until(lambda: len(ctx.frames) >= 2, 20)
        for name, (_, value) in WRITES.items():
            written = await adapter.write(f"m/{name}", value)
            assert (name, written.result, written.seen) == (name, WriteResult.DONE, value)
        for name in ("gone", "gone_coil"):
            gone = await adapter.write(f"m/{name}", 1)
            assert (gone.result, gone.why) == (WriteResult.REFUSED, "illegal-data-address")
        mask = await adapter.write("m/mask", 1 - (63 >> 1 & 1))
        if knows_mask_writes:
            assert mask.result is WriteResult.DONE
        else:
            assert (mask.result, mask.why) == (WriteResult.REFUSED, "illegal-function")
        seen = len(ctx.frames)
        await ctx.until(lambda: len(ctx.frames) >= seen + 2, 20)
    numbers = {name: float(value) for name, (_, value) in WRITES.items() if name != "model"}
    assert {name: last(ctx, name)[1] for name in numbers} == numbers
    assert "DTSU666" in ctx.points.states(ctx.points.find("m/model"))
    assert last(ctx, "plain")[1:] == (62.0, 0), "what lies beside is as it was"


async def test_libmodbus_is_written_over_tcp(libmodbus):
    async with server(libmodbus, "tcp") as port:
        await check_writes(f"tcp://127.0.0.1:{port}", knows_mask_writes=True)


async def test_npm_modbus_serial_is_written():
    command = script("modbus_serial_server.js", "modbus-serial")
    async with server(*command, NODE_PATH=str(MODULES)) as port:
        await check_writes(f"tcp://127.0.0.1:{port}", knows_mask_writes=False)


ALL_ORDERS = {"cdab": -12.25, "badc": 50.0625, "dcba": float(np.float32(1e-3))}


@pytest.mark.parametrize("pipeline", [1, 4])
async def test_libmodbus_over_tcp(libmodbus, pipeline):
    async with server(libmodbus, "tcp") as port:
        wanted = WANTED | ALL_ORDERS | {"input": 1150.0}
        await check(f"tcp://127.0.0.1:{port}", wanted, POINTS | ORDERS, pipeline=pipeline)


@contextlib.contextmanager
def ptys(count):
    """Pseudo-terminals: (master, slave) descriptors."""
    pairs = [os.openpty() for _ in range(count)]
    try:
        for pair in pairs:
            for fd in pair:
                tty.setraw(fd)
        yield pairs
    finally:
        for pair in pairs:
            for fd in pair:
                os.close(fd)


@contextlib.contextmanager
def joined_ptys():
    """Two serial devices joined by a cable: their names."""
    loop = asyncio.get_running_loop()
    with ptys(2) as ((left_master, left), (right_master, right)):
        loop.add_reader(left_master, lambda: os.write(right_master, os.read(left_master, 1024)))
        loop.add_reader(right_master, lambda: os.write(left_master, os.read(right_master, 1024)))
        try:
            yield os.ttyname(left), os.ttyname(right)
        finally:
            loop.remove_reader(left_master)
            loop.remove_reader(right_master)


async def test_libmodbus_over_rtu(libmodbus):
    wanted = WANTED | ALL_ORDERS | {"input": 1150.0}
    with joined_ptys() as (ours, theirs):
        async with server(libmodbus, "rtu", theirs):
            await check(f"rtu://{ours}?baudrate=19200", wanted, POINTS | ORDERS)


async def test_libmodbus_is_written_over_rtu(libmodbus):
    with joined_ptys() as (ours, theirs):
        async with server(libmodbus, "rtu", theirs):
            await check_writes(f"rtu://{ours}?baudrate=19200", knows_mask_writes=True)


def script(name, package):
    """The command that runs one of the servers here that use a package of npm's."""
    if shutil.which("node") is None or not (MODULES / package).exists():
        pytest.fail(f"needs node, and {package} in tests/interop/node_modules (make interop)")
    return "node", str(HERE / name)


async def test_npm_modbus_serial():
    command = script("modbus_serial_server.js", "modbus-serial")
    async with server(*command, NODE_PATH=str(MODULES)) as port:
        await check(f"tcp://127.0.0.1:{port}", WANTED | {"input": 17150.0}, POINTS)


async def test_npm_modbus_serial_over_rtu():
    command = script("modbus_serial_rtu_server.js", "modbus-serial")
    with joined_ptys() as (ours, theirs):
        async with server(*command, theirs, NODE_PATH=str(MODULES)):
            await check(f"rtu://{ours}?baudrate=19200", WANTED | {"input": 17150.0}, POINTS)


@pytest.mark.parametrize("pipeline", [1, 4])
async def test_npm_jsmodbus(pipeline):
    """It answers a read beyond its registers with too little instead of an exception: no value of that is taken."""
    command = script("jsmodbus_server.js", "jsmodbus")
    async with server(*command, NODE_PATH=str(MODULES)) as port:
        wanted = WANTED | {"input": 1150.0}
        url = f"tcp://127.0.0.1:{port}"
        await check(url, wanted, POINTS, gone=Reason.MALFORMED_ANSWER, pipeline=pipeline)


@pytest.mark.parametrize("kind", ["tcp", "udp", "rtu+tcp", "ascii+tcp"])
async def test_pymodbus(kind):
    async with server(sys.executable, str(HERE / "pymodbus_server.py"), kind) as port:
        await check(f"{kind}://127.0.0.1:{port}", WANTED | {"input": 1150.0}, POINTS)


async def test_pymodbus_over_tls(tmp_path):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca")
    for name in ("127.0.0.1", "gateway.example"):
        leaf = ca.issue_cert(name)
        leaf.private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
    files = {"ca": str(tmp_path / "ca"), "cert": str(tmp_path / "gateway.example")}
    theirs = [files["ca"], *[str(tmp_path / "127.0.0.1")] * 2]
    async with server(sys.executable, str(HERE / "pymodbus_server.py"), "tls", *theirs) as port:
        await check(f"tls://127.0.0.1:{port}", WANTED | {"input": 1150.0}, POINTS, key=files["cert"], **files)
