"""mbpoll (libmodbus) against ``onpath modbus simulate``, over TCP and RTU."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from contextlib import asynccontextmanager

import pytest

PROFILE = """
title: A meter to write to
source: this test
points:
  voltage: {at: "holding:10", as: float32, unit: V}
  count: {at: "holding:12", as: uint32, order: CDAB, unit: kW.h, kind: counter}
  setpoint: {at: "holding:20", as: int16, writable: true}
  first: {at: "holding:30", writable: true}
  second: {at: "holding:31", writable: true}
  relay: {at: "coil:3", writable: true}
  alarm: {at: "discrete:7"}
"""


@pytest.fixture(autouse=True)
def _mbpoll():
    if shutil.which("mbpoll") is None:
        pytest.fail("needs mbpoll (Debian package mbpoll)")


@asynccontextmanager
async def simulate(*words):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli.main", "modbus", "simulate", *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    finally:
        process.terminate()
        await process.communicate()


async def mbpoll(ready, *words, unit=1):
    """What mbpoll reads, by address; fails if it does."""
    if "port" in ready:
        where = ["-m", "tcp", "-p", str(ready["port"])], "127.0.0.1"
    else:
        where = ["-m", "rtu", "-b", "9600", "-P", "none"], ready["url"].removeprefix("rtu://")
    options, values = words[: words.index("--")] if "--" in words else words, words[words.index("--") :]
    command = ["mbpoll", *where[0], "-a", str(unit), "-0", "-1", *options, where[1], *values]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out = (await asyncio.wait_for(process.communicate(), 20))[0].decode()
    read = {int(at): value for at, value in re.findall(r"^\[(\d+)\]:\s+(\S+)", out, re.MULTILINE)}
    return process.returncode, read, out


LISTEN = pytest.mark.parametrize("listen", ["tcp://127.0.0.1:0", "rtu://pty"])


@LISTEN
async def test_mbpoll_reads_a_meter(listen):
    async with simulate("eastron-sdm630", "--listen", listen, "--unit", "7-8") as ready:
        code, volts, out = await mbpoll(ready, "-t", "3:float", "-B", "-r", "0", "-c", "3", "--", unit=7)
        assert code == 0, out
        assert all(220 < float(volts[at]) < 240 for at in (0, 2, 4))
        _, hertz, out = await mbpoll(ready, "-t", "3:float", "-B", "-r", "70", "-c", "1", "--", unit=8)
        assert float(hertz[70]) == pytest.approx(50, abs=0.2), out
        _, _, out = await mbpoll(ready, "-t", "4", "-r", "0", "-c", "1", "--", unit=7)
        assert "Illegal data address" in out


@LISTEN
async def test_mbpoll_writes(listen, tmp_path):
    (tmp_path / "mine.yaml").write_text(PROFILE)
    async with simulate("mine", "--profiles", str(tmp_path), "--listen", listen) as ready:
        for table, at, values, expected in (
            ("4", 20, ["1234"], {20: "1234"}),
            ("4", 30, ["7", "8"], {30: "7", 31: "8"}),
            ("0", 3, ["0"], {3: "0"}),
        ):
            code, _, out = await mbpoll(ready, "-t", table, "-r", str(at), "--", *values)
            assert code == 0, out
            _, read, out = await mbpoll(ready, "-t", table, "-r", str(at), "-c", str(len(values)), "--")
            assert read == expected, out
        _, read, out = await mbpoll(ready, "-t", "1", "-r", "7", "-c", "1", "--")
        assert read == {7: "1"}, out
        _, read, out = await mbpoll(ready, "-t", "4:int", "-r", "12", "-c", "1", "--")
        assert int(read[12]) > 1000, out
        _, _, out = await mbpoll(ready, "-t", "4", "-r", "10", "--", "1")
        assert "Illegal data address" in out


async def test_mbpoll_sees_the_faults():
    async with simulate("eastron-sdm120", "--fault", "exception:6:1") as ready:
        _, _, out = await mbpoll(ready, "-t", "3", "-r", "0", "-c", "2", "--")
    assert "busy" in out
    async with simulate("eastron-sdm120", "--fault", "timeout:1") as ready:
        _, read, out = await mbpoll(ready, "-t", "3", "-r", "0", "-c", "2", "-o", "0.1", "--")
    assert read == {}
    assert "timed out" in out
