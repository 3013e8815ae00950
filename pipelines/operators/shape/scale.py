"""``scale``: corrections of values: a line, a table, a polynomial."""

from __future__ import annotations

import enum
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.quality import is_invalid
from pipelines.base import Operator, OperatorConfig

if TYPE_CHECKING:
    from gateway.frame import Frame, Mask, Values
    from pipelines.base import Points

MAX_TABLE: Final = 1_000
MAX_DEGREE: Final = 15


class Beyond(enum.StrEnum):
    """What becomes of values outside the table."""

    CLAMP = "clamp"
    EXTEND = "extend"
    INVALID = "invalid"


class ScaleConfig(OperatorConfig, frozen=True, kw_only=True):
    """Value times ``factor`` plus ``offset``; or by a ``table``; or by a ``polynomial``.

    For instrument corrections and for registers that the profile left raw. The point keeps its name and
    its unit: say the unit of the corrected value where the point is declared (``convert`` changes units). Invalid
    samples pass untouched.

    A table is a line from each of its points to the next. A value outside is given the y of the nearest end
    (``clamp``), or that of the line of the last two points drawn on (``extend``), each questionable and out-of-range,
    or no value at all (``invalid``). A polynomial ``[c0, c1, c2]`` is c0 + c1 v + c2 v^2, by Horner's rule.

    Example::

        steps:
          - scale: {factor: 0.1, offset: -40, points: "*/temperature"}
          - scale: {table: [[4, 0], [12, 55], [20, 100]], beyond: invalid, points: "*/level"}
          - scale: {polynomial: [0.2, 1.01, -0.0003], points: "*/flow"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"factor": 0.1, "offset": -40.0},
        {"factor": -1.0},
        {"table": [[0.0, 10.0], [100.0, 20.0], [230.0, -5.0]]},
        {"table": [[-1.0, 0.0], [300.0, 100.0]], "beyond": "extend"},
        {"table": [[0.5, 1.0], [1.5, 1.0], [300.0, 2.0]], "beyond": "invalid"},
        {"polynomial": [1.0, -0.5, 0.25]},
    )

    factor: float = 1.0
    """What a value is multiplied with first; not 0, because that would erase it."""
    offset: float = 0.0
    """What is added afterwards, in the unit of the result."""
    table: list[tuple[float, float]] | None = None
    """Instead: pairs [value, result], 2 to 1,000 of them; the values grow."""
    beyond: Beyond = Beyond.CLAMP
    """Values outside the table: ``clamp`` to its ends, ``extend`` its last lines, or ``invalid``."""
    polynomial: list[float] | None = None
    """Instead: coefficients, that of the power 0 first; 2 to 16 of them, and the last is not 0."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.factor) or self.factor == 0:
            raise FieldError("factor", "must be a finite number other than 0")
        if not math.isfinite(self.offset):
            raise FieldError("offset", "must be a finite number")
        linear = self.factor != 1.0 or self.offset != 0.0
        if linear + (self.table is not None) + (self.polynomial is not None) > 1:
            raise FieldError((), "either factor and offset, or table, or polynomial")
        if self.table is not None:
            _check_table(self.table)
        elif self.beyond is not Beyond.CLAMP:
            raise FieldError("beyond", "is about a table, and there is none")
        if self.polynomial is not None:
            _check_polynomial(self.polynomial)

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        del points
        if self.table is not None:
            return Table(self.table, self.beyond)
        return Scale(self) if self.polynomial is None else Polynomial(self.polynomial)


def _check_table(table: list[tuple[float, float]]) -> None:
    if not 2 <= len(table) <= MAX_TABLE:
        raise FieldError("table", f"needs 2 to {MAX_TABLE} pairs [value, result], got {len(table)}")
    for at, pair in enumerate(table):
        # Halves: the distance of two values has to be a number as well
        if not all(math.isfinite(number) and abs(number) < 1e150 for number in pair):
            raise FieldError(("table", at), "both must be finite numbers (below 1e150)")
    for at, ((before, low), (value, high)) in enumerate(pairwise(table), 1):
        if value <= before:
            raise FieldError(("table", at), f"the values have to grow: {value:g} does not come behind {before:g}")
        if not math.isfinite((high - low) / (value - before)):
            raise FieldError(("table", at), f"too steep between {before:g} and {value:g}")


