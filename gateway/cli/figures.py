"""Figures as people read them on a terminal: short, with a unit where one is not plain from the column. Pure."""

from __future__ import annotations

import time
from typing import Final

_BYTES: Final = ("B", "kB", "MB", "GB", "TB")
BARS: Final = "▁▂▃▄▅▆▇█"


def rate(value: float) -> str:
    """Samples a second, three digits that count: ``0.25``, ``38.4``, ``1,200``."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def size(value: float) -> str:
    """Bytes in powers of ten, three digits that count: ``512 B``, ``1.02 kB``, ``95.1 MB``."""
    for unit in _BYTES[:-1]:
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} {_BYTES[-1]}"


def count(value: int) -> str:
    """A number with separators; millions short, because they only grow."""
    return f"{value:,}" if value < 10_000_000 else f"{value / 1e6:,.1f} M"


def span(seconds: float) -> str:
    """A time span in two units at most: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 04 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, low, small, digits in ((60, "s", "min", 3600), (3600, "min", "h", 86400)):
        if whole < digits:
            return f"{whole // unit} {small} {whole % unit // (unit // 60):02} {low}"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def clock(time_ms: int) -> str:
    """Time of the day in UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(time_ms / 1000))


def begins(since_ms: int) -> str:
    """When a version of a service takes over; empty once it has."""
    return f"takes samples from {moment(since_ms)} on" if since_ms > time.time() * 1000 else ""


def moment(time_ms: int) -> str:
    """Date and time in UTC, with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ms // 1000)) + f".{time_ms % 1000:03}Z"


def bar(share: float, width: int) -> str:
    """``|||||     ``: a share of one as a bar of so many columns."""
    full = round(max(0.0, min(1.0, share)) * width)
    return "|" * full + " " * (width - full)


def spark(values: list[float], width: int) -> str:
    """The newest values as a little curve, from 0 to the largest of them."""
    newest = values[-width:]
    top = max(newest, default=0.0) or 1.0
    return "".join(BARS[min(7, int(8 * max(0.0, value) / top))] for value in newest)
