"""The message layer (RFC 7252, 4), hardened: what is remembered of peers has a bound.

aiocoap 0.4.17 remembers each request and its response for 247 s, without a bound and with a timer each;
takes every message with a Message ID of that time for a repetition, also one with other content (a device
that starts its IDs anew when it restarts); and does not notice a reset that answers a non-confirmable
notification, which ends an observation (RFC 7641, 3.6).
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from aiocoap import Context as CoapContext
from aiocoap import Message
from aiocoap.message import Direction
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.types import ACK, CON, NON, RST
from aiocoap.tokenmanager import TokenManager

LIFETIME_S: Final = 247.0
"""EXCHANGE_LIFETIME: so long may a message be under way and be repeated (RFC 7252, 4.8.2)."""
MAX_RECENT: Final = 32_768
"""Requests remembered; beyond, the oldest are forgotten before their time."""
MAX_NOTIFIED: Final = 4_096
"""Non-confirmable notifications whose reset would be understood."""
MAX_OPTIONS: Final = 64
"""Options of one message; aiocoap's time for reading them grows with the square of their number."""


class Received(NamedTuple):
    """What a message was on the wire; kept as its attribute ``received``."""

    size: int
    """Bytes."""
    checksum: int
    """CRC-32 of all its bytes, its Message ID and token too: a repetition is the same bytes."""

    @classmethod
    def of(cls, data: bytes) -> Received:
        """That of a datagram."""
        return cls(len(data), zlib.crc32(data))


class _Recent(NamedTuple):
    until_s: float
    checksum: int
    response: bytes
    """As it was sent; empty while there is none."""


def few_options(data: bytes) -> bool:
    """Whether a datagram has at most :data:`MAX_OPTIONS` options; does not judge anything else."""
    if len(data) <= 4 + MAX_OPTIONS:
        return True  # an option takes a byte
    at, count = 4 + (data[0] & 15 if data else 0), 0
    while at < len(data) and data[at] != 0xFF:
        delta, length = data[at] >> 4, data[at] & 15
        at += 1 + (0, 1, 2)[max(0, min(delta, 14) - 12)]
        if length == 13:
            length = 13 + (data[at] if at < len(data) else 0)
            at += 1
        elif length == 14:
            length = 269 + int.from_bytes(data[at : at + 2], "big")
            at += 2
        at += length
        count += 1
        if count > MAX_OPTIONS:
            return False
    return True


class Messages(MessageManager):  # type: ignore[misc]  # aiocoap ships no types
    """aiocoap's message layer, with bounds."""

    def __init__(self, token_manager: Any) -> None:
        super().__init__(token_manager)
        self._recent: OrderedDict[tuple[Any, int], _Recent] = OrderedDict()
        self._notified: OrderedDict[tuple[Any, int], Any] = OrderedDict()

    def busy(self, remote: Any) -> bool:
        """Whether a confirmable message to a peer waits for its acknowledgement; others would queue behind it."""
        return remote in self._backlogs

    def _deduplicate_message(self, message: Any) -> bool:
        """Whether a request is a repetition; if so, what was answered is sent again."""
        now_s = self.loop.time()
        while self._recent and next(iter(self._recent.values())).until_s <= now_s:
            self._recent.popitem(last=False)
        key = message.remote, message.mid
        received = getattr(message, "received", None)
        checksum = received.checksum if received is not None else 0
        known = self._recent.get(key)
        if known is not None and known.checksum == checksum:
            if message.mtype is CON and known.response:
                again = Message.decode(known.response, message.remote.as_response_address())
                again.direction = Direction.OUTGOING
                self.message_interface.send(again)
            return True
        self._recent[key] = _Recent(now_s + LIFETIME_S, checksum, b"")
        self._recent.move_to_end(key)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        return False

    def _store_response_for_duplicates(self, message: Any) -> None:
        known = self._recent.get((message.remote, message.mid))
        if known is not None and message.mtype in {ACK, RST}:  # all others have a Message ID of our own
            self._recent[message.remote, message.mid] = known._replace(response=message.encode())

    def _send_initially(self, message: Any, messageerror_monitor: Any = None) -> None:
        if message.mtype is NON and message.opt.observe is not None and messageerror_monitor is not None:
            self._notified[message.remote, message.mid] = messageerror_monitor
            if len(self._notified) > MAX_NOTIFIED:
                self._notified.popitem(last=False)
        super()._send_initially(message, messageerror_monitor)

    def _remove_exchange(self, message: Any) -> None:
        stop = self._notified.pop((message.remote, message.mid), None) if message.mtype is RST else None
        if stop is not None:
            stop()
        else:
            super()._remove_exchange(message)


async def attach(
    context: CoapContext, interface: Any, layer: type[Messages] = Messages, token_manager: Any = TokenManager
) -> Messages:
    """Give a context a transport: the coroutine function ``interface`` makes it for its message ``layer``.

    aiocoap has no public way to do that.
    """
    tokens = token_manager(context)
    messages = layer(tokens)
    messages.message_interface = await interface(messages)
    tokens.token_interface = messages
    context.request_interfaces.append(tokens)
    return messages


def is_busy(context: CoapContext, remote: Any) -> bool:
    """Whether a peer has yet to acknowledge something that was sent to it over UDP."""
    address = getattr(remote, "underlying_address", remote)  # OSCORE wraps addresses
    layers = (getattr(interface, "token_interface", None) for interface in context.request_interfaces)
    return any(isinstance(layer, Messages) and layer.busy(address) for layer in layers)
