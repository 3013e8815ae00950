"""Asking devices under an OSCORE key, with aiocoap's pipes: all that leaves is protected, nothing else comes in.

aiocoap's own transport does the same, but needs libraries of EDHOC that are of no use here, cannot end an
observation, and takes notifications in any order, so that an old one could be played back (RFC 8613, 7.4.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiocoap import Context as CoapContext
from aiocoap import error, interfaces
from aiocoap.numbers import codes
from aiocoap.pipe import Pipe

from adapters.coap.asking.questions import Question
from adapters.coap.security.not_secure import NotSecureError
from adapters.coap.security.oscore import OscoreKey, option_of
from adapters.coap.security.oscore_address import OscoreAddress

Refused = Callable[[str, Any, str], None]
"""Told of each message that was not taken: the reason, the message, the detail."""


def oscore_context(wire: CoapContext, key: OscoreKey, refused: Refused) -> Any:
    """A context whose requests all go out over ``wire`` under the key; it has no other way out.

    Shut it down before ``wire``.
    """
    context = CoapContext(loop=wire.loop, loggername=wire.log.name)
    context.request_interfaces.append(OscoreClient(wire, key, refused))
    return context


class OscoreClient(interfaces.RequestProvider):  # type: ignore[misc]  # aiocoap ships no types
    """The one transport of such a context."""

    def __init__(self, wire: CoapContext, key: OscoreKey, refused: Refused) -> None:
        self.wire = wire
        self.key = key
        self.refused = refused
        self._tasks: set[asyncio.Task[None]] = set()

    async def fill_or_recognize_remote(self, message: Any) -> bool:
        """Called by aiocoap; every request is for this transport."""
        if not isinstance(message.remote, OscoreAddress):
            message.remote = OscoreAddress(self.key, message.remote)
        return True

    def request(self, pipe: Any) -> None:
        """Called by aiocoap: answer on the pipe."""
        self.run(_Exchange(self, pipe))

    def run(self, exchange: _Exchange, echo: bytes | None = None) -> None:
        """Ask, or ask again with the server's Echo."""
        task = asyncio.create_task(exchange.ask(echo), name=f"coap ask under {self.key.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def shutdown(self) -> None:
        """Called by aiocoap; what was asked over the transport below ends with that."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Exchange:
    """One request, its response, and the notifications after it."""

    def __init__(self, client: OscoreClient, pipe: Any) -> None:
        self._client = client
        self._pipe = pipe
        self._request_id: Any = None
        self._stop: Callable[[], None] | None = None
        self._echoed = False
        self._answered = False
        self._number = -1
        """Of the last notification."""
        self._order = 0
        """Notifications so far."""
        pipe.on_interest_end(self._end)

    async def ask(self, echo: bytes | None) -> None:
        """Send the request; whatever fails becomes the answer."""
        try:
            await self._send(echo)
        except (error.Error, OSError, ValueError) as cause:
            self._fail(cause)

    async def _send(self, echo: bytes | None) -> None:
        key, wire, message = self._client.key, self._client.wire, self._pipe.request
        underlying = message.remote.underlying_address
        if echo is not None:
            message = message.copy(echo=echo)
        await key.ready()
        outer, self._request_id = key.protect(message)
        outer = _outside(self._pipe.request, outer)
        outer.remote = underlying
        below = Pipe(outer, wire.log)
        self._stop = below.on_event(self._on_event)
        interface = await wire.find_remote_and_interface(outer)
        interface.request(below)

    def _end(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _fail(self, cause: BaseException) -> None:
        self._end()
        self._pipe.add_exception(cause)

    def _on_event(self, event: Any) -> bool:
        """Called by aiocoap for each message or error; says whether more are wanted."""
        message = event.message
        if message is None:
            if event.exception is not None:
                self._pipe.add_exception(event.exception)
            return False
        try:
            plain = self._client.key.open_response(message, self._request_id)
        except NotSecureError as cause:
            self._client.refused("not-secure", message, str(cause))
            if self._answered:
                return True  # a forged notification does not end an observation
            self._pipe.add_exception(cause)
            return False
        if plain.code == codes.UNAUTHORIZED and plain.opt.echo is not None and not self._echoed:
            self._echoed = True
            self._stop = None
            self._client.run(self, plain.opt.echo)
            return False
        return self._deliver(message, plain, last=event.is_last)

    def _deliver(self, message: Any, plain: Any, *, last: bool) -> bool:
        number = option_of(message).number
        if self._answered and (number is None or number <= self._number):
            self._client.refused("replayed", message, "a notification that is not newer than the last")
            return not last
        if number is not None:
            self._number = number
        self._answered = True
        if plain.opt.observe is not None:
            plain.opt.observe = self._order & 0xFF_FFFF
            self._order += 1
        more = not last and plain.opt.observe is not None and plain.code.is_successful()
        plain.remote = OscoreAddress(self._client.key, message.remote)
        self._pipe.add_response(plain, is_last=not more)
        return more


def _outside(question: Any, protected: Any) -> Any:
    """The message to be sent; what is asked of the question inside, and done to it, is handed on."""
    outer = Question(code=protected.code, payload=protected.payload, transport_tuning=protected.transport_tuning)
    outer.opt = protected.opt
    outer.mtype = question.mtype
    if isinstance(question, Question):
        outer.on_ack = question.on_ack
        question.withdraw = lambda: outer.withdraw()  # noqa: PLW0108  # it gets one when it is sent
    return outer
