"""``deadband``: report by exception; small changes against the last value sent are suppressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway.errors import FieldError
from gateway.frame import by_point, group_starts
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.bounds import Bound, bound_of
from pipelines.operators.news import MANY_LANES, UNSEEN, New, Runs, Sent, Tolerance, around, nan_codes

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index
    from pipelines.base import Points


class DeadbandConfig(OperatorConfig, frozen=True, kw_only=True):
    """Pass a sample only if it tells something new; what is suppressed counts as filtered.

    A sample passes when it is the first of its point, when it differs from the last value *sent* (not the
    last seen: a slow ramp does report) by more than the band, when its quality differs from that of the
    sample sent (historical aside), or when ``max_silence`` of source time has gone by since that one. A
    point whose kind is state passes on every change. A NaN passes unless the last one sent was a NaN with
    the same reason. A silent device produces nothing: never an old value with a new time.

    Exactly one of ``absolute``, ``percent`` and ``epsilon`` is given. Report by exception as PI, OPC UA (Part 8,
    PercentDeadband) and IEC 61850 (``db``) have it.

    Example::

        steps:
          - deadband: {percent: 0.5, max_silence: 60s}
          - deadband: {absolute: 0.2, points: "*/temperature"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"absolute": 0.5},
        {"percent": 1.0, "max_silence": "60s"},
        {"absolute": 0.0},
    )

    absolute: float | None = None
    """Half width of the band in the point's unit; 0 passes every change."""
    percent: float | None = None
    """Half width in percent of the range that the point's ``limits`` span; where a point has none, in
    percent of the last value sent."""
    max_silence: Duration | None = None
    """Longest source time between two samples of a point that goes on reporting; left out: no bound."""

    epsilon: float | str | None = None
    """The same in one word, as all operators that trade error for bytes take it: ``0.2`` or ``0.5%``."""

    def __post_init__(self) -> None:
        bound_of(self.absolute, self.percent, self.epsilon)
        if self.max_silence is not None and self.max_silence.ns <= 0:
            raise FieldError("max_silence", "must be longer than 0; leave it out for no bound")

    def create(self, points: Points) -> Deadband:
        """The operator for these options."""
        return Deadband(self, points)


class Deadband(Operator):
    """See :class:`DeadbandConfig`; the rule itself is in :mod:`pipelines.operators.news`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    many_lanes = MANY_LANES

    def __init__(self, config: DeadbandConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._silence_ns = 0 if config.max_silence is None else config.max_silence.ns
        self._bound = bound_of(config.absolute, config.percent, config.epsilon)
        self._tolerance = self._tolerances()
        # The samples sent last, by point id; what a NaN's reason is can be told from the value.
        self._value = np.empty(0, np.float64)
        self._band = np.empty(0, np.float64)
        self._due = np.empty(0, np.int64)
        self._word = np.empty(0, np.int32)
        self._nan = False
        """Whether any of them may be a NaN."""
        self._first = np.empty(0, np.intp)
        """Scratch: where in the frame the first news of a point is."""

    def _tolerances(self) -> Tolerance:
        bound = self._bound
        return Tolerance(self._points, absolute=bound.absolute, percent=bound.percent, silence_ns=self._silence_ns)

    @property
    def bound(self) -> Bound:
        """See the base class: no sample that is left out lies further from the one sent before it."""
        return self._bound

    def set_bound(self, bound: Bound) -> None:
        """See the base class; the bands around what was sent change at once."""
        self._bound = bound
        self._tolerance = self._tolerances()
        known = np.flatnonzero(self._word != UNSEEN).astype(np.int32)
        self._band[known] = around(self._value[known], *self._tolerance.widths(known))

    def process(self, frame: Frame) -> Frame:
        """The samples that are news."""
        if not len(frame):
            return frame
        self._grow(len(self._points))
        new = self._tolerance.columns(frame)
        with np.errstate(invalid="ignore", over="ignore"):
            passed = np.flatnonzero(self._sent(frame.point).differs(new))
            if len(passed):
                passed = self._settle(frame.point, new, passed)
        self.counts.filtered += len(frame) - len(passed)
        return frame if len(passed) == len(frame) else frame.take(passed)

    def _settle(self, ids: Ids, new: New, hits: Index) -> Index:
        """Which samples pass, given which differ from what was sent before the frame; remembers them."""
        self._first[ids] = len(ids)
        self._first[ids[hits[::-1]]] = hits[::-1]  # of equal ids the last assignment stays: the first hit
        left = np.flatnonzero(np.arange(len(ids)) >= self._first[ids])
        left = left[by_point(ids[left])]
        grouped, samples = ids[left], new.take(left)
        starts = group_starts(grouped)
        if len(starts) < len(left):
            passes = Runs(samples, grouped, starts, self._tolerance).decide(self.many_lanes)
            left, grouped, samples = left[passes], grouped[passes], samples.take(np.flatnonzero(passes))
        self._remember(grouped, samples)
        return np.sort(left)

    def _sent(self, ids: Ids) -> Sent:
        value = self._value[ids]
        due = self._due[ids] if self._tolerance.silence_ns else None
        return Sent(value, self._band[ids], due, self._word[ids], nan_codes(value) if self._nan else None)

    def _remember(self, ids: Ids, sent: New) -> None:
        # Of several samples of a point the last assignment stays, which is what numpy promises.
        self._value[ids] = sent.value
        self._band[ids] = around(sent.value, *self._tolerance.widths(ids))
        assert sent.word is not None
        self._word[ids] = sent.word
        due = self._tolerance.due(sent.time)
        if due is not None:
            self._due[ids] = due
        self._nan = self._nan or sent.codes is not None

    def _grow(self, size: int) -> None:
        if size > len(self._value):
            self._value = grown(self._value, size)
            self._band = grown(self._band, size)
            self._due = grown(self._due, size)
            self._word = grown(self._word, size, UNSEEN)
            self._first = grown(self._first, size)

    def snapshot(self) -> State:
        """The samples sent last, and until when each may be silent."""
        known = np.flatnonzero(self._word != UNSEEN).astype(np.int32)
        return {
            "point": known,
            "value": self._value[known],
            "due": self._due[known],
            "word": self._word[known],
            "bound": self._bound.as_dict(),
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known = state["point"]
        if "bound" in state:
            self._bound = Bound(**state["bound"])
            self._tolerance = self._tolerances()
        self._grow(len(self._points))
        self._word[:] = UNSEEN
        self._value[known], self._due[known], self._word[known] = state["value"], state["due"], state["word"]
        self._band[known] = around(state["value"], *self._tolerance.widths(known))
        self._nan = bool(np.isnan(state["value"]).any())
