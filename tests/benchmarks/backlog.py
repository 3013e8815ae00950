"""Rows: an uplink is cut for a while at 10,000 samples/s; how fast the backlog drains, and what live data feel of it.

Devices, gateway and receiver talk to one broker; between gateway and broker stands a proxy that is cut. Every sample
carries the time at which its device published it. The receiver removes doubles by seq, as receivers have to.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import msgpack
import numpy as np

from gateway.wire.message import FrameDecoder
from tests.benchmarks import gateway, traffic
from tests.benchmarks.child import Child
from tests.benchmarks.latency import Receiver
from tests.benchmarks.rows import Bench, Row
from tests.support.nats import nats_broker
from tests.torture.proxy import Proxy

FASTER = 10.0
"""Drained at that many times the rate of the input, at least."""
SLOWER = 2.0
"""Live latency while draining against the quiet one, at most."""
QOS = 1


@dataclass
class Arrived:
    """What came, a row a batch, doubles left out."""

    at: np.ndarray
    """Loop-independent time of arrival, ns, [batches]."""
    historical: np.ndarray
    published: list[np.ndarray]
    """Times of the samples of each batch."""

    def latencies_ms(self, where: np.ndarray) -> np.ndarray:
        """Of every sample of some batches."""
        rows = np.flatnonzero(where)
        if not len(rows):
            return np.empty(0)
        return np.concatenate([(self.at[row] - self.published[row]) / 1e6 for row in rows])

    def samples(self, where: np.ndarray) -> int:
        """In some batches."""
        return sum(len(self.published[row]) for row in np.flatnonzero(where))


def arrived(receiver: Receiver) -> Arrived:
    """Decodes what a receiver kept."""
    decoder, seen = FrameDecoder(), set()
    at, historical, published = [], [], []
    for when, payload in receiver.arrived:
        received = decoder.received(msgpack.unpackb(payload))
        if received is None or received.batch.seq in seen:
            continue
        seen.add(received.batch.seq)
        at.append(when)
        historical.append(received.batch.historical)
        published.append(received.batch.frame.time)
    return Arrived(np.array(at), np.array(historical, np.bool_), published)


async def run(bench: Bench, samples_s: int) -> tuple[Arrived, dict[str, float], dict]:
    """What came; the moments of the cut and of the return, ns; the status in the end."""
    sizes, rate = bench.sizes, samples_s // traffic.VALUES
    whole_s = sizes.warm_s + sizes.backlog_quiet_s + 2.5 * sizes.backlog_cut_s
    count, moments = int(rate * whole_s), {}
    async with (
        nats_broker(bench.folder / "nats", pending=1000) as broker,
        Proxy(broker.mqtt_port).running() as proxy,
        Child("publisher", broker.mqtt_port, QOS, count, rate, "ns") as publisher,
        Receiver(broker.mqtt_port, "up/#", 0).running() as receiver,
    ):
        up = f'{{type: mqtt, url: "mqtt://127.0.0.1:{proxy.port}", topic: "up/{{pipeline}}", format: frame}}'
        config = gateway.mqtt(broker.mqtt_port, QOS, "backlog") + gateway.PASS + f"uplinks: {{up: {up}}}\n"
        async with gateway.running(bench.folder / "gateway", config) as daemon:
            await publisher.hears("ready")
            publisher.tell("go")
            await asyncio.sleep(sizes.warm_s)
            moments["quiet"] = time.time_ns()
            await asyncio.sleep(sizes.backlog_quiet_s)
            await proxy.cut()
            moments["cut"] = time.time_ns()
            await asyncio.sleep(sizes.backlog_cut_s)
            await proxy.heal()
            moments["back"] = time.time_ns()
            await publisher.hears("sent")
            total = traffic.VALUES * count
            status = await gateway.settled(
                daemon, lambda s: s["pipelines"]["live"]["in"] >= total and not s["uplinks"]["up"]["spool"]["rows"]
            )
            gateway.check(status, total)
        await asyncio.sleep(0.5)
        found = arrived(receiver)
    if found.samples(found.at > 0) != total:
        raise RuntimeError(f"{found.samples(found.at > 0)} samples of {total} reached the receiver")
    return found, moments, status


async def rows(bench: Bench) -> list[Row]:
    """How fast the backlog drains, and live latency while it does."""
    samples_s = max(bench.sizes.latency_rates)
    found, moments, _ = await run(bench, samples_s)
    waited = np.array([times.max(initial=0) < moments["back"] for times in found.published])
    late = (found.historical | waited) & (found.at > moments["back"])
    if not late.any():
        raise RuntimeError("there was no backlog")
    first, last = found.at[late].min(), found.at[late].max()
    drained = found.samples(late)
    rate = drained / max(float(last - first) / 1e9, 1e-3)
    quiet = found.latencies_ms(~found.historical & (found.at > moments["quiet"]) & (found.at < moments["cut"]))
    busy = found.latencies_ms(~late & (found.at >= first) & (found.at <= last))
    p99 = [float(np.percentile(one, 99)) if len(one) else 0.0 for one in (quiet, busy)]
    note = f"{drained:,} samples of a cut of {bench.sizes.backlog_cut_s:g} s in {(last - first) / 1e9:.2f} s"
    return [
        Row(
            name="backlog",
            measured=rate,
            reference=float(samples_s),
            ratio=rate / samples_s,
            unit="samples/s",
            bar=f"at least {FASTER:g}x the input",
            ok=rate / samples_s >= FASTER,
            notes=f"{note}, beside {samples_s:,} samples/s that are live; nothing lost",
            details={"drained": drained},
        ),
        Row(
            name="backlog-live",
            measured=p99[1],
            reference=p99[0],
            ratio=p99[1] / max(p99[0], 1e-3),
            unit="ms p99",
            bar=f"at most {SLOWER:g}x",
            ok=p99[1] <= SLOWER * p99[0],
            notes=f"live samples while the backlog drains ({len(busy):,}) and before the cut ({len(quiet):,})",
        ),
    ]
