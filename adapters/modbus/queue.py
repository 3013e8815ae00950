"""Who may use an endpoint's connection next: all requests of one endpoint pass through one queue.

Writes come first: one waits for no more than the requests that are under way already. Reads of one
priority go in the order they came. ``slots`` requests may be under way at once (one by default, as most
gateways to a serial bus lose all but one). The queue itself is bounded by who asks: each poller has at
most ``slots`` cycles open, each command waits for its own end.
"""

from __future__ import annotations

import asyncio
import enum
import heapq
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from adapters.modbus.pdu import Request
    from adapters.modbus.wire import Line


class Priority(enum.IntEnum):
    """Lower goes first."""

    WRITE = 0
    """Commands and what belongs to them, such as reading back what was written."""
    READ = 1
    """Telemetry."""


class Answer(NamedTuple):
    """The data of an answer, and when request and answer passed, in seconds on the loop's clock."""

    data: bytes
    sent_s: float
    received_s: float


class Queue:
    """The one way to an endpoint.

    Args:
        line: the connection.
        slots: requests that may be under way at once.
    """

    def __init__(self, line: Line, slots: int = 1) -> None:
        self.line = line
        self.slots = slots
        self._free = slots
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = 0
        self._loop = asyncio.get_running_loop()

    async def submit(
        self, request: Request, priority: Priority = Priority.READ, *, patience_s: float | None = None
    ) -> Answer:
        """Send a request when it is its turn, once, and wait for its answer.

        Args:
            request: what to send.
            priority: whom it goes before.
            patience_s: give up earlier than the line's own time-out; for a unit that is thought dead.

        Raises:
            AnswerError: there is none, or it is not usable.
            LinkError: the connection is gone.
        """
        await self._enter(priority)
        try:
            data = await self.line.exchange(request, patience_s)
            return Answer(data, self.line.sent_at, self.line.answered_at)
        finally:
            self._leave()

    async def _enter(self, priority: Priority) -> None:
        if self._free:
            self._free -= 1
            return
        turn = self._loop.create_future()
        self._number += 1
        heapq.heappush(self._waiting, (priority, self._number, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # its turn had come in the very moment
            raise

    def _leave(self) -> None:
        """Hand the slot to the next who still waits."""
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
