"""``change_point``: when the level of a point has changed for good, however little."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import concat
from gateway.point import Kind, Merge
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.ahead.recursion import Recursion
from pipelines.operators.judge.judging import judged
from pipelines.operators.judge.limits import Action

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Mask, Values
    from pipelines.base import Points

_FACTS: Final[dict[str, Any]] = {
    "unit": "1", "kind": Kind.GAUGE, "resolution": 1.0, "merge": Merge.LAST, "limits": (-1.0, 1.0),
}  # fmt: skip


class Method(enum.StrEnum):
    """What the samples are compared with."""

    CUSUM = "cusum"
    PAGE_HINKLEY = "page_hinkley"


class Scale(enum.StrEnum):
    """What drift and threshold are given in."""

    DEVIATIONS = "deviations"
    UNIT = "unit"


class ChangePointConfig(OperatorConfig, frozen=True, kw_only=True):
    """Report when the mean of a point has moved: a sum of distances finds what no single sample shows.

    For each point two sums run, one for either direction: up = max(0, up + d - drift) and down = max(0, down - d -
    drift), where d is the distance of the sample from the mean. When one exceeds ``threshold``, the level has
    changed, and everything begins anew with that sample. Under ``cusum`` the mean is that of the first ``grace``
    samples (since the last change); under ``page_hinkley`` it is that of all samples since then, the newest included,
    which follows a slow drift without an alarm. The sums begin behind the ``grace``.

    Under ``scale: deviations`` d is measured in standard deviations of the samples that the mean is of, so that one
    step fits all points; a drift of 0.5 and a threshold of 5 then find a change by one deviation within about ten
    samples, with a false alarm every thousand or so. Under ``unit`` all three are in the unit of the point.

    A change is a sample of ``m1/power#change``: 1 for up and -1 for down, with the time and quality of the sample that
    showed it. All samples pass; with an ``action`` that sample is marked questionable and inconsistent, or dropped.
    Invalid samples, NaNs and infinities are passed over; states pass untouched; counters need a rate first. State:
    six numbers a point.

    Within a point each sample depends on the one before, so that only points go side by side, see
    :mod:`pipelines.operators.ahead.recursion`. E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954; D. V.
    Hinkley, "Inference about the change-point from cumulative sum tests", Biometrika 58(3), 1971.

    Example::

        steps:
          - change_point: {drift: 0.5, threshold: 5}
          - change_point: {method: page_hinkley, scale: unit, drift: 0.2, threshold: 20, points: "*/temperature"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"grace": 2, "threshold": 2.0},
        {"method": "page_hinkley", "grace": 3, "drift": 0.1, "threshold": 1.0, "action": "mark"},
        {"scale": "unit", "grace": 2, "drift": 1.0, "threshold": 30.0, "action": "drop"},
    )

    method: Method = Method.CUSUM
    """``cusum``: against the mean at the beginning; ``page_hinkley``: against the mean so far."""
    scale: Scale = Scale.DEVIATIONS
    """What drift and threshold are in: standard ``deviations`` of the point, or its ``unit``."""
    drift: float = 0.5
    """Half of the smallest change that matters, 0 or more: so much is taken off each distance."""
    threshold: float = 5.0
    """A sum beyond it is a change, above 0; greater: fewer false alarms, and later ones."""
    grace: int = 30
    """How many samples of a point are learned from at first and after a change, 2 to a million."""
    action: Action | None = None
    """What becomes of the sample that showed a change: ``mark`` or ``drop`` it; left out: it passes as it is."""

    def __post_init__(self) -> None:
        if not 0 <= self.drift < math.inf:
            raise FieldError("drift", "must be a finite number, 0 or more")
        if not 0 < self.threshold < math.inf:
            raise FieldError("threshold", "must be a finite number above 0")
        if not 2 <= self.grace <= 1_000_000:
            raise FieldError("grace", "must be 2 to 1000000: a deviation needs two samples")

    def create(self, points: Points) -> ChangePoint:
        """The operator for these options."""
        return ChangePoint(self, points)


