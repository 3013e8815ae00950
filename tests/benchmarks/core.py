"""Rows: a worker of the core, from batches in the carrier to receipts, beside the bare graph of the same pipelines."""

from __future__ import annotations

import asyncio
import time

from adapters.frame.child import Child
from adapters.frame.records import Reader, UnknownDirectoryError
from gateway.directory import Directory
from gateway.frame import Frame, concat, grouped
from gateway.graph import Graph
from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import partition_of
from gateway.network.core.holding import Holding
from gateway.network.core.services import pipelines, running
from gateway.network.core.threads import Threads
from gateway.network.names import TRANSIT
from tests.benchmarks.rows import Bench, Row
from tests.gateway.network.core.feeding import SUMS, T0, Feeder, S, apply, until
from tests.gateway.network.core.working import options

SAMPLES = 2000
SITE = "north"
PARTITION = partition_of(SITE)
NODES = 8
TOGETHER = 16
"""Batches that come to the graph at once."""
CORRECTIONS = options("unused").corrections


async def rows(bench: Bench) -> list[Row]:
    """Samples a second, each batch of 2,000 of 20 points."""
    carrier = LocalCarrier(bench.folder / "network")
    await carrier.open()
    try:
        feeders = [Feeder(carrier, f"n{at}", SITE, points=20, seed=at) for at in range(NODES)]
        for at in range(max(1, bench.sizes.uplink_batches // NODES)):
            await asyncio.gather(*(feeder.feed(SAMPLES, at) for feeder in feeders))
        await apply(carrier, "sums", SUMS)
        samples = sum(feeder.count for feeder in feeders)
        bare = await graph_alone(carrier)
        took_s, cpu_s = await worker(carrier, bench)
    finally:
        await carrier.close()
    speed = samples / took_s
    return [
        Row(
            name="core-worker",
            measured=speed / 1e6,
            reference=bare / 1e6,
            ratio=speed / bare,
            unit="M samples/s",
            notes="one partition, from the carrier to receipts, snapshots included; beside the bare graph",
            details={"cpu_us_sample": 1e6 * cpu_s / samples},
        )
    ]


async def graph_alone(carrier: LocalCarrier) -> float:
    """The same batches, decoded before, through the same pipelines."""
    points = Directory()
    graph = Graph(pipelines({("sums", 1): running("sums", 1, SUMS)}, PARTITION, CORRECTIONS), points)
    frames = await decoded(carrier, points)
    samples = sum(map(len, frames))
    began = time.perf_counter()
    for at, frame in enumerate(frames):
        graph.process(frame)
        graph.tick(T0 + at * S)
    return samples / (time.perf_counter() - began)


async def decoded(carrier: LocalCarrier, points: Directory) -> list[Frame]:
    reader, children, found = Reader(), {}, []
    subject = f"up/core-{PARTITION:02d}/**"
    last = await carrier.publish(f"up/core-{PARTITION:02d}/end/end", b"")
    async for messages in carrier.consume(subject):
        for message in messages:
            if message.seq == last:
                await carrier.purge(f"up/core-{PARTITION:02d}/end/end", last)
                return [grouped(concat(found[at : at + TOGETHER])) for at in range(0, len(found), TOGETHER)]
            found.append(await one(carrier, reader, children, points, message.payload))
    raise AssertionError("the carrier is closed")


async def one(carrier: LocalCarrier, reader: Reader, children: dict, points: Directory, payload: bytes) -> Frame:
    while True:
        try:
            received = reader.read(payload)
        except UnknownDirectoryError as missing:
            entry = await carrier.get("directories", missing.name)
            reader.learn(entry.value)
            continue
        if received.gateway not in children:
            children[received.gateway] = Child(received.gateway, TRANSIT + "{pipeline}/{point}", points, {})
        return children[received.gateway].frame(received)


async def worker(carrier: LocalCarrier, bench: Bench) -> tuple[float, float]:
    """How long it takes until everything is confirmed, s, and the CPU of the process, s."""
    threads, leave = Threads(), asyncio.Event()
    holding = Holding(carrier, threads, PARTITION, options(bench.folder), lambda: {"sums": (1, SUMS)}, time.time_ns)
    seq = await carrier.publish(f"up/core-{PARTITION:02d}/end/end", b"")  # is rejected, and says that all was taken
    began, cpu_s = time.perf_counter(), time.process_time()
    await holding.open()
    running_ = asyncio.create_task(holding.run(leave))
    await until(lambda: holding.status()["seq"] >= seq, 600)
    leave.set()
    await running_
    took_s = time.perf_counter() - began
    threads.close()
    return took_s, time.process_time() - cpu_s
