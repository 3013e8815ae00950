"""Bytes of a read to values and back: compiled once per planned read, then a handful of numpy calls.

For each type among a read's points one index of bytes is kept, in the order that makes each value big
endian. Decoding takes those bytes, views them as the type and writes a contiguous part of the frame's
columns; no Python loop runs over points (strings excepted: they are looked up as states one by one).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from adapters.modbus.place import Byte, Order, Table, ValueType, parse_at
from gateway import quality as q
from gateway.quality import Reason, no_value

if TYPE_CHECKING:
    from adapters.modbus.config import ModbusPoint
    from adapters.modbus.planner import Read
    from gateway.frame import Qualities, Values

States = Callable[[int, str], float]
"""Gives the number of a text: (position of the point among the read's, text); NaN if there is no room."""

_DTYPES = {
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
_EXACT = 2.0**53
_NOT_A_NUMBER = no_value(Reason.NOT_A_NUMBER)


@dataclass(frozen=True)
class Layout:
    """How one value lies in its table; ``width`` in registers, or one bit."""

    table: Table
    address: int
    width: int
    type: ValueType
    order: Order = Order.ABCD
    byte: Byte = Byte.LOW
    shift: int = 0
    bits: int = 0
    """Bits taken out, 0 for the whole value."""
    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def of(cls, point: ModbusPoint) -> Layout:
        """The layout that the options of a point say."""
        table, address = parse_at(point.at)
        field = point.field
        return cls(
            table=table,
            address=address,
            width=point.width,
            type=point.type,
            order=point.order,
            byte=point.byte,
            shift=field.from_ if field else 0,
            bits=field.count if field else 0,
            scale=point.scale,
            offset=point.offset,
        )

    @property
    def key(self) -> tuple[str, bool]:
        """Layouts of one key decode together."""
        return ("bit" if self.table.is_bits else self.type.value), self.bits > 0

    def byte_indices(self, start: int) -> list[int]:
        """Where the bytes of the value are in the data of a read from ``start``, most significant first."""
        first = (self.address - start) * 2
        if self.type in {ValueType.INT8, ValueType.UINT8}:
            return [first + (self.byte is Byte.LOW)]
        words = [[first + 2 * i, first + 2 * i + 1] for i in range(self.width)]
        if self.order.swaps_words:
            words.reverse()
        return [i for word in words for i in (reversed(word) if self.order.swaps_bytes else word)]


class Decoder:
    """Decodes the answer of one read.

    ``order`` says which of the given layouts each sample stands for: samples come grouped by type.
    """

    def __init__(self, layouts: Sequence[Layout], read: Read) -> None:
        groups: dict[tuple[str, bool], list[int]] = {}
        for i in read.members:
            groups.setdefault(layouts[i].key, []).append(i)
        self.order: list[int] = [i for members in groups.values() for i in members]
        self._parts: list[_Part] = []
        at = 0
        for (name, _), members in groups.items():
            chosen = [layouts[i] for i in members]
            kind = {"bit": _Coils, "string": _Texts, "bool": _Flags}.get(name, _Numbers)
            self._parts.append(kind(chosen, read.address, at))
            at += len(members)

    def __len__(self) -> int:
        return len(self.order)

    def decode(self, data: bytes, value: Values, quality: Qualities, states: States) -> None:
        """Fill ``value`` and ``quality`` (zeros on entry), both [len(self)], from an answer's data.

        Any bytes of the read's length give values; one that is not finite gets :attr:`Reason.NOT_A_NUMBER`.
        """
        raw = np.frombuffer(data, np.uint8)
        with np.errstate(all="ignore"):  # a signalling NaN is data here; so is an overflow by scaling
            for part in self._parts:
                part.decode(raw, value[part.where], quality[part.where], states)


class _Part:
    """The points of one type; ``where`` is their part of the read's columns."""

    def __init__(self, layouts: Sequence[Layout], start: int, at: int) -> None:
        self.where = slice(at, at + len(layouts))
        self._layouts = layouts
        self._scale: Values | None = None
        if any((one.scale, one.offset) != (1.0, 0.0) for one in layouts):
            self._scale = np.array([one.scale for one in layouts])
            self._offset = np.array([one.offset for one in layouts])
        self._index = self._indices(start)

    def _indices(self, start: int) -> npt.NDArray[np.intp]:
        return np.array([i for one in self._layouts for i in one.byte_indices(start)], np.intp)

    def decode(self, raw: npt.NDArray[np.uint8], value: Values, quality: Qualities, states: States) -> None:
        raise NotImplementedError

    def _scaled(self, value: Values) -> None:
        if self._scale is not None:
            value *= self._scale
            value += self._offset


class _Numbers(_Part):
    """Integers, floats and fields of bits."""

    def __init__(self, layouts: Sequence[Layout], start: int, at: int) -> None:
        super().__init__(layouts, start, at)
        kind = layouts[0].type
        self._dtype = np.dtype(_DTYPES[kind])
        self._is_float = self._dtype.kind == "f"
        self._is_wide = kind in {ValueType.INT64, ValueType.UINT64}
        self._shift: npt.NDArray[np.uint64] | None = None
        if layouts[0].bits:
            self._shift = np.array([one.shift for one in layouts], np.uint64)
            self._mask = np.array([(1 << one.bits) - 1 for one in layouts], np.uint64)

    def decode(self, raw: npt.NDArray[np.uint8], value: Values, quality: Qualities, states: States) -> None:
        del states
        numbers = raw.take(self._index).view(self._dtype)
        if self._shift is not None:
            numbers = (numbers.astype(np.uint64) >> self._shift) & self._mask
        value[:] = numbers
        if self._is_wide:
            quality[np.abs(value) > _EXACT] = q.QUESTIONABLE | q.INACCURATE
        self._scaled(value)
        if self._is_float or self._scale is not None:
            finite = np.isfinite(value)
            if not finite.all():
                value[~finite] = _NOT_A_NUMBER
                quality[~finite] = q.INVALID


class _Flags(_Part):
    """Registers that are true if not zero."""

    def decode(self, raw: npt.NDArray[np.uint8], value: Values, quality: Qualities, states: States) -> None:
        del quality, states
        value[:] = raw.take(self._index).view(np.uint16) != 0
        self._scaled(value)


class _Coils(_Part):
    """Coils and discrete inputs: eight to a byte, the lowest address in the lowest bit."""

    def _indices(self, start: int) -> npt.NDArray[np.intp]:
        return np.array([one.address - start for one in self._layouts], np.intp)

    def decode(self, raw: npt.NDArray[np.uint8], value: Values, quality: Qualities, states: States) -> None:
        del quality, states
        value[:] = np.unpackbits(raw, bitorder="little").take(self._index)
        self._scaled(value)


class _Texts(_Part):
    """Strings, as numbers in their points' tables of states. An unchanged string is not decoded again."""

    def __init__(self, layouts: Sequence[Layout], start: int, at: int) -> None:
        super().__init__(layouts, start, at)
        self._places = [np.array(one.byte_indices(start), np.intp) for one in layouts]
        self._last: list[tuple[bytes, float] | None] = [None] * len(layouts)

    def decode(self, raw: npt.NDArray[np.uint8], value: Values, quality: Qualities, states: States) -> None:
        for i, place in enumerate(self._places):
            content = raw.take(place).tobytes()
            last = self._last[i]
            if last is None or last[0] != content:
                last = self._last[i] = (content, states(self.where.start + i, text_of(content)))
            value[i] = last[1]
            if isnan(last[1]):
                quality[i] = q.INVALID | q.OVERFLOW


def text_of(content: bytes) -> str:
    """A fixed-length string: up to the first NUL, without blanks around it; Latin-1 if it is not UTF-8."""
    content = content.partition(b"\0")[0]
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        return content.decode("latin-1").strip()


def encode(layout: Layout, value: float | str) -> bytes:
    """The bytes of a whole value as registers, or one byte 0 or 1 for a coil: the inverse of decoding.

    Raises:
        ValueError: if the value does not fit the type, or is only a part of its register.
    """
    if layout.table.is_bits:
        return bytes([value != 0])
    if layout.bits or layout.type in {ValueType.INT8, ValueType.UINT8}:
        raise ValueError(f"{layout.table}:{layout.address} is only part of a register")
    plain = _text(layout, value) if isinstance(value, str) else _number(layout, value)
    out = bytearray(2 * layout.width)
    for byte, i in zip(plain, layout.byte_indices(layout.address), strict=True):
        out[i] = byte
    return bytes(out)


def _text(layout: Layout, value: str) -> bytes:
    content = value.encode()
    if layout.type is not ValueType.STRING or len(content) > 2 * layout.width:
        raise ValueError(f"{value!r} does not fit a {layout.type} of {layout.width} registers")
    return content.ljust(2 * layout.width, b"\0")


def _number(layout: Layout, value: float) -> bytes:
    if layout.type is ValueType.STRING:
        raise ValueError("a string takes text")
    dtype = np.dtype(_DTYPES[layout.type])
    number = value  # an integer beyond 2**53 stays exact if nothing is to be computed
    if (layout.scale, layout.offset) != (1.0, 0.0):
        number = (value - layout.offset) / layout.scale
    try:
        plain: float = number if dtype.kind == "f" else round(number)
        return struct.pack(f">{_STRUCT[dtype.str[1:]]}", plain)
    except (struct.error, OverflowError, ValueError):
        raise ValueError(f"{value} does not fit a {layout.type}") from None


_STRUCT = {"u2": "H", "i2": "h", "u4": "I", "i4": "i", "u8": "Q", "i8": "q", "f2": "e", "f4": "f", "f8": "d"}