class ChangePoint(Operator):
    """See :class:`ChangePointConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: ChangePointConfig, points: Points) -> None:
        super().__init__()
        self._action = config.action
        self._points = points
        self.sums = Sums(points, config)

    def process(self, frame: Frame) -> Frame:
        """The samples, and behind them the changes."""
        if not len(frame):
            return frame
        at, found = self.sums.run(frame)
        changed = np.flatnonzero(found)
        if not len(changed):
            return frame
        places = changed if isinstance(at, slice) else at[changed]
        own = frame.take(places)
        changes = own.replace(point=self._points.derive(own.point, "#change", **_FACTS), value=found[changed])
        self.counts.derived += len(changes)
        if self._action is not None:
            frame = judged(frame, places, q.INCONSISTENT, self._action, self.counts, "change-point")
        return concat([frame, changes])

    def snapshot(self) -> State:
        """Mean, spread and sums of each point."""
        return self.sums.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self.sums.restore(state)


class Sums(Recursion):
    """Says 1, -1 or 0 of each sample.

    ``spread`` is the sum of squared distances from the mean, ``deviation`` what a distance is divided by.
    """

    columns: ClassVar[tuple[str, ...]] = ("count", "mean", "spread", "deviation", "up", "down")

    def __init__(self, points: Points, config: ChangePointConfig) -> None:
        super().__init__(points)
        self._grace = float(config.grace)
        self._follows = config.method is Method.PAGE_HINKLEY
        self._scaled = config.scale is Scale.DEVIATIONS
        self._drift, self._threshold = config.drift, config.threshold

    def step(self, ids: Ids, value: Values, state: tuple[Values, ...]) -> tuple[Values, tuple[Values, ...]]:
        """See the base class."""
        count, mean, spread, deviation, up, down = state
        ready = count >= self._grace
        settled = bool(ready.all())
        if self._follows or not settled:
            count, mean, spread, deviation = self._learned(ids, value, state, ready)
        away = value - mean
        if self._scaled:
            away /= state[3]
        if not settled:
            away[~ready] = 0.0  # what is only learned from moves no sum
        away, back = away - self._drift, -away - self._drift
        up, down = np.maximum(up + away, 0.0), np.maximum(down + back, 0.0)
        over, under = up > self._threshold, down > self._threshold
        fresh = over | under
        if spread is not state[2]:
            fresh |= ~(np.isfinite(mean) & np.isfinite(spread))
        found = np.zeros(len(value))
        if not fresh.any():
            return found, (count, mean, spread, deviation, up, down)
        found[under], found[over] = -1.0, 1.0
        nothing = [np.where(fresh, 0.0, column) for column in (spread, deviation, up, down)]
        return found, (np.where(fresh, 1.0, count), np.where(fresh, value, mean), *nothing)

    def _learned(self, ids: Ids, value: Values, state: tuple[Values, ...], ready: Mask) -> tuple[Values, ...]:
        """Count, mean, spread and deviation with the samples that are learned from."""
        count, mean, spread, deviation, _, _ = state
        away = value - mean
        after = count + 1.0
        new_mean = mean + away / after
        new_spread = np.maximum(spread + away * (value - new_mean), 0.0)
        new_deviation = np.maximum(np.sqrt(new_spread / np.maximum(count, 1.0)), self.floor(ids))
        if self._follows:
            return after, new_mean, new_spread, new_deviation
        pairs = ((count, after), (mean, new_mean), (spread, new_spread), (deviation, new_deviation))
        return tuple(np.where(ready, old, new) for old, new in pairs)

    def walk(self, point: int, values: list[float], state: tuple[float, ...]) -> tuple[list[float], tuple[float, ...]]:
        """See the base class."""
        count, mean, spread, deviation, up, down = state
        grace, drift, threshold, found = self._grace, self._drift, self._threshold, []
        floor = float(self.floor(np.array([point], np.int32))[0])
        for value in values:
            ready, before = count >= grace, deviation
            if self._follows or not ready:
                away = value - mean
                mean += away / (count + 1.0)
                spread = max(spread + away * (value - mean), 0.0)
                deviation = max(math.sqrt(spread / max(count, 1.0)), floor)
                count += 1.0
            change = 0.0
            if ready:
                away = (value - mean) / before if self._scaled else value - mean
                up, down = max(up + (away - drift), 0.0), max(down + (-away - drift), 0.0)
                change = 1.0 if up > threshold else -1.0 if down > threshold else 0.0
            if change or not (math.isfinite(mean) and math.isfinite(spread)):
                count, mean, spread, deviation, up, down = 1.0, value, 0.0, 0.0, 0.0, 0.0
            found.append(change)
        return found, (count, mean, spread, deviation, up, down)
