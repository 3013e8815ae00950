"""The local clock: days, weeks and months of a time zone, and blocks that begin at its full hours.

Offsets of time zones change at full quarters of an hour UTC only, so a local date is looked up once a quarter.
"""

from __future__ import annotations

import datetime as dt
import enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from gateway.errors import FieldError

if TYPE_CHECKING:
    from gateway.frame import Times

QUARTER_NS: Final = 900_000_000_000
_SECOND_NS: Final = 1_000_000_000


class Period(enum.StrEnum):
    """Over what something is kept, on the local clock; weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def zone_of(name: str) -> dt.tzinfo:
    """The time zone; UTC also where the system has no table of them."""
    return dt.UTC if name == "UTC" else ZoneInfo(name)


def check_zone(name: str) -> None:
    """Refuse what is no time zone.

    Raises:
        FieldError: the system does not know it.
    """
    try:
        zone_of(name)
    except (KeyError, ValueError, OSError):  # what zoneinfo raises: unknown, not a key, a folder
        message = f"{name!r} is no time zone of this system; write one such as Europe/Berlin, Asia/Shanghai or UTC"
        raise FieldError("timezone", message) from None


@lru_cache(maxsize=8192)
def _ordinal(zone: str, quarter: int) -> int:
    """The local date at a quarter of an hour since 1970 UTC, as a number of days."""
    return dt.datetime.fromtimestamp(quarter * 900, zone_of(zone)).date().toordinal()


class Calendar:
    """One time zone."""

    def __init__(self, zone: str) -> None:
        self._zone = zone

    def phase_ns(self, every_ns: int) -> int:
        """What has to be added to UTC so that multiples of ``every_ns`` are full blocks of the local clock.

        Offsets are whole quarters of an hour and jump by whole or half hours, so that this holds all year for blocks
        of up to half an hour in every zone, and for hours everywhere but on Lord Howe Island.
        """
        offset = dt.datetime(2025, 1, 1, tzinfo=zone_of(self._zone)).utcoffset() or dt.timedelta()
        return int(offset.total_seconds()) * _SECOND_NS % every_ns

    def numbers(self, time: Times, period: Period) -> npt.NDArray[np.int64]:
        """The number of the period in which each time lies, [n]."""
        quarters, at = np.unique(time // QUARTER_NS, return_inverse=True)
        days = np.array([self._number(quarter, period) for quarter in quarters.tolist()], np.int64)
        return days[at] if len(days) else np.empty(0, np.int64)

    def _number(self, quarter: int, period: Period) -> int:
        day = _ordinal(self._zone, quarter)
        if period is Period.DAY:
            return day
        if period is Period.WEEK:
            return (day - 1) // 7
        date = dt.date.fromordinal(day)
        return date.year * 12 + date.month - 1

    def ends(self, numbers: npt.NDArray[np.int64], period: Period) -> Times:
        """The end of each period in ns since 1970 UTC, [n]: local midnight."""
        return np.array([self._end(number, period) for number in numbers.tolist()], np.int64)

    def _end(self, number: int, period: Period) -> int:
        if period is Period.MONTH:
            after = dt.date((number + 1) // 12, (number + 1) % 12 + 1, 1)
        else:
            after = dt.date.fromordinal(number + 1 if period is Period.DAY else (number + 1) * 7 + 1)
        midnight = dt.datetime.combine(after, dt.time(), zone_of(self._zone))
        return int(midnight.timestamp()) * _SECOND_NS
