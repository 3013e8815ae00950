"""The client's side: each device has tasks of its own, so that none waits for another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from aiocoap import Context as CoapContext

from adapters.base import Context
from adapters.coap.device_options import DeviceOptions, resource_options
from adapters.coap.exchange import Endpoint, ExchangeError, no_answer
from adapters.coap.observation import Observation
from adapters.coap.outbox import Outbox
from adapters.coap.points import PointTable
from adapters.coap.source import Source
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
        self,
        name: str,
        options: DeviceOptions,
        context: CoapContext,
        ctx: Context,
        table: PointTable,
        outbox: Outbox,
    ) -> None:
        self.name = name
        self.observed = [Source(key, resource_options(value)) for key, value in options.observe.items()]
        self.polled = [Source(key, resource_options(value)) for key, value in options.poll.items()]
        self._options = options
        self._ctx = ctx
        self._table = table
        self._outbox = outbox
        self._endpoint = Endpoint(context, options.url, options.timeout)
        self._up: bool | None = None

    def start(self, group: asyncio.TaskGroup, delay_s: float) -> None:
        """Begin to ask, a little later than the devices before it."""
        for source in (*self.observed, *self.polled):
            for point in source.points:
                self._register(source, point)
        if self.polled:
            group.create_task(self._poll(delay_s), name=f"coap {self.name} poll")
        for source in self.observed:
            group.create_task(self._observe(source, delay_s), name=f"coap {self.name} observe {source.name}")

    def _register(self, source: Source, point: str) -> None:
        try:
            self._table.register(f"{self.name}/{point}", source.options)
        except TooManyPointsError as error:
            self._refused(error)

    # polling

    async def _poll(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        loop = asyncio.get_running_loop()
        schedule = Schedule(self._options.every, loop.time())
        while True:
            started_s = loop.time()
            await self._poll_once()
            await asyncio.sleep(schedule.next_s(loop.time()) - loop.time())
            state = self._ctx.stats.devices.setdefault(self.name, {})
            state.update(period_s=round(loop.time() - started_s, 3), missed_polls=schedule.missed)

    async def _poll_once(self) -> None:
        for at, source in enumerate(self.polled):
            try:
                response = await self._endpoint.get(source.path)
            except ExchangeError as error:
                self._failed(error, [source])
                if error.away:  # the others would each wait as long
                    self._bad(self.polled[at + 1 :], error.reason)
                    return
            else:
                self._deliver(source, response)

    # observing

    async def _observe(self, source: Source, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while True:
            began_s = loop.time()
            try:
                observed = await self._watch(source, backoff)
            except ExchangeError as error:
                self._failed(error, [source])
                await asyncio.sleep(backoff.next_s())
            else:
                if not observed:  # the device does not notify: its answer was a poll
                    await asyncio.sleep(max(0.0, began_s + self._options.every - loop.time()))

    async def _watch(self, source: Source, backoff: Backoff) -> bool:
        """Keep one registration until it is stale; whether the device observes at all.

        Raises:
            ExchangeError: it was refused, lost, or ended by the device.
        """
        loop = asyncio.get_running_loop()
        observation = Observation(self._endpoint, lambda message: self._deliver(source, message), self._options.refresh)
        try:
            await observation.register(source.path)
            while await self._changed(observation, loop):
                if observation.partial is not None:
                    first, observation.partial = observation.partial, None
                    self._deliver(source, await self._endpoint.complete(source.path, first))
                if observation.failed is not None:
                    raise observation.failed
                if not observation.observed:
                    return False
                if observation.ended:
                    raise ExchangeError(Reason.LINK_DOWN, "the device ended the observation")
                backoff.reset()
        finally:
            observation.cancel()
        if not observation.answered:
            raise no_answer()
        return True

    @staticmethod
    async def _changed(observation: Observation, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait until there is something to do; False once the deadline has passed without news."""
        while (left_s := observation.deadline - loop.time()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await observation.changed.wait()
            except TimeoutError:
                continue  # a notification may have moved the deadline
            observation.changed.clear()
            return True
        return False

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

    def _refused(self, error: TooManyPointsError) -> None:
        if not self._ctx.stats.reasons["too-many-points"]:
            self._ctx.log.warning("%s", error)
        self._ctx.stats.reasons["too-many-points"] += 1

    def _link(self, *, up: bool, detail: str = "") -> None:
        self._up = up
        self._ctx.link(self.name, up=up, detail=detail)
