"""``merge``: partial results of windows, joined to one result."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Merge as Rule
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.aggregate.ddsketch import Bins
from pipelines.operators.aggregate.groups import NONE, Over, Targets, check_over
from pipelines.operators.aggregate.window import MERGEABLE, STATS, Stat, check_stats
from pipelines.operators.aggregate.window_cells import Cells, Keep
from pipelines.operators.aggregate.window_clock import PointClocks
from pipelines.operators.aggregate.window_operator import keep_for, resolution
from pipelines.operators.aggregate.window_partials import Share, What, bins_for, partials, share_of
from pipelines.operators.aggregate.window_results import Wanted, results
from pipelines.operators.facts import Facts
from pipelines.operators.reduce.tally import by_bin

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Times, Values
    from gateway.point import Point
    from pipelines.base import Points
    from pipelines.operators.aggregate.window_cells import Closed

_KNOWN: Final = tuple(stat for stat in STATS if stat in MERGEABLE)
_GRID_NS: Final = 1_000_000
"""Windows end at whole milliseconds."""
_LARGEST: Final = 2.0**62
_EXTREMES: Final = {What.MIN: np.minimum, What.MAX: np.maximum}


class LatePartial(enum.StrEnum):
    """What becomes of a partial result whose window was given already."""

    DROP = "drop"
    PASS = "pass"  # noqa: S105 - a policy, not a password


class MergeConfig(OperatorConfig, frozen=True, kw_only=True):
    """Joins partial results of windows (``window: {partial: true}``) of any number of sources.

    Partial results of one name and time are added up, and with ``over`` those of a group of names, say of the gateways
    below: ``*/{device}/power``. A window is given when its end lies ``lateness`` behind the newest partial result of
    its group and, while none comes, the gateway's clock. Whatever the tree of ``merge`` steps that computed it, the
    result has the same bits: counts, sums and bins are whole numbers. Samples of other points pass.

    All windows and merges of a tree are given the same ``stats``; what a partial result lacks has no value here. See
    :mod:`pipelines.operators.aggregate.window_partials` for what travels.

    Example::

        steps:
          - merge: {stats: [count, mean, stddev, p95], over: "*/{device}/power", name: "site/{device}/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"stats": ["count", "sum", "mean", "min", "max", "stddev", "p50", "histogram"]},
        {"stats": ["count", "p95"], "partial": True, "over": "all", "name": "site/all", "lateness": "1s"},
        {"stats": ["coverage"], "sources": 2, "late": "pass", "over": "label area", "name": "{area}"},
    )

    stats: tuple[Stat, ...] = ("count", "mean", "min", "max")
    """Which results, in this order: ``count``, ``sum``, ``mean``, ``min``, ``max``, ``range``, ``variance``,
    ``stddev``, ``histogram``, ``coverage``, and quantiles such as ``p95``."""
    lateness: Duration = Duration(30)
    """How long a window waits for partial results after the first that is as new or newer."""
    late: LatePartial = LatePartial.DROP
    """Partial results that come later: ``drop`` them, or ``pass`` them on as they are. Counted as ``late`` in both
    cases."""
    sources: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many windows a result is made of when nothing is missing; ``coverage`` is less where some are."""
    relative_error: Annotated[float, msgspec.Meta(ge=0.0001, le=0.2)] = 0.01
    """Of quantiles, as in the windows. Sketches of another error are taken over into this one, where errors add up."""
    over: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Join over groups of names: ``device``, ``label area`` (or another label), ``all``, or a glob in which words stand
    for parts of the name: ``"*/{device}/power"``. Left out: only what has one name."""
    name: str = ""
    """What a group's points are called, with the words of ``over``: ``site/{device}/power``."""
    partial: bool = False
    """Emit partial results again, for a ``merge`` further up."""

    def __post_init__(self) -> None:
        check_stats(self.stats, _KNOWN)
        check_over(self.over, self.name)
        if self.sources is not None and self.partial:
            raise FieldError("sources", "is for the last merge, not for one that gives partial results again")

    def create(self, points: Points) -> Merge:
        """The operator for these options."""
        return Merge(self, points)


class Merge(Operator):
    """See :class:`MergeConfig`."""

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
        if wild is not None:
            self.counts.drop("early", int(np.count_nonzero(wild)))
            off[np.flatnonzero(~off)[wild]] = True
        if off.any():
            frame, rows = frame.take(~off), rows[~off]
        numbers = frame.time // _GRID_NS
        late = self._clocks.late(rows, numbers)
        self._clocks.see(rows, frame.time)
        passed = EMPTY
        if late.any():
            passed = self._treat_late(frame.take(late))
            frame, rows, numbers = frame.take(~late), rows[~late], numbers[~late]
        self._add(frame, self._cells.slots(rows, numbers))
        self.counts.queued += len(frame)
        return passed

    def _treat_late(self, late: Frame) -> Frame:
        if self._config.late is LatePartial.DROP:
            self.counts.drop("late", len(late))
            return EMPTY
        self.counts.reasons["late"] += len(late)
        return late

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
        closed = self._cells.pop(chosen)
        inputs = int(closed.columns["told"].sum())
        self.counts.queued -= inputs
        self.counts.aggregated += inputs
        self._clocks.close(closed.columns["point"], closed.columns["number"])
        frame = self._results(closed, closed.columns["number"] * _GRID_NS)
        self.counts.derived += len(frame)
        return frame

    def _results(self, closed: Closed, end: Times) -> Frame:

        if self._config.partial:
            return partials(self._sources.targets, self._wanted, closed, end)
        return results(self._sources.targets, self._wanted, closed, np.zeros(len(closed), np.int64), end)

    def snapshot(self) -> State:
        """Windows that wait, and how far their groups have come."""
        targets = self._sources.targets.snapshot()
        return {"targets": targets, "clocks": self._clocks.snapshot(), **self._cells.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._sources.restore(state["targets"])
        self._clocks.restore(state["clocks"])
        self._cells.restore(state)


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
