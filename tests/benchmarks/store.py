"""Rows: what journal and spool cost on disk and in CPU, beside raw columns appended to a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from gateway.engine import Engine, Group
from gateway.frame import Frame
from gateway.point import Point
from gateway.store.segments import Tick
from tests.benchmarks.rows import Bench, Row, costs
from tests.support.build import config_of, engine_over

POINTS = 1_000
A_COMMIT = 500
"""Samples: what 10,000 a second make of 50 ms."""
RATE = 10_000
START_NS = 1_790_000_000_000_000_000
RAW_BYTES = 22
"""int32, int64, float64 and uint16."""


def frames(commits: int) -> list[Frame]:
    """1,000 meters that are read ten times a second, values with one decimal."""
    chance = np.random.default_rng(3)
    steps = -(-commits * A_COMMIT // POINTS)
    wander = np.cumsum(chance.normal(0, 0.02, (steps, POINTS)), axis=0)
    values = (230 + wander + chance.normal(0, 0.3, (steps, POINTS))).round(1).ravel()
    ids = np.tile(np.arange(POINTS, dtype=np.int32), steps)
    late = chance.integers(0, 10_000_000, steps * POINTS)
    times = START_NS + np.repeat(np.arange(steps), POINTS) * 100_000_000 + late // 1_000_000 * 1_000_000
    whole = Frame.of(ids, times, values)
    return [whole.take(slice(at, at + A_COMMIT)) for at in range(0, commits * A_COMMIT, A_COMMIT)]


def engine(folder: Path) -> Engine:
    """Everything that comes in goes out: the worst case for the spool."""
    config = config_of("pipelines: {all: {from: ['**'], to: [up]}}\nuplinks: {up: {type: file, path: /dev/null}}\n")
    opened = engine_over(folder, config, START_NS)
    for number in range(POINTS):
        opened.directory.add(Point(name=f"m{number}/voltage", unit="V"))
    return opened


def ours(folder: Path, data: list[Frame]) -> tuple[float, dict]:
    """CPU seconds of all commits, and what the store holds then."""
    opened = engine(folder)
    opened.commit(Group(), START_NS)
    began = time.process_time()
    for number, frame in enumerate(data):
        now = START_NS + (number + 1) * 50_000_000
        opened.commit(Group(segments=[frame, Tick(now)] if number % 5 == 0 else [frame]), now)
    cpu_s = time.process_time() - began
    status = opened.store.status()
    opened.store.close()
    return cpu_s, status


def raw(path: Path, data: list[Frame]) -> float:
    """CPU seconds of the same as plain columns with an fsync a commit, written once for the journal and once more
    for the spool."""
    began = time.process_time()
    with path.open("wb") as journal, path.with_suffix(".spool").open("wb") as spool:
        for frame in data:
            for file in (journal, spool):
                for column in (frame.point, frame.time, frame.value, frame.quality):
                    file.write(column.tobytes())
                file.flush()
            os.fsync(journal.fileno())
            os.fsync(spool.fileno())
    return time.process_time() - began


async def rows(bench: Bench) -> list[Row]:
    """Bytes a sample in the journal and in the spool, and CPU a sample of both together."""
    data = frames(bench.sizes.commits)
    samples = sum(map(len, data))
    taken, plain, status = [], [], {}
    for number in range(bench.sizes.rounds):
        plain.append(raw(bench.folder / f"raw-{number}", data))
        cpu_s, status = ours(bench.folder / f"state-{number}", data)
        taken.append(cpu_s)
    held = status["spool"]["up"]
    if held["samples"] != samples:
        raise RuntimeError(f"the spool holds {held['samples']} samples of {samples}")
    file = sum(path.stat().st_size for path in (bench.folder / "state-0").iterdir())
    journal, spool = status["journal"]["bytes"] / samples, held["bytes"] / samples
    per_sample = [[1e6 * one / samples for one in series] for series in (taken, plain)]
    return [
        Row(
            name="store-journal",
            measured=journal,
            reference=RAW_BYTES,
            ratio=journal / RAW_BYTES,
            unit="B/sample",
            notes=f"{A_COMMIT} samples a commit; spool with all of it once more {spool:.2f}, "
            f"whole folder {file / samples:.2f}",
            details={"spool_bytes": spool, "folder_bytes": file / samples, "samples": samples},
        ),
        costs(
            "store-cpu",
            *per_sample,
            "us/sample",
            None,
            notes=f"journal and spool, every sample kept: {100 * min(per_sample[0]) * RATE / 1e6:.1f} % of a core at "
            f"{RATE:,} samples/s; the reference writes raw columns twice; fsync {bench.fsync_ms:.2f} ms",
        ),
    ]
