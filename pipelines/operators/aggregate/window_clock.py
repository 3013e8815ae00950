"""How far the event time of each point has come: which windows may close, which samples are late or early.

Clocks of devices differ, so every point has a watermark of its own. It follows the times of the point's
samples and, while the point is silent, the time of the gateway: at a tick, the newest sample time plus what
has passed since the first tick that knew it. Everything that decides about a sample changes at ticks only,
so that results do not depend on how samples are cut into frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gateway.frame import by_point, group_starts
from pipelines.base import State, grown

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Times

MAX_AHEAD_NS: Final = 86_400_000_000_000
"""A sample dated further ahead of its point's watermark than this (a day) is taken for a wild date."""

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

_COLUMNS: Final = ("newest", "anchor", "anchor_tick", "watermark", "closed")


class PointClocks:
    """Columns over point ids, int64: ns since 1970, or window numbers (``closed``)."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._newest: Times = np.empty(0, np.int64)
        """Newest sample time; the least integer before the first sample."""
        self._anchor: Times = np.empty(0, np.int64)
        """``newest`` when a tick last found it moved, and that tick:"""
        self._anchor_tick: Times = np.empty(0, np.int64)
        self._watermark: Times = np.empty(0, np.int64)
        self._closed: Times = np.empty(0, np.int64)
        """Number of the first window that is not closed yet."""
        self._horizon: Times = np.empty(0, np.int64)
        """What counts as wildly ahead; the greatest integer before the first tick."""
        self._ahead: npt.NDArray[np.bool_] = np.empty(0, np.bool_)
        """Whether the point's last sample was dated wildly ahead."""
        self._any_ahead = False

    def grow(self, size: int) -> None:
        """Make room for points below ``size``."""
        if size <= len(self._newest):
            return
        self._newest = grown(self._newest, size, INT64_MIN)
        self._anchor = grown(self._anchor, size, INT64_MIN)
        self._anchor_tick = grown(self._anchor_tick, size)
        self._watermark = grown(self._watermark, size, INT64_MIN)
        self._closed = grown(self._closed, size, INT64_MIN)
        self._ahead = grown(self._ahead, size)
        self._horizon = grown(self._horizon, size, INT64_MAX)

    def early(self, ids: Ids, times: Times) -> Mask | None:
        """Which samples carry a wild date, [n]; None if none does. Makes room for points that are new.

        One such sample is an error; a second one in a row means that the device's clock was really set.
        """
        try:
            ahead = times > self._horizon[ids]
        except IndexError:  # a point that was not met before
            self.grow(int(ids.max()) + 1)
            ahead = times > self._horizon[ids]
        if not self._any_ahead and not ahead.any():
            return None
        order = by_point(ids)
        grouped = ahead[order]
        before = np.empty_like(grouped)
        before[1:] = grouped[:-1]
        starts = group_starts(ids[order])
        before[starts] = self._ahead[ids[order][starts]]
        self._ahead[ids[order]] = grouped  # of several samples of a point the last one stays
        self._any_ahead = bool(self._ahead.any())
        wild = np.empty_like(ahead)
        wild[order] = grouped & ~before
        return wild

    def late(self, ids: Ids, windows: Times) -> Mask:
        """Which samples belong to a window of their point that has closed, [n]."""
        result: Mask = windows < self._closed[ids]
        return result

    def first_open(self, ids: Ids) -> Times:
        """The number of the earliest window that a sample of each point can still enter, [n]."""
        return self._closed[ids]

    def see(self, ids: Ids, times: Times) -> None:
        """Take notice of samples' times."""
        # The least integer means "no sample yet"; a sample of that very nanosecond counts as the next one.
        np.maximum.at(self._newest, ids, np.maximum(times, INT64_MIN + 1))

    def tick(self, now_ns: int) -> None:
        """Move the watermarks."""
        moved = self._newest > self._anchor
        self._anchor[moved] = self._newest[moved]
        self._anchor_tick[moved] = now_ns
        elapsed = np.maximum(now_ns - self._anchor_tick, 0)
        risen = np.minimum(self._anchor, INT64_MAX - elapsed) + elapsed
        risen[self._anchor == INT64_MIN] = INT64_MIN
        np.maximum(self._watermark, risen, out=self._watermark)
        self._set_horizon()

    def _set_horizon(self) -> None:
        self._horizon = np.minimum(self._watermark, INT64_MAX - MAX_AHEAD_NS) + MAX_AHEAD_NS
        self._horizon[self._watermark == INT64_MIN] = INT64_MAX

    def marks(self, lateness_ns: int) -> Times:
        """Up to which time each point is complete if samples are at most so late, [points]."""
        return np.maximum(self._watermark, INT64_MIN + lateness_ns) - lateness_ns

    def latest(self, lateness_ns: int) -> int:
        """The latest of all :meth:`marks`."""
        return max(int(self._watermark.max(initial=INT64_MIN)), INT64_MIN + lateness_ns) - lateness_ns

    def due(self, ids: Ids, lateness_ns: int, every_ns: int) -> Times:
        """For each id the number of the first window that has to stay open, [n]."""
        mark = np.maximum(self._watermark[ids], INT64_MIN + lateness_ns) - lateness_ns
        return mark // every_ns

    def close(self, ids: Ids, windows: Times) -> None:
        """Say that these windows are closed."""
        np.maximum.at(self._closed, ids, windows + 1)

    def reset(self) -> None:
        """Forget everything, as after a step of the clock."""
        size = len(self._newest)
        self._clear()
        self.grow(size)

    def snapshot(self) -> State:
        """The columns of the points that were seen."""
        known = np.flatnonzero(self._newest != INT64_MIN).astype(np.int32)
        columns: State = {name: getattr(self, f"_{name}")[known] for name in _COLUMNS}
        return {"point": known, "ahead": self._ahead[known], **columns}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known = state["point"]
        size = max(len(self._newest), int(known.max(initial=-1)) + 1)
        self._clear()
        self.grow(size)
        for name in _COLUMNS:
            getattr(self, f"_{name}")[known] = state[name]
        self._ahead[known] = state["ahead"]
        self._any_ahead = bool(self._ahead.any())
        self._set_horizon()
