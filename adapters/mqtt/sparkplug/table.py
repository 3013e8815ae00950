"""The metrics of one birth at work: values of BIRTH and DATA messages become samples.

A number that fits its type as it stands goes through one loop (:meth:`Table.take`); what is null, signed, huge, of
a quality of its own, a text, an array or a template takes the longer way.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from adapters.mqtt.sparkplug.columns import (
    MAX_MS,
    MISSING,
    MS,
    NOT_A_NUMBER,
    STALE,
    UNPARSABLE,
    Columns,
)
from adapters.mqtt.sparkplug.slots import MAX_ELEMENTS, Builder, Role, Slot, Tree
from adapters.payloads.sparkplug.model import QUALITY_BAD, QUALITY_GOOD, QUALITY_KEY, QUALITY_STALE, Typed
from adapters.payloads.sparkplug.values import read
from gateway import quality as q
from gateway.errors import PayloadError, TooManyPointsError

if TYPE_CHECKING:
    from adapters.base import Points

MAX_TEXT: Final = 256
"""Characters of a state's text; a longer one is no state."""
MAX_ARRAY: Final = 8 * MAX_ELEMENTS
"""Bytes of an array that are looked at."""
_QUALITIES: Final = {
    QUALITY_GOOD: q.GOOD,
    QUALITY_BAD: q.INVALID,
    QUALITY_STALE: q.QUESTIONABLE | q.OLD_DATA,
}
MAX_ITEMS: Final = 50_000
"""Metrics and members of templates that one message may have."""


