"""One connection: requests go out one at a time, each waits for its answer. The only module with I/O."""

from __future__ import annotations

import asyncio
import socket
import termios
from typing import TYPE_CHECKING

from adapters.modbus.framing import Framing, MbapFraming, RtuFraming
from adapters.modbus.pdu import AnswerError
from gateway.errors import LinkError

if TYPE_CHECKING:
    from adapters.modbus.pdu import Request
    from adapters.modbus.url import Endpoint

CONNECT_S = 5.0
"""Least time that a connection may take to be made."""
_BROKEN = 3  # answers in a row that make no sense: a new connection does
_DRAIN_S = 0.02  # after a time-out on a serial line
_GHOST_S = 1.0  # longest wait for the late answer that could be taken for the next one


class Line(asyncio.Protocol):
    """A connection to the endpoint.

    Args:
        framing: the sans-IO side of it, fresh.
        timeout_s: how long an answer may take.
        pause_s: quiet time between an answer and the next request.
    """

    def __init__(self, framing: Framing, *, timeout_s: float, pause_s: float = 0.0) -> None:
        self.framing = framing
        self.sent_at = 0.0
        """When the last request went out, on the loop's clock."""
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._has_ids = isinstance(framing, MbapFraming)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._made = self._loop.create_future()
        self._gone: asyncio.Future[str] = self._loop.create_future()
        self._turn = asyncio.Lock()
        self._free_at = 0.0
        self._ghost: tuple[int, bytes] | None = None
        self._ghost_until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        self._transport = transport  # type: ignore[assignment]  # the serial one is an asyncio.Transport too
        if not self._made.done():
            self._made.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        try:
            answer = self.framing.receive(data)
        except AnswerError as error:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)
        else:
            if answer is not None and self._answer is not None and not self._answer.done():
                self._answer.set_result(answer)
        if self.framing.broken >= _BROKEN:
            self._lose(f"{self.framing.broken} answers in a row made no sense")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        self._lose(str(exc) if exc else "closed by the other side")

    def _lose(self, why: str) -> None:
        if self._gone.done():
            return
        self._gone.set_result(why)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LinkError(why))
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

    async def exchange(self, request: Request) -> bytes:
        """Send a request, once, and wait for the data of its answer.

        Raises:
            AnswerError: there is none, or it is not usable.
            LinkError: the connection is gone.
        """
        async with self._turn:
            wait = self._free_at - self._loop.time() if self._free_at else 0.0
            if wait > 0 or self._ghost is not None:
                await self._settle(request, wait)
            if self._transport is None:
                raise LinkError(self._gone.result())
            self._answer = self._loop.create_future()
            timer = self._loop.call_later(self._timeout_s, self._expire)
            self.sent_at = self._loop.time()
            self._transport.write(self.framing.send(request))
            try:
                return await self._answer
            except AnswerError as error:
                if error.silent:
                    self._haunt(request)
                raise
            except asyncio.CancelledError:
                self.framing.give_up()
                self._haunt(request)
                raise
            finally:
                timer.cancel()
                self._answer = None
                if self._pause_s:
                    self._free_at = max(self._free_at, self._loop.time() + self._pause_s)

    def _expire(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(self.framing.give_up())

    def _haunt(self, request: Request) -> None:
        """The answer may still come. Without transaction ids the same question must wait for it."""
        if self._has_ids:
            return
        now = self._loop.time()
        self._free_at = now + max(self._pause_s, _DRAIN_S)
        self._ghost = request.unit, request.head
        self._ghost_until = now + min(self._timeout_s, _GHOST_S)

    async def _settle(self, request: Request, wait: float) -> None:
        if self._ghost == (request.unit, request.head):
            wait = max(wait, self._ghost_until - self._loop.time())
        if self._loop.time() + wait >= self._ghost_until:
            self._ghost = None
        await self.rest(wait)


async def connect(endpoint: Endpoint, *, timeout_s: float, pause_s: float) -> Line:
    """A connection to the endpoint.

    Raises:
        OSError: it cannot be made (a time-out is one too).
    """
    framing = RtuFraming() if endpoint.rtu else MbapFraming()
    line = Line(framing, timeout_s=timeout_s, pause_s=max(pause_s, endpoint.silence_s))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(max(timeout_s, CONNECT_S)):
        if endpoint.device:
            await _open_serial(loop, line, endpoint)
        else:
            transport, _ = await loop.create_connection(lambda: line, endpoint.host, endpoint.port)
            _watch(transport.get_extra_info("socket"), timeout_s)
        await line.made()
    return line


async def _open_serial(loop: asyncio.AbstractEventLoop, line: Line, endpoint: Endpoint) -> None:
    from pymodbus.transport.serialtransport import create_serial_connection

    try:
        await create_serial_connection(
            loop,
            lambda: line,
            endpoint.device,
            baudrate=endpoint.baudrate,
            bytesize=endpoint.bytesize,
            parity=endpoint.parity,
            stopbits=endpoint.stopbits,
            timeout=0,
        )
    except termios.error as error:  # pyserial maps all but this one, which is no OSError
        raise LinkError(f"{endpoint.device} does not take these settings: {error.args[-1]}") from error


def _watch(sock: socket.socket, timeout_s: float) -> None:
    """Let the kernel notice a peer that vanished without a word."""
    patience_ms = round(max(3 * timeout_s, 10.0) * 1000)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
