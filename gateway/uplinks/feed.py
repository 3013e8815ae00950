"""The feed of one uplink: fresh batches straight from the commit, older ones from the spool, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from gateway.batch import Batch

MAX_FRESH = 256
"""Batches kept in memory; an uplink that is further behind reads from the spool."""
READ = 64
"""Rows a read from the spool takes."""

Read = Callable[[int, int], Awaitable[list[Batch]]]
"""(after seq, limit) to the next rows in the spool."""


class Feed:
    """Hands out each batch once, in order of seq, until it is rewound.

    Invariant: every row of the spool up to ``_through`` was handed out or is in ``_fresh``; those behind it,
    up to ``_offered``, will be read from the spool.
    """

    def __init__(self, read: Read, delivered: Callable[[int], None], newest: int) -> None:
        self._read = read
        self._delivered = delivered
        self._fresh: deque[Batch] = deque()
        self._through = 0
        self._offered = newest
        self._open: dict[int, None] = {}
        """Handed out and not done, in order."""
        self._gone: set[int] = set()
        """Done while an earlier one was open: perhaps still in the spool, not to be handed out again."""
        self._handed = 0
        """Seq of the row that was handed out (or passed over) last."""
        self._forgotten = 0
        self._rewinds = 0
        self._news = asyncio.Event()
        self._progress = asyncio.Event()

    def offer(self, batches: Iterable[Batch]) -> None:
        """New rows were committed."""
        for batch in batches:
            if batch.seq <= self._through:
                continue  # a read of the spool was quicker than the word of the commit
            if self._through >= self._offered and len(self._fresh) < MAX_FRESH:
                self._fresh.append(batch)
                self._through = batch.seq
            self._offered = max(self._offered, batch.seq)
        self._news.set()

    async def next(self) -> Batch:
        """The next batch in order; waits for one."""
        while True:
            if (batch := self.ready()) is not None:
                return batch
            if self._through < self._offered:
                await self._refill()
            else:
                self._news.clear()
                await self._news.wait()

    def ready(self) -> Batch | None:
        """The next batch if it is in memory."""
        while self._fresh:
            batch = self._fresh.popleft()
            self._handed = batch.seq
            if batch.seq > self._forgotten and batch.seq not in self._gone:
                self._open[batch.seq] = None
                return batch
        self._progress.set()
        return None

    async def _refill(self) -> None:
        """Read on in the spool; a short answer shows that there is no more up to what was offered before."""
        offered, rewinds = self._offered, self._rewinds
        rows = await self._read(self._through, READ)
        if rewinds != self._rewinds:
            return
        self._fresh.extend(rows)
        newest = rows[-1].seq if rows else 0
        self._through = newest if len(rows) == READ else max(newest, offered)
        self._progress.set()

    def done(self, seq: int) -> None:
        """The other side has a batch."""
        self._open.pop(seq, None)
        again = next(iter(self._open), self._handed + 1)  # no row before this one is ever handed out again
        if seq >= again:
            self._gone.add(seq)
        elif self._gone:
            self._gone = {other for other in self._gone if other >= again}
        self._delivered(seq)
        self._progress.set()

    async def drained(self) -> None:
        """Wait until everything that was offered is done."""
        while self._open or self._fresh or self._through < self._offered:
            self._progress.clear()
            await self._progress.wait()

    def forget(self, through: int) -> None:
        """Rows up to ``through`` were given up by the spool: they are told as lost and not sent any more."""
        self._forgotten = max(self._forgotten, through)
        while self._fresh and self._fresh[0].seq <= through:
            self._fresh.popleft()
        self._progress.set()

    def rewind(self) -> None:
        """Begin again with the first batch that was handed out and not done.

        What waits in memory is read anew from the spool, which knows how long it has waited.
        """
        self._rewinds += 1
        first = next(iter(self._open), self._fresh[0].seq if self._fresh else None)
        if first is not None:
            self._fresh.clear()
            self._through = self._handed = first - 1
            self._open.clear()

    def restart(self, newest: int) -> None:
        """The store was opened again: what it holds may end before what was offered, or be a new one."""
        self.rewind()
        if newest < max(self._through, self._forgotten, *self._gone):
            self._through = self._handed = self._forgotten = 0
            self._gone.clear()
        self._offered = max(self._through, newest)
