"""Observers of what the server offers (RFC 7641): who they are, and when they are told.

Each has the task that aiocoap runs for its request; it ends when the observer resets a notification, does not
acknowledge one, or asks without Observe. At most one confirmable notification is under way to a peer; what
changes meanwhile is in the next one, so that a slow peer gets the latest state and no queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiocoap import Context as CoapContext
from aiocoap import Reliable
from aiocoap.numbers.types import CON

from adapters.coap.messages import is_busy
from adapters.coap.serving.offers import Offer, Offered
from adapters.coap.serving.refusal import RefusedError
from adapters.coap.serving.representation import Representation, Transfers

CONFIRM_S: Final = 60.0
"""How often an observer that registered without confirmation has to acknowledge a notification."""
LOOK_S: Final = 0.1
"""How often to look whether a peer has acknowledged."""


class _Observer:
    __slots__ = ("news", "offered")

    def __init__(self, offered: Offered) -> None:
        self.offered = offered
        self.news = asyncio.Event()


class Observers:
    """All observers of one server."""

    def __init__(self, transfers: Transfers) -> None:
        self._transfers = transfers
        self._of: dict[Offer, set[_Observer]] = {}
        self._shared: dict[Offer, dict[tuple[Offered, int | None], Representation]] = {}
        self._context: CoapContext | None = None
        self._number = 1

    def attach(self, context: CoapContext) -> None:
        """The server's context."""
        self._context = context

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def has_room(self, offer: Offer) -> bool:
        """Whether one more may observe it."""
        return len(self._of.get(offer, ())) < offer.options.max_observers

    def tell(self, offer: Offer, names: set[str]) -> None:
        """These points have changed."""
        self._shared.pop(offer, None)
        for observer in self._of.get(offer, ()):
            if observer.offered.concerns(names):
                observer.news.set()

    async def serve(self, pipe: Any, message: Any, offered: Offered, check: Callable[[Representation], None]) -> None:
        """Answer a registration and then notify; returns when the resource cannot be given any more.

        Raises:
            RefusedError: there is nothing to observe; ``check`` raises it too.
        """
        observer = _Observer(offered)
        first = offered.offer.represent(offered, message.opt.accept)
        check(first)
        self._of.setdefault(offered.offer, set()).add(observer)
        try:
            pipe.add_response(self._notification(message, first), is_last=False)
            await self._notify(pipe, message, observer)
        finally:
            self._of[offered.offer].discard(observer)

    async def _notify(self, pipe: Any, message: Any, observer: _Observer) -> None:
        loop = asyncio.get_running_loop()
        confirmed_s = loop.time()
        while True:
            await _news(observer, observer.offered.offer.options.max_age)
            await self._acknowledged(message.remote)
            observer.news.clear()
            try:
                response = self._notification(message, self._represent(observer.offered, message.opt.accept))
            except RefusedError as refusal:  # any answer but 2.xx ends an observation (RFC 7641, 4.2)
                pipe.add_response(refusal.message(), is_last=True)
                return
            if message.mtype is not CON and loop.time() - confirmed_s >= CONFIRM_S:
                response.transport_tuning = Reliable
                confirmed_s = loop.time()
            pipe.add_response(response, is_last=False)

    async def _acknowledged(self, remote: Any) -> None:
        """Wait for the answer to what was sent to a peer before; a peer that does not answer is given up."""
        while self._context is not None and is_busy(self._context, remote):  # noqa: ASYNC110  # aiocoap has no event
            await asyncio.sleep(LOOK_S)

    def _represent(self, offered: Offered, accept: int | None) -> Representation:
        """One representation for all who observe the same."""
        shared = self._shared.setdefault(offered.offer, {})
        found = shared.get((offered, accept))
        if found is None:
            found = shared[offered, accept] = offered.offer.represent(offered, accept)
        return found

    def _notification(self, message: Any, found: Representation) -> Any:
        response = self._transfers.answer(message, found, asyncio.get_running_loop().time())
        self._number = (self._number + 1) & 0xFFFFFF
        response.opt.observe = self._number
        return response


async def _news(observer: _Observer, max_age_s: float) -> None:
    """Wait for a change, or until what the observer has is not fresh any more."""
    try:
        async with asyncio.timeout(max_age_s):
            await observer.news.wait()
    except TimeoutError:
        return
