"""ASCII frames, without I/O: as old serial lines and some modems speak.

    :  unit 2 | PDU 2 each | LRC 2  CR LF        every byte as two hexadecimal digits

A frame has a beginning and an end of its own, so noise between frames does no harm. There is no
transaction id: an answer is ours if unit, function and byte count are what was asked and the LRC holds;
any other whole frame is late, counted and dropped, but for an echo of the request. Small letters are
taken too, though the standard has capitals. pymodbus encodes and gives the LRC.
"""

from __future__ import annotations

from binascii import Error as HexError
from binascii import a2b_hex

from pymodbus.framer import FramerAscii
from pymodbus.pdu import DecodePDU

from adapters.modbus.framing import MAX_NOISE, Framing
from adapters.modbus.pdu import Request

_END = b"\r\n"
_LEAST = 4  # unit, function, one byte and the LRC


class AsciiFraming(Framing):
    """Modbus ASCII."""

    def __init__(self) -> None:
        super().__init__()
        self._encode = FramerAscii(DecodePDU(False)).encode
        self._sent = b""

    def send(self, request: Request) -> bytes:
        """See the base class."""
        self._request, self._buffer = request, b""
        frame = self._encode(request.pdu, request.unit, 0)
        self._sent = _decoded(frame[1:-2])
        return frame

    def receive(self, data: bytes) -> bytes | None:
        """See the base class."""
        buffer = self._buffer + data if self._buffer else data
        junk = b""
        while (end := buffer.find(_END)) >= 0:
            line, buffer = buffer[:end], buffer[end + 2 :]
            body = _decoded(line[line.rfind(b":") + 1 :]) if b":" in line else b""
            if not body:
                junk += line
            elif self._request is not None and self._is_ours(body, self._request):
                self._buffer = b""
                return self._done().data_of(body[1:])
            elif self._request is None or body != self._sent:
                self.late += 1
        self._buffer = (junk + buffer)[-MAX_NOISE:]
        return None

    def _is_ours(self, body: bytes, request: Request) -> bool:
        """Whether unit, function and length are those of the answer, good or an exception."""
        if body[0] != request.unit:
            return False
        if body[1] == request.pdu[0] | 0x80:
            return len(body) == 3
        echoes = request.head == request.pdu  # a single write's answer looks like its request
        good = len(body) - 1 == request.length_of(body[1:]) and body[1:].startswith(request.head)
        return good and (body != self._sent or echoes)


def _decoded(digits: bytes) -> bytes:
    """Unit and PDU of a frame's digits, or nothing if they are none or the LRC is wrong."""
    try:
        body = a2b_hex(digits)
    except HexError:
        return b""
    if len(body) < _LEAST or not FramerAscii.check_LRC(body[:-1], body[-1]):
        return b""
    return body[:-1]
