"""Several requests at a time on one TCP or TLS connection, for devices that are made for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from adapters.modbus.pdu import AnswerError
from adapters.modbus.pipelined import PipelinedFraming
from adapters.modbus.wire import Line
from gateway.errors import LinkError

if TYPE_CHECKING:
    from adapters.modbus.pdu import Request


class ParallelLine(Line):
    """A connection on which up to ``depth`` requests are under way.

    Args:
        timeout_s: how long an answer may take, from the moment its request went out.
        depth: how many requests may wait for their answers; further callers wait for a place.
    """

    framing: PipelinedFraming

    def __init__(self, *, timeout_s: float, depth: int) -> None:
        super().__init__(timeout_s)
        self.framing = PipelinedFraming()
        self._places = asyncio.Semaphore(depth)
        self._waiting: dict[int, asyncio.Future[tuple[bytes, float]]] = {}

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        for transaction, outcome in self.framing.receive(data):
            answer = self._waiting.get(transaction)
            if answer is None or answer.done():
                continue
            if isinstance(outcome, AnswerError):
                answer.set_exception(outcome)
            else:
                answer.set_result((outcome, self._loop.time()))
        self._check_broken()

    def _fail(self, why: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkError(why))

    async def exchange(self, request: Request, patience_s: float | None = None) -> bytes:
        """See the base class."""
        async with self._places:
            if self._transport is None:
                raise LinkError(self._gone.result())
            transaction, frame = self.framing.send(request)
            answer: asyncio.Future[tuple[bytes, float]] = self._loop.create_future()
            self._waiting[transaction] = answer
            timer = self._loop.call_later(patience_s or self._timeout_s, self._expire, transaction)
            sent_at = self._loop.time()
            self._write(frame)
            try:
                data, self.answered_at = await answer
            except asyncio.CancelledError:
                self.framing.give_up(transaction)
                raise
            finally:
                timer.cancel()
                del self._waiting[transaction]
                self.sent_at = sent_at
        return data

    def _expire(self, transaction: int) -> None:
        answer = self._waiting[transaction]
        if not answer.done():
            answer.set_exception(self.framing.give_up(transaction))
