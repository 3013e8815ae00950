"""Questions to one CoAP server, each a GET for a whole body. Foreign errors are mapped here.

Block-wise answers (RFC 7959) are put together here, with a bound that aiocoap's own assembly lacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiocoap import CONTENT, GET, VALID, Context, error
from aiocoap.numbers.constants import TransportTuning
from aiocoap.pipe import Pipe

from adapters.coap.asking.questions import Question
from adapters.coap.asking.tcp import Connection
from adapters.coap.asking.turns import NobodyThereError, Turns
from adapters.coap.options.device import DeviceOptions
from gateway.quality import Reason

TRIES: Final = 3
"""How often a body is begun that changes while its blocks are read."""

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


class ChangedError(ExchangeError):
    """A body changed while its blocks were read."""

    def __init__(self) -> None:
        super().__init__(Reason.MALFORMED_ANSWER, "it changed while its blocks were read")


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


def tuning(ack_timeout_s: float, max_retransmit: int) -> TransportTuning:
    """Transmission parameters (RFC 7252, 4.8) as aiocoap takes them."""
    result = TransportTuning()
    result.ACK_TIMEOUT = ack_timeout_s
    result.MAX_RETRANSMIT = max_retransmit
    return result


class Endpoint:
    """One CoAP server, asked through the context that all devices share."""

    def __init__(self, context: Context, options: DeviceOptions, turns: Turns) -> None:
        self.context = context
        self.timeout_s = float(options.timeout)
        self.in_order = "+" in options.url.partition(":")[0]
        """Whether messages come over a stream, and so never overtake each other."""
        self._max_body = int(options.max_payload)
        self._url = options.url.rstrip("/")
        self._tuning = tuning(options.ack_timeout, options.max_retransmit)
        self._turn = turns.of(options.url)
        self._remote: Any = None

    def question(self, path: str) -> Question:
        """A GET of ``path``, addressed to where the last answer came from."""
        question = Question(code=GET, uri=self._url + path, transport_tuning=self._tuning)
        if self._remote is not None:
            question.remote = self._remote
        return question

    def heard(self, message: Any) -> None:
        """Remember the address, which saves looking the name up again."""
        if not self.in_order:
            self._remote = message.remote

    def forget(self) -> None:
        """Look the name up again, because nobody answered at the address."""
        self._remote = None

    @asynccontextmanager
    async def asking(self, question: Question) -> AsyncIterator[None]:
        """Our turn at this address, and the time for an answer. The question is to be sent inside.

        The turn ends when the question is acknowledged: a slow answer holds up nobody.

        Raises:
            ExchangeError: no answer in time, or what was raised inside; one that found nobody there also ends
                the wait of those behind.
        """
        try:
            await self._turn.take()
        except NobodyThereError:
            raise no_answer() from None
        given = False
        began_s = asyncio.get_running_loop().time()

        def give() -> None:
            nonlocal given
            if not given:
                given = True
                self._turn.give()

        question.on_ack = give
        try:
            async with asyncio.timeout(self.timeout_s):
                yield
        except TimeoutError as cause:
            silence = self._silence(question, began_s, acknowledged=given)
            self._gone(silence)
            raise silence from cause
        except ExchangeError as refusal:
            self._gone(refusal)
            raise
        finally:
            question.withdraw()
            give()

    @staticmethod
    def _silence(question: Question, began_s: float, *, acknowledged: bool) -> ExchangeError:
        """What it means that there was no answer."""
        connection = question.remote if isinstance(question.remote, Connection) else None
        if acknowledged or (connection is not None and connection.heard_s >= began_s):
            return ExchangeError(Reason.TIMEOUT, "no answer, but the device is there")
        if connection is not None:
            connection.give_up(error.TimeoutError())
        return no_answer()

    def _gone(self, failed: ExchangeError) -> None:
        if failed.away:
            self.forget()
            self._turn.nobody_there()

    async def send(self, question: Question, on_event: Callable[[Any], bool]) -> Callable[[], None]:
        """Send it; each event of aiocoap's pipe goes to ``on_event``. What is returned ends that.

        Raises:
            ExchangeError: it could not be sent.
        """
        pipe = Pipe(question, self.context.log)
        stop: Callable[[], None] = pipe.on_event(on_event)
        try:
            interface = await self.context.find_remote_and_interface(question)
        except (error.Error, OSError, ValueError) as cause:
            raise failure(cause) from cause
        question.sender = getattr(interface, "token_interface", None)
        interface.request(pipe)
        return stop

    async def get(self, path: str, *, etag: bytes | None = None, accept: int | None = None) -> Any:
        """The representation, all blocks of it; or a 2.03 Valid, if the one with ``etag`` is still current.

        Raises:
            ExchangeError: no answer in time, or neither of these.
        """
        async with self._turn.body(path):
            return await self._whole(path, etag, accept)

    async def _whole(self, path: str, etag: bytes | None = None, accept: int | None = None) -> Any:
        for _ in range(TRIES - 1):
            try:
                return await self._get(path, etag, accept)
            except ChangedError:
                continue
        return await self._get(path, etag, accept)

    async def _get(self, path: str, etag: bytes | None, accept: int | None) -> Any:
        question = self.question(path)
        question.opt.etags = [etag] if etag is not None else []
        question.opt.accept = accept
        response = await self._ask(question)
        if response.code == VALID and etag is not None and response.opt.etag in {etag, None}:
            return response
        return await self._complete(path, checked(response), accept)

    async def complete(self, path: str, first: Any) -> Any:
        """The rest of a body whose first block is here; a newer one if that is gone by now.

        Raises:
            ExchangeError: as :meth:`get`.
        """
        async with self._turn.body(path):
            try:
                return await self._complete(path, first, None)
            except ChangedError:
                return await self._whole(path)

    async def _ask(self, question: Question) -> Any:
        answered = asyncio.get_running_loop().create_future()

        def on_event(event: Any) -> bool:
            if not answered.done():
                answered.set_result(event)
            return False

        async with self.asking(question):
            stop = await self.send(question, on_event)
            try:
                event = await answered
            finally:
                stop()
            if event.message is None:
                raise failure(event.exception)
        self.heard(event.message)
        return event.message

    async def _complete(self, path: str, first: Any, accept: int | None) -> Any:
        block = first.opt.block2
        body = bytearray(first.payload)
        self._fits(body)
        if block is None or (block.block_number == 0 and not block.more):
            return first
        largest = 7 if self.in_order else 6  # 7: several blocks of 1 KiB in one message (RFC 8323, 6)
        while block.more:
            if not body or len(body) % block.size or block.size_exponent > largest:
                raise ExchangeError(Reason.MALFORMED_ANSWER, f"a body breaks off at {len(body)} bytes")
            question = self.question(path)
            question.opt.accept = accept
            question.opt.block2 = (len(body) // block.size, False, block.size_exponent)
            part = checked(await self._ask(question))
            block = part.opt.block2
            if block is None or block.start != len(body) or part.opt.etag != first.opt.etag:
                raise ChangedError
            body += part.payload
            self._fits(body)
        first.payload = bytes(body)
        return first

    def _fits(self, body: bytearray) -> None:
        if len(body) > self._max_body:
            raise ExchangeError(Reason.MALFORMED_ANSWER, f"a body of more than {self._max_body} bytes (max_payload)")
