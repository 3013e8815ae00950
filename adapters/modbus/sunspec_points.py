"""SunSpec models as points. The definitions are the JSON files of pysunspec2; only those of models found are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from adapters.modbus.config import ModbusPoint
from adapters.modbus.place import ValueType
from adapters.modbus.profile import span_of
from adapters.modbus.scaling import ScaleFrom
from adapters.modbus.sunspec_names import NAMES, UNITS
from gateway.point import Kind
from gateway.units import Duration

if TYPE_CHECKING:
    from adapters.modbus.sunspec import Chain, Model

STATIC_S = 3600.0
"""How often what never changes (nameplates) is read."""
_MOST_GROUPS = 100


class _Type(NamedTuple):
    """How a SunSpec type is laid out, and which raw value stands for "not implemented"."""

    type: ValueType
    absent: int | None = None
    is_counter: bool = False
    """Accumulators: a zero is not implemented."""


_TYPES = {
    "int16": _Type(ValueType.INT16, 0x8000),
    "int32": _Type(ValueType.INT32, 0x8000_0000),
    "int64": _Type(ValueType.INT64, 0x8000_0000_0000_0000),
    "uint16": _Type(ValueType.UINT16, 0xFFFF),
    "uint32": _Type(ValueType.UINT32, 0xFFFF_FFFF),
    "uint64": _Type(ValueType.UINT64, 0xFFFF_FFFF_FFFF_FFFF),
    "count": _Type(ValueType.UINT16, 0xFFFF),
    "enum16": _Type(ValueType.UINT16, 0xFFFF),
    "enum32": _Type(ValueType.UINT32, 0xFFFF_FFFF),
    "bitfield16": _Type(ValueType.UINT16, 0xFFFF),
    "bitfield32": _Type(ValueType.UINT32, 0xFFFF_FFFF),
    "bitfield64": _Type(ValueType.UINT64, 0xFFFF_FFFF_FFFF_FFFF),
    "acc16": _Type(ValueType.UINT16, is_counter=True),
    "acc32": _Type(ValueType.UINT32, is_counter=True),
    "acc64": _Type(ValueType.UINT64, is_counter=True),
    "float32": _Type(ValueType.FLOAT32, 0x7FC0_0000),
    "float64": _Type(ValueType.FLOAT64, 0x7FF8_0000_0000_0000),
    "string": _Type(ValueType.STRING),
}
"""Types that are values; scale factors, padding and network addresses are not."""


class Symbol(msgspec.Struct, frozen=True):
    """A text of an enumeration."""

    name: str
    value: int


class PointDef(msgspec.Struct, frozen=True):
    """A point of a model definition; ``size`` in registers."""

    name: str
    type: str
    size: int
    sf: str | int | None = None
    units: str = ""
    symbols: list[Symbol] = []
    static: str = "D"


class GroupDef(msgspec.Struct, frozen=True):
    """A group of points; ``count`` says how often it repeats: 0 or a name if only the device knows."""

    name: str
    points: list[PointDef]
    groups: list[GroupDef] = []
    count: int | str | None = None

    @property
    def size(self) -> int | None:
        """Registers of one repetition, or None if that depends on the device."""
        total = sum(point.size for point in self.points)
        for group in self.groups:
            if not isinstance(group.times, int) or group.size is None:
                return None
            total += group.times * group.size
        return total

    @property
    def times(self) -> int | None:
        """How often it repeats, or None if only the device knows."""
        return 1 if self.count is None else self.count if isinstance(self.count, int) and self.count else None


class ModelDef(msgspec.Struct, frozen=True):
    """A model definition."""

    id: int
    group: GroupDef


@cache
def definition(ident: int) -> ModelDef | None:
    """What is known of a model, or None."""
    file = files("sunspec2") / "models" / "json" / f"model_{ident}.json"
    return msgspec.json.decode(file.read_bytes(), type=ModelDef) if file.is_file() else None


@dataclass
class Map:
    """The points of a chain."""

    points: dict[str, ModbusPoint] = field(default_factory=dict)
    unknown: list[int] = field(default_factory=list)
    """Ids of models without a definition; they are skipped."""
    too_wide: list[str] = field(default_factory=list)
    """Points that lie too far from their scale factor to be read in one request."""


class _Value(NamedTuple):
    """A value of a model on the device."""

    name: str
    address: int
    point: PointDef
    factors: Mapping[str, int]
    number: int
    """Of the repetition that it is in, from 1; 0 outside of groups that repeat."""


def map_of(chain: Chain, max_registers: int) -> Map:
    """The points that the models of a chain have.

    A name is uniform (``power``) where there is one for it, else ``MODEL.point``. If a model would give a
    name a second time, all its names begin with ``MODEL.``; that of a repeated model with ``MODEL-2.``.
    """
    result, seen = Map(), dict.fromkeys((model.id for model in chain.models), 0)
    for model in chain.models:
        seen[model.id] += 1
        known = definition(model.id)
        if known is None:
            result.unknown.append(model.id)
            continue
        prefix = f"{model.id}." if seen[model.id] == 1 else f"{model.id}-{seen[model.id]}."
        named = {_named(model, value): value for value in _values(model, known.group)}
        doubled = any(name in result.points for name in named)
        for name, value in named.items():
            point = _point(value, name)
            uniform = name != value.name and not doubled
            full = name if uniform else f"{prefix}{name}"
            if point is not None and span_of(point)[1] > max_registers:
                result.too_wide.append(full)
            elif point is not None:
                result.points[full] = point
    return result


def _named(model: Model, value: _Value) -> str:
    names = NAMES.get(model.id, {})
    key = value.name.replace(str(value.number), "{n}", 1) if value.number else value.name
    return names.get(key, value.name).replace("{n}", str(value.number))


def _values(model: Model, group: GroupDef) -> Iterator[_Value]:
    """All values of a model that lie within the length that the device says."""
    start = _Place(model.address, model.end, "", {}, 0)
    for value in _walk(group, start):
        if value.address + value.point.size <= model.end and value.name not in {"ID", "L"}:
            yield value


class _Place(NamedTuple):
    """Where a group begins, and what it is in."""

    address: int
    end: int
    label: str
    factors: Mapping[str, int]
    number: int


def _walk(group: GroupDef, place: _Place) -> Iterator[_Value]:
    address, factors, points = place.address, dict(place.factors), []
    for point in group.points:
        if point.type == "sunssf" and address < place.end:
            factors[point.name] = address
        points.append((address, point))
        address += point.size
    for at, point in points:
        yield _Value(f"{place.label}{point.name}", at, point, factors, place.number)
    for inner in group.groups:
        size = inner.size
        if not size:
            return  # curves of curves: where they lie depends on values
        times = inner.times or min((place.end - address) // size, _MOST_GROUPS)
        for i in range(times):
            label = f"{place.label}{inner.name}{i + 1 if inner.count is not None else ''}."
            number = i + 1 if inner.count is not None else place.number
            yield from _walk(inner, _Place(address, place.end, label, factors, number))
            address += size


def _point(value: _Value, name: str) -> ModbusPoint | None:
    """The point for a value; None if it is no value, or its scale factor is missing."""
    point, kind = value.point, _TYPES.get(value.point.type)
    if kind is None or (isinstance(point.sf, str) and point.sf not in value.factors):
        return None
    unit = UNITS.get(point.units, "%" if point.units.lstrip().startswith("%") else "")
    scale = 10.0**point.sf if isinstance(point.sf, int) else 1.0
    if name.startswith("power_factor") and unit == "%":
        unit, scale = "1", 0.01
    counts = kind.is_counter or "energy" in name
    texts = {symbol.name: symbol.value for symbol in point.symbols} if point.type.startswith("enum") else {}
    return ModbusPoint(
        at=f"holding:{value.address}",
        as_=kind.type,
        length=point.size if kind.type is ValueType.STRING else None,
        scale=scale,
        scale_from=[ScaleFrom(at=f"holding:{value.factors[point.sf]}")] if isinstance(point.sf, str) else [],
        invalid=[] if kind.absent is None else [kind.absent],
        never_zero=kind.is_counter or kind.type is ValueType.STRING,
        texts=texts,
        unit="" if texts or kind.type is ValueType.STRING else unit,
        kind=Kind.STATE if texts or kind.type is ValueType.STRING else Kind.COUNTER if counts else Kind.GAUGE,
        every=Duration(STATIC_S) if point.static == "S" or kind.type is ValueType.STRING else None,
    )
