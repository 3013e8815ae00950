"""The last sample suppressed of each point, for operators that may send it after all."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gateway.frame import EMPTY, Frame, Ids, Index, Mask, Times, Values, concat, group_starts
from pipelines.base import State, grown
from pipelines.operators.reduce.lanes import once, place_of

_NOTHING: Final = -1
"""The quality of what is held where nothing is."""
_UNMARKED: Final = -(1 << 63)
"""No tick has found anything held yet."""


class Suppressed:
    """Columns over point ids: time, value, quality, and the first tick that found the sample held."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._time: Times = np.empty(0, np.int64)
        self._value: Values = np.empty(0, np.float64)
        self._word: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._mark: Times = np.empty(0, np.int64)
        self.held = 0
        """How many points have one."""

    def grow(self, size: int) -> None:
        """Make room for points below ``size``."""
        if size > len(self._word):
            self._time, self._value = grown(self._time, size), grown(self._value, size)
            self._word = grown(self._word, size, _NOTHING)
            self._mark = grown(self._mark, size, _UNMARKED)

    def settle(self, frame: Frame, passes: Mask, wanted: Mask | None, *, renew: bool = False) -> Frame:
        """What goes out of a frame grouped by point: samples that pass, and what was suppressed right before others.

        Args:
            frame: the samples, grouped by point.
            passes: which of them pass, [n].
            wanted: before which of them the sample suppressed right before it goes out, [n]; None: before none.
            renew: the wait of what is held begins anew with each sample; else with the first one held.
        """
        ids = frame.point
        if once(ids):
            return self._settle_once(frame, passes, wanted, renew=renew)
        starts = group_starts(ids)
        ends = np.append(starts[1:], len(frame)) - 1
        ids = ids[starts]
        before = self._before(ids, None if wanted is None else wanted[starts])
        sends = passes
        if wanted is not None:
            inner = wanted.copy()
            inner[starts] = False
            sends = passes.copy()
            sends[:-1] |= inner[1:]
        self._hold(ids, frame.take(ends), ~passes[ends])
        self._renew(ids, None if renew else np.logical_or.reduceat(sends, starts))
        return concat([before, frame.take(sends)])

    def _settle_once(self, frame: Frame, passes: Mask, wanted: Mask | None, *, renew: bool) -> Frame:
        """The same for a frame with at most one sample of each point: mostly nothing passes, or everything."""
        ids, n, sent = frame.point, len(frame), int(np.count_nonzero(passes))
        before, place = self._before(ids, wanted), place_of(ids)
        word = self._word[place]
        if self.held:
            self.held -= int(np.count_nonzero(word >= 0))
        self.held += n - sent
        if not sent:
            self._word[place] = frame.quality
        else:
            self._word[place] = np.where(passes, _NOTHING, frame.quality.astype(np.int32)) if sent < n else _NOTHING
        if sent < n:
            self._time[place], self._value[place] = frame.time, frame.value
        if renew:
            self._mark[place] = _UNMARKED
        elif sent:
            self._mark[ids[passes]] = _UNMARKED
        if not sent:
            return before
        return concat([before, frame if sent == n else frame.take(np.flatnonzero(passes))])

    def _before(self, ids: Ids, wanted: Mask | None) -> Frame:
        """What is held of the points of which it is wanted."""
        if wanted is None or not self.held or not wanted.any():
            return EMPTY
        return self._held_of(ids[wanted & (self._word[ids] >= 0)])

    def _hold(self, ids: Ids, last: Frame, holds: Mask) -> None:
        """Hold the last sample of each of these points, if so told, and else nothing."""
        if self.held:
            self.held -= int(np.count_nonzero(self._word[ids] >= 0))
        self.held += int(np.count_nonzero(holds))
        self._word[ids] = np.where(holds, last.quality.astype(np.int32), _NOTHING)
        self._time[ids], self._value[ids] = last.time, last.value

    def _renew(self, ids: Ids, which: Mask | None) -> None:
        """Let the wait begin anew."""
        if which is None:
            self._mark[ids] = _UNMARKED
        elif which.any():
            self._mark[ids[which]] = _UNMARKED

    def _held_of(self, ids: Ids) -> Frame:
        return Frame(ids, self._time[ids], self._value[ids], self._word[ids].astype(np.uint16))

    def due(self, now_ns: int, wait_ns: int) -> Frame:
        """At a tick: what has been held for ``wait_ns`` since the first tick that found it, and is so no more."""
        holds = self._word >= 0
        self._mark[holds & (self._mark == _UNMARKED)] = now_ns
        return self._pop(np.flatnonzero(holds & (self._mark <= now_ns - wait_ns)))

    def pop(self) -> Frame:
        """All that is held, and is so no more."""
        return self._pop(np.flatnonzero(self._word >= 0))

    def _pop(self, which: Index) -> Frame:
        ids = which.astype(np.int32)
        frame = self._held_of(ids)
        self._word[ids], self._mark[ids] = _NOTHING, _UNMARKED
        self.held -= len(ids)
        return frame

    def snapshot(self) -> State:
        """What is held."""
        ids = np.flatnonzero(self._word >= 0).astype(np.int32)
        return {
            "point": ids,
            "time": self._time[ids],
            "value": self._value[ids],
            "word": self._word[ids],
            "mark": self._mark[ids],
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        ids = state["point"]
        size = max(len(self._word), int(ids.max(initial=-1)) + 1)
        self._clear()
        self.grow(size)
        self._time[ids], self._value[ids] = state["time"], state["value"]
        self._word[ids], self._mark[ids] = state["word"], state["mark"]
        self.held = len(ids)
