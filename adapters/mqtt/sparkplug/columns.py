"""Samples of many messages, gathered in columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from gateway import quality as q
from gateway.frame import EMPTY, Frame

MS: Final = 1_000_000
MAX_MS: Final = 9_223_372_036_854
"""The last ms since 1970 that an int64 of ns can hold."""
STALE: Final = q.no_value(q.Reason.STALE)
MISSING: Final = q.no_value(q.Reason.MISSING)
UNPARSABLE: Final = q.no_value(q.Reason.UNPARSABLE)
NOT_A_NUMBER: Final = q.no_value(q.Reason.NOT_A_NUMBER)
STALE_QUALITY: Final = q.INVALID | q.OLD_DATA


class Columns:
    """Point, time (ns), value and quality of samples, each a list of one length."""

    __slots__ = ("points", "quality", "times", "values")

    def __init__(self) -> None:
        self.points: list[int] = []
        self.times: list[int] = []
        self.values: list[float] = []
        self.quality: list[int] = []

    def __len__(self) -> int:
        return len(self.points)

    def add(self, point: int, time_ns: int, value: float, quality: int) -> None:
        """One sample."""
        self.points.append(point)
        self.times.append(time_ns)
        self.values.append(value)
        self.quality.append(quality)

    def stale(self, points: Iterable[int], time_ns: int) -> None:
        """Points of which nothing is known from ``time_ns`` on."""
        for point in points:
            self.add(point, time_ns, STALE, STALE_QUALITY)

    def frame(self) -> Frame:
        """All samples; what is not finite and not said to be bad is no number."""
        if not self.points:
            return EMPTY
        values = np.array(self.values, np.float64)
        quality = np.array(self.quality, np.uint16)
        wrong = ~np.isfinite(values)
        if wrong.any():
            wrong &= (quality & q.VALIDITY) != q.INVALID
            values[wrong] = NOT_A_NUMBER
            quality[wrong] |= q.INVALID
        return Frame(np.array(self.points, np.int32), np.array(self.times, np.int64), values, quality)
