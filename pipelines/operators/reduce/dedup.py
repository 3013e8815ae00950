"""``dedup``: a value that repeats the last one sent is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame, Times, Values, group_starts, grouped
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.reduce.lanes import once, place_of

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Qualities
    from pipelines.base import Points

_UNSEEN: Final = -1
"""The quality word of a point of which nothing was sent yet; differs from every real one."""
_LIVE_WORD: Final = np.uint16(0xFFFF ^ q.HISTORICAL)
_INT64_MAX: Final = (1 << 63) - 1


class DedupConfig(OperatorConfig, frozen=True, kw_only=True):
    """Leave out a sample that says the same as the last one sent of its point; nothing is lost but its time.

    The same is: the same value (NaNs: the same reason) with the same quality (historical aside), less than ``window``
    of source time after the one sent. What is left out counts as filtered. A receiver lets a value hold until the
    next one.

    Example::

        steps:
          - dedup: {window: 1h, points: "*/status"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"window": "2s"})

    window: Duration | None = None
    """Source time after which an equal value is sent again; left out: never."""

    def __post_init__(self) -> None:
        if self.window is not None and self.window.ns <= 0:
            raise FieldError("window", "must be longer than 0; leave it out for no bound")

    def create(self, points: Points) -> Dedup:
        """The operator for these options."""
        return Dedup(0 if self.window is None else self.window.ns, points)


class Dedup(Operator):
    """See :class:`DedupConfig`.

    What equals the sample before it equals the last one sent, so changes are found side by side. Only equal samples
    of which a window may be over depend on one another; those few points are walked through.
    """

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, window_ns: int, points: Points) -> None:
        super().__init__()
        self._points = points
        self._window_ns = window_ns
        """0 for no bound."""
        self._value: Values = np.empty(0, np.float64)
        self._word: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._due: Times = np.empty(0, np.int64)
        """A later time is sent whatever the value."""

    def process(self, frame: Frame) -> Frame:
        """The samples that say something else than the one before them."""
        if not len(frame):
            return frame
        self._grow(len(self._points))
        ids = frame.point
        if once(ids):
            passes = self._once(frame)
        else:
            frame = grouped(frame)
            passes = self._several(frame)
        sent = int(np.count_nonzero(passes))
        out = frame if sent == len(frame) else frame.take(np.flatnonzero(passes))
        self.counts.filtered += len(frame) - len(out)
        return out

    def _once(self, frame: Frame) -> Mask:
        """Which samples of a frame with at most one of each point pass, [n]."""
        place, word = place_of(frame.point), frame.quality & _LIVE_WORD
        passes = _changes(frame.value, word, self._value[place], self._word[place])
        self._value[place], self._word[place] = frame.value, word
        if self._window_ns:
            passes |= frame.time > self._due[place]
            sent = int(np.count_nonzero(passes))
            if sent == len(passes):
                self._due[place] = self._after(frame.time)
            elif sent:
                self._due[frame.point[passes]] = self._after(frame.time[passes])
        return passes

    def _several(self, frame: Frame) -> Mask:
        """Which samples of a frame grouped by point pass, [n]."""
        starts = group_starts(frame.point)
        ids = frame.point[starts]
        word = frame.quality & _LIVE_WORD
        value_before, word_before = np.empty_like(frame.value), np.empty(len(word), np.int32)
        value_before[1:], word_before[1:] = frame.value[:-1], word[:-1]
        value_before[starts], word_before[starts] = self._value[ids], self._word[ids]
        passes = _changes(frame.value, word, value_before, word_before)
        if self._window_ns:
            self._remind(frame, starts, passes)
        ends = np.append(starts[1:], len(frame)) - 1
        # Equal values are as good as those sent.
        self._value[ids], self._word[ids] = frame.value[ends], word[ends]
        return passes

    def _remind(self, frame: Frame, starts: Index, passes: Mask) -> None:
        """Let equal samples pass too once their window is over."""
        n = len(frame)
        place = np.arange(n)
        sent = np.maximum.accumulate(np.where(passes, place, -1))
        first = np.repeat(starts, np.diff(starts, append=n))
        due = np.where(sent >= first, self._after(frame.time[sent]), self._due[frame.point])
        late = np.flatnonzero((frame.time > due) & ~passes)
        if len(late):
            for start in np.unique(first[late]).tolist():
                end = int(np.searchsorted(frame.point, frame.point[start], side="right"))
                self._walk(frame.time[start:end].tolist(), int(self._due[frame.point[start]]), passes[start:end])
        ends = np.append(starts[1:], n) - 1
        sent = np.maximum.accumulate(np.where(passes, place, -1))[ends]
        any_sent = sent >= starts
        self._due[frame.point[ends[any_sent]]] = self._after(frame.time[sent[any_sent]])

    def _walk(self, times: list[int], due: int, passes: Mask) -> None:
        """The rule in turn for the samples of one point; ``passes`` says which are changes, and is written to."""
        wait = self._window_ns - 1
        for at, (time, change) in enumerate(zip(times, passes.tolist(), strict=True)):
            if change or time > due:
                passes[at] = True
                due = min(time + wait, _INT64_MAX)

    def _after(self, time: Times) -> Times:
        wait = self._window_ns - 1
        return np.minimum(time, _INT64_MAX - wait) + wait

    def _grow(self, size: int) -> None:
        if size <= len(self._value):
            return
        self._value = grown(self._value, size)
        self._word = grown(self._word, size, _UNSEEN)
        self._due = grown(self._due, size, _INT64_MAX)

    def snapshot(self) -> State:
        """The samples sent last, and until when equal ones are left out."""
        known: Ids = np.flatnonzero(self._word != _UNSEEN).astype(np.int32)
        return {"point": known, "value": self._value[known], "word": self._word[known], "due": self._due[known]}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known = state["point"]
        self._value, self._word, self._due = self._value[:0], self._word[:0], self._due[:0]
        self._grow(max(len(self._points), int(known.max(initial=-1)) + 1))
        self._value[known], self._word[known], self._due[known] = state["value"], state["word"], state["due"]


def _changes(value: Values, word: Qualities, value_before: Values, word_before: npt.NDArray[np.int32]) -> Mask:
    """Which samples say something else than those before them, [n]."""
    changes: Mask = value != value_before
    nan = np.isnan(value)
    if np.count_nonzero(nan):
        nan &= np.isnan(value_before)
        changes[nan] = q.reason_codes(value[nan]) != q.reason_codes(value_before[nan])
    changes |= word != word_before
    return changes
