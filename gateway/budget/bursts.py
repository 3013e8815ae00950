"""How fast a link works, seen from bursts on a link that stood idle before. Pure.

The rows of one commit go one behind the other. The acknowledgement of each comes after ``way + bytes / rate``, where
the bytes are those of the burst so far: so the slope tells the rate, and a long way only moves the line. If bursts have
several rows, it is what lies between their acknowledgements; else least squares over bursts of different length. Both
forget; where bursts are all alike, or the times follow from something else, they tell nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Final

Point = tuple[float, float, float]
"""An acknowledgement: which burst, bytes of it so far, seconds since its begin."""
FORGETS: Final = 0.85
"""A period."""
POINTS: Final = 4.0
"""So many are needed of a line, and"""
LEAST_S: Final = 0.25
"""What came sooner after the begin of a burst tells nothing: many links let a little through at once, and then wait."""
PAIRS: Final = 2.0
"""so many rows behind another."""
SPREAD: Final = 0.05
"""Standard deviation of the bytes by their mean, at least."""
FIT: Final = 0.9
"""What part of the spread of times the line must explain."""


class Bursts:
    """See the module."""

    def __init__(self) -> None:
        self._n = self._s = self._t = self._ss = self._st = self._tt = 0.0
        self._pairs = self._size = self._seconds = 0.0

    def learn(self, points: Iterable[Point]) -> float:
        """The acknowledgements of a period; bytes a second.

        Infinite if there were none, or they tell nothing.
        """
        fresh = [point for point in points if point[2] >= LEAST_S]
        if not fresh:
            return math.inf
        for name in ("_n", "_s", "_t", "_ss", "_st", "_tt", "_pairs", "_size", "_seconds"):
            setattr(self, name, FORGETS * getattr(self, name))
        for (burst, size, seconds), (other, more, later) in itertools.pairwise(fresh):
            if burst == other:
                self._pairs += 1
                self._size += more - size
                self._seconds += later - seconds
        for _, size, seconds in fresh:
            self._n += 1
            self._s += size
            self._t += seconds
            self._ss += size * size
            self._st += size * seconds
            self._tt += seconds * seconds
        return self._rate()

    def forget(self) -> None:
        """The link is another."""
        self.__init__()  # type: ignore[misc]

    def _rate(self) -> float:
        if self._pairs >= PAIRS and self._seconds > 0:
            return self._size / self._seconds
        size, seconds = self._s / self._n, self._t / self._n
        spread = self._ss / self._n - size * size
        together = self._st / self._n - size * seconds
        times = self._tt / self._n - seconds * seconds
        if self._n < POINTS or spread < (SPREAD * size) ** 2 or together <= 0 or times <= 0:
            return math.inf
        return spread / together if together * together >= FIT * spread * times else math.inf
