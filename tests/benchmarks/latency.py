"""Rows: from a device's publish to the uplink's receiver, through broker, gateway (on disk on the way) and broker."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiomqtt
import msgspec
import numpy as np

from tests.benchmarks import gateway, traffic
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row
from tests.support.nats import nats_broker

COMMITS = {"50ms": 60.0, "5ms": 10.0}
"""Aim for the 99th percentile in ms, by the length of a group commit."""


class Sample(msgspec.Struct):
    time: int
    """When the device published it, ns."""


class Batch(msgspec.Struct):
    """What is needed of an uplink's message."""

    samples: list[Sample]


class Receiver:
    """Keeps what comes with its time of arrival; decodes nothing before the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._arrived: list[tuple[int, bytes]] = []

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
            await client.subscribe("up/#", qos=0)
            ready.set()
            async for message in client.messages:
                self._arrived.append((time.time_ns(), message.payload))

    def latencies_ms(self, warm_s: float) -> tuple[np.ndarray, int]:
        """One a sample that was published after the warm-up, [n]; and how many samples came in all."""
        decode = msgspec.json.Decoder(Batch).decode
        published = [[sample.time for sample in decode(payload).samples] for _, payload in self._arrived]
        arrived = np.repeat([at for at, _ in self._arrived], [len(times) for times in published])
        times = np.array([one for times in published for one in times], np.int64)
        warm = times > times.min() + warm_s * 1e9
        return (arrived - times)[warm] / 1e6, len(times)


async def measured(bench: Bench, samples_s: int, commit: str, qos: int) -> Row:
    """One rate and one length of a group commit."""
    rate = samples_s // traffic.VALUES
    count = int(rate * (bench.sizes.latency_s + bench.sizes.warm_s))
    name = f"latency-{samples_s}-{commit}" + ("-qos0" if qos == 0 else "")
    async with (
        nats_broker(bench.folder / f"nats-{name}", pending=1000) as broker,
        Child("publisher", broker.mqtt_port, qos, count, rate, "ns") as publisher,
        Receiver(broker.mqtt_port).running() as receiver,
    ):
        port = broker.mqtt_port
        config = gateway.mqtt(port, qos, name) + gateway.PASS + gateway.uplink(port, "ns")
        config += f"store: {{commit: {commit}, receipt_commit: 5ms}}\n"
        async with gateway.running(bench.folder / name, config) as daemon:
            await publisher.hears("ready")
            publisher.tell("go")
            await publisher.hears("sent")
            total = traffic.VALUES * count
            gateway.check(await gateway.settled(daemon, lambda s: gateway.through(s, count, total)), total)
        found, came = receiver.latencies_ms(bench.sizes.warm_s)
    if came != total:
        raise RuntimeError(f"{came} samples of {total} reached the receiver")
    p50, p99, most = np.percentile(found, [50, 99, 100])
    return Row(
        name=name,
        measured=p99,
        unit="ms p99",
        bar=f"aim {COMMITS[commit]:.0f} ms",
        ok=bool(p99 <= COMMITS[commit]),
        notes=f"p50 {p50:.1f}, max {most:.1f}; {len(found):,} samples, QoS {qos}; fsync {bench.fsync_ms:.2f} ms",
        details={"p50_ms": float(p50), "p99_ms": float(p99), "max_ms": float(most), "samples": len(found)},
    )


async def rows(bench: Bench) -> list[Row]:
    """Every rate with every length; QoS 1, as devices send that want to be sure."""
    return [await measured(bench, rate, commit, 1) for commit in COMMITS for rate in bench.sizes.latency_rates]
