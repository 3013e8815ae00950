"""Does an uplink with ``adapt:`` keep to what its link carries: 100, 50, 20, 10 and 80 % of the bytes it needs?

Two hundred and forty streams of real data (gateway/demo/data: household profiles and office sensors, each stream
another part of a series, ten values a second) go through the real operators: a deadband, and beside it a window whose
totals must be exact. What comes out is encoded as frames, goes through a link that carries so many bytes a second, and
is decoded. The control is the gateway's own, with a virtual clock, so that forty minutes take seconds and each run is
the same. Once what the link carries is told it (``bandwidth``), once it has to find out by itself.

In each phase: the part of the link's bytes that was used in its second half; how long after its begin the backlog was
gone (below what the link carries in 1.5 s); the largest error by the bound in force, and the mean error. Bars: use
between 0.75 and 0.90 (0.92 where it has to be found out: such a link is probed now and then), the backlog gone within
30 s of each halving, no error above the bound in force, no bound above the stated one, totals exact.
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
from tests.benchmarks.rows import Bench, Row

PHASES: Final = (1.0, 0.5, 0.2, 0.1, 0.8)
"""What the link carries, by what is made at the configured bounds."""
STREAMS: Final = 240
RATE: Final = 10
"""Values a second of each."""
PHASE_S: Final = 400
LAST_S: Final = 2
"""The last phase is so many times as long: room to spare is taken slowly."""
NEED_S: Final = 120
"""How long is measured what is made at the configured bounds."""
DRAINED_S: Final = 1.5
CALM_S: Final = 10
STATED: Final = 40.0
"""The widest bound, percent."""
FLOATS: Final = 1e-9
"""An error may exceed its bound by this part of it: floats are no real numbers."""
COMMIT_S: Final = 2
"""``store.commit`` of a site with a slow link: each message has a head of some hundred bytes."""
BEGIN_NS: Final = 1_800_000_000 * 10**9
SECOND: Final = 10**9
CONFIG: Final = """
adapters: {m: {type: mqtt, url: "mqtt://h", subscribe: [{topic: "a/{device}"}]}}
pipelines:
  live: {from: ["s/**"], steps: [{deadband: {epsilon: 0.5%}}], to: [up]}
  totals: {from: ["s/**"], steps: [{window: {every: 5m, stats: [count, sum], lateness: 0s}}], to: [up]}
