"""What is counted of one uplink between two periods. Lives on the event loop; costs a few additions a row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.batch import Batch

MEMORY: Final = 24
"""Periods in which the quickest acknowledgement is remembered for one to two times as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Of one period. Bytes are those of the rows on disk."""

    made: dict[str, int]
    """Bytes that came into the spool, by pipeline."""
    acknowledged: int
    rows: int
    """Acknowledged."""
    handed: int
    """Bytes of rows that were handed to the uplink, repetitions included."""
    lowest: int
    """The least that waited for its acknowledgement at any moment, without what was put aside."""
    quickest_s: float


class Meter:
    """See the module."""

    def __init__(self) -> None:
        self.aside: frozenset[str] = frozenset()
        """Pipelines whose rows are not to be sent for now."""
        self._made: Counter[str] = Counter()
        self._acknowledged = self._rows = self._handed = 0
        self._unacknowledged = self._lowest = 0
        self._out: dict[int, float] = {}
        """When each row was handed out that is not acknowledged, of the loop's clock."""
        self._done: dict[int, int] = {}
        """Bytes of rows that are acknowledged and still on disk, by seq."""
        self._quickest = self._next_quickest = math.inf
        self._periods = 0

    def made(self, batches: Iterable[Batch]) -> None:
        """Rows were committed."""
        for batch in batches:
            self._made[batch.pipeline] += len(batch.block)
            if batch.pipeline not in self.aside:
                self._unacknowledged += len(batch.block)

    def handed(self, batch: Batch, now: float) -> None:
        """A row goes to the uplink."""
        self._handed += len(batch.block)
        self._out[batch.seq] = now

    def acknowledged(self, batch: Batch, now: float) -> None:
        """The other side has a row."""
        self._rows += 1
        self._acknowledged += len(batch.block)
        self._unacknowledged = max(0, self._unacknowledged - len(batch.block))
        self._lowest = min(self._lowest, self._unacknowledged)
        self._done[batch.seq] = len(batch.block)
        if (since := self._out.pop(batch.seq, None)) is not None:
            self._next_quickest = min(self._next_quickest, now - since)

    def removed(self, seqs: Iterable[int]) -> None:
        """Acknowledged rows are not on disk any more."""
        for seq in seqs:
            self._done.pop(seq, None)

    def begin(self) -> None:
        """A connection has ended: what was handed out will be again."""
        self._out.clear()

    @property
    def done(self) -> int:
        """Bytes on disk that the other side has."""
        return sum(self._done.values())

    def take(self, waiting: int) -> Counted:
        """What was counted since the last time.

        Args:
            waiting: bytes of the rows that are not acknowledged by now, without what was put aside.
        """
        self._quickest = min(self._quickest, self._next_quickest)
        quickest = 0.0 if math.isinf(self._quickest) else self._quickest
        counted = Counted(
            made=dict(self._made),
            acknowledged=self._acknowledged,
            rows=self._rows,
            handed=self._handed,
            lowest=min(self._lowest, waiting),
            quickest_s=quickest,
        )
        self._made = Counter()
        self._acknowledged = self._rows = self._handed = 0
        self._unacknowledged = self._lowest = waiting
        self._periods += 1
        if self._periods >= MEMORY:
            self._quickest, self._next_quickest, self._periods = self._next_quickest, math.inf, 0
        return counted
