"""Rows: what a sample costs a window with 100,000 points beside 100, in frames of 10,000 samples that a point each.

Frames come as the engine gives them, ordered by point. The first round over all points makes the windows and does not
count; neither do ticks, which cost by the point and not by the sample.
"""

from __future__ import annotations

import time

import numpy as np

from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Point
from tests.benchmarks.operators import CHAIN, START_NS, configured
from tests.benchmarks.rows import Bench, Row, costs

FEW, MANY = 100, 100_000
SIZE = 10_000
MOST = 1.5
TENTH_NS = 100_000_000


class Points:
    """A window over so many points, and the frames that go through it."""

    def __init__(self, points: int, total: int) -> None:
        directory = Directory(limit=MANY)
        for i in range(points):
            directory.add(Point(name=f"m{i}/voltage", unit="V", limits=(0.0, 300.0)))
        [(_, config)] = configured([CHAIN[2]])
        self.window = config.create(directory)
        chance = np.random.default_rng(7)
        self.warm = max(points // SIZE, 1)
        self.frames = []
        for number in range(self.warm + max(total // SIZE, 2)):
            ids = np.sort((np.arange(SIZE) + number * SIZE) % points).astype(np.int32)
            values = 230 + chance.normal(0, 1, SIZE)
            self.frames.append(Frame.of(ids, np.full(SIZE, START_NS + number * TENTH_NS), values))
        for frame in self.frames[: self.warm]:
            self.window.process(frame)

    def cost(self) -> float:
        """CPU of a sample, in ns."""
        frames = self.frames[self.warm :]
        begun = time.process_time()
        for frame in frames:
            self.window.process(frame)
        return (time.process_time() - begun) * 1e9 / (len(frames) * SIZE)


async def rows(bench: Bench) -> list[Row]:
    """One row: many points beside few, in turn."""
    few, many = Points(FEW, bench.sizes.samples), Points(MANY, bench.sizes.samples)
    pairs = [(many.cost(), few.cost()) for _ in range(bench.sizes.operator_rounds)]
    ours, bare = zip(*pairs, strict=True)
    notes = f"five statistics over {MANY:,} points beside {FEW}, frames of {SIZE:,}"
    return [costs("window-points", ours, bare, "ns/sample", MOST, notes=notes)]
