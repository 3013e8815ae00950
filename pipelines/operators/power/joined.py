"""What operators that join several points of a device have in common; the rows come from the aligner."""

from __future__ import annotations

import abc
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, concat
from gateway.point import Point
from gateway.units import Duration
from pipelines.base import Operator, State, StateClass
from pipelines.operators.aligned import Aligner, Mode, worst_of
from pipelines.operators.power.ordered import PowerConfig
from pipelines.operators.power.results import sealed, usable
from pipelines.operators.shape.joining import named, stars

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from gateway.frame import Frame, Ids, Qualities, Values
    from pipelines.base import Points
    from pipelines.operators.aligned import Rows

_NAME: Final = re.compile(r"[^\x00-\x20\x7f+*?{}]+")
_DEVICE: Final = "{device}"


class JoinedConfig(PowerConfig, frozen=True, kw_only=True):
    """Options of operators that join points."""

    max_gap: Duration = Duration(5)
    """How old a value may be that stands beside a newer one of another input; 0s: all have to be of the same time."""


def check_names(target: str, inputs: Sequence[str], of: str, field: str = "set") -> None:
    """Refuse inputs (of the option ``of``) that make no groups, and a name for results that does not fit them.

    Raises:
        FieldError: patterns or the name are none; the name would be the same for several devices, or names a device
            where there is none.
    """
    stars(of, inputs, shared=True)
    rest = target.replace(_DEVICE, "d")
    if not _NAME.fullmatch(rest) or not all(rest.split("/")):
        raise FieldError(field, f"{target!r} is no name of a point; write one such as {{device}}/loss or feeder/loss")
    grouping = any("*" in text for text in inputs)
    if grouping and _DEVICE not in target:
        raise FieldError(
            field, f"would be one point for all devices; write it with {{device}}, as in {{device}}/{rest}"
        )
    if not grouping and _DEVICE in target:
        raise FieldError(field, "names {device}, but no input has a * that it could stand for; write a name")


class Joined(Operator):
    """Gives a subclass rows of its inputs, at ticks.

    Args:
        config: the common options.
        points: the directory.
        inputs: one pattern an input.
        target: the name of the result, in which ``{device}`` is what the ``*`` of the inputs stands for.
    """

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    joins: ClassVar[bool] = True

    def __init__(self, config: JoinedConfig, points: Points, inputs: Sequence[str], target: str) -> None:
        super().__init__()
        self._points = points
        self._inputs = list(inputs)
        self._target = target
        self._keep = config.keep
        gap_ns = config.max_gap.ns
        mode = Mode.LAST if gap_ns > 0 else Mode.EXACT
        self._aligner = Aligner(points, self._inputs, mode=mode, lateness_ns=config.lateness.ns, max_gap_ns=gap_ns)
        self._made: dict[str, list[int]] = {}
        """Ids of results by suffix and group."""
        self._factors = np.empty((0, len(self._inputs)))
        self._edition = points.edition

    def process(self, frame: Frame) -> Frame:
        """The samples as they are, or without the inputs if those are not kept."""
        if not len(frame):
            return EMPTY
        taken = self._aligner.add(frame)
        for reason, n in (("late", taken.late), ("early", taken.early)):
            if n:
                self.counts.reasons[reason] += n
        if self._keep:
            return frame
        self.counts.aggregated += len(frame) - len(taken.strangers)
        return taken.strangers

    def tick(self, now_ns: int) -> Frame:
        """The results that are due."""
        rows, _ = self._aligner.tick(now_ns)
        with np.errstate(all="ignore"):
            out = concat([self._results(rows) if len(rows) else EMPTY, self._passed(now_ns)])
        self.counts.derived += len(out)
        return out

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The results of all that is held; what depends on times starts anew."""
        del delta_ns
        rows, _ = self._aligner.flush()
        with np.errstate(all="ignore"):
            out = self._results(rows) if len(rows) else EMPTY
        self._forget()
        self.counts.derived += len(out)
        return out

    @abc.abstractmethod
    def _results(self, rows: Rows) -> Frame:
        """Results of rows, ordered by group and time."""

    def _passed(self, now_ns: int) -> Frame:
        """What the passing of time itself causes."""
        del now_ns
        return EMPTY

    def _forget(self) -> None:
        """Let go of what depends on a clock that was stepped."""

    def ids(self, groups: Ids, suffix: str, **facts: Any) -> Ids:
        """Ids of the results of groups, [k]; made when new."""
        made = self._made.setdefault(suffix, [])
        size = int(groups.max(initial=-1)) + 1
        made += [-1] * (size - len(made))
        for group in np.unique(groups).tolist():
            if made[group] < 0:
                name = self._target.replace(_DEVICE, self._aligner.text(group)) + suffix
                made[group] = self._points.make(Point(name=name, **facts))
        return np.array(made, np.int32)[groups]

    def factors(self, groups: Ids, of: Callable[[str], float | None]) -> Values:
        """What the units of the inputs are worth, [k, inputs]; NaN where a unit is another or none."""
        if self._points.edition != self._edition:
            self._factors, self._edition = self._factors[:0], self._points.edition
        known = len(self._factors)
        size = int(groups.max(initial=-1)) + 1
        if size > known:
            fresh = [[self._factor(group, text, of) for text in self._inputs] for group in range(known, size)]
            self._factors = np.concatenate([self._factors, np.array(fresh)])
        result: npt.NDArray[np.float64] = self._factors[groups]
        return result

    def _factor(self, group: int, pattern: str, of: Callable[[str], float | None]) -> float:
        point = self._points.find(named(pattern, self._aligner.text(group)))
        factor = None if point is None else of(self._points.point(point).unit)
        return float("nan") if factor is None else factor

    def snapshot(self) -> State:
        """What waits for the other inputs."""
        return {"aligner": self._aligner.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._aligner.restore(state["aligner"])
        self._made.clear()
        self._factors = self._factors[:0]


def told(ids: Ids, rows: Rows, value: Values, *, flags: Qualities | None = None) -> Frame:
    """Results of rows: without a value, and for what reason, where an input has none."""
    ok = usable(rows.value, rows.quality)
    lacking = ~ok.all(axis=1)
    word = worst_of(rows.quality) if flags is None else flags
    if lacking.any():
        first = np.argmin(ok, axis=1)
        seen = rows.value[np.arange(len(rows)), first]
        named = np.isnan(seen) & (q.reason_codes(seen) > 0)
        value = np.where(lacking, np.where(named, seen, q.no_value(q.Reason.NO_VALID_SAMPLES)), value)
    return sealed(ids, rows.time, value, word)
