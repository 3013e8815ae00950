"""Where a value lies and how it is laid out: the words of the YAML, as types. Pure, light to import."""

from __future__ import annotations

import enum
import re
from difflib import get_close_matches
from functools import lru_cache

_AT = re.compile(r"\s*([A-Za-z_-]+)\s*:\s*(0[xX][0-9A-Fa-f]+|\d+)\s*\Z")


class Table(enum.StrEnum):
    """The four tables of a Modbus device."""

    COIL = "coil"
    DISCRETE = "discrete"
    INPUT = "input"
    HOLDING = "holding"

    @property
    def is_bits(self) -> bool:
        """Whether an address holds one bit (else a register of 16)."""
        return self in {Table.COIL, Table.DISCRETE}


class ValueType(enum.StrEnum):
    """How the bytes of a point make a value."""

    BOOL = "bool"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    STRING = "string"

    @property
    def size(self) -> int:
        """Bytes of a value; a bool on a register takes the whole register, a string says its own length."""
        return {"bool": 2, "string": 0}.get(self, int(re.sub(r"\D", "", self) or 0) // 8)

    @property
    def is_unsigned(self) -> bool:
        """Whether bits can be taken out of it."""
        return self.startswith("uint")


DTYPES = {
    ValueType.BOOL: ">u2",
    ValueType.INT8: "i1",
    ValueType.UINT8: "u1",
    ValueType.INT16: ">i2",
    ValueType.UINT16: ">u2",
    ValueType.INT32: ">i4",
    ValueType.UINT32: ">u4",
    ValueType.INT64: ">i8",
    ValueType.UINT64: ">u8",
    ValueType.FLOAT16: ">f2",
    ValueType.FLOAT32: ">f4",
    ValueType.FLOAT64: ">f8",
}
"""The numpy type of a value whose bytes are in order, most significant first."""


class Order(enum.StrEnum):
    """Order of the bytes on the wire; A is the most significant byte of a 32-bit value.

    For 64 bits the same rule holds for all four words: ``CDAB`` turns the order of the words round,
    ``BADC`` swaps the two bytes in each word, ``DCBA`` does both.
    """

    ABCD = "ABCD"
    CDAB = "CDAB"
    BADC = "BADC"
    DCBA = "DCBA"

    @property
    def swaps_words(self) -> bool:
        """Whether the least significant word comes first."""
        return self in {Order.CDAB, Order.DCBA}

    @property
    def swaps_bytes(self) -> bool:
        """Whether the low byte of each word comes first."""
        return self in {Order.BADC, Order.DCBA}


class Byte(enum.StrEnum):
    """Which half of a register an 8-bit value lies in."""

    LOW = "low"
    HIGH = "high"


@lru_cache(maxsize=4096)
def parse_at(text: str) -> tuple[Table, int]:
    """``holding:10`` or ``input:0x48``: the table and the zero-based address of the protocol.

    Raises:
        ValueError: saying what is wrong, with the nearest table's name.
    """
    match = _AT.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a place; write table:address, such as holding:10 or input:0x48")
    name, address = match[1], int(match[2], 0 if match[2][:2] in {"0x", "0X"} else 10)
    tables = [table.value for table in Table]
    if name not in tables:
        near = get_close_matches(name, tables, 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f"{name!r} is not a table ({', '.join(tables)}){hint}")
    if address > 0xFFFF:
        raise ValueError(f"address {address} is above 65535; addresses are those of the protocol, from zero")
    return Table(name), address
