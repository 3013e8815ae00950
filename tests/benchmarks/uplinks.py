"""Rows: a backlog of full batches through the uplinks, beside a bare client that publishes the same payloads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path
from statistics import median

import aiomqtt
import msgspec
import nats
import numpy as np

from gateway.batch import Batch
from gateway.frame import Frame
from gateway.uplinks.config import Format, MqttUplinkConfig, NatsUplinkConfig
from gateway.uplinks.outgoing import Outgoing
from tests.benchmarks.rows import Bench, Row, shown
from tests.support.build import directory_of
from tests.support.nats import Nats, nats_broker
from tests.support.uplink import RecordingUplinkContext, running, uplink_context

BATCH = 2000
POINTS = 200
LEAST = 100_000
"""Samples a second: ten times an input of 10,000."""
Publish = Callable[[Nats, list[bytes]], Awaitable[None]]


def frame(number: int) -> Frame:
    """A batch as meters make it: values of two decimals, ten seconds apart."""
    chance = np.random.default_rng(number)
    times = 1_769_860_800_000_000_000 + (number * BATCH + np.arange(BATCH)) // POINTS * 10**10
    return Frame.of(np.arange(BATCH) % POINTS, times, np.round(230 + chance.standard_normal(BATCH), 2))


async def bare_mqtt(broker: Nats, payloads: list[bytes]) -> None:
    """aiomqtt with a window of 20."""
    window = asyncio.Semaphore(20)
    async with aiomqtt.Client("127.0.0.1", broker.mqtt_port, max_inflight_messages=20) as client:
        client.pending_calls_threshold = 1000

        async def one(payload: bytes) -> None:
            async with window:
                await client.publish("bare/p", payload, qos=1)

        await asyncio.gather(*map(one, payloads))


async def bare_nats(broker: Nats, payloads: list[bytes]) -> None:
    """nats-py's own ``publish_async`` with a window of 64."""
    client = await nats.connect(broker.url)
    js = client.jetstream(publish_async_max_pending=64)
    await js.add_stream(name="bare", subjects=["bare.>"])
    waiting = [
        await js.publish_async("bare.p", payload, headers={"Nats-Msg-Id": str(number)})
        for number, payload in enumerate(payloads)
    ]
    await asyncio.gather(*waiting)
    await client.close()


async def drained(
    ctx: RecordingUplinkContext, config: MqttUplinkConfig | NatsUplinkConfig
) -> tuple[float, list[bytes]]:
    """Seconds until the backlog is acknowledged; what was published, encoded once more."""
    began = time.perf_counter()
    count = ctx.spool.gauge("out").rows
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) >= count, 120)
        took_s = time.perf_counter() - began
    outgoing = Outgoing(config, ctx)
    messages = [outgoing.encode(Batch(seq, "p", 0, frame(seq), epoch=77), "p", inf) for seq in range(count)]
    return took_s, [payload for payload, _ in filter(None, messages)]


async def round_of(folder: Path, config: MqttUplinkConfig | NatsUplinkConfig, count: int) -> tuple[float, float, int]:
    """Samples a second of the uplink and of the bare client, and payload bytes, at a fresh server."""
    names = [f"meter-{n // 4}/phase{n % 4}/power" for n in range(POINTS)]
    bare: Publish = bare_mqtt if isinstance(config, MqttUplinkConfig) else bare_nats
    async with nats_broker(folder / "broker") as broker:
        url = broker.mqtt_url if isinstance(config, MqttUplinkConfig) else broker.url
        with uplink_context(folder, directory_of(*names)) as ctx:
            for number in range(count):
                ctx.put(frame(number))
            ours, payloads = await drained(ctx, msgspec.structs.replace(config, url=url))
        began = time.perf_counter()
        await bare(broker, payloads)
        return count * BATCH / ours, count * BATCH / (time.perf_counter() - began), sum(map(len, payloads))


async def measured(bench: Bench, name: str, config: MqttUplinkConfig | NatsUplinkConfig) -> Row:
    """Uplink and bare client in turn."""
    count = bench.sizes.uplink_batches
    rounds = [await round_of(bench.folder / f"{name}-{number}", config, count) for number in range(bench.sizes.rounds)]
    ours, bare, sizes = ([round_[at] for round_ in rounds] for at in range(3))
    rate, reference = median(ours), median(bare)
    return Row(
        name=name,
        measured=rate,
        reference=reference,
        ratio=reference / rate,
        unit="samples/s",
        bar=f"at least {LEAST:,}/s",
        ok=rate >= LEAST,
        notes=f"{count} batches of {BATCH} samples, {sizes[0] / count / BATCH:.1f} bytes a sample; the reference has "
        f"them encoded already; rounds {shown(ours)} to {shown(bare)}",
    )


async def mqtt(bench: Bench) -> list[Row]:
    """The MQTT uplink, both formats."""
    url = "mqtt://127.0.0.1"
    return [await measured(bench, f"uplink-mqtt-{kind}", MqttUplinkConfig(url=url, format=kind)) for kind in Format]


async def jetstream(bench: Bench) -> list[Row]:
    """The NATS uplink, both formats."""
    url = "nats://127.0.0.1"
    return [await measured(bench, f"uplink-nats-{kind}", NatsUplinkConfig(url=url, format=kind)) for kind in Format]
