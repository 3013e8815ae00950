"""Against amplification: who sends a request with a false address gets a third of the answer (RFC 9175).

A request over UDP from an address that is not proven, whose answer would have more than three times its
bytes, hears 4.01 with an Echo value; who repeats the request with that value does receive at the address,
and is proven for some time. The value is a code over address and time, so that nothing is kept for those
who never come back.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from typing import Any, Final

from aiocoap.numbers import codes

from adapters.coap.options.serve import EchoUse
from adapters.coap.serving.refusal import RefusedError

AMPLIFICATION: Final = 3
PROVEN_S: Final = 600.0
MAX_PROVEN: Final = 4096
"""Addresses; beyond, those proven longest ago have to prove themselves again."""
FRESH_S: Final = 60.0
"""How long an Echo value can be given back."""
_TAG_BYTES: Final = 8
_TIME_BYTES: Final = 6


class EchoGuard:
    """Which addresses are proven, and which have to be."""

    def __init__(self, use: EchoUse) -> None:
        self._use = use
        self._secret = secrets.token_bytes(32)
        self._proven: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._proven)

    def check(self, message: Any, answer_bytes: int, now_s: float) -> None:
        """Let a request through, or ask for proof of its address.

        Args:
            message: the request.
            answer_bytes: what it would cause to be sent to its address, headers left out.
            now_s: the time on a clock that does not jump.

        Raises:
            RefusedError: 4.01 with an Echo value.
        """
        received = getattr(message, "received", None)
        if received is None:  # over TCP, or protected by OSCORE or DTLS
            return
        address = message.remote.hostinfo
        self._heard(address, message.opt.echo, now_s)
        if answer_bytes <= AMPLIFICATION * received.size or not self._is_asked(message.remote):
            return
        if self._proven.get(address, 0.0) <= now_s:
            raise RefusedError(codes.UNAUTHORIZED, echo=self._value(address, now_s))

    def _is_asked(self, remote: Any) -> bool:
        match self._use:
            case EchoUse.NEVER:
                return False
            case EchoUse.ALWAYS:
                return True
            case EchoUse.AUTO:
                return ipaddress.ip_address(remote.sockaddr[0].split("%")[0].removeprefix("::ffff:")).is_global

    def _heard(self, address: str, value: bytes | None, now_s: float) -> None:
        if value is None or len(value) != _TIME_BYTES + _TAG_BYTES:
            return
        made_s = int.from_bytes(value[:_TIME_BYTES], "big") / 1000
        if not 0 <= now_s - made_s <= FRESH_S or not hmac.compare_digest(value, self._value(address, made_s)):
            return
        self._proven[address] = now_s + PROVEN_S
        self._proven.move_to_end(address)
        if len(self._proven) > MAX_PROVEN:
            self._proven.popitem(last=False)

    def _value(self, address: str, now_s: float) -> bytes:
        """Milliseconds of our clock (6 bytes) and a code over them and the address (8 bytes)."""
        made = round(now_s * 1000).to_bytes(_TIME_BYTES, "big")
        tag = hashlib.blake2b(made + address.encode(), key=self._secret, digest_size=_TAG_BYTES)
        return made + tag.digest()
