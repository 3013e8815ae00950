"""Questions to one CoAP server, each a GET for a whole body. Foreign errors are mapped here.

Block-wise answers (RFC 7959) are put together here, with a bound that aiocoap's own assembly lacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiocoap import CONTENT, GET, Context, Message, error
from aiocoap.numbers.constants import TransportTuning

from gateway.quality import Reason

MAX_BODY = 65_536
"""The largest body that a device may send in blocks, bytes."""

_REASONS = {
    (4, 1): Reason.REFUSED,
    (4, 3): Reason.REFUSED,
    (4, 4): Reason.NOT_FOUND,
    (4, 5): Reason.REFUSED,
    (5, 0): Reason.DEVICE_FAILURE,
    (5, 1): Reason.NOT_IMPLEMENTED,
    (5, 2): Reason.GATEWAY_TARGET_FAILED,
    (5, 3): Reason.DEVICE_BUSY,
    (5, 4): Reason.GATEWAY_TARGET_FAILED,
    (5, 5): Reason.GATEWAY_PATH_UNAVAILABLE,
}


class ExchangeError(Exception):
    """A question got no usable answer."""

    def __init__(self, reason: Reason, detail: str, *, away: bool = False) -> None:
        self.reason = reason
        self.away = away
        """Whether nothing at all was heard from the device."""
        super().__init__(detail)


def no_answer() -> ExchangeError:
    """The device kept silent for its timeout."""
    return ExchangeError(Reason.TIMEOUT, "no answer", away=True)


def checked(message: Any) -> Any:
    """The message itself, if it is a 2.05 Content.

    Raises:
        ExchangeError: it is another answer.
    """
    if message.code == CONTENT:
        return message
    code = message.code
    reason = _REASONS.get((code.class_, code & 0x1F))
    if reason is None:
        reason = Reason.MALFORMED_ANSWER if code.is_successful() else Reason.OTHER_EXCEPTION
    detail = message.payload[:100].decode("utf-8", "replace")
    raise ExchangeError(reason, f"{code} {detail}".rstrip())


def failure(cause: BaseException | type[BaseException]) -> ExchangeError:
    """Aiocoap's errors in our words; it hands out some as classes."""
    text = str(cause) or (cause.__name__ if isinstance(cause, type) else type(cause).__name__)
    kind = cause if isinstance(cause, type) else type(cause)
    if issubclass(kind, error.TimeoutError):
        return no_answer()
    if issubclass(kind, error.MessageError):
        return ExchangeError(Reason.REFUSED, "the device answers with a reset")
    if issubclass(kind, (error.NetworkError, error.LibraryShutdown, OSError)):
        return ExchangeError(Reason.LINK_DOWN, text, away=True)
    return ExchangeError(Reason.MALFORMED_ANSWER, text)


def tuning(timeout_s: float) -> TransportTuning:
    """Retransmission so that an exchange is over when the time is.

    aiocoap asks a device one thing at a time and cannot take back what it sends: an exchange that outlived
    its question would hold up all later ones. RFC 7252 gives up after 3 s times 2**(n+1) - 1 for n
    retransmissions; n is the largest that fits, and below 3 s there is none.
    """
    result = TransportTuning()
    result.MAX_RETRANSMIT = max((n for n in range(1, 5) if 3 * (2 ** (n + 1) - 1) <= timeout_s), default=0)
    if result.MAX_RETRANSMIT == 0:
        result.ACK_TIMEOUT = timeout_s / result.ACK_RANDOM_FACTOR
    return result


class Endpoint:
    """One CoAP server, asked through the context that all devices share."""

    def __init__(self, context: Context, url: str, timeout_s: float) -> None:
        self.context = context
        self.timeout_s = timeout_s
        self._url = url.rstrip("/")
        self._tuning = tuning(timeout_s)
        self._remote: Any = None

    def message(self, path: str) -> Any:
        """A GET of ``path``, addressed to where the last answer came from."""
        message = Message(code=GET, uri=self._url + path, transport_tuning=self._tuning)
        if self._remote is not None:
            message.remote = self._remote
        return message

    def heard(self, message: Any) -> None:
        """Remember the address, which saves looking the name up again."""
        self._remote = message.remote

    def forget(self) -> None:
        """Look the name up again, because nobody answered at the address."""
        self._remote = None

    async def get(self, path: str) -> Any:
        """The representation, all blocks of it.

        Raises:
            ExchangeError: no answer in time, or not 2.05 Content.
        """
        async with _deadline(self.timeout_s):
            return await self._complete(path, await self._ask(self.message(path)))

    async def complete(self, path: str, first: Any) -> Any:
        """The rest of a body whose first block is here.

        Raises:
            ExchangeError: as :meth:`get`.
        """
        async with _deadline(self.timeout_s):
            return await self._complete(path, first)

    async def _ask(self, message: Any) -> Any:
        try:
            response = await self.context.request(message, handle_blockwise=False).response
        except (error.Error, OSError) as cause:
            self.forget()
            raise failure(cause) from cause
        self.heard(response)
        return checked(response)

    async def _complete(self, path: str, first: Any) -> Any:
        block = first.opt.block2
        if block is None or (block.block_number == 0 and not block.more):
            return first
        body = bytearray(first.payload)
        while block.more:
            if len(body) % block.size or len(body) >= MAX_BODY or block.size_exponent > 6:
                raise ExchangeError(Reason.MALFORMED_ANSWER, f"a body breaks off at {len(body)} bytes")
            message = self.message(path)
            message.opt.block2 = (len(body) // block.size, False, block.size_exponent)
            part = await self._ask(message)
            block = part.opt.block2
            if block is None or block.start != len(body) or part.opt.etag != first.opt.etag:
                raise ExchangeError(Reason.MALFORMED_ANSWER, "it changed while its blocks were read")
            body += part.payload
        first.payload = bytes(body)
        return first


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    """``asyncio.timeout`` in our words."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as cause:
        raise no_answer() from cause
