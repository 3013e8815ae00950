"""Values to the bytes of registers: the inverse of :mod:`adapters.modbus.layout`. Pure.

What does not fit is refused by name, never clipped: a setpoint of 70,000 must not become 4,464.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from adapters.modbus.place import ValueType
from gateway.errors import PayloadError

if TYPE_CHECKING:
    from adapters.modbus.layout import Layout

_FLOATS = {ValueType.FLOAT16: ">e", ValueType.FLOAT32: ">f", ValueType.FLOAT64: ">d"}
_EPSILON = 1e-9


class UnfitError(PayloadError, ValueError):
    """The value cannot be written to this point; nothing was sent.

    ``reason`` is ``out-of-range``, ``not-a-number`` or ``wrong-type``.
    """


def encode(layout: Layout, value: float | str) -> bytes:
    """The bytes [2 * width] of the registers that hold ``value``, zero where they are not its own.

    A coil is one byte, 0 or 1. Numbers are rounded to the nearest step of the type. Factors of the device
    must be worked into the layout's scale.

    Raises:
        UnfitError: the value does not fit the type.
    """
    plain = _plain(layout, value)
    if not layout.bits and int.from_bytes(plain, "big") in layout.absent:
        raise UnfitError("out-of-range", f"{value} stands for no value at {layout.table}:{layout.address}")
    if layout.table.is_bits:
        return plain
    return _placed(layout, plain)


def mask_of(layout: Layout) -> bytes:
    """Which bits of the bytes of :func:`encode` are the value's: all, but for a field of bits or a byte."""
    if layout.table.is_bits:
        return b"\1"
    size = layout.type.size or 2 * layout.width
    field = ((1 << layout.bits) - 1) << layout.shift if layout.bits else (1 << 8 * size) - 1
    return _placed(layout, field.to_bytes(size, "big"))


def _placed(layout: Layout, plain: bytes) -> bytes:
    out = bytearray(2 * layout.width)
    for byte, i in zip(plain, layout.byte_indices(layout.address), strict=True):
        out[i] = byte
    return bytes(out)


def _plain(layout: Layout, value: float | str) -> bytes:
    """The value's own bytes, most significant first."""
    kind = layout.type
    if kind is ValueType.STRING:
        return _text(layout, value)
    number = _unscaled(layout, _code(layout, value) if isinstance(value, str) else value)
    if kind in _FLOATS:
        try:
            return struct.pack(_FLOATS[kind], float(number))
        except OverflowError:
            raise UnfitError("out-of-range", f"{value} does not fit a {kind}") from None
    if kind is ValueType.BOOL:
        return _flag(number, 1 if layout.table.is_bits else 2)
    raw = round(number)
    signed = not kind.is_unsigned
    bits = layout.bits or 8 * kind.size
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if not lowest <= raw <= highest:
        what = f"{layout.bits} bits" if layout.bits else f"a {kind}"
        raise UnfitError("out-of-range", f"{value} does not fit {what}")
    return (raw << layout.shift).to_bytes(kind.size, "big", signed=signed)


def _code(layout: Layout, text: str) -> int:
    """The number that a text stands for; one without a text is told, and so taken, as itself."""
    for number, known in (layout.texts or {}).items():
        if known == text:
            return number
    if layout.texts is None or not text.isdecimal():
        raise UnfitError("wrong-type", f"{text!r} is no value of {layout.table}:{layout.address}")
    return int(text)


def _unscaled(layout: Layout, value: float) -> float:
    """What the register holds. An integer beyond 2**53 stays exact if nothing is to be computed."""
    if not math.isfinite(value):
        raise UnfitError("not-a-number", f"{value} cannot be written")
    if (layout.scale, layout.offset) == (1.0, 0.0):
        return value
    number = (value - layout.offset) / layout.scale
    if not math.isfinite(number):
        raise UnfitError("out-of-range", f"{value} does not fit a {layout.type}")
    return number


def _flag(number: float, size: int) -> bytes:
    raw = round(number)
    if raw not in {0, 1} or abs(number - raw) > _EPSILON:
        raise UnfitError("out-of-range", f"{number:g} is neither on nor off")
    return raw.to_bytes(size, "big")


def _text(layout: Layout, value: float | str) -> bytes:
    if not isinstance(value, str):
        raise UnfitError("wrong-type", f"a string takes text, not {value}")
    size = 2 * layout.width
    try:
        content = value.encode()
    except UnicodeEncodeError:
        raise UnfitError("wrong-type", f"{value!r} is not text that UTF-8 knows") from None
    if len(content) > size:
        raise UnfitError("out-of-range", f"{value!r} does not fit {layout.width} registers")
    return content.ljust(size, b"\0")
