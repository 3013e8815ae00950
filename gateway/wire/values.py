"""The values of a frame: each point's in the shortest of the ways that give every one of them back bit for bit.

codes        a column of integers, one for each point
specials     a varint, how many values are NaN, infinite or -0.0; if any, a column of their places in the frame,
             ascending, and a column of their 64 bits. Among the others below a special value has a stand-in
decimals     if any point has a code below 32: a series (gateway.wire.series) of value * 10**(code & 15). A value is
             that divided by 10**(code & 15); with a code of 16 and more the result is rounded to float32
singles      if any point has code 32: a series of the 32 bits of float32 values, signed
doubles      if any point has code 33: a series of the 64 bits of the values, signed
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.errors import PayloadError
from gateway.frame import Mask, Values
from gateway.wire import integers, series
from gateway.wire.integers import Int64s, Reader
from gateway.wire.series import Runs

Codes = npt.NDArray[np.uint8]

_FLOAT32_OF: Final = 16
_FLOAT32: Final = 32
_FLOAT64: Final = 33
_LADDER: Final = np.array([*range(10), *range(_FLOAT32_OF, _FLOAT32_OF + 8), _FLOAT32, _FLOAT64], np.uint8)
"""Codes in the order in which they are tried."""
_CLASSES: Final = ((0, _FLOAT32), (_FLOAT32, _FLOAT64), (_FLOAT64, _FLOAT64 + 1))
"""Codes that are written together: from, and below."""
_KNOWN: Final = range(_FLOAT64 + 1)
_POWERS: Final = np.array([10.0**e for e in range(16)])
_EXACT: Final = float(1 << 53)
_INT64: Final = float(1 << 63)
_NEGATIVE_ZERO: Final = np.int64(-(1 << 63))


def write(out: bytearray, value: Values, runs: Runs) -> None:
    """Append values, [n]; n must be at least 1."""
    special = ~np.isfinite(value) | (value.view(np.int64) == _NEGATIVE_ZERO)
    places = np.flatnonzero(special)
    plain = _stood_in(value, special) if len(places) else value
    with np.errstate(all="ignore"):
        codes, scaled = _choose(plain, runs)
    integers.write(out, codes.astype(np.int64))
    integers.write_varint(out, len(places))
    if len(places):
        integers.write(out, places.astype(np.int64))
        integers.write(out, value.view(np.int64)[places])
    if int(codes.max()) < _FLOAT32:
        series.write(out, scaled.astype(np.int64), runs)
        return
    for first, beyond in _CLASSES:
        of_class = (codes >= first) & (codes < beyond)
        count = np.count_nonzero(of_class)
        if count == len(codes):
            series.write(out, _numbers(first, plain, scaled), runs)
        elif count:
            mask = runs.spread(of_class)
            series.write(out, _numbers(first, plain[mask], scaled[mask]), runs.some(of_class))


def _numbers(code: int, value: Values, scaled: Values) -> Int64s:
    """What is written of values of one class of codes, [n]."""
    if code == _FLOAT64:
        return value.view(np.int64)
    if code == _FLOAT32:
        return value.astype(np.float32).view(np.int32).astype(np.int64)
    return scaled.astype(np.int64)


def _stood_in(value: Values, special: Mask) -> Values:
    """The values with the one before in place of each special one, which costs least."""
    last = np.maximum.accumulate(np.where(special, 0, np.arange(len(value))))
    filled: Values = np.where(special[last], 0.0, value[last])
    return filled


def _choose(value: Values, runs: Runs) -> tuple[Codes, Values]:
    """The code of each point, [points], and the scaled values, [n], which mean something for decimals only."""
    rungs = _first_rungs(value, runs)
    alike = not np.count_nonzero(rungs != rungs[0])
    scaled, fits = _tried(value, int(_LADDER[rungs[0]]) if alike else runs.spread(_LADDER[rungs]))
    failed = ~_all_of_each(fits, runs)
    while failed.any():  # few points: those whose probes happened to be rounder than the rest
        rungs[failed] += 1
        where, less = runs.spread(failed), runs.some(failed)
        scaled[where], fits = _tried(value[where], less.spread(_LADDER[rungs[failed]]))
        failed[failed] = ~_all_of_each(fits, less)
    return _LADDER[rungs], scaled


def _all_of_each(fits: Mask, runs: Runs) -> Mask:
    if np.count_nonzero(fits) == len(fits):
        return np.ones(len(runs.starts), np.bool_)
    whole: Mask = np.logical_and.reduceat(fits, runs.starts)
    return whole


def _first_rungs(value: Values, runs: Runs) -> npt.NDArray[np.intp]:
    """The first rung of the ladder that fits a few values of each point, [points]."""
    last = runs.lengths - 1
    probes = value[np.array([runs.starts, runs.starts + last // 3, runs.starts + last])]
    rungs = np.full(len(runs.starts), len(_LADDER) - 1, np.intp)
    undecided = np.ones(len(rungs), np.bool_)
    for rung, code in enumerate(_LADDER.tolist()):
        _, fits = _tried(probes, code)
        now = fits.all(axis=0) & undecided
        rungs[now] = rung
        undecided &= ~now
        if not undecided.any():
            break
    return rungs


def _tried(value: Values, code: int | Codes) -> tuple[Values, Mask]:
    """Values scaled as their codes say, and which of them come back bit for bit; all of the shape of ``value``."""
    codes = np.asarray(code)
    lowest, highest = int(codes.min()), int(codes.max())
    power = _POWERS[codes & 15] if lowest != highest else _POWERS[lowest & 15]
    scaled = np.rint(value * power) if highest else np.rint(value)
    back = scaled / power if highest else scaled
    if highest >= _FLOAT32_OF:
        back = np.where(codes >= _FLOAT32_OF, back.astype(np.float32).astype(np.float64), back)
        if highest >= _FLOAT32:
            back = np.where(codes >= _FLOAT32, value.astype(np.float32).astype(np.float64), back)
    fits = (back == value) & (np.abs(scaled) < (_EXACT if lowest else _INT64))
    if not lowest and highest:
        fits &= (np.abs(scaled) < _EXACT) | (codes == 0)
    return scaled, fits | (codes == _FLOAT64) if highest >= _FLOAT32 else fits


def read(reader: Reader, runs: Runs) -> Values:
    """The inverse of :func:`write`, [n].

    Raises:
        PayloadError: the bytes are not such values.
    """
    codes = reader.column(len(runs.starts))
    if int(codes.min()) not in _KNOWN or int(codes.max()) not in _KNOWN:
        raise PayloadError("bad-frame", "values in a way that is not known")
    count = reader.varint()
    if count > runs.n:
        raise PayloadError("bad-frame", f"{count} special values among {runs.n}")
    places = bits = None
    if count:
        places, bits = reader.column(count), reader.column(count)
        if places.min() < 0 or places.max() >= runs.n:
            raise PayloadError("bad-frame", "a special value in no place")
    if int(codes.max()) < _FLOAT32:
        value = _values_of(series.read(reader, runs), codes, runs)
    else:
        value = _read_classes(reader, codes, runs)
    if places is not None and bits is not None:
        value[places] = bits.view(np.float64)
    return value


def _read_classes(reader: Reader, codes: Int64s, runs: Runs) -> Values:
    value = np.empty(runs.n, np.float64)
    for first, beyond in _CLASSES:
        of_class = (codes >= first) & (codes < beyond)
        if of_class.any():
            mine = runs.some(of_class)
            value[runs.spread(of_class)] = _values_of(series.read(reader, mine), codes[of_class], mine)
    return value


def _values_of(numbers: Int64s, codes: Int64s, runs: Runs) -> Values:
    """Numbers of one class of codes back to values, [n]."""
    value: Values
    with np.errstate(invalid="ignore"):  # foreign bytes may hold a signalling NaN
        if codes[0] == _FLOAT64:
            value = numbers.view(np.float64)
            return value
        if codes[0] == _FLOAT32:
            return numbers.astype(np.int32).view(np.float32).astype(np.float64)
        lowest, highest = int(codes.min()), int(codes.max())
        if lowest == highest:
            value = numbers / _POWERS[lowest & 15] if lowest & 15 else numbers.astype(np.float64)
            return value if lowest < _FLOAT32_OF else value.astype(np.float32).astype(np.float64)
        each = runs.spread(codes)
        value = numbers / _POWERS[each & 15]
        if highest >= _FLOAT32_OF:
            value = np.where(each >= _FLOAT32_OF, value.astype(np.float32).astype(np.float64), value)
    return value
