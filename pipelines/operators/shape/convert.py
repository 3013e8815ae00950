"""``convert``: values in other units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway.errors import FieldError
from gateway.point import Point
from pipelines.base import Globs, Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.shape import ucum
from pipelines.operators.shape.renamed import Renames
from pipelines.operators.shape.templates import Template

if TYPE_CHECKING:
    from gateway.frame import Frame, Values
    from pipelines.base import Points

_UNKNOWN: Final = 1.0
_INCOMPATIBLE: Final = 2.0
_NAMELESS: Final = 3.0
_NEUTRAL: Final = (1.0, 1.0, -0.0, 0.0)
_REASONS: Final = {_UNKNOWN: "unit-unknown", _INCOMPATIBLE: "unit-incompatible", _NAMELESS: "name-missing"}


class ConvertConfig(OperatorConfig, frozen=True, kw_only=True):
    """Values in another unit, as samples of a point that has it: ``m1/energy`` gives ``m1/energy#kW.h``.

    The way is found when a point is seen, from its own unit: the first unit of ``to`` that has the same dimension.
    Units are those of UCUM, such as ``kW.h``, ``Cel``, ``[degF]``, ``m3/h``, ``%``;
    :mod:`pipelines.operators.shape.ucum` says which are known. Limits and resolution of the point are converted
    too. A point that has the unit already gets the new name as well, so that all look alike. A unit that is missing
    or unknown, or of another dimension, is counted (``unit-unknown``, ``unit-incompatible``) and the sample passes
    as it is; likewise where ``as`` gives no name (``name-missing``). Where two points would get one name, the
    samples of the second are dropped (``name-collision``).

    A dimension is not a meaning: W and V.A have the same one, and so have Hz and /min.

    Example::

        steps:
          - convert: {to: kW.h, points: "*/energy"}
          - convert: {to: [Cel, kPa, "m3/h"], assume: "[degF]", as: "si/{name}"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"to": ["mV", "J"]},
        {"to": "kW", "assume": "MW", "as": "{name}#kw"},
    )

    to: Globs
    """The unit, or several of different dimensions."""
    assume: str = ""
    """The unit of points that say none."""
    as_: str = msgspec.field(name="as", default="{name}#{unit}")
    """The name of the converted point; ``{unit}`` is the unit as far as a name can have it (``m3-per-h``), ``{name}``,
    ``{device}``, ``{point}`` and ``{label.area}`` as in ``rename``."""

    def __post_init__(self) -> None:
        units = self.units()
        self.template()
        if self.assume:
            unit = _parsed("assume", self.assume)
            if not any(_way(unit, target) for target in units.values()):
                raise FieldError("assume", f"{self.assume} has not the dimension of {', '.join(units)}")

    def units(self) -> dict[str, ucum.Unit]:
        """The units wanted, by their texts.

        Raises:
            FieldError: one is unknown, or of the same dimension as another.
        """
        texts = [self.to] if isinstance(self.to, str) else self.to
        found: dict[str, ucum.Unit] = {}
        for text in texts:
            unit = _parsed("to", text)
            other = next((known for known, one in found.items() if one.dimension == unit.dimension), None)
            if other is not None:
                raise FieldError("to", f"{text} has the same dimension as {other}; one of them would never be used")
            found[text] = unit
        return found

    def template(self) -> Template:
        """The name as a template.

        Raises:
            FieldError: it is none, or would be the name of the point itself.
        """
        try:
            template = Template.parse(self.as_, 0, ("unit",))
        except ValueError as error:
            raise FieldError("as_", str(error)) from None
        if template.parts == ("", "name", ""):
            raise FieldError("as_", "must be another name than {name}: a point has one unit")
        return template

    def create(self, points: Points) -> Convert:
        """The operator for these options."""
        return Convert(self, points)


def _parsed(field: str, text: str) -> ucum.Unit:
    try:
        return ucum.parse(text)
    except ucum.UnitError as error:
        raise FieldError(field, str(error)) from None


def _way(source: ucum.Unit, target: ucum.Unit) -> ucum.Conversion | None:
    try:
        return ucum.conversion(source, target)
    except ucum.UnitError:
        return None


