"""How fast a link works, seen from bursts on a link that stood idle before. Pure.

The rows of one commit go one behind the other. The acknowledgement of each comes after ``way + bytes / rate``, where
the bytes are those of the burst so far: so the slope tells the rate, and a long way only moves the line. Least squares
that forget; where bursts are all alike, or the times follow from something else, they tell nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

FORGETS: Final = 0.8
"""A period."""
POINTS: Final = 4.0
"""So many are needed."""
SPREAD: Final = 0.15
"""Standard deviation of the bytes by their mean, at least."""
FIT: Final = 0.8
"""What part of the spread of times the line must explain."""


class Bursts:
    """See the module."""

    def __init__(self) -> None:
        self._n = self._s = self._t = self._ss = self._st = self._tt = 0.0

    def learn(self, points: Iterable[tuple[float, float]]) -> float:
        """The acknowledgements of a period, (bytes of the burst so far, seconds since its begin); bytes a second.

        Infinite if there were none, or they tell nothing.
        """
        fresh = list(points)
        if not fresh:
            return math.inf
        for name in ("_n", "_s", "_t", "_ss", "_st", "_tt"):
            setattr(self, name, FORGETS * getattr(self, name))
        for size, seconds in fresh:
            self._n += 1
            self._s += size
            self._t += seconds
            self._ss += size * size
            self._st += size * seconds
            self._tt += seconds * seconds
        return self._rate()

    def forget(self) -> None:
        """The link is another."""
        self._n = self._s = self._t = self._ss = self._st = self._tt = 0.0

    def _rate(self) -> float:
        size, seconds = self._s / self._n, self._t / self._n
        spread = self._ss / self._n - size * size
        together = self._st / self._n - size * seconds
        times = self._tt / self._n - seconds * seconds
        if self._n < POINTS or spread < (SPREAD * size) ** 2 or together <= 0 or times <= 0:
            return math.inf
        return spread / together if together * together >= FIT * spread * times else math.inf
