"""Source times as files of samples write them, to ns since 1970 UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from adapters.payloads.times import parse_time
from gateway.errors import PayloadError
from gateway.frame import Times, Values

SECONDS_BELOW: Final = 9.2e9
"""Numbers of a column below it are taken for seconds since 1970 at once; others are looked at one by one."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt _]\d\d:\d\d:\d\d", re.ASCII)
_NANOSECONDS: Final = re.compile(r"[.,]\d{7}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_US: Final = timedelta(microseconds=1)


class TimeReader(dict[str, int]):
    """Texts to ns, each of them read once: a file of many points says each time often.

    A number counts since 1970 (seconds, or ms, us, ns by its size); a text is RFC 3339. One without a zone is
    taken as UTC, and ``zoneless`` says that there was one.
    """

    BOUND: Final = 1 << 16

    def __init__(self) -> None:
        super().__init__()
        self.zoneless = False

    def __missing__(self, text: str) -> int:
        if len(self) >= self.BOUND:
            self.clear()
        self[text] = time_ns = self._read(text)
        return time_ns

    def _read(self, text: str) -> int:
        """One time.

        Raises:
            PayloadError: ``bad-time``.
        """
        if len(text) == 20 and text[19] == "Z" and text[10] == "T" and text[4] == "-":
            try:
                return _checked((datetime.fromisoformat(text) - _EPOCH) // _SECOND * 1_000_000_000, text)
            except ValueError:
                pass
        text = text.strip()
        if not _DATE.match(text) or _NANOSECONDS.search(text):
            return parse_time(text)
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            return parse_time(text)
        if when.tzinfo is None:
            self.zoneless = True
            when = when.replace(tzinfo=UTC)
        return _checked((when - _EPOCH) // _US * 1000, text)


def _checked(time_ns: int, text: str) -> int:
    if not 0 <= time_ns < 1 << 63:
        raise PayloadError("bad-time", f"{text} lies outside 1970 to 2262")
    return time_ns


def seconds(column: Values) -> Times:
    """Unix seconds, exact to the microsecond, to ns, [n].

    Raises:
        PayloadError: ``bad-time``; one is negative, not finite, or counts something else than seconds.
    """
    if not ((column >= 0) & (column < SECONDS_BELOW)).all():
        raise PayloadError("bad-time", "not unix seconds")
    whole = np.floor(column)
    # What a float of today's seconds can tell ends at 0.24 us.
    parts = np.rint((column - whole) * 1e6).astype(np.int64) * 1000
    result: Times = whole.astype(np.int64) * 1_000_000_000 + parts
    return result
