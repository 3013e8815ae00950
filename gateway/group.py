"""A group of frames that is committed together, and the receipts of its frames."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from adapters.base import Tokens
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.store.segments import Segment
from gateway.store.store import Memory


class OpenGroup:
    """What has come in since the last commit. Doubles as the receipt of all frames in it."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.tokens: list[tuple[str, Tokens]] = []
        """Adapter and the tokens of wire messages, see :meth:`adapters.base.Context.emit`."""
        self.samples = 0
        self.began: float | None = None
        """Loop time of the first segment."""
        self.urgent = asyncio.Event()
        self.attempts = 0
        self._joined: list[OpenGroup] = []
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def add(self, segment: Segment) -> None:
        """Take one more."""
        if self.began is None:
            self.began = asyncio.get_running_loop().time()
        self.segments.append(segment)
        if isinstance(segment, Frame):
            self.samples += len(segment)

    async def durable(self) -> int:
        """See :meth:`adapters.base.Receipt.durable`."""
        self.urgent.set()
        return await asyncio.shield(self._done)

    def join(self, later: OpenGroup) -> None:
        """Take in what came after; what becomes of this group becomes of both."""
        self.segments += later.segments
        self.tokens += later.tokens
        self.samples += later.samples
        if later.urgent.is_set():
            self.urgent.set()
        self._joined.append(later)

    def finish(self, position: int) -> None:
        """The group is on disk."""
        self._done.set_result(position)
        for later in self._joined:
            later.finish(position)

    def fail(self, error: StoreError) -> None:
        """The group will never be on disk."""
        self._done.set_exception(error)
        self._done.exception()  # nobody need have asked
        for later in self._joined:
            later.fail(error)


@dataclass
class Notes:
    """What is to be written with the next commit besides samples."""

    delivered: list[tuple[str, int]] = field(default_factory=list)
    """(uplink, seq) that the other side has."""
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    """(uplink, seq, reason) that the other side will never take."""
    repeats: list[tuple[str, int]] = field(default_factory=list)
    """(uplink, seq): what is kept behind it is to wait again."""
    learned: Memory = field(default_factory=dict)
    """What adapters and uplinks want to be kept."""

    def __bool__(self) -> bool:
        return bool(self.delivered or self.refused or self.repeats or self.learned)

    def join(self, later: Notes) -> None:
        """Add what came after."""
        self.delivered += later.delivered
        self.refused += later.refused
        self.repeats += later.repeats
        self.learned |= later.learned


class LetGo:
    """The receipt of what could not be taken."""

    def __init__(self, error: StoreError) -> None:
        self._error = error

    async def durable(self) -> int:
        """See :meth:`adapters.base.Receipt.durable`."""
        raise StoreError(str(self._error)) from self._error
