"""``anomaly``: how far each sample lies from what its point usually does, in standard deviations."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind, Merge
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.ahead.recursion import Recursion
from pipelines.operators.judge.judging import judged
from pipelines.operators.judge.limits import Action

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Values
    from pipelines.base import Points

MAX_SCORE: Final = 1e6
"""Scores end here, so that a change after a constant is a number too."""
_FACTS: Final[dict[str, Any]] = {
    "unit": "1", "kind": Kind.GAUGE, "resolution": None, "merge": Merge.MAX, "limits": (0.0, MAX_SCORE),
}  # fmt: skip


class Method(enum.StrEnum):
    """What a sample is compared with."""

    EWMA = "ewma"
    GAUSSIAN = "gaussian"


class Report(enum.StrEnum):
    """Which scores become samples."""

    ALL = "all"
    ABOVE = "above"
    NONE = "none"


class AnomalyConfig(OperatorConfig, frozen=True, kw_only=True):
    """Score each sample by its distance from the mean of those before it, in their standard deviations.

    ``ewma`` weighs the past exponentially: mean += alpha * d and variance = (1 - alpha) * (variance + alpha * d * d),
    where d is the distance from the mean before the sample; it follows a point that changes slowly. ``gaussian`` takes
    all samples since the first one alike; it suits a process that stays as it is. Under a normal distribution a score
    above 3 has a chance of 0.27 %, above 4 of 0.006 %, above 5 of 6e-7.

    The score is a point of its own, ``m1/power#score``, with the time and quality of its sample. The first ``grace``
    usable samples of a point are learned from and have none. All samples pass; with a ``threshold`` those above it
    become questionable and inconsistent (IEC 61850-7-3), or are dropped. They are learned from all the same, so that
    a new level becomes usual in time. Invalid samples, NaNs and infinities have no score and teach nothing; states
    pass untouched. A deviation below what the point's ``resolution`` makes is taken for that. Counters grow for ever:
    make them rates first. State: three numbers a point.

    Within a point each sample depends on the one before, so that only points go side by side, see
    :mod:`pipelines.operators.ahead.recursion`. S. W. Roberts, "Control chart tests based on geometric moving averages",
    Technometrics 1(3), 1959; T. Finch, "Incremental calculation of weighted mean and variance", 2009; B. P. Welford,
    "Note on a method for calculating corrected sums of squares and products", Technometrics 4(3), 1962.

    Example::

        steps:
          - anomaly: {method: ewma, alpha: 0.05, threshold: 5, points: "*/power"}
          - anomaly: {method: gaussian, grace: 500, report: none, threshold: 6, action: drop}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"grace": 3, "threshold": 2.0},
        {"method": "gaussian", "grace": 2},
        {"method": "gaussian", "grace": 4, "threshold": 1.5, "action": "drop", "report": "above"},
    )

    method: Method = Method.EWMA
    """``ewma``: the recent past; ``gaussian``: all of it."""
    alpha: float = 0.05
    """Weight of the newest sample under ``ewma``, above 0 and below 1: about 2 / alpha samples are remembered."""
    grace: int = 100
    """How many samples of a point are learned from before the first score, 2 to a million."""
    threshold: float | None = None
    """Scores above it are suspect, in standard deviations; left out: nothing is."""
    action: Action = Action.MARK
    """What becomes of a suspect: ``mark`` it questionable and inconsistent, or ``drop`` it."""
    report: Report = Report.ALL
    """Which scores are given: ``all``, those ``above`` the threshold, or ``none``."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise FieldError("alpha", "must be above 0 and below 1")
        if not 2 <= self.grace <= 1_000_000:
            raise FieldError("grace", "must be 2 to 1000000: a deviation needs two samples")
        if self.threshold is None:
            if self.report is not Report.ALL:
                raise FieldError("report", f"{self.report} needs a threshold, or nothing would come of the step")
        elif not 0 < self.threshold < math.inf:
            raise FieldError("threshold", "must be a finite number above 0")

    def create(self, points: Points) -> Anomaly:
        """The operator for these options."""
        return Anomaly(self, points)


class Anomaly(Operator):
    """See :class:`AnomalyConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: AnomalyConfig, points: Points) -> None:
        super().__init__()
        self._config = config
        self._points = points
        self.scores: Recursion = (
            Ewma(points, config.grace, config.alpha) if config.method is Method.EWMA else Gaussian(points, config.grace)
        )

    def process(self, frame: Frame) -> Frame:
        """The samples, judged, and behind them their scores."""
        if not len(frame):
            return frame
        at, score = self.scores.run(frame)
        suspects = score > self._config.threshold if self._config.threshold is not None else None
        scores = self._reported(frame, at, score, suspects)
        self.counts.derived += len(scores)
        if suspects is not None and suspects.any():
            places = np.flatnonzero(suspects) if isinstance(at, slice) else at[suspects]
            frame = judged(frame, places, q.INCONSISTENT, self._config.action, self.counts, "anomaly")
        return concat([frame, scores])

    def _reported(self, frame: Frame, at: Index | slice, score: Values, suspects: Mask | None) -> Frame:
        """The scores as samples; of a suspect with its own quality, not the one it is about to get."""
        if self._config.report is Report.NONE:
            return EMPTY
        chosen = score >= 0 if suspects is None or self._config.report is Report.ALL else suspects
        own = frame if isinstance(at, slice) else frame.take(at)
        if not chosen.all():
            own, score = own.take(chosen), score[chosen]
        ids = self._points.derive(own.point, "#score", **_FACTS) if len(own) else own.point
        return own.replace(point=ids, value=score)

    def snapshot(self) -> State:
        """Mean, variance and number of samples of each point."""
        return self.scores.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self.scores.restore(state)


class Ewma(Recursion):
    """Exponentially weighted mean and variance; scores, or NaN within the grace."""

    columns: ClassVar[tuple[str, ...]] = ("count", "mean", "variance")

    def __init__(self, points: Points, grace: int, alpha: float) -> None:
        super().__init__(points)
        self._grace, self._alpha = float(grace), alpha

    def step(self, ids: Ids, value: Values, state: tuple[Values, ...]) -> tuple[Values, tuple[Values, ...]]:
        """See the base class."""
        count, mean, variance = state
        away = value - mean
        score = np.minimum(np.abs(away) / np.maximum(np.sqrt(variance), self.floor(ids)), MAX_SCORE)
        score[count < self._grace] = np.nan
        part = self._alpha * away
        mean, variance = mean + part, (1.0 - self._alpha) * (variance + away * part)
        fresh = (count == 0) | ~np.isfinite(mean) | ~np.isfinite(variance)
        if fresh.any():
            mean[fresh], variance[fresh] = value[fresh], 0.0
            count = np.where(fresh, 0.0, count)
        return score, (count + 1.0, mean, variance)

    def walk(self, point: int, values: list[float], state: tuple[float, ...]) -> tuple[list[float], tuple[float, ...]]:
        """See the base class."""
        count, mean, variance = state
        alpha, grace, found = self._alpha, self._grace, []
        floor = float(self.floor(np.array([point], np.int32))[0])
        for value in values:
            away = value - mean
            score = min(abs(away) / max(math.sqrt(variance), floor), MAX_SCORE)
            found.append(score if count >= grace else math.nan)
            part = alpha * away
            mean, variance = mean + part, (1.0 - alpha) * (variance + away * part)
            if count == 0 or not (math.isfinite(mean) and math.isfinite(variance)):
                count, mean, variance = 0.0, value, 0.0
            count += 1.0
        return found, (count, mean, variance)


class Gaussian(Recursion):
    """Mean and variance of all samples alike; ``spread`` is the sum of squared distances from the mean."""

    columns: ClassVar[tuple[str, ...]] = ("count", "mean", "spread")

    def __init__(self, points: Points, grace: int) -> None:
        super().__init__(points)
        self._grace = float(grace)

    def step(self, ids: Ids, value: Values, state: tuple[Values, ...]) -> tuple[Values, tuple[Values, ...]]:
        """See the base class."""
        count, mean, spread = state
        deviation = np.sqrt(spread / np.maximum(count - 1.0, 1.0))
        away = value - mean
        score = np.minimum(np.abs(away) / np.maximum(deviation, self.floor(ids)), MAX_SCORE)
        score[count < self._grace] = np.nan
        count = count + 1.0
        mean = mean + away / count
        spread = np.maximum(spread + away * (value - mean), 0.0)
        fresh = ~np.isfinite(mean) | ~np.isfinite(spread)
        if fresh.any():
            mean[fresh], spread[fresh], count[fresh] = value[fresh], 0.0, 1.0
        return score, (count, mean, spread)

    def walk(self, point: int, values: list[float], state: tuple[float, ...]) -> tuple[list[float], tuple[float, ...]]:
        """See the base class."""
        count, mean, spread = state
        grace, found = self._grace, []
        floor = float(self.floor(np.array([point], np.int32))[0])
        for value in values:
            away = value - mean
            deviation = math.sqrt(spread / max(count - 1.0, 1.0))
            score = min(abs(away) / max(deviation, floor), MAX_SCORE)
            found.append(score if count >= grace else math.nan)
            count += 1.0
            mean += away / count
            spread = max(spread + away * (value - mean), 0.0)
            if not (math.isfinite(mean) and math.isfinite(spread)):
                count, mean, spread = 1.0, value, 0.0
        return found, (count, mean, spread)
