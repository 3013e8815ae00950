"""Integrals over time in blocks: each value holds until the next sample of its point, but not longer than a bound.

A sample without a usable value ends the one before it and holds nothing. So what is covered is known to the
nanosecond, and a mean over uneven samples is right. At an end of a block the last sample is cut: its rest goes into
the next block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.operators.power.cells import NOTED, Blocks, Cells, marks_of
from pipelines.operators.power.ordered import Table
from pipelines.operators.power.results import usable

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Frame, Ids, Mask, Times, Values
    from pipelines.base import State


class Integrator:
    """Blocks of all points.

    Args:
        every_ns: length of a block.
        phase_ns: what is added to a time before it is divided by the length.
        hold_ns: how long a value holds at most.
        square: integrate squares, for a root mean square.
    """

    def __init__(self, every_ns: int, phase_ns: int, hold_ns: int, *, square: bool = False) -> None:
        self._every_ns, self._phase_ns, self._hold_ns, self._square = every_ns, phase_ns, hold_ns, square
        self._cells = Cells()
        self._last = Table(
            time=(np.int64, 0), value=(np.float64, np.nan), marks=(np.uint32, 0), start=(np.int64, 0), ok=(np.bool_, 0)
        )
        """The last sample of each point; ``start`` is up to where it was counted."""

    def number(self, time: Times) -> Times:
        """The block in which each time lies, [n]."""
        return (time + self._phase_ns) // self._every_ns

    def begin(self, number: Times) -> Times:
        """The time at which each block begins, [n]."""
        return number * self._every_ns - self._phase_ns

    def advance(self, frame: Frame, marks: Times, noted: Mask | None = None) -> Blocks:
        """Take samples in order and give the blocks that end.

        Args:
            frame: samples ordered by point and time.
            marks: how far each point is settled, [points].
            noted: samples that leave :data:`pipelines.operators.power.cells.NOTED` on their block, [n].
        """
        self._last.grow(len(marks))
        first_open = self.number(marks)
        self._cells.add(self._parts(frame, first_open, noted))
        return self._cells.pop(first_open)

    def _parts(self, frame: Frame, first_open: Times, noted: Mask | None) -> Blocks:
        last = self._last
        present = np.zeros(len(first_open), np.bool_)
        present[frame.point] = True
        known = last.known[: len(present)]
        behind = known & last["ok"][: len(known)]
        behind &= self.number(last["start"][: len(known)]) < first_open
        carried = np.flatnonzero(known & (present | behind)).astype(np.int32)
        if not len(carried) and not len(frame):
            return Blocks.none()
        ok = usable(frame.value, frame.quality)
        bits = marks_of(frame.quality, ok)
        if noted is not None:
            bits |= np.where(noted, NOTED, 0).astype(np.uint32)
        point = np.concatenate([carried, frame.point])
        order = np.argsort(point, kind="stable")
        point = point[order]
        time = np.concatenate([last["time"][carried], frame.time])[order]
        value = np.concatenate([last["value"][carried], frame.value])[order]
        bits = np.concatenate([last["marks"][carried], bits])[order]
        good = np.concatenate([last["ok"][carried], ok])[order]
        start = np.concatenate([last["start"][carried], frame.time])[order]
        fresh = order >= len(carried)
        tail = np.append(np.flatnonzero(point[1:] != point[:-1]), len(point) - 1)
        cut = self.begin(first_open[point[tail]])
        end = np.append(time[1:], 0)
        end[tail] = cut
        end = np.maximum(np.minimum(end, time + self._hold_ns), start)
        self._last.set(
            point[tail], time=time[tail], value=value[tail], marks=bits[tail], ok=good[tail],
            start=np.maximum(start[tail], cut),
        )  # fmt: skip
        return self._split(_Segments(point, time, start, end, value, bits, good, fresh))

    def _split(self, s: _Segments) -> Blocks:
        """The pieces of segments, cut at the ends of blocks; a sample of no use leaves its marks only."""
        mark = np.flatnonzero(s.fresh & ~s.good)
        piece = np.flatnonzero(s.good & (s.end > s.start))
        first, final = self.number(s.start[piece]), self.number(s.end[piece] - 1)
        count = final - first + 1
        which = np.repeat(piece, count)
        number = np.repeat(first, count) + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        begin = np.maximum(s.start[which], self.begin(number))
        covered = np.minimum(s.end[which], self.begin(number + 1)) - begin
        value = s.value[which]
        weight = value * value if self._square else value
        pieces = Blocks(s.point[which], number, weight * (covered * 1e-9), covered, s.bits[which])
        if not len(mark):
            return pieces
        zeros = np.zeros(len(mark))
        marks = Blocks(s.point[mark], self.number(s.time[mark]), zeros, zeros.astype(np.int64), s.bits[mark])
        return marks.behind(pieces)

    def clear(self) -> Blocks:
        """Take out all blocks as they are and forget the last samples."""
        self._last.clear()
        return self._cells.clear()

    def snapshot(self) -> State:
        """Open blocks and last samples."""
        return {"open": self._cells.open.snapshot(), "last": self._last.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._cells.open = Blocks.restored(state["open"])
        self._last.restore(state["last"])


@dataclass(frozen=True)
class _Segments:
    """Samples and the spans for which they count, ordered by point and time; ``fresh`` ones are seen first."""

    point: Ids
    time: Times
    start: Times
    end: Times
    value: Values
    bits: npt.NDArray[np.uint32]
    good: Mask
    fresh: Mask
