"""What adapters and uplinks are given to work with: the gateway's side of both contracts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.base import Adapter, AdapterConfig, Points, Receipt, Stats, Tokens
from gateway.batch import Batch
from gateway.budget.meter import Meter
from gateway.budget.uplink import LinkControl
from gateway.clock import Clock
from gateway.engine import Committed
from gateway.finding import Finding
from gateway.frame import Frame, Mask
from gateway.intake import Intake
from gateway.latest import LatestValues, ValuesView
from gateway.liveness import Liveness
from gateway.rejected import RejectedRing
from gateway.supervisor import LONGEST_PAUSE_S, LinkState, supervise
from gateway.tasks import ended
from gateway.uplinks.base import Uplink, UplinkStats
from gateway.uplinks.config import UplinkConfig
from gateway.uplinks.feed import Feed
from gateway.uplinks.gate import Gate

_BUDGET = "onpath.budget"
"""The key under which what was spent of a budget is remembered, beside what the uplink itself remembers."""


@dataclass(frozen=True)
class Shared:
    """What all adapters and uplinks of one daemon have in common."""

    gateway: str
    state: Path
    clock: Clock
    intake: Intake
    liveness: Liveness
    latest: LatestValues
    rejected: RejectedRing
    found: Callable[[str, Finding], None]
    """Adapter and what it has found."""


class AdapterLink:
    """One configured adapter: its context (see :class:`adapters.base.Context`) and its task."""

    def __init__(self, name: str, config: AdapterConfig, shared: Shared) -> None:
        self.gateway = shared.gateway
        self.name = name
        self.config = config
        self.folder = shared.state / "adapters" / name
        self._shared = shared
        self.stats = Stats()
        self.log = logging.LoggerAdapter(logging.getLogger("onpath.adapter"), {"adapter": name})
        self._intake = shared.intake
        self.points: Points = self._intake.directory
        self.now_ns = shared.clock.now_ns
        self._loop = asyncio.get_running_loop()
        self._state = LinkState(f"adapter {name}", self._changed)
        self._devices: dict[str, LinkState] = {}
        self._task: asyncio.Task[None] | None = None
        self.adapter: Adapter | None = None
        self.since_s = self._loop.time()
        """When its link went up or down last, of the loop's clock."""
        self.was_up = False
        """Whether it ever was."""
        self.errors: dict[str, tuple[int, str]] = {}
        """When (UTC ns) and why each device went down last; ``""`` is the adapter itself."""

    def _changed(self, state: str) -> None:
        self.stats.link = state
        self.since_s = self._loop.time()
        self.was_up |= state == "up"
        if state == "down":
            self.errors[""] = (self.now_ns(), self._state.detail)

    @property
    def detail(self) -> str:
        """What was said of the link last."""
        return self._state.detail

    async def emit(self, frame: Frame, tokens: Tokens | None = None) -> Receipt:
        """See :meth:`adapters.base.Context.emit`."""
        self.stats.samples += len(frame)
        self._shared.liveness.hear(self, frame, self._loop.time())
        return await self._intake.emit(frame, self.name, tokens)

    def known(self, tokens: Tokens) -> Mask:
        """See :meth:`adapters.base.Context.known`."""
        return self._intake.recent.known(self.name, tokens)

    def remember(self, key: str, value: bytes) -> None:
        """See :meth:`adapters.base.Context.remember`."""
        self._intake.remember(self.name, key, value)

    def recall(self, key: str) -> bytes | None:
        """See :meth:`adapters.base.Context.recall`."""
        return self._intake.memory.get((self.name, key))

    def link(self, device: str, *, up: bool, detail: str = "") -> None:
        """See :meth:`adapters.base.Context.link`."""
        if not device:
            self._state.set(up=up, detail=detail)
            return
        if device not in self._devices:
            entry = self.stats.devices.setdefault(device, {})

            def changed(state: str) -> None:
                entry["link"] = state
                if state == "down":
                    self.errors[device] = (self.now_ns(), self._devices[device].detail)

            self._devices[device] = LinkState(f"device {self.name}/{device}", changed)
        self._devices[device].set(up=up, detail=detail)
        self.stats.devices[device]["detail"] = detail

    def expect(self, device: str, period_s: float) -> None:
        """See :meth:`adapters.base.Context.expect`."""
        self._shared.liveness.expect(self, device, period_s, self._loop.time())

    def reject(self, reason: str, where: str, payload: bytes = b"", detail: str = "") -> None:
        """See :meth:`adapters.base.Context.reject`."""
        self.stats.reasons[reason] += 1
        self._shared.rejected.add(self.name, reason, where, payload, detail)

    def found(self, finding: Finding) -> None:
        """See :meth:`adapters.base.Context.found`."""
        self._shared.found(self.name, finding)

    def view(self, globs: Sequence[str]) -> ValuesView:
        """See :meth:`adapters.base.Context.view`."""
        return self._shared.latest.view(globs)

    def stale_after_s(self) -> float | None:
        """See :class:`gateway.liveness.Watched`."""
        return self.config.stale_after

    def is_down(self, device: str) -> bool:
        """See :class:`gateway.liveness.Watched`."""
        return device in self._devices and self._devices[device].up is False

    def note_stale(self, device: str, *, stale: bool) -> None:
        """See :class:`gateway.liveness.Watched`."""
        self.stats.devices.setdefault(device, {})["stale"] = stale
        self.stats.stale += 1 if stale else -1

    def start(self) -> None:
        """Run the adapter under supervision."""
        self.folder.mkdir(0o700, parents=True, exist_ok=True)

        async def run() -> None:
            self.adapter = self.config.create()
            await self.adapter.run(self)

        what = f"adapter {self.name}"
        self._task = asyncio.create_task(supervise(what, run, self._state), name=what)

    async def reconfigure(self, config: AdapterConfig) -> bool:
        """Give the running adapter other options; whether it could take them without a new start."""
        if self.adapter is None or not self._state.up or not await self.adapter.reconfigure(config):
            return False
        self.config = config
        return True

    async def stop(self) -> None:
        """Cancel the adapter and wait until it has let go of its connections."""
        await ended(self._task)
        self._shared.liveness.forget(self)
        self.stats.link = "down"


