"""The simulator on every transport, through the adapter's own connections; and its faults on the wire."""

from __future__ import annotations

import asyncio
import os
import tty

import pytest

from adapters.modbus.pdu import AnswerError
from adapters.modbus.place import Table
from adapters.modbus.tools.faults import parse_fault
from adapters.modbus.tools.identity import identify
from adapters.modbus.tools.serving import serving
from adapters.modbus.tools.session import UsageError, session
from adapters.modbus.tools.simulator import Simulator, played
from gateway.errors import LinkError

SDM120 = played("eastron-sdm120", "", {})


def simulator(*faults, units=(1,)):
    return Simulator(SDM120, "sdm", list(units), [parse_fault(text) for text in faults], 1)


LISTENS = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "rtu+tcp://127.0.0.1:0", "ascii+tcp://127.0.0.1:0",
           "rtu://pty", "ascii://pty"]  # fmt: skip


@pytest.mark.parametrize("listen", LISTENS)
async def test_each_transport(listen):
    async with (
        serving(simulator(units=(1, 2)), listen) as url,
        session(url, timeout_s=0.3) as opened,
    ):
        assert len(await opened.read(2, Table.INPUT, 0, 32)) == 64
        assert (await identify(opened, 1))["product"] == "sdm"
        with pytest.raises(AnswerError, match="exception 2"):
            await opened.read(1, Table.HOLDING, 0, 1)
        with pytest.raises(AnswerError, match="timeout" if "rtu" in url or "ascii" in url else "exception 11"):
            await opened.read(3, Table.INPUT, 0, 2, tries=1)
        assert len(await opened.read(1, Table.INPUT, 0x46, 2)) == 4


async def test_a_serial_device():
    loop = asyncio.get_running_loop()
    pairs = [os.openpty() for _ in range(2)]
    (near, left), (other, right) = pairs
    for fd in (left, right):
        tty.setraw(fd)
    loop.add_reader(near, lambda: os.write(other, os.read(near, 1024)))
    loop.add_reader(other, lambda: os.write(near, os.read(other, 1024)))
    try:
        listen = f"rtu://{os.ttyname(left)}?baudrate=19200"
        async with (
            serving(simulator(), listen) as url,
            session(f"rtu://{os.ttyname(right)}?baudrate=19200", timeout_s=1) as opened,
        ):
            assert url == listen
            assert len(await opened.read(1, Table.INPUT, 0, 32)) == 64
    finally:
        for fd in (near, other):
            loop.remove_reader(fd)
        for pair in pairs:
            for fd in pair:
                os.close(fd)


CASES = {
    "timeout:1": "timeout", "exception:6:1": "device-busy", "wrong-unit:1": "malformed-answer",
    "wrong-count:1": "malformed-answer", "wrong-transaction:1": "timeout", "half:1": "malformed-answer",
    "noise:1": "malformed-answer", "late:0.2:1": "timeout",
}  # fmt: skip


@pytest.mark.parametrize("fault", CASES)
async def test_each_fault_on_the_wire(fault):
    played = simulator(fault)
    async with serving(played, "tcp://127.0.0.1:0") as url, session(url, timeout_s=0.05) as opened:
        with pytest.raises(AnswerError, match=CASES[fault]):
            await opened.read(1, Table.INPUT, 0, 2, tries=1)
        assert played.counted.requests == 1
        assert played.counted.faults == {fault.partition(":")[0]: 1}


async def test_a_connection_that_is_closed():
    async with serving(simulator("close:1"), "tcp://127.0.0.1:0") as url, session(url, timeout_s=0.5) as opened:
        with pytest.raises(LinkError, match="closed by the other side"):
            await opened.read(1, Table.INPUT, 0, 2)


async def test_a_late_answer_is_still_a_good_one():
    async with serving(simulator("late:0.05:1"), "tcp://127.0.0.1:0") as url, session(url, timeout_s=1.0) as opened:
        start = asyncio.get_running_loop().time()
        assert len(await opened.read(1, Table.INPUT, 0, 2)) == 4
        assert asyncio.get_running_loop().time() - start >= 0.05


@pytest.mark.parametrize("listen", ["http://x", "tcp://127.0.0.1:0/x", "tls://127.0.0.1:0", "rtu://", "tcp://:0"])
async def test_addresses_that_are_none(listen):
    with pytest.raises(UsageError, match="--listen"):
        async with serving(simulator(), listen):
            pass


async def test_a_port_that_is_taken():
    async with serving(simulator(), "tcp://127.0.0.1:0") as url:
        with pytest.raises(LinkError, match=r"127.0.0.1:\d+: .*in use"):
            async with serving(simulator(), url):
                pass


async def test_a_silent_unit_is_asked_twice_and_a_busy_one_too():
    for fault in ("timeout:1", "exception:6:1", "exception:4:1"):
        played = simulator(fault)
        async with serving(played, "tcp://127.0.0.1:0") as url, session(url, timeout_s=0.05) as opened:
            with pytest.raises(AnswerError):
                await opened.read(1, Table.INPUT, 0, 2)
        assert played.counted.requests == (1 if "4" in fault else 2)
