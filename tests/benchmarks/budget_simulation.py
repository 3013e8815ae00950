"""A gateway's pipelines and its control of the link budget over a link of a virtual clock, second by second.

Streams of real data (gateway/demo/data: household profiles and office sensors, each stream another part of a series,
ten values a second) go through the real operators: a deadband, and beside it a window whose totals must be exact. What
comes out is encoded as frames, goes through a link that carries so many bytes a second, first in first out, and is
decoded. The control is the gateway's own; each run of a :class:`Site` is the same.
"""

from __future__ import annotations

import csv
import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgpack
import numpy as np

from gateway.batch import Batch
from gateway.budget.capacity import Capacity
from gateway.budget.control import differs
from gateway.budget.meter import Meter, Rows
from gateway.budget.stages import stages_before
from gateway.budget.steps import steps_before
from gateway.budget.uplink import LinkControl, Period
from gateway.config import GatewayConfig
from gateway.config.expand import Expander
from gateway.config.load import load_texts
from gateway.directory import Directory
from gateway.frame import Frame, concat
from gateway.graph import Graph
from gateway.point import Point
from gateway.store.rows import cut
from gateway.wire import columns
from gateway.wire.message import FrameDecoder, FrameEncoder

PHASES: Final = (1.0, 0.5, 0.2, 0.1, 0.8)
"""What the link carries, by what is made at the configured bounds."""
RATE: Final = 10
"""Values a second of each stream."""
LAST: Final = 2
"""The last phase is so many times as long: room to spare is taken slowly."""
NEED_S: Final = 120
"""How long is measured what is made at the configured bounds."""
WAY_S: Final = 0.1
"""After so long an acknowledgement comes, beside the time that the bytes take."""
DRAINED_S: Final = 1.5
CALM_S: Final = 10
STATED: Final = 40.0
"""The widest bound, percent."""
FLOATS: Final = 1e-9
"""An error may exceed its bound by this part of it: floats are no real numbers."""
BEGIN_NS: Final = 1_800_000_000 * 10**9
SECOND: Final = 10**9
CONFIG: Final = """
adapters: {{m: {{type: mqtt, url: "mqtt://h", subscribe: [{{topic: "a/{{device}}"}}]}}}}
pipelines:
  live: {{from: ["s/**"], steps: [{{deadband: {{epsilon: 0.5%}}}}], to: [up]}}
  totals: {{from: ["s/**"], steps: [{{window: {{every: {totals}, stats: [count, sum], lateness: 0s}}}}], to: [up]}}
uplinks:
  up:
    {{type: mqtt, url: "mqtt://h", format: frame, adapt: {{max: {most}%, every: {every}s, drain: {drain}s, rungs: []}}}}
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What is simulated."""

    streams: int = 240
    seed: int = 0
    """0: each stream begins 37 values after the one before. Else at random, with a pace (0.3 to 3 values of the series
    a value) and noise of its own."""
    noise: float = 0.003
    """Standard deviation by the range of a stream, with a ``seed``."""
    commit: int = 2
    """``store.commit``, seconds: each message has a head of some hundred bytes, and the link is slow."""
    every: int = 4
    """Seconds, as ``drain``."""
    drain: int = 10
    totals: str = "5m"
    phases: tuple[float, ...] = PHASES
    seconds: int = 400
    """Of a phase."""

    @property
    def config(self) -> str:
        """In YAML."""
        return CONFIG.format(totals=self.totals, most=STATED, every=self.every, drain=self.drain)


def configured(text: str) -> GatewayConfig:
    """The configuration of a text."""
    return load_texts({Path("budget.yaml"): text.encode()}, Expander({})).config


def series() -> list[tuple[np.ndarray, float]]:
    """The project's own data: each series, and how fine its values are."""
    found: list[tuple[np.ndarray, float]] = []
    for site, resolution in (("households", 0.1), ("office", 0.01)):
        lines = files("gateway.demo").joinpath(f"data/{site}.csv").read_text("utf-8").splitlines()
        table = np.array([row[1:] for row in list(csv.reader(lines))[1:]], np.float64)
        found += [(column, resolution) for column in table.T]
    return found


