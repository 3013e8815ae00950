"""What a birth says of its metrics: one slot for each, by name and by alias."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from adapters.mqtt.sparkplug.where import MAX_PATH, metric_path
from adapters.payloads.sparkplug.model import DataType
from gateway.errors import PayloadError, TooManyPointsError
from gateway.point import Kind, Point

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb

MAX_DEPTH: Final = 8
"""Templates within templates."""
MAX_ELEMENTS: Final = 1024
"""Elements of an array that become points."""
MAX_UNIT: Final = 32
_EXACT: Final = float(2**53)
_UNKNOWN: Final = 0


class Role(enum.IntEnum):
    """What becomes of a metric."""

    NUMBER = 0
    STATE = 1
    ARRAY = 2
    TEMPLATE = 3
    LEFT_OUT = 4


_TYPES: Final = {
    DataType.INT8: ("int_value", 2.0**7 - 1),
    DataType.INT16: ("int_value", 2.0**15 - 1),
    DataType.INT32: ("int_value", 2.0**31 - 1),
    DataType.UINT8: ("int_value", 2.0**8 - 1),
    DataType.UINT16: ("int_value", 2.0**16 - 1),
    DataType.UINT32: ("int_value", 2.0**32 - 1),
    DataType.INT64: ("long_value", _EXACT),
    DataType.UINT64: ("long_value", _EXACT),
    DataType.DATETIME: ("long_value", _EXACT),
    DataType.FLOAT: ("float_value", math.inf),
    DataType.DOUBLE: ("double_value", math.inf),
    DataType.BOOLEAN: ("boolean_value", 1.0),
}
"""The field of each numeric type, and up to which raw value it can be taken as it is."""
_TEXTS: Final = (DataType.STRING, DataType.TEXT)
_GUESSED: Final = {
    "int_value": DataType.UINT32,
    "long_value": DataType.UINT64,
    "float_value": DataType.FLOAT,
    "double_value": DataType.DOUBLE,
    "boolean_value": DataType.BOOLEAN,
    "string_value": DataType.STRING,
    "template_value": DataType.TEMPLATE,
}
"""For a birth that leaves the type out, against the rule."""


class Slot:
    """One metric: where its values go and how they are read."""

    __slots__ = ("datatype", "elements", "field", "name", "options", "point", "role", "top", "tree", "why")

    def __init__(self, name: str, datatype: int, role: Role) -> None:
        self.name = name
        """Our name of it, behind the device."""
        self.datatype = datatype
        self.role = role
        self.field, self.top = _TYPES.get(datatype, ("", -1.0))  # type: ignore[call-overload]  # a plain number is looked up
        self.point = -1
        self.elements: list[int] = []
        """Points of an array's elements."""
        self.tree: Tree | None = None
        """Members of a template."""
        self.options: dict[str, Any] = {}
        """Facts for the points of elements that appear later."""
        self.why = ""
        """The reason to count when a value comes that is left out; empty if it is left out on purpose."""

    def points(self) -> Iterator[int]:
        """All points that its values go to."""
        if self.role in {Role.NUMBER, Role.STATE}:
            yield self.point
        elif self.role is Role.ARRAY:
            yield from self.elements
        elif self.tree is not None:
            yield from self.tree.points()


class Tree:
    """Metrics of one level: those of a birth, or the members of a template."""

    __slots__ = ("by_alias", "by_name")

    def __init__(self) -> None:
        self.by_name: dict[str, Slot] = {}
        self.by_alias: dict[int, Slot] = {}

    def points(self) -> Iterator[int]:
        """All points of this level and below."""
        for slot in self.by_name.values():
            yield from slot.points()


