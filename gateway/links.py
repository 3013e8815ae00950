"""What adapters and uplinks are given to work with: the gateway's side of both contracts."""

from __future__ import annotations

import asyncio
import logging

from adapters.base import Adapter, AdapterConfig, Points, Receipt, Stats, Tokens
from gateway.batch import Batch
from gateway.clock import Clock
from gateway.frame import Frame, Mask
from gateway.intake import Intake
from gateway.supervisor import LinkState, supervise
from gateway.uplinks.base import Uplink, UplinkStats
from gateway.uplinks.config import UplinkConfig
from gateway.uplinks.feed import Feed


class AdapterLink:
    """One configured adapter: its context (see :class:`adapters.base.Context`) and its task."""

    def __init__(self, name: str, config: AdapterConfig, *, gateway: str, clock: Clock, intake: Intake) -> None:
        self.gateway = gateway
        self.name = name
        self.config = config
        self.stats = Stats()
        self.log = logging.LoggerAdapter(logging.getLogger("onpath.adapter"), {"adapter": name})
        self.points: Points = intake.directory
        self.now_ns = clock.now_ns
        self._intake = intake
        self._state = LinkState(f"adapter {name}", self._changed)
        self._devices: dict[str, LinkState] = {}
        self._task: asyncio.Task[None] | None = None
        self.adapter: Adapter | None = None

    def _changed(self, state: str) -> None:
        self.stats.link = state

    async def emit(self, frame: Frame, tokens: Tokens | None = None) -> Receipt:
        """See :meth:`adapters.base.Context.emit`."""
        self.stats.samples += len(frame)
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

            self._devices[device] = LinkState(f"device {self.name}/{device}", changed)
        self._devices[device].set(up=up, detail=detail)
        self.stats.devices[device]["detail"] = detail

    def start(self) -> None:
        """Run the adapter under supervision."""

        async def run() -> None:
            self.adapter = self.config.create()
            await self.adapter.run(self)

        what = f"adapter {self.name}"
        self._task = asyncio.create_task(supervise(what, run, self._state), name=what)

    async def stop(self) -> None:
        """Cancel the adapter and wait until it has let go of its connections."""
        await _cancel(self._task)
        self.stats.link = "down"


class UplinkLink:
    """One configured uplink: its context (see :class:`gateway.uplinks.base.UplinkContext`), feed and task."""

    def __init__(self, name: str, config: UplinkConfig, *, gateway: str, intake: Intake, clock: Clock) -> None:
        self.gateway = gateway
        self.name = name
        self.config = config
        self.directory = intake.directory
        self.stats = UplinkStats()
        self.log = logging.LoggerAdapter(logging.getLogger("onpath.uplink"), {"uplink": name})
        self._intake = intake
        self._now_ns = clock.now_ns
        self._state = LinkState(f"uplink {name}", self._changed)
        self._task: asyncio.Task[None] | None = None
        self.feed = Feed(self._read, self._delivered, intake.engine.store.spool.newest)

    def _changed(self, state: str) -> None:
        self.stats.link = state

    async def _read(self, after: int, limit: int) -> list[Batch]:
        def read() -> list[Batch]:
            return self._intake.engine.store.spool.read(self.name, after, limit, self._now_ns())

        return await self._intake.on_store(read)

    def _delivered(self, seq: int) -> None:
        self._intake.delivered(self.name, seq)

    async def next(self) -> Batch:
        """See :meth:`gateway.uplinks.base.UplinkContext.next`."""
        return await self.feed.next()

    def ready(self, limit: int) -> list[Batch]:
        """See :meth:`gateway.uplinks.base.UplinkContext.ready`."""
        batches: list[Batch] = []
        while len(batches) < limit and (batch := self.feed.ready()) is not None:
            batches.append(batch)
        return batches

    def done(self, batch: Batch) -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.done`."""
        self.stats.acknowledged += 1
        self.stats.samples += len(batch.frame)
        self.feed.done(batch.seq)

    def link(self, *, up: bool, detail: str = "") -> None:
        """See :meth:`gateway.uplinks.base.UplinkContext.link`."""
        self._state.set(up=up, detail=detail)

    def start(self) -> None:
        """Run the uplink under supervision."""

        async def run() -> None:
            self.feed.rewind()
            uplink: Uplink = self.config.create()
            await uplink.run(self)

        what = f"uplink {self.name}"
        self._task = asyncio.create_task(supervise(what, run, self._state), name=what)

    async def drained(self) -> None:
        """Wait until all that is in the spool was acknowledged."""
        await self.feed.drained()

    async def stop(self) -> None:
        """Cancel the uplink and wait until it has let go of its connections."""
        await _cancel(self._task)
        self.feed.rewind()
        self.stats.link = "down"


async def _cancel(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
