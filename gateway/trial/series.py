"""Series of many points at once, in columns: reconstruction, and the few series that a picture is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from gateway.frame import Frame, Index, Times, Values, group_starts
from pipelines.reconstruct import Kind as Rule
from pipelines.reconstruct import span

MOST: Final = 1 << 20
"""Samples of a series that are kept for a picture."""


def reconstructed(rule: Rule, came: Frame, kept: Frame) -> Values:
    """What :func:`pipelines.reconstruct.reconstruct` makes of what was kept, at each sample that came, [n].

    Both are ordered by point and time; NaN where nothing is known of a point yet.
    """
    if not len(kept):
        return np.full(len(came), np.nan)
    at, of = _keys(came, kept)
    # How many were kept up to each sample, over all points before it: counted where they come in.
    entered = np.bincount(np.searchsorted(at, of, side="left"), minlength=len(came) + 1)
    index = np.cumsum(entered)[: len(came)] - 1
    before = np.maximum(index, 0)
    known = (index >= 0) & (kept.point[before] == came.point)
    result: Values = kept.value[before]
    if rule == "linear":
        result = _lines(came, kept, before)
    if not known.all():
        result[~known] = np.nan
    return result


def _keys(came: Frame, kept: Frame) -> tuple[Times, Times]:
    """Numbers that order both by point and time."""
    first = min(int(came.time.min()), int(kept.time.min()))
    width = max(int(came.time.max()), int(kept.time.max())) - first + 1
    top = max(int(came.point[-1]), int(kept.point[-1])) + 1
    if width * top < 1 << 62:
        return came.point * np.int64(width) + (came.time - first), kept.point * np.int64(width) + (kept.time - first)
    times, ranks = np.unique(np.concatenate([came.time, kept.time]), return_inverse=True)
    ranks = ranks.astype(np.int64)
    of_came, of_kept = ranks[: len(came)], ranks[len(came) :]
    return came.point * np.int64(len(times)) + of_came, kept.point * np.int64(len(times)) + of_kept


def _lines(came: Frame, kept: Frame, before: Index) -> Values:
    """Values on the lines between neighbours that were kept; see :mod:`pipelines.reconstruct` for the rule."""
    behind = np.minimum(before + 1, len(kept) - 1)
    left, right = kept.value[before], kept.value[behind]
    begin, end = kept.time[before], kept.time[behind]
    drawn = (kept.point[behind] == came.point) & (behind != before) & (begin < came.time)
    drawn &= np.isfinite(left) & np.isfinite(right)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        line = left + 2 * ((right / 2 - left / 2) * (span(begin, came.time) / span(begin, end)))
    return np.where(drawn, line, left)


class Pictured:
    """The original and the reconstructed series of chosen points.

    Args:
        wanted: whether a point is chosen.
        most: how many points.
    """

    def __init__(self, wanted: Callable[[int], bool], most: int) -> None:
        self._wanted = wanted
        self._most = most
        self._chosen: dict[int, bool] = {}
        self._parts: dict[int, list[tuple[Times, Values, Values]]] = {}
        self._count: dict[int, int] = {}

    def __call__(self, came: Frame, found: Values) -> None:
        """Take what was judged; see :data:`gateway.trial.errors.Shown`."""
        starts = group_starts(came.point)
        ends = np.append(starts[1:], len(came))
        for point, start, end in zip(came.point[starts].tolist(), starts.tolist(), ends.tolist(), strict=True):
            if self._choose(point) and self._count[point] < MOST:
                self._parts[point].append((came.time[start:end], came.value[start:end], found[start:end]))
                self._count[point] += end - start

    def _choose(self, point: int) -> bool:
        if point not in self._chosen:
            chosen = self._chosen[point] = len(self._parts) < self._most and self._wanted(point)
            if chosen:
                self._parts[point], self._count[point] = [], 0
        return self._chosen[point]

    def series(self) -> dict[int, tuple[Times, Values, Values]]:
        """(times, original, reconstructed) by point id."""
        return {
            point: (
                np.concatenate([times for times, _, _ in parts]),
                np.concatenate([came for _, came, _ in parts]),
                np.concatenate([found for _, _, found in parts]),
            )
            for point, parts in self._parts.items()
        }
