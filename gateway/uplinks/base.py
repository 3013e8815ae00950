"""The contract between an uplink and the gateway.

An uplink takes batches in order, sends them, and says ``done`` when the other side has them; only then do
they leave the spool. It raises :class:`LinkError` (or lets an ``OSError`` through) when its link is gone;
the supervisor retries, and the feed begins again with the first batch that was not done.
"""

from __future__ import annotations

import abc
import logging
from typing import Any, Protocol

from gateway.batch import Batch
from gateway.directory import Directory


class UplinkStats:
    """What one uplink counts."""

    __slots__ = ("acknowledged", "bytes", "link", "messages", "refused", "samples")

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
        self.link = "down"

    def as_dict(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


class UplinkContext(Protocol):
    """What the gateway offers to a running uplink."""

    gateway: str
    name: str
    directory: Directory
    log: logging.LoggerAdapter[logging.Logger]
    stats: UplinkStats

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
        """The next batch in order; waits for one."""

    def ready(self, limit: int) -> list[Batch]:
        """More batches in order, as many as are there without waiting."""

    def done(self, batch: Batch) -> None:
        """The other side has the batch, durably as far as it promises."""

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
