"""The Hampel identifier over columns: how far a sample lies from the median of its window, against the spread there.

The spread is 1.4826 times the median absolute deviation (MAD), which for normal noise is its standard deviation and
which spikes hardly move. F. R. Hampel, The influence curve and its role in robust estimation, 1974; as filter:
R. K. Pearson, Outliers in process modeling and identification, 2002.

Medians of many small windows are taken by a sorting network: a fixed list of compare-and-exchange over whole
columns, so that all windows are sorted side by side without a branch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import numpy.typing as npt

from gateway.frame import group_starts
from pipelines.base import State, grown

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Times, Values
    from pipelines.operators.judge.succession import Steps

SPREAD: Final = 1.4826
"""MAD of a normal distribution with standard deviation 1, inverted."""
_NETWORK_UP_TO: Final = 33
"""Window length from which sorting each window by itself is faster than a network over all."""

Counts = npt.NDArray[np.int64]
Number = TypeVar("Number", np.float64, np.int64)


@lru_cache(maxsize=64)
def network(n: int, *, middle: bool) -> tuple[tuple[int, int], ...]:
    """Pairs to compare and exchange, in order, that sort n columns; or that put at least the middle one in place.

    Batcher's odd-even merge sort (K. E. Batcher, Sorting networks and their applications, 1968), cut to n.
    """
    pairs: list[tuple[int, int]] = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            for j in range(k % p, n - k, 2 * k):
                at = (i + j for i in range(min(k, n - j - k)))
                pairs += [(i, i + k) for i in at if i // (2 * p) == (i + k) // (2 * p)]
            k //= 2
        p *= 2
    if not middle:
        return tuple(pairs)
    wanted, kept = {n // 2}, []
    for a, b in reversed(pairs):
        if a in wanted or b in wanted:
            wanted |= {a, b}
            kept.append((a, b))
    return tuple(reversed(kept))


def _sorted(columns: list[Values], *, middle: bool) -> list[Values]:
    """The columns (which may be overwritten) with the values of each row in order, or the middle one in place."""
    n = len(columns)
    if n >= _NETWORK_UP_TO:
        return list(np.ascontiguousarray(np.sort(np.stack(columns, 1), axis=1).T))
    for a, b in network(n, middle=middle):
        low, high = columns[a], columns[b]
        columns[a] = np.minimum(low, high)
        np.maximum(low, high, out=high)
    return columns


def median(columns: list[Values], count: Counts | None) -> Values:
    """The median of each row, [k]: of its first ``count`` values in order, the others being infinite.

    ``columns`` are n arrays [k]; they are overwritten. ``count`` None: all n, an odd number.
    """
    found = _sorted(columns, middle=count is None)
    if count is None:
        return found[len(columns) // 2] + 0.0  # which of two zeros is the middle one depends on the way of sorting
    stack, rows = np.stack(found), np.arange(len(count))
    last = np.maximum(count, 1)
    low, high = stack[(last - 1) // 2, rows], stack[last // 2, rows]
    middle: Values = np.where(low == high, low, 0.5 * low + 0.5 * high) + 0.0
    return middle


class Verdict:
    """What the identifier says about one sample of each window."""

    __slots__ = ("median", "suspect")

    def __init__(self, windows: Values, missing: Mask | None, place: int, limits: Limits) -> None:
        """``windows`` [k, n]; the sample at ``place`` of each is judged. Call it where numpy may overflow."""
        columns = list(np.ascontiguousarray(windows.T))
        sample = columns[place].copy()
        count = None if missing is None else windows.shape[1] - missing.sum(1)
        if missing is None:
            self.median = median([column.copy() for column in columns], None)
            spread = median([np.abs(column - self.median) for column in columns], None)
        else:
            gone = list(np.ascontiguousarray(missing.T))
            hidden = [np.where(g, np.inf, c) for c, g in zip(columns, gone, strict=True)]
            self.median = median(hidden, count)
            apart = [np.where(g, np.inf, np.abs(c - self.median)) for c, g in zip(columns, gone, strict=True)]
            spread = median(apart, count)
        self.suspect: Mask = np.abs(sample - self.median) > np.maximum(limits.factor * SPREAD * spread, limits.floor)
        if missing is not None and count is not None:
            self.suspect &= (count >= limits.least) & ~missing[:, place]


class Limits:
    """From where on a sample is a spike."""

    __slots__ = ("factor", "floor", "least")

    def __init__(self, factor: float, floor: Values, least: int) -> None:
        self.factor = factor
        self.floor = floor
        """Least deviation, [k], in the point's unit."""
        self.least = least
        """Least number of samples in a window."""


