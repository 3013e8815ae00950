"""A gateway below the core, without a daemon: batches go up, receipts come back, results are read; all is counted."""

from __future__ import annotations

import asyncio
import contextlib
import math

import msgpack
import numpy as np

from adapters.frame.ledger import Record
from adapters.frame.records import Reader, UnknownDirectoryError
from gateway import quality as q
from gateway.batch import Batch, record_id
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.network.assignment import ServiceRecord, encode
from gateway.network.carrier.base import CarrierError
from gateway.network.config import core_subject, partition_of
from gateway.network.names import pipeline_name
from gateway.point import Point
from gateway.wire.message import FrameEncoder

S = 1_000_000_000
T0 = 1_790_000_000 * S // (60 * S) * (60 * S)

SUMS = """
service: sums
inputs: {points: "*/power"}
steps:
  - window: {every: 5s, stats: [count, sum, min, max], lateness: 0s}
intent: {latency: 1s}
"""
"""Of each point."""
TOTAL = """
service: total
inputs: {points: "*/power"}
steps:
  - window: {every: 5s, stats: [count, sum], over: all, name: grid/power, lateness: 0s}
intent: {latency: 1s}
"""
"""Of all sites together: partials go on to the partition that finishes."""


async def apply(carrier, name, yaml, version=1, *, removed=False):
    record = ServiceRecord(yaml=yaml, version=version, applied_ms=0, removed=removed)
    await carrier.put("services", name, encode(record))


class Feeder:
    """One access node of one site."""

    def __init__(self, carrier, node, site, service="sums", *, points=3, version=1, seed=1):
        self.carrier, self.node, self.service = carrier, node, service
        self.pipeline = pipeline_name(service, version, 0)
        self.subject = f"up/{core_subject(partition_of(site))}/{node}/{self.pipeline}"
        self.points = Directory()
        labels = {"site": site, "node": node}
        for at in range(points):
            self.points.add(Point(name=f"{node}/m{at}/power", unit="W", resolution=1.0, labels=labels))
        self.encoder = FrameEncoder(node, self.points)
        self.chance = np.random.default_rng(seed)
        self.epoch = 7
        self.seq = 0
        self.sent = {}
        """By seq: (payload, attempts)."""
        self.count = 0
        self.sum = 0

    def frame(self, samples, at_s, spread_s=12):
        """Samples of whole watts, some of them late by up to ``spread_s``."""
        ids = self.chance.integers(0, len(self.points), samples)
        times = T0 + (at_s * S) - self.chance.integers(0, spread_s * S, samples)
        values = self.chance.integers(0, 10_000, samples).astype(float)
        self.count += samples
        self.sum += int(values.sum())
        return Frame.of(ids, times, values)

    async def feed(self, samples, at_s, spread_s=12):
        """Publish a batch; kept until its receipt comes."""
        batch = Batch(
            self.seq + 1, self.pipeline, 0, self.frame(samples, at_s, spread_s), epoch=self.epoch, chain=(1, self.seq)
        )
        self.seq += 1
        payload, announced = self.encoder.encode(batch)
        for name, directory in announced:
            await self.carrier.put("directories", name, directory)
        self.sent[self.seq] = payload
        await self.publish(self.seq)

    async def publish(self, seq, again=""):
        with contextlib.suppress(CarrierError):
            await self.carrier.publish(self.subject, self.sent[seq], record_id(self.node, self.epoch, seq) + again)

    async def hear(self):
        async for word in self.carrier.hear(f"up/*/{self.node}/*/receipt"):
            told = msgpack.unpackb(word.payload)
            assert told["gateway"] == self.node
            for seq in told["done"]:
                self.sent.pop(seq, None)

    async def repeat(self):
        """Send everything that is not confirmed again, past the stream's own memory for doubles."""
        for seq in list(self.sent):
            if seq in self.sent:
                await self.publish(seq, f"/{self.chance.integers(1 << 40)}")


class Results:
    """What anybody can read: the newest word on each point and time; and what was published twice."""

    def __init__(self):
        self.values = {}
        self.records = set()
        self.doubled = 0
        self.revised = 0
        self._reader = Reader()

    async def read(self, carrier):
        async for messages in carrier.consume("out/**"):
            for message in messages:
                await self.take(carrier, message)

    async def take(self, carrier, message):
        while True:
            try:
                received = self._reader.read(message.payload)
            except UnknownDirectoryError as missing:
                self._reader.learn((await carrier.get("directories", missing.name)).value)
                continue
            break
        record = Record(received.gateway, received.batch.epoch, received.batch.seq)
        self.doubled += record in self.records
        self.records.add(record)
        frame = received.batch.frame
        service = message.subject.split("/")[1]
        rows = zip(frame.point.tolist(), frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True)
        for point, time, value, word in rows:
            key = service, received.points[point]["name"], time
            self.revised += key in self.values
            assert (key in self.values) == bool(word & q.HISTORICAL), key
            self.values[key] = value

    def total(self, service, stat):
        """The sum of a statistic over all points and windows."""
        of = (v for (s, name, _), v in self.values.items() if s == service and name.endswith(f"#{stat}"))
        return round(sum(v for v in of if not math.isnan(v)))


async def until(check, patience_s=60.0, what=""):
    """Wait for something to be true."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    while not check():
        assert loop.time() < end, f"not in {patience_s} s: {what() if callable(what) else what}"
        await asyncio.sleep(0.05)
