"""A real daemon and a real broker (nats-server, MQTT), and between them a proxy that lets so many bytes a second by.

Streams of a walk, ten values a second each. What the link carries has to be found out. Bytes are those of TCP, as
the proxy counts them. What is expected of a phase holds in its second half.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiomqtt
import msgpack

from gateway.tasks import ended
from gateway.wire.message import FrameDecoder
from tests.benchmarks.rows import Row
from tests.gateway.budget.site import adapt_of, feeding
from tests.support.inside import inside
from tests.support.nats import nats_broker
from tests.torture.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Sequence

PHASES: Final = (1.0, 0.5, 0.2)
PHASE_S: Final = 50.0
NEED_S: Final = 6.0
STREAMS: Final = 240
STATED: Final = 20.0
"""The widest bound, percent."""
CONFIG: Final = """
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
    adapt: {{every: 1s, drain: 3s, max: 20%, rungs: []}}
"""


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


@dataclass
class Shown:
    """What a run showed."""

    need: float = 0.0
    """Bytes a second at the configured bounds."""
    uses: dict[float, float] = field(default_factory=dict)
    """By what the link carried: the part that was used."""
    adapt: dict[float, dict[str, Any]] = field(default_factory=dict)
    """What ``status`` said at the end of each phase."""
    bounds: list[float] = field(default_factory=list)
    """Percent, as told by batches."""
    emitted: int = 0
    total: int = 0
    """Samples, as counted by the totals that came."""


async def throttled(folder: Path, parts: Sequence[float], seconds: float) -> Shown:
    """Run the phases; then let all that waits through.

    Raises:
        TimeoutError: something did not come.
    """
    shown = Shown()
    async with nats_broker(folder / "nats") as broker, Proxy(broker.mqtt_port).running() as proxy:
        receiver = Receiver()
        listening = asyncio.create_task(receiver.run(broker.mqtt_port), name="receiver")
        async with inside(folder, CONFIG.format(port=proxy.port)) as daemon:
            async with feeding(daemon, STREAMS, rate=10) as feeder:
                await asyncio.sleep(2)
                shown.need = await _passed(proxy, min(NEED_S, seconds / 4))
                for part in parts:
                    proxy.up.rate = part * shown.need
                    await asyncio.sleep(seconds / 2)
                    shown.uses[part] = await _passed(proxy, seconds / 2) / proxy.up.rate
                    shown.adapt[part] = await adapt_of(daemon)
            proxy.up.rate = 0.0
            async with asyncio.timeout(30):
                while receiver.total < feeder.emitted:  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0.1)
        await ended(listening)
    shown.emitted, shown.total, shown.bounds = feeder.emitted, receiver.total, receiver.bounds
    return shown


async def _passed(proxy: Proxy, seconds: float) -> float:
    """Bytes a second through the proxy."""
    before, began = proxy.up.passed, asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    return (proxy.up.passed - before) / (asyncio.get_running_loop().time() - began)


async def rows(folder: Path, seconds: float) -> list[Row]:
    """A row for each phase, and one for the totals."""
    shown = await throttled(folder, PHASES, seconds)
    exact = shown.total == shown.emitted and max(shown.bounds) <= STATED
    made = [
        Row(
            name=f"link-budget-real-{part:.0%}",
            measured=use,
            unit="use",
            bar="0.75 to 0.90",
            ok=0.75 <= use <= 0.90,
            notes=f"proxy {part * shown.need:.0f} B/s; bounds x{shown.adapt[part]['widening']:.3g}, "
            f"{shown.adapt[part]['waiting'] / (part * shown.need):.1f} s of the link waited at the end",
        )
        for part, use in shown.uses.items()
    ]
    return [
        *made,
        Row(
            name="link-budget-real-totals",
            measured=float(shown.total),
            unit="samples",
            bar="counts exact, stated bound kept",
            ok=exact,
            notes=f"widest bound that came with a batch {max(shown.bounds):.3g} %",
        ),
    ]
