"""Events in which a value leaves a range and comes back, with a hysteresis. Columns in, events out.

Between the two thresholds nothing changes, so that the state behind a sample is that of the last decisive sample: the
hysteresis is one forward fill and needs no walk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gateway import quality as q
from pipelines.operators.power.ordered import Table
from pipelines.operators.power.results import marked

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Frame, Ids, Mask, Qualities, Times, Values
    from pipelines.base import State


@dataclass(frozen=True)
class Ended:
    """Events that are over, ordered by point and time."""

    point: Ids
    start: Times
    """Of the first sample outside."""
    end: Times
    """Of the first sample back."""
    extreme: Values
    quality: Qualities

    def take(self, index: Mask) -> Ended:
        """Some of them."""
        return Ended(self.point[index], self.start[index], self.end[index], self.extreme[index], self.quality[index])


class Excursions:
    """Events below (or above) a threshold.

    Args:
        out: what a value has to be below (above) for an event to begin.
        back: what it has to reach for it to end.
        max_gap_ns: longest time between two samples of an event that leaves its duration sure.
        below: whether events lie below.
    """

    def __init__(self, out: float, back: float, max_gap_ns: int, *, below: bool) -> None:
        self._sign = 1.0 if below else -1.0
        self._out, self._back, self._max_gap_ns = self._sign * out, self._sign * back, max_gap_ns
        self._open = Table(
            start=(np.int64, 0), extreme=(np.float64, 0), word=(np.uint16, 0), time=(np.int64, 0), inside=(np.bool_, 0)
        )
        """The event in which each point is, if it is ``inside`` one; ``time`` of its last sample."""

    def find(self, frame: Frame, size: int) -> Ended:
        """The events that end with one of these samples, which are usable and ordered by point and time."""
        self._open.grow(size)
        value = frame.value * self._sign
        out = value < self._out
        seen = np.zeros(size, np.bool_)
        seen[frame.point] = True
        touched = np.zeros(size, np.bool_)
        touched[frame.point[out]] = True
        touched |= seen & self._open["inside"][:size]
        mine = touched[frame.point]
        if not mine.any():
            return _NONE
        point, value, out = frame.point[mine], value[mine], out[mine]
        return self._events(point, frame.time[mine], value, out, frame.quality[mine])

    def _events(self, point: Ids, time: Times, value: Values, out: Mask, word: Qualities) -> Ended:
        """The same for samples of points in which something goes on; each point's open event is put before them."""
        ids = np.unique(point)
        ids = ids[self._open["inside"][ids]]
        n = len(ids)
        order = np.argsort(np.concatenate([ids, point]), kind="stable")
        point = np.concatenate([ids, point])[order]
        time = np.concatenate([self._open["time"][ids], time])[order]
        start = np.concatenate([self._open["start"][ids], time[order >= n]])[order]
        value = np.concatenate([self._open["extreme"][ids], value])[order]
        word = np.concatenate([self._open["word"][ids], word])[order]
        out = np.concatenate([np.ones(n, np.bool_), out])[order]
        first = np.append(True, point[1:] != point[:-1])
        inside = self._inside(first, value, out)
        was = np.append(False, inside[:-1]) & ~first
        begins, ends = inside & ~was, was & ~inside
        gap = np.append(False, np.diff(time) > self._max_gap_ns) & was
        word = marked(word, gap)
        return self._close(_Samples(point, time, start, value, word, inside, begins, ends))

    def _inside(self, first: Mask, value: Values, out: Mask) -> Mask:
        """Whether each sample lies in an event: by the last decisive one of its point."""
        decisive = out | (value >= self._back) | first
        inside: Mask = out[np.maximum.accumulate(np.where(decisive, np.arange(len(out)), 0))]
        return inside

    def _close(self, s: _Samples) -> Ended:
        part = np.flatnonzero(s.begins)
        if not len(part):
            return _NONE
        event = np.cumsum(s.begins) - 1
        member = s.inside | s.ends
        extreme = np.full(len(part), np.inf)
        np.minimum.at(extreme, event[s.inside], s.value[s.inside])
        severity, flags = np.zeros(len(part), np.uint8), np.zeros(len(part), np.uint16)
        np.maximum.at(severity, event[member], q.severity(s.word[member]))
        np.bitwise_or.at(flags, event[member], s.word[member] & np.uint16(0xFFFF ^ q.VALIDITY))
        word = (flags | q.validity_of(severity)).astype(np.uint16)
        tail = np.append(np.flatnonzero(s.point[1:] != s.point[:-1]), len(s.point) - 1)
        at = np.maximum(event[tail], 0)
        self._open.set(
            s.point[tail], inside=s.inside[tail], time=s.time[tail],
            start=s.start[part][at], extreme=extreme[at], word=word[at],
        )  # fmt: skip
        ended = np.flatnonzero(s.ends)
        of = event[ended]
        return Ended(s.point[ended], s.start[part][of], s.time[ended], self._sign * extreme[of], word[of])

    def clear(self) -> None:
        """Forget all open events."""
        self._open.clear()

    def snapshot(self) -> State:
        """Open events."""
        return self._open.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._open.restore(state)


@dataclass(frozen=True)
class _Samples:
    point: Ids
    time: Times
    start: Times
    value: Values
    word: Qualities
    inside: Mask
    begins: Mask
    ends: npt.NDArray[np.bool_]


_NONE = Ended(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint16))
