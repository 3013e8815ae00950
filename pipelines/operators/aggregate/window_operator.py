"""The operator of ``window``: from samples to the results of windows that close."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway.frame import EMPTY, concat
from pipelines.base import Operator, State, StateClass
from pipelines.operators.aggregate.ddsketch import Bins
from pipelines.operators.aggregate.groups import NONE, Groups, Names, Over
from pipelines.operators.aggregate.window import ORDERED, Late
from pipelines.operators.aggregate.window_calendar import windows_of
from pipelines.operators.aggregate.window_cells import ABOVE, Cells, Closed, Keep
from pipelines.operators.aggregate.window_clock import PointClocks
from pipelines.operators.aggregate.window_keep import keep_for, resolution
from pipelines.operators.aggregate.window_order import Holds, Pieces, Runs, Waiting
from pipelines.operators.aggregate.window_partials import partials
from pipelines.operators.aggregate.window_results import SECOND_NS, Wanted, results
from pipelines.operators.aggregate.window_states import States
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Mask, Times
    from pipelines.base import Points
    from pipelines.operators.aggregate.window import WindowConfig


class Window(Operator):
    """See :class:`~pipelines.operators.aggregate.window.WindowConfig`."""

    state_class: ClassVar[StateClass] = StateClass.WINDOW_MERGEABLE
    merges: ClassVar[bool] = True

    def __init__(self, config: WindowConfig, points: Points) -> None:
        super().__init__()
        self._config, self._points = config, points
        self._lateness_ns = config.lateness.ns
        self._groups = None
        if config.over is not None:
            self._groups = Groups(points, Over(config.over, config.name), derived=config.names_derived)
        self._names: Names = Names(points) if self._groups is None else self._groups
        pane = config.every if config.slide is None else config.slide
        self._panes = round(config.every.ns / pane.ns)
        """Panes of a window; 1 where windows do not overlap."""
        self._windows = windows_of(config.timezone or "UTC", pane.ns, config.months or 0)
        self._clocks = PointClocks()
        bins = Bins(config.relative_error)
        self._all = config.late is Late.PARTIAL
        """Whether each sample comes into its window, however late or early it is."""
        self._cells = Cells(self._keep(bins), Facts(points, 1, resolution))
        self._again = Cells(self._keep(bins), Facts(points, 1, resolution)) if self._all and self._panes > 1 else None
        """Late samples once more, for those windows of their pane that have closed."""
        self._waiting = Waiting() if config.ordered else None
        session = 0 if config.session is None else config.session.ns
        self._runs = Runs(session, config.count or 0) if config.runs else None
        self._holds = None
        if not ORDERED.isdisjoint(config.stats):
            hold = 0 if config.hold is None else config.hold.ns
            self._holds = Holds(None if config.runs else self._windows, hold)
        self._states = States(points, config.above)
        self._wanted = Wanted(
            stats=config.stats,
            expect_ns=0 if config.expect is None else config.expect.ns,
            by_time=self._holds is not None and config.over is None,
            bins=bins,
            histogram=[*range(len(config.edges)), ABOVE],
            exact=self._cells.exact,
            texts=self._states.texts,
        )

    def _keep(self, bins: Bins) -> Keep:
        config = self._config
        needs = {"span"} if config.runs else set[str]()
        if config.late is Late.CORRECTION:
            needs.add("told")
        if config.partial and any(stat.startswith("p") for stat in config.stats):
            needs |= {"min", "max"}
        edges = np.array(config.edges) if config.edges else None
        exact = config.partial or config.over is not None
        return keep_for(config.stats, needs, exact=exact, keep=Keep([], bins=bins, edges=edges))

    # samples

    def process(self, frame: Frame) -> Frame:
        """Nothing, but for late samples under the policy ``pass``, and points that belong to no group."""
        if not len(frame):
            return EMPTY
        if self._groups is None:
            return self._take(frame, frame.point)
        rows = self._groups.rows(frame.point)
        foreign = rows == NONE
        if not foreign.any():
            return self._take(frame, rows)
        return concat([frame.take(foreign), self._take(frame.take(~foreign), rows[~foreign])])

    def _take(self, frame: Frame, rows: Ids) -> Frame:
        wild = self._clocks.early(rows, frame.time)
        if wild is not None and self._all:
            self.counts.reasons["early"] += int(np.count_nonzero(wild))
        elif wild is not None:
            self.counts.drop("early", int(np.count_nonzero(wild)))
            frame, rows, wild = frame.take(~wild), rows[~wild], None
        if self._runs is not None:
            return self._take_in_order(frame, rows)
        numbers = self._windows.number(frame.time)
        late = self._clocks.late(rows, numbers)
        if wild is None:
            self._clocks.see(rows, frame.time)
        else:  # what is dated wildly waits for its time and moves nothing
            self._clocks.see(rows[~wild], frame.time[~wild])
        passed = EMPTY
        if late.any():
            frame, rows, numbers, late, passed = self._treat_late(frame, rows, numbers, late)
        grouped = frame if self._groups is None else frame.replace(point=rows)
        self._cells.add(grouped, numbers, frame.point)
        self.counts.queued += len(frame)
        if self._waiting is not None:
            self._wait(frame, rows, late)
        return passed

    def _treat_late(self, frame: Frame, rows: Ids, numbers: Times, late: Mask) -> tuple[Frame, Ids, Times, Mask, Frame]:
        """What goes into windows: samples, rows, into which, and which of them are late; and what passes."""
        n, rule = int(np.count_nonzero(late)), self._config.late
        if rule is Late.PARTIAL:
            self.counts.reasons["late"] += n
            if self._again is not None:
                grouped = frame if self._groups is None else frame.replace(point=rows)
                self._again.add(grouped.take(late), numbers[late], frame.point[late])
            return frame, rows, numbers, late, EMPTY
        if rule is Late.NEXT:
            self.counts.reasons["late"] += n
            return frame, rows, np.where(late, self._clocks.first_open(rows), numbers), late, EMPTY
        passed, gone = EMPTY, late
        if rule is Late.DROP:
            self.counts.drop("late", n)
        elif rule is Late.PASS:
            self.counts.reasons["late"] += n
            passed = frame.take(late)
        else:
            gone = late & (numbers < self._open(rows, self._config.corrections.ns))
            self.counts.reasons["late"] += n
            self.counts.drop("too-late", int(np.count_nonzero(gone)))
        kept = ~gone
        return frame.take(kept), rows[kept], numbers[kept], late[kept], passed

    def _wait(self, frame: Frame, rows: Ids, late: Mask) -> None:
        """Keep samples for what is in the order of time, too."""
        assert self._waiting is not None
        behind = self._waiting.late(rows, frame.time) & ~late
        if behind.any():
            self.counts.reasons["out-of-order"] += int(np.count_nonzero(behind))
        out = behind | late
        if out.any():
            frame, rows = frame.take(~out), rows[~out]
        self._waiting.hold(frame, rows)

    def _take_in_order(self, frame: Frame, rows: Ids) -> Frame:
        """Samples that make windows themselves, once they are settled."""
        assert self._waiting is not None
        late = self._waiting.late(rows, frame.time)
        self._clocks.see(rows, frame.time)
        passed = EMPTY
        if late.any():
            n = int(np.count_nonzero(late))
            if self._config.late is Late.PASS:
                self.counts.reasons["late"] += n
                passed = frame.take(late)
            else:
                self.counts.drop("late", n)
            frame, rows = frame.take(~late), rows[~late]
        self._waiting.hold(frame, rows)
        self.counts.queued += len(frame)
        return passed

    # time

    def tick(self, now_ns: int) -> Frame:
        """The results of the windows that close."""
        self._clocks.tick(now_ns)
        if self._waiting is not None:
            self._settle()
        if self._again is not None and len(self._again):
            return concat([self._give_again(self._again), self._close_due()])
        return self._close_due()

    def _close_due(self) -> Frame:
        if self._runs is None and not self._any_due():
            return EMPTY
        if not len(self._cells):
            return EMPTY
        rows, numbers = self._cells.column("point"), self._cells.column("number")
        if self._runs is not None:
            due = self._runs.open(rows, self._clocks.marks(self._lateness_ns)[rows])
        else:
            due = self._open(rows)
        if self._panes > 1:
            return self._slide(due)
        if self._config.late is Late.CORRECTION:
            return self._correct(due)
        return self._close(numbers < due)

    def _any_due(self) -> bool:
        """Whether there may be a window that closes: seldom, and then no cell need be looked at."""
        latest = np.array([self._clocks.latest(self._lateness_ns)])
        return self._cells.lowest < int(self._windows.number(latest)[0])

    def _open(self, rows: Ids, more_ns: int = 0) -> Times:
        """For each row the number of the first window that has to stay open, [n]."""
        return self._windows.number(self._clocks.marks(self._lateness_ns + more_ns)[rows])

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The results of all open windows; event time starts anew."""
        del delta_ns
        if self._waiting is not None:
            self._settle(everything=True)
        again = EMPTY if self._again is None else self._give_again(self._again)
        rows, numbers = self._cells.column("point"), self._cells.column("number")
        if self._panes > 1 and self._all:  # every window that a pane is in: the rest of it comes as another partial
            frame = concat([again, self._slide(numbers + self._panes, everything=True)])
        elif self._panes > 1:
            newest = np.zeros(int(rows.max(initial=-1)) + 1, np.int64)
            newest[:] = np.iinfo(np.int64).min
            np.maximum.at(newest, rows, numbers)
            frame = self._slide(newest[rows] + 1, everything=True)
        elif self._config.late is Late.CORRECTION:
            frame = self._correct(numbers + 1, everything=True)
        else:
            frame = self._close(np.ones(len(self._cells), np.bool_))
        self._clocks.reset()
        if self._runs is not None:
            self._runs.reset()
        return frame

    def _settle(self, *, everything: bool = False) -> None:
        """Go on with the samples that wait, up to the watermarks."""
        assert self._waiting is not None
        marks = self._clocks.marks(0 if everything else self._lateness_ns)
        frame, rows = self._waiting.flush() if everything else self._waiting.settle(marks)
        numbers = None
        if self._runs is not None and len(frame):
            numbers = self._runs.numbers(rows, frame.time)
            grouped = frame if self._groups is None else frame.replace(point=rows)
            self._cells.add(grouped, numbers, frame.point)
        if self._holds is None:
            return
        edges = marks
        if self._runs is None and not everything:
            edges = self._windows.start(self._windows.number(marks))
        self._hold(self._holds.settle(frame, rows, numbers, edges))
        if everything:
            self._holds.reset()

    def _hold(self, pieces: Pieces) -> None:
        """Add for how long values were in force."""
        if not len(pieces.row):
            return
        slots = self._cells.slots(pieces.row, pieces.number)
        np.add.at(self._cells.raw("covered"), slots, pieces.span_ns)
        if "wmean" in self._config.stats:
            with np.errstate(over="ignore", invalid="ignore"):
                np.add.at(self._cells.raw("integral"), slots, pieces.value * (pieces.span_ns / SECOND_NS))
        if self._cells.durations is not None:
            number = self._states.numbers(pieces.point, pieces.value)
            told = np.flatnonzero(number >= 0)
            self._cells.durations.count(slots[told], number[told], pieces.span_ns[told])

    # results

    def _close(self, chosen: Mask) -> Frame:
        if not chosen.any():
            return EMPTY
        closed = self._cells.pop(chosen)
        self._account(int((closed.columns["count"] + closed.columns["rejected"]).sum()))
        return self._give(closed, closed.columns["number"])

    def _account(self, inputs: int) -> None:
        self.counts.queued -= inputs
        self.counts.aggregated += inputs

    def _slide(self, due: Times, *, everything: bool = False) -> Frame:
        """Results of windows before ``due``, [cells], that a pane belongs to; a window goes by its last pane."""
        rows, panes = self._cells.column("point"), self._cells.column("number")
        first = np.maximum(panes, self._clocks.first_open(rows))
        frame = self._of_panes(self._cells, first, np.minimum(panes + self._panes, due))
        over = np.ones(len(rows), np.bool_) if everything else panes + self._panes <= due
        if over.any():
            gone = self._cells.column("count")[over] + self._cells.column("rejected")[over]
            self._account(int(gone.sum()))
            self._cells.drop(over)
        return frame

    def _give_again(self, late: Cells) -> Frame:
        """What late samples add to windows of their panes that had closed when they came."""
        rows, panes = late.column("point"), late.column("number")
        frame = self._of_panes(late, panes, np.minimum(panes + self._panes, self._clocks.first_open(rows)))
        late.drop(np.ones(len(rows), np.bool_))
        return frame

    def _of_panes(self, cells: Cells, first: Times, after: Times) -> Frame:
        """What panes give to the windows from ``first`` on and before ``after``, [cells]."""
        rows, panes = cells.column("point"), cells.column("number")
        many = np.maximum(after - first, 0)
        slots = np.repeat(np.arange(len(rows)), many)
        window = first[slots] + np.arange(len(slots)) - np.repeat(np.cumsum(many) - many, many)
        order = np.lexsort((panes[slots], rows[slots], window))
        slots, window = slots[order], window[order]
        if not len(slots):
            return EMPTY
        change = (window[1:] != window[:-1]) | (rows[slots[1:]] != rows[slots[:-1]])
        closed = cells.join(slots, np.concatenate([[0], np.cumsum(change)]))
        return self._give(closed, window[np.concatenate([[True], change])], cells)

    def _correct(self, due: Times, *, everything: bool = False) -> Frame:
        """Results of windows before ``due``, [cells], that have new samples; they are kept to be corrected."""
        rows, numbers = self._cells.column("point"), self._cells.column("number")
        inputs, told = self._cells.column("count") + self._cells.column("rejected"), self._cells.column("told")
        chosen = np.flatnonzero((numbers < due) & (inputs > told))
        frame = EMPTY
        if len(chosen):
            self._account(int((inputs - told)[chosen].sum()))
            told[chosen] = inputs[chosen]
            closed = self._cells.look(chosen)
            again = self._clocks.late(closed.columns["point"], closed.columns["number"])
            self.counts.reasons["corrected"] += int(np.count_nonzero(again))
            frame = self._give(closed.marked(again), closed.columns["number"])
        over = np.ones(len(rows), np.bool_) if everything else numbers < self._open(rows, self._config.corrections.ns)
        if over.any():
            self._cells.drop(over)
        return frame

    def _give(self, closed: Closed, numbers: Times, cells: Cells | None = None) -> Frame:
        """The results of windows of these numbers, [m], which other cells than the usual ones may have held."""
        if self._runs is not None:
            end = closed.columns["end"]
            length = end - closed.columns["begin"]
        else:
            self._clocks.close(closed.columns["point"], numbers)
            end = self._windows.end(numbers)
            length = self._windows.length(numbers) if self._panes == 1 else self._span(numbers)
        if self._config.partial:
            wanted = self._wanted if cells is None else replace(self._wanted, exact=cells.exact)
            frame = partials(self._names, wanted, closed, end)
        else:
            frame = results(self._names, self._wanted, closed, length, end)
        self.counts.derived += len(frame)
        return frame

    def _span(self, numbers: Times) -> Times:
        return self._windows.end(numbers) - self._windows.start(numbers - (self._panes - 1))

    # state

    def snapshot(self) -> State:
        """Open windows and how far the points have come."""
        state: State = {"clocks": self._clocks.snapshot(), **self._cells.snapshot()}
        for name, part in self._parts():
            state[name] = part.snapshot()
        if self._holds is not None:
            state |= {"holds": self._holds.snapshot(), "texts": list(self._states.texts)}
        return state

    def _parts(self) -> list[tuple[str, Any]]:
        """What has a state of its own, besides cells and clocks, by its name in snapshots."""
        parts = {"groups": self._groups, "waiting": self._waiting, "runs": self._runs, "again": self._again}
        return [(name, part) for name, part in parts.items() if part is not None]

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._clocks.restore(state["clocks"])
        self._cells.restore(state)
        for name, part in self._parts():
            part.restore(state[name])
        if self._holds is not None:
            self._holds.restore(state["holds"])
            self._states.restore(state["texts"])


class GroupedWindow(Window):
    """One that computes over groups of points."""

    joins: ClassVar[bool] = True
