"""``narrowband``: only what leaves the band in which a point usually moves, or only what stays inside."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.errors import FieldError
from gateway.point import Kind
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.facts import Facts
from pipelines.operators.reduce.lanes import MANY_LANES, Lanes

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Mask, Values
    from pipelines.base import Points

_MEAN, _VARIANCE, _SEEN, _OUTSIDE = range(4)
_COLUMNS: Final = ("mean", "variance", "seen", "outside")

Table = npt.NDArray[np.float64]


class NarrowbandConfig(OperatorConfig, frozen=True, kw_only=True):
    """Compare each sample with the running mean of its point, plus and minus ``sigmas`` standard deviations.

    ``keep: outside`` passes the outliers only and leaves out what is as usual; ``keep: inside`` removes the outliers.
    What does not pass counts as filtered. The band is that of the samples before; mean and variance are exponentially
    weighted (a new sample counts 2 / (span + 1), and while they are few all count alike). An outlier does not enter
    them. After ``warmup`` outliers in a row the point is taken to have moved, and is learned anew. The first
    ``warmup`` samples of a point pass. Samples that are invalid or no finite number, and states, pass untouched.

    What ``outside`` leaves out lay within the band of its time, which a receiver does not know: no bound is
    promised. Where one is needed, use ``deadband`` or ``swinging_door``.

    Weighted variance as in T. Finch, "Incremental calculation of weighted mean and variance", 2009.

    Example::

        steps:
          - narrowband: {sigmas: 4, span: 600, points: "*/current"}
          - narrowband: {keep: inside, floor: 0.5}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"sigmas": 2.0, "span": 5, "warmup": 3},
        {"sigmas": 1.0, "span": 10, "warmup": 2, "keep": "inside", "floor": 0.5},
    )

    sigmas: float = 3.0
    """Half width of the band in standard deviations."""
    span: Annotated[int, msgspec.Meta(ge=1)] = 100
    """Over about how many samples mean and deviation are taken."""
    warmup: Annotated[int, msgspec.Meta(ge=2)] = 20
    """Samples that a point is learned from before any is judged; also the outliers in a row after which it is
    learned anew."""
    floor: float = 0.0
    """Least half width of the band, in the point's unit; for points that hardly move."""
    keep: Literal["outside", "inside"] = "outside"
    """Which samples pass: those ``outside`` of the band, or those ``inside``."""

    def __post_init__(self) -> None:
        if not 0 < self.sigmas < math.inf:
            raise FieldError("sigmas", "must be a finite number above 0")
        if not 0 <= self.floor < math.inf:
            raise FieldError("floor", "must be a finite number, 0 or more")

    def create(self, points: Points) -> Narrowband:
        """The operator for these options."""
        return Narrowband(self, points)


class Narrowband(Operator):
    """See :class:`NarrowbandConfig`. What is learned of one sample judges the next, so it goes by lanes."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    many_lanes = MANY_LANES

    def __init__(self, config: NarrowbandConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._config = config
        self._least_weight = 2 / (config.span + 1)
        self._outside = config.keep == "outside"
        self._facts = Facts(points, 1, lambda point: (float(point.kind is Kind.STATE),))
        self._table: Table = np.empty((len(_COLUMNS), 0))
        """Rows ``_COLUMNS``, columns by point id; ``seen`` samples since it is learned, at most ``warmup`` or span."""

    def process(self, frame: Frame) -> Frame:
        """The samples outside of the band, or those inside."""
        if not len(frame):
            return frame
        size = len(self._points)
        if size > self._table.shape[1]:
            self._table = np.ascontiguousarray(grown(self._table.T, size).T)
        judged = np.isfinite(frame.value)
        judged &= self._facts.column(0, frame.point) == 0
        if frame.quality.any():
            judged &= ~q.is_invalid(frame.quality)
        if judged.all():
            passes_of, passes = self._judge(frame)
            out = passes_of.take(passes)
        elif judged.any():
            which = np.flatnonzero(judged)
            order = which[np.argsort(frame.point[which], kind="stable")]
            verdict = np.ones(len(frame), np.bool_)
            verdict[order] = self._judge(frame.take(order))[1]
            out = frame.take(verdict)
        else:
            out = frame
        self.counts.filtered += len(frame) - len(out)
        return out

    def _judge(self, frame: Frame) -> tuple[Frame, Mask]:
        """The samples grouped by point, and which of them pass."""
        lanes = Lanes(frame)
        inside = isinstance(lanes.place, slice)
        state = self._table[:, lanes.place] if inside else self._table.take(lanes.ids, 1)
        passes = np.empty(len(frame), np.bool_)
        with np.errstate(all="ignore"):
            for n, where in lanes.steps(self.many_lanes):
                passes[where] = self._step(state[:, :n], lanes.frame.value[where])
            for lane, start, end in lanes.rest(self.many_lanes):
                passes[start:end], state[:, lane] = self._walk(
                    state[:, lane].tolist(), lanes.frame.value[start:end].tolist()
                )
        if not inside:
            self._table[:, lanes.ids] = state
        return lanes.frame, passes

    def _step(self, state: Table, value: Values) -> Mask:
        """Which of one more sample of each lane pass; ``state`` [4, lanes] is written to."""
        mean, variance, seen, outside = state
        config = self._config
        away = value - mean
        width = np.maximum(np.sqrt(variance) * config.sigmas, config.floor)
        learning = seen < config.warmup
        strange = np.abs(away) > width
        strange &= ~learning
        outside += 1
        outside *= strange
        moved = outside >= config.warmup
        weight = np.maximum(1 / (seen + 1), self._least_weight)
        learned = away * weight
        new_variance = (variance + away * learned) * (1 - weight)
        learned += mean
        np.copyto(mean, learned, where=~strange)
        np.copyto(variance, new_variance, where=~strange)
        np.minimum(seen + ~strange, config.span + config.warmup, out=seen)
        anew = moved | ~np.isfinite(variance)
        if anew.any():
            mean[anew], variance[anew], seen[anew], outside[anew] = value[anew], 0.0, 1.0, 0.0
        passes: Mask = learning | strange if self._outside else ~strange
        return passes

    def _walk(self, state: list[float], values: list[float]) -> tuple[list[bool], list[float]]:
        """The same rule for a run of samples of one point, number by number."""
        mean, variance, seen, outside = state
        sigmas, floor, warmup = self._config.sigmas, self._config.floor, self._config.warmup
        most, found = float(self._config.span + warmup), []
        for value in values:
            away = value - mean
            learning = seen < warmup
            strange = not learning and abs(away) > max(math.sqrt(variance) * sigmas, floor)
            found.append(learning or strange if self._outside else not strange)
            if strange:
                outside += 1
            else:
                weight = max(1 / (seen + 1), self._least_weight)
                learned = away * weight
                variance = (variance + away * learned) * (1 - weight)
                mean += learned
                seen, outside = min(seen + 1, most), 0.0
            if outside >= warmup or not math.isfinite(variance):
                mean, variance, seen, outside = value, 0.0, 1.0, 0.0
        return found, [mean, variance, seen, outside]

    def snapshot(self) -> State:
        """What was learned of each point."""
        known: Ids = np.flatnonzero(self._table[_SEEN] > 0).astype(np.int32)
        return {"point": known, **{name: self._table[row][known] for row, name in enumerate(_COLUMNS)}}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known = state["point"]
        size = max(len(self._points), int(known.max(initial=-1)) + 1)
        self._table = np.zeros((len(_COLUMNS), size))
        for row, name in enumerate(_COLUMNS):
            self._table[row][known] = state[name]
