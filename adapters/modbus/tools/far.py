"""Frames as a device sees them: requests out of a stream of bytes, answers into frames. No I/O.

MBAP    transaction 2 | protocol 2 | length 2 | unit 1 | PDU
RTU     unit 1 | PDU | CRC 2 (low byte first)
ASCII   ':' | the hexadecimal digits of unit, PDU and LRC | CR LF

Check sums are pymodbus's.
"""

from __future__ import annotations

import abc
import struct
from dataclasses import dataclass

from pymodbus.framer import FramerAscii, FramerRTU

from adapters.modbus.url import Frames

_HEADER = struct.Struct(">HHHB")
_FIXED = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 22: 10, 43: 7}
"""Bytes of a request on RTU, by function."""
_MAX = 1024


@dataclass(frozen=True)
class Asked:
    """One request."""

    unit: int
    pdu: bytes
    transaction: int = 0


class FarFraming(abc.ABC):
    """One connection's framing."""

    def __init__(self) -> None:
        self._buffer = b""

    @abc.abstractmethod
    def take(self, data: bytes) -> list[Asked]:
        """The requests that are whole now; what makes no sense is dropped."""

    @abc.abstractmethod
    def frame(self, asked: Asked, pdu: bytes, *, unit: int | None = None, spoiled: bool = False) -> bytes:
        """The answer to ``asked``, also in another unit's name, or with what identifies it spoiled."""


class FarMbap(FarFraming):
    """Modbus TCP, and UDP."""

    def take(self, data: bytes) -> list[Asked]:
        """See the base class."""
        self._buffer += data
        found = []
        while len(self._buffer) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._buffer)
            if protocol or not 2 <= length <= 254:
                self._buffer = b""
                break
            if len(self._buffer) < 6 + length:
                break
            found.append(Asked(unit, self._buffer[7 : 6 + length], transaction))
            self._buffer = self._buffer[6 + length :]
        return found

    def frame(self, asked: Asked, pdu: bytes, *, unit: int | None = None, spoiled: bool = False) -> bytes:
        """See the base class."""
        transaction = asked.transaction ^ 0x5555 if spoiled else asked.transaction
        return _HEADER.pack(transaction, 0, len(pdu) + 1, asked.unit if unit is None else unit) + pdu


class FarRtu(FarFraming):
    """Modbus RTU. Where a request ends, its function says."""

    def take(self, data: bytes) -> list[Asked]:
        """See the base class."""
        self._buffer = (self._buffer + data)[-_MAX:]
        found = []
        while (asked := self._next()) is not None:
            found.append(asked)
        return found

    def _next(self) -> Asked | None:
        """The first whole request, wherever noise put it."""
        buffer = self._buffer
        for at in range(len(buffer) - 3):
            size = _size(buffer[at:])
            frame = buffer[at : at + size]
            if len(frame) == size and FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big")):
                self._buffer = buffer[at + size :]
                return Asked(frame[0], frame[1:-2])
        return None

    def frame(self, asked: Asked, pdu: bytes, *, unit: int | None = None, spoiled: bool = False) -> bytes:
        """See the base class."""
        body = bytes([asked.unit if unit is None else unit]) + pdu
        crc = FramerRTU.compute_CRC(body) ^ (0x5555 if spoiled else 0)
        return body + crc.to_bytes(2, "big")


def _size(frame: bytes) -> int:
    """Bytes of the request that begins so, as far as can be told; functions without arguments have 4."""
    function = frame[1]
    if function in {15, 16}:
        return 9 + frame[6] if len(frame) > 6 else 9
    return _FIXED.get(function, 4)


class FarAscii(FarFraming):
    """Modbus ASCII."""

    def take(self, data: bytes) -> list[Asked]:
        """See the base class."""
        self._buffer = (self._buffer + data)[-_MAX:]
        *lines, self._buffer = self._buffer.split(b"\r\n")
        found = []
        for line in lines:
            digits = line[line.rfind(b":") + 1 :]
            try:
                frame = bytes.fromhex(digits.decode("ascii"))
            except ValueError:
                continue
            if len(frame) > 2 and FramerAscii.check_LRC(frame[:-1], frame[-1]):
                found.append(Asked(frame[0], frame[1:-1]))
        return found

    def frame(self, asked: Asked, pdu: bytes, *, unit: int | None = None, spoiled: bool = False) -> bytes:
        """See the base class."""
        body = bytes([asked.unit if unit is None else unit]) + pdu
        lrc = FramerAscii.compute_LRC(body) ^ (0x55 if spoiled else 0)
        return b":" + (body + bytes([lrc])).hex().upper().encode() + b"\r\n"


FRAMINGS: dict[Frames, type[FarFraming]] = {Frames.MBAP: FarMbap, Frames.RTU: FarRtu, Frames.ASCII: FarAscii}
