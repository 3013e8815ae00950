"""Devices and a receiver outside the daemon, and a checker that compares what each of them wrote down."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiomqtt

from gateway.tasks import ended


@dataclass
class Devices:
    """Publish numbered messages with QoS 1 until told to stop; ``acknowledged`` is what got its PUBACK."""

    port: int
    names: tuple[str, ...] = ("d0", "d1", "d2", "d3")
    pause_s: float = 0.002
    acknowledged: list[tuple[str, int]] = field(default_factory=list)
    unknown: set[tuple[str, int]] = field(default_factory=set)
    """Sent, and the connection went before the PUBACK came: it may have arrived or not."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in self.names:
                tasks.create_task(self._device(name))

    async def _device(self, name: str) -> None:
        numbers = itertools.count()
        while not self.stop.is_set():
            try:
                async with aiomqtt.Client("127.0.0.1", self.port, identifier=f"device-{name}", timeout=5) as client:
                    await self._publish(client, name, numbers)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.2)

    async def _publish(self, client: aiomqtt.Client, name: str, numbers: Iterator[int]) -> None:
        while not self.stop.is_set():
            number = next(numbers)
            self.unknown.add((name, number))
            body = {"n": number, "ts": time.time_ns() // 1_000_000}
            await client.publish(f"site/{name}/telemetry", json.dumps(body), qos=1, timeout=5)
            self.unknown.discard((name, number))
            self.acknowledged.append((name, number))
            await asyncio.sleep(self.pause_s)


@dataclass
class Receiver:
    """Takes everything that comes upstream; knows nothing of the gateway but its topic and its format."""

    port: int
    batches: dict[tuple[str, int, int], dict] = field(default_factory=dict)
    repeated: int = 0
    differing: list[tuple[dict, dict]] = field(default_factory=list)
    last_news: float = field(default_factory=time.monotonic)
    log: list[tuple[float, bool]] = field(default_factory=list)
    """Each arrival: monotonic time, and whether it was flagged historical."""

    @contextlib.asynccontextmanager
    async def running(self):
        ready = asyncio.Event()
        task = asyncio.create_task(self._run(ready))
        await ready.wait()
        try:
            yield self
        finally:
            await ended(task)

    async def _run(self, ready: asyncio.Event) -> None:
        async with aiomqtt.Client("127.0.0.1", self.port, identifier="receiver") as client:
            await client.subscribe("up/#", qos=1)
            ready.set()
            async for message in client.messages:
                self.take(json.loads(message.payload))

    def take(self, batch: dict) -> None:
        """Keep a batch by its record id; a repetition must say the same."""
        record = (batch["gateway"], batch["epoch"], batch["seq"])
        known = self.batches.setdefault(record, batch)
        if known is not batch:
            self.repeated += 1
            if known["samples"] != batch["samples"]:
                self.differing.append((known, batch))
        self.last_news = time.monotonic()
        self.log.append((self.last_news, batch["historical"]))

    def samples(self, pipeline: str) -> list[dict]:
        """All samples of a pipeline in the order of their record ids."""
        batches = sorted(self.batches.items(), key=lambda item: item[0])
        return [sample for _, batch in batches if batch["pipeline"] == pipeline for sample in batch["samples"]]


def check(devices: Devices, receiver: Receiver) -> dict[str, list]:
    """What is lost, doubled, reordered within a device, or invented; all empty when all is well."""
    got = Counter()
    order: dict[str, list[int]] = {}
    for sample in receiver.samples("raw"):
        name, member = sample["point"].split("/")
        if member == "n":
            got[name, int(sample["value"])] += 1
            order.setdefault(name, []).append(int(sample["value"]))
    sent = set(devices.acknowledged)
    return {
        "lost": sorted(sent - got.keys()),
        "doubled": sorted(key for key, count in got.items() if count > 1),
        "reordered": sorted(name for name, numbers in order.items() if numbers != sorted(numbers)),
        "invented": sorted(got.keys() - sent - devices.unknown),
    }
