"""Messages over an asyncio connection, with a bound on what waits to be written."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from gateway.errors import LinkError, PayloadError
from gateway.reduction import codec
from gateway.reduction.codec import Kind
from gateway.reduction.counts import Traffic


class Peer:
    """One connection: a worker, a node below, or the parent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.worker: int | None = None
        self.members = 0
        self._reader = reader
        self._writer = writer
        self._traffic = Traffic()
        self._most_waiting = 2**16
        _keep_alive(writer)

    def becomes(self, traffic: Traffic, most_waiting: int) -> None:
        """It is known who it is: count it there, and let so many bytes wait."""
        traffic.received += self._traffic.received
        traffic.sent += self._traffic.sent
        self._traffic, self._most_waiting = traffic, most_waiting

    def send(self, data: bytes) -> None:
        """See :class:`gateway.reduction.links.Link`. Who does not read is cut off."""
        if self._writer.is_closing():
            return
        self._traffic.sent += len(data)
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > self._most_waiting:
            self.cut()

    async def read(self, most: int) -> tuple[Kind, bytes]:
        """The next message.

        Raises:
            LinkError: the connection is gone.
            PayloadError: it is no message.
        """
        try:
            size, kind = codec.read_head(await self._reader.readexactly(codec.HEAD_BYTES), most)
            body = await self._reader.readexactly(size)
        except asyncio.IncompleteReadError:
            raise LinkError("it has closed the connection") from None
        except OSError as error:
            raise LinkError(str(error)) from None
        self._traffic.received += codec.HEAD_BYTES + size
        return kind, body

    async def drain(self) -> None:
        """Wait until it has taken most of what was sent.

        Raises:
            LinkError: the connection is gone.
        """
        try:
            await self._writer.drain()
        except OSError as error:
            raise LinkError(str(error)) from None

    def cut(self) -> None:
        """End the connection; what waits is lost."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """End the connection once what waits is written."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
        self.cut()


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the kernel find out within a minute that the other side is gone without a word."""
    own = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        own.setsockopt(socket.IPPROTO_TCP, option, value)


async def greet(peer: Peer) -> bytes:
    """The nonce of a node that was connected to.

    Raises:
        LinkError, PayloadError: it does not greet.
    """
    kind, body = await peer.read(64)
    if kind is not Kind.CHALLENGE:
        raise PayloadError("malformed", "no challenge")
    return codec.read_challenge(body)
