"""``throttle``: at least an interval of source time between two samples of a point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, group_starts, grouped
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.reduce.lanes import MANY_LANES, Lanes, once, place_of
from pipelines.operators.reduce.suppressed import Suppressed

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Times
    from pipelines.base import Points

_INT64_MAX: Final = (1 << 63) - 1
_INT64_MIN: Final = -(1 << 63)


class ThrottleConfig(OperatorConfig, frozen=True, kw_only=True):
    """Pass a sample only if it is at least ``interval`` away from the last one sent of its point, in source time.

    Whatever its value and quality are. A time that goes back by an interval or more passes too, so that a clock that
    was wrong does not silence a point. The last sample suppressed is held (counted as queued); if the point sends
    nothing else for an ``interval`` on the gateway's clock, it goes out, so that the final value is never lost. All
    others count as filtered. What lies between two samples that are sent is not bounded: where that matters, use
    ``deadband`` or ``swinging_door``.

    Example::

        steps:
          - throttle: {interval: 10s}
          - throttle: {interval: 1m, flush: false, points: "*/temperature"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = ({"interval": "2s"}, {"interval": "500ms", "flush": False})

    interval: Duration
    """Least source time between two samples of a point."""
    flush: bool = True
    """Send the last sample suppressed when its point has sent nothing for an interval of the gateway's clock."""

    def __post_init__(self) -> None:
        if self.interval.ns <= 0:
            raise FieldError("interval", "must be longer than 0")

    def create(self, points: Points) -> Throttle:
        """The operator for these options."""
        return Throttle(self, points)


class Throttle(Operator):
    """See :class:`ThrottleConfig`.

    What passes depends on what passed before it, so it goes by lanes, unless the frame is shorter than the interval.
    The rule is a comparison a sample, which plain Python does in a fifth of a microsecond: columns win eightfold only
    where a frame has few samples of each point.
    """

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    many_lanes = MANY_LANES

    def __init__(self, config: ThrottleConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._interval_ns = config.interval.ns
        self._suppressed = Suppressed() if config.flush else None
        # A time above the one or below the other passes; so does any while nothing was sent.
        self._above: Times = np.empty(0, np.int64)
        self._below: Times = np.empty(0, np.int64)

    def process(self, frame: Frame) -> Frame:
        """The samples that are far enough from the one sent before them."""
        if not len(frame):
            return frame
        self._grow(len(self._points))
        if once(frame.point):
            passes = self._decide_once(frame)
        else:
            frame = grouped(frame)
            passes = self._decide(frame)
        if self._suppressed is None:
            out = frame.take(np.flatnonzero(passes))
            self.counts.filtered += len(frame) - len(out)
            return out
        held = self._suppressed.held
        out = self._suppressed.settle(frame, passes, None)
        self.counts.queued += self._suppressed.held - held
        self.counts.filtered += len(frame) - len(out) - (self._suppressed.held - held)
        return out

    def _decide_once(self, frame: Frame) -> Mask:
        """Which samples of a frame with at most one of each point pass, [n]."""
        place = place_of(frame.point)
        passes: Mask = (frame.time > self._above[place]) | (frame.time < self._below[place])
        if np.count_nonzero(passes):
            at, time = frame.point[passes], frame.time[passes]
            self._above[at], self._below[at] = self._after(time), self._before(time)
        return passes

    def _decide(self, frame: Frame) -> Mask:
        """Which samples of a frame grouped by point pass, [n]."""
        # Most points end here, because nothing of them passes.
        passes = (frame.time > self._above[frame.point]) | (frame.time < self._below[frame.point])
        hits = np.flatnonzero(passes)
        if not len(hits):
            return passes
        # Where the interval is longer than the frame, nothing follows the first sample of a point that passes
        first = hits[group_starts(frame.point[hits])]
        at, time = frame.point[first], frame.time[first]
        above, below = self._above[at], self._below[at]
        self._above[at], self._below[at] = self._after(time), self._before(time)
        if not np.count_nonzero((frame.time > self._above[frame.point]) | (frame.time < self._below[frame.point])):
            passes[:] = False
            passes[first] = True
            return passes
        self._above[at], self._below[at] = above, below
        lanes = Lanes(frame)
        above, below = self._above[lanes.place], self._below[lanes.place]
        for n, where in lanes.steps(self.many_lanes):
            time = frame.time[where]
            found = (time > above[:n]) | (time < below[:n])
            passes[where] = found
            np.copyto(above[:n], self._after(time), where=found)
            np.copyto(below[:n], self._before(time), where=found)
        for lane, start, end in lanes.rest(self.many_lanes):
            passes[start:end], above[lane], below[lane] = self._walk(
                frame.time[start:end].tolist(), int(above[lane]), int(below[lane])
            )
        self._above[lanes.place], self._below[lanes.place] = above, below
        return passes

    def _walk(self, times: list[int], above: int, below: int) -> tuple[list[bool], int, int]:
        """The same rule for a run of samples of one point, number by number."""
        wait, found = self._interval_ns - 1, []
        for time in times:
            passes = time > above or time < below
            found.append(passes)
            if passes:
                above, below = min(time + wait, _INT64_MAX), max(time - wait, _INT64_MIN)
        return found, above, below

    def _after(self, time: Times) -> Times:
        wait = self._interval_ns - 1
        return np.minimum(time, _INT64_MAX - wait) + wait

    def _before(self, time: Times) -> Times:
        wait = self._interval_ns - 1
        return np.maximum(time, _INT64_MIN + wait) - wait

    def tick(self, now_ns: int) -> Frame:
        """Samples suppressed of points that have sent nothing since."""
        if self._suppressed is None or not self._suppressed.held:
            return EMPTY
        out = self._suppressed.due(now_ns, self._interval_ns)
        self._above[out.point], self._below[out.point] = self._after(out.time), self._before(out.time)
        self.counts.queued -= len(out)
        return out

    def clock_stepped(self, delta_ns: int) -> Frame:
        """All samples that are held; every point begins anew."""
        del delta_ns
        self._above[:], self._below[:] = _INT64_MIN, _INT64_MAX
        if self._suppressed is None:
            return EMPTY
        out = self._suppressed.pop()
        self.counts.queued -= len(out)
        return out

    def _grow(self, size: int) -> None:
        if size <= len(self._above):
            return
        self._above = grown(self._above, size, _INT64_MIN)
        self._below = grown(self._below, size, _INT64_MAX)
        if self._suppressed is not None:
            self._suppressed.grow(len(self._above))

    def snapshot(self) -> State:
        """When each point may send again, and what is held."""
        known: Ids = np.flatnonzero(self._above != _INT64_MIN).astype(np.int32)
        state: State = {"point": known, "above": self._above[known], "below": self._below[known]}
        return state if self._suppressed is None else {**state, "suppressed": self._suppressed.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known = state["point"]
        self._above, self._below = self._above[:0], self._below[:0]
        self._grow(max(len(self._points), int(known.max(initial=-1)) + 1))
        self._above[known], self._below[known] = state["above"], state["below"]
        if self._suppressed is not None:
            self._suppressed.restore(state["suppressed"])
