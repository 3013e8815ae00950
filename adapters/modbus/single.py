"""One request at a time: what every endpoint bears, and what serial lines need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from adapters.modbus.framing import Framing
from adapters.modbus.pdu import AnswerError
from adapters.modbus.wire import Line
from gateway.errors import LinkError
from gateway.quality import Reason

if TYPE_CHECKING:
    from adapters.modbus.pdu import Request

_DRAIN_S = 0.02  # after a time-out on a serial line
_GHOST_S = 1.0  # longest wait for the late answer that could be taken for the next one


class SingleLine(Line):
    """A connection on which each request waits for the answer of the one before.

    Args:
        framing: the sans-IO side of it, fresh.
        timeout_s: how long an answer may take.
        pause_s: quiet time between an answer and the next request.
    """

    framing: Framing

    def __init__(self, framing: Framing, *, timeout_s: float, pause_s: float = 0.0) -> None:
        super().__init__(timeout_s)
        self.framing = framing
        self._pause_s = pause_s
        self._answer: asyncio.Future[bytes] | None = None
        self._turn = asyncio.Lock()
        self._free_at = 0.0
        self._ghost: tuple[int, bytes] | None = None
        self._ghost_until = 0.0

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        try:
            answer = self.framing.receive(data)
        except AnswerError as error:
            self._fail_with(error)
        else:
            if answer is not None and self._answer is not None and not self._answer.done():
                self.answered_at = self._loop.time()
                self._answer.set_result(answer)
        self._check_broken()

    def _fail(self, why: str) -> None:
        self._fail_with(LinkError(why))

    def _fail_with(self, error: AnswerError | LinkError) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    async def exchange(self, request: Request, patience_s: float | None = None) -> bytes:
        """See the base class. Callers take turns."""
        async with self._turn:
            wait = self._free_at - self._loop.time() if self._free_at else 0.0
            if wait > 0 or self._ghost is not None:
                await self._settle(request, wait)
            if self._transport is None:
                raise LinkError(self._gone.result())
            self._answer = self._loop.create_future()
            timer = self._loop.call_later(patience_s or self._timeout_s, self._expire)
            self.sent_at = self._loop.time()
            self._write(self.framing.send(request))
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
        if self.framing.has_ids:
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


class DatagramLine(SingleLine, asyncio.DatagramProtocol):
    """The same over UDP, where nothing is connected: a host that is not there is found out by asking."""

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Called by the transport, which takes nothing from elsewhere; ``addr`` is the endpoint's."""
        del addr
        self.data_received(data)

    def error_received(self, exc: Exception) -> None:
        """Called by the transport: mostly that nobody listens on the port."""
        if self._answer is not None and not self._answer.done():
            self.framing.give_up()
            self._answer.set_exception(AnswerError(Reason.LINK_DOWN, str(exc), silent=True))

    def _write(self, frame: bytes) -> None:
        cast("asyncio.DatagramTransport", self._transport).sendto(frame)
