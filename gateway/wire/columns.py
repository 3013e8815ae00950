"""A frame as bytes and back, bit for bit: version 1 of the column codec.

Samples are grouped by point (order within a point is kept). A msgpack map:

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

A small frame that is written often may instead be packed plainly, which costs a tenth of the time and three
times the bytes: ``v``, ``n`` and ``x``, the columns point (int32), time (int64), value (float64) and quality
(uint16) one after the other, little-endian, each shuffled (all lowest bytes first).

The map is compressed with zstd, with a checksum. A point gets the smallest exponent with which
``round(value * 10**e) / 10**e`` gives every one of its values back bit for bit.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
import zstandard

from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Index, Mask, Values, group_starts, grouped
from gateway.wire import integers

VERSION = 1
MAX_SAMPLES = 1 << 24
MAX_BYTES = 1 << 28

_EXPONENTS = (0, 1, 2, 3, 4, 6)
_FLOAT32 = 254
_FLOAT64 = 255
_PLAIN = ("<i4", "<i8", "<f8", "<u2")
_PLAIN_WIDTH = 22
_EXACT = float(1 << 53)


def encode(frame: Frame, level: int = 3) -> bytes:
    """The bytes of a frame. Grouping by point is part of the format; see :func:`decode`."""
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress(pack(frame))


def pack(frame: Frame, plain_below: int = 0) -> bytes:
    """The map described above, not yet compressed; a frame of fewer samples than ``plain_below`` plainly."""
    n = len(frame)
    frame = grouped(frame)
    if n < plain_below or not n:
        return bytes(msgpack.packb({"v": VERSION, "n": n, "x": _plain(frame)}))
    starts = group_starts(frame.point)
    runs = np.diff(np.append(starts, n))
    columns: dict[str, Any] = {
        "v": VERSION,
        "n": n,
        "p": integers.encode(frame.point[starts].astype(np.int64)),
        "r": integers.encode(runs.astype(np.int64)),
        "t": integers.encode(frame.time),
        "q": integers.encode(frame.quality.astype(np.int64)),
    }
    columns.update(_encode_values(frame.value, starts, runs))
    return bytes(msgpack.packb(columns))


def _plain(frame: Frame) -> bytes:
    columns = (frame.point, frame.time, frame.value, frame.quality)
    return b"".join(_bytes_first(column).T.tobytes() for column in columns)


def _bytes_first(column: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    little = column.astype(column.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).view(np.uint8).reshape(len(column), column.dtype.itemsize)


def _from_plain(raw: bytes, n: int) -> Frame:
    if len(raw) != n * _PLAIN_WIDTH:
        raise PayloadError("bad-frame", f"{len(raw)} plain bytes for {n} samples")
    columns: list[npt.NDArray[Any]] = []
    at = 0
    for kind in _PLAIN:
        width = np.dtype(kind).itemsize
        shuffled = np.frombuffer(raw, np.uint8, n * width, at).reshape(width, n)
        columns.append(np.ascontiguousarray(shuffled.T).view(kind).reshape(n))
        at += n * width
    if n and (columns[0].min() < 0 or (np.diff(columns[0]) < 0).any()):
        raise PayloadError("bad-frame", "points are not in order")
    return Frame(*columns)


def _encode_values(value: Values, starts: Index, runs: Index) -> dict[str, Any]:
    codes = _choose(value, starts)
    each = np.repeat(codes, runs)
    out: dict[str, Any] = {"e": codes.tobytes()}
    decimal = each < _FLOAT32
    if decimal.any():
        out["i"] = integers.encode(np.rint(value[decimal] * _power(each[decimal])).astype(np.int64))
    single = each == _FLOAT32
    if single.any():
        out["f"] = integers.encode(value[single].astype(np.float32).view(np.int32).astype(np.int64))
    double = each == _FLOAT64
    if double.any():
        out["d"] = integers.shuffle(value[double].view(np.int64), 8)
    return out


def _power(exponents: npt.NDArray[np.uint8]) -> Values:
    table = np.array([10.0**e for e in range(10)])
    result: Values = table[exponents]
    return result


def _choose(value: Values, starts: Index) -> npt.NDArray[np.uint8]:
    """The code of each point: the smallest decimal exponent, else float32, else float64, [points]."""
    codes = np.full(len(starts), _FLOAT64, np.uint8)
    bits = value.view(np.int64)
    with np.errstate(all="ignore"):
        single = (value.astype(np.float32).astype(np.float64).view(np.int64) == bits) & ~np.isnan(value)
        codes[np.logical_and.reduceat(single, starts)] = _FLOAT32
        undecided: Mask = np.ones(len(starts), np.bool_)
        for exponent in _EXPONENTS:
            scaled = np.rint(value * 10.0**exponent)
            fits = ((scaled / 10.0**exponent).view(np.int64) == bits) & (np.abs(scaled) < _EXACT)
            fits &= (scaled != 0) | (bits == 0)  # an integer has no -0.0
            whole = np.logical_and.reduceat(fits, starts) & undecided
            codes[whole] = exponent
            undecided &= ~whole
            if not undecided.any():
                break
    return codes


def decode(raw: bytes) -> Frame:
    """The inverse of :func:`encode`; samples come grouped by point.

    Raises:
        PayloadError: the bytes are not a frame of this version, or were damaged.
    """
    try:
        size = zstandard.frame_content_size(raw)
        if not 0 < size <= MAX_BYTES:
            raise PayloadError("bad-frame", f"content of {size} bytes")
        packed = zstandard.ZstdDecompressor().decompress(raw, max_output_size=MAX_BYTES)
    except zstandard.ZstdError as error:
        raise PayloadError("bad-frame", str(error)) from error
    return unpack(packed)


def unpack(packed: bytes) -> Frame:
    """The inverse of :func:`pack`.

    Raises:
        PayloadError: the bytes are not a frame of this version.
    """
    try:
        columns = msgpack.unpackb(packed, max_array_len=8, max_map_len=16)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise PayloadError("bad-frame", str(error)) from error
    if not isinstance(columns, dict) or columns.get("v") != VERSION:
        raise PayloadError("bad-frame", "not a frame of version 1")
    try:
        return _decode_columns(columns)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
        raise PayloadError("bad-frame", f"{type(error).__name__}: {error}") from error


def _decode_columns(columns: dict[str, Any]) -> Frame:
    n = columns["n"]
    if not isinstance(n, int) or not 0 <= n <= MAX_SAMPLES:
        raise PayloadError("bad-frame", f"{n} samples")
    if "x" in columns:
        return _from_plain(columns["x"], n)
    if n == 0:
        return EMPTY
    codes = np.frombuffer(columns["e"], np.uint8)
    runs = integers.decode(columns["r"], len(codes))
    if runs.min(initial=1) < 1 or int(runs.sum()) != n or runs.max() > n:
        raise PayloadError("bad-frame", "the runs do not add up")
    points = integers.decode(columns["p"], len(codes))
    if points.min() < 0 or points.max() >= 1 << 31:
        raise PayloadError("bad-frame", "a point id is out of range")
    quality = integers.decode(columns["q"], n)
    if quality.min() < 0 or quality.max() >= 1 << 16:
        raise PayloadError("bad-frame", "a quality is out of range")
    return Frame(
        np.repeat(points, runs).astype(np.int32),
        integers.decode(columns["t"], n),
        _decode_values(columns, np.repeat(codes, runs)),
        quality.astype(np.uint16),
    )


def _decode_values(columns: dict[str, Any], each: npt.NDArray[np.uint8]) -> Values:
    value = np.empty(len(each), np.float64)
    decimal = each < _FLOAT32
    if decimal.any():
        scaled = integers.decode(columns["i"], int(decimal.sum()))
        value[decimal] = scaled / _power(each[decimal])
    single = each == _FLOAT32
    if single.any():
        patterns = integers.decode(columns["f"], int(single.sum()))
        with np.errstate(invalid="ignore"):  # foreign bytes may hold a signalling NaN
            value[single] = patterns.astype(np.int32).view(np.float32)
    double = each == _FLOAT64
    if double.any():
        value[double] = integers.unshuffle(columns["d"], 8, int(double.sum())).view(np.float64)
    return value
