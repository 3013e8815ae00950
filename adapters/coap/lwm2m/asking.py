"""How a client is asked for one object instance: observed at best, else read, else one resource at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from adapters.base import Context
from adapters.coap.asking.exchange import ExchangeError
from adapters.coap.lwm2m.contents import Path, parse_path
from adapters.coap.lwm2m.objects import resources_of
from adapters.coap.lwm2m.options import Lwm2mOptions
from adapters.coap.lwm2m.peer import Peer, Report
from adapters.coap.lwm2m.reports import Reports
from adapters.coap.lwm2m.watch import Mode, Watch
from gateway.errors import PayloadError
from gateway.quality import Reason

SILENT: Final = 3
"""An observation that was to report every ``max_period`` and did not for so many of them is made anew."""
NEVER: Final = float("inf")
MAX_WATCHES: Final = 1024
"""Object instances and resources of one client that are kept in mind."""


class Asking:
    """The questions to one client; ``watches`` is its session's own list, ``news`` its event."""

    def __init__(
        self,
        peer: Peer,
        options: Lwm2mOptions,
        reports: Reports,
        ctx: Context,
        *,
        watches: list[Watch],
        news: asyncio.Event,
        deliver: Callable[[Watch, Any], None],
    ) -> None:
        self._peer = peer
        self._options = options
        self._reports = reports
        self._ctx = ctx
        self._watches = watches
        self._news = news
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._mute = False
        """Whether it kept silent when attributes were written, which clients do that do not know them."""

    async def ask(self, watch: Watch) -> None:
        """Observe, or read what is polled.

        Raises:
            ExchangeError: the client does not answer.
        """
        if watch.mode is Mode.OBSERVED and not watch.attributes:
            await self._read(watch)
            return
        if watch.mode is Mode.OBSERVED:  # it was to report and did not
            self._ctx.stats.reasons["silent"] += 1
            watch.drop()
        try:
            await self._attributes(watch)
            await self._observe(watch)
        except ExchangeError as error:
            if error.away:
                raise
            await self._refused(watch, error)

    async def _read(self, watch: Watch) -> None:
        watch.due_s = NEVER
        try:
            self._deliver(watch, await self._peer.get(watch.text))
        except ExchangeError as error:
            if error.away:
                raise
            self._reports.failed(error, [watch])

    async def _attributes(self, watch: Watch) -> None:
        low, high = int(self._options.min_period), int(self._options.max_period)
        asked = [f"pmin={low}"] * bool(low) + [f"pmax={high}"] * bool(high)
        if watch.attributes is not None or not asked or self._mute:
            return
        try:
            await self._peer.write_attributes(watch.text, "&".join(asked))
            watch.attributes = bool(high)
        except ExchangeError as error:
            watch.attributes = False
            if error.away:
                self._mute = True
                raise

    async def _observe(self, watch: Watch) -> None:
        """Register for notifications; the first answer has come when this returns."""
        report = Report(self._peer, watch.text, lambda message: self._deliver(watch, message), self._news)
        await report.begin()
        if watch not in self._watches:  # it was withdrawn meanwhile
            report.cancel()
            return
        watch.mode = Mode.OBSERVED if report.observed else Mode.POLLED
        self.schedule(watch)
        watch.report = report
        self._news.set()

    def schedule(self, watch: Watch) -> None:
        """When to ask again, now that a value has come."""
        watch.heard_s = self._loop.time()
        if watch.mode is Mode.POLLED:
            watch.due_s = watch.heard_s + self._options.max_period if self._options.max_period else NEVER
        elif watch.mode is Mode.OBSERVED:
            watch.due_s = watch.heard_s + SILENT * self._options.max_period if watch.attributes else NEVER

    async def _refused(self, watch: Watch, error: ExchangeError) -> None:
        """The client answers, but not with values: ask it otherwise, at last one resource at a time."""
        if self._peer.accept is not None and error.reason is Reason.OTHER_EXCEPTION:
            self._peer.accept = None  # 4.06: it may choose its format itself
            self._news.set()
            return
        watch.mode, watch.due_s = Mode.REFUSED, NEVER
        if len(watch.path) > 2:
            return
        paths = await self._resources(watch)
        self._watches += [Watch(path) for path in paths[: MAX_WATCHES - len(self._watches)]]
        self._news.set()
        if not paths:
            self._reports.failed(error, [watch])

    async def _resources(self, watch: Watch) -> list[Path]:
        """The resources of an instance that become points, as the client lists them or else as our table does."""
        table = resources_of(watch.path[0])
        wanted = [(*watch.path, key) for key, resource in table.items() if resource.name]
        try:
            links = await self._peer.discover(watch.text)
            there = {parse_path(link.target.removeprefix(self._peer.root)) for link in links}
        except PayloadError as problem:
            self._ctx.reject(problem.reason, f"{self._reports.device}{watch.text}", b"", str(problem))
        except ExchangeError as refusal:
            if refusal.away:
                raise
        else:
            return [path for path in wanted if path in there]
        return wanted
