"""One client as the server asks it: from the server's own socket, to the address that it registered from.

Clients behind a NAT can be reached at the address and port only that their registration came from, and only
from the port that it went to. How the asking side of the adapter goes about it (:mod:`adapters.coap.asking.exchange`,
:mod:`adapters.coap.asking.observation`) does not fit: an observation here lives as long as its registration does, and
is not renewed while nothing changes, which would wake up what sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiocoap import GET, PUT, Message, error
from aiocoap.numbers.constants import TransportTuning
from aiocoap.pipe import Pipe

from adapters.coap.asking.exchange import ExchangeError, checked, failure, no_answer
from adapters.coap.directory.links import Link, parse_links
from adapters.coap.lwm2m.contents import LINKS
from gateway.quality import Reason

MAX_BODY: Final = 65_536
"""The largest body that a client may send in blocks, bytes."""
_FIRST_WAIT_S: Final = 3.0
"""The longest wait before the first retransmission (RFC 7252: 2 s, times up to 1.5)."""


def tuning(timeout_s: float) -> TransportTuning:
    """Retransmission so that an exchange is over when the time is.

    aiocoap asks an address one thing at a time: an exchange that outlived its question would hold up all later
    ones. RFC 7252 gives up after 3 s times 2**(n+1) - 1 for n retransmissions; n is the largest that fits.
    """
    result = TransportTuning()
    fitting = (n for n in range(1, 5) if _FIRST_WAIT_S * (2 ** (n + 1) - 1) <= timeout_s)
    result.MAX_RETRANSMIT = max(fitting, default=0)
    if result.MAX_RETRANSMIT == 0:
        result.ACK_TIMEOUT = timeout_s / result.ACK_RANDOM_FACTOR
    return result


class _Place(NamedTuple):
    remote: Any
    """aiocoap's address; None as long as only its text is known."""
    address: str


