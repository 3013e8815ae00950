"""What is counted of one uplink between two periods. Lives on the event loop; costs a few additions a row."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.batch import Batch

MEMORY: Final = 24
"""Periods in which the quickest acknowledgement is remembered for one to two times as many."""
POINTS: Final = 200
"""Of bursts, a period, at most."""
SURELY: Final = 0.25
"""By so much of the time between two acknowledgements a row has to be ahead of the first to be behind it: that one may
have been noticed late."""
AT_ONCE_S: Final = 1e-3
"""Acknowledgements that are so close came as one."""


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
    quickest: int
    """Bytes of the row that was acknowledged so soon."""
    first: int
    """Bytes of the row that has waited for its acknowledgement for longest; 0: none is on its way."""
    served: Rows
    """Rows that were on their way already when the one before was acknowledged ..."""
    served_s: float
    """... and the time between the two: exact, however few they are."""
    points: list[tuple[float, Rows, float]]
    """Of bursts on an idle link: when it began, what was acknowledged of it so far, and how many seconds after that."""


class Meter:
    """See the module."""

    def __init__(self) -> None:
        self.aside: frozenset[str] = frozenset()
        """Pipelines whose rows are not to be sent for now."""
        self._made: dict[str, Rows] = {}
        self._acknowledged = self._handed = self._unacknowledged = self._lowest = Rows()
        self._standing: Rows | None = None
        self._out: dict[int, tuple[float, int]] = {}
        """When each row was handed out that is not acknowledged, of the loop's clock, and its bytes."""
        self._done: dict[int, int] = {}
        """Bytes of rows that are acknowledged and still on disk, by seq."""
        self._quickest = self._next_quickest = (math.inf, 0)
        """How long the quickest acknowledgement took, and the bytes of its row."""
        self._served = Rows()
        self._served_s = 0.0
        self._last = -math.inf
        """When the last acknowledgement came."""
        self._began = -math.inf
        """When a row was handed out last while none was on its way."""
        self._burst = Rows()
        self._busy = False
        """Whether the link has certainly been busy since then."""
        self._points: list[tuple[float, Rows, float]] = []
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
        if not self._out:
            self._began, self._burst, self._busy = now, Rows(), True
        self._out[batch.seq] = now, len(batch.block)

    def acknowledged(self, batch: Batch, now: float) -> None:
        """The other side has a row."""
        size = len(batch.block)
        self._acknowledged = self._acknowledged.plus(size)
        self._unacknowledged = self._unacknowledged.plus(-size, -1)
        self._lowest = min(self._lowest, self._unacknowledged)
        self._done[batch.seq] = size
        if (out := self._out.pop(batch.seq, None)) is not None:
            since, last, self._last = out[0], self._last, now
            if since <= last:
                self._served = self._served.plus(size)
                self._served_s += now - last
            self._next_quickest = min(self._next_quickest, (now - since, size))
            self._follow(since, last, size, now)

    def _follow(self, since: float, last: float, size: int, now: float) -> None:
        """Note a row of the burst that is on its way.

        One that was handed later than it began belongs to it if it had surely come to the link before the one ahead
        was through; from the first on that may not have, what follows tells nothing.
        """
        quickest = min(self._quickest, self._next_quickest)[0]
        self._busy &= since <= max(self._began + quickest, last - max(quickest, SURELY * (now - last)))
        if not self._busy:
            return
        self._burst = self._burst.plus(size)
        if self._points and self._points[-1][0] == self._began and now - self._began - self._points[-1][2] < AT_ONCE_S:
            self._points.pop()
        if len(self._points) < POINTS:
            self._points.append((self._began, self._burst, now - self._began))

    def removed(self, seqs: Iterable[int]) -> None:
        """Acknowledged rows are not on disk any more."""
        for seq in seqs:
            self._done.pop(seq, None)

    def begin(self) -> None:
        """A connection has ended: what was handed out will be again."""
        self._out.clear()

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
            quickest=self._quickest[1],
            first=next((size for _, size in self._out.values()), 0),
            served=self._served,
            served_s=self._served_s,
            points=self._points,
        )
        self._served, self._served_s, self._points = Rows(), 0.0, []
        self._made, self._acknowledged, self._handed = {}, Rows(), Rows()
        self._unacknowledged = self._lowest = waiting
        self._standing = None
        self._periods += 1
        if self._periods >= MEMORY:
            self._quickest, self._next_quickest, self._periods = self._next_quickest, (math.inf, 0), 0
        return counted
