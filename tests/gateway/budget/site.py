"""A real daemon in the test's process that is fed samples, for tests of what an uplink does when its link is slow."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import numpy as np

from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.tasks import ended

SECOND = 10**9
SPAN = 100.0
"""The range of every point."""


class Feeder:
    """Emits ``rate`` values a second of each point; a bounded walk, the same in each run."""

    def __init__(self, daemon, points: int, *, rate: int = 10, step: float = 2.0) -> None:
        self._daemon = daemon
        self._rate = rate
        self._step = step
        self._random = np.random.default_rng(7)
        names = [f"m/p{one}" for one in range(points)]
        facts = [Point(name=name, limits=(0.0, SPAN), resolution=0.01) for name in names]
        self.ids = np.array([daemon.directory.add(one) for one in facts], np.int32)
        self._energy = daemon.directory.add(Point(name="m/energy", kind=Kind.COUNTER, limits=(0.0, SPAN)))
        self._value = self._random.uniform(20, 80, points)
        self.emitted = 0
        """Samples of the walks."""
        self.times: list[int] = []
        self.values: list[np.ndarray] = []
        """What was emitted at each time (UTC ns), in the order of ``ids``."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            moved = self._value + self._random.normal(0, self._step, len(self._value))
            self._value = np.clip(np.round(moved, 2), 0, SPAN)
            now = time.time_ns()
            self.times.append(now)
            self.values.append(self._value)
            self.emitted += len(self.ids)
            ids = np.append(self.ids, self._energy).astype(np.int32)
            values = np.append(self._value, (self.emitted / 1e4) % 100)
            await self._daemon.intake.emit(Frame.of(ids, np.full(len(ids), now, np.int64), values))
            await asyncio.sleep(1 / self._rate)


@asynccontextmanager
async def feeding(daemon, points: int, **options):
    """A feeder that runs."""
    feeder = Feeder(daemon, points, **options)
    task = asyncio.create_task(feeder.run(), name="feeder")
    try:
        yield feeder
    finally:
        await ended(task)


async def until(condition, timeout_s: float = 40.0):
    """Wait until ``condition()`` gives something; that."""
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.05)
    return found


async def adapt_of(daemon, uplink: str = "up") -> dict:
    """What ``status`` says."""
    return (await daemon.status())["uplinks"][uplink]["adapt"] or {}
