"""The law: from what a link carries, what is made for it and what waits, to how wide bounds are. Pure.

Each period, with C what the link carries, R what the steps make (both in bytes a second) and Q what waits (bytes)::

    target = max(0.05 C, 0.85 C - Q / T_drain)
    e      = ln(R / target)
    s     += (0.6 if e > 0 else 0.12) * clip(e, -1, 1.5)
    bound  = clip(exp(s) * configured, min, max)

Too much is answered fast, for the backlog grows with each second; room to spare is taken slowly, for it may not last.
One departure: after three periods in which not half of the target was made and nothing waited, a step down is with
0.3 instead of 0.12. That is no risk: it makes bounds narrower by a quarter at most, and what comes of it would have to
grow with more than the second power of that to go beyond the target.

s stays in the range in which some bound moves (else it would wind up while all stand at an end).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

USE: Final = 0.85
"""The part of what a link carries that is planned for."""
LEAST: Final = 0.05
"""What is made for it however much waits."""
FAST: Final = 0.6
SLOW: Final = 0.12
SPARE: Final = 0.3
"""Instead of SLOW, where there is much room."""
ROOM: Final = math.log(0.5)
"""e, at most, and"""
SPARE_AFTER: Final = 3
"""so many periods on end, for that."""
CLIP: Final = (-1.0, 1.5)


@dataclass(slots=True)
class Law:
    """The state is one number, common to all bounds before a link."""

    s: float = 0.0
    """ln of how many times the configured bounds those in force are."""
    low: float = 0.0
    high: float = 0.0
    """The range of s."""
    error: float = 0.0
    """e of the last period."""
    target: float = math.inf
    """Bytes a second."""
    spare: int = 0
    """Periods on end in which there was much room."""

    def range(self, low: float, high: float) -> None:
        """Where the narrowest and the widest of all bounds lie, as s."""
        self.low, self.high = low, high
        self.s = min(max(self.s, low), high)

    def step(self, made: float, carried: float, waiting: float, drain_s: float) -> float:
        """One period: R, C, Q and T_drain to how many times the configured bounds the new ones are.

        ``carried`` may be infinite: nobody knows yet; then bounds go back to their narrowest.
        """
        self.target = target_of(carried, waiting, drain_s)
        if made <= 0 or math.isinf(self.target):
            self.error = CLIP[0]
        else:
            self.error = math.log(made) - math.log(self.target) if self.target > 0 else CLIP[1]
        self.spare = self.spare + 1 if self.error < ROOM and waiting <= LEAST * carried * drain_s else 0
        gain = FAST if self.error > 0 else SPARE if self.spare >= SPARE_AFTER else SLOW
        self.s = min(max(self.s + gain * min(max(self.error, CLIP[0]), CLIP[1]), self.low), self.high)
        return self.widening

    @property
    def widening(self) -> float:
        """How many times the configured bounds those are that are wanted."""
        return math.exp(self.s)

    @property
    def at_end(self) -> bool:
        """Whether no bound can be wider, and too much is made all the same."""
        return self.s >= self.high - 1e-9 and self.error > 0


def target_of(carried: float, waiting: float, drain_s: float) -> float:
    """Bytes a second that may be made, so that what waits is gone after some ``drain_s``."""
    return carried if math.isinf(carried) else max(LEAST * carried, USE * carried - waiting / drain_s)
