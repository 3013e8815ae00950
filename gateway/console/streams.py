"""Server-sent events: one stream a browser, which ends when the browser goes, and waits for it when it is slow.

What comes meanwhile is the source's affair: it is not asked for more until what it gave before is on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.console.answers import ApiError, json
from gateway.errors import OnpathError

MOST: Final = 50
"""Streams at once."""
SIGN_S: Final = 15.0
"""A comment goes out so often, so that proxies and browsers see that the stream lives."""
STUCK_S: Final = 60.0
"""A browser that takes nothing for so long is gone."""


class Streams:
    """The streams of one console."""

    def __init__(self) -> None:
        self.open = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all of them."""
        self._closing.set()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    def response(self, source: AsyncGenerator[bytes, None]) -> Response:
        """A stream of events, each a block of lines that ends with an empty one.

        Raises:
            ApiError: there are too many.
        """
        if self.open >= MOST:
            raise ApiError(503, f"{MOST} streams are open already", headers={"retry-after": "10"})
        return _Stream(self, source)

    async def serve(self, source: AsyncGenerator[bytes, None], receive: Receive, send: Send) -> None:
        """Send until the source ends, the browser goes, or the console closes."""
        with self._counted():
            sending = asyncio.create_task(_send_all(source, send), name="console stream")
            leaving = asyncio.create_task(_gone(receive), name="console stream: gone")
            closing = asyncio.create_task(self._closing.wait(), name="console stream: closing")
            tasks = (sending, leaving, closing)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if not leaving.done() or leaving.cancelled():
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Stream(Response):
    """Starlette's own would not notice a browser that takes nothing."""

    def __init__(self, streams: Streams, source: AsyncGenerator[bytes, None]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(b"", 200, headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._streams = streams
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the base class."""
        request = Request(scope, receive)
        first = asyncio.ensure_future(anext(self._source, b""))
        await asyncio.wait((first,), timeout=0.5)  # what is wrong from the start is told as an error
        if first.done() and isinstance(first.exception(), OnpathError):
            await (await json(request, {"error": str(first.exception())}, 400))(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self._streams.serve(_led(first, self._source), receive, send)


async def _led(first: asyncio.Future[bytes], rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The first block, when it comes, then all others."""
    async with contextlib.aclosing(rest):
        try:
            yield await first
        finally:
            while not first.done():
                first.cancel()
                await asyncio.wait((first,))
        async for block in rest:
            yield block


async def _send_all(source: AsyncGenerator[bytes, None], send: Send) -> None:
    """Each block as it comes, and a comment where none comes for a while."""
    try:
        async with contextlib.aclosing(_with_signs(source)) as blocks:
            async for block in blocks:
                async with asyncio.timeout(STUCK_S):
                    await send({"type": "http.response.body", "body": block, "more_body": True})
    except OnpathError as error:  # of a source that cannot go on, such as a tap behind a step that is gone
        told = event("error", str(error).replace("\n", " ").encode())
        await send({"type": "http.response.body", "body": told, "more_body": True})


async def _with_signs(source: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    waiting: asyncio.Future[bytes | None] | None = None
    try:
        yield b": onpath\n\n"
        while True:
            if waiting is None:
                waiting = asyncio.ensure_future(anext(source, None))
            await asyncio.wait((waiting,), timeout=SIGN_S)
            if not waiting.done():
                yield b": still here\n\n"
                continue
            block, waiting = waiting.result(), None
            if block is None:
                return
            if block:
                yield block
    finally:
        while waiting is not None and not waiting.done():
            waiting.cancel()
            await asyncio.wait((waiting,))
        await source.aclose()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def event(name: str, payload: bytes) -> bytes:
    """One event; the payload is JSON on one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), payload)


async def data_of(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Payloads as events without a name."""
    async for payload in source:
        yield b"data: %s\n\n" % payload
