"""Bytes of a read to values: compiled once per planned read, then a handful of numpy calls.

For each type among a read's points one index of bytes is kept, in the order that makes each value big
endian. Decoding takes those bytes, views them as the type and writes a contiguous part of the frame's
columns; no Python loop runs over points (strings excepted: they are looked up as states one by one).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from adapters.modbus.factor import Factor, Factors, Scaling
from adapters.modbus.place import DTYPES, Byte, Order, Table, ValueType, parse_at
from adapters.modbus.planner import Span
from gateway import quality as q
from gateway.quality import Reason, no_value

if TYPE_CHECKING:
    from adapters.modbus.config import ModbusPoint
    from adapters.modbus.planner import Read
    from gateway.frame import Qualities, Values

States = Callable[[int, str], float]
"""Gives the number of a text: (position of the point among the read's, text); NaN if there is no room."""

_EXACT = 2.0**53
_NOT_A_NUMBER = no_value(Reason.NOT_A_NUMBER)
_NOT_THERE = no_value(Reason.NOT_IMPLEMENTED)


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
    factors: tuple[Factor, ...] = ()
    """Scale factors that must be read in the same request."""
    absent: tuple[int, ...] = ()
    """Raw values, as unsigned integers, that stand for none."""
    texts: Mapping[int, str] | None = None
    """Texts by raw number: the value is a state."""

    @classmethod
    def of(cls, point: ModbusPoint) -> Layout:
        """The layout that the options of a point say."""
        table, address = parse_at(point.at)
        field = point.field
        factors = []
        for one in point.scale_from:
            at = parse_at(one.at)[1]
            factors.append(Factor(cls(table, at, one.type.size // 2, one.type, one.order), one.rule))
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
            factors=tuple(factors),
            absent=_absent(point),
            texts={number: text for text, number in point.texts.items()} or None,
        )

    @property
    def key(self) -> tuple[str, bool, bool]:
        """Layouts of one key decode together."""
        return ("bit" if self.table.is_bits else self.type.value), self.bits > 0, self.texts is not None

    @property
    def span(self) -> Span:
        """The addresses that one request must fetch: of the value, and from and to those of its factors."""
        parts = [self, *(factor.layout for factor in self.factors)]
        start = min(part.address for part in parts)
        return Span(self.table, start, max(part.address + part.width for part in parts) - start)

    def byte_indices(self, start: int) -> list[int]:
        """Where the bytes of the value are in the data of a read from ``start``, most significant first."""
        first = (self.address - start) * 2
        if self.type in {ValueType.INT8, ValueType.UINT8}:
            return [first + (self.byte is Byte.LOW)]
        words = [[first + 2 * i, first + 2 * i + 1] for i in range(self.width)]
        if self.order.swaps_words:
            words.reverse()
        return [i for word in words for i in (reversed(word) if self.order.swaps_bytes else word)]


def _absent(point: ModbusPoint) -> tuple[int, ...]:
    bits = 8 * point.type.size
    patterns = [value % (1 << bits) for value in point.invalid]
    if point.never_zero:
        patterns += [0, 1 << bits - 1] if point.type.startswith("float") else [0]
    return tuple(patterns)


class _Answer(NamedTuple):
    """What parts decode: the bytes of an answer, the factors in it, and the texts' numbers."""

    raw: npt.NDArray[np.uint8]
    states: States
    scaling: Scaling | None


class Decoder:
    """Decodes the answer of one read.

    ``order`` says which of the given layouts each sample stands for: samples come grouped by type.
    """

    def __init__(self, layouts: Sequence[Layout], read: Read) -> None:
        groups: dict[tuple[str, bool, bool], list[int]] = {}
        for i in read.members:
            groups.setdefault(layouts[i].key, []).append(i)
        self.order: list[int] = [i for members in groups.values() for i in members]
        factors = list(dict.fromkeys(factor for i in self.order for factor in layouts[i].factors))
        self._factors = Factors(factors, read.address) if factors else None
        self._parts: list[_Part] = []
        at = 0
        for (name, _, coded), members in groups.items():
            chosen = [layouts[i] for i in members]
            kind = _Codes if coded else {"bit": _Coils, "string": _Texts, "bool": _Flags}.get(name, _Numbers)
            self._parts.append(kind(chosen, read.address, at, factors))
            at += len(members)

    def __len__(self) -> int:
        return len(self.order)

    def decode(self, data: bytes, value: Values, quality: Qualities, states: States) -> None:
        """Fill ``value`` and ``quality`` (zeros on entry), both [len(self)], from an answer's data.

        Any bytes of the read's length give values; one that is not finite gets :attr:`Reason.NOT_A_NUMBER`.
        """
        raw = np.frombuffer(data, np.uint8)
        with np.errstate(all="ignore"):  # a signalling NaN is data here; so is an overflow by scaling
            answer = _Answer(raw, states, self._factors.decode(raw) if self._factors else None)
            for part in self._parts:
                part.decode(answer, value[part.where], quality[part.where])


class _Part:
    """The points of one type; ``where`` is their part of the read's columns."""

    def __init__(self, layouts: Sequence[Layout], start: int, at: int, factors: Sequence[Factor]) -> None:
        self.where = slice(at, at + len(layouts))
        self._layouts = layouts
        watched = [(i, pattern) for i, one in enumerate(layouts) for pattern in one.absent]
        self._watched = np.array([i for i, _ in watched], np.intp)
        self._patterns = np.array([pattern for _, pattern in watched], np.uint64)
        self._factored = _levels(layouts, factors)
        self._scale: Values | None = None
        if any((one.scale, one.offset) != (1.0, 0.0) for one in layouts):
            self._scale = np.array([one.scale for one in layouts])
            self._offset = np.array([one.offset for one in layouts])
        self._index = self._indices(start)

    def _indices(self, start: int) -> npt.NDArray[np.intp] | slice:
        return _compact(np.array([i for one in self._layouts for i in one.byte_indices(start)], np.intp))

    def decode(self, answer: _Answer, value: Values, quality: Qualities) -> None:
        raise NotImplementedError

    def _scaled(self, value: Values) -> None:
        if self._scale is not None:
            value *= self._scale
            value += self._offset

    def _mark(self, words: npt.NDArray[Any], scaling: Scaling | None, value: Values, quality: Qualities) -> None:
        """Take away what stands for no value: by its raw word [n], or because a factor is not there."""
        if self._watched.size:
            _take_away(self._watched[words[self._watched] == self._patterns], value, quality)
        if scaling is not None and scaling.broken.any():
            for at, which in self._factored:
                _take_away(at[scaling.broken[which]], value, quality)


def _compact(index: npt.NDArray[np.intp]) -> npt.NDArray[np.intp] | slice:
    """A slice where the indices follow each other: registers of one type side by side need no copy."""
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def _take_away(at: npt.NDArray[np.intp], value: Values, quality: Qualities) -> None:
    value[at] = _NOT_THERE
    quality[at] = q.INVALID


def _levels(
    layouts: Sequence[Layout], factors: Sequence[Factor]
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """First, second ... factor of the points that have so many: positions and which factor, each [m]."""
    levels = []
    for level in range(max(len(one.factors) for one in layouts)):
        at = [i for i, one in enumerate(layouts) if len(one.factors) > level]
        which = [factors.index(layouts[i].factors[level]) for i in at]
        levels.append((np.array(at, np.intp), np.array(which, np.intp)))
    return levels


class _Numbers(_Part):
    """Integers, floats and fields of bits."""

    def __init__(self, layouts: Sequence[Layout], start: int, at: int, factors: Sequence[Factor]) -> None:
        super().__init__(layouts, start, at, factors)
        kind = layouts[0].type
        self._dtype = np.dtype(DTYPES[kind])
        self._word = np.dtype(f">u{self._dtype.itemsize}")
        self._is_float = self._dtype.kind == "f"
        self._is_wide = kind in {ValueType.INT64, ValueType.UINT64}
        self._shift: npt.NDArray[np.uint64] | None = None
        if layouts[0].bits:
            self._shift = np.array([one.shift for one in layouts], np.uint64)
            self._mask = np.array([(1 << one.bits) - 1 for one in layouts], np.uint64)

    def _fields(self, content: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The numbers [n] in the bytes of the points."""
        numbers = content.view(self._dtype)
        if self._shift is None:
            return numbers
        return (numbers.astype(np.uint64) >> self._shift) & self._mask

    def decode(self, answer: _Answer, value: Values, quality: Qualities) -> None:
        content = answer.raw[self._index]
        value[:] = self._fields(content)
        if self._is_wide:
            quality[np.abs(value) > _EXACT] = q.QUESTIONABLE | q.INACCURATE
        if answer.scaling is not None:
            for at, which in self._factored:
                value[at] = value[at] * answer.scaling.times[which] / answer.scaling.over[which]
        self._scaled(value)
        if self._is_float or self._factored or self._scale is not None:
            finite = np.isfinite(value)
            if not finite.all():
                value[~finite] = _NOT_A_NUMBER
                quality[~finite] = q.INVALID
        if self._watched.size or self._factored:
            self._mark(content.view(self._word), answer.scaling, value, quality)


class _Codes(_Numbers):
    """Integers that stand for texts. An unchanged number is not looked up again."""

    def __init__(self, layouts: Sequence[Layout], start: int, at: int, factors: Sequence[Factor]) -> None:
        super().__init__(layouts, start, at, factors)
        self._last: list[tuple[int, float] | None] = [None] * len(layouts)

    def decode(self, answer: _Answer, value: Values, quality: Qualities) -> None:
        content = answer.raw[self._index]
        for i, code in enumerate(self._fields(content).tolist()):
            last = self._last[i]
            if last is None or last[0] != code:
                texts = self._layouts[i].texts or {}
                last = self._last[i] = (code, answer.states(self.where.start + i, texts.get(code, str(code))))
            value[i] = last[1]
            if isnan(last[1]):
                quality[i] = q.INVALID | q.OVERFLOW
        self._mark(content.view(self._word), None, value, quality)


class _Flags(_Part):
    """Registers that are true if not zero."""

    def decode(self, answer: _Answer, value: Values, quality: Qualities) -> None:
        words = answer.raw[self._index].view(">u2")
        value[:] = words != 0
        self._scaled(value)
        self._mark(words, None, value, quality)


class _Coils(_Part):
    """Coils and discrete inputs: eight to a byte, the lowest address in the lowest bit."""

    def _indices(self, start: int) -> npt.NDArray[np.intp] | slice:
        return np.array([one.address - start for one in self._layouts], np.intp)

    def decode(self, answer: _Answer, value: Values, quality: Qualities) -> None:
        del quality
        value[:] = np.unpackbits(answer.raw, bitorder="little")[self._index]
        self._scaled(value)


class _Texts(_Part):
    """Strings, as numbers in their points' tables of states. An unchanged string is not decoded again."""

    def __init__(self, layouts: Sequence[Layout], start: int, at: int, factors: Sequence[Factor]) -> None:
        super().__init__(layouts, start, at, factors)
        self._places = [np.array(one.byte_indices(start), np.intp) for one in layouts]
        self._last: list[tuple[bytes, float] | None] = [None] * len(layouts)

    def decode(self, answer: _Answer, value: Values, quality: Qualities) -> None:
        for i, place in enumerate(self._places):
            content = answer.raw.take(place).tobytes()
            last = self._last[i]
            if last is None or last[0] != content:
                last = self._last[i] = (content, self._number(i, content, answer.states))
            value[i] = last[1]
            if isnan(last[1]):
                quality[i] = q.INVALID if self._layouts[i].absent and not text_of(content) else q.INVALID | q.OVERFLOW

    def _number(self, i: int, content: bytes, states: States) -> float:
        text = text_of(content)
        return states(self.where.start + i, text) if text or not self._layouts[i].absent else _NOT_THERE


def text_of(content: bytes) -> str:
    """A fixed-length string: up to the first NUL, without blanks around it; Latin-1 if it is not UTF-8."""
    content = content.partition(b"\0")[0]
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        return content.decode("latin-1").strip()