class Peer:
    """Requests to one client."""

    def __init__(self, context: Any, address: str, timeout_s: float, root: str, accept: int | None) -> None:
        self.context = context
        self.timeout_s = timeout_s
        self.root = root
        """Path in front of all objects."""
        self.accept = accept
        """The Content-Format asked for; None leaves it to the client."""
        self._at = _Place(None, address)
        self._other: _Place | None = None
        self._tuning = tuning(timeout_s)

    @property
    def address(self) -> str:
        """Where it is asked: ``coap://10.0.0.9:56830``."""
        return self._at.address

    def is_at(self, address: str) -> bool:
        """Whether it was heard from there last, or listens there."""
        return address == self._at.address or (self._other is not None and address == self._other.address)

    def found(self, remote: Any, address: str) -> None:
        """It was heard from there, and that is where it was."""
        self._at = _Place(remote, address)

    def moved(self, remote: Any, address: str) -> None:
        """It is heard from there now, and asked there; it may be that it still listens where it was."""
        self._at, self._other = _Place(remote, address), self._at

    def also(self, remote: Any, address: str) -> None:
        """It is heard from there, but has another place where it listens."""
        self._other = _Place(remote, address)

    def swap(self) -> bool:
        """Ask it at its other place, if it has one."""
        if self._other is None:
            return False
        self._at, self._other = self._other, self._at
        return True

    def message(self, path: str, *, code: Any = GET, query: str = "", accept: int | None = None) -> Any:
        """A request; ``path`` is that of an object."""
        uri = f"{self._at.address}{self.root}{path}" + (f"?{query}" if query else "")
        message = Message(code=code, uri=uri, transport_tuning=self._tuning)
        message.opt.accept = accept
        if self._at.remote is not None:
            message.remote = self._at.remote
        return message

    async def get(self, path: str) -> Any:
        """The representation, all blocks of it.

        Raises:
            ExchangeError: no answer in time, or not 2.05.
        """
        async with self._deadline():
            return await self._whole(path, checked(await self._once(self.message(path, accept=self.accept))))

    async def complete(self, path: str, first: Any) -> Any:
        """The rest of a body whose first block is here.

        Raises:
            ExchangeError: as :meth:`get`.
        """
        async with self._deadline():
            return await self._whole(path, first)

    async def write_attributes(self, path: str, query: str) -> None:
        """Write ``pmin=1&pmax=60`` and the like.

        Raises:
            ExchangeError: no answer, or not 2.04.
        """
        async with self._deadline():
            answer = await self._once(self.message(path, code=PUT, query=query))
        if not answer.code.is_successful():
            checked(answer)

    async def discover(self, path: str) -> list[Link]:
        """What is below a path, as the client lists it.

        Raises:
            ExchangeError: no answer, or not 2.05.
            PayloadError: it is not in the link format.
        """
        async with self._deadline():
            answer = await self._whole(path, checked(await self._once(self.message(path, accept=LINKS))), LINKS)
        return parse_links(answer.payload)

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.timeout_s):
                yield
        except TimeoutError as cause:
            raise no_answer() from cause

    async def _once(self, message: Any) -> Any:
        try:
            return await self.context.request(message, handle_blockwise=False).response
        except TimeoutError:
            raise
        except (error.Error, OSError, ValueError) as cause:
            raise failure(cause) from cause

    async def _whole(self, path: str, first: Any, accept: int | None = None) -> Any:
        """Put the blocks of an answer together (RFC 7959)."""
        block = first.opt.block2
        if block is None or (block.block_number == 0 and not block.more):
            return first
        body = bytearray(first.payload)
        while block.more:
            if not body or len(body) % block.size or len(body) >= MAX_BODY or block.size_exponent > 6:
                raise ExchangeError(Reason.MALFORMED_ANSWER, f"a body breaks off at {len(body)} bytes")
            message = self.message(path, accept=accept or self.accept)
            message.opt.block2 = (len(body) // block.size, False, block.size_exponent)
            part = checked(await self._once(message))
            block = part.opt.block2
            if block is None or block.start != len(body) or part.opt.etag != first.opt.etag:
                raise ExchangeError(Reason.MALFORMED_ANSWER, "it changed while its blocks were read")
            body += part.payload
        first.payload = bytes(body)
        return first


class Report:
    """One observation (RFC 7641) of a client's path, on aiocoap's pipe.

    Its state is read on ``news``, an event that all of a client's share.
    """

    def __init__(self, peer: Peer, path: str, deliver: Callable[[Any], None], news: asyncio.Event) -> None:
        self._peer = peer
        self._path = path
        self._deliver = deliver
        self._news = news
        self._answered = asyncio.Event()
        self._stop: Callable[[], None] | None = None
        self._number = -1
        self._numbered_s = 0.0
        self.observed = False
        """Whether the client notifies; if not, its answer was a mere value."""
        self.partial: Any = None
        """A notification that is only the first block of its body."""
        self.failed: ExchangeError | None = None
        self.ended = False

    async def begin(self) -> None:
        """Ask for notifications; the first answer, which is delivered like all others, has come on return.

        Raises:
            ExchangeError: no answer in time, or not 2.05.
        """
        message = self._peer.message(self._path, accept=self._peer.accept)
        message.opt.observe = 0
        context = self._peer.context
        pipe = Pipe(message, context.log)
        self._stop = pipe.on_event(self._on_event)
        try:
            async with asyncio.timeout(self._peer.timeout_s):
                (await context.find_remote_and_interface(message)).request(pipe)
                await self._answered.wait()
        except TimeoutError as cause:
            self.cancel()
            raise no_answer() from cause
        except (error.Error, OSError, ValueError) as cause:
            self.cancel()
            raise failure(cause) from cause
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.failed is not None:
            self.cancel()
            raise self.failed

    def cancel(self) -> None:
        """Lose interest; the next confirmable notification will be answered with a reset."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _on_event(self, event: Any) -> bool:
        """Called by aiocoap for each message or error; says whether more are wanted."""
        message = event.message
        if message is None:
            lost = failure(event.exception) if event.exception is not None else None
            self.failed = lost or ExchangeError(Reason.LINK_DOWN, "the client ended the observation")
        else:
            self._take(message)
        self.ended = message is None or event.is_last or self.failed is not None
        self._answered.set()
        if self.ended:
            self._news.set()
        return not self.ended

    def _take(self, message: Any) -> None:
        number = message.opt.observe
        if number is not None and not self._is_newer(number & 0xFFFFFF):
            return
        try:
            checked(message)
        except ExchangeError as refusal:
            self.failed = refusal
            return
        self.observed = number is not None
        block = message.opt.block2
        if block is not None and block.more:
            self.partial = message
            self._news.set()
        else:
            self._deliver(message)

    def _is_newer(self, number: int) -> bool:
        """The rule of RFC 7641, 3.4, for notifications that overtook each other."""
        now_s, last = asyncio.get_running_loop().time(), self._number
        newer = last < 0 or 0 < (number - last) % (1 << 24) < 1 << 23 or now_s > self._numbered_s + 128
        if newer:
            self._number, self._numbered_s = number, now_s
        return newer
