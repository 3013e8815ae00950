"""From rows of decoded values to columns of samples. Pure functions.

On the way a value is a float, and a NaN says what else it is: plain (a JSON null), with a
:class:`~gateway.quality.Reason` in its payload (there is no number, and why), or :data:`ABSENT` (no sample).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np

from adapters.payloads.times import parse_time
from gateway import quality as q
from gateway.errors import PayloadError
from gateway.frame import Frame, Ids, Mask, Times, Values

_ABSENT_BIT: Final = 1 << 16  # above the 16 bits of a reason
ABSENT: Final = float(np.array([0x7FF8_0000_0000_0000 | _ABSENT_BIT], np.uint64).view(np.float64)[0])
NOT_A_NUMBER: Final = q.no_value(q.Reason.NOT_A_NUMBER)
NAN: Final = float("nan")
_MISSING: Final = q.no_value(q.Reason.MISSING)
_STALE: Final = np.uint16(q.QUESTIONABLE | q.OLD_DATA)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
_WORDS = {"true": 1.0, "false": 0.0}
_EXACT: Final = 2**53


def number_of(value: Any) -> float:
    """What a decoded value is as a sample's value."""
    if value is None:
        return NAN
    if isinstance(value, str):
        return number_in(value)
    if isinstance(value, (int, float, Decimal)):
        try:
            return float(value)
        except (OverflowError, ValueError):  # ValueError: Decimal's signalling NaN
            return NOT_A_NUMBER
    return NOT_A_NUMBER


def number_in(text: str) -> float:
    """The number that a text writes, 1 and 0 for true and false, else :data:`NOT_A_NUMBER`."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if abs(number) < float("inf") else NOT_A_NUMBER
    return _WORDS.get(text.strip().lower(), NOT_A_NUMBER)


def samples(point: Ids, time: Times, value: Values, stale: Mask | None) -> Frame:
    """The frame of decoded samples, all [n]: without the absent ones, with the quality that each deserves.

    ``stale`` marks values of unknown age: the broker had kept them, and they carry no time of their own.
    Ids below 0 (points that were not taken) are left out.
    """
    quality = np.zeros(len(point), np.uint16)
    if stale is not None:
        quality[stale] = _STALE
    bad = ~np.isfinite(value)
    if bad.any():
        value = np.where(np.isinf(value), NOT_A_NUMBER, value)
        bits = np.ascontiguousarray(value).view(np.uint64)
        quality[bad] = q.INVALID
        absent = bad & ((bits & np.uint64(_ABSENT_BIT)) != 0)
        value = np.where(bad & ((bits & np.uint64(0x1FFFF)) == 0), _MISSING, value)
        keep = ~absent & (point >= 0)
        return Frame(point[keep], time[keep], value[keep], quality[keep])
    frame = Frame(point, time, value, quality)
    return frame if point.min(initial=0) >= 0 else frame.take(point >= 0)


def unix_times(column: Values, rows: Sequence[tuple[Any, ...]], arrival: Times) -> tuple[Times, list[int]]:
    """Source times in ns, [m], and the indexes of the rows whose time is none (the arrival stands there).

    Args:
        column: the times as floats, NaN where there is none, [m].
        rows: as they were decoded, the time last; only looked at where floats do not do.
        arrival: the time to use where there is none, ns, [m].
    """
    low, high = (float(column.min()), float(column.max())) if len(column) else (NAN, NAN)
    scale_of_all = _scale(low)
    if low >= 0 and high < _EXACT and _scale(high) == scale_of_all and high * scale_of_all < 9.2e18:
        # The usual case, also of small batches, where each call of numpy counts: all are there, in one unit
        whole_units = column.astype(np.int64)
        return whole_units * scale_of_all + np.rint((column - whole_units) * scale_of_all).astype(np.int64), []
    none = np.isnan(column)
    value = np.where(none, 0.0, column)
    if (value < 0).any() or (value >= _EXACT).any():
        return each_time([row[-1] for row in rows], arrival)
    scale = np.select([value < 1e11, value < 1e14], [1_000_000_000, 1_000_000], 1_000)
    if (value * scale >= 9.2e18).any():
        return each_time([row[-1] for row in rows], arrival)
    whole = np.trunc(value)
    fraction = np.rint((value - whole) * scale).astype(np.int64)
    times = whole.astype(np.int64) * scale + fraction
    return np.where(none, arrival, times), []


def _scale(value: float) -> int:
    """How many ns the unit has that a Unix time of this magnitude is in."""
    return 1_000_000_000 if value < 1e11 else 1_000_000 if value < 1e14 else 1_000


def each_time(raw: list[Any], arrival: Times) -> tuple[Times, list[int]]:
    """The same by way of the general parser: for texts, for ns, which no float can hold, and for errors."""
    times = arrival.copy()
    wrong: list[int] = []
    if set(map(type, raw)) == {int} and min(raw) >= 10**17 and max(raw) < 2**63:
        return np.array(raw, np.int64), wrong
    for number, value in enumerate(raw):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            continue
        try:
            times[number] = parse_time(value)
        except PayloadError:
            wrong.append(number)
    return times, wrong
