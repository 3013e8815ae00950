"""Being told of changes (RFC 7641): one registration with a device.

It sits on aiocoap's pipes, not on its ``async for``, which drops a notification when another comes before the
first was looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiocoap import error
from aiocoap.pipe import Pipe

from adapters.coap.exchange import Endpoint, ExchangeError, checked, failure

MAX_AGE_S = 60.0
"""How long a response counts as fresh when it does not say (RFC 7252, 5.10.5)."""


class Observation:
    """One registration with a device (RFC 7641), driven by aiocoap's pipe."""

    def __init__(self, endpoint: Endpoint, deliver: Callable[[Any], None], refresh_s: float) -> None:
        self._endpoint = endpoint
        self._deliver = deliver
        self._refresh_s = refresh_s
        self._loop = asyncio.get_running_loop()
        self._number: int | None = None
        self._numbered_at = 0.0
        self._stop: Callable[[], None] | None = None
        self.deadline = self._loop.time() + endpoint.timeout_s
        """When the next message must have come, in the loop's time."""
        self.observed = False
        """Whether the device said that it will notify."""
        self.answered = False
        self.partial: Any = None
        """A notification that is only the first block of its body."""
        self.failed: ExchangeError | None = None
        self.ended = False
        self.changed = asyncio.Event()
        """Set when one of the three above is, and at the first answer."""

    async def register(self, path: str) -> None:
        """Ask for notifications; the answer arrives like one.

        Raises:
            ExchangeError: the question could not be sent.
        """
        message = self._endpoint.message(path)
        message.opt.observe = 0
        context = self._endpoint.context
        pipe = Pipe(message, context.log)
        self._stop = pipe.on_event(self._on_event)
        try:
            interface = await context.find_remote_and_interface(message)
        except (error.Error, OSError, ValueError) as cause:
            raise failure(cause) from cause
        interface.request(pipe)

    def cancel(self) -> None:
        """Lose interest; the next notification will be answered with a reset."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _on_event(self, event: Any) -> bool:
        """Called by aiocoap for each message or error; says whether more are wanted."""
        message = event.message
        if message is None:
            if event.exception is not None:
                self._endpoint.forget()
                self.failed = failure(event.exception)
            self.ended = True
            self.changed.set()
            return False
        number = message.opt.observe
        if not self.answered:
            self.answered = True
            self.observed = number is not None
            self._endpoint.heard(message)
            self.changed.set()
        if number is None or self._is_news(number):
            self._take(message)
        if event.is_last or self.failed is not None:
            self.ended = True
            self.changed.set()
            return False
        return True

    def _is_news(self, number: int) -> bool:
        """The rule of RFC 7641, 3.4, for notifications that overtook each other."""
        last, now = self._number, self._loop.time()
        fresh = (
            last is None
            or (last < number and number - last < 1 << 23)
            or (last > number and last - number > 1 << 23)
            or now > self._numbered_at + 128
        )
        if fresh:
            self._number, self._numbered_at = number, now
        return fresh

    def _take(self, message: Any) -> None:
        try:
            checked(message)
        except ExchangeError as refusal:
            self.failed = refusal
            return
        max_age = message.opt.max_age
        # At least a second, so that Max-Age 0 ("do not cache") is no storm; the rest is for its way here.
        fresh_s = max(1.0, MAX_AGE_S if max_age is None else float(max_age)) * 1.25
        self.deadline = self._loop.time() + min(fresh_s, self._refresh_s)
        block = message.opt.block2
        if block is not None and block.more:
            self.partial = message
            self.changed.set()
        else:
            self._deliver(message)
