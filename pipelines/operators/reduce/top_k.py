"""``top_k``: of each interval only the points with the largest values or changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, by_point, concat, group_starts
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.aggregate.window_clock import PointClocks

if TYPE_CHECKING:
    from gateway.frame import Index, Mask, Times, Values
    from pipelines.base import Points

_ALL: Final = np.zeros(1, np.int32)
"""The one clock that all points share."""


class TopKConfig(OperatorConfig, frozen=True, kw_only=True):
    """Of each interval pass one sample of each of the ``k`` points that stand out.

    ``by: value`` takes the points with the largest value and passes the sample that has it; ``by: lowest`` likewise
    the smallest; ``by: change`` takes those whose largest and smallest value lie furthest apart and passes their last
    sample. Of equal points those known to the gateway first win. The samples pass as they came, of each point in the
    order of their intervals; all others count as filtered. Samples that are invalid or no finite number do not compete.

    Intervals begin at multiples of ``every`` since 1970 UTC. One is over when the newest source time of all points (or,
    while all are silent, the gateway's clock) has passed its end by ``lateness``; samples that come later are dropped
    as ``late``. One dated more than a day ahead is dropped as ``early``, unless a second one follows.

    Example::

        steps:
          - top_k: {k: 10, every: 1m, by: change, points: "*/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"k": 2, "every": "2s"},
        {"k": 1, "every": "1s", "by": "change", "lateness": "0s"},
        {"k": 3, "every": "1s", "by": "lowest"},
    )

    k: Annotated[int, msgspec.Meta(ge=1)] = 10
    """How many points pass of each interval."""
    every: Duration = Duration(60)
    """Length of an interval, at least 1 ms."""
    by: Literal["value", "lowest", "change"] = "value"
    """What points are compared by: the largest ``value``, the ``lowest`` one, or the ``change`` within the interval."""
    lateness: Duration = Duration(5)
    """How long after its end an interval waits for samples that are out of order."""

    def __post_init__(self) -> None:
        if self.every.ns < 1_000_000:
            raise FieldError("every", "must be at least 1ms")

    def create(self, points: Points) -> TopK:
        """The operator for these options."""
        del points
        return TopK(self)


class Cells:
    """What is known of the points of open intervals: one row for each interval and point, in columns.

    ``samples`` holds the sample that would pass, ``low`` and ``high`` the extremes, ``count`` the samples of the row.
    """

    __slots__ = ("count", "high", "low", "number", "samples")

    def __init__(self, number: Times, samples: Frame, low: Values, high: Values, count: npt.NDArray[np.int64]) -> None:
        self.number = number
        self.samples = samples
        self.low = low
        self.high = high
        self.count = count

    @classmethod
    def of(cls, frame: Frame, every_ns: int) -> Cells:
        """A row for each sample."""
        return cls(frame.time // every_ns, frame, frame.value, frame.value, np.ones(len(frame), np.int64))

    def __len__(self) -> int:
        return len(self.number)

    def take(self, which: Index | Mask) -> Cells:
        """Some of the rows."""
        return Cells(self.number[which], self.samples.take(which), self.low[which], self.high[which], self.count[which])

    def behind(self, other: Cells) -> Cells:
        """These rows behind those of another."""
        return Cells(
            np.concatenate([other.number, self.number]),
            concat([other.samples, self.samples]),
            np.concatenate([other.low, self.low]),
            np.concatenate([other.high, self.high]),
            np.concatenate([other.count, self.count]),
        )

    def folded(self, by: str) -> Cells:
        """One row for each interval and point, sorted by both; of equal candidates the first to come stays."""
        last = by == "change"
        same = bool((self.number == self.number[0]).all())
        order = by_point(self.samples.point) if same else np.lexsort((self.samples.point, self.number))
        rows = self.take(order)
        number, point = rows.number, rows.samples.point
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (number[1:] != number[:-1]) | (point[1:] != point[:-1])
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=len(order))
        low, high = np.minimum.reduceat(rows.low, starts), np.maximum.reduceat(rows.high, starts)
        if last:
            hits = rows.samples.time == np.repeat(np.maximum.reduceat(rows.samples.time, starts), lengths)
        else:
            hits = rows.samples.value == np.repeat(low if by == "lowest" else high, lengths)
        candidates = np.flatnonzero(hits)
        group = np.cumsum(begins)[candidates]
        ends = np.ones(len(candidates), np.bool_)
        ends[slice(None, -1) if last else slice(1, None)] = group[1:] != group[:-1]
        return Cells(
            number[starts], rows.samples.take(candidates[ends]), low, high, np.add.reduceat(rows.count, starts)
        )


_NONE: Final = Cells.of(EMPTY, 1)


class TopK(Operator):
    """See :class:`TopKConfig`. Only what would pass is kept, a row for each point and open interval."""

    state_class: ClassVar[StateClass] = StateClass.WINDOW_OPAQUE
    joins: ClassVar[bool] = True

    def __init__(self, config: TopKConfig) -> None:
        super().__init__()
        self._config = config
        self._every_ns = config.every.ns
        self._clocks = PointClocks()
        self._clocks.grow(1)
        self._parts: list[Frame] = []
        """What came since the last tick."""
        self._cells = _NONE

    def process(self, frame: Frame) -> Frame:
        """Nothing: which points stand out is known when an interval is over."""
        n = len(frame)
        if not n:
            return EMPTY
        everybody = np.zeros(n, np.int32)
        wild = self._clocks.early(everybody, frame.time)
        if wild is not None:
            self.counts.drop("early", int(np.count_nonzero(wild)))
            frame, everybody = frame.take(~wild), everybody[~wild]
        late = self._clocks.late(everybody, frame.time // self._every_ns)
        self._clocks.see(everybody, frame.time)
        if late.any():
            self.counts.drop("late", int(np.count_nonzero(late)))
            frame = frame.take(~late)
        competes = np.isfinite(frame.value) & ~q.is_invalid(frame.quality)
        if not competes.all():
            self.counts.filtered += len(frame) - int(np.count_nonzero(competes))
            frame = frame.take(competes)
        if len(frame):
            self._parts.append(frame)
            self.counts.queued += len(frame)
        return EMPTY

    def tick(self, now_ns: int) -> Frame:
        """The samples that stand out in the intervals that are over."""
        self._clocks.tick(now_ns)
        if not self.counts.queued:
            return EMPTY
        self._fold()
        due = self._clocks.due(_ALL, self._config.lateness.ns, self._every_ns)
        return self._close(self._cells.number < due)

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Those of all intervals; event time starts anew."""
        del delta_ns
        self._fold()
        out = self._close(np.ones(len(self._cells), np.bool_))
        self._clocks.reset()
        return out

    def _fold(self) -> None:
        """Keep only what would pass; what will not in any case is filtered when its interval is over."""
        fresh, self._parts = concat(self._parts), []
        if len(fresh):
            self._cells = Cells.of(fresh, self._every_ns).behind(self._cells).folded(self._config.by)

    def _close(self, over: Mask) -> Frame:
        """What passes of the rows of some intervals."""
        if not over.any():
            return EMPTY
        cells, self._cells = self._cells.take(over), self._cells.take(~over)
        self._clocks.close(np.zeros(len(cells), np.int32), cells.number)
        with np.errstate(over="ignore"):
            score = {"value": cells.high, "lowest": -cells.low, "change": cells.high - cells.low}[self._config.by]
        order = np.lexsort((cells.samples.point, -score, cells.number))
        starts = group_starts(cells.number)
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        out = cells.samples.take(np.sort(order[rank < self._config.k]))
        total = int(cells.count.sum())
        self.counts.queued -= total
        self.counts.filtered += total - len(out)
        return out

    def snapshot(self) -> State:
        """The open intervals."""
        self._fold()
        cells = self._cells
        return {
            "clocks": self._clocks.snapshot(),
            "number": cells.number.copy(),
            "low": cells.low.copy(),
            "high": cells.high.copy(),
            "count": cells.count.copy(),
            "point": cells.samples.point.copy(),
            "time": cells.samples.time.copy(),
            "value": cells.samples.value.copy(),
            "quality": cells.samples.quality.copy(),
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._clocks.restore(state["clocks"])
        self._clocks.grow(1)
        samples = Frame(state["point"], state["time"], state["value"], state["quality"])
        self._parts = []
        self._cells = Cells(state["number"], samples, state["low"], state["high"], state["count"])
