"""Whose turn it is to ask at an address. No I/O.

RFC 7252, 4.7: one outstanding interaction (NSTART), that is a question which is neither acknowledged nor
answered. aiocoap queues by itself, but a question would then grow old in a queue that nobody sees, and a
device that is gone would be asked once more for each question that waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from urllib.parse import urlsplit


class NobodyThereError(Exception):
    """Whoever had the turn heard nothing from the address; those behind need not ask."""


class Turn:
    """One address. ``free`` lets all ask at once: a stream has its own order."""

    def __init__(self, *, free: bool = False) -> None:
        self._free = free
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._bodies: dict[str, asyncio.Lock] = {}

    def body(self, path: str) -> asyncio.Lock:
        """Held while a resource is read.

        Servers keep one block-wise transfer of a resource for a client, and begin anew when its first block is
        asked for again (RFC 7959, 2.4).
        """
        if path not in self._bodies:
            self._bodies[path] = asyncio.Lock()
        return self._bodies[path]

    def __len__(self) -> int:
        return len(self._waiting)

    async def take(self) -> None:
        """Wait for the turn; who has it must :meth:`give` it.

        Raises:
            NobodyThereError: the address turned out to be silent meanwhile.
        """
        if self._free or not self._taken:
            self._taken = True
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled() and mine.exception() is None:
                self.give()  # it was ours for a moment
            raise

    def give(self) -> None:
        """The next one may ask."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._taken = False

    def nobody_there(self) -> None:
        """All that wait shall not."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(NobodyThereError())
        self._waiting.clear()


class Turns:
    """The turns of all addresses; devices behind one host and port share one."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str, str, int | None], Turn] = {}

    def of(self, url: str) -> Turn:
        """The turn of a device's URL."""
        parts = urlsplit(url)
        key = parts.scheme, parts.hostname or "", parts.port
        if key not in self._turns:
            self._turns[key] = Turn(free="+" in parts.scheme)
        return self._turns[key]
