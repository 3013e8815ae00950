"""What adapters could not use, kept for a while so that a person can look at it. Bounded, in memory only."""

from __future__ import annotations

import itertools
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

KEPT: Final = 500
"""The newest so many of all adapters together."""
SHOWN_BYTES: Final = 1024
"""Bytes of a payload that are kept."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One wire unit that was not used."""

    number: int
    time_ns: int
    adapter: str
    reason: str
    where: str
    detail: str
    payload: bytes
    size: int
    """Bytes that the payload had."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types; the payload as text where it is text, else in hexadecimal digits."""
        try:
            text = self.payload.decode()
            shown = {"payload": text} if text.isprintable() else {"payload_hex": self.payload.hex()}
        except UnicodeDecodeError:
            shown = {"payload_hex": self.payload.hex()}
        return {
            "number": self.number,
            "time_ns": self.time_ns,
            "adapter": self.adapter,
            "reason": self.reason,
            "where": self.where,
            "detail": self.detail,
            "size": self.size,
            **shown,
        }


class RejectedRing:
    """The newest rejected wire units, numbered from 1."""

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[Rejected] = deque(maxlen=kept)
        self._numbers = itertools.count(1)

    def add(self, adapter: str, reason: str, where: str, payload: bytes, detail: str) -> None:
        """Keep one; the oldest gives way."""
        number, kept = next(self._numbers), bytes(payload[:SHOWN_BYTES])
        self._ring.append(
            Rejected(number, time.time_ns(), adapter, reason, where[:512], detail[:512], kept, len(payload))
        )

    def after(self, number: int) -> list[Rejected]:
        """Those with a higher number, in order."""
        return [one for one in self._ring if one.number > number]
