"""Rows: the chain that most sites run: limits, deadband and a window of 15 minutes with mean, maximum and p95.

Frames come as the engine gives them: those of one commit, ordered by point. Voltages wander under a noise of which the
deadband lets about every seventh sample pass. One tick each 10,000 samples. What is measured is nine times ``samples``:
over 1,000 points a quarter of an hour, in which each window closes once. Before it points are met and the points of
results made, which happens once in their life. The state is what a snapshot holds, as the checkpoint has it, while a
window is open for every point; the bins of the sketches are told apart.
"""

from __future__ import annotations

import time

import numpy as np

from gateway.directory import Directory
from gateway.frame import Frame, grouped
from gateway.point import Point
from tests.benchmarks.operators import START_NS, Step, configured
from tests.benchmarks.rows import Bench, Row, costs, shown

SIZE = 10_000
POINTS = 1_000
FEW, MANY = 100, 100_000
CHAIN: tuple[Step, ...] = (
    ("limits", {"min": 0.0, "max": 300.0}),
    ("deadband", {"percent": 0.2, "max_silence": "60s"}),
    ("window", {"every": "15m", "stats": ["mean", "max", "p95"]}),
)
LEAST = 20.0
"""M samples a second."""
MOST_COST = 1.5
MOST_STATE = 400
"""Bytes a point, beside its sketch."""
QUARTER = 9
SECOND = 1_000_000_000


class Chain:
    """The chain over so many points, and frames that hold all their points in turn."""

    def __init__(self, points: int, total: int) -> None:
        directory = Directory(limit=10 * MANY)
        for i in range(points):
            directory.add(Point(name=f"m{i}/voltage", unit="V", limits=(0.0, 300.0)))
        self.points = points
        self.operators = [config.create(directory) for _, config in configured(CHAIN)]
        chance = np.random.default_rng(7)
        self.warm = max(2, 2 * points // SIZE)
        self.frames = []
        wander = np.zeros(points)
        for number in range(self.warm + max(total // SIZE, 2)):
            ids = (np.arange(SIZE) + number * SIZE) % points
            times = START_NS + (np.arange(SIZE) + number * SIZE) // points * SECOND
            wander += chance.normal(0, 0.05, points)
            frame = Frame.of(ids, times, 230 + wander[ids] + chance.normal(0, 0.3, SIZE))
            self.frames.append(grouped(frame))
        for frame in self.frames[: self.warm]:
            self.run(frame)
        self.state = self._state()
        """Bytes of a point in the snapshots, with a window open for each: without sketches, and of those."""
        for operator in self.operators:
            operator.clock_stepped(0)

    def run(self, frame: Frame) -> None:
        now = int(frame.time[-1])
        for operator in self.operators:
            frame = operator.process(frame)
        for operator in self.operators:
            operator.tick(now)

    def cost(self) -> float:
        """CPU of a sample, in ns."""
        frames = self.frames[self.warm :]
        begun = time.process_time()
        for frame in frames:
            self.run(frame)
        return (time.process_time() - begun) * 1e9 / (len(frames) * SIZE)

    def by_operator(self) -> str:
        """CPU of a sample in each operator, in ns, measured by themselves."""
        spent = dict.fromkeys((kind for kind, _ in CHAIN), 0.0)
        frames = self.frames[self.warm :]
        for whole in frames:
            frame = whole
            for (kind, _), operator in zip(CHAIN, self.operators, strict=True):
                begun = time.perf_counter()
                frame = operator.process(frame)
                spent[kind] += time.perf_counter() - begun
        return ", ".join(f"{kind} {1e9 * s / (len(frames) * SIZE):.1f}" for kind, s in spent.items())

    def _state(self) -> tuple[float, float]:
        plain = sketches = 0
        for operator in self.operators:
            state = dict(operator.snapshot())
            sketches += _size(state.pop("sketches", None))
            plain += _size(state)
        return plain / self.points, sketches / self.points


def _size(state: object) -> int:
    if isinstance(state, np.ndarray):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(_size, state.values()))
    return sum(map(_size, state)) if isinstance(state, list) else 8


async def rows(bench: Bench) -> list[Row]:
    """The rate over 1,000 points; what a sample costs with 100,000 beside 100; what a point takes."""
    rounds, total = bench.sizes.operator_rounds, bench.sizes.samples
    chains = [Chain(POINTS, QUARTER * total) for _ in range(max(rounds // 2, 1))]
    best = min(chain.cost() for chain in chains)
    rate = 1e3 / best
    few, many = Chain(FEW, total), Chain(MANY, total)
    pairs = [(many.cost(), few.cost()) for _ in range(rounds)]
    ours, bare = zip(*pairs, strict=True)
    plain, sketches = many.state
    return [
        Row(
            name="typical-chain",
            measured=rate,
            unit="M samples/s",
            bar=f"at least {LEAST:g} M samples/s",
            ok=rate >= LEAST,
            notes=f"frames of {SIZE:,} over {POINTS:,} points; ns a sample: {chains[0].by_operator()}",
        ),
        costs(
            "typical-chain-points",
            ours,
            bare,
            "ns/sample",
            MOST_COST,
            notes=f"{MANY:,} points beside {FEW}; {shown(ours)}",
        ),
        Row(
            name="typical-chain-state",
            measured=plain,
            unit="B/point",
            bar=f"at most {MOST_STATE} B",
            ok=plain <= MOST_STATE,
            notes=f"and {sketches:.0f} B of sketches, {MANY:,} points",
        ),
    ]
