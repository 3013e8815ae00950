"""What all connections have in common: they are made, they go, they are closed."""

from __future__ import annotations

import abc
import asyncio
import socket
from typing import TYPE_CHECKING, Protocol

from gateway.errors import LinkError

if TYPE_CHECKING:
    from adapters.modbus.pdu import Request

CONNECT_S = 5.0
"""Least time that a connection may take to be made."""
BROKEN = 3
"""Answers in a row that make no sense after which a new connection is made."""


class Counts(Protocol):
    """What the sans-IO side of a connection counts."""

    late: int
    """Whole answers to something else than a request under way."""
    broken: int
    """Times in a row that bytes did not make a frame."""


class Line(asyncio.Protocol, abc.ABC):
    """A connection to the endpoint.

    Args:
        timeout_s: how long an answer may take.
    """

    framing: Counts

    def __init__(self, timeout_s: float) -> None:
        self.detail = ""
        """Who is at the other end, for the log."""
        self.sent_at = 0.0
        """When the request went out whose exchange has just returned or raised, on the loop's clock."""
        self.answered_at = 0.0
        """When its answer came, on the loop's clock; of use if there was one."""
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._made = self._loop.create_future()
        self._gone: asyncio.Future[str] = self._loop.create_future()

    @abc.abstractmethod
    async def exchange(self, request: Request, patience_s: float | None = None) -> bytes:
        """Send a request, once, and wait for the data of its answer. May be called many times at once.

        ``patience_s`` is a shorter time-out; like the line's own it counts from when the request goes out.
        Directly after it, and before anything else is awaited, ``sent_at`` and ``answered_at`` are those
        of this exchange.

        Raises:
            AnswerError: there is none, or it is not usable.
            LinkError: the connection is gone.
        """

    @abc.abstractmethod
    def _fail(self, why: str) -> None:
        """The connection is gone: fail whoever waits with a :class:`LinkError`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        self._transport = transport  # type: ignore[assignment]  # the serial one is an asyncio.Transport too
        if not self._made.done():
            self._made.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        self.lose(str(exc) if exc else "closed by the other side")

    def lose(self, why: str) -> None:
        """Close the connection because of ``why``, which those who wait are told."""
        if self._gone.done():
            return
        self._gone.set_result(why)
        self._fail(why)
        self.close()

    def close(self) -> None:
        """Close the connection; requests fail from now on."""
        if not self._gone.done():
            self._gone.set_result("closed")
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    async def made(self) -> None:
        """Wait until the transport stands."""
        await self._made

    async def rest(self, seconds: float) -> None:
        """Wait, but notice a connection that goes.

        Raises:
            LinkError: it is gone.
        """
        if seconds > 0 and not self._gone.done():
            await asyncio.wait([self._gone], timeout=seconds)
        if self._gone.done():
            raise LinkError(self._gone.result())

    def _check_broken(self) -> None:
        if self.framing.broken >= BROKEN:
            self.lose(f"{self.framing.broken} answers in a row made no sense")

    def _write(self, frame: bytes) -> None:
        if self._transport is None:
            raise LinkError(self._gone.result())
        self._transport.write(frame)


def watch(sock: socket.socket, timeout_s: float) -> None:
    """Let the kernel notice a peer that vanished without a word."""
    patience_ms = round(max(3 * timeout_s, 10.0) * 1000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
