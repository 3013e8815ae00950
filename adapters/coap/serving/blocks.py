"""Putting together bodies that arrive in blocks (RFC 7959, Block1), with a bound on what that may cost.

Pure bookkeeping: no socket; the time is told. aiocoap's own assembly has no bound, and this one refuses a
body as soon as it is known to be too large. Nothing is allocated for what a sender announces (Size1).

Bodies under way are bounded in number and in bytes together. When there is no room, the one that has waited
longest for its next block gives way, if it has waited for :data:`PATIENCE_S`: transfers that somebody began
from many false addresses keep no room from those that go on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

LIFETIME_S: Final = 60.0
"""How long a body may wait for its next block."""
PATIENCE_S: Final = 5.0
"""How long it may wait while others need its room."""
MAX_BODIES: Final = 64
MAX_BYTES: Final = 4 * 1024 * 1024
"""Of all bodies under way; at least two of the largest fit."""


class TooLargeError(Exception):
    """The body is, or will be, larger than allowed: 4.13."""


class IncompleteError(Exception):
    """A block without those before it: 4.08."""


class BusyError(Exception):
    """Too many bodies are under way: 5.03."""


class _Body(NamedTuple):
    deadline_s: float
    content: bytearray


class Assembly:
    """Bodies under way, each with its key (who sends it where)."""

    def __init__(self, max_body: int, max_bodies: int = MAX_BODIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_body = max_body
        self._max_bodies = max_bodies
        self._max_bytes = max(max_bytes, 2 * max_body)
        self._bodies: OrderedDict[Hashable, _Body] = OrderedDict()  # the next deadline first
        self.held = 0
        """Bytes of all bodies under way."""

    def __len__(self) -> int:
        return len(self._bodies)

    def feed(self, key: Hashable, block: Block, payload: bytes, now_s: float) -> bytes | None:
        """Take one block; the whole body with its last one, else None.

        Raises:
            TooLargeError: the body exceeds the bound.
            IncompleteError: a gap, an overlap, or a block of the wrong size.
            BusyError: no room for one more body.
        """
        self._expire(now_s)
        content = self._take(key)
        if block.start == 0:
            content = bytearray()
        if block.announced > self._max_body or len(content) + len(payload) > self._max_body:
            raise TooLargeError
        if block.start != len(content) or (block.more and not block.fills(len(payload))):
            raise IncompleteError
        if not block.more:
            return bytes(content + payload)
        self._make_room(len(content) + len(payload), now_s)
        content += payload
        self._bodies[key] = _Body(now_s + LIFETIME_S, content)
        self.held += len(content)
        return None

    def _take(self, key: Hashable) -> bytearray:
        body = self._bodies.pop(key, None)
        if body is None:
            return bytearray()
        self.held -= len(body.content)
        return body.content

    def _make_room(self, size: int, now_s: float) -> None:
        while len(self._bodies) >= self._max_bodies or self.held + size > self._max_bytes:
            key, oldest = next(iter(self._bodies.items()))
            if oldest.deadline_s - LIFETIME_S + PATIENCE_S > now_s:
                raise BusyError
            self._take(key)

    def _expire(self, now_s: float) -> None:
        """Forget bodies whose sender went away."""
        while self._bodies:
            key, oldest = next(iter(self._bodies.items()))
            if oldest.deadline_s > now_s:
                return
            self._take(key)


class Block:
    """Where a block lies in its body."""

    __slots__ = ("announced", "bert", "more", "size", "start")

    def __init__(self, start: int, size: int, *, more: bool, announced: int = 0, bert: bool = False) -> None:
        self.start = start
        """Offset, bytes."""
        self.size = size
        self.more = more
        """Whether others follow."""
        self.announced = announced
        """The size of the whole body as its sender states it (Size1), or 0."""
        self.bert = bert
        """Whether one message may hold several blocks (RFC 8323, 6)."""

    def fills(self, length: int) -> bool:
        """Whether a payload of so many bytes is a block that others can follow."""
        return length > 0 and length % self.size == 0 if self.bert else length == self.size
