"""Ticks: how the engine learns that time passes. Lives on the event loop."""

from __future__ import annotations

import asyncio
import logging

from gateway.clock import Clock
from gateway.group import OpenGroup
from gateway.store.segments import Step, Tick

log = logging.getLogger(__name__)

TICK_S = 0.25


class Ticks:
    """Puts ticks of the stream time, and steps of the wall clock, among the samples of a group."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._newest = 0.0
        """Loop time of the newest tick."""

    def add(self, group: OpenGroup) -> None:
        """Say what time it is."""
        group.add(Tick(self._clock.stream_ns()))
        self._newest = asyncio.get_running_loop().time()

    def wake(self, group: OpenGroup) -> None:
        """After a time without ticks, say what time it is before the first sample: else it would seem early."""
        if asyncio.get_running_loop().time() - self._newest > 2 * TICK_S:
            self.add(group)

    def check(self, group: OpenGroup) -> bool:
        """Look at the wall clock; whether it stepped."""
        step = self._clock.check()
        if step:
            log.warning("the wall clock stepped by %.3f s", step / 1e9, extra={"step_s": step / 1e9})
            group.add(Step(step))
        return bool(step)

    def hold(self, group: OpenGroup) -> None:
        """While the store fails time passes as well, but need not be kept in quarters of a second."""
        segments = group.segments
        if len(segments) > 1 and isinstance(segments[-1], Tick) and isinstance(segments[-2], Tick):
            segments.pop()
        group.add(Tick(self._clock.stream_ns()))
