"""What the operators cost beside the same in plain Python: CPU of this process, both interleaved in one run.

    python -m tests.benchmarks.operators [--json] [--rounds 7]

The data are 1,000 points sampled once a second: voltages that wander, with a noise that the deadband lets pass
about every eighth time. A frame of 1,000 samples is one second, one of 10,000 is ten. One tick a frame of 10,000
samples. The plain reference (tests/pipelines/reference.py, which is also the oracle of the property tests) gets
its samples as ready tuples; nothing is converted for it while the clock runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import msgspec
import numpy as np

from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Point
from gateway.units import decode_quantity
from pipelines.operators.news import MANY_LANES
from pipelines.registry import OPERATORS
from tests.pipelines import reference

POINTS = 1000
START_NS = 1_790_000_000_000_000_000
SECOND = 1_000_000_000
CHAIN = (
    ("limits", {"min": 0.0, "max": 300.0}),
    ("deadband", {"percent": 0.2, "max_silence": "60s"}),
    ("window", {"every": "15m", "stats": ["count", "mean", "min", "max", "last"], "lateness": "5s"}),
)
ALL = (
    ("scale", {"factor": 0.1}),
    ("filter", {"above": 225.0, "quality": "usable"}),
    *CHAIN,
    ("window", {"every": "15m", "stats": ["count", "p50", "p95"]}),
)
BARS = {1_000: 4.0, 10_000: 8.0}


class Data:
    """The same samples as frames of ``size`` and as lists of tuples."""

    def __init__(self, size: int, total: int) -> None:
        chance = np.random.default_rng(7)
        seconds = total // POINTS
        wander = np.cumsum(chance.normal(0, 0.05, (seconds, POINTS)), axis=0)
        values = (230 + wander + chance.normal(0, 0.3, (seconds, POINTS))).ravel()
        ids = np.tile(np.arange(POINTS, dtype=np.int32), seconds)
        times = START_NS + np.repeat(np.arange(seconds), POINTS) * SECOND
        whole = Frame.of(ids, times, values)
        self.size = size
        self.warm = 20_000 // size
        """Frames before the clock runs: points are met for the first time once in their life."""
        self.frames = [whole.take(slice(at, at + size)) for at in range(0, total, size)]
        columns = (ids.tolist(), times.tolist(), values.tolist(), [0] * total)
        rows = list(zip(*columns, strict=True))
        self.rows = [rows[at : at + size] for at in range(0, total, size)]
        self.ticks = [START_NS + (at + size) // POINTS * SECOND for at in range(0, total, size)]


def directory() -> Directory:
    points = Directory()
    for i in range(POINTS):
        points.add(Point(name=f"m{i}/voltage", unit="V", limits=(0.0, 300.0)))
    return points


def configured(steps):
    return [(kind, msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)) for kind, options in steps]


def run_columns(steps, data: Data, many_lanes: int = MANY_LANES) -> float:
    """CPU seconds of the operators over all frames."""
    points = directory()
    operators = [config.create(points) for _, config in configured(steps)]
    for operator in operators:
        operator.many_lanes = many_lanes  # only the deadband has it
    begun = 0.0
    for at, frame in enumerate(data.frames):
        if at == data.warm:
            begun = time.process_time()
        for operator in operators:
            frame = operator.process(frame)  # noqa: PLW2901 - the frame on its way
        if (at + 1) * data.size % 10_000 == 0:
            for operator in operators:
                operator.tick(data.ticks[at])
    return time.process_time() - begun


def run_plain(steps, data: Data) -> float:
    """CPU seconds of plain Python over the same samples."""
    points = directory()
    operators = [reference.OPERATORS[kind](config, points) for kind, config in configured(steps)]
    begun = 0.0
    for at, samples in enumerate(data.rows):
        if at == data.warm:
            begun = time.process_time()
        for operator in operators:
            samples = operator.process(samples)  # noqa: PLW2901 - the samples on their way
        if (at + 1) * data.size % 10_000 == 0:
            for operator in operators:
                if isinstance(operator, reference.Window):
                    operator.tick(data.ticks[at])
    return time.process_time() - begun


def compared(name: str, steps, data: Data, rounds: int, bar: float | None) -> dict:
    """One row: the best of several rounds, both ways in turn."""
    total = sum(map(len, data.frames[data.warm :]))
    pairs = [(run_columns(steps, data), run_plain(steps, data)) for _ in range(rounds)]
    ours, plain = (min(column) * 1e9 / total for column in zip(*pairs, strict=True))
    ratio = plain / ours
    return {
        "row": name,
        "frame": data.size,
        "ns_per_sample": round(ours, 1),
        "plain_ns_per_sample": round(plain, 1),
        "ratio": round(ratio, 2),
        "bar": bar,
        "pass": bar is None or ratio >= bar,
    }


def deadband_runs(points: int, size: int, rounds: int) -> dict:
    """Frames of few points with long runs: step by step over all lanes against sample by sample."""
    chance = np.random.default_rng(3)
    data = Data(1_000, 1_000)
    data.warm = 0
    ids = np.arange(size, dtype=np.int32) % points
    data.size = size
    data.frames = [Frame.of(ids, START_NS + np.arange(size), 230 + chance.normal(0, 0.4, size)) for _ in range(10)]
    step = [CHAIN[1]]
    pairs = [(run_columns(step, data, 1), run_columns(step, data, 1 << 40)) for _ in range(rounds)]
    lanes, walk = (min(column) * 1e8 / size for column in zip(*pairs, strict=True))
    return {
        "row": f"deadband runs, {points} points",
        "frame": size,
        "lanes_ns_per_sample": round(lanes, 1),
        "walk_ns_per_sample": round(walk, 1),
        "chosen": "lanes" if points >= MANY_LANES else "walk",
    }


def measure(rounds: int) -> dict:
    """All rows."""
    rows = []
    for size, bar in BARS.items():
        data = Data(size, 100_000)
        rows.append(compared("limits, deadband, window", CHAIN, data, rounds, bar))
        rows += [
            compared(f"{kind} {' '.join(map(str, options))}", [(kind, options)], data, max(3, rounds // 2), None)
            for kind, options in ALL
        ]
    runs = [deadband_runs(points, 4_096, rounds) for points in (4, 8, 16, 32, 64, 128)]
    return {"rows": rows, "deadband_runs": runs, "pass": all(row["pass"] for row in rows)}


def show(result: dict) -> None:
    """The table."""
    print(f"{'operators':36}{'frame':>7}{'ns/sample':>11}{'plain':>8}{'ratio':>8}{'bar':>6}")
    for row in result["rows"]:
        bar = "" if row["bar"] is None else f"{row['bar']:.0f}x {'ok' if row['pass'] else 'MISSED'}"
        print(
            f"{row['row']:36.36}{row['frame']:>7}{row['ns_per_sample']:>11}"
            f"{row['plain_ns_per_sample']:>8}{row['ratio']:>7}x  {bar}"
        )
    print(f"\n{'deadband, few points with long runs':36}{'frame':>7}{'lanes':>11}{'walk':>8}  chosen")
    for row in result["deadband_runs"]:
        print(
            f"{row['row']:36}{row['frame']:>7}{row['lanes_ns_per_sample']:>11}"
            f"{row['walk_ns_per_sample']:>8}  {row['chosen']}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    result = measure(options.rounds)
    if options.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0 if result["pass"] else 1


if __name__ == "__main__":
    sys.exit(main())
