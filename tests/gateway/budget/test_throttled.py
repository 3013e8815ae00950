"""A real daemon, a real broker, and a proxy between them that lets so many bytes a second through."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiomqtt
import msgpack
import pytest

from gateway.tasks import ended
from gateway.wire.message import FrameDecoder
from tests.gateway.budget.site import adapt_of, feeding
from tests.support.inside import inside
from tests.support.nats import nats_broker
from tests.torture.proxy import Proxy

CONFIG = """
store: {{commit: 200ms}}
pipelines:
  live: {{from: "m/p*", steps: [{{deadband: {{epsilon: 0.5%}}}}], to: [up]}}
  totals: {{from: "m/p*", steps: [{{window: {{every: 2s, stats: [count], lateness: 0s}}}}], to: [up]}}
uplinks:
  up:
    type: mqtt
    url: "mqtt://127.0.0.1:{port}"
    format: frame
    priority: [totals]
    adapt: {{every: 500ms, drain: 2s, max: 20%, rungs: []}}
"""
NEED_S, PHASE_S = 6.0, 10.0
PHASES = (0.5, 0.2, 0.8)


class Receiver:
    """Takes what comes to the broker."""

    def __init__(self) -> None:
        self.decoder = FrameDecoder()
        self.samples: Counter[str] = Counter()
        self.total = 0
        self.bounds: list[float] = []
        self._seen: set[int] = set()

    async def run(self, port: int) -> None:
        async with aiomqtt.Client("127.0.0.1", port, identifier="receiver") as client:
            await client.subscribe("onpath/#", qos=1)
            async for message in client.messages:
                self.take(bytes(message.payload))

    def take(self, payload: bytes) -> None:
        received = self.decoder.received(msgpack.unpackb(payload, strict_map_key=False))
        if received is None or received.batch.seq in self._seen:
            return
        batch = received.batch
        self._seen.add(batch.seq)
        self.samples[batch.pipeline] += len(batch.frame)
        self.bounds += [bound["percent"] for bound in batch.bounds]
        if batch.pipeline == "totals":
            self.total += round(sum(batch.frame.value.tolist()))


async def passed(proxy, seconds):
    """Bytes a second through the proxy."""
    before, began = proxy.up.passed, asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    return (proxy.up.passed - before) / (asyncio.get_running_loop().time() - began)


@pytest.mark.alone
async def test_a_throttled_link_is_used_and_not_flooded(tmp_path):
    async with nats_broker(tmp_path / "nats") as broker, Proxy(broker.mqtt_port).running() as proxy:
        receiver = Receiver()
        listening = asyncio.create_task(receiver.run(broker.mqtt_port), name="receiver")
        config = CONFIG.format(port=proxy.port)
        async with inside(tmp_path, config) as daemon:
            async with feeding(daemon, 240, rate=10) as feeder:
                await asyncio.sleep(2)
                need = await passed(proxy, NEED_S)
                uses = {}
                for part in PHASES:
                    proxy.up.rate = part * need
                    await asyncio.sleep(PHASE_S / 2)
                    uses[part] = await passed(proxy, PHASE_S / 2) / proxy.up.rate
                    adapt = await adapt_of(daemon)
                    print(f"{part:.0%} of {need:.0f} B/s: use {uses[part]:.2f}", {k: adapt[k] for k in list(adapt)[:5]})
                    if part < 0.8:
                        assert adapt["widening"] > 1
                        assert adapt["waiting"] < 10 * proxy.up.rate  # nothing piles up
            proxy.up.rate = 0.0
            async with asyncio.timeout(30):
                while receiver.total < feeder.emitted:  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0.1)
        await ended(listening)
    assert receiver.total == feeder.emitted
    assert max(receiver.bounds) <= 20.0
    assert min(receiver.bounds) == 0.5
    assert max(receiver.bounds) > 2.0
    assert all(0.5 <= use <= 1.1 for part, use in uses.items() if part < 0.8), uses
