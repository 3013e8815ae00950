"""The client's side: each device has tasks of its own, so that none waits for another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from aiocoap import VALID

from adapters.base import Context
from adapters.coap.asking.exchange import Endpoint, ExchangeError
from adapters.coap.asking.observation import Observation
from adapters.coap.asking.source import Source
from adapters.coap.options.device import DeviceOptions, resource_options
from adapters.coap.outbox import Outbox
from adapters.coap.points import PointTable
from gateway.errors import PayloadError, TooManyPointsError
from gateway.quality import Reason

RETRY_FIRST_S = 1.0
RETRY_LAST_S = 60.0

_jitter = random.SystemRandom()


class Backoff:
    """Growing, capped waits with jitter, so that a site's devices are not all asked again at once."""

    def __init__(self, first_s: float = RETRY_FIRST_S, last_s: float = RETRY_LAST_S) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self._next_s = first_s

    def reset(self) -> None:
        """It works again."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """How long to wait now, seconds."""
        wait_s, self._next_s = self._next_s, min(self._next_s * 2, self._last_s)
        return wait_s * _jitter.uniform(0.5, 1.0)


class Schedule:
    """Deadlines at a fixed period that never drift; those that have passed are skipped and counted."""

    def __init__(self, every_s: float, start_s: float) -> None:
        self._every_s = every_s
        self._due_s = start_s
        self.missed = 0

    def next_s(self, now_s: float) -> float:
        """The next deadline after ``now_s``."""
        self._due_s += self._every_s
        if self._due_s <= now_s:
            skipped = int((now_s - self._due_s) // self._every_s) + 1
            self.missed += skipped
            self._due_s += skipped * self._every_s
        return self._due_s


class Device:
    """One CoAP server: what is polled from it, what is observed, and whether it is there."""

    def __init__(
        self, name: str, options: DeviceOptions, endpoint: Endpoint, ctx: Context, table: PointTable, outbox: Outbox
    ) -> None:
        self.name = name
        self.observed = [Source(key, resource_options(value)) for key, value in options.observe.items()]
        self.polled = [Source(key, resource_options(value)) for key, value in options.poll.items()]
        self._options = options
        self._ctx = ctx
        self._table = table
        self._outbox = outbox
        self._endpoint = endpoint
        self._observations: dict[str, Observation] = {}
        self._periods: dict[str, float] = {}
        """How often each source is heard of, seconds."""
        self._expected_s = 0.0
        self._up: bool | None = None

    def start(self, group: asyncio.TaskGroup, delay_s: float) -> None:
        """Begin to ask, a little later than the devices before it."""
        for source in (*self.observed, *self.polled):
            for point in source.points:
                self._register(source, point)
        if self.polled:
            self._expect("", self._options.every)
            group.create_task(self._poll(delay_s), name=f"coap {self.name} poll")
        for source in self.observed:
            group.create_task(self._observe(source, delay_s), name=f"coap {self.name} observe {source.name}")

    def _register(self, source: Source, point: str) -> None:
        try:
            self._table.register(f"{self.name}/{point}", source.options)
        except TooManyPointsError as error:
            self._refused(error)

    def _expect(self, source: str, period_s: float) -> None:
        """The device will be heard once in the shortest of its periods, or it is not there."""
        if self._periods.get(source) == period_s:
            return
        self._periods[source] = period_s
        shortest_s = min(self._periods.values())
        if shortest_s != self._expected_s:
            self._expected_s = shortest_s
            self._ctx.expect(self.name, shortest_s)

    # polling

    async def _poll(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        loop = asyncio.get_running_loop()
        schedule = Schedule(self._options.every, loop.time())
        while True:
            started_s = loop.time()
            await self._poll_once()
            await asyncio.sleep(schedule.next_s(loop.time()) - loop.time())
            self._state().update(period_s=round(loop.time() - started_s, 3), missed_polls=schedule.missed)

    async def _poll_once(self) -> None:
        for at, source in enumerate(self.polled):
            try:
                response = await self._endpoint.get(source.path, etag=source.etag)
            except ExchangeError as error:
                self._failed(error, [source])
                if error.away:  # the others would each wait as long
                    self._bad(self.polled[at + 1 :], error.reason)
                    return
            else:
                if response.code == VALID:
                    self._state()["revalidated"] = self._state().get("revalidated", 0) + 1
                self._deliver(source, source.current(response))

    def _state(self) -> dict[str, Any]:
        return self._ctx.stats.devices.setdefault(self.name, {})

    # observing

    async def _observe(self, source: Source, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        loop = asyncio.get_running_loop()
        backoff = Backoff()

        def deliver(message: Any) -> None:
            backoff.reset()
            self._expect(source.name, observation.fresh_s)
            self._deliver(source, message)

        while True:
            observation = Observation(self._endpoint, source.path, deliver, self._options.refresh)
            self._observations[source.name] = observation
            try:
                await observation.run()
            except ExchangeError as error:
                self._failed(error, [source])
                await asyncio.sleep(backoff.next_s())
            else:  # the device does not notify: its answer was a poll
                self._expect(source.name, self._options.every)
                await asyncio.sleep(max(0.0, observation.heard_s + self._options.every - loop.time()))

    # what came of it

    def _deliver(self, source: Source, message: Any) -> None:
        self._ctx.stats.messages += 1
        if self._up is not True:
            self._link(up=True)
        now_ns = self._ctx.now_ns()
        try:
            readings = source.read(message.payload, message.opt.content_format, now_ns)
            for name, value, unit, time_ns in readings:
                row = self._table.row(f"{self.name}/{name}", source.options, value, unit)
                source.points[name] = None
                self._outbox.add(row, now_ns if time_ns is None else time_ns)
        except PayloadError as error:
            self._ctx.stats.reasons[error.reason] += 1
            self._bad([source], Reason.MISSING if error.reason == "missing" else Reason.UNPARSABLE)
        except TooManyPointsError as error:
            self._refused(error)

    def _failed(self, error: ExchangeError, sources: Sequence[Source]) -> None:
        self._ctx.stats.reasons[error.reason.text] += 1
        if error.away and self._up is not False:
            self._link(up=False, detail=str(error))
        elif not error.away and self._up is not True:
            self._link(up=True)
        self._bad(sources, error.reason)
        if error.away:
            for source in self.polled:
                source.forget()

    def _bad(self, sources: Sequence[Source], reason: Reason) -> None:
        now_ns = self._ctx.now_ns()
        for source in sources:
            for name in source.points:
                try:
                    row = self._table.row(f"{self.name}/{name}", source.options, reason)
                except TooManyPointsError as error:
                    self._refused(error)
                else:
                    self._outbox.add(row, now_ns)

    def gone(self, detail: str) -> None:
        """It is not asked any more: from now on its points have no value."""
        self._bad([*self.observed, *self.polled], Reason.LINK_DOWN)
        self._link(up=False, detail=detail)

    def _refused(self, error: TooManyPointsError) -> None:
        if not self._ctx.stats.reasons["too-many-points"]:
            self._ctx.log.warning("%s", error)
        self._ctx.stats.reasons["too-many-points"] += 1

    def _link(self, *, up: bool, detail: str = "") -> None:
        if up and self._up is False:  # it may have restarted, and forgotten whom to notify
            for observation in self._observations.values():
                observation.doubt()
        self._up = up
        self._ctx.link(self.name, up=up, detail=detail)
