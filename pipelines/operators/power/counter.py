"""Readings of counters: what lies between two of them, judged by what is physically possible.

A step goes from one usable reading of a point to the next. Whether it is possible depends on the two readings and on
the time since the counter last moved (meters renew their registers at their own pace, some each quarter of an hour).
A step that is not possible is looked at once more over two readings, so that a single wild one costs nothing. All of
it looks back by two readings at most, and runs over columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipelines.operators.power.ordered import Table
from pipelines.operators.power.results import both

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Frame, Ids, Index, Mask, Qualities, Times, Values
    from pipelines.base import State
    from pipelines.operators.facts import Facts

ESTIMATED: Final = 1
IMPLAUSIBLE: Final = 2
MARGIN: Final = 1.5
"""How much more than the rated power is still possible."""


@dataclass(frozen=True)
class Steps:
    """What lies between readings, ordered by point and time."""

    point: Ids
    since: Times
    """Time of the reading before."""
    time: Times
    delta: Values
    """What the counter went on by; meaningless where implausible."""
    settled: Times
    """Up to where nothing can change any more: the time, but of an implausible step that of the reading before."""
    quality: Qualities
    """Of both readings."""
    flags: npt.NDArray[np.uint8]
    reasons: dict[str, int]


class Readings:
    """The last two readings of each point.

    Args:
        facts: columns 0, the most that the counter grows by in a second (NaN: unknown), and 1, one step of it.
        rollover: where the counter wraps, in its unit.
        max_gap_ns: the longest time between readings that is no gap.
    """

    def __init__(self, facts: Facts, rollover: float | None, max_gap_ns: int) -> None:
        self._facts, self._rollover, self._max_gap_ns = facts, rollover, max_gap_ns
        kinds: dict[str, tuple[type[np.generic], float]]
        kinds = {"value": (np.float64, 0), "time": (np.int64, 0), "moved": (np.int64, 0), "word": (np.uint16, 0)}
        self._last = Table(**kinds, timed=(np.bool_, 0), odd=(np.bool_, 0))
        """``moved``: the time since which the counter stands at this reading; ``odd``: the step to it was
        implausible; ``timed``: false after a step of the clock."""
        self._before = Table(**kinds)

    def untimed(self) -> None:
        """Times no longer mean anything; the values do."""
        self._last["timed"][:] = False
        self._last["odd"][:] = False
        self._before.clear()

    def steps(self, frame: Frame, size: int) -> Steps | None:
        """The steps to the readings of a frame, ordered by point and time; None if there are none."""
        self._last.grow(size)
        self._before.grow(size)
        known = ~np.isnan(self._facts.column(0, frame.point))
        strange = len(frame) - int(np.count_nonzero(known))
        frame = frame.take(known) if strange else frame
        if not len(frame):
            return None if not strange else _nothing({"no-energy-unit": strange})
        rows = self._rows(frame)
        found = self._judge(rows)
        self._keep(rows)
        if strange:
            found.reasons["no-energy-unit"] = strange
        return found

    def _rows(self, frame: Frame) -> _Rows:
        """The readings, each point's behind the last two that are known of it."""
        ids = np.unique(frame.point)
        old = np.flatnonzero(self._before.known[ids])
        last = np.flatnonzero(self._last.known[ids])
        point = np.concatenate([ids[old], ids[last], frame.point])
        order = np.argsort(point, kind="stable")
        point = point[order]

        def column(name: str, fresh: npt.NDArray[Any]) -> npt.NDArray[Any]:
            parts = [self._before[name][ids[old]], self._last[name][ids[last]], fresh]
            return np.concatenate(parts)[order]

        n, carried = len(point), len(old) + len(last)
        value, time = column("value", frame.value), column("time", frame.time)
        same = np.zeros(n, np.bool_)
        same[1:] = point[1:] == point[:-1]
        fresh = order >= carried
        timed, odd = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        ends = np.flatnonzero((order >= len(old)) & ~fresh)
        timed[ends], odd[ends] = self._last["timed"][point[ends]], self._last["odd"][point[ends]]
        stands = np.zeros(n, np.bool_)
        stands[1:] = fresh[1:] & same[1:] & (value[1:] == value[:-1]) & timed[:-1]
        moved = column("moved", frame.time)[np.maximum.accumulate(np.where(stands, 0, np.arange(n)))]
        return _Rows(point, value, time, moved, column("word", frame.quality), timed, odd, fresh, same)

    def _judge(self, rows: _Rows) -> Steps:
        """The step to each fresh reading that has one before it."""
        at = np.flatnonzero(rows.fresh & rows.same)
        step = self._step(rows, at - 1, at)
        rows.odd[at] = step.impossible
        again = np.flatnonzero(step.impossible & rows.odd[at - 1] & rows.same[at - 1])
        again = again[rows.timed[at[again] - 2]]
        since = rows.time[at - 1]
        delta, estimated, impossible = step.delta, step.estimated, step.impossible
        wrapped, reset = step.wrapped, step.reset
        if len(again):
            longer = self._step(rows, at[again] - 2, at[again])
            right = again[~longer.impossible & ~longer.reset]
            kept = ~longer.impossible & ~longer.reset
            delta[right], estimated[right] = longer.delta[kept], longer.estimated[kept]
            wrapped[right], reset[right] = longer.wrapped[kept], False
            since[right] = rows.time[at[right] - 2]
            impossible = impossible.copy()
            impossible[right] = False
        counted = {"wrap": wrapped, "reset": reset, "implausible": impossible, "estimated": estimated & ~impossible}
        reasons = {name: int(np.count_nonzero(mask)) for name, mask in counted.items()}
        flags = np.where(impossible, IMPLAUSIBLE, 0) | np.where(estimated & ~impossible, ESTIMATED, 0)
        # A reading without a time before it has an unknown span: it is taken for the shortest there is
        since = np.where(rows.timed[at - 1], since, rows.time[at] - 1)
        settled = np.where(impossible, since, rows.time[at])
        quality = both(rows.word[at - 1], rows.word[at])
        return Steps(rows.point[at], since, rows.time[at], delta, settled, quality, flags.astype(np.uint8), reasons)

    def _step(self, rows: _Rows, a: Index, b: Index) -> _Step:
        """From readings ``a`` to readings ``b``."""
        point, timed = rows.point[b], rows.timed[a]
        rate, step = self._facts.column(0, point), self._facts.column(1, point)
        span = np.where(timed, rows.time[b] - rows.moved[a], 0)
        possible = np.where(timed, rate * MARGIN * (span * 1e-9) + step, np.inf)
        before, now = rows.value[a], rows.value[b]
        delta = now - before
        back = delta < 0
        wrapped = np.zeros(len(a), np.bool_)
        if self._rollover is not None:
            over = delta + self._rollover
            wrapped = back & timed & (over >= 0) & (over <= possible) & (before <= self._rollover)
            delta = np.where(wrapped, over, delta)
        fallen = back & ~wrapped
        reset = fallen & timed & (now >= 0) & (now <= possible)
        impossible = (fallen & ~reset) | (~back & (delta > possible))
        delta = np.where(reset, now, delta)
        gap = timed & (rows.time[b] - np.where(timed, rows.time[a], rows.time[b]) > self._max_gap_ns)
        return _Step(delta, wrapped, reset, impossible, reset | gap | ~timed)

    def _keep(self, rows: _Rows) -> None:
        """Remember the last two rows of each point."""
        last = np.append(np.flatnonzero(~rows.same[1:]), len(rows.point) - 1)
        columns: dict[str, npt.NDArray[Any]]
        columns = {"value": rows.value, "time": rows.time, "moved": rows.moved, "word": rows.word}
        self._last.set(
            rows.point[last],
            timed=rows.timed[last],
            odd=rows.odd[last],
            **{name: column[last] for name, column in columns.items()},
        )
        second = last[rows.same[last] & rows.timed[np.maximum(last - 1, 0)]] - 1
        self._before.set(rows.point[second], **{name: column[second] for name, column in columns.items()})

    def snapshot(self) -> State:
        """Both readings of each point."""
        return {"last": self._last.snapshot(), "before": self._before.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._last.restore(state["last"])
        self._before.restore(state["before"])


@dataclass(frozen=True)
class _Rows:
    """Readings by point and time; ``fresh`` are new, ``same`` have one of their point before them."""

    point: Ids
    value: Values
    time: Times
    moved: Times
    word: Qualities
    timed: Mask
    odd: Mask
    fresh: Mask
    same: Mask


@dataclass(frozen=True)
class _Step:
    delta: Values
    wrapped: Mask
    reset: Mask
    impossible: Mask
    estimated: Mask


def _nothing(reasons: dict[str, int]) -> Steps:
    none = np.empty(0, np.int64)
    empty = np.empty(0, np.uint16)
    ids, values = none.astype(np.int32), none.astype(np.float64)
    return Steps(ids, none, none, values, none, empty, empty.astype(np.uint8), reasons)
