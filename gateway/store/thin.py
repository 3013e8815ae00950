"""Thinning: samples that wait are replaced by aggregates of windows, and aggregates by those of longer windows.

Of each point and window there remain samples of derived points, named as partial results of windows are
(:mod:`pipelines.operators.aggregate.window_partials`) and stamped with the window's end, so that a ``merge`` further up
makes any statistic of them: ``m1/power#count`` and ``#rejected`` (samples without a valid value), ``#min``, ``#max``,
the sum without any rounding by its slices (``#sum.0@0.1``), and ``#last``. Counts and sums are whole numbers, so
thinning again changes nothing of the totals. Of counters and states the last sample of each window remains as it is:
what a counter counted is the difference of two readings, however many lie between. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway import quality as q
from gateway.frame import EMPTY, Frame, concat, group_starts, grouped
from gateway.merge import RULES, merged
from gateway.point import Kind, Merge
from pipelines.operators.aggregate.exact_sums import ExactSums
from pipelines.operators.aggregate.window_partials import slice_suffix
from pipelines.operators.aggregate.window_results import COUNT, MAX, MIN
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.frame import Index, Mask, Qualities, Times, Values
    from gateway.point import Point
    from pipelines.base import Points

EXACT: Final = 2.0**53
"""Whole numbers below it add up exactly."""
_SUM: Final[dict[str, Any]] = {"kind": Kind.GAUGE, "limits": None, "resolution": None, "merge": Merge.ADD}
_LAST: Final[dict[str, Any]] = {"merge": Merge.LAST}
_AGGREGATE: Final = re.compile(
    r"#(?:(?P<last>last)|(?P<min>min)|(?P<max>max)|(?P<add>count|rejected|parts|(?:sum|sumsq|hist|bin)\..+))\Z"
)
_GAUGE, _AS_IT_IS, _MERGED = 0.0, 1.0, 2.0


class Thinner:
    """Thins frames whose points a directory knows."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._facts = Facts(points, 3, _facts)

    def thin(self, frame: Frame, window_ns: int) -> Frame | None:
        """The aggregates, ordered by point and time; None where a sum would not be exact any more.

        Args:
            frame: any samples, in any order.
            window_ns: windows begin at its multiples, counted from 1970.
        """
        frame = frame.take(np.lexsort((frame.time, frame.point)))
        kind = self._facts.column(0, frame.point)
        merging = self._merged(frame.take(kind == _MERGED), window_ns)
        if merging is None:
            return None
        kept = _last_of(frame.take(kind == _AS_IT_IS), window_ns)
        out = grouped(concat([*self._aggregates(frame.take(kind == _GAUGE), window_ns), merging, kept]))
        return out.replace(quality=out.quality | np.uint16(q.HISTORICAL))

    def _merged(self, frame: Frame, window_ns: int) -> Frame | None:
        """Aggregates of shorter windows by their merge rules; each is stamped with its window's end."""
        if not len(frame):
            return EMPTY
        ends = -(-frame.time // window_ns) * window_ns
        out = merged(frame.replace(time=ends), self._facts.column(1, frame.point).astype(np.uint8))
        adds = self._facts.column(1, out.point) == RULES.index(Merge.ADD)
        return None if (np.abs(out.value[adds]) >= EXACT).any() else out

    def _aggregates(self, frame: Frame, window_ns: int) -> Iterator[Frame]:
        if not len(frame):
            return
        starts = group_starts(_cells(frame, window_ns))
        valid = ~(q.is_invalid(frame.quality) | np.isnan(frame.value))
        ids, ends = frame.point[starts], (frame.time[starts] // window_ns + 1) * window_ns
        count = np.add.reduceat(valid.astype(np.int64), starts)
        size = np.diff(np.append(starts, len(frame)))
        flags = np.bitwise_or.reduceat(frame.quality & np.uint16(0xFFFF ^ q.VALIDITY), starts)
        doubtful = np.maximum.reduceat(q.severity(frame.quality), starts) > 0
        word: Qualities = (flags | np.where(doubtful, q.QUESTIONABLE, q.GOOD)).astype(np.uint16)

        def give(where: Mask | Index, suffix: str, facts: dict[str, Any], value: Values) -> Frame:
            made = self._points.derive(ids[where], suffix, **facts)
            return Frame(made, ends[where], value + 0.0, word[where])  # + 0.0: no -0.0

        yield give(count >= 0, "#count", COUNT, count.astype(np.float64))
        rejected, some = count < size, count > 0
        yield give(rejected, "#rejected", COUNT, (size - count)[rejected].astype(np.float64))
        yield give(some, "#min", MIN, np.minimum.reduceat(np.where(valid, frame.value, np.inf), starts)[some])
        yield give(some, "#max", MAX, np.maximum.reduceat(np.where(valid, frame.value, -np.inf), starts)[some])
        newest = np.maximum.reduceat(np.where(valid, np.arange(len(frame)), -1), starts)
        yield give(some, "#last", _LAST, frame.value[newest[some]])
        cell = np.repeat(np.arange(len(starts)), size)[valid]
        exact = ExactSums(squares=False)
        for one, rows, values in exact.slices(self._sums(exact, cell, frame.take(valid)).tally, np.flatnonzero(some)):
            yield give(rows, slice_suffix(one), _SUM, values)

    def _sums(self, exact: ExactSums, cell: Index, frame: Frame) -> ExactSums:
        if len(frame):
            resolutions, which = np.unique(self._facts.column(2, frame.point), return_inverse=True)
            steps = np.array([exact.step(one) for one in resolutions.tolist()], np.intp)
            exact.add(cell, frame.value, steps[which])
        return exact


def _facts(point: Point) -> tuple[float, float, float]:
    """How a point is thinned, its merge rule as a number, and its resolution (0 for none)."""
    rule = float(RULES.index(point.merge))
    found = _AGGREGATE.search(point.name)
    wanted = {"last": Merge.LAST, "min": Merge.MIN, "max": Merge.MAX, "add": Merge.ADD}
    if found is not None and wanted[str(found.lastgroup)] is point.merge:
        return _MERGED, rule, 0.0
    return (_GAUGE if point.kind is Kind.GAUGE else _AS_IT_IS), rule, point.resolution or 0.0


def _cells(frame: Frame, window_ns: int) -> Times:
    """A number for each point and window of samples that are ordered by both."""
    window = frame.time // window_ns
    change = np.empty(len(frame), np.bool_)
    change[:1] = True
    change[1:] = (frame.point[1:] != frame.point[:-1]) | (window[1:] != window[:-1])
    return np.cumsum(change)


def _last_of(frame: Frame, window_ns: int) -> Frame:
    """The last sample of each point and window, as it is."""
    if not len(frame):
        return EMPTY
    starts = group_starts(_cells(frame, window_ns))
    return frame.take(np.append(starts[1:], len(frame)) - 1)
