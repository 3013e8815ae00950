"""The ladder: what is done when no bound can be wider, rung by rung, and back in the reverse order. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.budget.config import Rung

UP: Final = 3
"""Periods at the end of the range before the next rung."""
DOWN: Final = 6
"""Periods in which there was room to spare before one is taken back, at first;"""
LONGEST_DOWN: Final = 192
"""twice as many each time that it had to be taken again soon, up to so many."""
SOON: Final = 60
"""Periods."""
ROOM: Final = 1.15
"""How much more may be made than was made when a rung was taken, for it to be taken back."""
FADES: Final = 0.99
"""A period: what was made then says less and less about what would be made now."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One rung for some pipelines of equal importance; of ``codec`` for all."""

    rung: Rung
    pipelines: tuple[str, ...] = ()


@dataclass(slots=True)
class Ladder:
    """How many of the stages are taken."""

    height: int = 0
    _at_end: int = 0
    _room: int = 0
    _wait: int = DOWN
    _since_down: int = SOON
    _made: list[float] = field(default_factory=list)
    """Bytes a second that were made when each stage was taken."""

    def look(self, stages: int, *, at_end: bool, made: float, target: float) -> int:
        """One period more; by how many stages the height changed: 1, 0 or -1.

        Args:
            stages: how many there are.
            at_end: no bound can be wider, and too much is made all the same.
            made: bytes a second.
            target: those that may be made.
        """
        self.height = min(self.height, stages)
        self._made = [rate * FADES for rate in self._made[: self.height]]
        self._made += [made] * (self.height - len(self._made))  # from before a restart
        self._since_down += 1
        self._at_end = self._at_end + 1 if at_end else 0
        self._room = self._room + 1 if self.height and target >= ROOM * self._made[-1] else 0
        if self._at_end >= UP and self.height < stages:
            self._wait = min(LONGEST_DOWN, 2 * self._wait) if self._since_down < SOON else DOWN
            self._made.append(made)
            return self._change(1)
        if self._room >= self._wait:
            self._made.pop()
            self._since_down = 0
            return self._change(-1)
        return 0

    def _change(self, by: int) -> int:
        self.height += by
        self._at_end = self._room = 0
        return by
