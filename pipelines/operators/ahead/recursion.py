"""Rules in which what is said of a sample depends on all samples of its point before it, as running means do.

Within a point this cannot be vectorised: each step needs the result of the one before. So all points take their
k-th sample of a frame side by side, in one numpy step, and where only few points with long runs are left, each is
walked through number by number, in plain Python with the same operations in the same order: both give the same bits.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from gateway.frame import by_point, group_starts
from gateway.point import Kind
from pipelines.base import State, grown
from pipelines.operators.facts import Facts
from pipelines.operators.judge.judging import usable
from pipelines.operators.reduce.lanes import MANY_LANES

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Values
    from gateway.point import Point
    from pipelines.base import Points

_TINY: Final = 1e-300
"""Stands for a deviation of 0, so that nothing is divided by it."""
_COUNT: Final = "count"


def _of_point(point: Point) -> tuple[float, float]:
    """Whether it is a state, and the deviation that its resolution alone makes (a uniform error of one step)."""
    return float(point.kind is Kind.STATE), max(_TINY, (point.resolution or 0.0) / 12**0.5)


class Recursion(abc.ABC):
    """State in columns over point ids, float64; ``count`` is 0 where nothing is known of a point."""

    columns: ClassVar[tuple[str, ...]] = (_COUNT,)
    many_lanes: int = MANY_LANES

    def __init__(self, points: Points) -> None:
        self._points = points
        self._facts = Facts(points, 2, _of_point)
        self._columns: dict[str, Values] = {name: np.empty(0) for name in self.columns}

    @abc.abstractmethod
    def step(self, ids: Ids, value: Values, state: tuple[Values, ...]) -> tuple[Values, tuple[Values, ...]]:
        """The next sample of each of these points, all different.

        Args:
            ids: the points, [n].
            value: their samples, finite, [n].
            state: the columns of these points, each [n]; may not be written.

        Returns:
            What is said of each sample, [n], and the columns behind it; the very same array where nothing changed.
        """

    @abc.abstractmethod
    def walk(self, point: int, values: list[float], state: tuple[float, ...]) -> tuple[list[float], tuple[float, ...]]:
        """The same for some samples of one point, in their order."""

    def floor(self, ids: Ids) -> Values:
        """The least standard deviation that is taken for real, [n]."""
        return self._facts.column(1, ids)

    def run(self, frame: Frame) -> tuple[Index | slice, Values]:
        """What is said of the samples that have a value and are no states: where they are in the frame, and what."""
        at = self._of_interest(frame)
        ids, value = frame.point[at], frame.value[at]
        if not len(ids):
            return at, value
        for name in self.columns:
            self._columns[name] = grown(self._columns[name], len(self._points))
        with np.errstate(all="ignore"):
            if (ids[1:] > ids[:-1]).all() and len(ids) >= self.many_lanes:
                return at, self._stepped(ids, value)
            return at, self._runs(ids, value)

    def _of_interest(self, frame: Frame) -> Index | slice:
        mask = usable(frame)
        states = self._facts.column(0, frame.point)
        if states.any():
            mask = states == 0 if mask is None else mask & (states == 0)
        return slice(None) if mask is None else np.flatnonzero(mask)

    def _stepped(self, ids: Ids, value: Values) -> Values:
        # Ids that follow one another are a slice, which costs no copy
        row = int(ids[-1]) - int(ids[0]) == len(ids) - 1 and bool((ids[1:] > ids[:-1]).all())
        place = slice(int(ids[0]), int(ids[-1]) + 1) if row else ids
        before = tuple(self._columns[name][place] for name in self.columns)
        found, after = self.step(ids, value, before)
        for name, old, new in zip(self.columns, before, after, strict=True):
            if new is not old:
                self._columns[name][place] = new
        return found

    def _runs(self, ids: Ids, value: Values) -> Values:
        """Several samples a point: the k-th of all points together, then what is left of each by itself."""
        order = by_point(ids)
        starts = group_starts(ids[order])
        lengths = np.diff(starts, append=len(ids))
        longest = np.argsort(-lengths, kind="stable")
        starts, lengths = starts[longest], lengths[longest]
        active = np.searchsorted(-lengths, -np.arange(1, lengths[0] + 1), side="right").tolist()
        found = np.empty(len(ids))
        k = 0
        while k < len(active) and active[k] >= self.many_lanes:
            at = order[starts[: active[k]] + k]
            found[at] = self._stepped(ids[at], value[at])
            k += 1
        for lane in range(active[k] if k < len(active) else 0):
            at = order[starts[lane] + k : starts[lane] + lengths[lane]]
            found[at] = self._walked(int(ids[at[0]]), value[at].tolist())
        return found

    def _walked(self, point: int, values: list[float]) -> list[float]:
        found, state = self.walk(point, values, tuple(float(self._columns[name][point]) for name in self.columns))
        for name, number in zip(self.columns, state, strict=True):
            self._columns[name][point] = number
        return found

    def snapshot(self) -> State:
        """The columns of the points that were seen."""
        known = np.flatnonzero(self._columns[_COUNT]).astype(np.int32)
        return {"point": known, **{name: self._columns[name][known] for name in self.columns}}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known = state["point"]
        size = max(len(self._points), int(known.max(initial=-1)) + 1)
        for name in self.columns:
            self._columns[name] = np.zeros(size)
            self._columns[name][known] = state[name]
