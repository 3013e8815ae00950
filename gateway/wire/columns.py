"""A frame as bytes and back, bit for bit: version 2 of the column codec. docs/wire/format.md is the specification.

Samples are grouped by point (order within a point is kept). A byte 2 (the version), a byte for the layout, and n, the
number of samples, as a varint. Layout 1 is plain (gateway.wire.plain). Layout 0, if n is not 0, is made of columns of
integers (gateway.wire.integers) and series (gateway.wire.series):

    points     a varint, how many; then a column of their ids, ascending
    runs       a column: samples of each point
    sharing    if there are two points or more, a column of 0 or 1 for each but the first: 1 if its samples have the
               very times of those of the point before, which are not written again
    times      a series, ns, of the points that do not share
    quality    a column of all samples' quality words
    values     see gateway.wire.values

The whole goes into an envelope (gateway.wire.envelope), or into a block of the journal, which has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Index, Mask, Qualities, Times, group_starts, grouped
from gateway.wire import integers, series, values, version1
from gateway.wire.envelope import MAX_BYTES, seal, unseal
from gateway.wire.integers import Int64s, Reader
from gateway.wire.plain import WIDTH, from_plain, to_plain
from gateway.wire.series import Runs

VERSION: Final = 2
MAX_SAMPLES: Final = 1 << 24
LEVEL: Final = 3
"""Of zstd, where nothing else is said."""
_COLUMNS, _PLAIN = 0, 1
_ROOM: Final = 3 * WIDTH
"""No more bytes a sample than these, before compression, come out of :func:`pack`."""


def encode(frame: Frame, level: int = LEVEL) -> bytes:
    """The bytes of a frame, with a checksum. Grouping by point is part of the format; see :func:`decode`."""
    return seal(pack(frame), level)


def pack(frame: Frame, plain_below: int = 0) -> bytes:
    """The layout described above, without envelope; a frame of fewer samples than ``plain_below`` plainly."""
    n = len(frame)
    frame = grouped(frame)
    out = bytearray((VERSION, _PLAIN if 0 < n < plain_below else _COLUMNS))
    integers.write_varint(out, n)
    if 0 < n < plain_below:
        out += to_plain(frame)
    elif n:
        _write(out, frame)
    return bytes(out)


def _write(out: bytearray, frame: Frame) -> None:
    starts = group_starts(frame.point)
    runs = Runs.of(_lengths(starts, len(frame)))
    integers.write_varint(out, len(starts))
    integers.write(out, frame.point[starts].astype(np.int64))
    integers.write(out, runs.lengths.astype(np.int64))
    _write_times(out, frame.time, runs)
    if not np.count_nonzero(frame.quality != frame.quality[0]):
        integers.write(out, frame.quality[:1].astype(np.int64))
    else:
        integers.write(out, frame.quality.astype(np.int64))
    values.write(out, np.ascontiguousarray(frame.value), runs)


def _lengths(starts: Index, n: int) -> Index:
    lengths = np.empty(len(starts), np.intp)
    np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
    lengths[-1] = n - starts[-1]
    return lengths


def _write_times(out: bytearray, time: Times, runs: Runs) -> None:
    if len(runs.starts) > 1:
        shares = _sharing(time, runs)
        integers.write(out, shares[1:].astype(np.int64))
        if np.count_nonzero(shares):
            time, runs = time[runs.spread(~shares)], runs.some(~shares)
    series.write(out, time, runs)


def _sharing(time: Times, runs: Runs) -> Mask:
    """Which points' samples have the very times of those of the point before, [points]."""
    lengths = runs.lengths
    shares = np.zeros(len(lengths), np.bool_)
    if runs.even:
        table = time.reshape(len(lengths), runs.even)
        np.equal(table[1:, 0], table[:-1, 0], out=shares[1:])
        if runs.even > 1 and np.count_nonzero(shares):
            shares[1:] &= (table[1:] == table[:-1]).all(axis=1)
        return shares
    shares[1:] = lengths[1:] == lengths[:-1]
    before = np.arange(runs.n) - runs.spread(np.where(shares, lengths, 0))
    shares &= np.logical_and.reduceat(time == time[before], runs.starts)
    return shares


