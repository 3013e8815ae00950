"""Row: reads a cycle for maps of 300 points with random gaps, beside the optimum of all possible cuts."""

from __future__ import annotations

import random

from adapters.modbus.place import Table
from adapters.modbus.planner import Limits, Span, plan
from tests.benchmarks.rows import Bench, Row

MOST = 1.05
POINTS = 300


def points(chance: random.Random) -> list[Span]:
    """Values of one, two and four registers, often neighbours, sometimes far apart."""
    spans, at = [], 0
    for _ in range(POINTS):
        at += chance.choice([0, 0, 0, 1, 2, 5, 11, 30, chance.randrange(120)])
        spans.append(Span(Table.HOLDING, at, chance.choice([1, 1, 2, 2, 4])))
        at = spans[-1].end
    return spans


def optimum(spans: list[Span], limits: Limits) -> int:
    """The least number of reads, over all ways to cut the values into runs (dynamic programming)."""
    cuts = [address for _, address in limits.cuts]
    best = [0]
    for last, span in enumerate(spans):
        least = best[last] + 1
        for first in range(last - 1, -1, -1):
            start = spans[first].address
            gap = spans[first + 1].address - spans[first].end
            too_long = span.end - start > limits.max_registers
            if too_long or gap > limits.max_gap or any(start < cut <= span.address for cut in cuts):
                break
            least = min(least, best[first] + 1)
        best.append(least)
    return best[-1]


async def rows(bench: Bench) -> list[Row]:
    """Over many maps, limits and holes."""
    chance = random.Random(7)
    ours = best = registers = needed = 0
    for _ in range(bench.sizes.maps):
        spans = points(chance)
        holes = [(Table.HOLDING, span.address) for span in chance.sample(spans, chance.randrange(8))]
        limits = Limits(chance.choice([30, 50, 80, 125]), chance.choice([0, 4, 10, 40]), holes)
        reads = plan(chance.sample(spans, POINTS), limits)
        ours += len(reads)
        best += optimum(spans, limits)
        registers += sum(read.count for read in reads)
        needed += sum(span.width for span in spans)
    ratio = ours / best
    return [
        Row(
            name="modbus-reads",
            measured=ours / bench.sizes.maps,
            reference=best / bench.sizes.maps,
            unit="reads/cycle",
            ratio=ratio,
            bar=f"at most {MOST:g}x",
            ok=ratio <= MOST,
            notes=f"{POINTS} points, {bench.sizes.maps} maps; {registers / needed:.2f} registers read for each needed",
        )
    ]
