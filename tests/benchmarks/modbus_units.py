"""Units of one gateway in a process of their own, some of them dead: ``modbus_units UNIT ...`` names the dead.

All others answer at once, reads of registers with zeros. Says ``listening PORT``; ends with its input.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tests.benchmarks.child import say, told


class Units(asyncio.Protocol):
    """One connection."""

    def __init__(self, dead: frozenset[int]) -> None:
        self._dead = dead
        self._rest = b""

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while len(data) >= 12:  # transaction 2, protocol 2, length 2, unit, function, address 2, count 2
            request, data = data[:12], data[12:]
            size = 2 * int.from_bytes(request[10:12], "big")
            if request[6] not in self._dead:
                length = (3 + size).to_bytes(2, "big")
                self._transport.write(request[:4] + length + request[6:8] + bytes([size]) + bytes(size))
        self._rest = data


async def main(dead: frozenset[int]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Units(dead), "127.0.0.1", 0)
    say("listening", server.sockets[0].getsockname()[1])
    await told()
    server.close()


if __name__ == "__main__":
    uvloop.run(main(frozenset(map(int, sys.argv[1:]))))
