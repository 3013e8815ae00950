"""Samples put into the order of their source times before anything is computed from them.

Power operators look at what lies between two samples of a point, so order matters. Samples wait here until the
watermark of their point (the newest source time, and while it is silent the gateway's clock; see
:mod:`pipelines.operators.aggregate.window_clock`) has passed them by ``lateness``. What comes later is late. Of
several samples of a point for one time the last to come counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gateway.frame import EMPTY, Frame, concat
from pipelines.base import State, grown
from pipelines.operators.aggregate.window_clock import INT64_MIN, PointClocks
from pipelines.operators.power.results import FARTHEST_NS, columns_of, frame_of

if TYPE_CHECKING:
    from gateway.frame import Times


@dataclass(frozen=True)
class Taken:
    """What became of the samples of a frame."""

    held: int
    late: int
    early: int


@dataclass(frozen=True)
class Ripe:
    """Samples in their final order."""

    frame: Frame
    """Ordered by point, then time; no time twice."""
    marks: Times
    """The time up to which each point is settled, [points]; the least integer where nothing is known."""
    count: int
    """Samples that were held for them, doubles included."""


class Sorter:
    """Holds samples; ``point`` of a frame may be any dense number of a lane."""

    def __init__(self, lateness_ns: int) -> None:
        self._lateness_ns = lateness_ns
        self._clocks = PointClocks()
        self._done: Times = np.empty(0, np.int64)
        self._parts: list[Frame] = []

    def add(self, frame: Frame) -> Taken:
        """Take samples; those with wild or late times are left out."""
        total = len(frame)
        if not total:
            return Taken(0, 0, 0)
        size = int(frame.point.max()) + 1
        self._clocks.grow(size)
        self._done = grown(self._done, size, INT64_MIN)
        wild = (frame.time > FARTHEST_NS) | (frame.time < -FARTHEST_NS)
        ahead = self._clocks.early(frame.point, frame.time)
        wild = wild if ahead is None else wild | ahead
        if wild.any():
            frame = frame.take(~wild)
        early = total - len(frame)
        late = frame.time <= self._done[frame.point]
        self._clocks.see(frame.point, frame.time)
        if late.any():
            frame = frame.take(~late)
        if len(frame):
            self._parts.append(frame)
        return Taken(len(frame), total - early - len(frame), early)

    def tick(self, now_ns: int) -> Ripe:
        """What is settled now."""
        self._clocks.tick(now_ns)
        ids = np.arange(len(self._done), dtype=np.int32)
        np.maximum(self._done, self._clocks.due(ids, self._lateness_ns, 1), out=self._done)
        return self._give(self._done.copy())

    def flush(self) -> Ripe:
        """All there is; event time starts anew."""
        marks = self._done.copy()
        for part in self._parts:
            np.maximum.at(marks, part.point, part.time)
        ripe = self._give(marks)
        self._clocks.reset()
        self._done[:] = INT64_MIN
        return ripe

    def _give(self, marks: Times) -> Ripe:
        if not self._parts:
            return Ripe(EMPTY, marks, 0)
        held = concat(self._parts)
        due = held.time <= marks[held.point]
        count = int(np.count_nonzero(due))
        if count < len(held):
            rest = held.take(~due)
            self._parts, held = [rest], held.take(due)
        else:
            self._parts = []
        return Ripe(in_order(held), marks, count)

    def snapshot(self) -> State:
        """What waits."""
        held = columns_of(concat(self._parts))
        return {"clocks": self._clocks.snapshot(), "done": self._done.copy(), "held": held}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._done = state["done"].copy()
        self._clocks.grow(len(self._done))
        self._clocks.restore(state["clocks"])
        held = frame_of(state["held"])
        self._parts = [held] if len(held) else []


def in_order(frame: Frame) -> Frame:
    """Samples by point and time, of equal ones the last."""
    if len(frame) < 2:
        return frame
    point, time = frame.point, frame.time
    same = point[1:] == point[:-1]
    if not ((point[1:] > point[:-1]) | (same & (time[1:] > time[:-1]))).all():
        frame = frame.take(np.lexsort((time, point)))
        last = np.empty(len(frame), np.bool_)
        last[-1] = True
        np.not_equal(frame.time[1:], frame.time[:-1], out=last[:-1])
        last[:-1] |= frame.point[1:] != frame.point[:-1]
        frame = frame if last.all() else frame.take(last)
    return frame