class Windows:
    """The last n - 1 samples of each point, and with them the window that ends with each new one."""

    def __init__(self, n: int, *, timed: bool) -> None:
        self._n = n
        self._value: Values = np.empty((0, n - 1))
        self._time: Times = np.empty((0, n - 1 if timed else 0), np.int64)
        """Of no columns if times do not matter."""
        self._timed = timed
        self._have: Counts = np.empty(0, np.int64)
        """How many of them are there, up to n."""

    def grow(self, size: int) -> None:
        """Make room for points below ``size``."""
        if size > len(self._value):
            self._value, self._time = grown(self._value, size), grown(self._time, size)
            self._have = grown(self._have, size)

    def end_with(self, steps: Steps) -> tuple[Values, Times | None, Mask | None]:
        """The windows [k, n] that end with each sample, their times, and what is missing in them (None: nothing)."""
        have = self._count(steps)
        missing = None
        if len(have) and have.min() < self._n:
            missing = np.arange(self._n) < (self._n - have)[:, None]
        windows = _shift(self._value, steps, steps.value)
        times = _shift(self._time, steps, steps.time) if self._timed else None
        return windows, times, missing

    def _count(self, steps: Steps) -> Counts:
        """How many samples each window has, [k]; keeps the last of each point."""
        begins = np.ones(len(steps), np.bool_)
        begins[1:] = steps.ids[1:] != steps.ids[:-1]
        known = np.where(begins, self._have[steps.ids], 0)
        if steps.fresh is not None:
            known[steps.fresh] = 0
            begins |= steps.fresh
        at = np.arange(len(steps))
        begun = np.maximum.accumulate(np.where(begins, at, 0))
        have: Counts = np.minimum(known[begun] + at - begun + 1, self._n)
        self._have[steps.ids] = have  # of several samples of a point the last assignment stays
        return have

    def end_early(self, ids: Ids, back: Index) -> tuple[Values, Times | None, Mask]:
        """Windows around the samples that lie ``back`` (below n // 2) behind the last of their points, [k].

        As :meth:`end_with` gives them with the sample in the middle; what has not come yet is missing.
        """
        n = self._n
        column = (n - 2 - back - n // 2)[:, None] + np.arange(n)
        missing = (column > n - 2) | (n - 1 - column > self._have[ids][:, None])
        column = np.minimum(column, n - 2)
        times = np.take_along_axis(self._time[ids], column, 1) if self._timed else None
        return np.take_along_axis(self._value[ids], column, 1), times, missing

    def snapshot(self, known: Ids) -> State:
        """Of these points."""
        return {"value": self._value[known], "time": self._time[known], "have": self._have[known]}

    def restore(self, known: Ids, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._have[:] = 0
        self._value[known], self._time[known], self._have[known] = state["value"], state["time"], state["have"]


def _shift(past: npt.NDArray[Number], steps: Steps, column: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Windows [k, n] of the past samples [points, n - 1] and a new one each, and the past brought up to date."""
    n = past.shape[1] + 1
    windows: npt.NDArray[Number]
    if steps.single:
        windows = np.empty((len(steps), n), past.dtype)
        windows[:, :-1] = past[steps.ids]
        windows[:, -1] = column
        past[steps.ids] = windows[:, 1:]
        return windows
    # One array in which each run stands behind the past of its point
    starts = group_starts(steps.ids)
    run = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(steps)))
    place = np.arange(len(steps)) + (run + 1) * (n - 1)
    first = steps.ids[starts]
    flat = np.empty(len(steps) + len(starts) * (n - 1), past.dtype)
    flat[(place[starts] - (n - 1))[:, None] + np.arange(n - 1)] = past[first]
    flat[place] = column
    all_windows = np.lib.stride_tricks.sliding_window_view(flat, n)
    windows = all_windows[place - (n - 1)]
    ends = np.append(starts[1:], len(steps)) - 1
    past[first] = windows[ends, 1:]
    return windows
