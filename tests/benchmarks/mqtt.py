"""Rows: MQTT JSON in, through pipelines, spool and uplink, beside a bare consumer; and the adapter alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from statistics import median

from tests.benchmarks import brokers, gateway, traffic
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row, costs, lines, shown

MOST = {0: 1.8, 1: 1.4}
"""The gateway's cost to the bare consumer's, by QoS."""
WINDOW_RATE = 3000
"""Messages a second that a window of 20 must let through."""
Broker = Callable[[Path], AbstractAsyncContextManager[int]]


class Run:
    """What one run found: CPU of the consumer in µs a message, messages a second, and how it went."""

    def __init__(self, cpu_s: float, messages: int, sent_s: float, **details: float) -> None:
        self.us = 1e6 * cpu_s / messages
        self.details = {"sent_per_s": round(messages / sent_s), **details}


async def consumed(role: str, port: int, qos: int, messages: int, rate: int = 0, *traffic_of: int) -> Run:
    """One run of a consumer of :mod:`tests.benchmarks.consumers`; ``traffic_of``: devices, and bytes of padding."""
    async with (
        Child("publisher", port, qos, messages, rate, "ms", *traffic_of) as publisher,
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
        began = time.monotonic()
        publisher.tell("go")
        (sent_s,) = await publisher.hears("sent")
        await gateway.settled(daemon, lambda s: s["adapters"]["bus"]["messages"] >= messages)
        taken_s = time.monotonic() - began
        status = await gateway.settled(daemon, lambda s: gateway.through(s, messages, samples))
        cpu_s = gateway.cpu_s(daemon) - before
        gateway.check(status, samples)
    commits = status["store"]["commits"] - started["store"]["commits"]
    out = status["uplinks"]["up"]["samples"]
    taken = round(messages / taken_s)
    return Run(cpu_s, messages, float(sent_s), commits=commits, kept=round(out / samples, 3), taken_per_s=taken)


async def compared(
    bench: Bench, name: str, qos: int, *, messages: int, rate: int = 0, broker: Broker = brokers.nats
) -> Row:
    """The daemon and the bare consumer in turn."""
    sizes = bench.sizes
    rounds = sizes.paced_rounds if rate else sizes.rounds
    ours, bare = [], []
    async with broker(bench.folder / f"broker-{name}") as port:
        for number in range(rounds):
            bare.append(await consumed("bare", port, qos, messages, rate))
            ours.append(await gatewayed(bench.folder / f"{name}-{number}", port, qos, messages, rate))
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
    return [await compared(bench, "mqtt-qos0", 0, messages=bench.sizes.messages)]


async def qos1(bench: Bench) -> list[Row]:
    """QoS 1 at saturation, acknowledged when on disk."""
    return [await compared(bench, "mqtt-qos1", 1, messages=bench.sizes.qos1_messages)]


async def paced(bench: Bench) -> list[Row]:
    """Both at a fixed rate, where batches are small."""
    rate, messages = bench.sizes.paced_rate, bench.sizes.paced_messages
    return [await compared(bench, f"mqtt-qos{qos}-paced", qos, messages=messages, rate=rate) for qos in (0, 1)]


async def mosquitto(bench: Bench) -> list[Row]:
    """Both at saturation through mosquitto; its window is as wide as that of the other broker."""
    sizes = bench.sizes
    return [
        await compared(bench, f"mqtt-qos{qos}-mosquitto", qos, messages=count, broker=brokers.mosquitto)
        for qos, count in ((0, sizes.messages), (1, sizes.qos1_messages))
    ]


async def window(bench: Bench) -> list[Row]:
    """How many messages of QoS 1 a second a window of 20 lets through, mosquitto's default, each on disk."""
    return [await _window(bench, "mqtt-window", brokers.narrow)]


async def window_mosquitto(bench: Bench) -> list[Row]:
    """The same at mosquitto itself, which does not always keep to its window (2.0.11)."""
    return [await _window(bench, "mqtt-window-mosquitto", brokers.narrow_mosquitto)]


async def _window(bench: Bench, name: str, broker: Broker) -> Row:
    messages, rounds = bench.sizes.window_messages, range(bench.sizes.rounds)
    async with broker(bench.folder / "broker") as port:
        runs = [await gatewayed(bench.folder / f"{name}-{number}", port, 1, messages) for number in rounds]
    rates = [run.details["taken_per_s"] for run in runs]
    rate, us = median(rates), median(run.us for run in runs)
    return Row(
        name=name,
        measured=rate,
        unit="messages/s",
        bar=f"at least {WINDOW_RATE:,}/s",
        ok=rate >= WINDOW_RATE,
        notes=f"20 messages may wait for the disk; rounds {shown(rates)}; {us:.0f} us CPU a message; "
        f"fsync {bench.fsync_ms:.2f} ms",
        details=runs[0].details | {"messages": messages},
    )


async def adapter(bench: Bench) -> list[Row]:
    """The adapter alone, without pipelines and store."""
    messages = bench.sizes.adapter_messages
    return [await alone(bench, f"mqtt-adapter-qos{qos}", qos, messages, bar=False) for qos in (0, 1)]


async def wide(bench: Bench) -> list[Row]:
    """The adapter alone with many topics, each a device of its own; and with large payloads, of which four values
    are wanted."""
    sizes = bench.sizes
    return [
        await alone(bench, f"mqtt-topics-{sizes.topics}", 0, 20 * sizes.topics, sizes.topics),
        await alone(bench, "mqtt-payload-64k", 1, sizes.large_messages, traffic.DEVICES, 64_000),
    ]


async def alone(bench: Bench, name: str, qos: int, messages: int, *of: int, bar: bool = True) -> Row:
    """The adapter and the bare consumer in turn."""
    ours, bare = [], []
    async with brokers.nats(bench.folder / f"broker-{name}") as port:
        for _ in range(bench.sizes.rounds):
            bare.append(await consumed("bare", port, qos, messages, 0, *of))
            ours.append(await consumed("adapter", port, qos, messages, 0, *of))
    best = min(ours, key=lambda run: run.us)
    return costs(
        name,
        [run.us for run in ours],
        [run.us for run in bare],
        "us/message",
        MOST[qos] if bar else None,
        notes=f"decoded into columns, nothing behind it; {best.details['batch']:.0f} messages a batch",
        details=best.details | {"messages": messages},
    )
