"""Bytes that are almost right: mutations of good payloads by a fixed seed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

from gateway.errors import PayloadError

COUNT = 10_000
SLOWEST_S = 0.1


def inputs(seeds: list[bytes], count: int | None = None) -> Iterator[bytes]:
    """``count`` inputs (default: ``ONPATH_MALFORMED``, else 10,000); the seeds themselves come first."""
    yield from seeds
    chance = random.Random(20260101)
    for _ in range((int(os.environ.get("ONPATH_MALFORMED", "0")) or COUNT) if count is None else count):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            chance.choice(MUTATIONS)(data, chance, seeds)
        yield bytes(data[:65_536])


def survives(decode: Callable[[bytes], object], seeds: list[bytes], count: int | None = None) -> int:
    """Check that every input gives something or a :class:`PayloadError`, each soon; how many were refused."""
    refused = 0
    for data in inputs(seeds, count):
        started = time.thread_time()
        try:
            decode(data)
        except PayloadError as error:
            assert error.reason
            refused += 1
        assert time.thread_time() - started < SLOWEST_S, data[:200]
    return refused


def _flip(data: bytearray, chance: random.Random, _seeds: list[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _byte(data: bytearray, chance: random.Random, _seeds: list[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def _cut(data: bytearray, chance: random.Random, _seeds: list[bytes]) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _remove(data: bytearray, chance: random.Random, _seeds: list[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.randrange(1, 9)]


def _splice(data: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    other = chance.choice(seeds)
    data[chance.randrange(len(data) + 1) :] = other[chance.randrange(len(other) + 1) :]


def _run(data: bytearray, chance: random.Random, _seeds: list[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = bytes([chance.randrange(256)]) * chance.choice((1, 2, 8, 300))


def _repeat(data: bytearray, chance: random.Random, _seeds: list[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    part = data[at : at + chance.randrange(1, 9)]
    data[at:at] = part * chance.choice((1, 3, 100))


def _huge(data: bytearray, chance: random.Random, _seeds: list[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    width = chance.choice((1, 2, 4, 8))
    data[at : at + width] = chance.choice((b"\xff" * width, b"\x7f" + b"\xff" * (width - 1), bytes(width)))


MUTATIONS = (_flip, _byte, _cut, _remove, _splice, _run, _repeat, _huge)
