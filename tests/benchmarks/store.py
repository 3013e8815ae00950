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
from tests.benchmarks import gateway, traffic
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row, costs
from tests.support.build import config_of, engine_over
from tests.support.nats import nats_broker

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


MOST_BYTES = 8.0
"""Written to disk a sample, at most."""
MOST_SHARE = 0.15
"""Of the gateway's CPU, at most."""


def written() -> int:
    """Bytes that this process has given to the system to write, so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["wchar"])


def reduced(folder: Path, data: list[Frame]) -> tuple[float, float, float]:
    """Bytes written, CPU seconds of the commits, and of the pipelines in them: a deadband, what it lets pass delivered
    with the next commit, a checkpoint a minute."""
    config = config_of(
        "pipelines: {live: {from: ['**'], steps: [{deadband: {percent: 0.2}}], to: [up]}}\n"
        "uplinks: {up: {type: file, path: /dev/null}}\n"
    )
    opened = engine_over(folder, config, START_NS)
    for number in range(POINTS):
        opened.directory.add(Point(name=f"m{number}/voltage", unit="V", limits=(0.0, 300.0)))
    opened.commit(Group(), START_NS)
    process, pipelines_s = opened.graph.process, 0.0

    def timed(frame: Frame) -> list:
        nonlocal pipelines_s
        began = time.thread_time()
        try:
            return process(frame)
        finally:
            pipelines_s += time.thread_time() - began

    opened.graph.process = timed
    delivered: list[tuple[str, int]] = []
    before, began = written(), time.thread_time()
    for number, frame in enumerate(data):
        now = START_NS + (number + 1) * 50_000_000
        segments = [frame, Tick(now)] if number % 5 == 0 else [frame]
        made = opened.commit(Group(segments, delivered, checkpoint=number % 1200 == 1199), now)
        delivered = [("up", batch.seq) for batch in made.batches.get("up", ())]
    cpu_s = time.thread_time() - began
    opened.store.close()
    return written() - before, cpu_s, pipelines_s


async def daemon_cpu(bench: Bench) -> float:
    """CPU seconds a sample of the whole daemon at that rate, with the deadband."""
    rate = RATE // traffic.VALUES
    count = int(rate * bench.sizes.backlog_quiet_s)
    async with (
        nats_broker(bench.folder / "nats", pending=1000) as broker,
        Child("publisher", broker.mqtt_port, 1, count, rate, "ms") as publisher,
    ):
        port = broker.mqtt_port
        config = gateway.mqtt(port, 1, "cost") + gateway.uplink(port)
        config += f"pipelines: {{live: {{from: ['**'], steps: [{{{gateway.DEADBAND}}}], to: [up]}}}}\n"
        async with gateway.running(bench.folder / "gateway", config) as daemon:
            await publisher.hears("ready")
            before = gateway.cpu_s(daemon)
            publisher.tell("go")
            await publisher.hears("sent")
            total = traffic.VALUES * count
            gateway.check(await gateway.settled(daemon, lambda s: gateway.through(s, count, total)), total)
            return (gateway.cpu_s(daemon) - before) / total


async def cost(bench: Bench) -> list[Row]:
    """Bytes written a sample, and the store's part of the gateway's CPU, at 10,000 samples/s."""
    data = frames(bench.sizes.commits)
    samples = sum(map(len, data))
    size, cpu_s, pipelines_s = reduced(bench.folder / "state", data)
    store_us = 1e6 * (cpu_s - pipelines_s) / samples
    whole_us = 1e6 * await daemon_cpu(bench)
    share = store_us / max(whole_us, 1e-3)
    return [
        Row(
            name="store-written",
            measured=size / samples,
            unit="B/sample",
            bar=f"at most {MOST_BYTES:g} B",
            ok=size / samples <= MOST_BYTES,
            notes=f"all writes of {samples:,} samples, {A_COMMIT} a commit, log, file and checkpoints together",
        ),
        Row(
            name="store-share",
            measured=store_us,
            reference=whole_us,
            ratio=share,
            unit="us/sample",
            bar=f"at most {MOST_SHARE:.0%} of the gateway's",
            ok=share <= MOST_SHARE,
            notes=f"{share:.1%} of what the whole gateway takes a sample at {RATE:,} samples/s by QoS 1",
        ),
    ]
