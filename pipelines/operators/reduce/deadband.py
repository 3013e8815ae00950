"""``deadband``: report by exception; small changes against the last value sent are suppressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np

from gateway.errors import FieldError
from gateway.frame import EMPTY, by_point, group_starts, grouped
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.bounds import Bound, bound_of
from pipelines.operators.reduce.matrix import decide, rows_of
from pipelines.operators.reduce.news import MANY_LANES, UNSEEN, New, Runs, Sent, Tolerance, around, nan_codes
from pipelines.operators.reduce.suppressed import Suppressed

BUSY: Final = 32
"""One of so many samples is news, and frames are decided row by row where they can be."""

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Mask
    from pipelines.base import Points


class DeadbandConfig(OperatorConfig, frozen=True, kw_only=True):
    """Pass a sample only if it tells something new; what is suppressed counts as filtered.

    A sample passes when it is the first of its point, when it differs from the last value *sent* (not the
    last seen: a slow ramp does report) by more than the band, when its quality differs from that of the
    sample sent (historical aside), or when ``max_silence`` of source time has gone by since that one. A
    point whose kind is state passes on every change. A NaN passes unless the last one sent was a NaN with
    the same reason. A silent device produces nothing: never an old value with a new time.

    A receiver that draws lines sees a step as a ramp, because the samples before it are missing. With ``previous``
    the last one suppressed goes out before a sample that differs; until then it is held (counted as queued).

    Exactly one of ``absolute``, ``percent`` and ``epsilon`` is given. Report by exception as PI, OPC UA (Part 8,
    PercentDeadband) and IEC 61850 (``db``) have it; the previous value as PI's exception reports have it.

    Example::

        steps:
          - deadband: {percent: 0.5, max_silence: 60s}
          - deadband: {absolute: 0.2, points: "*/temperature"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"absolute": 0.5},
        {"percent": 1.0, "max_silence": "60s"},
        {"absolute": 0.0},
        {"percent": 2.0, "percent_of": "value", "previous": True, "max_silence": "2s"},
        {"epsilon": 0.5, "previous": True},
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
    percent_of: Literal["range", "value"] = "range"
    """What percent refers to: the ``range`` of a point that has one, or always the last ``value`` sent."""
    previous: bool = False
    """Send also the last sample suppressed before one that differs, so that a step is seen as a step."""

    def __post_init__(self) -> None:
        bound_of(self.absolute, self.percent, self.epsilon)
        if self.max_silence is not None and self.max_silence.ns <= 0:
            raise FieldError("max_silence", "must be longer than 0; leave it out for no bound")

    def create(self, points: Points) -> Deadband:
        """The operator for these options."""
        return Deadband(self, points)


