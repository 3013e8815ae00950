"""The feed of one uplink: live rows first, straight from the commit; behind them the backlog, from the spool.

Live is what is committed while somebody takes rows. What was there before, what came while nobody took anything, and
what does not fit into memory because the other side is slow, is the backlog: it is read from the spool, in small
parts, ahead of its turn. How much of it may be in flight is :class:`~gateway.uplinks.pace.Window`'s to say, so that
live rows never stand behind much of it; bandwidth and budget hold for both.

Rows of more important pipelines go first in both lanes. Within a lane and a rank the order is that of seq.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.batch import Batch
from gateway.uplinks.gate import Gate
from gateway.uplinks.pace import Rate

MAX_FRESH = 256
"""Live batches of a rank kept in memory; an uplink that is further behind reads from the spool."""
READ = 16
"""Rows a read from the spool takes: it shares a thread with the commits, so it must be short."""
HISTORICAL_AFTER_NS = 10_000_000_000
"""A row that waited longer than this is sent flagged as historical."""

Read = Callable[[int, int, int], Awaitable[list[Batch]]]
"""(after seq, limit, rank) to the next waiting rows of a rank in the spool."""


@dataclass
class Lane:
    """The rows of one rank.

    Invariant: every waiting row up to ``through`` was handed out or is in ``backlog``; those behind it up to
    ``known`` will be read from the spool, but for those that are open or done; those behind ``known`` are in ``live``.
    """

    known: int
    through: int = 0
    live: deque[Batch] = field(default_factory=deque)
    backlog: deque[Batch] = field(default_factory=deque)
    in_time: int = 0
    """Highest seq that was handed out without the flag "historical": what is below it comes late."""
    settled: int = 0
    """The same of those that are done."""

    @property
    def unread(self) -> bool:
        """Whether the spool may have more."""
        return self.through < self.known

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not (self.live or self.backlog or self.unread)

    def put_back(self, first: int, newest: int) -> None:
        """Let all that waits, and what is from ``first`` on, be read from the spool again."""
        ahead = [batch.seq for batch in (*self.backlog, *self.live)]
        self.backlog.clear()
        self.live.clear()
        self.through = min([self.through, first - 1, *(seq - 1 for seq in ahead)])
        self.known = max(self.known, newest)


@dataclass(frozen=True, slots=True)
class _Open:
    """A row that was handed out and is not done."""

    rank: int
    backlog: bool
    late: bool
    at: float
    made_ns: int
    samples: int


class Feed:
    """Hands out each row once, until it is told to begin again with what is not done.

    Args:
        read: reads from the spool.
        delivered: what is done is reported here, by seq.
        newest: the newest seq of the spool.
        gate: how fast it may go; without limits if left out.
        rank_of: the rank of a pipeline, 0 for the most important.
        now_ns: the wall clock.
    """

    def __init__(
        self,
        read: Read,
        delivered: Callable[[int], None],
        newest: int,
        *,
        gate: Gate | None = None,
        rank_of: Callable[[str], int] = lambda _: 0,
        ranks: int = 1,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._read = read
        self._delivered = delivered
        self._rank_of = rank_of
        self._now_ns = now_ns
        self.gate = Gate() if gate is None else gate
        self._lanes = [Lane(known=newest) for _ in range(ranks)]
        self._offered = newest
        self._open: dict[int, _Open] = {}
        self._open_backlog = 0
        self._gone: set[int] = set()
        """Done, and perhaps still waiting in the spool; not to be handed out again."""
        self._told: set[int] = set()
        """Of those, the ones of which a read that is under way may not know."""
        self._taken = False
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._progress = asyncio.Event()
        self._rate = Rate(time.monotonic())
        self.drained_samples = 0
        """Samples of the backlog that were acknowledged."""

    # What the store tells

    def offer(self, batches: Iterable[Batch]) -> None:
        """New rows were committed."""
        for batch in batches:
            lane = self._lanes[self._rank_of(batch.pipeline)]
            if batch.seq <= lane.known:
                continue  # a restart has heard of it before
            self._offered = max(self._offered, batch.seq)
            if self._taken and len(lane.live) < MAX_FRESH:
                lane.live.append(batch)
            else:
                self._fall_behind(lane, batch.seq)
        self._news.set()

    def _fall_behind(self, lane: Lane, newest: int) -> None:
        """What is live now waits in the spool, where it is anyway."""
        self._stop_reading()
        lane.put_back(lane.live[0].seq if lane.live else newest, newest)

    def forget(self, seqs: Collection[int]) -> None:
        """Rows were given up by the spool: they are told as lost and not sent any more."""
        gone = set(seqs)
        for lane in self._lanes:
            lane.live = deque(batch for batch in lane.live if batch.seq not in gone)
            lane.backlog = deque(batch for batch in lane.backlog if batch.seq not in gone)
        if self._reading is not None:
            self._told |= gone
        self._progress.set()

    def removed(self, seqs: Iterable[int]) -> None:
        """Rows that were done do not wait in the spool any more."""
        if self._reading is not None:
            self._told.update(self._gone.intersection(seqs))
        self._gone.difference_update(seqs)

    def again(self, after: int) -> None:
        """Rows behind ``after`` that were done wait again."""
        self._gone = {seq for seq in self._gone if seq <= after}
        self._told.clear()
        self._stop_reading()
        for lane in self._lanes:
            lane.put_back(after + 1, self._offered)
        self._news.set()

    def regroup(self) -> None:
        """Pipelines have other ranks now: what waits, and was not handed out, is read from the spool again."""
        self._stop_reading()
        for lane in self._lanes:
            lane.put_back(1, self._offered)
        self._news.set()

    # What the uplink asks for

    async def next(self) -> Batch:
        """The next batch, a live one if there is any; waits for one."""
        while True:
            self._news.clear()
            if (batch := self.ready()) is not None:
                return batch
            self._raise_failure()
            await self._wait()

    async def _wait(self) -> None:
        """Until there is news, or something may go that may not go now."""
        pause = None if all(lane.empty for lane in self._lanes) else self.gate.pause_s()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._news.wait()

    def ready(self) -> Batch | None:
        """The next batch if it is in memory and may go."""
        if not self._taken:
            self._taken = True
        self._read_ahead()
        for rank, lane in enumerate(self._lanes):
            if lane.live and self.gate.live(rank):
                return self._hand(lane.live.popleft(), rank, backlog=False)
        for rank, lane in enumerate(self._lanes):
            if lane.backlog and self.gate.backlog(rank, self._open_backlog):
                return self._hand(lane.backlog.popleft(), rank, backlog=True)
        self._progress.set()
        return None

    def _hand(self, batch: Batch, rank: int, *, backlog: bool) -> Batch:
        lane = self._lanes[rank]
        late = batch.seq < lane.in_time or self._now_ns() - batch.created_ns > HISTORICAL_AFTER_NS
        if late != batch.historical:
            batch = replace(batch, historical=late)
        if not late:
            lane.in_time = batch.seq
        samples = len(batch.frame)
        self._open[batch.seq] = _Open(rank, backlog, late, time.monotonic(), batch.created_ns, samples)
        self._open_backlog += backlog
        self.gate.handed(len(batch.block), samples, backlog=backlog)
        return batch

    def done(self, seq: int) -> None:
        """The other side has a batch."""
        self.settle(seq)
        self._delivered(seq)

    def settle(self, seq: int) -> None:
        """A batch is not to be handed out again."""
        opened = self._open.pop(seq, None)
        if opened is not None:
            if opened.backlog:
                self._open_backlog -= 1
                self.drained_samples += opened.samples
                self._rate.add(opened.samples, time.monotonic())
            if not opened.late:
                lane = self._lanes[opened.rank]
                lane.settled = max(lane.settled, seq)
            self.gate.acknowledged(time.monotonic() - opened.at, backlog=opened.backlog)
            if not (opened.backlog or opened.late):
                self.gate.felt((self._now_ns() - opened.made_ns) / 1e9, quiet=not self._open_backlog)
        self._gone.add(seq)
        self._news.set()  # the window has room
        self._progress.set()

    def park(self, seq: int) -> None:
        """A batch is done at some time, and nothing waits for that; it is handed out again behind a rewind only."""
        opened = self._open.get(seq)
        if opened is not None:
            self._open_backlog -= opened.backlog
            self._open[seq] = replace(opened, backlog=False, late=True)
            self._news.set()

    def rewind(self) -> None:
        """Begin again with what was handed out and not done; nothing is live until somebody takes rows again."""
        self._stop_reading()
        first = dict.fromkeys(range(len(self._lanes)), self._offered + 1)
        for seq, opened in self._open.items():
            first[opened.rank] = min(first[opened.rank], seq)
        for rank, lane in enumerate(self._lanes):
            lane.put_back(first[rank], self._offered)
            lane.in_time = lane.settled
        self._open.clear()
        self._open_backlog = 0
        self._taken = False
        self.gate.begin()

    def restart(self, newest: int) -> None:
        """The store was opened again: what it holds may end before what was offered, or be a new one."""
        self.rewind()
        self._gone.clear()
        self._offered = newest
        for lane in self._lanes:
            lane.through, lane.known = 0, newest
            lane.in_time = lane.settled = 0

    # Reading ahead

    def _read_ahead(self) -> None:
        """Keep a part of the backlog of the first rank that has any in memory."""
        if self._reading is not None:
            return
        for rank, lane in enumerate(self._lanes):
            if lane.unread and self.gate.open(rank):
                if len(lane.backlog) <= READ // 2:
                    self._reading = asyncio.create_task(self._fill(lane, rank), name="backlog")
                    self._reading.add_done_callback(self._filled)
                return

    async def _fill(self, lane: Lane, rank: int) -> None:
        """Read on; a short answer shows that there is no more."""
        rows = await self._read(lane.through, READ, rank)
        if self._reading is not asyncio.current_task():
            return
        wanted = [batch for batch in rows if batch.seq <= lane.known]
        known = self._open.keys() | self._gone | self._told
        lane.backlog.extend(batch for batch in wanted if batch.seq not in known)
        whole = len(rows) == READ and len(wanted) == READ
        lane.through = wanted[-1].seq if whole else lane.known

    def _filled(self, task: asyncio.Task[None]) -> None:
        if self._reading is task and (task.cancelled() or task.exception() is None):
            self._reading = None
            self._told.clear()
        self._news.set()
        self._progress.set()

    def _raise_failure(self) -> None:
        """The error of a read, to whoever waits for its rows."""
        task = self._reading
        if task is not None and task.done() and not task.cancelled():
            self._reading = None
            self._told.clear()
            task.result()

    def _stop_reading(self) -> None:
        task, self._reading = self._reading, None
        self._told.clear()
        if task is not None and not task.done():
            task.cancel()

    # What others want to know

    def held(self) -> set[int]:
        """Rows that are in flight or may be at any moment, without another read."""
        ahead = {batch.seq for lane in self._lanes for batch in (*lane.live, *lane.backlog)}
        return ahead | self._open.keys()

    def status(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        live, backlog = self.in_flight
        self.gate.count()
        budget = self.gate.budget
        return {
            "behind": self.behind,
            "live_in_flight": live,
            "backlog_in_flight": backlog,
            "backlog_window": int(self.gate.window.limit),
            "backlog_samples": self.drained_samples,
            "backlog_rate": round(self._rate.per_s(time.monotonic()), 1),
            "budget": None if budget is None else budget.as_dict(),
        }

    @property
    def behind(self) -> bool:
        """Whether there is a backlog."""
        return self._open_backlog > 0 or any(lane.unread or lane.backlog for lane in self._lanes)

    @property
    def in_flight(self) -> tuple[int, int]:
        """Rows handed out and not done: live ones, and of the backlog."""
        return len(self._open) - self._open_backlog, self._open_backlog

    async def drained(self) -> None:
        """Wait until everything that was offered is done."""
        lanes = [lane for rank, lane in enumerate(self._lanes) if rank != self.gate.shut]
        while self._open or not all(lane.empty for lane in lanes):
            self._progress.clear()
            await self._progress.wait()
