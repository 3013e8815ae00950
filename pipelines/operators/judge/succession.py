"""Samples of a point one behind the other in source time, whatever order they come in.

Rules that compare a sample with the one before it (rate of change, flat line, oscillation, spikes) need to know
which one that is. It is the newest usable sample of the point so far. A sample that is not newer came out of order
or twice: nothing is said about it and nothing is learned from it. A sample that lies back by more than an hour
means that the device's clock was set back: the point begins anew with it. After a step of the gateway's clock all
points begin anew.

States are left out unless asked for: their numbers are only names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gateway.frame import Frame, Ids, Index, Mask, Times, Values, by_point, group_starts
from gateway.point import Kind
from pipelines.base import State, grown
from pipelines.operators.facts import Facts
from pipelines.operators.judge.judging import usable

if TYPE_CHECKING:
    from gateway.point import Point
    from pipelines.base import Points

SET_BACK_NS: Final = 3_600_000_000_000
"""How far back a sample has to lie for the clock of its device to have been set back, in ns (an hour)."""
UNSEEN: Final = -(1 << 63)


@dataclass(frozen=True, slots=True)
class Steps:
    """k samples in order, grouped by point."""

    at: Index | slice
    """Where in the frame they are."""
    ids: Ids
    time: Times
    value: Values
    before_time: Times
    """The sample before each, [k]; nothing of meaning where ``fresh``."""
    before_value: Values
    """A NaN where ``fresh``."""
    fresh: Mask | None
    """Where a point begins (anew), [k]; None if nowhere."""
    single: bool
    """Whether each point has one sample only."""

    def __len__(self) -> int:
        return len(self.ids)

    def found(self, mask: Mask) -> Index:
        """Where in the frame the chosen of the k samples are."""
        chosen = np.flatnonzero(mask)
        if isinstance(self.at, slice):
            return chosen
        places: Index = self.at[chosen]
        return places


class Succession:
    """The newest usable sample of each point, in columns over point ids."""

    def __init__(self, points: Points, *, states: bool = False) -> None:
        self._points = points
        self._states = None if states else Facts(points, 1, _is_state)
        self._time: Times = np.empty(0, np.int64)
        """``UNSEEN`` for points that have to begin."""
        self._value: Values = np.empty(0, np.float64)

    def follow(self, frame: Frame) -> Steps | None:
        """The samples that follow one another, and what each follows; None if there is none."""
        self._grow(len(self._points))
        at: Index | slice = slice(None)
        mask = usable(frame)
        if self._states is not None:
            states = self._states.column(0, frame.point)
            if states.any():
                mask = states == 0 if mask is None else mask & (states == 0)
        if mask is not None:
            at = np.flatnonzero(mask)
            frame = frame.take(at)
        if not len(frame):
            return None
        if (frame.point[1:] > frame.point[:-1]).all():
            return self._singles(frame, at)
        order = by_point(frame.point)
        return self._runs(frame.take(order), order if isinstance(at, slice) else at[order])

    def _singles(self, frame: Frame, at: Index | slice) -> Steps | None:
        """One sample a point, in the order of the points: nothing to sort."""
        ids = frame.point
        time, value = self._time[ids], self._value[ids]
        if not (frame.time > time).all():
            return self._runs(frame, np.arange(len(frame)) if isinstance(at, slice) else at)
        self._time[ids], self._value[ids] = frame.time, frame.value
        fresh = time == UNSEEN
        return Steps(at, ids, frame.time, frame.value, time, value, fresh if fresh.any() else None, single=True)

    def _runs(self, frame: Frame, at: Index) -> Steps | None:
        starts = group_starts(frame.point)
        time, value = self._before(frame, starts)
        fresh = np.zeros(len(frame), np.bool_)
        fresh[starts] = time[starts] == UNSEEN
        if not (fresh | (frame.time > time)).all():
            keep, fresh = self._walk(frame, starts, frame.time > time)
            frame, at, fresh = frame.take(keep), at[keep], fresh[keep]
            if not len(frame):
                return None
            starts = group_starts(frame.point)
            time, value = self._before(frame, starts)
        value[fresh] = np.nan
        ends = np.append(starts[1:], len(frame)) - 1
        ids = frame.point[ends]
        # The least integer means "none"; a sample of that very nanosecond counts as the next one
        self._time[ids], self._value[ids] = np.maximum(frame.time[ends], UNSEEN + 1), frame.value[ends]
        single = len(starts) == len(frame)
        return Steps(at, frame.point, frame.time, frame.value, time, value, fresh if fresh.any() else None, single)

    def _before(self, frame: Frame, starts: Index) -> tuple[Times, Values]:
        """The sample before each, taken for granted that all are in order."""
        time, value = np.empty_like(frame.time), np.empty_like(frame.value)
        time[1:], value[1:] = frame.time[:-1], frame.value[:-1]
        first = frame.point[starts]
        time[starts], value[starts] = self._time[first], self._value[first]
        return time, value

    def _walk(self, frame: Frame, starts: Index, newer: Mask) -> tuple[Index, Mask]:
        """Which samples are in order, and where a point begins anew; sample by sample where there is disorder."""
        keep = np.ones(len(frame), np.bool_)
        fresh = np.zeros(len(frame), np.bool_)
        bounds = np.append(starts, len(frame))
        fresh[starts] = self._time[frame.point[starts]] == UNSEEN
        for run in np.flatnonzero(np.logical_or.reduceat(~newer, starts)).tolist():
            a, b = int(bounds[run]), int(bounds[run + 1])
            newest = int(self._time[frame.point[a]])
            for i, time in enumerate(frame.time[a:b].tolist(), a):
                anew = newest == UNSEEN or time < newest - SET_BACK_NS
                fresh[i], keep[i] = anew, anew or time > newest
                if keep[i]:
                    newest = max(time, UNSEEN + 1)
        return np.flatnonzero(keep), fresh

    def _grow(self, size: int) -> None:
        if size > len(self._time):
            self._time = grown(self._time, size, UNSEEN)
            self._value = grown(self._value, size, np.nan)

    def forget(self) -> None:
        """Let every point begin anew."""
        self._time[:] = UNSEEN
        self._value[:] = np.nan

    def snapshot(self) -> State:
        """The newest samples of the points that have one."""
        known: Ids = np.flatnonzero(self._time != UNSEEN).astype(np.int32)
        return {"point": known, "time": self._time[known], "value": self._value[known]}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._grow(len(self._points))
        self.forget()
        self._time[state["point"]], self._value[state["point"]] = state["time"], state["value"]


def _is_state(point: Point) -> tuple[float]:
    return (float(point.kind is Kind.STATE),)


def with_heads(starts: Index, total: int) -> tuple[npt.NDArray[np.bool_], Index]:
    """Room for a head before each run: where the heads are, [total + runs], and where the runs begin there, [runs]."""
    at = starts + np.arange(len(starts))
    heads = np.zeros(total + len(starts), np.bool_)
    heads[at] = True
    return heads, at
