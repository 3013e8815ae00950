"""``limits``: values outside the plausible range are marked or dropped."""

from __future__ import annotations

import enum
import math
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from pipelines.base import Operator, OperatorConfig
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from gateway.frame import Frame, Mask, Values
    from gateway.point import Point
    from pipelines.base import Points


class Action(enum.StrEnum):
    """What becomes of a value outside the limits."""

    MARK = "mark"
    DROP = "drop"


class LimitsConfig(OperatorConfig, frozen=True, kw_only=True):
    """Values below ``min`` or above ``max`` are out of range.

    The limits belong to the range; infinities never do. ``mark`` keeps the value and makes its quality at
    least questionable with the flag out-of-range (IEC 61850-7-3); ``drop`` removes the sample and counts it
    as dropped. A limit that is not given is that of the point; a point that has none passes untouched.
    A NaN that claims to be usable becomes invalid, because it is no value.

    Example::

        steps:
          - limits: {min: 0, max: 300, points: "*/voltage"}
          - limits: {action: drop}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"min": 0.0, "max": 300.0},
        {"max": 10.0, "action": "drop"},
        {},
    )

    min: float | None = None
    """Lowest plausible value, in the point's unit; left out: the first of the point's own ``limits``."""
    max: float | None = None
    """Highest plausible value, in the point's unit; left out: the second of the point's own ``limits``."""
    action: Action = Action.MARK
    """``mark`` keeps an implausible value with a worse quality, ``drop`` removes it."""

    def __post_init__(self) -> None:
        for name, bound in (("min", self.min), ("max", self.max)):
            if bound is not None and math.isnan(bound):
                raise FieldError(name, "must be a number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise FieldError("min", f"must not be above max ({self.max:g})")

    def create(self, points: Points) -> Limits:
        """The operator for these options."""
        return Limits(self, points)


_LARGEST = sys.float_info.max


class Limits(Operator):
    """See :class:`LimitsConfig`."""

    def __init__(self, config: LimitsConfig, points: Points) -> None:
        super().__init__()
        self._config = config
        self._facts = Facts(points, 2, self._bounds)
        self._fixed = self._clipped(config.min, config.max)

    @staticmethod
    def _clipped(low: float | None, high: float | None) -> tuple[float, float] | None:
        """Finite bounds, so that an infinity is outside whatever they are; None if one is missing."""
        if low is None or high is None:
            return None
        return max(low, -_LARGEST), min(high, _LARGEST)

    def _bounds(self, point: Point) -> tuple[float, float]:
        own = point.limits or (-math.inf, math.inf)
        low = own[0] if self._config.min is None else self._config.min
        high = own[1] if self._config.max is None else self._config.max
        if math.isinf(low) and math.isinf(high):
            return -math.inf, math.inf
        return max(low, -_LARGEST), min(high, _LARGEST)

    def process(self, frame: Frame) -> Frame:
        """All samples, or under ``drop`` those that are in range or have no value."""
        low: Values | float
        high: Values | float
        if self._fixed:
            low, high = self._fixed
        else:
            low, high = self._facts.column(0, frame.point), self._facts.column(1, frame.point)
        inside = (frame.value >= low) & (frame.value <= high)
        if inside.all():
            return frame
        return self._treat(frame, ~inside, np.isinf(low))

    def _treat(self, frame: Frame, suspect: Mask, unlimited: Mask) -> Frame:
        frame, nan = self._without_nan(frame, suspect & ~unlimited)
        outside = suspect & ~nan & ~np.isnan(frame.value)
        n = int(np.count_nonzero(outside))
        if not n:
            return frame
        if self._config.action is Action.DROP:
            self.counts.drop("out-of-range", n)
            return frame.take(~outside)
        words = frame.quality.copy()
        words[outside] = q.worse(words[outside], q.QUESTIONABLE, q.OUT_OF_RANGE)
        return frame.replace(quality=words)

    @staticmethod
    def _without_nan(frame: Frame, suspect: Mask) -> tuple[Frame, Mask]:
        """Usable NaNs made invalid; those that say no reason get one."""
        nan: Mask = suspect & np.isnan(frame.value) & ~q.is_invalid(frame.quality)
        if not nan.any():
            return frame, nan
        words, values = frame.quality.copy(), frame.value.copy()
        words[nan] = q.worse(words[nan], q.INVALID, 0)
        values[nan & (q.reason_codes(values) == 0)] = q.no_value(q.Reason.NOT_A_NUMBER)
        return frame.replace(quality=words, value=values), nan
