"""``round``: values to whole steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Kind
from pipelines.base import Operator, OperatorConfig, State
from pipelines.bounds import Bound, bound_of
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from gateway.frame import Values
    from gateway.point import Point
    from pipelines.base import Points

_WHOLE: Final = 2.0**52
"""A number of so many steps or more is whole already, as far as a double can say."""
_POWERS: Final = 290
_TENS: Final = np.array([float(f"1e{power}") for power in range(-_POWERS, _POWERS + 1)])
"""Steps that go by the value; smaller ones are no longer normal numbers."""


class RoundConfig(OperatorConfig, frozen=True, kw_only=True):
    """Values become whole multiples of a step; halves go to the even one (IEEE 754, roundTiesToEven).

    The step is ``step``, or twice ``epsilon``, or the point's own ``resolution``; a point for which none is known
    passes untouched, and so do invalid samples and states. No value changes by more than half a step (and the
    rounding of a double). ``epsilon`` in percent refers to the range that the point's ``limits`` span; where it has
    none, to the value: the step is then the largest power of ten that keeps the bound (rounding to significant digits).

    Rounding by itself leaves out no sample. It makes what follows cheaper: equal values for ``dedup``, fewer digits in
    JSON, smaller differences in the format ``frame``.

    Example::

        steps:
          - round: {}
          - round: {step: 0.5, points: "*/temperature"}
          - round: {epsilon: 0.1%, points: "*/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"step": 0.25}, {"epsilon": "1%"}, {"epsilon": 0.05})

    step: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Values become multiples of it, in the point's unit; left out: the point's ``resolution``."""
    epsilon: float | str | None = None
    """Largest change of a value instead, half the step: ``0.05`` or ``0.1%``."""

    def __post_init__(self) -> None:
        if self.step is not None and self.epsilon is not None:
            raise FieldError("epsilon", "says the same as step; give one of them")
        if self.step is not None and not 1e-290 < self.step < 1e290:
            raise FieldError("step", "must lie between 1e-290 and 1e290")
        if self.epsilon is not None:
            bound_of(None, None, self.epsilon)

    def create(self, points: Points) -> Round:
        """The operator for these options."""
        return Round(self, points)


def fraction(step: float) -> tuple[float, float]:
    """A step as numerator and denominator, one of which is 1 if the step is whole or one over a whole number.

    Multiples of 0.1 as n / 10 are the doubles that are written with one digit; n * 0.1 often is not.
    """
    whole = round(1 / step)
    if step < 1 and whole < _WHOLE and abs(1 / whole - step) <= 2**-52 * step:
        return 1.0, float(whole)
    return step, 1.0


class Round(Operator):
    """See :class:`RoundConfig`."""

    def __init__(self, config: RoundConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._given: Bound | None = None
        """The bound, if it does not follow from the points."""
        if config.step is not None:
            self._given = Bound(absolute=config.step / 2)
        elif config.epsilon is not None:
            self._given = bound_of(None, None, config.epsilon)
        self._configured = self._given
        self._largest = 0.0
        """Half the largest step of a point seen so far."""
        self._facts = Facts(points, 3, self._of_point)

    @property
    def bound(self) -> Bound:
        """See the base class; by the points' resolution, half the largest of those seen so far."""
        return self._given or Bound(absolute=self._largest)

    def set_bound(self, bound: Bound) -> None:
        """See the base class; from now on it rules whatever the step was before. Counters get no longer steps."""
        self._given = bound
        self._facts = Facts(self._points, 3, self._of_point)

    def _of_point(self, point: Point) -> tuple[float, float, float]:
        """Numerator and denominator of the step (0: none), and the share of the value that it may be instead."""
        step = self._step(point, self._given)
        if point.kind is Kind.COUNTER and self._given is not self._configured:
            step = _shorter(self._step(point, self._configured), step)
        if point.kind is Kind.STATE or step is None:
            return 0.0, 1.0, 0.0
        if step < 0:
            return 0.0, 1.0, -step
        return (*fraction(step), 0.0) if 1e-290 < step < 1e290 else (0.0, 1.0, 0.0)

    def _step(self, point: Point, given: Bound | None) -> float | None:
        """The step of a point; the share of the value, negative, if it goes by that; None if there is none."""
        if given is None:
            return point.resolution
        if given.absolute is not None:
            return 2 * given.absolute
        span = math.inf if point.limits is None else point.limits[1] - point.limits[0]
        share = (given.percent or 0.0) / 100
        return 2 * share * span if math.isfinite(span) else -share

    def process(self, frame: Frame) -> Frame:
        """All samples, their values rounded."""
        if not len(frame):
            return frame
        numerator, denominator = self._facts.column(0, frame.point), self._facts.column(1, frame.point)
        share = self._facts.column(2, frame.point)
        if self._given is None:
            self._largest = max(self._largest, float((numerator / denominator).max()) / 2)
        with np.errstate(all="ignore"):
            if share.any():
                numerator, denominator = _digits(frame.value, share, numerator, denominator)
            steps = frame.value * denominator / numerator
            rounded = np.rint(steps) * numerator / denominator + 0.0  # no negative zero
            keeps = ~(np.abs(steps) < _WHOLE) | ~np.isfinite(rounded)
        if frame.quality.any():
            keeps |= q.is_invalid(frame.quality)
        return frame.replace(value=np.where(keeps, frame.value, rounded) if keeps.any() else rounded)

    def snapshot(self) -> State:
        """The bound, if it was set, and what it came to."""
        given = None if self._given is None else self._given.as_dict()
        return {"bound": given, "largest": self._largest}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._given = None if state["bound"] is None else Bound(**state["bound"])
        self._largest = state["largest"]
        self._facts = Facts(self._points, 3, self._of_point)


def _digits(value: Values, share: Values, numerator: Values, denominator: Values) -> tuple[Values, Values]:
    """Steps that are a power of ten where they go by the value, [n] each."""
    width = np.where(np.isfinite(value), 2 * share * np.abs(value), 0.0)
    power = np.searchsorted(_TENS, width, side="right") - 1 - _POWERS
    own = power >= -_POWERS
    up, down = _TENS[_POWERS + np.maximum(power, 0)], _TENS[_POWERS + np.maximum(-np.maximum(power, -_POWERS), 0)]
    return np.where(own, up, numerator), np.where(own, down, denominator)


def _shorter(configured: float | None, given: float | None) -> float | None:
    """Of two steps the shorter; none is shorter than any. What cannot be compared: the one that was given."""
    if configured is None or given is None or 0 <= configured <= given or given <= configured < 0:
        return configured
    return given
