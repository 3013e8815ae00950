"""What needs the samples of a point in the order of their times: sessions, windows by count, and how long values hold.

Samples wait until the watermark of their row has passed them by ``lateness``; then they are *settled*, in the order of
time. A sample that comes after a later one was settled is too late for what is in order. All is decided at ticks, from
sorted columns; nothing runs sample by sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway import quality as q
from gateway.frame import EMPTY, Frame, Ids, Mask, Times, Values, concat, group_starts
from pipelines.base import State, grown
from pipelines.operators.aggregate.window_columns import EARLIEST

if TYPE_CHECKING:
    from pipelines.operators.aggregate.window_calendar import Windows

_EMPTY: Final = np.empty(0, np.int32)
_YEAR_NS: Final = 366 * 86_400_000_000_000


class Waiting:
    """Samples that are not settled yet."""

    def __init__(self) -> None:
        self._parts: list[tuple[Frame, Ids]] = []
        self._done: Times = np.empty(0, np.int64)
        """Time up to which samples of a row are settled."""

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self._parts)

    def late(self, rows: Ids, times: Times) -> Mask:
        """Which samples are behind what is settled, [n]."""
        self._grow(rows)
        late: Mask = times <= self._done[rows]
        return late

    def _grow(self, rows: Ids) -> None:
        self._done = grown(self._done, int(rows.max(initial=-1)) + 1, EARLIEST)

    def hold(self, frame: Frame, rows: Ids) -> None:
        """Take samples, [n], of rows, [n]; none may be late."""
        if len(frame):
            self._parts.append((frame, rows))

    def _all(self) -> tuple[Frame, Ids]:
        frame = concat(frame for frame, _ in self._parts)
        rows = np.concatenate([rows for _, rows in self._parts]) if self._parts else _EMPTY
        self._parts = [(frame, rows)] if len(rows) else []
        return frame, rows

    def settle(self, marks: Times) -> tuple[Frame, Ids]:
        """The samples up to the mark of their row, [rows], ordered by row and time, and their rows."""
        frame, rows = self._all()
        self._done = grown(self._done, len(marks), EARLIEST)
        np.maximum(self._done[: len(marks)], marks, out=self._done[: len(marks)])
        ripe = frame.time <= self._done[rows]
        if not ripe.any():
            return EMPTY, _EMPTY
        rest = ~ripe
        self._parts = [(frame.take(rest), rows[rest])] if rest.any() else []
        frame, rows = frame.take(ripe), rows[ripe]
        order = np.lexsort((frame.time, rows))
        return frame.take(order), rows[order]

    def flush(self) -> tuple[Frame, Ids]:
        """All samples, in that order; time begins anew."""
        rows = max((int(rows.max()) for _, rows in self._parts), default=-1) + 1
        found = self.settle(np.full(rows, np.iinfo(np.int64).max))
        self._done = self._done[:0]
        return found

    def snapshot(self) -> State:
        """What waits, and how far rows are settled."""
        frame, rows = self._all()
        return {
            "point": frame.point.copy(),
            "time": frame.time.copy(),
            "value": frame.value.copy(),
            "quality": frame.quality.copy(),
            "row": rows.copy(),
            "done": self._done.copy(),
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        frame = Frame(state["point"], state["time"], state["value"], state["quality"])
        self._parts = [(frame, state["row"])] if len(frame) else []
        self._done = state["done"].copy()


class Runs:
    """Windows that samples make themselves: sessions that a gap ends, or so many samples each.

    Args:
        gap_ns: a longer time without a sample ends a session; 0 for windows by count.
        size: samples of a window; 0 for sessions.
    """

    def __init__(self, gap_ns: int, size: int) -> None:
        self._gap_ns, self._size = gap_ns, size
        self._seen: Times = np.empty(0, np.int64)
        """Samples of a row so far, or windows (its last one)."""
        self._last: Times = np.empty(0, np.int64)
        """Time of the row's last sample."""

    def numbers(self, rows: Ids, times: Times) -> Times:
        """The window of each settled sample, [n]; they are ordered by row and time."""
        size = int(rows.max(initial=-1)) + 1
        self._seen, self._last = grown(self._seen, size), grown(self._last, size, EARLIEST)
        starts = group_starts(rows)
        own = rows[starts]
        length = np.diff(starts, append=len(rows))
        place = np.arange(len(rows)) - np.repeat(starts, length)
        if self._size:
            numbers = (self._seen[rows] + place) // self._size
            self._seen[own] += length
            return numbers
        before = np.empty_like(times)
        before[1:] = times[:-1]
        before[starts] = self._last[own]
        # Times may lie anywhere in int64: what overflows is a gap, too
        gap = (times - before).view(np.uint64) > np.uint64(self._gap_ns)
        counted = np.cumsum(gap)
        numbers = self._seen[rows] + counted - np.repeat(counted[starts] - gap[starts], length)
        ends = starts + length - 1
        self._seen[own], self._last[own] = numbers[ends], times[ends]
        return numbers

    def open(self, rows: Ids, marks: Times) -> Times:
        """The first window of each row that has to stay open at a mark, [n]."""
        if self._size:
            return self._seen[rows] // self._size
        over = (marks > self._last[rows]) & ((marks - self._last[rows]).view(np.uint64) > np.uint64(self._gap_ns))
        return self._seen[rows] + over

    def reset(self) -> None:
        """Begin every row anew."""
        self._seen, self._last = self._seen[:0], self._last[:0]

    def snapshot(self) -> State:
        """What rows have seen."""
        return {"seen": self._seen.copy(), "last": self._last.copy()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._seen, self._last = state["seen"].copy(), state["last"].copy()


@dataclass(frozen=True)
class Pieces:
    """For how long values were in force, piece by piece, [n]."""

    row: Ids
    number: Times
    """Of the window."""
    point: Ids
    value: Values
    span_ns: Times


class Holds:
    """How long the value of each point is in force: until its next sample, be it invalid, and no longer than allowed.

    Args:
        windows: where windows begin and end; None where samples make them.
        hold_ns: how long a value may be in force, also beyond the end of its window; 0: to the end of its window.
    """

    def __init__(self, windows: Windows | None, hold_ns: int) -> None:
        self._windows, self._hold_ns = windows, hold_ns
        self._since: Times = np.empty(0, np.int64)
        """From when on the value of a point is not accounted for, by point id, and until when it is in force."""
        self._until: Times = np.empty(0, np.int64)
        self._value: Values = np.empty(0, np.float64)
        self._row: Ids = np.empty(0, np.int32)
        self._number: Times = np.empty(0, np.int64)

    def settle(self, frame: Frame, rows: Ids, numbers: Times | None, marks: Times) -> Pieces:
        """What is in force and over at a mark.

        Args:
            frame: settled samples, in the order of time within each point.
            rows: the row of each, [n].
            numbers: the window of each, [n], where samples make windows.
            marks: how far event time is settled, [rows]; the start of the first open window where time makes them.
        """
        found = [self._take(frame, rows, numbers)] if len(frame) else []
        if self._windows is not None:
            found.append(self._over(marks))
        return self._split(*(np.concatenate(column) for column in zip(*found, strict=True))) if found else _nothing()

    def _take(self, frame: Frame, rows: Ids, numbers: Times | None) -> tuple[Ids, Times, Ids, Values, Times, Times]:
        """Pieces between samples as (row, number, point, value, begin, end); remembers the last of each point."""
        self._grow(int(frame.point.max()) + 1)
        usable = ~np.isnan(frame.value) & ~q.is_invalid(frame.quality)
        allowed = np.where(usable, self._allowed(frame.time, numbers), frame.time)
        own = np.unique(frame.point)
        own = own[self._until[own] > self._since[own]]
        point = np.concatenate([own, frame.point])
        begin = np.concatenate([self._since[own], frame.time])
        order = np.lexsort((begin, point))  # stable: what was before comes first
        value = np.concatenate([self._value[own], frame.value])[order]
        until = np.concatenate([self._until[own], allowed])[order]
        row = np.concatenate([self._row[own], rows])[order]
        number = np.concatenate([self._number[own], np.zeros_like(begin[len(own) :]) if numbers is None else numbers])[
            order
        ]
        point, begin = point[order], begin[order]
        last = np.append(point[1:] != point[:-1], True)
        end = np.minimum(np.append(begin[1:], 0), until)
        if numbers is not None:
            end = np.where(np.append(number[1:], 0) == number, end, begin)
        ids = point[last]
        self._since[ids], self._until[ids], self._value[ids] = begin[last], until[last], value[last]
        self._row[ids], self._number[ids] = row[last], number[last]
        over = ~last & (end > begin)
        return row[over], number[over], point[over], value[over], begin[over], end[over]

    def _allowed(self, times: Times, numbers: Times | None) -> Times:
        """Until when values of these times may be in force, [n]."""
        top = np.iinfo(np.int64).max
        if numbers is not None or self._windows is None:
            return np.full(len(times), top)
        if self._hold_ns:
            return np.minimum(times, top - self._hold_ns) + self._hold_ns
        return self._windows.end(self._windows.number(times))

    def _over(self, marks: Times) -> tuple[Ids, Times, Ids, Values, Times, Times]:
        """What the values in force have come to up to the marks."""
        point = np.flatnonzero(self._until > self._since).astype(np.int32)
        mark = marks[self._row[point]]
        here = self._since[point] < mark
        point, mark = point[here], mark[here]
        begin, end = self._since[point], np.minimum(mark, self._until[point])
        self._since[point] = end
        return self._row[point], self._number[point], point, self._value[point], begin, end

    def _split(self, row: Ids, number: Times, point: Ids, value: Values, begin: Times, end: Times) -> Pieces:
        """At the ends of windows."""
        if self._windows is None:
            return Pieces(row, number, point, value, _span(begin, end))
        first, last = self._windows.number(begin), self._windows.number(end - 1)
        if (first == last).all():
            return Pieces(row, first, point, value, _span(begin, end))
        many = last - first + 1
        which = np.repeat(np.arange(len(row)), many)
        number = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        span = np.minimum(end[which], self._windows.end(number)) - np.maximum(begin[which], self._windows.start(number))
        some = span > 0
        which = which[some]
        return Pieces(row[which], number[some], point[which], value[which], span[some])

    def _grow(self, size: int) -> None:
        self._since, self._until = grown(self._since, size), grown(self._until, size)
        self._value, self._row = grown(self._value, size), grown(self._row, size)
        self._number = grown(self._number, size)

    def reset(self) -> None:
        """Nothing is in force any more."""
        self._until[:] = self._since

    def snapshot(self) -> State:
        """What is in force."""
        point = np.flatnonzero(self._until > self._since).astype(np.int32)
        columns = {name: getattr(self, f"_{name}")[point] for name in _HELD}
        return {"point": point, **columns}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        point = state["point"]
        self.reset()
        self._grow(int(point.max(initial=-1)) + 1)
        for name in _HELD:
            getattr(self, f"_{name}")[point] = state[name]


_HELD: Final = ("since", "until", "value", "row", "number")


def _span(begin: Times, end: Times) -> Times:
    """From begin to end, [n]; a year at most, so that sums stay in int64 whatever the times are."""
    span = end - begin
    return np.where((span < 0) | (span > _YEAR_NS), _YEAR_NS, span)


def _nothing() -> Pieces:
    none = np.empty(0, np.int64)
    return Pieces(_EMPTY, none, _EMPTY, np.empty(0), none)
