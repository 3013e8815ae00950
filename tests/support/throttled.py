"""A real daemon and a real broker (nats-server, MQTT), and between them a link that carries so many bytes a second.

Streams of a walk, ten values a second each. What the link carries has to be found out. Bytes are those of TCP, as the
link counts them; the backlog is what a receiver sees of it: how old the newest value of a batch is when it comes. How
much of the link is used is measured over the last seconds of each phase.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiomqtt
import msgpack
import numpy as np

from gateway.tasks import ended
from gateway.wire.message import FrameDecoder
from tests.gateway.budget.site import SPAN, Feeder, adapt_of, feeding
from tests.support.inside import inside
from tests.support.narrow import Narrow
from tests.support.nats import nats_broker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.daemon import Daemon

NEED_S: Final = 6.0
SETTLES_S: Final = 2.0
STEADY_S: Final = 9.0
"""The end of a phase, over which use is measured: three windows of the totals."""
STREAMS: Final = 600
STATED: Final = 40.0
"""The widest bound, percent of the range."""
BACKLOG_S: Final = 1.5
"""Values that come later than this wait behind others: the commit and the way take a third of it."""
CONFIG: Final = """
store: {{commit: 250ms}}
pipelines:
  live: {{from: "m/p*", steps: [{{deadband: {{epsilon: 0.5%}}}}], to: [up]}}
  totals: {{from: "m/p*", steps: [{{window: {{every: 3s, stats: [count], lateness: 0s}}}}], to: [up]}}
uplinks:
  up:
    type: mqtt
    url: "mqtt://127.0.0.1:{port}"
    format: frame
    priority: [totals]
    adapt: {{every: 500ms, drain: 4s, max: 40%, rungs: []}}
"""


class Receiver:
    """Takes what comes to the broker."""

    def __init__(self) -> None:
        self.decoder = FrameDecoder()
        self.total = 0
        """Samples, as counted by the totals that came."""
        self.bounds: list[float] = []
        """Percent, as told by batches."""
        self.live: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        """Points, times (UTC ns) and values."""
        self.late: list[tuple[float, float]] = []
        """When a batch came, of the loop's clock, and how old its newest value was, seconds."""
        self._seen: set[int] = set()

    async def run(self, port: int) -> None:
        """Until cancelled."""
        async with aiomqtt.Client("127.0.0.1", port, identifier="receiver") as client:
            await client.subscribe("onpath/#", qos=1)
            async for message in client.messages:
                self._take(bytes(message.payload))

    def _take(self, payload: bytes) -> None:
        received = self.decoder.received(msgpack.unpackb(payload, strict_map_key=False))
        if received is None or received.batch.seq in self._seen:
            return
        batch = received.batch
        self._seen.add(batch.seq)
        self.bounds += [bound["percent"] for bound in batch.bounds]
        if batch.pipeline == "totals":
            self.total += round(sum(batch.frame.value.tolist()))
        else:
            self.live.append((batch.frame.point, batch.frame.time, batch.frame.value))
            age_s = (time.time_ns() - int(batch.frame.time.max())) / 1e9
            self.late.append((asyncio.get_running_loop().time(), age_s))

    def errors(self, feeder: Feeder) -> np.ndarray:
        """How far the newest value of each point that came is from the point's own, by time and point, percent."""
        true = np.array(feeder.values)
        at = {moment: row for row, moment in enumerate(feeder.times)}
        column = {int(point): number for number, point in enumerate(feeder.ids)}
        held = np.full(true.shape, np.nan)
        for points, times, values in self.live:
            rows = [at[moment] for moment in times.tolist()]
            held[rows, [column[point] for point in points.tolist()]] = values
        newest = np.where(np.isnan(held), 0, np.arange(len(held))[:, None])
        np.maximum.accumulate(newest, axis=0, out=newest)
        errors: np.ndarray = np.abs(np.take_along_axis(held, newest, axis=0) - true) * 100 / SPAN
        return errors


@dataclass(frozen=True, slots=True)
class Phase:
    """What was seen while the link carried so much."""

    part: float
    """Of what is needed at the configured bounds."""
    carries: float
    """Bytes a second."""
    use: float
    """The part of that which was used."""
    drained_s: float
    """After so long no value came later than :data:`BACKLOG_S` any more."""
    widest: float
    """The bound, percent."""
    adapt: dict[str, Any]
    """What ``status`` said at the end."""


@dataclass
class Shown:
    """What a run showed."""

    need: float = 0.0
    """Bytes a second at the configured bounds."""
    phases: list[Phase] = field(default_factory=list)
    told: Counter[float] = field(default_factory=Counter)
    """Bounds that came with batches, percent."""
    emitted: int = 0
    total: int = 0
    """Samples, as counted by the totals that came."""
    worst: float = 0.0
    """The largest error, percent of the range,"""
    violations: int = 0
    """and how many values were farther off than the stated bound."""


async def throttled(folder: Path, phases: Sequence[tuple[float, float]]) -> Shown:
    """Run the phases, each a part of what is needed and seconds; then let all that waits through.

    Raises:
        TimeoutError: something did not come.
    """
    shown, receiver = Shown(), Receiver()
    async with nats_broker(folder / "nats") as broker, Narrow(broker.mqtt_port).running() as link:
        listening = asyncio.create_task(receiver.run(broker.mqtt_port), name="receiver")
        async with inside(folder, CONFIG.format(port=link.port)) as daemon:
            async with feeding(daemon, STREAMS, rate=10, step=1.0) as feeder:
                await asyncio.sleep(SETTLES_S)
                shown.need = await _passed(link, min(NEED_S, phases[0][1] / 2))
                for part, seconds in phases:
                    link.rate = part * shown.need
                    shown.phases.append(await _phase(daemon, link, receiver, part, seconds))
            link.rate = 0.0
            async with asyncio.timeout(30):
                while receiver.total < feeder.emitted:  # noqa: ASYNC110 - what is waited for has no event
                    await asyncio.sleep(0.1)
        await ended(listening)
    errors = receiver.errors(feeder)
    shown.worst, shown.violations = float(errors.max()), int((errors > STATED + 1e-9).sum())
    shown.emitted, shown.total, shown.told = feeder.emitted, receiver.total, Counter(receiver.bounds)
    return shown


async def _phase(daemon: Daemon, link: Narrow, receiver: Receiver, part: float, seconds: float) -> Phase:
    began, told, came = asyncio.get_running_loop().time(), len(receiver.bounds), len(receiver.late)
    steady_s = min(STEADY_S, seconds / 2)
    await asyncio.sleep(seconds - steady_s)
    passed = await _passed(link, steady_s)
    late = [at - began for at, age_s in receiver.late[came:] if age_s > BACKLOG_S]
    return Phase(
        part=part,
        carries=link.rate,
        use=passed / link.rate,
        drained_s=max(late, default=0.0),
        widest=max(receiver.bounds[told:], default=0.0),
        adapt=await adapt_of(daemon),
    )


async def _passed(link: Narrow, seconds: float) -> float:
    """Bytes a second through the link."""
    before, began = link.passed, asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    return (link.passed - before) / (asyncio.get_running_loop().time() - began)