def word(unit: str) -> str:
    """A unit as a part of a name: ``m3-per-h``, ``degF``, ``percent``."""
    plain = re.sub(r"\{[^}]*\}|[\[\]']", "", unit).replace("%", "percent").replace("/", "-per-").lstrip("-")
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", plain) or "1"


def _converted(point: Point, way: ucum.Conversion, name: str, unit: str) -> Point:
    """What is known of the point, in the other unit; the steps of a temperature no longer begin at 0."""
    limits = None
    if point.limits is not None:
        low, high = (limit * way.multiply / way.divide + way.add for limit in point.limits)
        limits = (low, high)
    step = None if point.resolution is None or way.add else point.resolution * way.multiply / way.divide
    return msgspec.structs.replace(point, name=name, unit=unit, limits=limits, resolution=step or None)


def _row(way: ucum.Conversion) -> tuple[float, ...]:
    return way.multiply, way.divide, way.add or -0.0, 0.0


class Convert(Operator):
    """See :class:`ConvertConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: ConvertConfig, points: Points) -> None:
        super().__init__()
        self._assume = config.assume
        self._units = config.units()
        self._template = config.template()
        self._points = points
        self._edition = points.edition
        self._columns = [np.empty(0) for _ in _NEUTRAL]
        """How to convert each point, by id: multiply, divide, add, and why not; and which of them do anything."""
        self._used = [False] * len(_NEUTRAL)
        self._known = 0
        self._renames = Renames(points, self._made, self.counts, fall_back=False)

    def _found(self, point: Point) -> tuple[Point, ucum.Conversion] | float:
        """The converted point and the way there, or why there is none."""
        try:
            unit = ucum.parse(point.unit or self._assume)
        except ucum.UnitError:
            return _UNKNOWN
        for text, target in self._units.items():
            way = _way(unit, target)
            if way is not None:
                name = self._template.name(point, None, {"unit": word(text)})
                return _NAMELESS if name in {None, point.name} else (_converted(point, way, str(name), text), way)
        return _INCOMPATIBLE

    def _learn(self) -> None:
        """Factors of points that are new, or of all if something else is known of some. Adding -0.0 changes nothing."""
        if self._points.edition != self._edition:
            self._known, self._edition = 0, self._points.edition
        size = len(self._points)
        self._columns = [grown(column, size, neutral) for column, neutral in zip(self._columns, _NEUTRAL, strict=True)]
        for point_id in range(self._known, size):
            found = self._found(self._points.point(point_id))
            row = (*_NEUTRAL[:3], found) if isinstance(found, float) else _row(found[1])
            for column, number in zip(self._columns, row, strict=True):
                column[point_id] = number
        self._known = size
        self._used = [
            bool((column[:size] != neutral).any()) for column, neutral in zip(self._columns, _NEUTRAL, strict=True)
        ]

    def _made(self, point: Point) -> Point | None:
        found = self._found(point)
        return None if isinstance(found, float) else found[0]

    def process(self, frame: Frame) -> Frame:
        """The samples in the unit wanted, where there is a way."""
        if not len(frame):
            return frame
        if len(self._points) > self._known or self._points.edition != self._edition:
            self._learn()
        multiply, divide, add, why = self._columns
        multiplies, divides, adds, refuses = self._used
        value, ids = frame.value, frame.point
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            converted = value * multiply[ids] if multiplies else value
            converted = converted / divide[ids] if divides else converted
            converted = converted + add[ids] if adds else converted
        nothing = np.isnan(value)
        if nothing.any():  # the very same bits, which are the reason
            converted = np.where(nothing, value, converted)
        if refuses:
            self._count(why[ids])
        return self._renames(frame.replace(value=converted))

    def _count(self, why: Values) -> None:
        for code, reason in _REASONS.items():
            n = int(np.count_nonzero(why == code))
            if n:
                self.counts.reasons[reason] += n

    def snapshot(self) -> State:
        """Which point goes on under which id."""
        return self._renames.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._renames.restore(state)