class Streams:
    """Each stream is a part of a series, :data:`RATE` values a second; they begin anew at the end."""

    def __init__(self, site: Site) -> None:
        self.points = Directory()
        parts, count = series(), site.streams
        random = np.random.default_rng(site.seed)
        self._series: list[np.ndarray] = []
        for one in range(count):
            values, resolution = parts[one % len(parts)]
            if site.seed:
                at = np.arange(0, len(values) - 1, math.exp(random.uniform(math.log(0.3), math.log(3))))
                values = np.interp(at, np.arange(len(values)), values)
                values = values + random.normal(0, site.noise * np.ptp(values), len(values))
            self._series.append(np.rint(values / resolution) * resolution)
        self.resolution = np.array([parts[one % len(parts)][1] for one in range(count)])
        self._first = random.integers(0, 10**4, count) if site.seed else 37 * np.arange(count)
        self.low, self.high = (np.array([end(one) for one in self._series]) for end in (np.min, np.max))
        for one in range(count):
            limits = (float(self.low[one]), float(self.high[one]))
            point = Point(name=f"s/{one}", limits=limits, resolution=float(self.resolution[one]))
            self.points.add(point)
        self.ids = np.arange(count, dtype=np.int32)

    def at(self, second: int) -> Frame:
        """The values of a second, time by time."""
        rows = np.arange(RATE * second, RATE * (second + 1))
        values = [series[(first + rows) % len(series)] for series, first in zip(self._series, self._first, strict=True)]
        times = BEGIN_NS + rows * (SECOND // RATE)
        return Frame.of(np.tile(self.ids, RATE), np.repeat(times, len(self.ids)), np.array(values).T.ravel())


@dataclass
class Phase:
    """What was seen in one phase."""

    part: float
    carries: float
    """Bytes a second."""
    carried: float = 0.0
    """Bytes in the second half."""
    seconds: int = 0
    """Of the second half."""
    drained_s: int = -1
    """After so long less than 1.5 s of the link's bytes waited, beside the newest rows; -1: always."""
    largest: float = 0.0
    """Error by the bound in force."""
    errors: float = 0.0
    widest: float = 0.0
    """The bound, in percent."""
    most_waiting: float = 0.0
    """Bytes."""
    count: int = 0

    @property
    def use(self) -> float:
        """The part of the link that was used."""
        return self.carried / (self.carries * self.seconds)

    @property
    def mean_error(self) -> float:
        """Percent of the range."""
        return 100 * self.errors / max(1, self.count)


class Simulation:
    """A gateway's pipelines and control over a link, second by second."""

    def __init__(self, site: Site, *, control: bool = True) -> None:
        self.site = site
        self.config = configured(site.config)
        self.uplink = self.config.uplinks["up"]
        self.streams = Streams(site)
        self.graph = Graph(self.config.effective, self.streams.points)
        self.meter = Meter()
        adapt = self.uplink.adapt
        assert adapt is not None
        self.control = LinkControl(adapt) if control else None
        if self.control is not None:
            found = steps_before(self.graph, "up", adapt)
            self.control.meet(found, stages_before(self.graph, "up", self.uplink, found))
        self.bandwidth = math.inf
        """The configured one."""
        self._encoder = FrameEncoder("g1", self.streams.points)
        self._decoder = FrameDecoder()
        self.standing = 0
        """Payload bytes that waited when the newest rows came."""
        self._held: dict[str, list[Frame]] = {}
        """What was made since the last commit."""
        self._queue: deque[tuple[Batch, bytes]] = deque()
        self._begun = 0.0
        """Bytes of the first message that are through."""
        self.sent = self.seq = self.second = 0
        self._handed = 0
        """Payload bytes since the last period."""
        self._last = np.full(site.streams, np.nan)
        self.got: Counter[str] = Counter()
        """Of the totals: counts, and sums as whole steps, as received."""
        self.came: Counter[str] = Counter()
        self.told: set[float] = set()
        """Bounds that came with batches."""
        self.received = 0
        self.by_pipeline: Counter[str] = Counter()
        """Samples received."""

    # What a second brings

    def step(self, carries: float, phase: Phase) -> None:
        """One second with a link that carries so many bytes."""
        frame = self.streams.at(self.second)
        self.second += 1
        now_ns = BEGIN_NS + self.second * SECOND
        self._carry(carries)
        outputs = [*self.graph.process(frame), *self.graph.tick(now_ns)]
        for _, name, out in outputs:
            self._held.setdefault(name, []).append(out)
        if self.second % self.site.commit == 0:
            self._commit()
        self._note_errors(frame, [out for _, name, out in outputs if name == "live"], phase)
        if self.control is not None and self.second % self.site.every == 0:
            self._look(self.control)

    def _commit(self) -> None:
        self.standing = self.waiting
        made = [self._enqueue(name, part) for name, held in self._held.items() for part in cut(concat(held))]
        self.meter.made(made)
        for batch in made:
            self.meter.handed(batch, float(self.second))
        self._held = {}

    def _enqueue(self, pipeline: str, frame: Frame) -> Batch:
        self.seq += 1
        bounds = self.graph.bounds(pipeline)
        batch = Batch(self.seq, pipeline, 0, frame, block=columns.encode(frame), bounds=bounds, epoch=1)
        message, announced = self._encoder.encode(batch)
        for _, told in announced:
            self._decoder.frame(msgpack.unpackb(told, strict_map_key=False))
        self._queue.append((batch, message))
        self._handed += len(message)
        return batch

    def _carry(self, carries: float) -> None:
        """What the link carries in the second before now, first in, first out."""
        now, at = float(self.second), float(self.second - 1)
        while self._queue:
            batch, message = self._queue[0]
            ends = at + (len(message) - self._begun) / carries
            if ends > now:
                self._begun += (now - at) * carries
                break
            at, self._begun = ends, 0.0
            self._queue.popleft()
            self.sent += len(message)
            self.meter.acknowledged(batch, at + WAY_S)
            self._receive(message)

    def _receive(self, message: bytes) -> None:
        received = self._decoder.received(msgpack.unpackb(message, strict_map_key=False))
        assert received is not None
        self.received += 1
        frame = received.batch.frame
        self.told.update(bound["percent"] for bound in received.batch.bounds if "percent" in bound)
        self.by_pipeline[received.batch.pipeline] += len(frame)
        if received.batch.pipeline != "totals":
            return
        for point, value in zip(frame.point.tolist(), frame.value.tolist(), strict=True):
            name, _, stat = self.streams.points.name(point).partition("#")
            whole = value if stat == "count" else value / self.streams.resolution[int(name[2:])]
            self.got[f"{name}#{stat}"] += round(whole)

    # What is measured

    def _note_errors(self, frame: Frame, sent: Iterable[Frame], phase: Phase) -> None:
        """Compare what came with what a receiver has, who holds the value that was sent last."""
        table = frame.value.reshape(RATE, -1)
        held = np.full(table.shape, np.nan)
        for out in sent:
            held[(out.time - frame.time[0]) // (SECOND // RATE), out.point] = out.value
        bound, span = self.bound, self.streams.high - self.streams.low
        for values, news in zip(table, held, strict=True):
            self._last = np.where(np.isnan(news), self._last, news)
            far = np.abs(values - self._last) / span
            phase.largest = max(phase.largest, float(far.max()) / (bound / 100))
            phase.errors += float(far.sum())
            phase.count += len(far)
        phase.widest = max(phase.widest, bound)
        steps = np.rint(table / self.streams.resolution).astype(np.int64).sum(axis=0)
        for one, step in enumerate(steps.tolist()):
            self.came[f"s/{one}#count"] += RATE
            self.came[f"s/{one}#sum"] += step

    @property
    def bound(self) -> float:
        """In force before the uplink, percent."""
        step = next(step for step in self.graph.pipelines["live"].steps if step.lossy)
        bound = step.operator.bound
        assert bound is not None
        assert bound.percent is not None
        return bound.percent

    @property
    def waiting(self) -> int:
        """Payload bytes that are not acknowledged."""
        return sum(len(message) for _, message in self._queue)

    def _look(self, control: LinkControl) -> None:
        waiting: dict[str, Rows] = {}
        for batch, _ in self._queue:
            waiting[batch.pipeline] = waiting.get(batch.pipeline, Rows()).plus(len(batch.block))
        counted = self.meter.take(control.aside.waiting(waiting))
        handed, self._handed = self._handed, 0
        control.look(
            Period(
                seconds=float(self.site.every), counted=counted, sent=handed, waiting=waiting, bandwidth=self.bandwidth
            )
        )
        for place, (step, bound) in control.wishes().items():
            if differs(step.step.operator.bound, bound, exactly=bound == step.base):
                self.graph.rebound(*place, bound)
                control.changes += 1

    def reload(self, bandwidth: float) -> None:
        """Another bandwidth is configured: what was learnt of the link before is forgotten, as after a reload."""
        self.bandwidth = bandwidth
        if self.control is not None:
            self.control.capacity = Capacity()

    def run(self, part: float, carries: float, seconds: int) -> Phase:
        """One phase."""
        phase = Phase(part, carries)
        for at in range(seconds):
            before = self.sent
            self.step(carries, phase)
            phase.most_waiting = max(phase.most_waiting, self.standing)
            if 2 * at >= seconds:
                phase.carried += self.sent - before
                phase.seconds += 1
            elif self.standing > DRAINED_S * carries:
                phase.drained_s = at + 1 if phase.drained_s < 0 or at - phase.drained_s < CALM_S else phase.drained_s
        return phase

    def finish(self) -> None:
        """Let all windows close, and all that waits through."""
        for _, name, out in self.graph.clock_stepped(0):
            self._held.setdefault(name, []).append(out)
        self._commit()
        self._carry(math.inf)


def need(site: Site) -> float:
    """Bytes a second that are made at the configured bounds."""
    run = Simulation(site, control=False)
    phase = Phase(1.0, math.inf)
    for _ in range(NEED_S):
        run.step(1e12, phase)
    return run.sent / NEED_S


def phases(site: Site, *, told: bool) -> tuple[Simulation, list[Phase]]:
    """A whole run; ``told``: what the link carries is configured, as a bandwidth, else it has to be found out."""
    needed = need(site)
    run = Simulation(site)
    found: list[Phase] = []
    for at, part in enumerate(site.phases, 1):
        if told:
            run.reload(bandwidth=part * needed)
        found.append(run.run(part, part * needed, site.seconds * (LAST if at == len(site.phases) else 1)))
    run.finish()
    return run, found
