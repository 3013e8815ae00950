"""Raw bytes with a fixed layout, to numbers. Pure functions.

A layout is made of fields (:mod:`adapters.payloads.fields`). Many payloads are read at once: they have one
length, so that they are one table of bytes, and a field is a few of its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from adapters.payloads.fields import Field
from gateway.errors import PayloadError
from gateway.frame import Values
from gateway.quality import Reason, no_value

MAX_FIELDS: Final = 4096
"""Values of one payload, repetitions counted."""

Bytes = npt.NDArray[np.uint8]

_NUMPY: Final = {
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "float16": "f2", "float32": "f4", "float64": "f8",
}  # fmt: skip
_NO_NUMBER: Final = no_value(Reason.NOT_A_NUMBER)


class Layout:
    """Compiled fields; see :func:`compile_layout`."""

    def __init__(self, fields: Sequence[Field], size: int) -> None:
        self.size = size
        """Bytes that a payload has."""
        self.names = [name for one in fields for name in one.names]
        """Of the columns."""
        self.texts: list[int] = []
        """Which columns are texts; they are NaN in the matrix."""
        self._columns: list[tuple[Callable[[Bytes], npt.NDArray[Any]], Field]] = []
        self._spans: list[tuple[int, int]] = []
        for one in fields:
            for number in range(one.repeat):
                at = one.at + number * one.step
                if one.is_text:
                    self.texts.append(len(self._columns))
                self._spans.append((at, at + one.size))
                self._columns.append((_reader(one, at), one))

    def read_many(self, payloads: Sequence[bytes]) -> Values:
        """The numbers of payloads, [m, fields]; NaN with a reason where the bytes are none, and for texts.

        Raises:
            PayloadError: ``wrong-length``, if one of them has another number of bytes.
        """
        if set(map(len, payloads)) - {self.size}:
            wrong = next(len(payload) for payload in payloads if len(payload) != self.size)
            raise PayloadError("wrong-length", f"{wrong} bytes instead of {self.size}")
        table = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), self.size)
        values = np.empty((len(payloads), len(self._columns)))
        for column, (read, one) in enumerate(self._columns):
            values[:, column] = _scaled(read(table), one)
        values[~np.isfinite(values)] = _NO_NUMBER
        return values

    def read_texts(self, payload: bytes) -> dict[int, str]:
        """The texts of one payload of the right length, by column; those that are not UTF-8 are left out."""
        found = {}
        for column in self.texts:
            start, stop = self._spans[column]
            try:
                found[column] = payload[start:stop].split(b"\0", 1)[0].decode().strip()
            except UnicodeDecodeError:
                continue
        return found

    def read(self, payload: bytes) -> list[tuple[str, float | str]]:
        """The values of one payload, by name.

        Raises:
            PayloadError: ``wrong-length``.
        """
        values: list[float | str] = list(self.read_many([payload])[0].tolist())
        for column, text in self.read_texts(payload).items():
            values[column] = text
        return list(zip(self.names, values, strict=True))


def compile_layout(fields: Iterable[Field], size: int | None = None) -> Layout:
    """Make fields ready for reading.

    Args:
        fields: they may overlap.
        size: the bytes that a payload has; None: it ends with the last field.

    Raises:
        ValueError: a field lies outside of ``size``, or there are too many.
    """
    listed = list(fields)
    end = max((one.end for one in listed), default=0)
    if size is not None and end > size:
        raise ValueError(f"a field ends at byte {end}, behind the end of a payload of {size} bytes")
    if not listed or sum(one.repeat for one in listed) > MAX_FIELDS:
        raise ValueError(f"a layout has one field at least and {MAX_FIELDS:,} values at most")
    return Layout(listed, end if size is None else size)


def _reader(one: Field, at: int) -> Callable[[Bytes], npt.NDArray[Any]]:
    """From the table of bytes, [m, size], to raw numbers, [m]."""
    if one.is_text:
        return lambda table: np.full(len(table), _NO_NUMBER)
    if one.kind == "bool":
        return lambda table: table[:, at] != 0
    if one.kind == "bcd":
        return lambda table: _bcd(_ordered(table, one, at))
    if one.kind in _NUMPY and not one.width:
        wire = np.dtype(("<" if one.little else ">") + _NUMPY[one.kind])
        return lambda table: np.ascontiguousarray(table[:, at : at + one.size]).view(wire)[:, 0]
    return lambda table: _integer(_ordered(table, one, at), one)


def _ordered(table: Bytes, one: Field, at: int) -> Bytes:
    """The bytes of a field, most significant first, [m, bytes]."""
    taken = table[:, at : at + one.size]
    return taken[:, ::-1] if one.little else taken


def _integer(taken: Bytes, one: Field) -> npt.NDArray[Any]:
    """Integers of any number of bytes, and parts of them."""
    raw = np.zeros(len(taken), np.uint64)
    for column in range(one.size):
        raw = raw << np.uint64(8) | taken[:, column].astype(np.uint64)
    if one.width:
        return raw >> np.uint64(one.low) & np.uint64((1 << one.width) - 1)
    if one.kind.startswith("u"):
        return raw
    unused = np.uint64(64 - 8 * one.size)
    return (raw << unused).view(np.int64) >> np.int64(unused)


def _bcd(taken: Bytes) -> Values:
    """Two decimal digits a byte; NaN where one is above 9."""
    high, low = taken >> 4, taken & 15
    value = np.zeros(len(taken))
    for column in range(taken.shape[1]):
        value = value * 100 + (high[:, column] * 10.0 + low[:, column])
    return np.where(((high > 9) | (low > 9)).any(axis=1), _NO_NUMBER, value)


def _scaled(raw: npt.NDArray[Any], one: Field) -> Values:
    """``raw * scale + offset``; a scale of 1/N divides, so that 3 * 0.1 is 0.3."""
    inverse = 1 / one.scale
    divides = abs(inverse) < 1e15 and abs(round(inverse)) > 1 and abs(inverse - round(inverse)) < 1e-9 * abs(inverse)
    with np.errstate(over="ignore", invalid="ignore"):
        value = raw.astype(np.float64)
        if one.scale != 1:
            value = value / round(inverse) if divides else value * one.scale
        return value + one.offset if one.offset else value
