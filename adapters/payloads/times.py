"""Source times as devices write them, to nanoseconds since 1970 UTC.

Numbers count since 1970 in a unit that is told or guessed: today is 1.8e9 seconds, 1.8e12 ms, 1.8e15 us and
1.8e18 ns, so that the four never meet between the years 1973 and 5138. Text is RFC 3339 with its zone.
"""

from __future__ import annotations

import enum
import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

from gateway.errors import PayloadError

_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt _](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,18}))?\s?(?:([Zz])|([+-])(\d\d):?(\d\d))",
    re.ASCII,
)
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,18})?", re.ASCII)
_LAST = 2**63 - 1
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class TimeUnit(enum.StrEnum):
    """What a numeric source time counts."""

    AUTO = "auto"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


_SCALE = {
    TimeUnit.SECONDS: 1_000_000_000,
    TimeUnit.MILLISECONDS: 1_000_000,
    TimeUnit.MICROSECONDS: 1_000,
    TimeUnit.NANOSECONDS: 1,
}


def parse_time(value: Any, unit: TimeUnit = TimeUnit.AUTO) -> int:
    """A source time in ns since 1970 UTC.

    Args:
        value: a number, a numeral, an RFC 3339 text, or an aware ``datetime`` (CBOR tags 0 and 1).
        unit: what a number counts; guessed by its magnitude when ``auto``.

    Raises:
        PayloadError: ``bad-time``, if it is none of these or lies outside 1970 to 2262.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _checked(_from_number(value, unit))
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            number = float(text) if "." in text else int(text)
            return _checked(_from_number(number, unit))
        return _checked(_from_text(text))
    if isinstance(value, datetime) and value.tzinfo is not None:
        since = value - datetime(1970, 1, 1, tzinfo=UTC)
        return _checked(since // timedelta(microseconds=1) * 1000)
    raise PayloadError("bad-time", f"a {type(value).__name__} is not a time")


def seconds_to_ns(seconds: float) -> int:
    """Seconds to ns without the error that a product of floats would add.

    Raises:
        PayloadError: ``bad-time``, if it is not finite.
    """
    return _to_ns(seconds, 1_000_000_000)


def _to_ns(value: float, scale: int) -> int:
    if isinstance(value, int):
        return value * scale
    try:
        whole = int(value)
    except (OverflowError, ValueError):
        raise PayloadError("bad-time", f"{value!r} is not a time") from None
    return whole * scale + round((value - whole) * scale)


def _from_number(value: float, unit: TimeUnit) -> int:
    if unit is not TimeUnit.AUTO:
        return _to_ns(value, _SCALE[unit])
    if value < 1e11:
        return _to_ns(value, 1_000_000_000)
    if value < 1e14:
        return _to_ns(value, 1_000_000)
    return _to_ns(value, 1_000 if value < 1e17 else 1)


def _from_text(text: str) -> int:
    match = _TEXT.fullmatch(text)
    if match is None:
        raise PayloadError("bad-time", f"{text[:60]!r} is not an RFC 3339 time with its zone")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, _, sign, zone_hours, zone_minutes = match.groups()[6:]
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise PayloadError("bad-time", f"{text!r}: {error}") from None
    zone = int(zone_hours or 0) * 60 + int(zone_minutes or 0)
    # 60 is a leap second; it counts as the first second of the next minute, as POSIX time has it.
    if hour > 23 or minute > 59 or second > 60 or zone >= 24 * 60 or int(zone_minutes or 0) > 59:
        raise PayloadError("bad-time", f"{text!r} is not a time of day")
    at = days * 86_400 + hour * 3600 + minute * 60 + second - (-zone if sign == "-" else zone) * 60
    return at * 1_000_000_000 + (round(Fraction(f"0.{fraction}") * 1_000_000_000) if fraction else 0)


def _checked(ns: int) -> int:
    if not 0 <= ns <= _LAST:  # never printed: a number of thousands of digits cannot be
        raise PayloadError("bad-time", "lies outside 1970 to 2262")
    return ns
