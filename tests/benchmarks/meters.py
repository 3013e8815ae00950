"""Modbus meters in a process of their own, whose canned answers cost next to nothing: ``meters KIND REGISTERS``.

Every unit has the holding registers 0 to REGISTERS - 1. KIND ``uint16``: a value a register, tenths of about 230.0;
``float32``: a value in two. An answer is one of 64 made in advance, so that values change under a noise that a
deadband of 0.2 % of 0..300 lets pass about every eighth time. Says ``listening PORT``; to each line it answers
``served REGISTERS``, all that it has ever sent.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys

import numpy as np
import uvloop

from tests.benchmarks.child import say

VARIANTS = 64


def images(kind: str, registers: int) -> list[bytes]:
    """The registers of a unit, once a variant."""
    chance = np.random.default_rng(5)
    values = 230 + chance.normal(0, 5, registers) + chance.normal(0, 0.3, (VARIANTS, registers))
    if kind == "uint16":
        return [row.tobytes() for row in np.rint(values * 10).astype(">u2")]
    return [row.tobytes() for row in values[:, : registers // 2].round(2).astype(">f4")]


class Meters(asyncio.Protocol):
    """One connection; answers reads of holding registers (function 3)."""

    served = 0

    def __init__(self, variants: list[bytes]) -> None:
        self._variants = variants
        self._answers: dict[bytes, list[bytes]] = {}
        self._asked = 0
        self._rest = b""

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while at + 12 <= len(data):  # a read request has 12 bytes: transaction, protocol, length, unit, PDU of 5
            self._transport.write(data[at : at + 2] + self._answer(data[at + 4 : at + 12]))
            at += 12
        self._rest = data[at:]

    def _answer(self, request: bytes) -> bytes:
        """All behind the transaction id."""
        answers = self._answers.get(request)
        if answers is None:
            answers = self._answers[request] = self._made(request)
        self._asked += 1
        Meters.served += (len(answers[0]) - 7) // 2
        return answers[self._asked * 7 % VARIANTS]

    def _made(self, request: bytes) -> list[bytes]:
        unit, function, address, count = struct.unpack(">2xBBHH", request)
        head = struct.pack(">HHBBB", 0, 3 + 2 * count, unit, function, 2 * count)
        return [head + image[2 * address : 2 * (address + count)] for image in self._variants]


async def main(kind: str, registers: int) -> None:
    loop = asyncio.get_running_loop()
    variants = images(kind, registers)
    server = await loop.create_server(lambda: Meters(variants), "127.0.0.1", 0)
    over = asyncio.Event()

    def asked() -> None:
        if os.read(0, 4096):
            say("served", Meters.served)
        else:
            over.set()

    loop.add_reader(0, asked)
    say("listening", server.sockets[0].getsockname()[1])
    await over.wait()
    loop.remove_reader(0)
    server.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
