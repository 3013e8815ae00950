"""``sample``: every n-th sample of a point, or one of each interval of source time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np

from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, group_starts, grouped
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.reduce.lanes import once, place_of
from pipelines.operators.reduce.suppressed import Suppressed

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Mask
    from pipelines.base import Points


class SampleConfig(OperatorConfig, frozen=True, kw_only=True):
    """Pass every ``nth`` sample of a point, or the first or last one of each interval of ``every``.

    Whatever their values and qualities are; the others count as filtered. Intervals begin at multiples of
    ``every`` since 1970 UTC and go by the samples' own times, in the order in which they come: one that belongs to
    another interval than the sample before it, be it an earlier one, begins it anew. The last sample of an interval is
    held (counted as queued) until one of another interval comes, or until the point has been silent for ``every`` on
    the gateway's clock. Exactly one of ``nth`` and ``every`` is given.

    What lies between is not bounded: where that matters, use ``deadband`` or ``swinging_door``; for statistics of an
    interval use ``window``.

    Example::

        steps:
          - sample: {every: 10s}
          - sample: {every: 15m, keep: last, points: "*/energy"}
          - sample: {nth: 5}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"nth": 3},
        {"every": "2s"},
        {"every": "1s", "keep": "last"},
    )

    nth: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Of each point the first sample passes, and then every so many-th."""
    every: Duration | None = None
    """Length of the intervals of which one sample passes."""
    keep: Literal["first", "last"] = "first"
    """Which sample of an interval passes."""

    def __post_init__(self) -> None:
        if (self.nth is None) == (self.every is None):
            raise FieldError((), "needs exactly one of nth and every")
        if self.every is not None and self.every.ns <= 0:
            raise FieldError("every", "must be longer than 0")
        if self.nth is not None and self.keep != "first":
            raise FieldError("keep", "is of use with every only")

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        if self.every is None:
            return Nth(self.nth or 1, points)
        return Every(self.every.ns, points, last=self.keep == "last")


class Nth(Operator):
    """Every n-th sample of a point."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, n: int, points: Points) -> None:
        super().__init__()
        self._n = n
        self._points = points
        self._seen: npt.NDArray[np.int64] = np.empty(0, np.int64)
        """Samples since the last one that passed, by point id; 0: the next one passes."""

    def process(self, frame: Frame) -> Frame:
        """The samples whose turn it is."""
        if not len(frame):
            return frame
        self._seen = grown(self._seen, len(self._points))
        frame = grouped(frame)
        starts = group_starts(frame.point)
        lengths = np.diff(starts, append=len(frame))
        ids = frame.point[starts]
        rank = np.arange(len(frame)) - np.repeat(starts - self._seen[ids], lengths)
        self._seen[ids] = (self._seen[ids] + lengths) % self._n
        out = frame.take(rank % self._n == 0)
        self.counts.filtered += len(frame) - len(out)
        return out

    def snapshot(self) -> State:
        """How far each point has counted."""
        return {"seen": self._seen.copy()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._seen = state["seen"].copy()


class Every(Operator):
    """One sample of each interval."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, every_ns: int, points: Points, *, last: bool) -> None:
        super().__init__()
        self._points = points
        self._every_ns = every_ns
        self._number: npt.NDArray[np.int64] = np.empty(0, np.int64)
        """The interval of each point's last sample."""
        self._seen: npt.NDArray[np.bool_] = np.empty(0, np.bool_)
        self._suppressed = Suppressed() if last else None

    def process(self, frame: Frame) -> Frame:
        """The first samples of intervals, or the last ones of those that are over."""
        if not len(frame):
            return frame
        self._grow(len(self._points))
        if once(frame.point):
            begins = self._begins_once(frame)
        else:
            frame = grouped(frame)
            begins = self._begins(frame)
        if self._suppressed is None:
            out, held = frame.take(np.flatnonzero(begins)), 0
        else:
            before = self._suppressed.held
            out = self._suppressed.settle(frame, np.zeros(len(frame), np.bool_), begins, renew=True)
            held = self._suppressed.held - before
        self.counts.queued += held
        self.counts.filtered += len(frame) - len(out) - held
        return out

    def _begins_once(self, frame: Frame) -> Mask:
        """The same for a frame with at most one sample of each point."""
        numbers, place = frame.time // self._every_ns, place_of(frame.point)
        begins: Mask = (numbers != self._number[place]) | ~self._seen[place]
        self._number[place], self._seen[place] = numbers, True
        return begins

    def _begins(self, frame: Frame) -> Mask:
        """Which samples of a frame grouped by point are in another interval than the one before, [n]."""
        numbers = frame.time // self._every_ns
        starts = group_starts(frame.point)
        ids = frame.point[starts]
        begins = np.empty(len(frame), np.bool_)
        np.not_equal(numbers[1:], numbers[:-1], out=begins[1:])
        begins[starts] = ~self._seen[ids] | (numbers[starts] != self._number[ids])
        ends = np.append(starts[1:], len(frame)) - 1
        self._number[ids], self._seen[ids] = numbers[ends], True
        return begins

    def tick(self, now_ns: int) -> Frame:
        """What is held of points that have been silent for an interval."""
        if self._suppressed is None or not self._suppressed.held:
            return EMPTY
        out = self._suppressed.due(now_ns, self._every_ns)
        self.counts.queued -= len(out)
        return out

    def clock_stepped(self, delta_ns: int) -> Frame:
        """All that is held; every point begins anew."""
        del delta_ns
        self._seen[:] = False
        if self._suppressed is None:
            return EMPTY
        out = self._suppressed.pop()
        self.counts.queued -= len(out)
        return out

    def _grow(self, size: int) -> None:
        if size <= len(self._number):
            return
        self._number, self._seen = grown(self._number, size), grown(self._seen, size)
        if self._suppressed is not None:
            self._suppressed.grow(len(self._number))

    def snapshot(self) -> State:
        """The interval that each point is in, and what is held."""
        known = np.flatnonzero(self._seen).astype(np.int32)
        state: State = {"point": known, "number": self._number[known]}
        return state if self._suppressed is None else {**state, "suppressed": self._suppressed.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known = state["point"]
        self._number, self._seen = self._number[:0], self._seen[:0]
        self._grow(max(len(self._points), int(known.max(initial=-1)) + 1))
        self._number[known], self._seen[known] = state["number"], True
        if self._suppressed is not None:
            self._suppressed.restore(state["suppressed"])