def decode(raw: bytes, most: int = MAX_SAMPLES) -> Frame:
    """The inverse of :func:`encode`, of version 1 too; samples come grouped by point, at most so many.

    Raises:
        PayloadError: the bytes are not a frame, of a newer version (``bad-version``), or were damaged (``damaged``).
    """
    return unpack(unseal(raw, min(MAX_BYTES, _ROOM * most + 1024)), most)


def unpack(packed: bytes, most: int = MAX_SAMPLES) -> Frame:
    """The inverse of :func:`pack`.

    Raises:
        PayloadError: the bytes are not a frame, or of a newer version.
    """
    if not packed:
        raise PayloadError("bad-frame", "no bytes")
    if packed[0] >= 0x80:  # a map of msgpack
        return version1.unpack(packed, most)
    if packed[0] != VERSION:
        raise PayloadError("bad-version", f"a frame of version {packed[0]}; this one reads up to {VERSION}")
    reader = Reader(packed, 1)
    layout, n = reader.byte(), reader.varint()
    if n > most:
        raise PayloadError("bad-frame", f"{n} samples; at most {most} are taken")
    if layout == _PLAIN:
        return from_plain(reader.take(reader.left), n)
    if layout != _COLUMNS:
        raise PayloadError("bad-frame", f"layout {layout}")
    frame = _read(reader, n) if n else EMPTY
    if reader.left:
        raise PayloadError("bad-frame", f"{reader.left} bytes too many")
    return frame


def sizes(packed: bytes) -> dict[str, int]:
    """Bytes of each column of what :func:`pack` made: points, times, quality and values. Of version 1: nothing.

    Raises:
        PayloadError: as for :func:`unpack`.
    """
    found: dict[str, int] = {}
    if packed[:2] == bytes((VERSION, _COLUMNS)):
        reader = Reader(packed, 2)
        begun = reader.left
        n = reader.varint()

        def note(name: str) -> None:
            found[name] = begun - sum(found.values()) - reader.left

        if 0 < n <= MAX_SAMPLES:
            _read(reader, n, note)
    return found


def _read(reader: Reader, n: int, note: Callable[[str], object] = str) -> Frame:
    """Columns of n samples; tells which one was read."""
    count = reader.varint()
    if not 0 < count <= n:
        raise PayloadError("bad-frame", f"{count} points in {n} samples")
    points = reader.column(count)
    if points[0] < 0 or points[-1] >= 1 << 31 or (points[1:] <= points[:-1]).any():
        raise PayloadError("bad-frame", "points are out of range, or not in order")
    lengths = reader.column(count)
    if lengths.min() < 1 or lengths.max() > n or int(lengths.sum()) != n:
        raise PayloadError("bad-frame", "the runs do not add up")
    runs = Runs.of(lengths)
    note("points")
    times = _read_times(reader, runs)
    note("times")
    quality = _read_quality(reader, n)
    note("quality")
    value = values.read(reader, runs)
    note("values")
    return Frame(runs.spread(points).astype(np.int32), times, value, quality)


def _read_times(reader: Reader, runs: Runs) -> Times:
    if len(runs.starts) == 1:
        return series.read(reader, runs)
    shares = np.zeros(len(runs.starts), np.int64)
    shares[1:] = reader.column(len(shares) - 1)
    own = shares == 0
    if not shares.any():
        return series.read(reader, runs)
    if (shares[shares != 0] != 1).any() or (runs.lengths[1:] != runs.lengths[:-1])[~own[1:]].any():
        raise PayloadError("bad-frame", "points share times that cannot")
    written = runs.some(own)
    times = series.read(reader, written)
    if len(written.starts) == 1:
        return np.tile(times, len(own))
    whose = np.cumsum(own) - 1
    index: Int64s = np.arange(runs.n) - runs.spread(runs.starts - written.starts[whose])
    return times[index]


def _read_quality(reader: Reader, n: int) -> Qualities:
    words = reader.column(n)
    if words.min() < 0 or words.max() >= 1 << 16:
        raise PayloadError("bad-frame", "a quality is out of range")
    return words.astype(np.uint16)
