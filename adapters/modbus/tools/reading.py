"""``onpath modbus read``: values beside the registers that they were made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from adapters.modbus.config import MAX_REGISTERS, ModbusPoint
from adapters.modbus.layout import Decoder, Layout, text_of
from adapters.modbus.pdu import AnswerError
from adapters.modbus.place import Order, ValueType, parse_at
from adapters.modbus.planner import Limits, Read, Span, plan
from adapters.modbus.tools.session import UsageError
from gateway.errors import FieldError
from gateway.quality import reason_codes, reason_text, to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.modbus.tools.session import Session


@dataclass(frozen=True)
class Reading:
    """One value as it was read; ``value`` is None if there is none, and ``quality`` says why."""

    at: str
    raw: tuple[int, ...]
    """The registers, or the bit, as they came."""
    value: float | int | str | bool | None
    quality: str


def points_of(options: dict[str, Any], count: int) -> list[ModbusPoint]:
    """``count`` values, one behind the other, the first as ``options`` say (the words of the YAML).

    Raises:
        UsageError: naming the option that is wrong.
    """
    for name, words in (("as", ValueType), ("order", Order)):
        if options.get(name) not in {None, *words}:
            raise UsageError(f"--{name}: {options[name]!r} is none of {', '.join(words)}")
    try:
        first = msgspec.convert(options, ModbusPoint)
        table, address = parse_at(first.at)
        places = [f"{table}:{address + i * first.width}" for i in range(count)]
        return [msgspec.convert(options | {"at": at}, ModbusPoint) for at in places]
    except FieldError as error:
        raise UsageError(f"--{error.field[0]}: {error}") from None
    except msgspec.ValidationError as error:
        raise UsageError(_said(error)) from None


def _said(error: msgspec.ValidationError) -> str:
    """The message of msgspec with the option in front of it."""
    message, _, path = str(error).partition(" - at `$.")
    cause = error.__cause__
    if isinstance(cause, FieldError):
        return f"--{cause.field[0]}: {cause}"
    return f"--{path.rstrip('`')}: {message}" if path else message


async def read_values(
    session: Session, unit: int, points: Sequence[ModbusPoint], *, max_registers: int = MAX_REGISTERS
) -> list[Reading]:
    """Read and decode, as the gateway itself would.

    Raises:
        AnswerError: the device refuses or does not answer.
        LinkError: the connection is gone.
    """
    layouts = [Layout.of(point) for point in points]
    spans = [Span(one.table, one.address, one.width) for one in layouts]
    readings: dict[int, Reading] = {}
    for read in plan(spans, Limits(max_registers)):
        try:
            data = await session.read(unit, read.table, read.address, read.count)
        except AnswerError as error:
            asked = f"unit {unit}, {read.table}:{read.address}, {read.count} {_things(read)}"
            raise AnswerError(error.code, asked, silent=error.silent) from error
        readings |= _decoded(layouts, read, data)
    return [readings[i] for i in range(len(points))]


def _things(read: Read) -> str:
    things = "bit" if read.table.is_bits else "register"
    return things if read.count == 1 else f"{things}s"


def _decoded(layouts: Sequence[Layout], read: Read, data: bytes) -> dict[int, Reading]:
    decoder = Decoder(layouts, read)
    value, quality = np.empty(len(decoder)), np.zeros(len(decoder), np.uint16)
    decoder.decode(data, value, quality, lambda _position, _text: 0.0)
    codes = reason_codes(value)
    readings = {}
    for position, i in enumerate(decoder.order):
        why = f" ({reason_text(int(codes[position]))})" if codes[position] else ""
        shown = None if np.isnan(value[position]) else _shown(layouts[i], read, data, float(value[position]))
        text = to_text(int(quality[position])) + why
        readings[i] = Reading(f"{read.table}:{layouts[i].address}", registers(layouts[i], read, data), shown, text)
    return readings


def registers(layout: Layout, read: Read, data: bytes) -> tuple[int, ...]:
    """The registers of a value, or its one bit, out of the data of a read."""
    first = layout.address - read.address
    if layout.table.is_bits:
        return (data[first // 8] >> first % 8 & 1,)
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(2 * first, 2 * (first + layout.width), 2))


def _shown(layout: Layout, read: Read, data: bytes, value: float) -> float | str | bool:
    if layout.type is ValueType.STRING:
        return text_of(bytes(data[i] for i in layout.byte_indices(read.address)))
    if layout.type is ValueType.BOOL and layout.scale == 1.0 and not layout.offset:
        return bool(value)
    whole = layout.type not in {ValueType.FLOAT16, ValueType.FLOAT32, ValueType.FLOAT64} and value.is_integer()
    return int(value) if whole else shortest(layout.type, value)


def shortest(type_: ValueType, value: float) -> float:
    """The shortest number that stands for the same in its type: 230.1 rather than 230.10000610351562."""
    if type_ is ValueType.FLOAT32:
        return float(str(np.float32(value)))
    digits = {ValueType.FLOAT16: 4, ValueType.FLOAT64: 17}.get(type_, 12)
    return float(f"{value:.{digits}g}")
