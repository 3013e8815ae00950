"""Rows: MQTT JSON in, through pipelines, spool and uplink, beside a bare consumer; and the adapter alone."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks import gateway, traffic
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row, costs, lines
from tests.support.nats import nats_broker

MOST = {0: 1.8, 1: 1.4}
"""The gateway's cost to the bare consumer's, by QoS."""


class Run:
    """What one run found: CPU of the consumer in µs a message, messages a second, and how it went."""

    def __init__(self, cpu_s: float, messages: int, sent_s: float, **details: float) -> None:
        self.us = 1e6 * cpu_s / messages
        self.details = {"sent_per_s": round(messages / sent_s), **details}


async def consumed(role: str, port: int, qos: int, messages: int, rate: int = 0) -> Run:
    """One run of a consumer of :mod:`tests.benchmarks.consumers`."""
    async with (
        Child("publisher", port, qos, messages, rate, "ms") as publisher,
        Child("consumers", role, port, qos, messages) as consumer,
    ):
        await publisher.hears("ready")
        await consumer.hears("ready")
        before = consumer.cpu_s
        publisher.tell("go")
        (batch,) = await consumer.hears("done")
        cpu_s = consumer.cpu_s - before
        (sent_s,) = await publisher.hears("sent")
    return Run(cpu_s, messages, float(sent_s), batch=round(float(batch), 1))


async def gatewayed(folder: Path, port: int, qos: int, messages: int, rate: int = 0) -> Run:
    """One run of the daemon: from the first message until the last has left the spool."""
    samples = traffic.VALUES * messages
    config = gateway.mqtt(port, qos, folder.name) + gateway.REDUCE + gateway.uplink(port)
    async with (
        Child("publisher", port, qos, messages, rate, "ms") as publisher,
        gateway.running(folder, config) as daemon,
    ):
        await publisher.hears("ready")
        started = await daemon.status()
        before = gateway.cpu_s(daemon)
        publisher.tell("go")
        (sent_s,) = await publisher.hears("sent")
        status = await gateway.settled(daemon, lambda s: gateway.through(s, messages, samples))
        cpu_s = gateway.cpu_s(daemon) - before
        gateway.check(status, samples)
    commits = status["store"]["commits"] - started["store"]["commits"]
    out = status["uplinks"]["up"]["samples"]
    return Run(cpu_s, messages, float(sent_s), commits=commits, kept=round(out / samples, 3))


async def compared(bench: Bench, name: str, qos: int, *, rate: int = 0) -> Row:
    """The daemon and the bare consumer in turn."""
    sizes = bench.sizes
    messages = sizes.paced_messages if rate else sizes.qos1_messages if qos else sizes.messages
    rounds = sizes.paced_rounds if rate else sizes.rounds
    ours, bare = [], []
    async with nats_broker(bench.folder / "nats", pending=1000) as broker:
        for number in range(rounds):
            bare.append(await consumed("bare", broker.mqtt_port, qos, messages, rate))
            folder = bench.folder / f"{name}-{number}"
            ours.append(await gatewayed(folder, broker.mqtt_port, qos, messages, rate))
    best = min(ours, key=lambda run: run.us).details
    return costs(
        name,
        [run.us for run in ours],
        [run.us for run in bare],
        "us/message",
        None if rate else MOST[qos],
        notes=lines(
            f"{rate:,} messages/s" if rate else f"as fast as it goes, {best['sent_per_s']:,} messages/s",
            f"{best['commits']} commits, fsync {bench.fsync_ms:.2f} ms" if qos else f"{best['commits']} commits",
            f"{100 * best['kept']:.0f} % of the samples go up",
        ),
        details=best | {"messages": messages, "bare_sent_per_s": bare[0].details["sent_per_s"]},
    )


async def qos0(bench: Bench) -> list[Row]:
    """QoS 0 at saturation."""
    return [await compared(bench, "mqtt-qos0", 0)]


async def qos1(bench: Bench) -> list[Row]:
    """QoS 1 at saturation, acknowledged when on disk."""
    return [await compared(bench, "mqtt-qos1", 1)]


async def paced(bench: Bench) -> list[Row]:
    """Both at a fixed rate, where batches are small."""
    rate = bench.sizes.paced_rate
    return [await compared(bench, f"mqtt-qos{qos}-paced", qos, rate=rate) for qos in (0, 1)]


async def adapter(bench: Bench) -> list[Row]:
    """The adapter alone, without pipelines and store."""
    messages = bench.sizes.adapter_messages
    rows = []
    for qos in (0, 1):
        ours, bare = [], []
        async with nats_broker(bench.folder / f"nats-{qos}", pending=1000) as broker:
            for _ in range(bench.sizes.rounds):
                bare.append(await consumed("bare", broker.mqtt_port, qos, messages))
                ours.append(await consumed("adapter", broker.mqtt_port, qos, messages))
        best = min(ours, key=lambda run: run.us)
        rows.append(
            costs(
                f"mqtt-adapter-qos{qos}",
                [run.us for run in ours],
                [run.us for run in bare],
                "us/message",
                None,
                notes=f"decoded into columns, nothing behind it; {best.details['batch']:.0f} messages a batch",
                details=best.details | {"messages": messages},
            )
        )
    return rows
