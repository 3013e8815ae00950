"""Samples of a frame side by side: one lane a point, for operators in which a sample depends on the one before it.

Step k works on the k-th samples of all points that have so many, as columns. When only few points with long runs
are left, the rest of each run is handed out by itself, to be walked through number by number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.frame import group_starts, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.frame import Frame, Ids, Index

MANY_LANES: Final = 40
"""Points still in work from which one numpy step over all of them beats a loop over their samples."""


def once(ids: Ids) -> bool:
    """Whether a frame has at most one sample of each point, in their order, as most small frames have."""
    return len(ids) == int(np.count_nonzero(ids[1:] > ids[:-1])) + 1


def place_of(ids: Ids) -> Index | slice:
    """Where in columns over point ids those of :func:`once` are: a slice, the fastest, if they follow one another."""
    first = int(ids[0])
    return slice(first, first + len(ids)) if int(ids[-1]) - first == len(ids) - 1 else ids.astype(np.intp)


class Lanes:
    """The lanes of a frame, longest first. A frame with one sample a point is taken as it is."""

    __slots__ = ("_lengths", "_starts", "frame", "ids", "place")

    def __init__(self, frame: Frame) -> None:
        ids = frame.point
        if (ids[1:] > ids[:-1]).all():
            self.frame, self._starts, self._lengths = frame, None, None
        else:
            self.frame = frame = grouped(frame)
            starts = group_starts(frame.point)
            lengths = np.diff(starts, append=len(frame))
            order = np.argsort(-lengths, kind="stable")
            self._starts, self._lengths = starts[order], lengths[order]
            ids = frame.point[self._starts]
        self.ids: Ids = ids
        """The point of each lane, [lanes]."""
        self.place: Ids | slice = ids
        """Where the lanes' state is in columns over point ids: a slice if their ids follow one another."""
        if self._starts is None and int(ids[-1]) - int(ids[0]) == len(ids) - 1:
            self.place = slice(int(ids[0]), int(ids[-1]) + 1)

    def __len__(self) -> int:
        return len(self.ids)

    def steps(self, many: int = MANY_LANES) -> Iterator[tuple[int, Index | slice]]:
        """How many lanes have a k-th sample, for k = 0, 1 ... while at least ``many`` do, and where those are.

        They are those of the first lanes, in their order.
        """
        if self._starts is None or self._lengths is None:
            if len(self.ids) >= many:
                yield len(self.ids), slice(None)
            return
        for k, lanes in enumerate(self._active(many)):
            yield lanes, self._starts[:lanes] + k

    def _active(self, many: int) -> list[int]:
        """How many lanes have a k-th sample, for k = 0, 1 ..., as long as those are many."""
        assert self._lengths is not None
        active = np.searchsorted(-self._lengths, -np.arange(1, self._lengths[0] + 1), side="right")
        found: list[int] = active[active >= many].tolist()
        return found

    def rest(self, many: int = MANY_LANES) -> Iterator[tuple[int, int, int]]:
        """What :meth:`steps` leaves, lane by lane: its number, and from where to where its samples are in ``frame``."""
        if self._starts is None or self._lengths is None:
            if len(self.ids) < many:
                yield from zip(range(len(self.ids)), range(len(self.ids)), range(1, len(self.ids) + 1), strict=True)
            return
        done = len(self._active(many))
        left = int(np.searchsorted(-self._lengths, -done, side="left"))
        starts, lengths = self._starts[:left].tolist(), self._lengths[:left].tolist()
        for lane, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            yield lane, start + done, start + length