uplinks: {up: {type: mqtt, url: "mqtt://h", format: frame, adapt: {max: 40%, every: 4s, rungs: []}}}
"""


def configured(text: str) -> GatewayConfig:
    """The configuration of a text."""
    return load_texts({Path("budget.yaml"): text.encode()}, Expander({})).config


class Streams:
    """Each stream is a part of a series of the project's own data, a value a second; they begin anew at the end."""

    def __init__(self, count: int) -> None:
        self.points = Directory()
        parts: list[np.ndarray] = []
        for site, resolution in (("households", 0.1), ("office", 0.01)):
            lines = files("gateway.demo").joinpath(f"data/{site}.csv").read_text("utf-8").splitlines()
            table = np.array([row[1:] for row in list(csv.reader(lines))[1:]], np.float64)
            parts += [np.rint(column / resolution) * resolution for column in table.T]
        self.resolution = np.where(np.arange(count) % len(parts) < len(parts) - 4, 0.1, 0.01)
        self._series = [parts[one % len(parts)] for one in range(count)]
        self._first = np.array([37 * one for one in range(count)])
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

    def __init__(self, text: str = CONFIG, streams: int = STREAMS, *, control: bool = True) -> None:
        self.config = configured(text)
        self.uplink = self.config.uplinks["up"]
        self.streams = Streams(streams)
        self.graph = Graph(self.config.effective, self.streams.points)
        self.meter = Meter()
        adapt = self.uplink.adapt
        assert adapt is not None
        self.control = LinkControl(adapt) if control else None
        if self.control is not None:
            found = steps_before(self.graph, "up", adapt)
            self.control.meet(found, stages_before(self.graph, "up", self.uplink, found))
        self.every = round(adapt.every)
        self.bandwidth = math.inf
        """The configured one."""
        self._encoder = FrameEncoder("g1", self.streams.points)
        self._decoder = FrameDecoder()
        self.standing = 0
        """Payload bytes that waited when the newest rows came."""
        self._held: dict[str, list[Frame]] = {}
        """What was made since the last commit."""
        self._queue: deque[tuple[Batch, bytes]] = deque()
        self._left = 0.0
        self.sent = self.seq = self.second = 0
        self._sent_before = 0
        self._last = np.full(streams, np.nan)
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
        outputs = [*self.graph.process(frame), *self.graph.tick(now_ns)]
        for _, name, out in outputs:
            self._held.setdefault(name, []).append(out)
        if self.second % COMMIT_S == 0:
            self._commit()
        self._note_errors(frame, [out for _, name, out in outputs if name == "live"], phase)
        self._carry(carries)
        if self.control is not None and self.second % self.every == 0:
            self._look(self.control)

    def _commit(self) -> None:
        self.standing = self.waiting
        made = [self._enqueue(name, part) for name, held in self._held.items() for part in cut(concat(held))]
        self.meter.made(made)
        self._held = {}

    def _enqueue(self, pipeline: str, frame: Frame) -> Batch:
        self.seq += 1
        bounds = self.graph.bounds(pipeline)
        batch = Batch(self.seq, pipeline, 0, frame, block=columns.encode(frame), bounds=bounds, epoch=1)
        message, announced = self._encoder.encode(batch)
        for _, told in announced:
            self._decoder.frame(msgpack.unpackb(told, strict_map_key=False))
        self._queue.append((batch, message))
        return batch

    def _carry(self, carries: float) -> None:
        """What the link carries in a second, first in, first out."""
        self._left += carries
        while self._queue and len(self._queue[0][1]) <= self._left:
            batch, message = self._queue.popleft()
            self._left -= len(message)
            self.sent += len(message)
            at = self.second - max(0.0, self._left) / carries
            self.meter.handed(batch, at - len(message) / carries)
            self.meter.acknowledged(batch, at)
            self._receive(message)
        if not self._queue:
            self._left = 0.0

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
        sent, self._sent_before = self.sent - self._sent_before, self.sent
        control.look(
            Period(seconds=float(self.every), counted=counted, sent=sent, waiting=waiting, bandwidth=self.bandwidth)
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


def need(text: str = CONFIG, streams: int = STREAMS, seconds: int = NEED_S) -> float:
    """Bytes a second that are made at the configured bounds."""
    run = Simulation(text, streams, control=False)
    phase = Phase(1.0, math.inf)
    for _ in range(seconds):
        run.step(1e12, phase)
    return run.sent / seconds


def phases(*, told: bool, streams: int = STREAMS, seconds: int = PHASE_S) -> tuple[Simulation, list[Phase]]:
    """A whole run; ``told``: what the link carries is configured, as a bandwidth, else it has to be found out."""
    needed = need(streams=streams)
    run = Simulation(streams=streams)
    found: list[Phase] = []
    for part in PHASES:
        if told:
            run.reload(bandwidth=part * needed)
        found.append(run.run(part, part * needed, seconds * (LAST_S if part == PHASES[-1] else 1)))
    run.finish()
    return run, found


async def rows(bench: Bench) -> list[Row]:
    """A row for each phase, and one for the totals; with a link of known bandwidth, and with one to be found out."""
    del bench
    return [row for told in (True, False) for row in measured(told=told)]


def measured(*, told: bool) -> list[Row]:
    """The rows of one run."""
    run, found = phases(told=told)
    kind = "told" if told else "found"
    made = [
        _row(kind, phase, halving=before is not None and phase.part < before.part)
        for before, phase in zip([None, *found], found, strict=False)
    ]
    samples = sum(value for name, value in run.got.items() if name.endswith("#count"))
    exact = run.got == run.came and max(run.told) <= STATED
    changes = 0 if run.control is None else run.control.changes
    notes = f"{changes} changes of the bound; widest that came with a batch {max(run.told):.3g} %"
    name, bar = f"link-budget-{kind}-totals", "counts and sums exact, stated bound kept"
    return [*made, Row(name=name, measured=float(samples), unit="samples", bar=bar, ok=exact, notes=notes)]


def _row(kind: str, phase: Phase, *, halving: bool) -> Row:
    most = 0.90 if kind == "told" else 0.92
    good = 0.75 <= phase.use <= most and phase.largest <= 1 + FLOATS
    return Row(
        name=f"link-budget-{kind}-{phase.part:.0%}",
        measured=phase.use,
        unit="use",
        bar=f"0.75 to {most}, bound kept" + (", drained in 30 s" if halving else ""),
        ok=good and (not halving or phase.drained_s <= 30),
        notes=f"link {phase.carries:.0f} B/s; bound up to {phase.widest:.3g} % (stated {STATED:g} %), largest error "
        f"{phase.largest:.3f} of the bound in force, mean {phase.mean_error:.2f} % of the range; at most "
        f"{phase.most_waiting / phase.carries:.1f} s of the link waited, gone after {phase.drained_s} s",
        details={"use": phase.use, "drained_s": phase.drained_s, "mean_error_percent": phase.mean_error},
    )
