"""Frames on the wire, without I/O: MBAP (TCP) and RTU (serial).

    MBAP   transaction 2 | protocol 2 (zero) | length 2 | unit 1 | PDU        length counts unit and PDU
    RTU    unit 1 | PDU | CRC 2 (low byte first)

Rules: one request at a time; ``send`` forgets whatever was left of earlier answers. On MBAP an answer is
ours if its transaction id is; others are late, counted and dropped. RTU has no transaction id: an answer
is ours if unit, function and byte count are what was asked and the CRC holds, wherever noise or an echo
put it; a whole frame of anything else is late, counted and dropped. pymodbus's framers encode and give
the CRC; decoding is checked here, because theirs takes what was not asked for.
"""

from __future__ import annotations

import abc
import struct

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from adapters.modbus.pdu import AnswerError, Request
from gateway.quality import Reason

_HEADER = struct.Struct(">HHHB")
_MAX_LENGTH = 254  # unit and a PDU of 253
_MAX_NOISE = 1024  # more than any frame; older bytes of a noisy line go


class Framing(abc.ABC):
    """One side of a conversation: ``send`` gives bytes to write, ``receive`` takes what arrives."""

    def __init__(self) -> None:
        self.late = 0
        """Whole answers to something else than the request under way."""
        self.broken = 0
        """Times in a row that bytes did not make a frame."""
        self._request: Request | None = None
        self._buffer = b""

    @abc.abstractmethod
    def send(self, request: Request) -> bytes:
        """The frame of ``request``, whose answer is awaited from now on."""

    @abc.abstractmethod
    def receive(self, data: bytes) -> bytes | None:
        """The data of the awaited answer, or None if it is not complete yet.

        Raises:
            AnswerError: the awaited answer came and is not usable, or the stream makes no sense.
        """

    def give_up(self) -> AnswerError:
        """The awaited answer has not come in time; says what came instead."""
        junk = self._buffer
        self._request, self._buffer = None, b""
        if junk:
            return AnswerError(Reason.MALFORMED_ANSWER, f"{len(junk)} bytes that are no answer", silent=True)
        return AnswerError(Reason.TIMEOUT, silent=True)

    def _done(self) -> Request:
        request = self._request
        assert request is not None
        self._request = None
        self.broken = 0
        return request


class MbapFraming(Framing):
    """Modbus TCP."""

    def __init__(self) -> None:
        super().__init__()
        self._encode = FramerSocket(DecodePDU(False)).encode
        self._transaction = 0

    def send(self, request: Request) -> bytes:
        """See the base class."""
        self._request, self._buffer = request, b""
        self._transaction = self._transaction % 0xFFFF + 1
        return self._encode(request.pdu, request.unit, self._transaction)

    def receive(self, data: bytes) -> bytes | None:
        """See the base class."""
        buffer = self._buffer + data if self._buffer else data
        while len(buffer) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(buffer)
            if protocol or not 2 <= length <= _MAX_LENGTH:
                self._lost(buffer)
                return None
            end = 6 + length
            if len(buffer) < end:
                break
            pdu, buffer = buffer[7:end], buffer[end:]
            if self._request is not None and transaction == self._transaction:
                self._buffer = b""
                return self._take(unit, pdu, buffer)
            self.late += 1
        self._buffer = buffer
        return None

    def _take(self, unit: int, pdu: bytes, rest: bytes) -> bytes:
        request = self._done()
        self.late += bool(rest)  # whatever follows the one answer was not asked for
        if unit != request.unit:
            raise AnswerError(Reason.MALFORMED_ANSWER, f"from unit {unit}, asked {request.unit}")
        return request.data_of(pdu)

    def _lost(self, buffer: bytes) -> None:
        """Not a frame: drop all. The next answer starts clean, as nothing else is under way."""
        self._buffer = b""
        self.broken += 1
        if self._request is not None:
            self._request = None
            raise AnswerError(Reason.MALFORMED_ANSWER, f"not a Modbus TCP frame: {buffer[:8].hex(' ')}")


class RtuFraming(Framing):
    """Modbus RTU."""

    def __init__(self) -> None:
        super().__init__()
        self._framer = FramerRTU(DecodePDU(False))
        self._sent = b""

    def send(self, request: Request) -> bytes:
        """See the base class."""
        self._request, self._buffer = request, b""
        self._sent = self._framer.encode(request.pdu, request.unit, 0)
        return self._sent

    def receive(self, data: bytes) -> bytes | None:
        """See the base class."""
        buffer = self._buffer + data if self._buffer else data
        if self._request is None:
            self._drop_stray(buffer)
            return None
        pdu = self._find(buffer, self._request)
        if pdu is not None:
            self._buffer = b""
            return self._done().data_of(pdu)
        self._buffer = self._without_other(buffer)[-_MAX_NOISE:]
        return None

    def _find(self, buffer: bytes, request: Request) -> bytes | None:
        """The PDU of the answer, wherever in ``buffer`` it starts."""
        unit, function = request.unit, request.pdu[0]
        echoes = request.head == request.pdu  # a single write's answer looks like its request
        for head, size in (
            (bytes([unit]) + request.head, request.length + 3),
            (bytes([unit, function | 0x80]), 5),
        ):
            at = buffer.find(head)
            while 0 <= at <= len(buffer) - size:
                frame = buffer[at : at + size]
                if (frame != self._sent or echoes) and _whole(frame):
                    return frame[1:-2]
                at = buffer.find(head, at + 1)
        return None

    def _without_other(self, buffer: bytes) -> bytes:
        """``buffer`` without an echo of the request, or empty if it is a whole frame of something else."""
        buffer = buffer.removeprefix(self._sent)
        request = self._request
        assert request is not None
        ours = buffer.startswith(bytes([request.unit]) + request.head)
        if not ours and len(buffer) > 4 and _whole(buffer):
            self.late += 1
            return b""
        return buffer

    def _drop_stray(self, buffer: bytes) -> None:
        """Nobody waits: count a frame once it is whole."""
        self._buffer = buffer[-_MAX_NOISE:]
        if len(buffer) > 4 and _whole(buffer):
            self.late += 1
            self._buffer = b""


def _whole(frame: bytes) -> bool:
    return FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big"))
