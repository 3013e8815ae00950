"""The operator of ``merge``: partial results of windows, joined to one result."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
import numpy as np

from gateway import quality as q
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Merge as Rule
from pipelines.base import Operator, State, StateClass, grown
from pipelines.operators.aggregate.ddsketch import Bins
from pipelines.operators.aggregate.groups import NONE, Over, Targets
from pipelines.operators.aggregate.merge import LatePartial, MergeConfig
from pipelines.operators.aggregate.merge_kept import Kept
from pipelines.operators.aggregate.window_cells import Cells, Keep
from pipelines.operators.aggregate.window_clock import PointClocks
from pipelines.operators.aggregate.window_keep import keep_for, resolution
from pipelines.operators.aggregate.window_partials import Share, What, bins_for, partials, share_of
from pipelines.operators.aggregate.window_results import Wanted, results
from pipelines.operators.facts import Facts
from pipelines.operators.reduce.tally import by_bin

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Times, Values
    from gateway.point import Point
    from pipelines.base import Points
    from pipelines.operators.aggregate.window_cells import Closed

_GRID_NS: Final = 1_000_000
"""Windows end at whole milliseconds."""
_LARGEST: Final = 2.0**62
_TIMES: Final = 16
"""Within the time for corrections it is looked so many times what need not be kept any more."""
_EXTREMES: Final = {What.MIN: np.minimum, What.MAX: np.maximum}


class Merge(Operator):
    """See :class:`~pipelines.operators.aggregate.merge.MergeConfig`."""

    state_class: ClassVar[StateClass] = StateClass.WINDOW_MERGEABLE
    merges: ClassVar[bool] = True
    joins: ClassVar[bool] = True

    def __init__(self, config: MergeConfig, points: Points) -> None:
        super().__init__()
        self._config, self._points = config, points
        self._sources = _Sources(points, config)
        self._bins = Bins(config.relative_error)
        keep = keep_for(
            config.stats,
            {"told", "parts", "seen"},
            exact=True,
            keep=Keep([], bins=self._bins, edges=np.zeros(1)),
        )
        self._cells = Cells(keep, Facts(points, 1, resolution))
        self._clocks = PointClocks()
        self._all = config.late in {LatePartial.PARTIAL, LatePartial.CORRECTION}
        """Whether each partial result comes into its window, however late or early it is."""
        self._kept = Kept(self._cells) if config.late is LatePartial.CORRECTION else None
        self._now_ns = self._swept_ns = 0
        self._wanted = Wanted(
            stats=config.stats,
            bins=self._bins,
            exact=self._cells.exact,
            sources=config.sources or 0,
        )

    def process(self, frame: Frame) -> Frame:
        """What is no partial result, and late ones under the policy ``pass``."""
        if not len(frame):
            return EMPTY
        self._sources.learn()
        rows = self._sources.rows(frame.point)
        mine = rows != NONE
        if mine.all():
            return self._take(frame, rows)
        return concat([frame.take(~mine), self._take(frame.take(mine), rows[mine])])

    def _take(self, frame: Frame, rows: Ids) -> Frame:
        if not len(frame):
            return EMPTY
        off = frame.time % _GRID_NS != 0
        self.counts.drop("no-window", int(np.count_nonzero(off)))
        wild = self._clocks.early(rows[~off], frame.time[~off])
        if wild is not None and not self._all:
            self.counts.drop("early", int(np.count_nonzero(wild)))
            off[np.flatnonzero(~off)[wild]] = True
        if off.any():
            frame, rows = frame.take(~off), rows[~off]
        numbers = frame.time // _GRID_NS
        late = self._clocks.late(rows, numbers)
        if wild is not None and self._all:  # waits for its time, and moves nothing
            self.counts.reasons["early"] += int(np.count_nonzero(wild))
            self._clocks.see(rows[~wild], frame.time[~wild])
        else:
            self._clocks.see(rows, frame.time)
        passed = EMPTY
        if late.any():
            gone, passed = self._treat_late(frame, rows, late)
            frame, rows, numbers = frame.take(~gone), rows[~gone], numbers[~gone]
        self._add(frame, self._cells.slots(rows, numbers))
        self.counts.queued += len(frame)
        return passed

    def _treat_late(self, frame: Frame, rows: Ids, late: Mask) -> tuple[Mask, Frame]:
        """Which samples do not go into a window, [n], and what passes."""
        n = int(np.count_nonzero(late))
        if self._config.late is LatePartial.DROP:
            self.counts.drop("late", n)
            return late, EMPTY
        self.counts.reasons["late"] += n
        if self._config.late is LatePartial.PASS:
            return late, frame.take(late)
        gone = late & self._over(rows, frame.time // _GRID_NS)
        self.counts.drop("too-late", int(np.count_nonzero(gone)))
        return gone, EMPTY

    def _over(self, rows: Ids, numbers: Times) -> Mask:
        """Which windows cannot be corrected any more, [n]: by their group's time and by that of ticks, too.

        One source with a wild date may carry the time of its group away; that takes nothing from the others.
        """
        if self._kept is None:
            return np.zeros(len(rows), np.bool_)
        self._clocks.grow(int(rows.max(initial=-1)) + 1)
        wait = self._config.lateness.ns + self._config.corrections.ns
        return numbers <= np.minimum(self._clocks.marks(wait)[rows], self._now_ns - wait) // _GRID_NS

    def _add(self, frame: Frame, slots: Index) -> None:
        """Join partial results, [n], to their cells, [n]."""
        np.add.at(self._cells.raw("told"), slots, 1)
        usable = ~np.isnan(frame.value) & ~q.is_invalid(frame.quality)
        severity = np.where(usable, q.severity(frame.quality), 3).astype(np.uint32)
        self._cells.mark(slots, severity, frame)
        if not usable.all():
            frame, slots = frame.take(usable), slots[usable]
        for share, where in self._sources.shares(frame.point):
            self._add_share(share, slots[where], frame.value[where])

    def _add_share(self, share: Share, slots: Index, value: Values) -> None:
        cells = self._cells
        np.bitwise_or.at(cells.raw("seen"), slots, share.seen)
        whole = np.rint(np.clip(value, -_LARGEST, _LARGEST)).astype(np.int64)
        if share.what in {What.COUNT, What.REJECTED}:
            np.add.at(cells.raw(share.what), slots, whole)
        if share.what in {What.COUNT, What.PARTS}:
            np.add.at(cells.raw("parts"), slots, 1 if share.what is What.COUNT else whole - 1)
        if share.what in _EXTREMES and share.what in cells.names:
            _EXTREMES[share.what].at(cells.raw(share.what), slots, value)
        if share.slice is not None and cells.exact is not None:
            cells.exact.add_slices(slots, share.slice, value)
        if share.what is What.HISTOGRAM and cells.histograms is not None:
            cells.histograms.count(slots, np.full(len(slots), share.number), whole)
        if share.what is What.BIN and cells.sketches is not None:
            cells.sketches.count(slots, np.full(len(slots), self._bin(share)), whole)

    def _bin(self, share: Share) -> int:
        """The bin here for one of a sketch, which may have another error."""
        theirs = bins_for(share.accuracy)
        if share.accuracy == self._bins.accuracy:
            return share.number + theirs.steps
        return int(self._bins.of(theirs.values(np.array([share.number + theirs.steps])))[0])

    def tick(self, now_ns: int) -> Frame:
        """The results of windows that waited long enough."""
        self._clocks.tick(now_ns)
        self._now_ns = max(now_ns, self._now_ns)
        if self._kept is not None and self._now_ns - self._swept_ns > self._config.corrections.ns // _TIMES:
            self._kept.forget(self._over)
            self._swept_ns = self._now_ns
        if not len(self._cells):
            return EMPTY
        marks = self._clocks.marks(self._config.lateness.ns)[self._cells.column("point")]
        return self._close(self._cells.column("number") <= marks // _GRID_NS)

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The results of all windows; event time starts anew."""
        del delta_ns
        frame = self._close(np.ones(len(self._cells), np.bool_))
        self._clocks.reset()
        return frame

    def _close(self, chosen: Mask) -> Frame:
        if not chosen.any():
            return EMPTY
        if self._kept is not None:
            self._kept.recall(np.flatnonzero(chosen))
        closed = self._cells.pop(chosen)
        inputs = int(closed.columns["told"].sum())
        self.counts.queued -= inputs
        self.counts.aggregated += inputs
        self._clocks.close(closed.columns["point"], closed.columns["number"])
        if self._kept is not None:
            again = self._kept.has(closed.columns["point"], closed.columns["number"])
            self.counts.reasons["corrected"] += int(np.count_nonzero(again))
            self._kept.add(closed)
            closed = closed.marked(again)
        frame = self._results(closed, closed.columns["number"] * _GRID_NS)
        self.counts.derived += len(frame)
        return frame

    def _results(self, closed: Closed, end: Times) -> Frame:
        if self._config.partial:
            return partials(self._sources.targets, self._wanted, closed, end)
        return results(self._sources.targets, self._wanted, closed, np.zeros(len(closed), np.int64), end)

    def snapshot(self) -> State:
        """Windows that wait or are kept, and how far their groups have come."""
        targets = self._sources.targets.snapshot()
        state = {"targets": targets, "clocks": self._clocks.snapshot(), **self._cells.snapshot()}
        if self._kept is not None:
            state |= {"kept": self._kept.snapshot(), "now": self._now_ns, "swept": self._swept_ns}
        return state

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._sources.restore(state["targets"])
        self._clocks.restore(state["clocks"])
        self._cells.restore(state)
        if self._kept is not None:
            self._kept.restore(state["kept"])
            self._now_ns, self._swept_ns = state["now"], state["swept"]


