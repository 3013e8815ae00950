"""The cone that opens at the last point sent, for ``swinging_door`` and ``piecewise_linear``.

From the last point sent, the anchor, each sample allows a range of slopes: those of the lines that pass it within
the tolerance. The cone is what all samples since the anchor allow. Its newest sample is held; what ends a segment is
sent when a sample no longer fits, and becomes the next anchor. So every sample that is left out lies within the
tolerance of the line between two neighbours that were sent.

* ``touch`` (swinging door): a sample fits if its own slope lies in the cone of those before it; the end of a
  segment is that sample as it came. This keeps the last point that satisfied the cone, where the naive rule only asks
  that the cone is not empty, and may send a point from which an earlier sample is out of tolerance.
* else (piecewise linear): a sample fits if the cone stays open; the end of a segment is the value nearest to the
  newest sample on a line within the cone.

What never fits, and so ends a segment: another quality (historical aside), a NaN or infinity beside a number or
another NaN, a time that is not later than the anchor's or is before the last one. Equal NaNs form a segment like equal
numbers. A state fits only while it is constant.

All samples of a lane depend on one another, so frames are worked through in lanes (:mod:`pipelines.operators.lanes`);
the few lanes of a step whose segment ends, and long runs of few points, are walked through in plain numbers
(:mod:`pipelines.operators.door_walk`), which is the same rule.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind
from pipelines.base import Operator, State, StateClass, grown
from pipelines.bounds import Bound
from pipelines.operators.door_walk import UNMARKED, UNSEEN, Rule, end_value, walk
from pipelines.operators.facts import Facts
from pipelines.operators.lanes import MANY_LANES, Lanes

if TYPE_CHECKING:
    from typing import ClassVar

    from gateway.frame import Ids, Index, Values
    from gateway.point import Point
    from pipelines.base import Points

_LIVE_WORD: Final = np.uint16(0xFFFF ^ q.HISTORICAL)
_FEW_ENDS: Final = 24
"""Ends of segments in one step up to which plain numbers beat columns."""
SHRINK: Final = 1 - 2.0**-20
"""The tolerance is taken so much narrower that rounding never exceeds it, while values are below 2**30 times it."""
_LARGEST: Final = sys.float_info.max
_FLOATS: Final = ("value", "low", "high", "held_value")
_INTEGERS: Final = ("time", "held_time", "word", "held_quality", "mark")
_A, _LOW, _HIGH, _HELD = range(4)
_TIME, _HELD_TIME, _WORD, _HELD_QUALITY, _MARK = range(5)

Table = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Slack:
    """How far a line may pass from each sample, and how steep it may be."""

    def __init__(self, points: Points, bound: Bound) -> None:
        self._absolute = bound.absolute
        self._share = None if bound.percent is None else bound.percent / 100 * SHRINK
        self._mixed = self._absolute is None
        self._facts = Facts(points, 3, self._of_point)

    def _of_point(self, point: Point) -> tuple[float, float, float]:
        """The fixed part, what a sample's size adds, and the steepest slope."""
        if point.kind is Kind.STATE:
            self._mixed = True
            return 0.0, 0.0, 0.0
        if self._share is None:
            return (self._absolute or 0.0) * SHRINK, 0.0, _LARGEST
        span = math.inf if point.limits is None else point.limits[1] - point.limits[0]
        return (self._share * span, 0.0, _LARGEST) if math.isfinite(span) else (0.0, self._share, _LARGEST)

    def around(self, ids: Ids, value: Values) -> Values | float:
        """Half the width of the gate at each sample, [n], or one for all; 0 where the value is not finite."""
        fixed = self._facts.column(0, ids)
        if not self._mixed:
            return (self._absolute or 0.0) * SHRINK
        if self._share is None:
            return fixed
        relative = self._facts.column(1, ids)
        if not relative.any():
            return fixed
        width = np.minimum(fixed + relative * np.abs(value), _LARGEST)
        return np.where(np.isfinite(value), width, 0.0)

    def steepest(self, ids: Ids) -> Values | float:
        """The largest slope of each point's lines, [n], or one for all."""
        return self._facts.column(2, ids) if self._mixed else _LARGEST
