"""Rows: from a device's publish to the uplink's receiver, through broker, gateway (on disk on the way) and broker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import aiomqtt
import msgspec
import numpy as np

from tests.benchmarks import gateway, traffic
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row
from tests.support.nats import nats_broker

COMMITS = {"50ms": 60.0, "5ms": 10.0}
"""Aim for the 99th percentile in ms, by the length of a group commit."""
QOS = 1
"""As devices send that want to be sure; the gateway acknowledges when it is on disk."""


class Sample(msgspec.Struct):
    time: int
    """When the device published it, ns."""


class Batch(msgspec.Struct):
    """What is needed of an uplink's message."""

    samples: list[Sample]


class Telemetry(msgspec.Struct):
    """What is needed of a device's message."""

    ts: int


def of_batch(payload: bytes) -> list[int]:
    return [sample.time for sample in msgspec.json.decode(payload, type=Batch).samples]


def of_telemetry(payload: bytes) -> list[int]:
    return [msgspec.json.decode(payload, type=Telemetry).ts]


class Receiver:
    """Keeps what comes with its time of arrival; decodes nothing before the end."""

    def __init__(self, port: int, topic: str, qos: int) -> None:
        self._port = port
        self._topic = topic
        self._qos = qos
        self.arrived: list[tuple[int, bytes]] = []
        """(time of arrival in ns, payload) of each message."""

    @contextlib.asynccontextmanager
    async def running(self):
        ready = asyncio.Event()
        task = asyncio.create_task(self._run(ready))
        await ready.wait()
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, ready: asyncio.Event) -> None:
        async with aiomqtt.Client("127.0.0.1", self._port, identifier="receiver") as client:
            await client.subscribe(self._topic, qos=self._qos)
            ready.set()
            async for message in client.messages:
                self.arrived.append((time.time_ns(), message.payload))

    def latencies_ms(self, warm_s: float, times_of: Callable[[bytes], list[int]]) -> tuple[np.ndarray, int]:
        """One a sample that was published after the warm-up, [n]; and how many samples came in all."""
        published = [times_of(payload) for _, payload in self.arrived]
        arrived = np.repeat([at for at, _ in self.arrived], [len(times) for times in published])
        times = np.array([one for times in published for one in times], np.int64)
        warm = times > times.min() + warm_s * 1e9
        return (arrived - times)[warm] / 1e6, len(times)

    async def until(self, messages: int) -> None:
        """Wait until so many messages have come."""
        async with asyncio.timeout(30):
            while True:
                if len(self.arrived) >= messages:
                    return
                await asyncio.sleep(0.05)


async def broker_alone(bench: Bench, count: int, rate: int) -> float:
    """The same way without the gateway: from the devices to a receiver of their messages, 99th percentile in ms."""
    async with (
        nats_broker(bench.folder / f"nats-{rate}", pending=1000) as broker,
        Child("publisher", broker.mqtt_port, QOS, count, rate, "ns") as publisher,
        Receiver(broker.mqtt_port, "site/+/telemetry", QOS).running() as receiver,
    ):
        await publisher.hears("ready")
        publisher.tell("go")
        await publisher.hears("sent")
        await receiver.until(count)
    found, _ = receiver.latencies_ms(bench.sizes.warm_s, of_telemetry)
    return float(np.percentile(found, 99))


async def gatewayed(bench: Bench, name: str, count: int, rate: int, commit: str) -> np.ndarray:
    """Latency of each sample through the daemon, ms."""
    total = traffic.VALUES * count
    async with (
        nats_broker(bench.folder / f"nats-{name}", pending=1000) as broker,
        Child("publisher", broker.mqtt_port, QOS, count, rate, "ns") as publisher,
        Receiver(broker.mqtt_port, "up/#", 0).running() as receiver,
    ):
        port = broker.mqtt_port
        linger = "2ms" if commit == "5ms" else "5ms"
        config = gateway.mqtt(port, QOS, name, linger) + gateway.PASS + gateway.uplink(port, "ns")
        config += f"store: {{commit: {commit}, receipt_commit: 5ms}}\n"
        async with gateway.running(bench.folder / name, config) as daemon:
            await publisher.hears("ready")
            publisher.tell("go")
            await publisher.hears("sent")
            gateway.check(await gateway.settled(daemon, lambda s: gateway.through(s, count, total)), total)
        found, came = receiver.latencies_ms(bench.sizes.warm_s, of_batch)
    if came != total:
        raise RuntimeError(f"{came} samples of {total} reached the receiver")
    return found


async def compared(bench: Bench, samples_s: int) -> list[Row]:
    """One rate: each length of a group commit, beside the broker alone."""
    rate = samples_s // traffic.VALUES
    count = int(rate * (bench.sizes.latency_s + bench.sizes.warm_s))
    alone = await broker_alone(bench, count, rate)
    rows = []
    for commit, aim in COMMITS.items():
        name = f"latency-{samples_s}-{commit}"
        found = await gatewayed(bench, name, count, rate, commit)
        p50, p99, most = map(float, np.percentile(found, [50, 99, 100]))
        rows.append(
            Row(
                name=name,
                measured=p99,
                reference=alone,
                ratio=p99 / alone,
                unit="ms p99",
                bar=f"aim {aim:.0f} ms",
                ok=p99 <= aim,
                notes=f"p50 {p50:.1f}, max {most:.1f}; {len(found):,} samples, QoS {QOS}; the reference is the "
                f"broker alone; fsync {bench.fsync_ms:.2f} ms",
                details={"p50_ms": p50, "p99_ms": p99, "max_ms": most, "samples": len(found)},
            )
        )
    return rows


async def rows(bench: Bench) -> list[Row]:
    """Every rate with every length."""
    return [row for rate in bench.sizes.latency_rates for row in await compared(bench, rate)]