class Builder:
    """Makes slots of a birth's metrics and tells the directory of their points."""

    def __init__(
        self, points: Points, reasons: Counter[str], device: str, labels: Mapping[str, str], room: int
    ) -> None:
        self._points = points
        self._reasons = reasons
        self._device = device
        self._labels = dict(labels)
        self._names: set[str] = set()
        self._room = room
        self.definitions: Mapping[str, pb.Template] = {}
        """Templates by name, as the NBIRTH has defined them."""
        self.taken = 0
        """Metrics so far, members of templates among them."""
        self.cut = 0
        """Metrics that there was no room for."""

    def tree(self, metrics: Any, prefix: str = "", depth: int = 0, pattern: Any = None) -> Tree:
        """Slots for metrics (protobuf messages); ``pattern`` is the definition of the template they are members of."""
        tree = Tree()
        facts = {member.name: member for member in pattern.metrics[: self._room]} if pattern is not None else {}
        for number, metric in enumerate(metrics):
            if metric.name in tree.by_name:  # a birth may tell several values of one metric
                continue
            if self.taken >= self._room:
                self.cut += len(metrics) - number
                self._reasons["too-many-metrics"] += len(metrics) - number
                break
            self.taken += 1
            try:
                slot = self._slot(metric, prefix, depth, facts.get(metric.name))
            except PayloadError as error:
                self._reasons[error.reason] += 1
                slot = _left_out(metric.name)
            if slot is not None:
                tree.by_name.setdefault(metric.name, slot)
                if metric.HasField("alias") and tree.by_alias.setdefault(metric.alias, slot) is not slot:
                    self._reasons["alias-twice"] += 1
        return tree

    def _slot(self, metric: Any, prefix: str, depth: int, fact: Any) -> Slot | None:
        """A slot, or None for the definition of a template.

        Raises:
            PayloadError: its name or type is not to be used.
        """
        path = metric_path(metric.name)
        datatype = metric.datatype or (fact.datatype if fact is not None else _UNKNOWN) or _guess(metric)
        if path is None or metric.is_transient:
            return _left_out(metric.name)
        path = prefix + path
        if len(path) > MAX_PATH:
            raise PayloadError("bad-name", f"{path[:80]}... is longer than {MAX_PATH} characters")
        if datatype == DataType.TEMPLATE:
            return self._template(metric, path, depth)
        if path in self._names:
            raise PayloadError("collision", path)
        slot = Slot(path, datatype, _role(datatype))
        if slot.role is Role.LEFT_OUT:
            slot.why = "dataset" if datatype == DataType.DATASET else ""
            return slot
        self._names.add(path)
        slot.options = _facts(metric, self._reasons) or (_facts(fact, self._reasons) if fact is not None else {})
        if datatype == DataType.DATETIME and not slot.options:
            slot.options = {"unit": "ms"}
        if slot.role is not Role.ARRAY:
            slot.point = self._add(path, slot)
        return slot

    def _template(self, metric: Any, path: str, depth: int) -> Slot | None:
        found = metric.template_value
        if found.is_definition:
            return None
        if depth >= MAX_DEPTH:
            raise PayloadError("too-deep", f"{path}: more than {MAX_DEPTH} templates within each other")
        slot = Slot(path, DataType.TEMPLATE, Role.TEMPLATE)
        pattern = self.definitions.get(found.template_ref)
        slot.tree = self.tree(found.metrics, f"{path}/", depth + 1, pattern)
        return slot

    def _add(self, path: str, slot: Slot) -> int:
        point = Point(
            name=f"{self._device}/{path}",
            kind=Kind.STATE if slot.role is Role.STATE or slot.datatype == DataType.STRING_ARRAY else Kind.GAUGE,
            labels=self._labels,
            **slot.options,
        )
        try:
            return self._points.add(point)
        except TooManyPointsError:
            slot.role, slot.field, slot.why = Role.LEFT_OUT, "", "too-many-points"
            self._reasons["too-many-points"] += 1
            return -1

    def element(self, slot: Slot) -> bool:
        """One more point for an array; whether there was room for it."""
        number = len(slot.elements)
        if number >= min(MAX_ELEMENTS, self._room):
            return False
        path = f"{slot.name}/{number}"
        if path in self._names:
            self._reasons["collision"] += 1
            return False
        role = slot.role
        point = self._add(path, slot)
        slot.role, slot.why = role, ""
        if point >= 0:
            self._names.add(path)
            slot.elements.append(point)
        return point >= 0


def _left_out(name: str) -> Slot:
    return Slot(name, _UNKNOWN, Role.LEFT_OUT)


def _guess(metric: Any) -> int:
    return _GUESSED.get(metric.WhichOneof("value") or "", _UNKNOWN)


def _role(datatype: int) -> Role:
    """What becomes of a type.

    Raises:
        PayloadError: ``unknown-datatype``.
    """
    if datatype in _TYPES:
        return Role.NUMBER
    if datatype in _TEXTS:
        return Role.STATE
    if DataType.INT8_ARRAY <= datatype <= DataType.DATETIME_ARRAY:
        return Role.ARRAY
    if datatype == _UNKNOWN or datatype > DataType.DATETIME_ARRAY:
        raise PayloadError("unknown-datatype", str(datatype))
    return Role.LEFT_OUT


def _facts(metric: Any, reasons: Counter[str]) -> dict[str, Any]:
    """Unit and limits from ``engUnit``, ``engLow`` and ``engHigh``, the names that SCADA systems have agreed on."""
    if not metric.HasField("properties"):
        return {}
    keys, values = metric.properties.keys, metric.properties.values
    if len(keys) != len(values):
        reasons["bad-propertyset"] += 1
        return {}
    found: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        if key in {"engUnit", "engLow", "engHigh"} and not value.is_null:
            field = value.WhichOneof("value")
            found[key] = getattr(value, field) if field else None
    facts: dict[str, Any] = {}
    unit = found.get("engUnit")
    if isinstance(unit, str) and unit.isprintable() and len(unit) <= MAX_UNIT:
        facts["unit"] = unit.strip()
    low, high = found.get("engLow"), found.get("engHigh")
    if isinstance(low, float) and isinstance(high, float) and -math.inf < low < high < math.inf:
        facts["limits"] = (low, high)
    return facts
