"""What a job knows of those it is connected to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Sender = Callable[[bytes], None]


class Link(Protocol):
    """A worker, or a node with workers below it."""

    worker: int | None
    """None for a node."""
    members: int
    """Bitmap of the workers below."""

    def send(self, data: bytes) -> None:
        """Hand a message over; it is written as soon as that is possible.

        Never fails: a link that is gone is told of by ``detach``.
        """
