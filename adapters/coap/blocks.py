"""Putting together bodies that arrive in blocks (RFC 7959, Block1), with a bound on what that may cost.

Pure bookkeeping: no socket; the time is told. aiocoap's own assembly has no bound, and this one refuses a
body as soon as it is known to be too large.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

LIFETIME_S = 60.0
"""How long a body may wait for its next block."""


class TooLargeError(Exception):
    """The body is, or will be, larger than allowed: 4.13."""


class IncompleteError(Exception):
    """A block without those before it: 4.08."""


class BusyError(Exception):
    """Too many bodies are under way: 5.03."""


class Assembly:
    """Bodies under way, each with its key (who sends it where)."""

    def __init__(self, max_body: int, max_bodies: int = 64) -> None:
        self._max_body = max_body
        self._max_bodies = max_bodies
        self._bodies: OrderedDict[Hashable, tuple[float, bytearray]] = OrderedDict()

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
        if block.start == 0:
            self._bodies.pop(key, None)
            if len(self._bodies) >= self._max_bodies:
                raise BusyError
            body = bytearray()
        else:
            body = self._bodies.pop(key, (0.0, bytearray()))[1]
        if block.announced > self._max_body or len(body) + len(payload) > self._max_body:
            raise TooLargeError
        if block.start != len(body) or (block.more and len(payload) != block.size):
            raise IncompleteError
        body += payload
        if not block.more:
            return bytes(body)
        self._bodies[key] = (now_s + LIFETIME_S, body)
        return None

    def _expire(self, now_s: float) -> None:
        """Forget bodies whose sender went away; they lie in the order of their deadlines."""
        while self._bodies:
            key, (deadline_s, _) = next(iter(self._bodies.items()))
            if deadline_s > now_s:
                return
            del self._bodies[key]


class Block:
    """Where a block lies in its body."""

    __slots__ = ("announced", "more", "size", "start")

    def __init__(self, start: int, size: int, *, more: bool, announced: int = 0) -> None:
        self.start = start
        """Offset, bytes."""
        self.size = size
        self.more = more
        """Whether others follow."""
        self.announced = announced
        """The size of the whole body as its sender states it (Size1), or 0."""
