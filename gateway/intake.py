"""The intake: takes frames from adapters, commits them in groups, wakes uplinks. Lives on the event loop.

A group is committed when the interval since the last commit has passed (so that a sample after a quiet
time is written at once), when somebody waits for a receipt and the shorter interval has passed, or when
it is large. All frames of a group share one future; a receipt costs nothing until it is asked.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from adapters.base import Tokens
from gateway.clock import Clock
from gateway.config.model import PipelineConfig
from gateway.directory import Directory
from gateway.engine import Committed, Engine, Group
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.store.config import StoreConfig
from gateway.store.segments import Rebound, Segment, Step, Tick
from gateway.store.store import Memory

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

GROUP_SAMPLES = 50_000
"""About 1 MiB of columns: a group of that size is committed at once."""
MAX_WAITING = 4 * GROUP_SAMPLES
"""Samples taken and not yet on disk, at most; beyond it ``emit`` waits."""
TICK_S = 0.25
RETRY_S = 1.0
"""Pause before a store that failed is opened again."""
ACK_DELAY_S = 1.0
"""How long a delivery may wait to be noted on disk; forgetting it costs a repetition, not a loss."""


class OpenGroup:
    """What has come in since the last commit. Doubles as the receipt of all frames in it."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.tokens: list[tuple[str, Tokens]] = []
        """Adapter and the tokens of wire messages, see :meth:`adapters.base.Context.emit`."""
        self.samples = 0
        self.began: float | None = None
        """Loop time of the first segment."""
        self.urgent = asyncio.Event()
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def add(self, segment: Segment) -> None:
        """Take one more."""
        if self.began is None:
            self.began = asyncio.get_running_loop().time()
        self.segments.append(segment)
        if isinstance(segment, Frame):
            self.samples += len(segment)

    async def durable(self) -> int:
        """See :meth:`adapters.base.Receipt.durable`."""
        self.urgent.set()
        return await asyncio.shield(self._done)

    def finish(self, position: int) -> None:
        """The group is on disk."""
        self._done.set_result(position)

    def fail(self, error: StoreError) -> None:
        """The group will never be on disk."""
        self._done.set_exception(error)
        self._done.exception()  # nobody need have asked


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
        self._learned: Memory = {}
        """The part of it that is not on disk yet."""
        self._delivered: list[tuple[str, int]] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._blocked = False
        self._lock = asyncio.Lock()
        self._last_commit = self._last_run = self._last_checkpoint = asyncio.get_running_loop().time()
        self._ticked = 0.0
        """Loop time of the newest tick."""
        self._failed = False
        self._behind = False
        """Whether the journal holds what the pipelines have not processed."""
        self._committing_since: float | None = None
        self._stopping = False
        self.lost_samples = 0
        """Samples that the store could not take and that no receipt protected."""
        self.commits = 0

    async def emit(self, frame: Frame, adapter: str = "", tokens: Tokens | None = None) -> OpenGroup:
        """See :meth:`adapters.base.Context.emit`."""
        while not self._room.is_set():
            await self._room.wait()
        group = self._group
        if not group.segments:
            self._wake(group)
        group.add(frame)
        if tokens is not None:
            group.tokens.append((adapter, tokens))
        if group.samples >= GROUP_SAMPLES:
            group.urgent.set()
            if group.samples >= MAX_WAITING:
                self._room.clear()
        self._news.set()
        return group

    def _wake(self, group: OpenGroup) -> None:
        """After a time without ticks, say what time it is before the first sample: else it would seem early."""
        now = asyncio.get_running_loop().time()
        if now - self._ticked > 2 * TICK_S:
            group.add(Tick(self._clock.stream_ns()))
            self._ticked = now

    def delivered(self, uplink: str, seq: int) -> None:
        """The other side has a row: it leaves the spool with one of the next commits."""
        self._delivered.append((uplink, seq))
        if self._blocked:
            self._news.set()

    def remember(self, adapter: str, key: str, value: bytes) -> None:
        """See :meth:`adapters.base.Context.remember`."""
        if self.memory.get((adapter, key)) != value:
            self.memory[adapter, key] = self._learned[adapter, key] = value
            self._news.set()

    async def run(self) -> None:
        """Commit until told to stop."""
        tick = asyncio.create_task(self._tick(), name="ticks")
        try:
            while not self._stopping:
                await self._due()
                try:
                    await self.commit()
                except StoreError as error:
                    await self._reopen(error)
        finally:
            tick.cancel()

    async def _reopen(self, error: StoreError) -> None:
        """Begin again from what is on disk: the pipelines ran ahead of it when the commit failed."""
        log.error("the store failed, receipts are refused: %s", error)
        while not self._stopping:
            await asyncio.sleep(RETRY_S)
            try:
                await self.on_store(self.engine.reopen, self._clock.now_ns())
            except StoreError as again:
                log.error("the store still fails: %s", again)  # noqa: TRY400  one line an attempt is enough
            else:
                self._failed = False
                log.warning("the store works again", extra={"lost_samples": self.lost_samples})
                self._on_reopened()
                return

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
            step = self._clock.check()
            if step:
                log.warning("the wall clock stepped by %.3f s", step / 1e9, extra={"step_s": step / 1e9})
                self._group.add(Step(step))
            if self.engine.graph.queued or self._group.samples or step:
                self._group.add(Tick(self._clock.stream_ns()))
                self._ticked = asyncio.get_running_loop().time()
                self._news.set()
            elif self._overdue():
                self._news.set()

    def _overdue(self) -> bool:
        now = asyncio.get_running_loop().time()
        return bool(self._delivered) and now - self._last_commit > ACK_DELAY_S

    async def commit(self, *, checkpoint: bool = False) -> None:
        """Write what is there now. Receipts fail, and the engine is built anew, if the store cannot."""
        async with self._lock:
            if self._failed:
                raise StoreError("the store has failed and is not open again yet")
            group, self._group = self._group, OpenGroup()
            delivered, self._delivered = self._delivered, []
            learned, self._learned = self._learned, {}
            plan = self._plan(group, delivered, learned, checkpoint=checkpoint)
            if not (group.segments or delivered or learned or plan.checkpoint or self._behind):
                self._open_up(blocked=self._blocked)
                return
            self._committing_since = self._last_commit = asyncio.get_running_loop().time()
            try:
                committed = await self.on_store(self.engine.commit, plan, self._clock.now_ns())
            except StoreError as error:
                self._failed = True  # the pipelines ran ahead of the disk: nothing more until they are rebuilt
                self.lost_samples += group.samples
                group.fail(error)
                self._delivered = delivered + self._delivered
                self._learned = learned | self._learned
                raise
            finally:
                self._committing_since = None
            for adapter, tokens in group.tokens:
                self.recent.add(adapter, tokens)
            group.finish(committed.position)
            self._behind = not plan.run
            self.commits += 1
            self._open_up(blocked=committed.blocked)
        self._on_committed(committed, group.segments)

    def _plan(self, group: OpenGroup, delivered: list[tuple[str, int]], learned: Memory, *, checkpoint: bool) -> Group:
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
        return Group(group.segments, delivered, group.tokens, learned, run=run, checkpoint=checkpoint)

    def _open_up(self, *, blocked: bool) -> None:
        self._blocked = blocked
        if blocked:
            self._room.clear()
        elif self._group.samples < MAX_WAITING:
            self._room.set()

    async def reconfigure(self, pipelines: Mapping[str, PipelineConfig]) -> None:
        """Exchange the pipelines between two commits.

        Raises:
            StoreError: the store could not keep up; the daemon begins again from what is on disk.
        """
        await self.commit()
        async with self._lock:
            try:
                committed = await self.on_store(self.engine.reconfigure, pipelines, self._clock.now_ns())
            except StoreError:
                self._failed = True
                self._news.set()  # ``run`` meets the failure and opens the store again
                raise
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

    async def rebound(self, change: Rebound) -> None:
        """Give a step another error bound; returns when that is on disk, and in force.

        Raises:
            StoreError: it is not.
        """
        group = self._group
        group.add(change)
        self._news.set()
        await group.durable()

    async def on_store(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function in the store's thread."""
        bound = functools.partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, bound)
