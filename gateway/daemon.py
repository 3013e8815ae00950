"""The daemon: builds everything from a configuration, runs it, changes it, and stops it in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from gateway import __version__, notify
from gateway.alerts.board import Board
from gateway.budget.control import LinkBudgets
from gateway.clock import Clock
from gateway.config import GatewayConfig, Loaded, load_checked
from gateway.console.link import ConsoleLink
from gateway.control import serving
from gateway.directory import Directory
from gateway.editing.change import recover
from gateway.editing.editor import Editor
from gateway.embedded import BrokerLink
from gateway.engine import Committed, Engine
from gateway.errors import ConfigError, OnpathError, StoreError
from gateway.events import Events
from gateway.frame import Frame, concat
from gateway.history import History
from gateway.intake import Intake
from gateway.joining import Joining
from gateway.latest import LatestValues
from gateway.links import AdapterLink, Shared, UplinkLink
from gateway.liveness import CHECK_S, Liveness, stale_samples
from gateway.logs import set_up
from gateway.network.node import Network
from gateway.own.source import Own
from gateway.reduction.link import ReductionLink
from gateway.rejected import RejectedRing
from gateway.reload import Changes, compare
from gateway.status import status
from gateway.store.opening import with_store
from gateway.store.segments import Segment
from gateway.store.store import StateLock, Store
from gateway.tapping import Taps
from gateway.verbs import verbs
from gateway.view.views import Views
from gateway.watchdog import Watchdog

log = logging.getLogger(__name__)

T = TypeVar("T")

STOP_S = 9.0
"""SIGTERM to exit, at most; systemd is told 10 s."""


class Daemon:
    """One running gateway. ``run`` is its life."""

    def __init__(self, path: Path, env: Mapping[str, str] = os.environ) -> None:
        self.path = path
        self.env = env
        self._stop = asyncio.Event()
        self._reload_lock = asyncio.Lock()
        self.config = GatewayConfig()
        self.clock = Clock()
        self.directory = Directory()
        self.loaded: Loaded
        self.events = Events()
        self.adapters: dict[str, AdapterLink] = {}
        self.uplinks: dict[str, UplinkLink] = {}
        self.intake: Intake
        self.shared: Shared
        self.joining: Joining
        self.taps: Taps
        self.views: Views
        self.console = ConsoleLink(self)
        self.reduction = ReductionLink()
        self.history: History
        self.alerts: Board
        self.own: Own
        self.network = Network(self, self._extend)
        self.editing: Editor
        self.broker: BrokerLink | None = None
        self.reloads = {"done": 0, "failed": 0, "ok": 1, "last_ms": 0}
        self.began = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, and stop in order.

        Raises:
            ConfigError, StateInUseError, StoreError: it cannot start.
        """
        recover(self.path, self.env)
        loaded = self._load()
        self.loaded, self.config = loaded, loaded.config
        set_up(self.config.log, self.events)
        state = Path(self.config.state)
        lock = StateLock(state)
        try:
            async with self._engine(state) as intake:
                self._share(intake, state)
                self.config = self.network.extend(await self.joining.configured(loaded))
                self.joining.follow(loaded)
                await self.editing.took(loaded)
                await self.alerts.begin()
                await self._serve(state)
        finally:
            lock.release()

    def _share(self, intake: Intake, state: Path) -> None:
        """What adapters, uplinks and onlookers have in common."""
        self.intake = intake
        self.joining = Joining(intake, self.clock, self._change)
        rejected = RejectedRing()
        self.taps = Taps(self.directory, rejected, intake.engine)
        self.shared = Shared(
            gateway=self.config.gateway,
            state=state,
            clock=self.clock,
            intake=intake,
            liveness=Liveness(self.directory),
            latest=LatestValues(self.directory),
            rejected=rejected,
            found=self.joining.found,
        )
        intake.lazy.steady = lambda: all(uplink.stats.link == "up" for uplink in self.uplinks.values())
        intake.held = lambda: {name: uplink.feed.held() for name, uplink in self.uplinks.items()}
        self.history = History(state, intake, self.clock, self.shared.latest)
        self.alerts = Board(self)
        self.own = Own(self)
        self.editing = Editor(self, state)
        self.views = Views(self)

    def _load(self) -> Loaded:
        loaded = load_checked(self.path, self.env)
        for warning in loaded.warnings:
            log.warning("%s", warning)
        return loaded

    @contextlib.asynccontextmanager
    async def _engine(self, state: Path) -> AsyncIterator[Intake]:
        """The store's thread with the engine in it, and the intake in front of them."""
        with ThreadPoolExecutor(1, "store") as executor:
            loop = asyncio.get_running_loop()
            engine = await loop.run_in_executor(executor, self._open_engine, state)
            try:
                yield Intake(engine, executor, self.clock, self.config.store, self._committed, self._reopened)
            finally:
                await loop.run_in_executor(executor, engine.shut)

    def _open_engine(self, state: Path) -> Engine:
        now_ns = self.clock.now_ns()
        self.clock.trust = self.config.clock

        def begin(store: Store) -> Engine:
            directory = Directory(self.config.max_points)
            store.load_directory(directory)
            self.network.recall(store.read_memory())
            self.config = self.network.extend(self.config)
            engine = Engine(store, directory, self.config.effective, self.config.queues)
            engine.recover(now_ns)
            return engine

        engine = with_store(state, self.config.store, now_ns, begin)
        self.directory = engine.directory
        self.clock.resume_after(engine.store.stream_ns)
        if engine.replayed:
            log.info("replayed %d journal blocks behind the checkpoint", engine.replayed)
        return engine

    async def _serve(self, state: Path) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        if self.config.broker_options is not None:
            self.broker = BrokerLink(self.config.broker_options, state)
            await self.broker.start()
        for name, uplink in self.config.uplinks.items():
            self._start_uplink(name, uplink)
        for name, adapter in self.config.adapters.items():
            self._start_adapter(name, adapter)
        self.console.use(self.config.console)
        await self.reduction.use(self.config.reduction)
        await self.network.use(self.config)
        async with serving(state, verbs(self)):
            committing = asyncio.create_task(self.intake.run(), name="intake")
            beside = [
                asyncio.create_task(Watchdog(self.intake).run(), name="watchdog"),
                asyncio.create_task(self._watch_devices(), name="liveness"),
                asyncio.create_task(self.own.run(), name="own metrics"),
                asyncio.create_task(LinkBudgets(self).run(), name="link budgets"),
                asyncio.create_task(self.joining.run(), name="discovery"),
                asyncio.create_task(self.history.run(), name="history"),
                asyncio.create_task(self.history.fill(), name="latest values"),
            ]
            log.info("onpath %s runs as %s", __version__, self.config.gateway)
            notify.notify("READY=1", f"STATUS={len(self.adapters)} adapters, {len(self.uplinks)} uplinks")
            stopping = asyncio.create_task(self._stop.wait(), name="stop")
            await asyncio.wait([committing, stopping], return_when=asyncio.FIRST_COMPLETED)
            notify.notify("STOPPING=1")
            log.info("stopping")
            await self.editing.stop()
            await self.console.stop()
            await self.reduction.stop()
            await self.network.stop()
            await self._shut_down(committing)
            for task in (*beside, stopping):
                task.cancel()
            if committing.done() and not committing.cancelled():
                committing.result()  # a defect there must not look like a clean end

    async def _watch_devices(self) -> None:
        """Once a second, say of devices that went silent that they are stale."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK_S)
            for owner, points in self.shared.liveness.check(loop.time()):
                if owner.name in self.adapters:
                    await self.adapters[owner.name].emit(stale_samples(points, self.clock.now_ns()))

    async def _shut_down(self, committing: asyncio.Task[None]) -> None:
        """Adapters first, then what they had handed over, then what uplinks can still send."""
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(*(adapter.stop() for adapter in self.adapters.values()))
                self.intake.stop()
                await asyncio.gather(committing, return_exceptions=True)
                await self._commit_quietly()
                async with asyncio.timeout(STOP_S / 3):
                    up = [uplink for uplink in self.uplinks.values() if uplink.stats.link == "up"]
                    await asyncio.gather(*(uplink.drained() for uplink in up))
        except TimeoutError:
            log.info("what is not delivered stays in the spool")
        finally:
            self.intake.stop()
            await asyncio.gather(*(uplink.stop() for uplink in self.uplinks.values()))
            await self._commit_quietly()
            if self.broker is not None:
                await self.broker.stop()

    async def _commit_quietly(self) -> None:
        try:
            await self.intake.commit(checkpoint=True)
        except StoreError as error:
            log.error("the last commit failed: %s", error)  # noqa: TRY400  the daemon is going anyway

    def _committed(self, committed: Committed, segments: Sequence[Segment]) -> None:
        frames = [segment for segment in segments if isinstance(segment, Frame)]
        made = [batch.frame for batches in committed.batches.values() for batch in batches]
        if self.shared.latest.watched:
            self.shared.latest.take(concat((*frames, *made)))
        self.views.committed(frames, committed)
        self.alerts.take(committed.alerts)
        self.taps.offer(frames, made, committed.aside)
        for uplink in self.uplinks.values():
            uplink.heard(committed)

    def _reopened(self) -> None:
        newest = self.intake.engine.store.spool.newest
        for uplink in self.uplinks.values():
            uplink.feed.restart(newest)
        self.alerts.doubt()

    def _start_adapter(self, name: str, config: Any) -> None:
        self.adapters[name] = AdapterLink(name, self._reachable(config), self.shared)
        self.adapters[name].start()

    def _start_uplink(self, name: str, config: Any) -> None:
        self.uplinks[name] = UplinkLink(name, self._reachable(config), self.shared)
        self.uplinks[name].start()

    def _reachable(self, config: T) -> T:
        """``url: embedded`` as the address that it is."""
        return config if self.broker is None else self.broker.reached_by(config)

    def _on_hangup(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(OnpathError):  # logged where it is raised; nobody waits for an answer
                await self.reload()

        self._hangup = asyncio.create_task(reload(), name="reload")

    async def reload(self) -> Changes:
        """Read the configuration again and change only what changed.

        Raises:
            ConfigError: nothing was changed.
        """
        async with self._reload_lock:
            notify.reloading()
            try:
                loaded = await asyncio.to_thread(self._load)
                fresh = self.network.extend(await self.joining.configured(loaded))
                changes = compare(self.config, fresh)
                await self._apply(fresh, changes)
                self.loaded = loaded
                self.joining.follow(loaded)
                await self.editing.took(loaded)
            except ConfigError as error:
                self._note_reload("failed")
                log.error("reload refused, nothing was changed:\n%s", error)  # noqa: TRY400  problems, not a traceback
                raise
            finally:
                notify.notify("READY=1")
            self._note_reload("done")
            log.info("reloaded: %s", changes)
            return changes

    def _note_reload(self, result: str) -> None:
        self.reloads[result] += 1
        self.reloads["ok"] = int(result == "done")
        self.reloads["last_ms"] = self.clock.now_ns() // 1_000_000

    async def _change(self, fresh: GatewayConfig) -> None:
        """Devices have joined."""
        async with self._reload_lock:
            fresh = self.network.extend(fresh)
            await self._apply(fresh, compare(self.config, fresh))

    async def _extend(self) -> None:
        """What the network wants of this node has changed."""
        async with self._reload_lock:  # what a reload is just bringing counts, not what was there when it began
            fresh = self.network.extend(self.config)
            await self._apply(fresh, compare(self.config, fresh))

    async def _apply(self, fresh: GatewayConfig, changes: Changes) -> None:
        """Adapters that go, stop first; uplinks that come, start before pipelines write for them."""
        self.views.tally.look(now=True)  # what is replaced begins to count anew
        live = {name for name in changes.adapters.changed if await self._reconfigured(name, fresh)}
        stop = [name for name in changes.adapters.stop if name not in live]
        await asyncio.gather(*(self.adapters.pop(name).stop() for name in stop))
        await asyncio.gather(*(self.uplinks.pop(name).stop() for name in changes.uplinks.stop))
        before, self.config = self.config, fresh
        self.console.use(fresh.console)
        await self.reduction.use(fresh.reduction)
        await self.network.use(fresh)
        self.clock.trust = fresh.clock
        set_up(fresh.log, self.events)
        self.directory.limit = fresh.max_points
        await self.intake.on_store(self.intake.engine.bound, fresh.queues)
        for name in changes.uplinks.start:
            self._start_uplink(name, fresh.uplinks[name])
        try:
            if fresh.effective != before.effective:
                await self.intake.reconfigure(fresh.effective, self.network.learned())
                await self.alerts.ask()
        finally:  # a store that fails meanwhile opens again with the new pipelines; adapters go on
            for name in changes.adapters.start:
                if name not in live:
                    self._start_adapter(name, fresh.adapters[name])

    async def _reconfigured(self, name: str, fresh: GatewayConfig) -> bool:
        """Whether the running adapter could take its new options as it runs."""
        old, new = self.config.adapters[name], fresh.adapters[name]
        return type(old) is type(new) and await self.adapters[name].reconfigure(self._reachable(new))

    async def status(self) -> dict[str, Any]:
        """See :meth:`gateway.inside.Inside.status`."""
        return await status(self)
