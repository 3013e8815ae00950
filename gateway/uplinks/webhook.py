"""Uplink to a webhook: one request for each note, in order, done at 2xx.

| answer | then |
|---|---|
| 2xx | the next note; the batch is done behind its last |
| 429, 503 with Retry-After; a code of the service that says so | nothing is sent until then; the same note again |
| 401, 403, 404, 407, 408 | the link is down: the address or the login is wrong, and a person can mend it |
| any other 4xx; a code of the service | the note is refused: counted, logged, left out |
| 3xx, 5xx, no answer | the link is down |
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from gateway.batch import Batch
from gateway.errors import LinkError
from gateway.supervisor import pause_s
from gateway.tls import client_context
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.http_answer import LONGEST_WAIT_S, Answer, authorization, beginning, reason_of, retry_after_s
from gateway.uplinks.webhook_config import WebhookUplinkConfig
from gateway.uplinks.webhook_notes import Note, Notes, body_of, refusal, url_of

_MENDABLE: Final = frozenset({401, 403, 404, 407, 408})
_LATER_S: Final = 30.0
"""For a service that says "later" and not when."""
_SENT: Final = "sent"
"""Under this key it is remembered how many notes of a batch were taken."""


_FAILED: Final = "failed"
"""The answer that took the link down: it is up again at the next that is well, not when somebody listens."""


class _Progress(msgspec.Struct, frozen=True):
    epoch: int
    seq: int
    notes: int


class WebhookUplink(Uplink):
    """See :class:`WebhookUplinkConfig`."""

    def __init__(self, config: WebhookUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        config = self._config
        context: ssl.SSLContext | bool = True
        if config.url.startswith("https:"):
            context = await asyncio.to_thread(client_context, config.ca, config.cert, config.key)
        try:
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1, ssl=context),
                timeout=aiohttp.ClientTimeout(total=config.timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=config.proxy == "env",
            ) as session:
                link = _Link(config, ctx, session)
                if _FAILED not in ctx.stats.facts:
                    await _reach(config, context if isinstance(context, ssl.SSLContext) else None)
                    ctx.link(up=True, detail=_host(config.url))
                await link.serve()
        except (aiohttp.ClientError, OSError) as error:
            raise LinkError(f"{_host(config.url)}: {reason_of(error)}") from error


async def _reach(config: WebhookUplinkConfig, context: ssl.SSLContext | None) -> None:
    """See whether somebody listens: alerts are seldom, and a wrong address should be known before the first."""
    if config.proxy:
        return
    parts = urlsplit(config.url)
    async with asyncio.timeout(config.timeout):
        port = parts.port or (80 if context is None else 443)
        _, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _host(url: str) -> str:
    """What may be logged of an address: what stands behind the host is often a secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/..."


class _Link:
    """One run."""

    def __init__(self, config: WebhookUplinkConfig, ctx: UplinkContext, session: aiohttp.ClientSession) -> None:
        self._config = config
        self._ctx = ctx
        self._session = session
        self._notes = Notes(config, ctx.gateway, ctx.name, ctx.directory)
        self._url = config.url.format(gateway=ctx.gateway, uplink=ctx.name)
        self._host = _host(self._url)
        self._next_s = 0.0
        """By the loop's clock; no request before it."""

    async def serve(self) -> None:
        while True:
            await self._deliver(await self._ctx.next())

    async def _deliver(self, batch: Batch) -> None:
        """All notes of a batch; those that were taken before the link went are not sent again."""
        notes = self._notes.of(batch)
        begun = self._begun(batch)
        for number, note in enumerate(notes[begun:], begun + 1):
            await self._send(note)
            if number < len(notes):
                self._ctx.remember(_SENT, msgspec.json.encode(_Progress(batch.epoch, batch.seq, number)))
        self._ctx.done(batch)

    def _begun(self, batch: Batch) -> int:
        saved = self._ctx.recall(_SENT)
        try:
            progress = None if saved is None else msgspec.json.decode(saved, type=_Progress)
        except msgspec.DecodeError:
            progress = None
        known = progress is not None and (progress.epoch, progress.seq) == (batch.epoch, batch.seq)
        return progress.notes if progress is not None and known else 0

    async def _send(self, note: Note) -> None:
        """Until there is an answer that says something of the note.

        Raises:
            LinkError: the answer says something of the link.
        """
        loop = asyncio.get_running_loop()
        while True:
            if (wait := self._next_s - loop.time()) > 0:
                await asyncio.sleep(wait)
            self._next_s = loop.time() + 1 / self._config.rate
            answer = await self._post(note)
            code, words, later = refusal(self._config.style, answer.text) if answer.ok else (0, "", False)
            if answer.ok and not code:
                self._well()
                return
            if later or (answer.status in {429, 503} and answer.retry_after_s is not None):
                self._wait(answer, words)
            elif answer.ok or (400 <= answer.status < 500 and answer.status not in _MENDABLE | {429}):
                self._well()
                self._ctx.stats.counts["notes_refused"] += 1
                said = f"{words} ({code})" if code else str(answer)
                self._ctx.log.error("note %s is refused, and left out: %s", note.key, said)
                return
            else:
                self._ctx.stats.facts[_FAILED] = str(answer)
                raise LinkError(f"{self._host}: {answer}")

    def _well(self) -> None:
        self._ctx.stats.facts.pop(_FAILED, None)
        self._ctx.link(up=True, detail=self._host)

    def _wait(self, answer: Answer, words: str) -> None:
        wait = min(answer.retry_after_s or _LATER_S, LONGEST_WAIT_S)
        self._ctx.link(up=False, detail=f"{words or answer}; asked to wait {wait:g} s")
        # Many gateways may have been told the same: a little later, each by another bit
        self._next_s = max(self._next_s, asyncio.get_running_loop().time() + wait + pause_s(0))

    async def _post(self, note: Note) -> Answer:
        config, stats = self._config, self._ctx.stats
        now_s = time.time()  # of the signature, which the service compares with its own clock
        body = body_of(note, config, now_s)
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": note.key, **config.headers}
        if config.auth is not None:
            headers["Authorization"] = authorization(config.auth.bearer, config.auth.basic)
        stats.messages += 1
        stats.bytes += len(body)
        proxy = config.proxy if config.proxy != "env" else ""
        async with self._session.request(
            config.method, url_of(self._url, config, now_s), data=body, headers=headers, proxy=proxy or None,
            allow_redirects=False,
        ) as response:  # fmt: skip
            text = await beginning(response.content)
            return Answer(response.status, text, retry_after_s(response.headers.get("Retry-After")))
