"""What a host knows of each point: its newest sample, and from when on a sample is news to it. Pure.

Columns indexed by point id. A sample is live if it is not older than what the host shows for its point, and neither
its batch nor its quality word says that it is historical; otherwise the host must not take it for the present value.
"""

from __future__ import annotations

import numpy as np

from gateway import quality
from gateway.errors import PayloadError
from gateway.frame import Frame, Ids, Mask
from gateway.wire import columns

NEVER = np.iinfo(np.int64).min
AHEAD_NS = 60_000_000_000
"""A source's clock may be ahead by so much. A sample beyond it does not make later ones historical."""
_NOTHING_YET = quality.no_value(quality.Reason.MISSING)


class Shown:
    """The newest sample of each known point, and what the host shows."""

    def __init__(self) -> None:
        self.time = np.full(0, NEVER, np.int64)
        self.value = np.empty(0, np.float64)
        self.quality = np.empty(0, np.uint16)
        self.live = np.full(0, NEVER, np.int64)
        """Source time of what the host shows as the present value."""
        self.dirty = False

    def grow(self, points: int) -> None:
        """Room for ids below ``points``."""
        missing = points - len(self.time)
        if missing > 0:
            self.time = np.append(self.time, np.full(missing, NEVER, np.int64))
            self.value = np.append(self.value, np.full(missing, _NOTHING_YET))
            self.quality = np.append(self.quality, np.full(missing, quality.INVALID, np.uint16))
            self.live = np.append(self.live, np.full(missing, NEVER, np.int64))

    def begin(self, point: int, time_ns: int) -> None:
        """A point is new: until its first sample it has no value, as of the time of that sample."""
        self.time[point] = self.live[point] = time_ns
        self.dirty = True

    def historical(self, frame: Frame, *, all_of_it: bool) -> Mask:
        """Which samples must not be taken for the present value, [n]."""
        if all_of_it:
            return np.ones(len(frame), np.bool_)
        old: Mask = (frame.quality & quality.HISTORICAL != 0) | (frame.time < self.live[frame.point])
        return old

    def take(self, frame: Frame, old: Mask, now_ns: int) -> None:
        """Samples that are being sent, in order of time."""
        news = frame.take(frame.time >= self.time[frame.point])
        self.time[news.point] = np.minimum(news.time, now_ns + AHEAD_NS)
        self.value[news.point] = news.value
        self.quality[news.point] = news.quality & np.uint16(0xFFFF ^ quality.HISTORICAL)
        live = frame.take(~old)
        self.live[live.point] = np.minimum(live.time, now_ns + AHEAD_NS)
        self.dirty = True

    def newest(self, points: Ids) -> Frame:
        """The newest samples of points."""
        return Frame(points, self.time[points], self.value[points], self.quality[points])

    def showing(self, points: Ids) -> Frame:
        """The newest samples of points, which the host is about to be told as their present values."""
        self.live[points] = self.time[points]
        return self.newest(points)

    def behind(self, points: Ids) -> Ids:
        """Those points of which the host knows something newer, but as history only."""
        late: Ids = points[self.time[points] > self.live[points]]
        return late

    def save(self, points: Ids) -> bytes:
        """The newest samples of points, to be restored after a restart."""
        self.dirty = False
        return columns.encode(self.newest(points))

    def restore(self, saved: bytes, limit: int) -> list[int]:
        """Take over what :meth:`save` gave; the points in it with ids below ``limit``. Damaged: none."""
        try:
            frame = columns.decode(saved)
        except PayloadError:
            return []
        frame = frame.take((frame.point >= 0) & (frame.point < limit))
        self.grow(limit)
        self.time[frame.point] = self.live[frame.point] = frame.time  # what the births will show
        self.value[frame.point] = frame.value
        self.quality[frame.point] = frame.quality
        found: list[int] = frame.point.tolist()
        return found
