"""The far side of Modbus: a device that answers requests out of its tables. Bytes in, bytes out.

It knows the functions 1 to 6, 15, 16, 22 and 43/14. What no point names is refused with exception 2, as
strict devices do; the registers within a value may be read apart. What was written stays as it was written.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from adapters.modbus.place import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.modbus.tools.image import Image

_READS = {1: Table.COIL, 2: Table.DISCRETE, 3: Table.HOLDING, 4: Table.INPUT}
_WRITES = {5: Table.COIL, 6: Table.HOLDING, 15: Table.COIL, 16: Table.HOLDING, 22: Table.HOLDING}
_MOST = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
_LAST = {1: 2, 2: 0x7F, 3: 0xFF}
_ROOM = 240  # bytes of objects in one answer about the identity


class RefusalError(Exception):
    """The request is answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class PlayedDevice:
    """A device that shows an image.

    Args:
        image: what it shows; writes go there.
        identity: what it says of itself, object number to text.
        writable: addresses that take writes, by table.
    """

    def __init__(self, image: Image, identity: Mapping[int, str], writable: Mapping[Table, set[int]]) -> None:
        self._image = image
        self._identity = identity
        self._writable = writable

    def answer(self, pdu: bytes) -> bytes:
        """The PDU of the answer to any bytes."""
        function = pdu[0] if pdu else 0
        try:
            return self._answer(function, pdu)
        except RefusalError as refusal:
            return bytes([function | 0x80, refusal.code])
        except (struct.error, IndexError):
            return bytes([function | 0x80, 3])

    def _answer(self, function: int, pdu: bytes) -> bytes:
        if function in _READS:
            return self._read(function, pdu)
        if function in _WRITES:
            return self._write(function, pdu)
        if function == 43:
            return self._identify(pdu)
        raise RefusalError(1)

    def _held(self, table: Table, address: int, count: int) -> list[int]:
        held = self._image.tables[table]
        try:
            return [held[at] for at in range(address, address + count)]
        except KeyError:
            raise RefusalError(2) from None

    def _read(self, function: int, pdu: bytes) -> bytes:
        address, count = struct.unpack(">HH", pdu[1:])
        if not 1 <= count <= _MOST[function]:
            raise RefusalError(3)
        values = self._held(_READS[function], address, count)
        data = _bits(values) if function <= 2 else struct.pack(f">{count}H", *values)
        return bytes([function, len(data)]) + data

    def _write(self, function: int, pdu: bytes) -> bytes:
        address, number = struct.unpack_from(">HH", pdu, 1)
        table = _WRITES[function]
        values = self._values(function, address, number, pdu)
        if any(at not in self._writable[table] for at in range(address, address + len(values))):
            raise RefusalError(2)
        self._image.pin(table, address, values)
        return pdu[:5] if function in {15, 16} else pdu

    def _values(self, function: int, address: int, number: int, pdu: bytes) -> Sequence[int]:
        """What a write puts into its addresses."""
        if function == 5:
            if number not in {0, 0xFF00}:
                raise RefusalError(3)
            return [int(number > 0)]
        if function == 6:
            return [number]
        if function == 22:
            (new,) = struct.unpack(">H", pdu[5:])
            return [self._held(Table.HOLDING, address, 1)[0] & number | new & ~number & 0xFFFF]
        size = (number + 7) // 8 if function == 15 else 2 * number
        if not 1 <= number <= _MOST[function] or pdu[5] != size or len(pdu) != 6 + size:
            raise RefusalError(3)
        if function == 15:
            return [pdu[6 + i // 8] >> i % 8 & 1 for i in range(number)]
        return struct.unpack(f">{number}H", pdu[6:])

    def _identify(self, pdu: bytes) -> bytes:
        if pdu[1] != 0x0E:
            raise RefusalError(1)
        code, first = pdu[2], pdu[3]
        if code not in {*_LAST, 4}:
            raise RefusalError(3)
        last = _LAST.get(code, first)
        items = [
            (number, bytes([number, len(text)]) + text.encode())
            for number, text in sorted(self._identity.items())
            if first <= number <= last
        ]
        if not items:
            raise RefusalError(2)
        out, fitting = b"", 0
        while fitting < len(items) and len(out) + len(items[fitting][1]) <= _ROOM:
            out += items[fitting][1]
            fitting += 1
        more = fitting < len(items)
        following = items[fitting][0] if more else 0
        return bytes([43, 0x0E, code, 0x83, 0xFF if more else 0, following, fitting]) + out


def _bits(values: Sequence[int]) -> bytes:
    out = bytearray((len(values) + 7) // 8)
    for i, value in enumerate(values):
        out[i // 8] |= (value != 0) << i % 8
    return bytes(out)
