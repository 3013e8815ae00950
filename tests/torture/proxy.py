"""A TCP proxy that misbehaves as networks do: cuts, delays, throttles, goes silent one way or both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

CHUNK = 16384


@dataclass
class Way:
    """What happens to bytes in one direction."""

    silent: bool = False
    """They vanish, and nobody is told: a peer that is gone, or a route that loses one way."""
    held: bool = False
    """They are not taken: the sender's buffers fill."""
    delay_s: float = 0.0
    rate: float = 0.0
    """Bytes a second; 0: as many as come."""
    passed: int = 0
    """Bytes that went through."""


@dataclass
class Proxy:
    """Between clients and ``target`` (a port of the loopback); ``port`` is where clients connect."""

    target: int
    port: int = 0
    up: Way = field(default_factory=Way)
    """From the client to the target."""
    down: Way = field(default_factory=Way)
    accepted: list[float] = field(default_factory=list)
    """Loop times at which clients connected."""
    _server: asyncio.Server | None = None
    _links: set[asyncio.Task[None]] = field(default_factory=set)
    _closed: bool = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        await self._listen()
        try:
            yield self
        finally:
            await self.cut()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close every connection and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self.drop()
        if server is not None:
            await server.wait_closed()

    async def drop(self) -> None:
        """Close every connection; new ones are welcome."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def heal(self) -> None:
        """As a good network again; connections that went silent stay so, as their bytes are gone."""
        self.up, self.down = Way(), Way()
        if self._server is None:
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        self.accepted.append(asyncio.get_running_loop().time())
        writers = [writer]
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(onward)
            ways = (self.up, self.down)  # of this connection for good: what was lost on it stays lost
            await asyncio.gather(_pump(reader, onward, ways[0]), _pump(there, writer, ways[1]))
        except (OSError, asyncio.CancelledError):
            pass  # a handler that asyncio's server started: nobody waits for how it ended
        finally:
            self._links.discard(link)
            for each in writers:
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
    """Until one side closes: then the whole connection does."""
    while True:
        while way.held:  # noqa: ASYNC110 - a test sets it, which is no event
            await asyncio.sleep(0.02)
        chunk = await reader.read(min(CHUNK, max(1, int(way.rate / 10))) if way.rate else CHUNK)
        if not chunk:
            raise ConnectionResetError
        if way.silent:
            continue
        if way.delay_s:
            await asyncio.sleep(way.delay_s)
        writer.write(chunk)
        await writer.drain()
        way.passed += len(chunk)
        if way.rate:
            await asyncio.sleep(len(chunk) / way.rate)
