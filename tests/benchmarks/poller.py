"""A bare pymodbus client that reads in a loop, in a process of its own: ``poller PORT DEVICES REGISTERS A_READ``.

Says ``polling`` after the first round; ends at the next line, or at the end of its input.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from pymodbus.client import AsyncModbusTcpClient

from tests.benchmarks.child import say, told


async def main(port: int, devices: int, registers: int, a_read: int) -> None:
    client = AsyncModbusTcpClient("127.0.0.1", port=port)
    await client.connect()
    over = asyncio.create_task(told())
    reads = [(at, min(a_read, registers - at)) for at in range(0, registers, a_read)]
    total, started = 0, False
    while not over.done():
        for unit in range(1, devices + 1):
            for address, count in reads:
                answer = await client.read_holding_registers(address, count=count, device_id=unit)
                total += answer.registers[0]
        if not started:
            say("polling")
            started = True
    client.close()


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:5])))
