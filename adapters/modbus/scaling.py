"""A scale factor that the device itself states. Light to import."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import msgspec

from adapters.modbus.place import Order, ValueType, parse_at
from gateway.errors import FieldError

if TYPE_CHECKING:
    from adapters.modbus.config import ModbusPoint


class Rule(enum.StrEnum):
    """What a factor does to the value."""

    POWER = "power"
    TIMES = "times"


class ScaleFrom(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A register that scales others. It is read in the same request as the value, because it may change."""

    at: Annotated[str, msgspec.Meta(min_length=1)]
    """Table and address of the factor, as for a point; the table is that of the value."""
    as_: ValueType | None = msgspec.field(default=None, name="as")
    """Type of the factor. Default: ``int16`` for ``power``, ``uint16`` for ``times``."""
    order: Order = Order.ABCD
    """Order of the factor's bytes."""
    rule: Rule = Rule.POWER
    """``power``: value x 10**factor, where a factor beyond -10 to 10 counts as not implemented (SunSpec).
    ``times``: value x factor (a transformer's ratio); a zero counts as not implemented."""

    def __post_init__(self) -> None:
        try:
            table, address = parse_at(self.at)
        except ValueError as error:
            raise FieldError("at", str(error)) from None
        if table.is_bits:
            raise FieldError("at", f"a {table} is no factor")
        if self.type in {ValueType.BOOL, ValueType.STRING, ValueType.INT8, ValueType.UINT8}:
            raise FieldError("as", f"a {self.type} is no factor")
        if address + self.type.size // 2 > 0x1_0000:
            raise FieldError("at", f"{self.type.size // 2} registers from {address} reach beyond address 65535")

    @property
    def type(self) -> ValueType:
        """The type with its default filled in."""
        return self.as_ or (ValueType.INT16 if self.rule is Rule.POWER else ValueType.UINT16)


def check_meaning(point: ModbusPoint) -> None:
    """Whether what the options of a point say of its raw value goes together.

    Raises:
        FieldError: naming the option.
    """
    table, _ = parse_at(point.at)
    if point.invalid and (table.is_bits or point.type is ValueType.STRING):
        raise FieldError("invalid", f"a {point.type} has no value that stands for none")
    bits = 8 * point.type.size
    for i, pattern in enumerate(point.invalid):
        if not -(1 << bits - 1) <= pattern < 1 << bits:
            raise FieldError(("invalid", i), f"{pattern} does not fit the {bits} bits of a {point.type}")
    if point.never_zero and table.is_bits:
        raise FieldError("never_zero", f"a {table} may be zero")
    for i, factor in enumerate(point.scale_from):
        if parse_at(factor.at)[0] is not table:
            raise FieldError(("scale_from", i, "at"), f"must lie in the table of the value, {table}")
    _check_texts(point)


def _check_texts(point: ModbusPoint) -> None:
    scaled = point.scale_from or point.times or (point.scale, point.offset) != (1.0, 0.0)
    number = point.type is not ValueType.STRING and not parse_at(point.at)[0].is_bits
    if point.scale_from and (not number or point.type is ValueType.BOOL):
        raise FieldError("scale_from", f"a {point.type} is not a number")
    if point.times and not number:
        raise FieldError("times", f"a {point.type} is not a number")
    if point.texts and (not number or point.type.startswith("float")):
        raise FieldError("texts", "only integers have texts")
    if point.texts and scaled:
        raise FieldError("texts", "what has texts is not scaled")
    if len(set(point.texts.values())) < len(point.texts):
        raise FieldError("texts", "two texts stand for the same number")
