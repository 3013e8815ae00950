"""Version 1 of the column codec, which is read for ever and not written any more.

A msgpack map, compressed with zstd (with a checksum), or plain inside a block of the journal:

    v   1
    n   number of samples
    p   distinct point ids, ascending       integer column
    r   samples of each of them             integer column
    t   source times, ns                    integer column
    q   quality words                       integer column
    e   how each point's values are coded   one byte a point: 0..9 decimal exponent, 254 float32, 255 float64
    i   values * 10**e as integers          integer column of all points with a decimal exponent, if any
    f   float32 bit patterns                integer column of all points with 254, if any
    d   float64, shuffled                   bytes of all points with 255, if any

or, of few samples, ``v``, ``n`` and ``x``: the columns point (int32), time (int64), value (float64) and quality
(uint16) one after the other, each shuffled (all lowest bytes first). An integer column is ``["c", value]`` (all equal)
or ``["d", order, firsts, step, width, bytes]``: plain offsets from the first, differences, or differences of
differences.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Values
from gateway.wire.integers import Int64s
from gateway.wire.plain import from_plain

_FLOAT32 = 254
_FLOAT64 = 255
_POWERS = np.array([10.0**e for e in range(10)])


def unpack(packed: bytes, most: int) -> Frame:
    """The frame of a map as above, of at most so many samples.

    Raises:
        PayloadError: the bytes are not a frame of this version.
    """
    try:
        columns = msgpack.unpackb(packed, max_array_len=8, max_map_len=16)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise PayloadError("bad-frame", str(error)) from error
    if not isinstance(columns, dict) or columns.get("v") != 1:
        raise PayloadError("bad-frame", "not a frame of version 1")
    try:
        return _decode_columns(columns, most)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise PayloadError("bad-frame", f"{type(error).__name__}: {error}") from error


def _decode_columns(columns: dict[str, Any], most: int) -> Frame:
    n = columns["n"]
    if not isinstance(n, int) or not 0 <= n <= most:
        raise PayloadError("bad-frame", f"{n} samples")
    if "x" in columns:
        return from_plain(columns["x"], n)
    if n == 0:
        return EMPTY
    codes = np.frombuffer(columns["e"], np.uint8)
    runs = _integers(columns["r"], len(codes))
    if runs.min(initial=1) < 1 or int(runs.sum()) != n or runs.max() > n:
        raise PayloadError("bad-frame", "the runs do not add up")
    points = _integers(columns["p"], len(codes))
    if points.min() < 0 or points.max() >= 1 << 31:
        raise PayloadError("bad-frame", "a point id is out of range")
    quality = _integers(columns["q"], n)
    if quality.min() < 0 or quality.max() >= 1 << 16:
        raise PayloadError("bad-frame", "a quality is out of range")
    return Frame(
        np.repeat(points, runs).astype(np.int32),
        _integers(columns["t"], n),
        _decode_values(columns, np.repeat(codes, runs)),
        quality.astype(np.uint16),
    )


def _decode_values(columns: dict[str, Any], each: npt.NDArray[np.uint8]) -> Values:
    value = np.empty(len(each), np.float64)
    decimal = each < _FLOAT32
    if decimal.any():
        scaled = _integers(columns["i"], int(decimal.sum()))
        value[decimal] = scaled / _POWERS[each[decimal]]
    single = each == _FLOAT32
    if single.any():
        patterns = _integers(columns["f"], int(single.sum()))
        with np.errstate(invalid="ignore"):  # foreign bytes may hold a signalling NaN
            value[single] = patterns.astype(np.int32).view(np.float32)
    double = each == _FLOAT64
    if double.any():
        value[double] = _unshuffle(columns["d"], 8, int(double.sum())).view(np.float64)
    return value


def _integers(coded: Any, n: int) -> Int64s:
    match coded:
        case ["c", int(value)]:
            return np.full(n, value, np.int64)
        case ["d", int(order), [int(first), *rest], int(step), int(width), bytes(raw)] if (
            0 <= order <= 2 and width in {0, 1, 2, 4, 8} and len(rest) == (order == 2) and n > order - (order > 0)
        ):
            numbers = _unshuffle(raw, width, n - order) * np.int64(step)
            if order == 0:
                return numbers + np.int64(first)
            if order == 2:
                numbers = np.cumsum(np.concatenate([np.array(rest, np.int64), numbers]))
            return np.cumsum(np.concatenate([np.array([first], np.int64), numbers]))
        case _:
            raise PayloadError("bad-column", repr(coded)[:60])


def _unshuffle(raw: bytes, width: int, n: int) -> Int64s:
    if not width:
        return np.zeros(n, np.int64)
    if len(raw) != n * width:
        raise PayloadError("bad-column", f"{len(raw)} bytes for {n} numbers of {width}")
    narrow = np.frombuffer(raw, np.uint8).reshape(width, n).T.copy().view(f"<i{width}")
    return narrow.reshape(n).astype(np.int64)
