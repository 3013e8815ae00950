"""Being told of changes (RFC 7641): one registration with a device.

It sits on aiocoap's pipes, not on its ``async for``, which drops a notification when another comes before the
first was looked at, and which judges the order also over TCP, where the number means nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiocoap.numbers.types import ACK, NON

from adapters.coap.asking.exchange import Endpoint, ExchangeError, checked, failure
from adapters.coap.asking.questions import Question
from gateway.quality import Reason

MAX_AGE_S: Final = 60.0
"""How long a response counts as fresh when it does not say (RFC 7252, 5.10.5)."""
GRACE: Final = 1.25
"""The share of Max-Age that a notification may be late, for its way here."""
WINDOW: Final = 1 << 23
RESET_S: Final = 128.0
_REGISTER: Final = 0
_DEREGISTER: Final = 1


class Order:
    """Which notification is newer than those before (RFC 7641, 3.4): by number, of 24 bits, and by time."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._at_s = 0.0

    def start(self, number: int, now_s: float) -> None:
        """The device has numbered anew, or for the first time."""
        self._number, self._at_s = number & 0xFFFFFF, now_s

    def is_news(self, number: int, now_s: float) -> bool:
        """Whether what arrives now with ``number`` is newer than all before."""
        last, number = self._number, number & 0xFFFFFF
        fresh = (
            last is None
            or (last < number and number - last < WINDOW)
            or (last > number and last - number > WINDOW)
            or now_s > self._at_s + RESET_S
        )
        if fresh:
            self.start(number, now_s)
        return fresh


def fresh_s(message: Any, refresh_s: float) -> float:
    """How long to wait for news after ``message`` before asking again.

    Its Max-Age and a quarter; at least 1.25 s, so that Max-Age 0 ("do not cache") is no storm; at most
    ``refresh_s``.
    """
    max_age = message.opt.max_age
    if max_age is None or max_age >= 1 << 32:  # longer than four bytes: not valid, and to be ignored
        max_age = MAX_AGE_S
    return min(max(1.0, float(max_age)) * GRACE, refresh_s)


class Observation:
    """One registration with a device, driven by aiocoap's pipe.

    A registration that has grown old is renewed with its own token, so that the device updates it instead of
    adding another one (3.3.1), and ended with a word to the device when nobody wants it any more (3.6).
    """

    def __init__(self, endpoint: Endpoint, path: str, deliver: Callable[[Any], None], refresh_s: float) -> None:
        self._endpoint = endpoint
        self._path = path
        self._deliver = deliver
        self._refresh_s = refresh_s
        self._loop = asyncio.get_running_loop()
        self._order = Order()
        self._stop: Callable[[], None] | None = None
        self._first: Question | None = None
        self._asked: Question | None = None
        """The registration that waits for its answer."""
        self._heard = asyncio.Event()
        self._wake = asyncio.Event()
        self._partial: Any = None
        """A notification that is only the first block of its body."""
        self._failed: ExchangeError | None = None
        self._taken = self._delivered = 0
        self._deadline = 0.0
        self.observed = False
        """Whether the device notifies."""
        self.heard_s = 0.0
        """When the last message came, in the loop's time."""
        self.fresh_s = refresh_s
        """How long that is good for."""

    async def run(self) -> None:
        """Register and keep it so; returns if the device does not notify (any more), but has answered.

        Raises:
            ExchangeError: it was refused or lost.
        """
        try:
            await self._register()
            while True:
                if self._failed is not None:
                    raise self._failed
                if self._partial is not None:
                    await self._fetch()
                elif not self.observed:
                    return
                elif self._loop.time() >= self._deadline:
                    await self._renew()
                else:
                    await self._news()
        finally:
            self.cancel()

    def doubt(self) -> None:
        """The device may have forgotten us: renew at once."""
        self._deadline = 0.0
        self._wake.set()

    def cancel(self) -> None:
        """Lose interest, and tell the device."""
        if self._stop is None:
            return
        self._stop()
        self._stop = None
        if self.observed and self._failed is None:
            goodbye = self._again(_DEREGISTER)
            if goodbye is not None:
                goodbye.mtype = NON  # nobody waits for the answer
                goodbye.sender.send_message(goodbye, self._reset)

    async def _register(self) -> None:
        question = self._asked = self._first = self._endpoint.question(self._path)
        question.opt.observe = _REGISTER
        async with self._endpoint.asking(question):
            self._stop = await self._endpoint.send(question, self._on_event)
            await self._answer()

    async def _renew(self) -> None:
        question = self._again(_REGISTER)
        if question is None:  # a transport that chooses tokens by itself (OSCORE): another registration
            self.cancel()
            self._order, self.observed = Order(), False
            self._heard.clear()
            await self._register()
            return
        self._asked = question
        self._heard.clear()
        try:
            async with self._endpoint.asking(question):
                question.sender.send_message(question, self._reset)
                await self._answer()
        except ExchangeError as lost:
            self._failed = lost
            raise

    async def _answer(self) -> None:
        await self._heard.wait()
        if self._failed is not None:
            raise self._failed

    def _again(self, observe: int) -> Question | None:
        """The registration once more, with the same token; None if its transport has none that we may choose."""
        if self._first is None or self._first.sender is None:
            return None
        question = self._endpoint.question(self._path)
        question.opt.observe = observe
        question.remote, question.token = self._first.remote, self._first.token
        question.sender = self._first.sender
        return question

    def _reset(self) -> None:
        self._fail(ExchangeError(Reason.REFUSED, "the device answers with a reset"))

    def _fail(self, failed: ExchangeError) -> None:
        self._failed = failed
        self._heard.set()
        self._wake.set()

    async def _news(self) -> None:
        """Wait until there is something to do, or the deadline."""
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._wake.wait()
        except TimeoutError:
            return  # a notification may have moved the deadline
        self._wake.clear()

    async def _fetch(self) -> None:
        """The rest of a notification; not delivered if a newer one was meanwhile."""
        first, self._partial, taken = self._partial, None, self._taken
        whole = await self._endpoint.complete(self._path, first)
        if taken > self._delivered:
            self._delivered = taken
            self._deliver(whole)

    def _on_event(self, event: Any) -> bool:
        """Called by aiocoap for each message or error; says whether more are wanted."""
        message = event.message
        if message is None:
            failed = failure(event.exception) if event.exception is not None else None
            self._fail(failed or ExchangeError(Reason.LINK_DOWN, "the device ended the observation"))
            return False
        now_s = self.heard_s = self._loop.time()
        self._endpoint.heard(message)
        number = message.opt.observe
        if number is None:
            news = True
        elif self._answers(message):
            self._asked = None
            self._order.start(number, now_s)
            news = True
        else:
            news = self._endpoint.in_order or self._order.is_news(number, now_s)
        self.observed = number is not None and not event.is_last
        if news:
            self._take(message, now_s)
        self._heard.set()
        if not self.observed or self._failed is not None:
            self._wake.set()
        return self.observed and self._failed is None

    def _answers(self, message: Any) -> bool:
        """Whether it is certainly the answer to the last registration, and so newer than all before."""
        return self._asked is not None and message.mtype is ACK and message.mid == self._asked.mid

    def _take(self, message: Any, now_s: float) -> None:
        try:
            checked(message)
        except ExchangeError as refusal:
            self._failed = refusal
            return
        self.fresh_s = fresh_s(message, self._refresh_s)
        self._deadline = now_s + self.fresh_s
        self._taken += 1
        block = message.opt.block2
        if block is not None and block.more:
            self._partial = message
            self._wake.set()
        else:
            self._partial = None
            self._delivered = self._taken
            self._deliver(message)
