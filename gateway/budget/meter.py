"""What is counted of one uplink between two periods. Lives on the event loop; costs a few additions a row."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.batch import Batch

MEMORY: Final = 24
"""Periods in which the quickest acknowledgement is remembered for one to two times as many."""


class Rows(NamedTuple):
    """Some rows."""

    size: int = 0
    """Bytes."""
    rows: int = 0

    def plus(self, size: int, rows: int = 1) -> Rows:
        """With some more, or with negative numbers fewer; never less than none."""
        return Rows(max(0, self.size + size), max(0, self.rows + rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Of one period. Bytes are those of the rows on disk."""

    made: dict[str, Rows]
    """What came into the spool, by pipeline."""
    acknowledged: Rows
    handed: Rows
    """What was handed to the uplink, repetitions included."""
    lowest: Rows
    """The least that waited for its acknowledgement at any moment, without what was put aside."""
    standing: Rows
    """What waited when the newest rows came: without those, which nobody can have acknowledged yet."""
    quickest_s: float
    served: Rows
    """What was acknowledged in ``busy_s``."""
    busy_s: float
    """How long the link was busy with rows, see :meth:`Meter._serve`."""


class Meter:
    """See the module."""

    def __init__(self) -> None:
        self.aside: frozenset[str] = frozenset()
        """Pipelines whose rows are not to be sent for now."""
        self._made: dict[str, Rows] = {}
        self._acknowledged = self._handed = self._unacknowledged = self._lowest = Rows()
        self._standing: Rows | None = None
        self._out: dict[int, float] = {}
        """When each row was handed out that is not acknowledged, of the loop's clock."""
        self._done: dict[int, int] = {}
        """Bytes of rows that are acknowledged and still on disk, by seq."""
        self._quickest = self._next_quickest = (math.inf, 0)
        """How long the quickest acknowledgement took, and how many bytes the row had."""
        self._served = Rows()
        self._busy_s = 0.0
        self._last = -math.inf
        """When the last acknowledgement came."""
        self._periods = 0

    def made(self, batches: Iterable[Batch]) -> None:
        """Rows were committed."""
        self._standing = self._unacknowledged
        for batch in batches:
            size = len(batch.block)
            self._made[batch.pipeline] = self._made.get(batch.pipeline, Rows()).plus(size)
            if batch.pipeline not in self.aside:
                self._unacknowledged = self._unacknowledged.plus(size)

    def handed(self, batch: Batch, now: float) -> None:
        """A row goes to the uplink."""
        self._handed = self._handed.plus(len(batch.block))
        self._out[batch.seq] = now

    def acknowledged(self, batch: Batch, now: float) -> None:
        """The other side has a row."""
        size = len(batch.block)
        self._acknowledged = self._acknowledged.plus(size)
        self._unacknowledged = self._unacknowledged.plus(-size, -1)
        self._lowest = min(self._lowest, self._unacknowledged)
        self._done[batch.seq] = size
        if (since := self._out.pop(batch.seq, None)) is not None:
            self._serve(since, size, now)
            self._next_quickest = min(self._next_quickest, (now - since, size))

    def _serve(self, since: float, size: int, now: float) -> None:
        """Tell the time that the link worked on a row from that in which it stood idle, or the row was on its way.

        A row that had to wait for the one before took the time between their acknowledgements. One that was handed to
        an idle link took what its acknowledgement took longer than the quickest, for what it has more bytes than that:
        a long way is no work, and rows that are all alike tell nothing.
        """
        quickest_s, least = self._quickest if self._quickest[0] < self._next_quickest[0] else self._next_quickest
        last, self._last = self._last, now
        if since + quickest_s <= last:
            self._served = self._served.plus(size)
            self._busy_s += now - last
        elif now - since > quickest_s:
            self._served = self._served.plus(size - least, 0)
            self._busy_s += now - since - quickest_s

    def removed(self, seqs: Iterable[int]) -> None:
        """Acknowledged rows are not on disk any more."""
        for seq in seqs:
            self._done.pop(seq, None)

    def begin(self) -> None:
        """A connection has ended: what was handed out will be again."""
        self._out.clear()
        self._last = -math.inf

    @property
    def done(self) -> Rows:
        """What is on disk and the other side has."""
        return Rows(sum(self._done.values()), len(self._done))

    def take(self, waiting: Rows) -> Counted:
        """What was counted since the last time.

        Args:
            waiting: what is not acknowledged by now, without what was put aside.
        """
        self._quickest = min(self._quickest, self._next_quickest)
        counted = Counted(
            made=self._made,
            acknowledged=self._acknowledged,
            handed=self._handed,
            lowest=min(self._lowest, waiting),
            standing=waiting if self._standing is None else min(waiting, self._standing),
            quickest_s=0.0 if math.isinf(self._quickest[0]) else self._quickest[0],
            served=self._served,
            busy_s=self._busy_s,
        )
        self._served, self._busy_s = Rows(), 0.0
        self._made, self._acknowledged, self._handed = {}, Rows(), Rows()
        self._unacknowledged = self._lowest = waiting
        self._standing = None
        self._periods += 1
        if self._periods >= MEMORY:
            self._quickest, self._next_quickest, self._periods = self._next_quickest, (math.inf, 0), 0
        return counted