class Table:
    """What one birth has defined: metrics of an edge node, or of one of its devices."""

    def __init__(self, device: str, builder: Builder, points: Points, reasons: Counter[str]) -> None:
        self.device = device
        """Our name of it."""
        self.alive = True
        self.latest = 0
        """The latest source time so far, ns."""
        self.metrics = 0
        self.cut = False
        """Whether some metrics found no room, so that one that is unknown is no reason to ask."""
        self._builder = builder
        self._points = points
        self._reasons = reasons
        self._tree = Tree()
        self._left = 0

    def define(self, metrics: Any) -> None:
        """Take over the definitions of a birth (protobuf messages)."""
        self._tree = self._builder.tree(metrics)
        self.metrics, self.cut = self._builder.taken, self._builder.cut > 0

    def points(self) -> set[int]:
        """All points."""
        return set(self._tree.points())

    def stale(self, columns: Columns, time_ns: int) -> None:
        """Nothing is known of any point any more; never before what was said last."""
        self.alive = False
        columns.stale(sorted(self.points()), max(time_ns, self.latest))

    def take(self, metrics: Any, time_ns: int, columns: Columns) -> int:
        """The samples of metrics; how many of them no birth has defined.

        Args:
            metrics: protobuf messages.
            time_ns: for those without a time of their own.
            columns: where samples go.
        """
        before = len(columns)
        self._left = MAX_ITEMS
        unknown = self._take(self._tree, metrics, time_ns, columns, 0)
        self.latest = max(self.latest, max(columns.times[before:], default=0))
        return unknown

    def _take(self, tree: Tree, metrics: Any, time_ns: int, columns: Columns, inherited: int) -> int:
        self._left -= len(metrics)
        if self._left < 0:
            self._reasons["too-many-metrics"] += 1
            return 0
        by_name, by_alias = tree.by_name.get, tree.by_alias.get
        add_point, add_time = columns.points.append, columns.times.append
        add_value, add_quality = columns.values.append, columns.quality.append
        unknown = 0
        for metric in metrics:
            name = metric.name
            slot = by_name(name) if name else by_alias(metric.alias)
            if slot is None:
                unknown += not _is_definition(metric)
                continue
            stamp = metric.timestamp
            if stamp > MAX_MS:
                self._reasons["bad-time"] += 1
                continue
            time = stamp * MS if stamp else time_ns
            quality = inherited | q.HISTORICAL if metric.is_historical else inherited
            field = metric.WhichOneof("value")
            if field == slot.field and not metric.is_null and not metric.HasField("properties"):
                value = getattr(metric, field)
                if not value > slot.top:
                    add_point(slot.point)
                    add_time(time)
                    add_value(value)
                    add_quality(quality)
                    continue
            unknown += self._other(slot, metric, time, columns, quality)
        return unknown

    def _other(self, slot: Slot, metric: Any, time: int, columns: Columns, quality: int) -> int:
        """All but plain numbers; how many members of a template no birth has defined."""
        if slot.role is Role.LEFT_OUT:
            if slot.why:
                self._reasons[slot.why] += 1
            return 0
        own = self._quality(metric)
        quality = q.worst((quality, own))
        field = metric.WhichOneof("value") or ""
        if metric.is_null or not field:
            for point in slot.points():
                columns.add(point, time, STALE if own & q.OLD_DATA else MISSING, _invalid(quality))
            return 0
        if slot.tree is not None:
            if field == "template_value":
                return self._take(slot.tree, metric.template_value.metrics, time, columns, quality)
            self._reasons["type-mismatch"] += 1
        elif slot.role is Role.ARRAY:
            self._array(slot, field, getattr(metric, field), time, columns, quality)
        elif slot.role is Role.STATE:
            self._text(slot.point, getattr(metric, field), time, columns, quality)
        else:
            self._number(slot, field, getattr(metric, field), time, columns, quality)
        return 0

    def _quality(self, metric: Any) -> int:
        """What the property ``Quality`` says (6.4.14.1); left out, the value is good."""
        if not metric.HasField("properties"):
            return q.GOOD
        keys, values = metric.properties.keys, metric.properties.values
        if QUALITY_KEY not in keys:
            return q.GOOD
        if len(keys) != len(values):
            self._reasons["bad-propertyset"] += 1
            return q.GOOD
        said = values[list(keys).index(QUALITY_KEY)]
        field = "" if said.is_null else said.WhichOneof("value")
        code = getattr(said, field) if field else QUALITY_GOOD
        if isinstance(code, bool) or not isinstance(code, int) or code not in _QUALITIES:
            self._reasons["bad-quality"] += 1
            return q.QUESTIONABLE
        return _QUALITIES[code]

    def _number(self, slot: Slot, field: str, raw: Any, time: int, columns: Columns, quality: int) -> None:
        try:
            value = read(Typed(slot.datatype, field, raw))
        except PayloadError as error:
            self._reasons[error.reason] += 1
            columns.add(slot.point, time, UNPARSABLE, _invalid(quality))
            return
        assert isinstance(value, (int, float))
        columns.add(slot.point, time, *_graded(value, quality))

    def _text(self, point: int, text: Any, time: int, columns: Columns, quality: int) -> None:
        if not isinstance(text, str):
            self._reasons["type-mismatch"] += 1
        elif len(text) > MAX_TEXT:
            self._reasons["long-text"] += 1
        else:
            try:
                columns.add(point, time, self._points.state(point, text), quality)
            except TooManyPointsError:
                self._reasons["too-many-states"] += 1

    def _array(self, slot: Slot, field: str, raw: Any, time: int, columns: Columns, quality: int) -> None:
        """Elements become points ``name/0`` ...; those that a shorter array does not have any more are missing."""
        try:
            values = _elements(slot.datatype, field, raw)
        except PayloadError as error:
            self._reasons[error.reason] += 1
            return
        while len(slot.elements) < len(values) and self._builder.element(slot):
            pass
        if len(values) > len(slot.elements):
            self._reasons["long-array"] += 1
        for point, value in zip(slot.elements, values, strict=False):
            if isinstance(value, str):
                self._text(point, value, time, columns, quality)
            else:
                columns.add(point, time, *_graded(value, quality))
        for point in slot.elements[len(values) :]:
            columns.add(point, time, MISSING, _invalid(quality))


def _elements(datatype: int, field: str, raw: Any) -> list[Any]:
    """The values of an array.

    Raises:
        PayloadError: ``long-array``, or it is no such array.
    """
    if field == "bytes_value" and len(raw) > MAX_ARRAY:
        raise PayloadError("long-array", f"{len(raw)} bytes")
    values = read(Typed(datatype, field, raw))
    assert isinstance(values, list)
    return values


def _graded(value: float, quality: int) -> tuple[float, int]:
    """A number as a sample's value and quality: an integer that a float cannot hold is inaccurate."""
    number = float(value)
    if not math.isfinite(number):
        return NOT_A_NUMBER, _invalid(quality)
    return number, quality if number == value else q.worst((quality, q.QUESTIONABLE | q.INACCURATE))


def _invalid(quality: int) -> int:
    return (quality & ~q.VALIDITY) | q.INVALID


def _is_definition(metric: Any) -> bool:
    """Whether this is the definition of a template, which has no value and so no slot."""
    return metric.WhichOneof("value") == "template_value" and bool(metric.template_value.is_definition)