class _Sources:
    """What each point is a share of, and of which group."""

    def __init__(self, points: Points, config: MergeConfig) -> None:
        self._points = points
        self._over = None if config.over is None else Over(config.over, config.name)
        self.targets = Targets(points)
        self._known = 0
        self._row = np.empty(0, np.int32)
        self._share = np.empty(0, np.int64)
        """Number of the share of each point, by point id; shares of one kind have one number."""
        self._shares: list[Share] = []
        self._numbers: dict[Share, int] = {}
        self._sure: set[int] = set()
        """Rows of which an extreme told what the point is like; others know a sum at best."""

    def rows(self, ids: Ids) -> Ids:
        """The group of each sample's point, [n]; ``NONE`` of :mod:`~pipelines.operators.aggregate.groups`: no share."""
        found: Ids = self._row[ids]
        return found

    def shares(self, ids: Ids) -> list[tuple[Share, Index]]:
        """The shares among points, [n], and where they are."""
        places = np.arange(len(ids))
        return [(self._shares[kind], where) for kind, where, _ in by_bin(places, self._share[ids], places)]

    def learn(self) -> None:
        """Look at the names of points that are new."""
        total = len(self._points)
        if total <= self._known:
            return
        self._row, self._share = grown(self._row, total, NONE), grown(self._share, total)
        for point_id in range(self._known, total):
            share = share_of(self._points.name(point_id))
            if share is not None:
                self._learn(point_id, self._points.point(point_id), share)
        self._known = total

    def _learn(self, point_id: int, point: Point, share: Share) -> None:

        group = (share.base, point.labels) if self._over is None else self._over.name(point, share.base)
        if group is None:
            return
        name, labels = group
        plain = msgspec.structs.replace(share, base="")
        number = self._numbers.setdefault(plain, len(self._shares))
        if number == len(self._shares):
            self._shares.append(plain)
        like = msgspec.structs.replace(point, name=name, merge=Rule.LAST, labels=labels)
        row = self.targets.row(msgspec.structs.replace(like, unit="", limits=None, resolution=None))
        self._row[point_id], self._share[point_id] = row, number
        extreme = share.what in _EXTREMES
        if extreme or (share.what is What.SLICE and share.slice is not None and not share.slice.square):
            self._tell(row, like, extreme=extreme)

    def _tell(self, row: int, like: Point, *, extreme: bool) -> None:
        if extreme and row not in self._sure:
            self._sure.add(row)
            self.targets.forget(row)
        if extreme or row not in self._sure:
            self.targets.tell(like)

    def restore(self, names: list[str]) -> None:
        """Go on with groups of these names."""
        self.targets.restore(names)
        self._known = 0
        self._sure.clear()
