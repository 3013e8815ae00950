"""Uplink to an HTTP server: batches in requests, done at 2xx only.

What a status means:

| status | then |
|---|---|
| 2xx | done |
| 429, 503 with Retry-After | nothing is sent until then; the same request again |
| 413 | joined batches go in halves, and from now on in smaller requests |
| 400, 409, 413, 422 | one batch is at fault: joined ones go in halves until it is alone, then the option ``refused`` |
| 400 of a partial write | InfluxDB took all other lines: those it refused are counted; done |
| 3xx, anything else | the link is down |
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from typing import Any, Final

import aiohttp

from gateway.errors import LinkError
from gateway.supervisor import pause_s
from gateway.tasks import in_thread, task_group
from gateway.tls import client_context
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.compress import Compress, compressed
from gateway.uplinks.http_answer import LONGEST_WAIT_S, Answer, authorization, beginning, reason_of, retry_after_s
from gateway.uplinks.http_body import CONTENT_TYPE, Bodies, Request
from gateway.uplinks.http_config import HttpFormat, HttpUplinkConfig, Refused

HOLD_FIRST_S: Final = 30.0
HOLD_LONGEST_S: Final = 600.0
"""A batch that is held is sent again after the first, then after twice as long each time, up to the second."""
_REFUSED: Final = frozenset({400, 409, 413, 422})
_DROPPED: Final = re.compile(r"dropped=(\d+)")


class HttpUplink(Uplink):
    """See :class:`HttpUplinkConfig`."""

    def __init__(self, config: HttpUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        config = self._config
        context: ssl.SSLContext | bool = True
        if config.url.startswith("https:"):
            context = await asyncio.to_thread(client_context, config.ca, config.cert, config.key)
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=config.in_flight, ssl=context),
                timeout=aiohttp.ClientTimeout(total=config.timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=config.proxy == "env",
            ) as session:
                await _Link(config, ctx, session).serve()
        except (aiohttp.ClientError, OSError) as error:
            raise LinkError(f"{config.url}: {reason_of(error)}") from error


class _Link:
    """One run: a pool of connections, and what the server was told on them."""

    def __init__(self, config: HttpUplinkConfig, ctx: UplinkContext, session: aiohttp.ClientSession) -> None:
        self._config = config
        self._ctx = ctx
        self._session = session
        self._bodies = Bodies(config, ctx.gateway, ctx.name, ctx.directory)
        self._window = asyncio.Semaphore(config.in_flight)
        self._not_before = 0.0
        """By the loop's clock; until then the server wants to be left alone."""
        self._held = 0

    async def serve(self) -> None:
        ctx = self._ctx
        async with task_group() as tasks:
            while True:
                await self._window.acquire()
                batches = [await ctx.next(), *ctx.ready(self._config.batch.max - 1)]
                requests = await in_thread(self._bodies.build, batches)
                self._window.release()
                for request in requests:
                    await self._window.acquire()
                    if request.prelude:  # waited for: who reads a batch must be able to find the names
                        await self._deliver(request)
                    else:
                        tasks.create_task(self._deliver(request), name=f"uplink {ctx.name} send")

    async def _deliver(self, request: Request) -> None:
        """Until every batch in it is done or given up; what is held waits until all others are through."""
        left, held = [request], list[Request]()
        while left:
            request = left.pop(0)
            if len(request.parts) > 1 and len(request.raw) > self._bodies.size:  # built before the server said so
                left = self._bodies.halves(request) + left
                continue
            answer = await self._ask(request)
            if self._is_taken(answer):
                self._done(request)
            elif len(request.parts) > 1:
                if answer.status == 413:
                    self._bodies.size = max(1, min(self._bodies.size, len(request.raw) // 2))
                left = self._bodies.halves(request) + left
            elif not request.parts:
                raise LinkError(f"{request.url}: the directory of points is refused: {answer}")
            elif self._keeps(request, answer):
                held.append(request)
        if held:
            await self._hold(held)
        self._window.release()

    def _done(self, request: Request) -> None:
        self._ctx.link(up=True, detail=self._config.url)
        for part in request.parts:
            if part.left_out:
                self._ctx.stats.counts["without_value"] += part.left_out
            self._ctx.done(part.batch)

    async def _ask(self, request: Request) -> Answer:
        """Send until there is an answer that says something of the content.

        Raises:
            LinkError: the answer says something of the link.
        """
        loop = asyncio.get_running_loop()
        if not request.raw:
            return Answer(204, "")  # nothing of it can be written in this format
        while True:
            if (wait := self._not_before - loop.time()) > 0:
                await asyncio.sleep(wait)
            answer = await self._post(request)
            if answer.ok or answer.status in _REFUSED:
                return answer
            if answer.status not in {429, 503} or answer.retry_after_s is None:
                raise LinkError(f"{request.url}: {answer}")
            wait = min(answer.retry_after_s, LONGEST_WAIT_S)
            self._ctx.link(up=False, detail=f"{answer}; asked to wait {wait:g} s")
            # Many gateways may have been told the same: a little later, each by another bit
            self._not_before = max(self._not_before, loop.time() + wait + pause_s(0))

    async def _post(self, request: Request) -> Answer:
        config, stats = self._config, self._ctx.stats
        body = await in_thread(compressed, request.raw, config.compress)
        headers = {"Content-Type": CONTENT_TYPE[config.format], "Idempotency-Key": request.key, **config.headers}
        if config.compress is not Compress.NONE:
            headers["Content-Encoding"] = config.compress.value
        if config.auth is not None:
            headers["Authorization"] = authorization(config.auth.bearer, config.auth.basic)
        stats.messages += len(request.parts)
        stats.bytes += len(body)
        proxy = config.proxy if config.proxy != "env" else ""
        async with self._session.request(
            config.method, request.url, data=body, headers=headers, proxy=proxy or None, allow_redirects=False
        ) as response:
            if 300 <= response.status < 400:
                where = response.headers.get("Location", "nowhere")
                raise LinkError(f"{request.url}: HTTP {response.status}: redirects to {where}, which is not followed")
            text = await beginning(response.content)
            return Answer(response.status, text, retry_after_s(response.headers.get("Retry-After")))

    def _is_taken(self, answer: Answer) -> bool:
        """Whether it was; or InfluxDB took what it could: what it could not is counted, for it never will."""
        partial = self._config.format is HttpFormat.INFLUX and answer.status == 400 and "partial write" in answer.text
        if partial:
            bad = _bad_lines(answer.text)
            self._ctx.stats.counts["lines_refused"] += bad
            self._ctx.log.warning("%d lines refused for good: %s", bad, answer)
        return answer.ok or partial

    def _keeps(self, request: Request, answer: Answer) -> bool:
        """Whether a batch that the server does not want is held; if not, it is given up here."""
        (part,) = request.parts
        self._ctx.stats.counts["batches_refused"] += 1
        if self._config.refused is Refused.HOLD:
            self._ctx.log.error("batch %s is refused, and held: %s", request.key, answer)
            return True
        self._ctx.log.error("batch %s is refused, and given up: %s", request.key, answer)
        if part.batch.loss is None:
            self._ctx.give_up(part.batch, "refused")
        else:  # a marker of the marker would be refused likewise, for ever
            self._ctx.done(part.batch)
        return False

    async def _hold(self, held: list[Request]) -> None:
        """Send batches again from time to time; with nothing but such in flight, the link is down."""
        self._held += 1
        pause = HOLD_FIRST_S
        while held:
            if self._held == self._config.in_flight:
                self._ctx.link(up=False, detail=f"all in flight is refused, as {held[0].key}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, HOLD_LONGEST_S)
            for request in tuple(held):
                answer = await self._ask(request)
                if self._is_taken(answer):
                    held.remove(request)
                    self._done(request)
                else:
                    self._ctx.log.error("batch %s is still refused, again in %g s: %s", request.key, pause, answer)
        self._held -= 1


def _bad_lines(text: str) -> int:
    """How many lines a partial write left out, as InfluxDB 1, 2 or 3 says it; at least one."""
    try:
        told: Any = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("data"), list):
        return max(1, len(told["data"]))
    dropped = sum(map(int, _DROPPED.findall(text)))
    return max(1, dropped + text.count("unable to parse"))
