"""The step behind an alert: which points are raised, and what is told when that changes.

No step that users write: each rule of ``alerts:`` becomes a pipeline of its own with this one in it. So a rule sees
what every pipeline sees, its state is in the checkpoint, and a replay of the journal tells nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import msgspec
import numpy as np

from gateway.frame import EMPTY, Frame, group_starts, grouped
from gateway.units import Duration
from pipelines.base import Glob, Operator, OperatorConfig, Selector, State, StateClass
from pipelines.operators.judge.alert_columns import FRESH, Columns, filled, shifted
from pipelines.operators.judge.alert_condition import AGAINST, FOR, Condition
from pipelines.operators.judge.alert_told import Told

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Index, Mask, Qualities, Times, Values
    from pipelines.base import Points
    from pipelines.operators.judge.alert_condition import Verdicts

    Levels = npt.NDArray[np.integer[Any]]

_LAST: Final = (1 << 63) - 1
HOUR_NS: Final = 3_600_000_000_000
CALM_NS: Final = 600_000_000_000
"""How long an alert that was raised too often must be over before it is cleared."""
AWAY_NS: Final = 10_000_000_000
"""A tick that comes so long after it was due means that the gateway itself was away: nobody was silent for that."""


PENDING: Final = 1000


class AlertStepConfig(OperatorConfig, frozen=True, kw_only=True):
    """One rule. The options are those of ``alerts:``, with all defaults filled in."""

    rule: str
    watch: tuple[Glob, ...] = ()
    """Globs of the points that are watched; empty: all that come."""
    above: float | None = None
    below: float | None = None
    equals: float | str | None = None
    differs: float | str | None = None
    invalid: bool = False
    suspect: bool = False
    absent: Duration | None = None
    hysteresis: float = 0.0
    for_: Duration = msgspec.field(default=Duration(0.0), name="for")
    clear_after: Duration = Duration(0.0)
    max_per_hour: int = 0
    level: int = 2
    """1 info, 2 warning, 3 critical."""
    text: str = ""

    @property
    def identity(self) -> str:
        """What the step is known by over changes of its options: a rule that was edited knows what it has raised."""
        return self.rule

    def create(self, points: Points) -> Alert:
        """The operator for these options."""
        return Alert(self, points)


class Open(NamedTuple):
    """A point that is on or raised."""

    point: int
    raised: bool
    turned_ns: int
    """Source time of the sample that turned it last."""
    told_ns: int
    """Time of what was told last."""
    value: float
    """Of the newest sample."""


class Alert(Operator):
    """See :class:`AlertStepConfig`. Takes all samples in (filtered), and makes those that tell (derived).

    A point is *on* while a condition holds. It is *raised* when it has been on for ``for``, and cleared when it has
    been off for ``clear_after``; both spans go by ticks, from the first one behind the sample that turned it. What is
    0 needs no tick: then each turn within a frame is told. Samples older than the newest of their point say nothing.
    """

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: AlertStepConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._condition = Condition(config, points)
        self._selector = Selector(points, list(config.watch), strictly=True) if config.watch else None
        self._told = Told(config.rule, config.text, config.level, points)
        self._level = config.level
        self._for_ns = config.for_.ns
        self._clear_ns = config.clear_after.ns
        self._absent_ns = None if config.absent is None else config.absent.ns
        self._often = config.max_per_hour or 1 << 30
        self._options = str(config)
        self._rows = Columns()
        self.pending: tuple[Open, ...] = ()
        """What is on and not raised yet, the first so many; exchanged as a whole, so that any thread may look."""
        self._now = 0
        """The last tick."""
        self._fresh = False
        """Something turned since then."""
        self._due: int | None = None

    @property
    def due_ns(self) -> int | None:
        """See the base class."""
        return 0 if self._fresh else self._due

    def process(self, frame: Frame) -> Frame:
        """What the samples raise or clear at once."""
        self.counts.filtered += len(frame)
        if self._selector is not None:
            frame = frame.take(self._selector.mask(frame.point))
        if not len(frame):
            return EMPTY
        frame = grouped(frame)
        rows, met = self._rows.find(frame.point, len(self._points))
        self._fresh |= met and self._absent_ns is not None
        recent = self._rows.recent(frame, rows, group_starts(frame.point))
        if not recent.all():
            frame, rows = frame.take(recent), rows[recent]
        return self._judge(frame, rows) if len(frame) else EMPTY

    def _judge(self, frame: Frame, rows: Index) -> Frame:
        """Samples in groups by point and in order of time; ``rows`` are those of their points, [n]."""
        starts = group_starts(frame.point)
        own, last = rows[starts], np.append(starts[1:], len(frame)) - 1
        believed = self._condition.believed(frame)
        verdict = self._condition.judge(frame, believed)
        told = np.logical_or.reduceat(verdict != AGAINST, starts)
        told |= self._rows.busy(own)
        if told.all():
            return self._turn(frame, rows, starts, verdict, believed)
        quiet = np.flatnonzero(~told)  # nearly all, nearly always
        self._note(frame.take(last[quiet]), own[quiet], np.zeros(len(quiet), np.bool_), believed[last[quiet]])
        if len(quiet) == len(own):
            return EMPTY
        left = np.repeat(told, np.diff(starts, append=len(frame)))
        frame = frame.take(left)
        return self._turn(frame, rows[left], group_starts(frame.point), verdict[left], believed[left])

    def _turn(self, frame: Frame, rows: Index, starts: Index, verdict: Verdicts, believed: Mask) -> Frame:
        """The same of points that are on or raised, or about to be."""
        columns, own, last = self._rows, rows[starts], np.append(starts[1:], len(frame)) - 1
        group = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(frame)))
        held = filled(verdict, starts, group, columns.held[own])
        heard = filled(believed.astype(np.int8), starts, group, np.zeros(len(own), np.bool_))
        on = held | (columns.gone[own][group] & ~heard)
        turned = np.flatnonzero(on != shifted(on, starts, columns.held[own] | columns.gone[own]))
        raised = self._at_once(on, starts, group, own)
        tells = np.flatnonzero(raised != shifted(raised, starts, columns.shown[own] > 0))
        self._note(frame.take(last), own, held[last], heard[last])
        if len(turned):
            columns.since[rows[turned]] = FRESH
            columns.turned[rows[turned]] = frame.time[turned]  # of several of a point the last stays
            self._fresh |= bool((on[last] != raised[last]).any())
        levels = np.where(raised[tells], self._level, 0)
        out = self._tell(rows[tells], frame.time[tells], levels, frame.value[tells], frame.quality[tells])
        if len(turned):
            self._publish()
        return out

    def _at_once(self, on: Mask, starts: Index, group: Index, own: Index) -> Mask:
        """Whether each sample's point is raised behind it, [n], as far as no tick is needed for that."""
        columns = self._rows
        raised = columns.shown[own] > 0
        stuck = raised & (columns.raises[own] >= self._often)
        verdict = np.zeros(len(on), np.int8)
        if not self._for_ns:
            verdict[on] = FOR
        if not self._clear_ns:
            verdict[~on & ~stuck[group]] = AGAINST
        found = filled(verdict, starts, group, raised)
        rises = found & ~shifted(found, starts, raised)
        if not rises.any():
            return found
        over = self._now - columns.counting[own] >= HOUR_NS
        before = np.where(over, 0, columns.raises[own])
        total = np.cumsum(rises)
        so_far = total - (total - rises)[starts][group]
        found |= so_far >= np.maximum(1, self._often - before)[group]  # too often: it stays
        rose = np.add.reduceat(found & ~shifted(found, starts, raised), starts, dtype=np.int32)
        columns.raises[own] = np.where(rose > 0, before + rose, columns.raises[own])
        columns.counting[own] = np.where((rose > 0) & over, self._now, columns.counting[own])
        return found

    def _note(self, newest: Frame, own: Index, held: Mask, heard: Mask) -> None:
        """Remember the newest sample of each point, and what holds behind it."""
        columns = self._rows
        columns.time[own], columns.value[own], columns.quality[own] = newest.time, newest.value, newest.quality
        columns.held[own] = held
        if self._absent_ns is not None:
            columns.heard[own[heard]] = self._now or FRESH
            self._fresh |= not self._now or bool(columns.gone[own[heard]].any())
            columns.gone[own[heard]] = False

    def _tell(self, rows: Index, time: Times, level: Levels, value: Values, quality: Qualities) -> Frame:
        if not len(rows):
            return EMPTY
        columns = self._rows
        time = columns.tell(rows, time)
        columns.shown[rows] = level
        out = self._told.samples(columns.ids[rows], time, level.astype(np.float64), value, quality)
        self.counts.derived += len(out)
        return out

    def tick(self, now_ns: int) -> Frame:
        """What has lasted for long enough."""
        self._now = now_ns
        if not self._fresh and (self._due is None or now_ns < self._due):
            return EMPTY
        columns = self._rows
        self._begin(now_ns)
        on, raised = columns.held | columns.gone, columns.shown > 0
        span = np.where(columns.raises >= self._often, max(self._clear_ns, CALM_NS), self._clear_ns)
        lasted = now_ns - columns.since
        rise = on & ~raised & (columns.gone | (lasted >= self._for_ns))
        clear = ~on & raised & (lasted >= span)
        other = on & raised & (columns.shown != self._level)
        self._count(np.flatnonzero(rise), now_ns)
        time = _later(columns.turned, np.where(clear, span, np.where(rise & ~columns.gone, self._for_ns, 0)))
        rows = np.flatnonzero(rise | clear | other)
        level = np.where(clear[rows], 0, self._level)
        out = self._tell(rows, time[rows], level, columns.value[rows], columns.quality[rows])
        self._due = self._next(span)
        self._publish()
        return out

    def _begin(self, now_ns: int) -> None:
        """Let spans begin at this tick, all of them anew if the gateway was away; find what has become absent."""
        columns = self._rows
        self._fresh = False
        if self._due is not None and now_ns - self._due > AWAY_NS:
            columns.heard[~columns.gone] = now_ns
            columns.since[(columns.held | columns.gone) != (columns.shown > 0)] = now_ns
        columns.since[columns.since == FRESH] = now_ns
        if self._absent_ns is None:
            columns.gone[:] = False  # the rule was changed
            return
        columns.heard[columns.heard == FRESH] = now_ns
        gone = ~columns.gone & (now_ns - columns.heard >= self._absent_ns)
        columns.gone |= gone
        turned = gone & ~columns.held
        columns.since[turned] = now_ns
        columns.turned[turned] = _later(columns.time[turned], self._absent_ns)

    def _count(self, rows: Index, now_ns: int) -> None:
        """These are raised once more."""
        columns = self._rows
        over = rows[now_ns - columns.counting[rows] >= HOUR_NS]
        columns.raises[over], columns.counting[over] = 0, now_ns
        columns.raises[rows] += 1

    def _next(self, span: Times) -> int | None:
        """When something will have lasted for long enough, if nothing comes."""
        columns = self._rows
        on, raised = columns.held | columns.gone, columns.shown > 0
        due = [columns.since[on & ~raised] + self._for_ns, (columns.since + span)[~on & raised]]
        if self._absent_ns is not None:
            due.append(columns.heard[~columns.gone] + self._absent_ns)
        return min((int(times.min()) for times in due if len(times)), default=None)

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Nothing: samples tell the time. Unless the step is taken out (a step of 0): what is raised is cleared."""
        if delta_ns:
            return EMPTY
        columns = self._rows
        rows = np.flatnonzero(columns.shown > 0)
        quiet = np.zeros(len(rows), np.int8)
        out = self._tell(rows, columns.time[rows], quiet, columns.value[rows], columns.quality[rows])
        self._rows, self._due, self._fresh, self.pending = Columns(), None, False, ()
        return out

    def open(self) -> list[Open]:
        """What is on or raised now, for who looks. Call it where the engine runs."""
        columns = self._rows
        on, raised = columns.held | columns.gone, columns.shown > 0
        return self._shown(np.flatnonzero(on | raised))

    def _publish(self) -> None:
        columns = self._rows
        waiting = np.flatnonzero((columns.held | columns.gone) & (columns.shown == 0))
        self.pending = tuple(self._shown(waiting[:PENDING]))

    def _shown(self, rows: Index) -> list[Open]:
        columns, raised = self._rows, self._rows.shown > 0
        return [
            Open(int(columns.ids[row]), bool(raised[row]), int(columns.turned[row]), int(columns.told[row]),
                 float(columns.value[row]))
            for row in rows.tolist()
        ]  # fmt: skip

    def snapshot(self) -> State:
        """What is known of each point."""
        return {
            "rows": self._rows.snapshot(),
            "now": self._now,
            "fresh": self._fresh,
            "due": -1 if self._due is None else self._due,
            "options": self._options,
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`; if the options were others, the next tick looks at everything."""
        self._rows.restore(state["rows"], len(self._points))
        self._now = state["now"]
        self._fresh = state["fresh"] or state["options"] != self._options
        self._due = None if state["due"] < 0 else state["due"]
        self._publish()


def _later(time: Times, span: Times | int) -> Times:
    """``time`` plus ``span``, [n], within what int64 can say."""
    return np.asarray(np.minimum(time, _LAST - span) + span, np.int64)
