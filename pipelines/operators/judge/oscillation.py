"""``oscillation``: values that go up and down too often are marked or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.bounds import Bound
from pipelines.operators.judge.judging import Amount, check_amount, check_span, judged, longer
from pipelines.operators.judge.limits import Action
from pipelines.operators.judge.succession import Succession
from pipelines.operators.reduce.news import Tolerance, around

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Mask, Times
    from pipelines.base import Points
    from pipelines.operators.judge.succession import Steps

_NEVER: Final = -(1 << 63)
Signs = npt.NDArray[np.int8]


class OscillationConfig(OperatorConfig, frozen=True, kw_only=True):
    """A value that changes its direction more than ``turns`` times ``within`` a time is oscillating.

    A movement is a difference of more than ``band`` between two samples one behind the other in source time; a turn
    is a movement up behind one down, or down behind one up, whatever small ones lie between. As long as there were
    more turns than ``turns`` in the time up to a sample, it is marked: at least questionable with the flag
    oscillatory (IEC 61850-7-3). For states, every change is a movement; a contact that chatters is what the standard
    means. Samples out of order or without a value pass untouched.

    Example::

        steps:
          - oscillation: {turns: 10, within: 1m, band: 2%, points: "*/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"turns": 1, "within": "5s"},
        {"turns": 2, "within": "10s", "band": "5%", "action": "drop"},
    )

    turns: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    """Turns that are still in order."""
    within: Duration = Duration(60)
    """The time in which they are counted, up to each sample."""
    band: Amount = 0.0
    """Largest difference that is no movement: in the point's unit, or in percent (``2%``) of the range that the
    point's ``limits`` span, without limits of the value before."""
    action: Action = Action.MARK
    """``mark`` keeps the suspects with a worse quality, ``drop`` removes them."""

    def __post_init__(self) -> None:
        check_span("within", self.within)
        check_amount("band", self.band)

    def create(self, points: Points) -> Oscillation:
        """The operator for these options."""
        return Oscillation(self, points)


class Oscillation(Operator):
    """See :class:`OscillationConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: OscillationConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._n = config.turns + 1
        self._within_ns = config.within.ns
        self._action = config.action
        bound = Bound.parse(config.band)
        self._band = Tolerance(points, absolute=bound.absolute, percent=bound.percent, silence_ns=0)
        self._last = Succession(points, states=True)
        self._sign: Signs = np.empty(0, np.int8)
        """Of the last movement of each point; 0 if there was none."""
        self._turned: Times = np.empty((0, self._n), np.int64)
        """When each point turned last, oldest first; ``_NEVER`` where it did not."""

    def process(self, frame: Frame) -> Frame:
        """All samples, those of oscillating points marked; or without those."""
        steps = self._last.follow(frame)
        if steps is None:
            return frame
        self._grow()
        oldest = self._singles(steps) if steps.single else self._runs(steps)
        found = (oldest != _NEVER) & ~longer(steps.time, oldest, self._within_ns)
        if not found.any():
            return frame
        return judged(frame, steps.found(found), q.OSCILLATORY, self._action, self.counts, "oscillation")

    def _moved(self, steps: Steps) -> tuple[Mask, Signs]:
        """Where there is a movement, and which way each sample lies from the one before it, [k]."""
        with np.errstate(invalid="ignore", over="ignore"):
            rise = steps.value - steps.before_value  # a NaN where a point begins, which is no movement
            moved = np.abs(rise) > around(steps.before_value, *self._band.widths(steps.ids))
        return moved, np.where(rise > 0, np.int8(1), np.int8(-1))

    def _singles(self, steps: Steps) -> Times:
        """The time of the turn by which there are too many, up to each sample, [k]; one sample a point."""
        ids = steps.ids
        moved, sign = self._moved(steps)
        before = self._sign[ids]
        if steps.fresh is not None:
            before[steps.fresh] = 0
            self._turned[ids[steps.fresh]] = _NEVER
        self._sign[ids] = np.where(moved, sign, before)
        at = np.flatnonzero(moved & (sign == -before))
        if len(at):
            turned = self._turned[ids[at]]
            turned[:, :-1] = turned[:, 1:]
            turned[:, -1] = steps.time[at]
            self._turned[ids[at]] = turned
        oldest: Times = self._turned[ids, 0]
        return oldest

    def _runs(self, steps: Steps) -> Times:
        """The same where points have several samples."""
        begins = np.ones(len(steps), np.bool_)
        begins[1:] = steps.ids[1:] != steps.ids[:-1]
        if steps.fresh is not None:
            begins |= steps.fresh
        starts = np.flatnonzero(begins)
        run = np.cumsum(begins) - 1
        first = steps.ids[starts]
        goes_on = np.ones(len(starts), np.bool_) if steps.fresh is None else ~steps.fresh[starts]
        turn = self._turns(steps, run, first, goes_on)
        past = self._turned[first]
        past[~goes_on] = _NEVER
        if not turn.any():
            self._turned[first] = past
            column: Times = past[run, 0]
            return column
        return self._with_turns(steps, turn, past, run, starts)

    def _turns(self, steps: Steps, run: Index, first: Ids, goes_on: Mask) -> Mask:
        """Where a point turned, [k]."""
        moved, signs = self._moved(steps)
        at = np.flatnonzero(moved)
        sign = signs[at]
        before = np.where(goes_on, self._sign[first], 0)
        same = np.zeros(len(at), np.bool_)
        same[1:] = run[at[1:]] == run[at[:-1]]
        previous = before[run[at]]
        previous[same] = sign[:-1][same[1:]]
        before[run[at]] = sign  # of several the last assignment stays: of movements, and of runs of a point
        self._sign[first] = before
        turn = np.zeros(len(steps), np.bool_)
        turn[at] = (previous != 0) & (previous != sign)
        return turn

    def _with_turns(self, steps: Steps, turn: Mask, past: Times, run: Index, starts: Index) -> Times:
        """Behind the turns that each run begins with stand its own, in one array; n back from each sample."""
        total = np.cumsum(turn)
        before: Index = total[starts] - turn[starts]
        so_far: Index = total - before[run]
        count = np.add.reduceat(turn.astype(np.int64), starts)
        base = np.arange(len(starts)) * self._n + before
        flat = np.empty(len(starts) * self._n + int(total[-1]), np.int64)
        flat[base[:, None] + np.arange(self._n)] = past
        places = np.flatnonzero(turn)
        flat[base[run[places]] + self._n + so_far[places] - 1] = steps.time[places]
        self._turned[steps.ids[starts]] = flat[(base + count)[:, None] + np.arange(self._n)]
        oldest: Times = flat[base[run] + so_far]
        return oldest

    def _grow(self) -> None:
        if len(self._points) > len(self._sign):
            self._sign = grown(self._sign, len(self._points))
            self._turned = grown(self._turned, len(self._points), _NEVER)

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Sources' times may have jumped with the clock: every point begins anew."""
        self._last.forget()
        return super().clock_stepped(delta_ns)

    def snapshot(self) -> State:
        """The last sample of each point, which way it went, and when it turned."""
        last = self._last.snapshot()
        known = last["point"]
        return {"last": last, "sign": self._sign[known], "turned": self._turned[known]}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._last.restore(state["last"])
        self._grow()
        known = state["last"]["point"]
        self._sign[known], self._turned[known] = state["sign"], state["turned"]
