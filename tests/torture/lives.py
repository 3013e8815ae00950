"""Lives of one state folder, one after the other, with devices and a receiver that outlive them and judge in the end.

The real intake and engine over the real store. A device repeats what was not acknowledged, as an MQTT broker does,
under the same token; the receiver knows record ids and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gateway.batch import Batch, Loss
from gateway.clock import Clock
from gateway.directory import Directory
from gateway.engine import Committed, Engine, Group
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.intake import Intake
from gateway.point import Point
from gateway.store.files import SYSTEM, StoreFiles
from gateway.store.opening import with_store
from gateway.store.segments import Segment, Tick
from gateway.store.store import Store
from tests.support.build import config_of

S = 1_000_000_000
START_NS = 1_790_000_000 * S
CONFIG = config_of("""
gateway: g
state: /x
store: {commit: 4ms, receipt_commit: 1ms}
pipelines:
  raw: {from: ["*/n"], to: [out]}
  counted:
    from: ["*/n"]
    steps: [{window: {every: 20s, stats: [count], lateness: 5s, late: next}}]
    to: [out]
uplinks: {out: {type: stdout}}
""")
DEVICES = ("d0", "d1")
FAST = 200
"""Time in these lives runs faster, so that windows open and close within them."""


def fast_ns() -> int:
    """A wall clock and a monotonic one in one."""
    return START_NS + (time.monotonic_ns() - _BEGAN) * FAST


_BEGAN = time.monotonic_ns()


@dataclass
class World:
    """What is outside of the gateway: it forgets nothing."""

    sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DEVICES, 0))
    """The next number of each device."""
    open: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in DEVICES})
    """Sent and not acknowledged: to be repeated."""
    acknowledged: set[tuple[str, int]] = field(default_factory=set)
    received: dict[tuple[int, int], tuple[str, object]] = field(default_factory=dict)
    """Content by record id (epoch, seq)."""
    repeated: int = 0
    differing: list[tuple[int, int]] = field(default_factory=list)
    times: dict[tuple[str, int], int] = field(default_factory=dict)
    """When a device said something: a repetition says the same."""
    names: dict[int, str] = field(default_factory=dict)
    """Points by id, which stay for ever."""

    def take(self, batch: Batch) -> None:
        """A batch has come upstream; it may have come before."""
        record = batch.epoch, batch.seq
        content = batch.pipeline, batch.loss or batch.frame
        known = self.received.setdefault(record, content)
        if known is not content:
            self.repeated += 1
            if known != content:
                self.differing.append(record)

    def check(self) -> dict[str, object]:
        """What is lost, doubled, invented or not counted; all empty when all is well."""
        raw = [frame for name, frame in self.received.values() if name == "raw" and isinstance(frame, Frame)]
        got = Counter(
            (self.names[point].split("/")[0], int(value))
            for frame in raw
            for point, value in zip(frame.point.tolist(), frame.value.tolist(), strict=True)
        )
        counted = sum(
            int(frame.value.sum())
            for name, frame in self.received.values()
            if name == "counted" and isinstance(frame, Frame)
        )
        return {
            "lost": sorted(self.acknowledged - got.keys()),
            "doubled": sorted(key for key, count in got.items() if count > 1),
            "invented": sorted(key for key in got if key[1] >= self.sent[key[0]]),
            "differing": self.differing,
            "counted": counted - len(got),
            "losses": [content for _, content in self.received.values() if isinstance(content, Loss)],
        }


WELL = {"lost": [], "doubled": [], "invented": [], "differing": [], "counted": 0, "losses": []}


def engine_over(folder: Path, world: World, files: StoreFiles = SYSTEM) -> Engine:
    """An engine as the daemon opens it; its points keep their ids for ever."""

    def begin(store: Store) -> Engine:
        directory = Directory()
        store.load_directory(directory)
        engine = Engine(store, directory, CONFIG.pipelines)
        engine.recover(START_NS)
        return engine

    engine = with_store(folder, CONFIG.store, START_NS, begin, files)
    assert engine.store.salvaged is None, "what a cut or a kill leaves is no damage"
    for number in range(len(engine.directory)):
        name = engine.directory.name(number)
        assert world.names.setdefault(number, name) == name, "an id is given to another point"
    return engine


@dataclass
class Life:
    """One process: from its start until it is stopped, or until its disk is no more."""

    folder: Path
    world: World
    files: StoreFiles = SYSTEM
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    messages: int = 12
    """How many each device sends, at most."""
    patience_s: float = 20.0
    intake: Intake | None = None

    async def run(self) -> None:
        """Live; raises what ended it, but for a stop."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            engine = await loop.run_in_executor(executor, engine_over, self.folder, self.world, self.files)
            clock = Clock(fast_ns, fast_ns, lambda: True)
            clock.resume_after(engine.store.stream_ns)
            self.intake = Intake(engine, executor, clock, CONFIG.store, self._committed, self._resend)
            committing = asyncio.create_task(self.intake.run())
            sending = asyncio.gather(*(self._send(name) for name in DEVICES))
            try:
                await self._receive_again()
                async with asyncio.timeout(self.patience_s):
                    await asyncio.wait([committing, sending], return_when=asyncio.FIRST_COMPLETED)
                if committing.done():
                    committing.result()
                sending.result()
                await self.intake.commit(checkpoint=True)
            finally:
                sending.cancel()
                self.intake.stop()
                await asyncio.gather(committing, sending, return_exceptions=True)
                with contextlib.suppress(BaseException):
                    await loop.run_in_executor(executor, self.intake.engine.shut)

    async def _send(self, name: str) -> None:
        """Number after number, first those that nobody acknowledged, each waited for or not."""
        world = self.world
        point = self.intake.directory.add(Point(name=f"{name}/n"))
        assert world.names.setdefault(point, f"{name}/n") == f"{name}/n", "an id is given to another point"
        waiting = []
        for number in [*world.open[name], *range(world.sent[name], world.sent[name] + self.messages)]:
            if number >= world.sent[name]:
                world.sent[name] = number + 1
                world.open[name].append(number)
            token = np.array([number], np.uint64)
            if self.intake.recent.known(name, token)[0]:
                self._acknowledge(name, number)  # it was on disk before the end of an earlier life
                continue
            at = world.times.setdefault((name, number), fast_ns())
            receipt = await self.intake.emit(Frame.of([point], at, [float(number)]), name, token)
            waiting.append((number, receipt))
            if len(waiting) > self.chance.choice((0, 0, 3)):
                await self._settle(name, waiting)
        await self._settle(name, waiting)

    async def _settle(self, name: str, waiting: list) -> None:
        for number, receipt in waiting:
            with contextlib.suppress(StoreError):
                await receipt.durable()
                self._acknowledge(name, number)
        waiting.clear()

    def _acknowledge(self, name: str, number: int) -> None:
        self.world.acknowledged.add((name, number))
        self.world.open[name].remove(number)

    def _committed(self, made: Committed, _segments: Sequence[Segment]) -> None:
        for batches in made.batches.values():
            for batch in batches:
                self._receive(batch)

    def _receive(self, batch: Batch) -> None:
        if self.chance.random() < 0.3:
            return  # lost on its way, or not sent yet
        self.world.take(batch)
        if self.chance.random() < 0.8:  # else its acknowledgement was lost
            self.intake.delivered("out", batch.seq)

    def _resend(self) -> None:
        """The store was opened again: what it holds is sent again."""
        self._again = asyncio.create_task(self._receive_again())

    async def _receive_again(self) -> None:
        with contextlib.suppress(StoreError):
            for batch in await self.intake.on_store(waiting, self.intake.engine):
                self._receive(batch)


def waiting(engine: Engine) -> list[Batch]:
    """All rows before the uplink."""
    rows: list[Batch] = []
    while found := engine.store.spool.read("out", rows[-1].seq if rows else 0, 64, START_NS):
        rows += found
    return rows


def last_life(folder: Path, world: World) -> dict[str, dict]:
    """Open once more, close all windows, deliver everything; the pipelines' counters."""
    engine = engine_over(folder, world)
    late = fast_ns() + 10**6 * S
    engine.commit(Group([Tick(late), Tick(late + 60 * S)], checkpoint=True), START_NS)
    for batch in waiting(engine):
        world.take(batch)
    status = engine.graph.status()
    engine.store.close()
    for name, pipeline in status.items():
        gone = sum(pipeline[key] for key in ("out", "filtered", "aggregated", "dropped", "queued"))
        assert pipeline["in"] + pipeline["derived"] == gone, (name, pipeline)
    return status
