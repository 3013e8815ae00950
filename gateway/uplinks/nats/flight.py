"""What was sent and not yet acknowledged, and what the stream has refused for now. No network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

import msgspec

from gateway.batch import Batch
from gateway.errors import LinkError
from gateway.uplinks.nats.stream import ApiError

MOST_BYTES: Final = 16 * 2**20
"""Payload in flight: whatever the number of batches, no more than this and one message waits in memory."""


class PubAck(msgspec.Struct):
    """The stream's answer to a message."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    """It was there already: done all the same."""
    error: ApiError | None = None


@dataclass(eq=False, slots=True)
class Sent:
    """A message on its way."""

    subject: str
    payload: bytes
    headers: dict[str, str]
    batch: Batch | None = None
    """None for a directory message."""
    stored: asyncio.Event = field(default_factory=asyncio.Event)
    due: float = 0.0


class Flight:
    """One connection's window. Acknowledgements may come in any order."""

    def __init__(self, limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._sent: dict[int, Sent] = {}
        """By number, in the order in which they are due."""
        self._bytes = 0
        self._number = 0
        self._back: list[Sent] = []
        """Refused, to be sent again."""
        self.refuses = False
        """The stream has refused the message that was answered last."""
        self._news = asyncio.Event()

    def add(self, sent: Sent) -> int:
        """A message goes out; the number under which it will be answered."""
        self._number += 1
        sent.due = self._loop.time() + self._timeout_s
        self._sent[self._number] = sent
        self._bytes += len(sent.payload)
        self.news()
        return self._number

    def answered(self, number: int) -> Sent | None:
        """The message that an answer is for, which is not in flight any more; None if it is not known."""
        sent = self._sent.pop(number, None)
        if sent is not None:
            self._bytes -= len(sent.payload)
            self.news()
        return sent

    def put_back(self, sent: Sent) -> None:
        """The stream refused a message for now."""
        self.refuses = True
        self._back.append(sent)
        self._back.sort(key=lambda one: 0 if one.batch is None else one.batch.seq)
        self.news()

    def take_back(self) -> Sent | None:
        """The first of those that were refused; None if there is no more."""
        return self._back.pop(0) if self._back else None

    def accepted(self) -> bool:
        """The stream has taken a message; whether it had refused the one before."""
        refused, self.refuses = self.refuses, False
        return refused

    def news(self) -> None:
        """Something has changed."""
        self._news.set()

    async def something(self) -> None:
        """Wait until something changes."""
        self._news.clear()
        await self._news.wait()

    async def room(self) -> None:
        """Wait until another message may go: none while the stream refuses some."""
        while self._back or self.refuses or len(self._sent) >= self._limit or self._bytes > MOST_BYTES:
            await self.something()

    async def held(self) -> None:
        """Wait until the stream has refused something."""
        while not self._back:
            await self.something()

    async def answer_to(self, sent: Sent) -> None:
        """Wait until a message that was added is in flight no more."""
        while any(sent is one for one in self._sent.values()):
            await self.something()

    async def overdue(self) -> None:
        """Wait for an acknowledgement that does not come in time.

        Raises:
            LinkError: it did not.
        """
        while True:
            first = next(iter(self._sent.values()), None)
            if first is None:
                await self.something()
            elif (wait_s := first.due - self._loop.time()) > 0:
                await asyncio.sleep(wait_s)
            else:
                raise LinkError(f"no acknowledgement of {first.subject} within {self._timeout_s:g} s")
