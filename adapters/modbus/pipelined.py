"""Several requests under way on one stream, without I/O: Modbus TCP with transaction ids.

An answer belongs to the request whose transaction id it bears, and is taken if unit, function and byte
count are right too. What bears another id is late, counted and dropped. When the stream stops making
sense, everything under way fails, and so does what the same bytes had answered before: the frame before
the nonsense may have been short of bytes and have taken its end from the next.
"""

from __future__ import annotations

from typing import TypeAlias

from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU

from adapters.modbus.framing import HEADER, MAX_LENGTH, begins_answer
from adapters.modbus.pdu import AnswerError, Request
from gateway.quality import Reason

Outcome: TypeAlias = tuple[int, bytes | AnswerError]
"""A transaction id and the data of its answer, or why there is none."""


class PipelinedFraming:
    """One side of a conversation with several requests under way."""

    def __init__(self) -> None:
        self.late = 0
        """Whole answers to nothing that is under way."""
        self.broken = 0
        """Times in a row that bytes did not make a frame."""
        self._encode = FramerSocket(DecodePDU(False)).encode
        self._pending: dict[int, Request] = {}
        self._buffer = b""
        self._transaction = 0

    def send(self, request: Request) -> tuple[int, bytes]:
        """The transaction id and the frame of ``request``, whose answer is awaited from now on."""
        self._transaction = self._transaction % 0xFFFF + 1
        while self._transaction in self._pending:
            self._transaction = self._transaction % 0xFFFF + 1
        self._pending[self._transaction] = request
        return self._transaction, self._encode(request.pdu, request.unit, self._transaction)

    def receive(self, data: bytes) -> list[Outcome]:
        """What ``data`` decides: answers, in their order, and requests that failed."""
        outcomes: list[Outcome] = []
        if self._buffer and begins_answer(data, self._transaction):
            self._buffer = b""  # the frame before was short: it must not take its end from this one
        buffer = self._buffer + data if self._buffer else data
        while len(buffer) >= HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(buffer)
            if protocol or not 2 <= length <= MAX_LENGTH:
                return self._lost(buffer, outcomes)
            end = 6 + length
            if len(buffer) < end:
                break
            pdu, buffer = buffer[7:end], buffer[end:]
            request = self._pending.pop(transaction, None)
            if request is None:
                self.late += 1
                continue
            self.broken = 0
            outcomes.append((transaction, _answer(request, unit, pdu)))
        if outcomes and buffer and not self._awaited(buffer):
            return self._lost(buffer, outcomes)
        self._buffer = buffer
        return outcomes

    def _awaited(self, beginning: bytes) -> bool:
        """Whether a frame that has begun to arrive can be the answer to something under way."""
        heads = (transaction.to_bytes(2, "big") + b"\0\0" for transaction in self._pending)
        return any(head.startswith(beginning[:4]) for head in heads)

    def give_up(self, transaction: int) -> AnswerError:
        """The answer has not come in time; says what came instead."""
        self._pending.pop(transaction, None)
        head = self._buffer[:2]
        if head == transaction.to_bytes(2, "big"):
            junk, self._buffer = self._buffer, b""
            return AnswerError(Reason.MALFORMED_ANSWER, f"{len(junk)} bytes of an answer", silent=True)
        if not self._pending:
            self._buffer = b""  # nobody will complete it
        return AnswerError(Reason.TIMEOUT, silent=True)

    def _lost(self, buffer: bytes, outcomes: list[Outcome]) -> list[Outcome]:
        """Not a frame: nothing of these bytes, and nothing under way, can be trusted."""
        failed = [transaction for transaction, _ in outcomes] + list(self._pending)
        self._pending.clear()
        self._buffer = b""
        self.broken += 1
        what = f"not a Modbus TCP frame: {buffer[:8].hex(' ')}"
        return [(transaction, AnswerError(Reason.MALFORMED_ANSWER, what)) for transaction in failed]


def _answer(request: Request, unit: int, pdu: bytes) -> bytes | AnswerError:
    if unit != request.unit:
        return AnswerError(Reason.MALFORMED_ANSWER, f"from unit {unit}, asked {request.unit}")
    try:
        return request.data_of(pdu)
    except AnswerError as error:
        return error
