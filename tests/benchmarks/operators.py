"""Rows: the operators beside the same in plain Python, CPU of this process, both in turn.

The data are 1,000 points sampled once a second: voltages that wander, with a noise that the deadband lets pass
about every eighth time. A frame of 1,000 samples is one second, one of 10,000 is ten. One tick each 10,000
samples. The plain reference (tests/pipelines/reference.py, which is also the oracle of the property tests) gets
its samples as ready tuples; nothing is converted for it while the clock runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from gateway.directory import Directory
from gateway.frame import Frame, grouped
from gateway.point import Point
from gateway.units import decode_quantity
from pipelines.operators.reduce.news import MANY_LANES
from pipelines.registry import OPERATORS
from tests.benchmarks.rows import Bench, Row
from tests.pipelines import reference

POINTS = 1000
START_NS = 1_790_000_000_000_000_000
SECOND = 1_000_000_000
STATS = ["count", "mean", "min", "max", "last"]
Step = tuple[str, dict[str, Any]]
CHAIN: tuple[Step, ...] = (
    ("limits", {"min": 0.0, "max": 300.0}),
    ("deadband", {"percent": 0.2, "max_silence": "60s"}),
    ("window", {"every": "15m", "stats": STATS, "lateness": "5s"}),
)
ALL: tuple[Step, ...] = (
    ("scale", {"factor": 0.1}),
    ("filter", {"above": 225.0, "quality": "usable"}),
    *CHAIN,
    ("window", {"every": "15m", "stats": ["count", "p50", "p95"]}),
)
BARS = {1_000: 4.0, 10_000: 8.0}
"""Times faster than plain Python, by samples a frame."""
TICK_EVERY = 10_000


class Data:
    """The same samples as frames of ``size`` and as lists of tuples.

    With ``ordered`` each frame is ordered by point, as the engine hands the frames of a commit to the pipelines.
    """

    def __init__(self, size: int, total: int, *, ordered: bool = False) -> None:
        chance = np.random.default_rng(7)
        seconds = total // POINTS
        wander = np.cumsum(chance.normal(0, 0.05, (seconds, POINTS)), axis=0)
        values = (230 + wander + chance.normal(0, 0.3, (seconds, POINTS))).ravel()
        ids = np.tile(np.arange(POINTS, dtype=np.int32), seconds)
        times = START_NS + np.repeat(np.arange(seconds), POINTS) * SECOND
        whole = Frame.of(ids, times, values)
        self.size = size
        self.warm = min(20_000, total // 2) // size
        """Frames before the clock runs: points are met for the first time once in their life."""
        self.frames = [whole.take(slice(at, at + size)) for at in range(0, total, size)]
        if ordered:
            self.frames = [grouped(frame) for frame in self.frames]
        self.rows = [
            list(zip(*(c.tolist() for c in (f.point, f.time, f.value, f.quality)), strict=True)) for f in self.frames
        ]
        self.ticks = [START_NS + (at + size) // POINTS * SECOND for at in range(0, total, size)]

    @property
    def timed(self) -> int:
        """Samples that the clock sees."""
        return sum(map(len, self.frames[self.warm :]))


def directory() -> Directory:
    points = Directory()
    for i in range(POINTS):
        points.add(Point(name=f"m{i}/voltage", unit="V", limits=(0.0, 300.0)))
    return points


def configured(steps: Sequence[Step]):
    return [(kind, msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)) for kind, options in steps]


def run_columns(steps: Sequence[Step], data: Data, many_lanes: int = MANY_LANES) -> float:
    """CPU seconds of the operators over all frames."""
    points = directory()
    operators = [config.create(points) for _, config in configured(steps)]
    for operator in operators:
        operator.many_lanes = many_lanes  # only the deadband has it
    begun = 0.0
    for at, frame in enumerate(data.frames):
        if at == data.warm:
            begun = time.process_time()
        out = frame
        for operator in operators:
            out = operator.process(out)
        if (at + 1) * data.size % TICK_EVERY == 0:
            for operator in operators:
                operator.tick(data.ticks[at])
    taken = time.process_time() - begun
    for operator in operators:
        counts = operator.counts
        if counts.dropped or counts.queued < 0:
            raise RuntimeError(f"{type(operator).__name__} dropped {counts.dropped}")
    return taken


def run_plain(steps: Sequence[Step], data: Data) -> float:
    """CPU seconds of plain Python over the same samples."""
    points = directory()
    operators = [reference.OPERATORS[kind](config, points) for kind, config in configured(steps)]
    begun = 0.0
    for at, rows in enumerate(data.rows):
        if at == data.warm:
            begun = time.process_time()
        out = rows
        for operator in operators:
            out = operator.process(out)
        if (at + 1) * data.size % TICK_EVERY == 0:
            for operator in operators:
                if isinstance(operator, reference.Window):
                    operator.tick(data.ticks[at])
    return time.process_time() - begun


def compared(name: str, steps: Sequence[Step], data: Data, rounds: int, bar: float | None) -> Row:
    """One row: the best of several rounds, both ways in turn."""
    pairs = [(run_columns(steps, data), run_plain(steps, data)) for _ in range(rounds)]
    ours, plain = (min(column) * 1e9 / data.timed for column in zip(*pairs, strict=True))
    ratio = plain / ours
    return Row(
        name=name,
        measured=ours,
        reference=plain,
        ratio=ratio,
        unit="ns/sample",
        bar=f"at least {bar:g}x faster" if bar else "",
        ok=ratio >= bar if bar else None,
        notes=f"{1e3 / ours:.1f} M samples/s, frames of {data.size:,} over {POINTS:,} points",
        details={"frame": data.size, "samples": data.timed},
    )


async def pipeline(bench: Bench) -> list[Row]:
    """Limits, deadband and a window with five statistics, one behind the other."""
    sizes = bench.sizes
    return [
        compared(f"pipeline-{size}", CHAIN, Data(size, sizes.samples), sizes.operator_rounds, bar)
        for size, bar in BARS.items()
    ]


async def each(bench: Bench) -> list[Row]:
    """Every operator by itself, and the two ways of the deadband with few points."""
    rounds = max(1, bench.sizes.operator_rounds // 2)
    rows = []
    for size in BARS:
        data = Data(size, bench.sizes.samples)
        for kind, options in ALL:
            sketch = "-quantiles" if "p95" in options.get("stats", ()) else ""
            rows.append(compared(f"{kind}{sketch}-{size}", [(kind, options)], data, rounds, None))
    return rows + [deadband_runs(points, 4_096, rounds) for points in (4, 8, 16, 32, 64, 128)]


def deadband_runs(points: int, size: int, rounds: int) -> Row:
    """Frames of few points with long runs: step by step over all lanes against sample by sample."""
    chance = np.random.default_rng(3)
    data = Data(1_000, 2_000)
    data.warm = 0
    ids = np.arange(size, dtype=np.int32) % points
    data.size = size
    data.frames = [Frame.of(ids, START_NS + np.arange(size), 230 + chance.normal(0, 0.4, size)) for _ in range(10)]
    step = [CHAIN[1]]
    pairs = [(run_columns(step, data, 1), run_columns(step, data, 1 << 40)) for _ in range(rounds)]
    lanes, walk = (min(column) * 1e8 / size for column in zip(*pairs, strict=True))
    chosen, other = (lanes, walk) if points >= MANY_LANES else (walk, lanes)
    return Row(
        name=f"deadband-{points}-points",
        measured=chosen,
        reference=other,
        ratio=other / chosen,
        unit="ns/sample",
        notes=f"the way chosen ({'lanes' if points >= MANY_LANES else 'walk'}) beside the other, frames of {size:,}",
    )
