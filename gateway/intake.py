"""The intake: takes frames from adapters, commits them in groups, wakes uplinks. Lives on the event loop.

A group is committed when the interval since the last commit has passed (so that a sample after a quiet
time is written at once), when somebody waits for a receipt and the shorter interval has passed, or when
it is large. All frames of a group share one future; a receipt costs nothing until it is asked.

When the store fails, nothing is acknowledged and what came in is held in memory, up to :data:`MAX_WAITING` samples.
Once it works again, a group that failed is written again, unless it is found on disk. Beyond the bound, what can be
asked again (it comes with tokens) waits where it is, and the rest is let go, counted, and told upstream.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

import apsw

from adapters.base import Receipt, Tokens
from gateway.clock import Clock
from gateway.config.model import PipelineConfig
from gateway.directory import Directory
from gateway.engine import Committed, Engine, Group
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.group import Notes, OpenGroup
from gateway.lazy import Lazy
from gateway.outage import Outage
from gateway.store.config import StoreConfig
from gateway.store.database import StoreDamagedError, explained
from gateway.store.segments import Rebound, Segment
from gateway.store.store import Memory
from gateway.ticks import TICK_S, Ticks
from gateway.timesync import in_doubt

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

GROUP_SAMPLES = 50_000
"""About 1 MiB of columns: a group of that size is committed at once."""
MAX_WAITING = 4 * GROUP_SAMPLES
"""Samples taken and not yet on disk, at most; beyond it ``emit`` waits."""
STUCK_S = 15.0
"""A commit that was due this long ago means that the disk or the store's thread hangs."""
RETRY_S = 1.0
"""Pause before a store that failed is opened again."""
STATUS_S = 2.0
"""How long ``status`` waits for the store's thread, which a disk may hold up."""
ACK_DELAY_S = 1.0
"""How long a delivery may wait to be noted on disk; forgetting it costs a repetition, not a loss."""


