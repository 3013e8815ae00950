"""Where windows of fixed length begin and end: at multiples of a length since 1970 UTC, or by the local calendar.

Every window of time has a number that grows with time. In UTC it is the time divided by the length. By the local
calendar it is the *local* time divided by the length (or the month), which this module corrects where a zone changes
its offset from UTC:

* A length that is longer than the change stretches or shrinks: the day on which clocks go back is one window of 25
  hours, a shift of eight hours from midnight one of nine.
* A length that the change spans at least once is not touched: the hour that comes twice is two windows of an hour, or
  eight of a quarter; those of the hour that is left out do not exist.

So a time t belongs to window ``(t + phase) // length``, where the phase follows the offset but for whole lengths that a
change spans, and a number never goes back. The transitions of a zone are looked up once, from 1970 to 2100; before
and after that its first and last offset stay in force.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.frame import Index, Times

DAY_NS: Final = 86_400_000_000_000
WEEK_NS: Final = 7 * DAY_NS
_SECOND_NS: Final = 1_000_000_000
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_ANCHOR_NS: Final = 1_735_689_600 * _SECOND_NS
"""2025 begins; here the number of a window is the local time divided by its length, whatever came before."""
_MONDAY_NS: Final = 4 * DAY_NS
"""1970 began on a Thursday; the first Monday was the 5th."""
_INT64: Final = np.iinfo(np.int64)
_FARTHEST_MONTHS: Final = 3_400
"""Months to or from 1970 that datetime64[ns] can hold."""


class UtcWindows:
    """Windows at multiples of ``length_ns`` since 1970 UTC."""

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns

    def number(self, times: Times) -> Times:
        """The number of the window that each time lies in, [n]."""
        return times // self._length_ns

    def start(self, numbers: Times) -> Times:
        """The first ns of each window, [n]; saturated at the ends of int64."""
        return _times(numbers, self._length_ns)

    def end(self, numbers: Times) -> Times:
        """The first ns behind each window, [n]; the last window that int64 can hold ends where that does."""
        return _times(numbers + 1, self._length_ns)

    def length(self, numbers: Times) -> Times:
        """How long each window is in ns, [n]."""
        return np.full(len(numbers), self._length_ns)


def _times(numbers: Times, length_ns: int) -> Times:
    low, high = -(-int(_INT64.min) // length_ns), int(_INT64.max) // length_ns
    inside = np.clip(numbers, low, high) * length_ns
    return np.where(numbers > high, _INT64.max, np.where(numbers < low, _INT64.min, inside))


class LocalWindows:
    """Windows by the calendar of a time zone.

    Args:
        zone: name in the time zone database, such as ``Europe/Berlin``.
        length_ns: length of a window; a divisor of a day, or whole days; weeks begin on Mondays.
        months: months of a window, 0 for a window of ``length_ns``.
    """

    def __init__(self, zone: str, length_ns: int, months: int = 0) -> None:
        self._length_ns, self._months = length_ns, months
        at, offset = transitions(zone)
        self._at: Times = np.array([_INT64.min, *at], np.int64)
        """When each stretch of one offset begins."""
        self._phase: Times = self._phases(np.array(offset, np.int64))
        self._low, self._high = int(_INT64.min) + 2 * DAY_NS + WEEK_NS, int(_INT64.max) - 2 * DAY_NS - WEEK_NS
        self._least: Times = np.empty(len(self._at), np.int64)
        """The first number of each stretch; a number never goes back."""
        self._least[0] = _INT64.min
        for stretch in range(1, len(self._at)):
            edge = self._at[stretch : stretch + 1]
            before = max(int(self._raw(edge - 1, stretch - 1)[0]), int(self._least[stretch - 1]))
            self._least[stretch] = max(before, int(self._raw(edge, stretch)[0]))

    def _phases(self, offset: Times) -> Times:
        anchor = int(np.searchsorted(self._at, _ANCHOR_NS, side="right")) - 1
        change = np.diff(offset)
        if not self._months:
            change = np.fmod(change, self._length_ns)
        phase = np.concatenate([[0], np.cumsum(change)])
        phase += offset[anchor] - phase[anchor]
        return phase - _MONDAY_NS if self._length_ns % WEEK_NS == 0 and not self._months else phase

    def _raw(self, times: Times, stretch: Index | int) -> Times:
        """The number by the phase of a stretch, [n]."""
        local: Times = np.clip(times, self._low, self._high) + self._phase[stretch]
        if self._months:
            local = local.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
        number: Times = local // (self._months or self._length_ns)
        return number

    def number(self, times: Times) -> Times:
        """The number of the window that each time lies in, [n]."""
        stretch = np.searchsorted(self._at, times, side="right") - 1
        number: Times = np.maximum(self._raw(times, stretch), self._least[stretch])
        return number

    def start(self, numbers: Times) -> Times:
        """The first ns of each window, [n]."""
        return self.end(numbers - 1)

    def end(self, numbers: Times) -> Times:
        """The first ns behind each window, [n]."""
        stretch = np.searchsorted(self._least, numbers, side="right") - 1
        edge = self._local_start(numbers + 1) - self._phase[stretch]
        after = np.append(self._at[1:], _INT64.max)[stretch]
        end: Times = np.minimum(edge, after)
        return end

    def length(self, numbers: Times) -> Times:
        """How long each window is in ns, [n]."""
        return self.end(numbers) - self.start(numbers)

    def _local_start(self, numbers: Times) -> Times:
        if not self._months:
            low, high = self._low // self._length_ns, self._high // self._length_ns
            return np.clip(numbers, low, high) * self._length_ns
        months = np.clip(numbers * self._months, -_FARTHEST_MONTHS, _FARTHEST_MONTHS)
        local: Times = months.astype("datetime64[M]").astype("datetime64[ns]").astype(np.int64)
        return local


Windows = UtcWindows | LocalWindows


def windows_of(zone: str, length_ns: int, months: int = 0) -> Windows:
    """The windows of a zone, ``UTC`` for those since 1970."""
    return UtcWindows(length_ns) if zone == "UTC" and not months else LocalWindows(zone, length_ns, months)


@lru_cache(maxsize=64)
def transitions(zone: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """When a zone's offset changes (ns since 1970), and its offsets in ns, one more than there are changes.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: there is no such zone.
        ValueError: it is not a name.
    """
    local = ZoneInfo(zone)

    def offset(moment: datetime) -> timedelta:
        found = moment.astimezone(local).utcoffset()
        assert found is not None
        return found

    # No zone has changed its offset twice within a day since 1970
    days = [_FIRST + timedelta(days=day) for day in range((_LAST - _FIRST).days + 1)]
    offsets = [offset(day) for day in days]
    at: list[int] = []
    found = [offsets[0]]
    for (a, before), (b, after) in pairwise(zip(days, offsets, strict=True)):
        if before != after:
            at.append(_bisected(offset, a, b))
            found.append(after)
    return tuple(at), tuple(round(one.total_seconds()) * _SECOND_NS for one in found)


def _bisected(offset: Callable[[datetime], timedelta], a: datetime, b: datetime) -> int:
    """The second, in ns since 1970, at which the offset of ``a`` ends before ``b``."""
    low, high, before = 0, round((b - a).total_seconds()), offset(a)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(a + timedelta(seconds=middle)) == before else (low, middle)
    return (round(a.timestamp()) + high) * _SECOND_NS


def zone_exists(zone: str) -> bool:
    """Whether the time zone database of this machine knows the name."""
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        return False
    return True
