"""Rows: how long a start takes over a large spool, and after a kill with a minute of journal to replay."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

from gateway.config import GatewayConfig
from gateway.directory import Directory
from gateway.engine import Engine, Group
from gateway.frame import Frame
from gateway.point import Point
from gateway.store.database import FILE
from gateway.store.opening import with_store
from gateway.store.segments import Tick
from gateway.store.spool import MAX_ROW
from gateway.store.store import Store
from gateway.wire import columns
from tests.benchmarks.rows import Bench, Row
from tests.support.build import config_of

BAR_S = 5.0
RATE = 10_000
A_COMMIT = 500
START_NS = 1_790_000_000_000_000_000
CONFIG = config_of("""
pipelines:
  live: {from: ["**"], steps: [{deadband: {absolute: 0.5}}], to: [up]}
  minutes: {from: ["**"], steps: [{window: {every: 1m, stats: [count, mean, min, max]}}], to: [up]}
uplinks: {up: {type: file, path: /dev/null, spool: {max_size: 8GiB}}}
""")


def opened(folder: Path, config: GatewayConfig = CONFIG) -> Engine:
    """As the daemon opens it, up to the moment at which it is ready."""

    def begin(store: Store) -> Engine:
        directory = Directory(1_000_000)
        store.load_directory(directory)
        engine = Engine(store, directory, config.pipelines, config.queues)
        engine.recover(START_NS)
        return engine

    return with_store(folder, config.store, START_NS, begin)


def fill_spool(folder: Path, size: int) -> int:
    """Rows of 2,000 samples up to ``size`` bytes; how many."""
    engine = opened(folder)
    chance = np.random.default_rng(3)
    frame = Frame.of(np.zeros(MAX_ROW, np.int32), START_NS + np.arange(MAX_ROW) * 1_000_000, chance.random(MAX_ROW))
    engine.directory.add(Point(name="m0/power"))
    block = columns.encode(frame)
    rows = -(-size // len(block))
    spool = engine.store.spool
    for begin in range(0, rows, 1000):
        with engine.store.transaction():
            engine.store.write_directory(engine.directory)
            for _ in range(begin, min(rows, begin + 1000)):
                spool.insert("up", "live", frame, block, START_NS)
            spool.write_gauges()
    engine.store.close()
    return rows


def fill_journal(folder: Path, points: int, seconds: float) -> int:
    """What a kill leaves a minute after a checkpoint: input at 10,000 samples a second; how many."""
    engine = opened(folder)
    for number in range(points):
        engine.directory.add(Point(name=f"m{number}/power", unit="W"))
    engine.commit(Group(checkpoint=True), START_NS)
    chance = np.random.default_rng(5)
    commits = int(seconds * RATE / A_COMMIT)
    for number in range(commits):
        now = START_NS + number * 50_000_000
        ids = (np.arange(A_COMMIT) + number * A_COMMIT) % points
        frame = Frame.of(ids.astype(np.int32), np.full(A_COMMIT, now), chance.normal(230, 2, A_COMMIT).round(1))
        engine.commit(Group([frame, Tick(now)] if number % 5 == 0 else [frame]), now)
    engine.store.abandon()  # as a kill: nothing is folded, no checkpoint is written
    return commits * A_COMMIT


def timed(folder: Path) -> tuple[float, Engine]:
    began = time.monotonic()
    engine = opened(folder)
    return time.monotonic() - began, engine


async def rows(bench: Bench) -> list[Row]:
    """Seconds until the store is open and the pipelines are where they were."""
    sizes = bench.sizes
    large, killed = bench.folder / "large", bench.folder / "killed"
    count = fill_spool(large, sizes.spool_bytes)
    size = (large / FILE).stat().st_size
    spool_s, engine = timed(large)
    if engine.store.spool.gauge("up").rows != count:
        raise RuntimeError(f"{engine.store.spool.gauge('up').rows} rows of {count} are there")
    engine.store.close()
    shutil.rmtree(large)
    samples = fill_journal(killed, sizes.recovered_points, sizes.recovered_s)
    journal_s, engine = timed(killed)
    replayed = engine.replayed
    engine.store.close()
    shutil.rmtree(killed)
    return [
        Row(
            name="recovery-spool",
            measured=spool_s,
            unit="s",
            bar=f"at most {BAR_S:g} s",
            ok=spool_s <= BAR_S,
            notes=f"file of {size / 2**20:.0f} MiB, {count:,} rows; opened by a cache that is warm",
            details={"bytes": size, "rows": count},
        ),
        Row(
            name="recovery-journal",
            measured=journal_s,
            unit="s",
            bar=f"at most {BAR_S:g} s",
            ok=journal_s <= BAR_S,
            notes=f"{sizes.recovered_points:,} points, {samples:,} samples in {replayed:,} blocks, deadband and window",
            details={"points": sizes.recovered_points, "samples": samples, "blocks": replayed},
        ),
    ]
