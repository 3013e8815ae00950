"""Frames on the wire, without I/O: MBAP (TCP) and RTU (serial).

    MBAP   transaction 2 | protocol 2 (zero) | length 2 | unit 1 | PDU        length counts unit and PDU
    RTU    unit 1 | PDU | CRC 2 (low byte first)

Rules: one request at a time; ``send`` forgets whatever was left of earlier answers. On MBAP an answer is
ours if its transaction id is; others are late, counted and dropped. RTU has no transaction id: an answer
is ours if unit, function and byte count are what was asked and the CRC holds, wherever noise or an echo
put it; a whole frame of anything else is late, counted and dropped. ASCII (:mod:`adapters.modbus.ascii`)
goes by the same rules as RTU. pymodbus's framers encode and give the CRC; decoding is checked here,
because theirs takes what was not asked for.
"""

from __future__ import annotations

import abc
import re
import struct
from typing import ClassVar

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from adapters.modbus.pdu import AnswerError, Request
from gateway.quality import Reason

HEADER = struct.Struct(">HHHB")
"""Transaction, protocol, length, unit."""
MAX_LENGTH = 254
"""Unit and a PDU of 253 bytes."""
RECENT = 64
"""Requests back whose answers may still come."""
MAX_NOISE = 1024
"""Bytes, more than any frame: older bytes of a noisy line go."""


class Framing(abc.ABC):
    """One side of a conversation: ``send`` gives bytes to write, ``receive`` takes what arrives."""

    has_ids: ClassVar[bool] = False
    """Whether an answer says by an id which request it belongs to."""

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
    """Modbus TCP.

    Args:
        noise: what may stand between two frames and is skipped, such as a modem's heartbeats.
    """

    has_ids = True

    def __init__(self, noise: re.Pattern[bytes] | None = None) -> None:
        super().__init__()
        self._noise = noise
        self._encode = FramerSocket(DecodePDU(False)).encode
        self._transaction = 0

    def send(self, request: Request) -> bytes:
        """See the base class."""
        self._request, self._buffer = request, b""
        self._transaction = self._transaction % 0xFFFF + 1
        return self._encode(request.pdu, request.unit, self._transaction)

    def receive(self, data: bytes) -> bytes | None:
        """See the base class."""
        if self._buffer and begins_answer(data, self._transaction):
            self._buffer = b""  # the frame before was short: it must not take its end from this one
        buffer = self._buffer + data if self._buffer else data
        while len(buffer) >= HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(buffer)
            if protocol or not 2 <= length <= MAX_LENGTH:
                quiet = self._without_noise(buffer)
                if len(quiet) < len(buffer):
                    buffer = quiet
                    continue
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

    def _without_noise(self, buffer: bytes) -> bytes:
        noise = self._noise.match(buffer) if self._noise is not None else None
        return buffer[noise.end() :] if noise is not None else buffer

    def _take(self, unit: int, pdu: bytes, rest: bytes) -> bytes:
        request = self._done()
        rest = self._without_noise(rest)
        if rest:
            self.late += 1  # whatever follows the one answer was not asked for
            if not _frames_only(rest):  # ours was short, perhaps, and has taken its end from the next
                raise AnswerError(Reason.MALFORMED_ANSWER, "followed by bytes that are no frame")
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


def _frames_only(buffer: bytes) -> bool:
    """Whether the bytes are whole frames, and nothing else."""
    while len(buffer) >= HEADER.size:
        _, protocol, length, _ = HEADER.unpack_from(buffer)
        if protocol or not 2 <= length <= MAX_LENGTH or len(buffer) < 6 + length:
            return False
        buffer = buffer[6 + length :]
    return not buffer


def begins_answer(data: bytes, last: int) -> bool:
    """Whether a segment begins like an answer to one of the latest requests; ``last`` is the last one's id."""
    if len(data) < 4:
        return False
    recent = (last - int.from_bytes(data[:2], "big")) % 0xFFFF < RECENT
    return recent and data[2:4] == b"\0\0"


class DatagramFraming(MbapFraming):
    """Modbus TCP's frames over UDP: whole ones, and never continued by the next datagram."""

    def receive(self, data: bytes) -> bytes | None:
        """See the base class."""
        self._buffer = b""
        return super().receive(data)


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
        found = self._find(buffer, self._request)
        if found is not None:
            pdu, behind = found
            self._buffer = b""
            request = self._done()
            again = self._find(behind, request)
            if again is not None and again[0] != pdu:  # one of them is late, and nothing tells which
                self.late += 1
                raise AnswerError(Reason.MALFORMED_ANSWER, "two answers to one request")
            return request.data_of(pdu)
        self._buffer = self._without_other(buffer)[-MAX_NOISE:]
        return None

    def _find(self, buffer: bytes, request: Request) -> tuple[bytes, bytes] | None:
        """The PDU of the answer, wherever in ``buffer`` it starts, and the bytes behind its frame."""
        unit, function = request.unit, request.pdu[0]
        echoes = request.head == request.pdu  # a single write's answer looks like its request
        for head, refuses in ((bytes([unit]) + request.head, False), (bytes([unit, function | 0x80]), True)):
            at = buffer.find(head)
            while at >= 0:
                length = 2 if refuses else request.length_of(buffer[at + 1 :])
                frame = b"" if length is None else buffer[at : at + length + 3]
                whole = length is not None and len(frame) == length + 3
                if whole and (frame != self._sent or echoes) and _whole(frame):
                    return frame[1:-2], buffer[at + len(frame) :]
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
        self._buffer = buffer[-MAX_NOISE:]
        if len(buffer) > 4 and _whole(buffer):
            self.late += 1
            self._buffer = b""


def _whole(frame: bytes) -> bool:
    return FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big"))