class Intake:
    """Between the adapters and the engine. ``run`` is a task of the daemon."""

    def __init__(
        self,
        engine: Engine,
        executor: Executor,
        clock: Clock,
        config: StoreConfig,
        on_committed: Callable[[Committed, Sequence[Segment]], None],
        on_reopened: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.config = config
        self.recent = engine.recent
        """Tokens of messages that are durable; read and written on the loop only, once recovered."""
        self._executor = executor
        self._clock = clock
        self._on_committed = on_committed
        self._on_reopened = on_reopened
        self._group = OpenGroup()
        self.memory = engine.memory
        """What adapters have learned; read and written on the loop only, once recovered."""
        self._notes = Notes()
        self._learning: Memory = {}
        """What is to be remembered with an exchange of the pipelines that is wanted."""
        self.held: Callable[[], Mapping[str, Collection[int]]] = dict
        """Asks the feeds which rows they have in their hands; see :attr:`gateway.store.spool.Spool.held`."""
        self._pressed = False
        """Whether that matters."""
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.blocked = False  # the queue of an uplink is full, and its rule is to take nothing more in
        self._lock = asyncio.Lock()
        self._last_commit = self._last_run = self._last_checkpoint = asyncio.get_running_loop().time()
        self.lazy = Lazy(config.flash)
        self._ticks = Ticks(clock)
        self.outage = Outage()
        self._status: dict[str, Any] = {}
        self._behind = False
        """Whether the journal holds what the pipelines have not processed."""
        self._committing_since: float | None = None
        self._stopping = False
        self.commits = 0

    async def emit(self, frame: Frame, adapter: str = "", tokens: Tokens | None = None) -> Receipt:
        """See :meth:`adapters.base.Context.emit`."""
        while not self._room.is_set():
            if self.failure is not None and tokens is None and self._waiting >= MAX_WAITING:
                return self.outage.let_go(frame, self.failure)
            await self._room.wait()
        if not self._clock.trusted:
            frame = in_doubt(frame, self._clock.now_ns())
        group = self._group
        if not group.segments:
            self._ticks.wake(group)
        group.add(frame)
        if tokens is not None:
            group.tokens.append((adapter, tokens))
        if group.samples >= GROUP_SAMPLES:
            group.urgent.set()
            if self._waiting >= MAX_WAITING:
                self._room.clear()
        self._news.set()
        return group

    @property
    def _waiting(self) -> int:
        """Samples in memory that are not on disk."""
        return self._group.samples + (self.outage.held.samples if self.outage.held is not None else 0)

    @property
    def failure(self) -> StoreError | None:
        """Why nothing can be made durable, while that is so."""
        return self.outage.failure

    def delivered(self, uplink: str, seq: int) -> None:
        """The other side has a row: it leaves the spool with one of the next commits."""
        self._notes.delivered.append((uplink, seq))
        if self.blocked:
            self._news.set()

    def refused(self, uplink: str, seq: int, reason: str) -> None:
        """The other side will never take a row: it leaves the spool with the next commit, and is told as lost."""
        self._notes.refused.append((uplink, seq, reason))
        self._news.set()

    def repeat(self, uplink: str, after: int) -> None:
        """What is kept behind a row waits again, with the next commit."""
        self._notes.repeats.append((uplink, after))
        self._news.set()

    def remember(self, adapter: str, key: str, value: bytes) -> None:
        """See :meth:`adapters.base.Context.remember`."""
        if self.memory.get((adapter, key)) != value:
            self.memory[adapter, key] = self._notes.learned[adapter, key] = value
            self._news.set()

    async def run(self) -> None:
        """Commit until told to stop."""
        tick = asyncio.create_task(self._tick(), name="ticks")
        try:
            while not self._stopping:
                await self._due()
                with contextlib.suppress(StoreError):  # it is in ``failure``
                    await self.commit(durable=self.lazy.due(asyncio.get_running_loop().time()))
                await self._reopen()
        finally:
            tick.cancel()
            self.outage.give_up()

    def _fail(self, error: StoreError) -> None:
        if self.failure is None:
            self.outage.begin(error)
            self._room.set()  # whoever waits looks again whether to wait
            if self._waiting >= MAX_WAITING:
                self._room.clear()
            self._news.set()

    async def _reopen(self) -> None:
        """Begin again from what is on disk, with new descriptors, as often as it takes."""
        while not self._stopping and (failure := self.failure) is not None:
            await asyncio.sleep(RETRY_S)
            missed = self.outage.attempt()
            cause = self.outage.cause or failure
            try:
                written = await self.on_store(self.engine.reopen, self._clock.now_ns(), cause, missed)
            except StoreError as again:
                self.outage.go_on(again, missed)
            else:
                await self._go_on(written=written)
                if self.engine.wants:
                    with contextlib.suppress(StoreError):  # then the store has failed again
                        await self._make_up()

    async def _go_on(self, *, written: bool) -> None:
        """The store works again: the group that failed is on disk after all, or comes first now."""
        async with self._lock:
            held = self.outage.end()
            if held is not None and written:
                self._durable(held, self.engine.attempted)
                self._on_committed(Committed(self.engine.attempted), held.segments)
            elif held is not None:
                held.join(self._group)
                self._group = held
            self._behind = False
            self._open_up(blocked=self.blocked)
            self._news.set()
        self._on_reopened()

    def _durable(self, group: OpenGroup, position: int) -> None:
        for adapter, tokens in group.tokens:
            self.recent.add(adapter, tokens)
        group.finish(position)

    def stop(self) -> None:
        """End ``run`` after the next commit."""
        self._stopping = True
        self._news.set()
        self._group.urgent.set()

    async def _due(self) -> None:
        """Wait until there is something to commit and the interval since the last commit has passed."""
        loop = asyncio.get_running_loop()
        await self._news.wait()
        self._news.clear()
        group = self._group
        if self._stopping or group.samples >= GROUP_SAMPLES:
            return
        early = self._last_commit + self.config.receipt_commit - loop.time()
        if early > 0:
            await asyncio.sleep(early)
        since = self._last_run if self._behind else self._last_commit
        late = since + self.config.commit - loop.time()
        if late > 0 and group.samples < GROUP_SAMPLES:
            try:
                async with asyncio.timeout(late):
                    await group.urgent.wait()
            except TimeoutError:
                return

    async def _tick(self) -> None:
        """Let time pass where samples wait for it, and keep an eye on the wall clock."""
        while True:
            await asyncio.sleep(TICK_S)
            stepped = self._ticks.check(self._group)
            if self.failure is not None:
                self._ticks.hold(self._group)
            elif self.engine.graph.waits(self._clock.stream_ns()) or self._group.samples or stepped:
                self._ticks.add(self._group)
                self._news.set()
            elif self._overdue() or (self.lazy.open and self.lazy.due(asyncio.get_running_loop().time())):
                self._news.set()

    def _overdue(self) -> bool:
        now = asyncio.get_running_loop().time()
        return bool(self._notes.delivered) and now - self._last_commit > ACK_DELAY_S

    async def commit(self, *, checkpoint: bool = False, durable: bool = True) -> None:
        """Write what is there now. Receipts fail, and the engine is built anew, if the store cannot.

        What is not ``durable`` is on disk with a later commit that is, see :mod:`gateway.lazy`.
        """
        async with self._lock:
            if self.failure is not None:
                raise StoreError(f"the store has failed and is not open again yet: {self.failure}")
            group, self._group = self._group, OpenGroup()
            notes, self._notes = self._notes, Notes()
            plan = self._plan(group, notes, checkpoint=checkpoint)
            plan.durable = durable
            asked = notes or (durable and self.lazy.open)
            if not (group.segments or asked or plan.checkpoint or self._behind):
                self._open_up(blocked=self.blocked)
                return
            self._committing_since = self._last_commit = asyncio.get_running_loop().time()
            try:
                committed = await self.on_store(self.engine.commit, plan, self._clock.now_ns())
            except StoreError as error:
                self.outage.forget(self.lazy.end(self._last_commit))
                self.outage.hold(group, error)
                self._fail(error)
                notes.join(self._notes)
                self._notes = notes
                raise
            finally:
                self._committing_since = None
            self.lazy.note(group.segments, self._last_commit, synced=committed.synced)
            self._durable(group, committed.position)
            self._behind = not plan.run
            self.commits += 1
            self._pressed = committed.pressed
            self._open_up(blocked=committed.blocked)
        self._on_committed(committed, group.segments)

    def _plan(self, group: OpenGroup, notes: Notes, *, checkpoint: bool) -> Group:
        now = asyncio.get_running_loop().time()
        checkpoint = checkpoint or now - self._last_checkpoint >= self.config.checkpoint
        # Commits that come early for a receipt's sake write the journal only; the pipelines keep their pace
        pace = self.config.commit - self.config.receipt_commit  # the next commit would come too late
        run = checkpoint or now - self._last_run >= pace or group.samples >= GROUP_SAMPLES
        if run:
            self._last_run = now
        else:
            self._news.set()
        if checkpoint:
            self._last_checkpoint = now
        held = self.held() if self._pressed else {}
        return Group(
            group.segments,
            notes.delivered,
            group.tokens,
            notes.learned,
            notes.refused,
            notes.repeats,
            held=held,
            aged=self._clock.trusted,
            run=run,
            checkpoint=checkpoint,
        )

    def _open_up(self, *, blocked: bool) -> None:
        self.blocked = blocked
        if blocked:
            self._room.clear()
        elif self._waiting < MAX_WAITING:
            self._room.set()

    async def reconfigure(self, pipelines: Mapping[str, PipelineConfig], learned: Memory | None = None) -> None:
        """Exchange the pipelines between two commits, and remember why in the same transaction.

        Raises:
            StoreError: the store could not keep up; the exchange is made when it works again.
        """
        # Whatever becomes of the commit: with the store, the pipelines that are wanted come back
        await self.on_store(self.engine.want, pipelines, learned)
        self._learning = dict(learned or {})
        await self.commit()
        await self._make_up()

    async def _make_up(self) -> None:
        async with self._lock:
            try:
                committed = await self.on_store(self.engine.make_up, self._clock.now_ns())
            except StoreError as error:
                self._fail(error)
                raise
            self.memory.update(self._learning)
            self._behind = False
        self._on_committed(committed, ())

    @property
    def directory(self) -> Directory:
        """The directory of all points."""
        return self.engine.directory

    @property
    def overdue_s(self) -> float:
        """How long ago a commit was due that has not happened, in seconds; 0 while all is well."""
        began = self._committing_since or self._group.began
        if began is None:
            return 0.0
        return max(0.0, asyncio.get_running_loop().time() - began - self.config.commit)

    @property
    def sound(self) -> bool:
        """Whether systemd may believe that the gateway does its work: it commits, or waits for room on a disk.

        On a full disk a restart would cost what is held in memory and mend nothing.
        """
        return self.overdue_s < STUCK_S if self.failure is None else self.outage.patient(STUCK_S)

    def health(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        healthy = self.failure is None and self.overdue_s < STUCK_S
        said = {**self.outage.as_dict(), **self.lazy.as_dict(asyncio.get_running_loop().time())}
        return {"healthy": healthy, **said, "waiting": self._waiting, "commits": self.commits}

    async def status(self) -> dict[str, Any]:
        """What the engine says of itself, or said when its store still worked."""
        if self.failure is None or not self._status:
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(STATUS_S):
                    self._status = await self.on_store(self.engine.status)
        found = copy.deepcopy(self._status) or {"pipelines": self.engine.graph.timed_status(), "store": {"spool": {}}}
        return found | {"store": found["store"] | self.health()}

    async def rebound(self, change: Rebound) -> None:
        """Give a step another error bound; returns when that is on disk, and in force.

        Raises:
            StoreError: it is not.
        """
        if self.failure is not None:
            raise self.failure
        group = self._group
        group.add(change)
        self._news.set()
        await group.durable()

    async def on_store(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the store's thread.

        Raises:
            StoreError: SQLite cannot; the store is opened again.
        """
        bound = functools.partial(call, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, bound)
        except (apsw.Error, UnicodeDecodeError) as error:
            failure = explained(error) if isinstance(error, apsw.Error) else StoreDamagedError(str(error))
            self._fail(failure)
            raise failure from error
