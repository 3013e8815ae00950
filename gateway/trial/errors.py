"""How far what a receiver can reconstruct lies from what came in: by point, for one step that reduces.

Runs along with a replay, in columns and with bounded memory. A sample is judged once it is settled what was kept
around it. Where the times of a point go back, its samples are not judged until one is kept again, and are counted: a
receiver that sorts by time sees another series than the step did. Of several samples of a point for one time the last
one is judged, if they come in one chunk; else each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from gateway.frame import EMPTY, Frame, Values, concat, group_starts, grouped
from gateway.point import Kind, Point
from gateway.trial.series import reconstructed
from pipelines.base import Points, grown
from pipelines.bounds import Bound
from pipelines.reconstruct import Kind as Rule

GATHERED: Final = 1 << 15
"""Samples that are judged together, at least."""
MAX_PENDING: Final = 1 << 21
"""Samples that may wait for what is kept behind them; what is more is not judged, and counted."""
ROUNDING: Final = 1e-9
"""An error may exceed its bound by this part of the bound and of the value, for floats are no real numbers."""
_CAME, _KEPT, _JUDGED, _SUM, _SIGNED, _LARGEST, _OVER = range(7)

Shown = Callable[[Frame, Values], None]
"""Gets what was judged, grouped by point, and what a receiver makes of it."""


class Errors:
    """See the top of the module; a :class:`gateway.trial.watch.Watcher`.

    Args:
        rule: how a receiver reconstructs.
        bound: what the step promises; None if nothing.
        points: for their limits.
        shown: whoever wants the two series.
    """

    def __init__(self, rule: Rule, bound: Bound | None, points: Points, shown: Shown | None = None) -> None:
        self._rule = rule
        self._bound = bound
        self._points = points
        self._shown = shown
        self._came: list[Frame] = []
        self._kept: list[Frame] = []
        self._waiting = 0
        self._pending: Frame = EMPTY
        """Samples behind the last one kept of their point."""
        self._last: Frame = EMPTY
        """The sample kept last of each point."""
        self._rows = np.zeros((0, 7))
        """By point id: came, kept, judged, sum of errors, sum of signed errors, largest error, above the bound."""
        self._widths = np.zeros((0, 2))
        """By point id: the bound, and the part of the value that it is."""
        self._newest = np.zeros(0, np.int64)
        self._met = 0
        self.unjudged = 0

    def saw(self, came: Frame, out: Frame, queued: int) -> None:
        """See :class:`gateway.trial.watch.Watcher`."""
        if len(came):
            self._came.append(came)
        if len(out):
            self._kept.append(out)
        self._waiting += len(came)
        if self._waiting >= GATHERED:
            self._settle(open_ended=queued > 0)

    def close(self) -> None:
        """All has come: what is behind the last sample kept is judged by that one."""
        self._settle(open_ended=False)

    def _settle(self, *, open_ended: bool) -> None:
        self._learn()
        came, kept = grouped(concat(self._came)), concat(self._kept)
        self._came, self._kept, self._waiting = [], [], 0
        self._count(came, _CAME)
        self._count(kept, _KEPT)
        came, kept = self._in_order(came, kept)
        kept = concat([self._last, kept])
        kept = kept.take(np.lexsort((kept.time, kept.point)))
        came = grouped(concat([self._pending, came]))
        self._pending = EMPTY
        if len(kept):
            ends = np.append(group_starts(kept.point)[1:], len(kept)) - 1
            self._last = kept.take(ends)
            if open_ended:
                came = self._hold_back(came)
            came = _last_of_each_time(came)
        if len(came):
            self._judge(came, reconstructed(self._rule, came, kept))

    def _learn(self) -> None:
        """Meet new points."""
        known, total = self._met, len(self._points)
        if known < total:
            self._rows = grown(self._rows, total)
            self._newest = grown(self._newest, total, -(1 << 63))
            self._widths = grown(self._widths, total)
            for point in range(known, total):
                self._widths[point] = width_of(self._points.point(point), self._bound)
            self._met = total

    def _count(self, frame: Frame, column: int) -> None:
        if len(frame):
            counted = np.bincount(frame.point)
            self._rows[: len(counted), column] += counted

    def _in_order(self, came: Frame, kept: Frame) -> tuple[Frame, Frame]:
        """What is left when points whose times go back are taken out; those begin anew."""
        if not len(came):
            return came, kept
        starts = group_starts(came.point)
        ids = came.point[starts]
        back = np.zeros(len(came), np.bool_)
        back[1:] = came.time[1:] < came.time[:-1]
        back[starts] = came.time[starts] < self._newest[ids]
        self._newest[ids] = np.maximum(self._newest[ids], np.maximum.reduceat(came.time, starts))
        if not back.any():
            return came, kept
        wrong = np.zeros(len(self._rows), np.bool_)
        wrong[came.point[back]] = True
        self._last = self._last.take(~wrong[self._last.point])
        self.unjudged += int(wrong[came.point].sum()) + int(wrong[self._pending.point].sum())
        self._pending = self._pending.take(~wrong[self._pending.point])
        return came.take(~wrong[came.point]), kept.take(~wrong[kept.point])

    def _hold_back(self, came: Frame) -> Frame:
        """What is settled: the samples up to the last one kept of their point. The others wait."""
        until = np.full(len(self._rows), -(1 << 63), np.int64)
        until[self._last.point] = self._last.time
        settled = came.time <= until[came.point]
        pending = came.take(~settled)
        if len(pending) > MAX_PENDING:
            self.unjudged += len(pending) - MAX_PENDING
            pending = pending.take(slice(MAX_PENDING))
        self._pending = pending
        return came.take(settled)

    def _judge(self, came: Frame, found: Values) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            signed = found - came.value
            signed[found == came.value] = 0.0  # equal infinities
            error = np.abs(signed)
            fixed, relative = self._widths[came.point, 0], self._widths[came.point, 1]
            size = np.maximum(np.abs(found), np.abs(came.value)) if relative.any() else np.abs(came.value)
            over = error > (fixed + relative * size) * (1 + ROUNDING) + ROUNDING * size
        unknown = np.isnan(error)
        self.unjudged += int(np.count_nonzero(np.isnan(found) & ~np.isnan(came.value)))
        if unknown.any():
            error[unknown] = signed[unknown] = 0.0
        starts = group_starts(came.point)
        rows, ids = self._rows, came.point[starts]
        rows[ids, _JUDGED] += np.add.reduceat(~unknown, starts, dtype=np.int64)
        rows[ids, _SUM] += np.add.reduceat(error, starts)
        rows[ids, _SIGNED] += np.add.reduceat(signed, starts)
        rows[ids, _LARGEST] = np.maximum(rows[ids, _LARGEST], np.maximum.reduceat(error, starts))
        rows[ids, _OVER] += np.add.reduceat(over, starts, dtype=np.int64)
        if self._shown is not None:
            self._shown(came, found)

    def result(self) -> list[dict[str, Any]]:
        """A row for each point that came, by name: what was kept of it, and how far off it is then."""
        ids = np.flatnonzero(self._rows[:, _CAME])
        return sorted((self._row(int(point)) for point in ids), key=lambda row: str(row["point"]))

    def _row(self, point: int) -> dict[str, Any]:
        came, kept, judged, total, signed, largest, over = self._rows[point].tolist()
        fixed, relative = self._widths[point].tolist()
        row = {
            "point": self._points.name(point),
            "in": int(came),
            "kept": int(kept),
            "share": kept / came,
            "largest_error": largest if judged else None,
            "mean_error": total / judged if judged else None,
            "bias": signed / judged if judged else None,
        }
        if self._bound is not None:
            row |= {"bound": fixed if not relative else f"{100 * relative:g}% of the value", "above_bound": int(over)}
        return row


def width_of(point: Point, bound: Bound | None) -> tuple[float, float]:
    """What a bound allows at a point: in its unit, and as a part of the value (where it has no limits)."""
    if bound is None:
        return math.inf, 0.0
    if point.kind is Kind.STATE:
        return 0.0, 0.0
    if bound.absolute is not None:
        return bound.absolute, 0.0
    share = (bound.percent or 0.0) / 100
    extent = math.inf if point.limits is None else point.limits[1] - point.limits[0]
    return (share * extent, 0.0) if math.isfinite(extent) else (0.0, share)


def _last_of_each_time(came: Frame) -> Frame:
    """One sample for each point and time: of several, the last to come is what a receiver has."""
    same = (came.time[1:] == came.time[:-1]) & (came.point[1:] == came.point[:-1])
    return came.take(np.append(~same, True)) if same.any() else came