def _check_polynomial(coefficients: list[float]) -> None:
    if not 2 <= len(coefficients) <= MAX_DEGREE + 1:
        raise FieldError("polynomial", f"needs 2 to {MAX_DEGREE + 1} coefficients, got {len(coefficients)}")
    for at, number in enumerate(coefficients):
        if not math.isfinite(number):
            raise FieldError(("polynomial", at), "must be a finite number")
    if coefficients[-1] == 0:
        raise FieldError("polynomial", "the last coefficient must not be 0; leave it out")


def _untouched(frame: Frame) -> Mask:
    """Samples that have no usable value. A NaN stays the very same bits: its payload is why there is no value."""
    result: Mask = is_invalid(frame.quality) | np.isnan(frame.value)
    return result


def _changed(frame: Frame, scaled: Values) -> Frame:
    untouched = _untouched(frame)
    return frame.replace(value=np.where(untouched, frame.value, scaled) if untouched.any() else scaled)


class Scale(Operator):
    """See :class:`ScaleConfig`. Overflow gives an infinity, which ``limits`` finds."""

    def __init__(self, config: ScaleConfig) -> None:
        super().__init__()
        self._factor = config.factor
        self._offset = config.offset

    def process(self, frame: Frame) -> Frame:
        """All samples, the usable ones corrected."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = frame.value * self._factor + self._offset
        return _changed(frame, scaled)


class Polynomial(Operator):
    """See :class:`ScaleConfig`. Overflow gives an infinity, which ``limits`` finds."""

    def __init__(self, coefficients: list[float]) -> None:
        super().__init__()
        self._coefficients = coefficients

    def process(self, frame: Frame) -> Frame:
        """All samples, the usable ones corrected."""
        *lower, highest = self._coefficients
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            scaled = np.full(len(frame), highest)
            for coefficient in reversed(lower):
                scaled = scaled * frame.value + coefficient
        return _changed(frame, scaled)


class Table(Operator):
    """See :class:`ScaleConfig`."""

    def __init__(self, table: list[tuple[float, float]], beyond: Beyond) -> None:
        super().__init__()
        self._x, self._y = np.array(table, np.float64).T.copy()
        self._slope = np.diff(self._y) / np.diff(self._x)
        self._beyond = beyond

    def process(self, frame: Frame) -> Frame:
        """All samples, the usable ones looked up."""
        untouched = _untouched(frame)
        value = np.where(untouched, self._x[0], frame.value)
        outside = (value < self._x[0]) | (value > self._x[-1])
        if self._beyond is not Beyond.EXTEND:
            value = np.clip(value, self._x[0], self._x[-1])
        result = np.where(untouched, frame.value, self._looked_up(value))
        if not outside.any():
            return frame.replace(value=result)
        words = frame.quality.copy()
        invalid = self._beyond is Beyond.INVALID
        words[outside] = q.worse(words[outside], q.INVALID if invalid else q.QUESTIONABLE, q.OUT_OF_RANGE)
        if invalid:
            result[outside] = q.no_value(q.Reason.NOT_A_NUMBER)
        return frame.replace(value=result, quality=words)

    def _looked_up(self, value: Values) -> Values:
        at = np.clip(np.searchsorted(self._x, value, side="right") - 1, 0, len(self._slope) - 1)
        slope = self._slope[at]
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            line = self._y[at] + (value - self._x[at]) * slope
        # A level line has a result for an infinity too; at its far end a line meets its point to the bit
        line = np.where(slope == 0, self._y[at], line)
        found: Values = np.where(value == self._x[at + 1], self._y[at + 1], line)
        return found
