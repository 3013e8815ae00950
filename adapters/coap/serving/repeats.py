"""Pushes that a device repeats because the gateway was restarted between the disk and the answer.

A repetition is the same bytes, so with the same Message ID and token, from the same address and port within
EXCHANGE_LIFETIME (247 s, RFC 7252, 4.8.2). While the gateway runs the message layer knows it. What is stored
gets a token, a number made of all that and of the time in steps of a quarter of the lifetime; after a start
the tokens of the last five steps (247 s to 309 s) are asked for, until the lifetime has passed since the
start. So a device that begins its Message IDs anew after its own restart is not taken for one that repeats,
unless it sends the same bytes again within five minutes of a restart of the gateway.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np

from adapters.base import Context, Tokens
from adapters.coap.messages import LIFETIME_S

STEP_NS: Final = int(LIFETIME_S * 1e9) // 4
_STEPS: Final = 5


class Repeats:
    """Which messages are durable since before the start."""

    def __init__(self, ctx: Context, now_s: float) -> None:
        self._ctx = ctx
        self._until_s = now_s + LIFETIME_S

    def tokens(self, message: Any) -> Tokens | None:
        """What to emit with a message taken now; None if its transport repeats nothing."""
        named = _named(message)
        if named is None:
            return None
        return np.array([_number(named, self._ctx.now_ns() // STEP_NS)], np.uint64)

    def known(self, message: Any, now_s: float) -> bool:
        """Whether a message is durable already."""
        named = _named(message) if now_s < self._until_s else None
        if named is None:
            return False
        step = self._ctx.now_ns() // STEP_NS
        asked = np.array([_number(named, step - back) for back in range(_STEPS)], np.uint64)
        return bool(self._ctx.known(asked).any())


def _named(message: Any) -> bytes | None:
    """All but the time; None for messages of TCP, and for those within OSCORE, which refuses repetitions itself."""
    received = getattr(message, "received", None)
    if received is None or message.mid is None:
        return None
    where = getattr(message.remote, "sockaddr", None) or message.remote.hostinfo
    name = f"{where} {message.mid} {received.size} {received.checksum} {message.token.hex()}"
    return name.encode()


def _number(named: bytes, step: int) -> int:
    return int.from_bytes(hashlib.blake2b(named, digest_size=8, salt=step.to_bytes(8, "big")).digest(), "big")
