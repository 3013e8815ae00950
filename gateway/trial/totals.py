"""Whether a step that aggregates keeps the totals: count and sum by point of what came in and of what came out."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from gateway.frame import Frame
from gateway.quality import is_invalid
from pipelines.base import OperatorConfig, Points, grown

SAME: Final = 1e-9
"""Sums may differ by this part of the sum of all sizes: the order in which floats are added shows."""
_COUNT, _SUM, _SIZE, _COUNT_OUT, _SUM_OUT = range(5)
_SUFFIXES: Final = {"#count": _COUNT_OUT, "#sum": _SUM_OUT}

ADDING_UP: Final = frozenset({
    "every", "months", "stats", "lateness", "expect", "align", "timezone", "relative_error", "bins", "hold", "above",
    "points", "dry_run",
})  # fmt: skip
"""Options of a window whose counts and sums add up to what came in; ``slide``, say, counts a sample many times."""


def adds_up(kind: str, config: OperatorConfig) -> bool:
    """Whether totals can be compared at a step."""
    fields = msgspec.structs.fields(config)
    given = {field.name for field in fields if getattr(config, field.name) != field.default}
    return kind == "window" and given <= ADDING_UP


class Totals:
    """A :class:`gateway.trial.watch.Watcher` of a step whose results are points such as ``m1/power#sum``."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._rows = np.zeros((0, 5))
        self._targets = np.zeros((0, 2), np.int64)
        """By point id: the base point and the column that its values are added to, or -1."""
        self._met = 0
        self._columns: set[int] = set()

    def saw(self, came: Frame, out: Frame, queued: int) -> None:
        """See :class:`gateway.trial.watch.Watcher`."""
        del queued
        self._learn()
        if len(came):
            self._add(came)
        if len(out):
            base, column = self._targets[out.point].T
            counted = (base >= 0) & ~np.isnan(out.value)
            np.add.at(self._rows, (base[counted], column[counted]), out.value[counted])
            self._columns |= set(np.unique(column[counted]).tolist())

    def _add(self, came: Frame) -> None:
        valid = ~(is_invalid(came.quality) | np.isnan(came.value))
        ids, value = (came.point, came.value) if valid.all() else (came.point[valid], came.value[valid])
        with np.errstate(invalid="ignore", over="ignore"):
            for column, weights in ((_COUNT, None), (_SUM, value), (_SIZE, np.abs(value))):
                added = np.bincount(ids, weights)
                self._rows[: len(added), column] += added

    def _learn(self) -> None:
        known, total = self._met, len(self._points)
        if known < total:
            self._rows = grown(self._rows, total)
            self._targets = grown(self._targets, total, -1)
            for point in range(known, total):
                name, mark, suffix = self._points.name(point).rpartition("#")
                base = self._points.find(name) if mark + suffix in _SUFFIXES else None
                if base is not None:
                    self._targets[point] = base, _SUFFIXES[mark + suffix]
            self._met = total

    def result(self) -> list[dict[str, Any]]:
        """A row for each point of which totals came out, by name."""
        if not self._columns:
            return []
        ids = np.flatnonzero(self._rows[:, _COUNT])
        return sorted((self._row(int(point)) for point in ids), key=lambda row: str(row["point"]))

    def _row(self, point: int) -> dict[str, Any]:
        count, total, size, count_out, total_out = self._rows[point].tolist()
        row: dict[str, Any] = {"point": self._points.name(point)}
        kept = True
        if _COUNT_OUT in self._columns:
            row |= {"count_in": int(count), "count_out": int(count_out)}
            kept &= count == count_out
        if _SUM_OUT in self._columns:
            row |= {"sum_in": total, "sum_out": total_out}
            kept &= abs(total - total_out) <= SAME * size
        return row | {"kept": bool(kept)}
