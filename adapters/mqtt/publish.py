"""A message that the adapter sends. A leaf, so that plans and the connection both know it."""

from __future__ import annotations

from typing import NamedTuple


class Publish(NamedTuple):
    """One message to the broker."""

    topic: str
    payload: bytes
    qos: int = 0
    """0 or 1. With 1 the broker says that it has it; a message that it has not when the link goes is not sent again."""
    retain: bool = False
