"""The asking side of the message layer: requests that can be taken back, and random tokens.

What aiocoap 0.4.17 does by itself: one confirmable message at a time to an address (NSTART of 1, RFC 7252,
4.7), the others queue; retransmission with growing waits (4.2). What it does not, and this does:

* a question that nobody waits for any more is taken back: out of the queue, or not sent again;
* an answer that comes although its acknowledgement was lost ends the retransmission (5.2.2);
* who asks is told of the acknowledgement, so that a slow answer holds up nobody;
* tokens cannot be guessed (5.3.1);
* requests that come to a client are rejected without a trace, and so are non-confirmable notifications
  of a registration that is over (RFC 7641, 3.6).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from aiocoap import Message
from aiocoap.numbers.codes import EMPTY
from aiocoap.numbers.types import CON, NON, RST
from aiocoap.tokenmanager import TokenManager

from adapters.coap.messages import Messages

TOKEN_BYTES: Final = 4
"""32 bits of chance, what RFC 7252, 5.3.1, asks for."""


_EMPTY: Final = struct.Struct("!BBH")
_ACK: Final = 0x60
"""Version 1, an acknowledgement, no token."""


def _nothing() -> None:
    """For a question that is not under way."""


class Question(Message):  # type: ignore[misc]  # aiocoap ships no types
    """A request whose acknowledgement is told, and that can be taken back."""

    on_ack: Callable[[], None] = staticmethod(_nothing)
    """Called when the device has acknowledged it; a reset and a piggybacked answer are that too."""
    withdraw: Callable[[], None] = staticmethod(_nothing)
    """Takes it back; harmless once it was acknowledged."""
    sender: Any = None
    """What sent it, and can send another one with its token; None where a transport chooses tokens by itself."""


class RandomTokens(TokenManager):  # type: ignore[misc]
    """aiocoap's tokens count up from a number below 65,536."""

    def next_token(self) -> bytes:
        """A token that nobody can guess."""
        return os.urandom(TOKEN_BYTES)


class _Monitor:
    """What aiocoap calls when a message is reset; here it also says which message that is."""

    __slots__ = ("question", "reset")

    def __init__(self, question: Question, reset: Callable[[], None]) -> None:
        self.question = question
        self.reset = reset

    def __call__(self) -> None:
        self.reset()


class Asking(Messages):
    """The message layer of a client."""

    def dispatch_message(self, message: Any) -> None:
        """Called by the transport for each message."""
        if message.code.is_request():  # nobody asks a client
            if message.mtype is CON:
                self._reject(message)
            return
        super().dispatch_message(message)

    def _reject(self, message: Any) -> None:
        if message.remote.is_multicast_locally:
            return
        reset = Message(code=EMPTY, _mtype=RST, _mid=message.mid)
        reset.remote = message.remote.as_response_address()
        self._send_initially(reset)

    def _process_response(self, response: Any) -> bool:
        known = bool(super()._process_response(response))
        if not known and response.mtype is NON and response.opt.observe is not None:
            self._reject(response)
        return known

    def send_message(self, message: Any, messageerror_monitor: Any) -> None:
        """Called by aiocoap to send anything."""
        if isinstance(message, Question):
            messageerror_monitor = _Monitor(message, messageerror_monitor)
            message.withdraw = partial(self._withdraw, message)
        super().send_message(message, messageerror_monitor)

    def _withdraw(self, question: Question) -> None:
        if self._active_exchanges is None:
            return  # shut down
        waiting = self._backlogs.get(question.remote, [])
        for entry in waiting:
            if entry[0] is question:
                waiting.remove(entry)
                return
        key = question.remote, question.mid
        monitor, timer = self._active_exchanges.get(key, (None, None))
        if isinstance(monitor, _Monitor) and monitor.question is question:
            timer.cancel()
            del self._active_exchanges[key]
            self._continue_backlog(question.remote)

    def _send_empty_ack(self, remote: Any, mid: int, reason: str) -> None:
        """Acknowledge; for a notification without the message that aiocoap would make for four bytes."""
        send = getattr(self.message_interface, "send_bytes", None)
        if send is None or (remote, mid) in self._recent:  # of a request it is kept, for its repetitions
            super()._send_empty_ack(remote, mid, reason)
        else:
            send(_EMPTY.pack(_ACK, 0, mid), remote.as_response_address())

    def _remove_exchange(self, message: Any) -> None:
        monitor, _ = self._active_exchanges.get((message.remote, message.mid), (None, None))
        super()._remove_exchange(message)
        if isinstance(monitor, _Monitor):
            monitor.question.on_ack()