class Deadband(Operator):
    """See :class:`DeadbandConfig`; the rule itself is in :mod:`pipelines.operators.reduce.news`.

    With ``previous`` what goes out depends on what passed before and on what was suppressed last: some thirty steps of
    numpy a frame, which frames of a hundred samples do not earn back.
    """

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    many_lanes = MANY_LANES

    def __init__(self, config: DeadbandConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._silence_ns = 0 if config.max_silence is None else config.max_silence.ns
        self._bound = self._configured = bound_of(config.absolute, config.percent, config.epsilon)
        self._of_value = config.percent_of == "value"
        self._tolerance = self._tolerances()
        self._previous = Suppressed() if config.previous else None
        # The samples sent last, by point id; what a NaN's reason is can be told from the value.
        self._value = np.empty(0, np.float64)
        self._band = np.empty(0, np.float64)
        self._due = np.empty(0, np.int64)
        self._word = np.empty(0, np.int32)
        self._nan = False
        """Whether any of them may be a NaN."""
        self._busy = False
        """Whether much of the last frame was news; says which way is tried first, and changes no result."""
        self._first = np.empty(0, np.intp)
        """Scratch: where in the frame the first news of a point is."""

    def _tolerances(self) -> Tolerance:
        return Tolerance(
            self._points,
            absolute=self._bound.absolute,
            percent=self._bound.percent,
            silence_ns=self._silence_ns,
            of_value=self._of_value,
            configured=self._configured,
        )

    @property
    def bound(self) -> Bound:
        """See the base class: no sample that is left out lies further from the one sent before it."""
        return self._bound

    def set_bound(self, bound: Bound) -> None:
        """See the base class; the bands around what was sent change at once. Those of counters become no wider."""
        self._bound = bound
        self._tolerance = self._tolerances()
        known = np.flatnonzero(self._word != UNSEEN).astype(np.int32)
        self._band[known] = around(self._value[known], *self._tolerance.widths(known))

    def process(self, frame: Frame) -> Frame:
        """The samples that are news."""
        if not len(frame):
            return frame
        self._grow(int(frame.point.max()) + 1)  # not for derived points, of which there are many more
        if self._previous is not None:
            return self._with_previous(grouped(frame), self._previous)
        new = self._tolerance.columns(frame)
        with np.errstate(invalid="ignore", over="ignore"):
            passed = self._news(frame.point, new)
        self.counts.filtered += len(frame) - len(passed)
        return frame if len(passed) == len(frame) else frame.take(passed)

    def _news(self, ids: Ids, new: New, sent: Sent | None = None) -> Index:
        """Which samples pass; remembers them."""
        rows = rows_of(ids, self.many_lanes) if self._busy else 0
        if rows:
            passed = self._matrix(ids, new, rows)
        else:
            passed = np.flatnonzero((sent or self._sent(ids)).differs(new))
            passed = self._settle(ids, new, passed) if len(passed) else passed
        self._busy = len(passed) * BUSY > len(ids)
        return passed

    def _matrix(self, ids: Ids, new: New, rows: int) -> Index:
        """Which samples pass of a frame in which every point has as many; remembers them."""
        first = ids[::rows]
        passes = decide(new, self._sent(first), rows, first, self._tolerance)
        points = np.flatnonzero(passes.any(1))
        last = points * rows + (rows - 1 - passes[points, ::-1].argmax(1))
        self._remember(ids[last], new.take(last))
        return np.flatnonzero(passes)

    def _with_previous(self, frame: Frame, previous: Suppressed) -> Frame:
        """The news of a frame grouped by point, and before each that differs the last sample suppressed."""
        new, before, held = self._tolerance.columns(frame), self._sent(frame.point), previous.held
        with np.errstate(invalid="ignore", over="ignore"):
            if (frame.point[1:] > frame.point[:-1]).all():
                passes, wanted = self._once(frame.point, new, before)
            else:
                passes, wanted = np.zeros((2, len(frame)), np.bool_)
                passed = self._news(frame.point, new, before)
                passes[passed] = True
                wanted[passed if before.due is None else self._changes(frame.point, new, before, passed)] = True
        out = previous.settle(frame, passes, wanted)
        self.counts.queued += previous.held - held
        self.counts.filtered += len(frame) - len(out) - (previous.held - held)
        return out

    def _once(self, ids: Ids, new: New, before: Sent) -> tuple[Mask, Mask]:
        """Which samples pass, and which of those differ, of a frame with at most one of each point; remembers them."""
        wanted = Sent(before.value, before.band, None, before.word, before.codes).differs(new)
        passes = wanted if before.due is None or new.time is None else wanted | (new.time > before.due)
        passed = np.flatnonzero(passes)
        self._remember(ids[passed], new.take(passed))
        return passes, wanted

    def _changes(self, ids: Ids, new: New, before: Sent, passed: Index) -> Index:
        """Which of the samples that pass do so not only because of a long silence."""
        ids, new = ids[passed], new.take(passed)
        again = np.zeros(len(ids), np.bool_)  # something of the same point passed in this frame before it
        again[1:] = ids[1:] == ids[:-1]
        last = np.flatnonzero(again) - 1
        value, word = before.value[passed], before.word[passed] if before.word is not None else None
        value[again] = new.value[last]
        if word is not None and new.word is not None:
            word[again] = new.word[last]
        band = np.where(again, around(value, *self._tolerance.widths(ids)), before.band[passed])
        return passed[Sent(value, band, None, word, nan_codes(value)).differs(new)]

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Nothing; what is held is let go, because it is no news."""
        del delta_ns
        if self._previous is not None:
            self.counts.queued -= self._previous.held
            self.counts.filtered += len(self._previous.pop())
        return EMPTY

    def _settle(self, ids: Ids, new: New, hits: Index) -> Index:
        """Which samples pass, given which differ from what was sent before the frame; remembers them."""
        if (ids[1:] > ids[:-1]).all():
            self._remember(ids[hits], new.take(hits))
            return hits
        self._first[ids] = len(ids)
        self._first[ids[hits[::-1]]] = hits[::-1]  # of equal ids the last assignment stays: the first hit
        left = np.flatnonzero(np.arange(len(ids)) >= self._first[ids])
        ordered = bool((ids[1:] >= ids[:-1]).all())
        if not ordered:
            left = left[by_point(ids[left])]
        grouped, samples = ids[left], new.take(left)
        starts = group_starts(grouped)
        if len(starts) < len(left):
            passes = Runs(samples, grouped, starts, self._tolerance).decide(self.many_lanes)
            left, grouped, samples = left[passes], grouped[passes], samples.take(np.flatnonzero(passes))
        self._remember(grouped, samples)
        return left if ordered else np.sort(left)

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
            if self._previous is not None:
                self._previous.grow(len(self._value))

    def snapshot(self) -> State:
        """The samples sent last, and until when each may be silent."""
        known = np.flatnonzero(self._word != UNSEEN).astype(np.int32)
        held = {} if self._previous is None else {"previous": self._previous.snapshot()}
        return {
            **held,
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
        self._grow(int(known.max(initial=-1)) + 1)
        self._word[:] = UNSEEN
        self._value[known], self._due[known], self._word[known] = state["value"], state["due"], state["word"]
        self._band[known] = around(state["value"], *self._tolerance.widths(known))
        self._nan = bool(np.isnan(state["value"]).any())
        if self._previous is not None:
            self._previous.restore(state["previous"])
