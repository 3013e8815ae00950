"""The points of the adapter: from a reading to a row of a frame."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from adapters.base import Context
from adapters.payloads.values import Value
from gateway import quality as q
from gateway.point import Kind, Point, PointOptions
from gateway.quality import Reason

_NO_VALUE = {reason: q.no_value(reason) for reason in Reason}
_QUALITY = dict.fromkeys(Reason, q.INVALID | q.FAILURE)
_QUALITY[Reason.LINK_DOWN] = q.INVALID | q.FAILURE | q.OLD_DATA
_QUALITY |= dict.fromkeys((Reason.NOT_FOUND, Reason.MISSING), q.INVALID | q.BAD_REFERENCE)
_QUALITY |= dict.fromkeys((Reason.UNPARSABLE, Reason.NOT_A_NUMBER, Reason.NOT_IMPLEMENTED), q.INVALID)


class Row(NamedTuple):
    """A sample without its time."""

    point: int
    value: float
    quality: int


class _Known:
    __slots__ = ("numeric", "point", "spec")

    def __init__(self, point: int, spec: Point, *, numeric: bool) -> None:
        self.point = point
        self.spec = spec
        self.numeric = numeric


class PointTable:
    """Ids of the points seen so far, and what each of them carries: numbers or texts.

    Text makes a point a state, unless the user gave it a unit, limits, a resolution or the kind counter, or
    numbers came before: then a text such as ``error`` is no value. A declared state codes numbers as texts
    too, so that its table explains each of its values.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._known: dict[str, _Known] = {}

    def register(self, name: str, options: PointOptions, unit: str = "") -> int:
        """The id of a point, entered into the directory when new.

        Raises:
            TooManyPointsError: the bound on points is reached.
        """
        return self._entry(name, options, unit).point

    def forget(self, device: str) -> None:
        """Look at the points of a device anew when they come: what was said of them may have changed."""
        for name in [name for name in self._known if name.startswith(f"{device}/")]:
            del self._known[name]

    def row(self, name: str, options: PointOptions, value: Value | Reason, unit: str = "") -> Row:
        """The row for a reading of the point ``name``.

        Raises:
            TooManyPointsError: the bound on points or on the texts of a state is reached.
        """
        known = self._known.get(name)
        if known is None or (unit and unit != known.spec.unit and not options.unit):
            known = self._entry(name, options, unit)
        if isinstance(value, Reason):
            return _bad(known.point, value)
        if known.spec.kind is Kind.STATE and (options.kind is Kind.STATE or isinstance(value, str)):
            return Row(known.point, self._ctx.points.state(known.point, _text(value)), q.GOOD)
        if isinstance(value, str):
            return self._text_row(name, known, value)
        if not known.numeric:
            self._become(name, known, options.kind, numeric=True)
        if not math.isfinite(value):
            return _bad(known.point, Reason.NOT_A_NUMBER)
        return Row(known.point, float(value), q.GOOD)

    def _text_row(self, name: str, known: _Known, text: str) -> Row:
        if known.numeric:
            self._ctx.stats.reasons["not-a-number"] += 1
            return _bad(known.point, Reason.UNPARSABLE)
        self._become(name, known, Kind.STATE, numeric=False)
        return Row(known.point, self._ctx.points.state(known.point, text), q.GOOD)

    def _become(self, name: str, known: _Known, kind: Kind, *, numeric: bool) -> None:
        spec = known.spec
        if spec.kind is not kind:
            spec = msgspec.structs.replace(spec, kind=kind)
            self._ctx.points.add(spec)
        self._known[name] = _Known(known.point, spec, numeric=numeric)

    def _entry(self, name: str, options: PointOptions, unit: str) -> _Known:
        known = self._known.get(name)
        if known is not None and not (unit and unit != known.spec.unit and not options.unit):
            return known
        spec = msgspec.structs.replace(Point.of(name, options), unit=options.unit or unit)
        if known is not None:
            spec = msgspec.structs.replace(spec, kind=known.spec.kind)
        point = self._ctx.points.add(spec)
        declared = bool(options.unit or options.limits or options.resolution or options.kind is Kind.COUNTER)
        numeric = known.numeric if known is not None else declared
        entry = self._known[name] = _Known(point, spec, numeric=numeric)
        return entry


def _bad(point: int, reason: Reason) -> Row:
    return Row(point, _NO_VALUE[reason], _QUALITY[reason])


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.15g}"
