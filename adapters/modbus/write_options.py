"""Options of writing a point. Light to import."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from adapters.modbus.place import Table, ValueType, parse_at
from gateway.errors import FieldError
from gateway.units import Duration

if TYPE_CHECKING:
    from adapters.modbus.config import ModbusPoint

Function: TypeAlias = Literal["auto", 5, 6, 15, 16, 22]
MAX_WRITE = 123
"""Registers that function 16 takes at most."""
_COILS = 5, 15


class Write(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a coil or holding register is written, and how the result is found out."""

    function: Function = "auto"
    """Function code. ``auto``: 5 for a coil, 6 for one register, 16 for more, 22 (mask write) for a part
    of a register. Some devices take 15 for a single coil, or 16 for a single register, only."""
    verify: bool = True
    """Whether the value is read back after ``settle`` and compared with what was sent. Without, a device
    that answers but drops the value silently is not found out."""
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How far what is read back may lie from what was sent, in the point's unit, for a device that rounds.
    What was sent is already rounded to the step of the register."""
    settle: Duration = Duration(0.2)
    """Time between the device's answer and the reading back; polls go on meanwhile."""
    read_modify_write: bool = False
    """For a part of a register on a device without function 22: read the register, change the part, write
    it back. What the device itself changes in the same register in between is lost."""

    def check(self, point: ModbusPoint, key: str) -> None:
        """Whether the point can be written so.

        Raises:
            FieldError: saying what does not go together; ``key`` is what the user wrote.
        """
        table, _ = parse_at(point.at)
        if table not in {Table.COIL, Table.HOLDING}:
            raise FieldError(key, f"only coils and holding registers can be written, not {table}")
        if not math.isfinite(point.scale) or point.scale == 0 or not math.isfinite(point.offset):
            raise FieldError(key, "a scale of 0 or without end cannot be undone")
        where = key if key == "writable" else (key, "function")
        if point.width > MAX_WRITE:
            raise FieldError(where, f"{point.width} registers; a write takes {MAX_WRITE} at most")
        problem = self._problem(table, point)
        if problem:
            raise FieldError(where, problem)
        if self.read_modify_write and not is_partial(point):
            raise FieldError((key, "read_modify_write"), "the value fills its registers, none has to be kept")

    def _problem(self, table: Table, point: ModbusPoint) -> str:
        """Why the function does not fit the point, or nothing."""
        code = self.function
        if code == "auto" and not is_partial(point):
            return ""
        if code != "auto" and (code in _COILS) is not table.is_bits:
            return f"function {code} writes {'coils' if code in _COILS else 'registers'}, this is a {table}"
        touched = words_touched(point)
        if code in {6, 22} and touched > 1:
            return f"function {code} writes one register, the value takes {touched}"
        if is_partial(point) and not self.read_modify_write:
            if touched > 1:
                return f"a field over {touched} registers can only be written with read_modify_write: true"
            if code not in {"auto", 22}:
                return f"function {code} writes whole registers; use 22, or read_modify_write: true"
        return ""


def is_partial(point: ModbusPoint) -> bool:
    """Whether the value is only a part of its registers."""
    return point.field is not None or point.type in {ValueType.INT8, ValueType.UINT8}


def words_touched(point: ModbusPoint) -> int:
    """Registers that a write of the point changes."""
    field = point.field
    if field is None:
        return point.width
    return (field.from_ + field.count - 1) // 16 - field.from_ // 16 + 1
