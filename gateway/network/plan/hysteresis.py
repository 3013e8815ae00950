"""When a better plan is worth a move. Pure: whoever calls tells the time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

LEAST_GAIN: Final = 0.10
"""Part of what runs now that must be saved."""
IN_A_ROW: Final = 3
"""Periods of adverts that it must be so."""
DWELL_S: Final = 600.0
"""How long a subtree stays as it is after a move."""
MOVE_BYTES: Final = 20_000.0
"""What a cut that changes costs once, in units of cost: windows that are split or joined, an assignment."""


@dataclass
class _Memory:
    since_s: float = float("-inf")
    """When it moved last."""
    gains: int = 0
    """In a row."""
    counted_s: float = float("-inf")
    urgent: frozenset[str] = frozenset()
    """What it moved for without delay, since it moved last without."""


@dataclass(frozen=True)
class Offer:
    """A subtree of the core, and what could be better there."""

    now_s: float
    """Monotonic."""
    every_s: float
    """Period of its adverts."""
    running: float
    """What it costs now, a second."""
    planned: float
    """What it would cost."""
    moves: int
    """Cuts that would change."""
    urgent: frozenset[str] = frozenset()
    """Why it cannot stay, each in a few words: a parent that is dead, an operator that is lost."""
    pressed: frozenset[str] = frozenset()
    """Why it should not stay: CPU, links or backlogs. They come and go, so that it moves for them once in a dwell."""

    @property
    def worth(self) -> bool:
        """Whether the gain is larger than a tenth and than what the moves cost, spread over the time that it stays."""
        gain = self.running - self.planned
        return gain > max(LEAST_GAIN * abs(self.running), self.moves * MOVE_BYTES / DWELL_S)


@dataclass
class Hysteresis:
    """Remembers subtrees by name."""

    dwell_s: float = DWELL_S
    since_s: float = float("-inf")
    """When subtrees that nothing is remembered of may have moved last."""
    _known: dict[str, _Memory] = field(default_factory=dict)

    def decides(self, subtree: str, offer: Offer) -> bool:
        """Whether to move now; a yes counts as moved.

        What is urgent moves at once, but for one reason only once in a dwell: what a move did not mend is not mended
        by another one. What presses moves at once unless the last move is not a dwell ago.
        """
        memory = self._known.setdefault(subtree, _Memory(since_s=self.since_s))
        if not offer.moves:
            memory.gains = 0
            return False
        rested = offer.now_s - memory.since_s >= self.dwell_s
        known = frozenset() if rested else memory.urgent
        if offer.urgent - known or (rested and offer.pressed):
            self._known[subtree] = _Memory(since_s=offer.now_s, urgent=known | offer.urgent)
            return True
        if not offer.worth:
            memory.gains, memory.counted_s = 0, offer.now_s
            return False
        if offer.now_s - memory.counted_s >= offer.every_s:
            memory.gains, memory.counted_s = memory.gains + 1, offer.now_s
        if memory.gains < IN_A_ROW or not rested:
            return False
        self._known[subtree] = _Memory(since_s=offer.now_s)
        return True

    def forget(self, subtrees: frozenset[str]) -> None:
        """Keep only these."""
        self._known = {name: memory for name, memory in self._known.items() if name in subtrees}