class UplinkLink:
    """One configured uplink: its context (see :class:`gateway.uplinks.base.UplinkContext`), feed and task."""

    def __init__(self, name: str, config: UplinkConfig, shared: Shared) -> None:
        self.gateway = shared.gateway
        self.name = name
        self.config = config
        self._intake = intake = shared.intake
        self.directory = intake.directory
        self.stats = UplinkStats()
        self.log = logging.LoggerAdapter(logging.getLogger("onpath.uplink"), {"uplink": name})
        self._now_ns = shared.clock.now_ns
        self._key = f"uplink {name}"  # no adapter can have this name, so what each remembers stays apart
        self._state = LinkState(f"uplink {name}", self._changed)
        self.since_s = asyncio.get_running_loop().time()
        """When its link went up or down last, of the loop's clock."""
        self.was_up = False
        """Whether it ever was."""
        self._task: asyncio.Task[None] | None = None
        self._rank = {pipeline: rank for rank, pipeline in enumerate(config.priority)}
        self.meter = None if config.adapt is None else Meter()
        self.control: LinkControl | None = None
        """What keeps it to what the link carries, once it has begun to."""
        self.feed = Feed(
            self._read,
            self._delivered,
            intake.engine.store.spool.newest,
            gate=Gate(config, lambda: self.stats.bytes, self.recall(_BUDGET), self._now_ns, self._save_budget),
            rank_of=self._rank_of,
            ranks=len(config.priority) + 1 + (self.meter is not None),
            now_ns=self._now_ns,
        )

    @property
    def newest(self) -> int:
        """See :attr:`gateway.uplinks.base.UplinkContext.newest`."""
        return self._intake.engine.store.spool.newest

    async def oldest(self) -> int:
        """See :meth:`gateway.uplinks.base.UplinkContext.oldest`."""
        return await self._intake.on_store(lambda: self._intake.engine.store.spool.first(self.name))

    @property
    def detail(self) -> str:
        """What was said of the link last."""
        return self._state.detail

    def _changed(self, state: str) -> None:
        self.stats.link = state
        self.since_s = asyncio.get_running_loop().time()
        self.was_up |= state == "up"
        away = self._intake.engine.store.spool.away
        (away.discard if state == "up" else away.add)(self.name)

    def _rank_of(self, pipeline: str) -> int:
        if self.meter is not None and pipeline in self.meter.aside:
            return len(self._rank) + 1
        return self._rank.get(pipeline, len(self._rank))

    def put_aside(self, pipelines: frozenset[str]) -> None:
        """Of these pipelines nothing is sent from now on, until others are named; it waits in the spool."""
        if self.meter is not None and pipelines != self.meter.aside:
            self.meter.aside = pipelines
            self.feed.gate.shut = len(self._rank) + 1
            self.feed.regroup()

    def _save_budget(self, value: bytes) -> None:
        self.remember(_BUDGET, value)

    async def _read(self, after: int, limit: int, rank: int) -> list[Batch]:
        def read() -> list[Batch]:
            spool = self._intake.engine.store.spool
            wanted = [one for one in spool.counts.pipelines(self.name) if self._rank_of(one) == rank]
            return spool.read(self.name, after, limit, self._now_ns(), wanted)

        return await self._intake.on_store(read)

    def _delivered(self, seq: int) -> None:
        self._intake.delivered(self.name, seq)

    async def next(self) -> Batch:
        """See :meth:`gateway.uplinks.base.UplinkContext.next`."""
        batch = await self.feed.next()
        if self.meter is not None:
            self.meter.handed(batch, asyncio.get_running_loop().time())
        return batch

    def ready(self, limit: int) -> list[Batch]:
        """See :meth:`gateway.uplinks.base.UplinkContext.ready`."""
        batches: list[Batch] = []
        while len(batches) < limit and (batch := self.feed.ready()) is not None:
            batches.append(batch)
            if self.meter is not None:
                self.meter.handed(batch, asyncio.get_running_loop().time())
        return batches

    def done(self, batch: Batch) -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.done`."""
        self.stats.acknowledged += 1
        self.stats.samples += len(batch.frame)
        if self.meter is not None:
            self.meter.acknowledged(batch, asyncio.get_running_loop().time())
        self.feed.done(batch.seq)

    def give_up(self, batch: Batch, reason: str) -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.give_up`."""
        self.feed.settle(batch.seq)
        self._intake.refused(self.name, batch.seq, reason)

    def park(self, batch: Batch) -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.park`."""
        self.feed.park(batch.seq)

    def repeat(self, after: int) -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.repeat`."""
        self._intake.repeat(self.name, after)

    def link(self, *, up: bool, detail: str = "") -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.link`."""
        self._state.set(up=up, detail=detail)

    def remember(self, key: str, value: bytes) -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.remember`."""
        self._intake.remember(self._key, key, value)

    def recall(self, key: str) -> bytes | None:
        """See :meth:`gateway.uplinks.base.UplinkContext.recall`."""
        return self._intake.memory.get((self._key, key))

    async def saved(self) -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.saved`."""
        await self._intake.commit()

    def heard(self, committed: Committed) -> None:
        """A commit has written rows, taken some away, or both."""
        if committed.delivered:
            removed = [seq for uplink, seq in committed.delivered if uplink == self.name]
            self.feed.removed(removed)
            if self.meter is not None:
                self.meter.removed(removed)
        if gone := committed.given_up.get(self.name):
            self.feed.forget(gone)
        for uplink, after in committed.repeats:
            if uplink == self.name:
                self.feed.again(after)
        if batches := committed.batches.get(self.name):
            if self.meter is not None:
                self.meter.made(batches)
            self.feed.offer(batches)

    def start(self) -> None:
        """Run the uplink under supervision."""

        async def run() -> None:
            uplink: Uplink = self.config.create()
            try:
                await uplink.run(self)
            finally:
                self.feed.rewind()
                if self.meter is not None:
                    self.meter.begin()

        what = f"uplink {self.name}"
        longest_s = float(getattr(self.config, "reconnect", LONGEST_PAUSE_S))
        self._task = asyncio.create_task(supervise(what, run, self._state, longest_s), name=what)

    async def drained(self) -> None:
        """Wait until all that is in the spool was acknowledged."""
        await self.feed.drained()

    async def stop(self) -> None:
        """Cancel the uplink and wait until it has let go of its connections."""
        await ended(self._task)
        self.feed.rewind()
        self.feed.gate.close()
        self.stats.link = "down"

    def status(self) -> dict[str, Any]:
        """For ``status``: what is counted, how the feed stands, and what keeps it to what the link carries."""
        adapt = None if self.control is None else self.control.as_dict()
        return self.stats.as_dict() | {"lanes": self.feed.status(), "adapt": adapt}
