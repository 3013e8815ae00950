"""Columns of integers as few bytes: constant, delta, or delta of delta, in the narrowest width.

A coded column is a list that msgpack can carry:

    ["c", value]                            all equal
    ["d", order, first..., step, width, bytes]

``order`` is 0, 1 or 2 (plain offsets from ``first``, differences, differences of differences), ``step`` is
a common divisor of what is stored, ``width`` the bytes of one signed little-endian integer. The bytes are
shuffled (all lowest bytes first), so that the rarely used high bytes become runs of zeros for zstd.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.errors import PayloadError

Int64s = npt.NDArray[np.int64]

_PROBE = 64
"""How many leading differences propose the common divisor."""


def encode(column: Int64s) -> list[Any]:
    """Code one int64 column, [n]; n must be at least 1. Differences wrap as int64 does, losslessly."""
    first = int(column[0])
    if (column == first).all():
        return ["c", first]
    best = _coded(column - first, 0, [first])
    delta = np.diff(column)
    once = _coded(delta, 1, [first])
    if len(delta) > 1:
        twice = _coded(np.diff(delta), 2, [first, int(delta[0])])
        once = min(once, twice, key=_cost)
    return min(best, once, key=_cost)


def _cost(coded: list[Any]) -> int:
    return len(coded[-1])


def _coded(numbers: Int64s, order: int, firsts: list[int]) -> list[Any]:
    step = _common_step(numbers)
    if step > 1:
        numbers = numbers // step
    low, high = int(numbers.min()), int(numbers.max())
    reach = max(high, ~low)
    width = 0 if low == high == 0 else 1 if reach < 1 << 7 else 2 if reach < 1 << 15 else 4 if reach < 1 << 31 else 8
    return ["d", order, firsts, step, width, shuffle(numbers, width)]


def _common_step(numbers: Int64s) -> int:
    """A divisor of all numbers: times in whole seconds need not carry nine zeros."""
    step = int(np.gcd.reduce(np.abs(numbers[:_PROBE])))
    if step <= 1 or (len(numbers) > _PROBE and (numbers % step).any()):
        return 1
    return step


def shuffle(numbers: Int64s, width: int) -> bytes:
    """The low ``width`` bytes of each number, transposed."""
    if not width:
        return b""
    narrow = numbers.astype(f"<i{width}")
    return narrow.view(np.uint8).reshape(-1, width).T.tobytes()


def unshuffle(raw: bytes, width: int, n: int) -> Int64s:
    """The inverse of :func:`shuffle`, [n]."""
    if not width:
        return np.zeros(n, np.int64)
    if len(raw) != n * width:
        raise PayloadError("bad-column", f"{len(raw)} bytes for {n} numbers of {width}")
    narrow = np.frombuffer(raw, np.uint8).reshape(width, n).T.copy().view(f"<i{width}")
    return narrow.reshape(n).astype(np.int64)


def decode(coded: Any, n: int) -> Int64s:
    """The inverse of :func:`encode`, [n].

    Raises:
        PayloadError: the coded column is not one.
    """
    match coded:
        case ["c", int(value)]:
            return np.full(n, value, np.int64)
        case ["d", int(order), [int(first), *rest], int(step), int(width), bytes(raw)] if (
            0 <= order <= 2 and width in {0, 1, 2, 4, 8} and len(rest) == (order == 2) and n > order - (order > 0)
        ):
            numbers = unshuffle(raw, width, n - order) * np.int64(step)
            if order == 0:
                return numbers + np.int64(first)
            if order == 2:
                numbers = np.cumsum(np.concatenate([np.array(rest, np.int64), numbers]))
            return np.cumsum(np.concatenate([np.array([first], np.int64), numbers]))
        case _:
            raise PayloadError("bad-column", repr(coded)[:60])
