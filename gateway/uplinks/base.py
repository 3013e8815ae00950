"""The contract between an uplink and the gateway.

An uplink takes batches, sends them, and says ``done`` when the other side has them; only then do they leave the
spool. It raises :class:`LinkError` (or lets an ``OSError`` through) when its link is gone; the supervisor retries, and
what was handed out and not done is handed out again.

Batches come in two lanes: what is *live* goes first, what has waited (the *backlog*) behind it, so a batch of the
backlog may have a lower seq than one that was handed out before it. Within a lane, and within pipelines of one rank in
``priority``, the order of seq holds, and all that is not flagged ``historical`` is in the order of seq as well.
Bandwidth, budget and rate of the backlog are the feed's: an uplink counts what it sends in ``ctx.stats.bytes``, the
batches and whatever else, and takes what it is given.
"""

from __future__ import annotations

import abc
import logging
from collections import Counter
from typing import Any, Protocol

from gateway.batch import Batch
from gateway.directory import Directory


class UplinkStats:
    """What one uplink counts."""

    __slots__ = ("acknowledged", "bytes", "counts", "facts", "link", "messages", "refused", "samples")

    def __init__(self) -> None:
        self.messages = 0
        """Batches sent, repetitions included."""
        self.acknowledged = 0
        self.samples = 0
        """Samples in acknowledged batches."""
        self.bytes = 0
        """Payload bytes sent, repetitions included."""
        self.refused = 0
        """Commands from the other side that were not carried out."""
        self.counts: Counter[str] = Counter()
        """What this kind of uplink counts besides, by name; its page in docs/uplinks says what."""
        self.facts: dict[str, str] = {}
        """What this kind of uplink has found out about the other side, by name; likewise."""
        self.link = "down"

    def as_dict(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        return {name: getattr(self, name) for name in self.__slots__} | {"counts": dict(self.counts)}


class UplinkContext(Protocol):
    """What the gateway offers to a running uplink."""

    gateway: str
    name: str
    directory: Directory
    log: logging.LoggerAdapter[logging.Logger]
    stats: UplinkStats

    @property
    def newest(self) -> int:
        """The highest seq that a row has by now, of whatever uplink; those made later have higher ones."""

    async def oldest(self) -> int:
        """The lowest seq of this uplink's rows that may still be handed out; without one that of the newest row."""

    def remember(self, key: str, value: bytes) -> None:
        """Keep what must outlive a restart, such as a session's number; written with a next commit."""

    def recall(self, key: str) -> bytes | None:
        """What was remembered under a key, or None."""

    async def saved(self) -> None:
        """Wait until what was remembered is on disk.

        Raises:
            StoreError: it is not.
        """

    async def next(self) -> Batch:
        """The next batch, live ones first; waits for one."""

    def ready(self, limit: int) -> list[Batch]:
        """More batches, as many as may go without waiting."""

    def done(self, batch: Batch) -> None:
        """The other side has the batch, durably as far as it promises."""

    def give_up(self, batch: Batch, reason: str) -> None:
        """The other side will never take the batch: it leaves the spool, and a loss marker with ``reason`` is told."""

    def park(self, batch: Batch) -> None:
        """Let nothing wait for a batch that stands durably where the other side finds it, perhaps much later.

        ``done`` follows then; without it the batch is handed out again when the run has ended.
        """

    def repeat(self, after: int) -> None:
        """Hand out again every row with a seq above ``after`` that is still kept, done or not.

        For a receiver that has lost what it had acknowledged. Rows stay after ``done`` for the option ``keep``; they
        come again in the backlog. Those that are handed out and not done at the moment come again only if the run ends.
        """

    def link(self, *, up: bool, detail: str = "") -> None:
        """Say that the link is up or down; logs changes only."""


class Uplink(abc.ABC):
    """A northbound destination."""

    @abc.abstractmethod
    async def run(self, ctx: UplinkContext) -> None:
        """Send until cancelled.

        Raises:
            LinkError: the link is gone or cannot be made; the supervisor calls ``run`` again later.
        """
