"""``flat_line``: points that go on sending the same value are marked or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from gateway import quality as q
from gateway.frame import group_starts
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.bounds import Bound
from pipelines.operators.judge.judging import Amount, check_amount, check_span, judged, longer
from pipelines.operators.judge.limits import Action
from pipelines.operators.judge.succession import Succession, with_heads
from pipelines.operators.reduce.news import MANY_LANES, New, Runs, Tolerance, around

if TYPE_CHECKING:
    from gateway.frame import Frame, Mask, Times, Values
    from pipelines.base import Points
    from pipelines.operators.judge.succession import Steps


class FlatLineConfig(OperatorConfig, frozen=True, kw_only=True):
    """A value that stays within a band for longer than ``for``, while samples keep coming, is suspect.

    The flat stretch begins with a sample; it lasts as long as all later ones lie within ``band`` of that one, and
    the first sample outside begins the next. Samples that come more than ``for`` after its beginning are marked: at
    least questionable with the flag old-data (IEC 61850-7-3: no update within a time; the sender repeats an old
    value under new times). The first sample that moves is good again. A point that sends nothing is not flat, but
    silent: see ``gap``. Time is source time; samples out of order or without a value pass untouched, and so do
    states.

    Example::

        steps:
          - flat_line: {for: 10m, points: "*/voltage"}
          - flat_line: {for: 1h, band: 0.1%, points: "*/temperature"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"for": "2s"},
        {"for": "3s", "band": 1.5, "action": "drop"},
        {"for": "1s", "band": "10%"},
    )

    for_: Duration = msgspec.field(default=Duration(600), name="for")
    """How long a value may stay, in source time."""
    band: Amount = 0.0
    """How far it may move and still be flat: in the point's unit, or in percent (``0.1%``) of the range that the
    point's ``limits`` span, without limits of the value that the stretch began with."""
    action: Action = Action.MARK
    """``mark`` keeps the suspects with a worse quality, ``drop`` removes them."""

    def __post_init__(self) -> None:
        check_span("for", self.for_)
        check_amount("band", self.band)

    def create(self, points: Points) -> FlatLine:
        """The operator for these options."""
        return FlatLine(self, points)


class FlatLine(Operator):
    """See :class:`FlatLineConfig`.

    With a band, where a stretch begins depends on where the one before it began, as in a deadband; so the rule of
    :mod:`pipelines.operators.reduce.news` decides it: all points side by side, sample by sample where points have
    several.
    """

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    many_lanes = MANY_LANES

    def __init__(self, config: FlatLineConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._for_ns = config.for_.ns
        self._action = config.action
        bound = Bound.parse(config.band)
        self._tolerance = Tolerance(points, absolute=bound.absolute, percent=bound.percent, silence_ns=0)
        self._exact = not bound.absolute and not bound.percent
        self._last = Succession(points)
        # The sample that each point's stretch began with, by point id
        self._value: Values = np.empty(0, np.float64)
        self._since: Times = np.empty(0, np.int64)

    def process(self, frame: Frame) -> Frame:
        """All samples, those of flat lines marked; or without those."""
        steps = self._last.follow(frame)
        if steps is None:
            return frame
        if len(self._points) > len(self._value):
            self._value = grown(self._value, len(self._points))
            self._since = grown(self._since, len(self._points))
        since = self._singles(steps) if steps.single else self._runs(steps)
        found = longer(steps.time, since, self._for_ns)
        if not found.any():
            return frame
        return judged(frame, steps.found(found), q.OLD_DATA, self._action, self.counts, "flat-line")

    def _singles(self, steps: Steps) -> Times:
        """When the stretch of each sample began, [k]; one sample a point."""
        begun, since = self._value[steps.ids], self._since[steps.ids]
        with np.errstate(invalid="ignore", over="ignore"):
            moved: Mask = np.abs(steps.value - begun) > around(begun, *self._tolerance.widths(steps.ids))
        if steps.fresh is not None:
            moved |= steps.fresh
        since = np.where(moved, steps.time, since)
        self._value[steps.ids], self._since[steps.ids] = np.where(moved, steps.value, begun), since
        return since

    def _runs(self, steps: Steps) -> Times:
        """The same where points have several samples; before each run stands what its stretch began with."""
        starts = group_starts(steps.ids)
        heads, at = with_heads(starts, len(steps))
        body = ~heads
        ids = np.empty(len(heads), np.int32)
        value = np.empty(len(heads))
        time = np.empty(len(heads), np.int64)
        epoch = np.zeros(len(heads), np.int32)
        ids[body], value[body], time[body] = steps.ids, steps.value, steps.time
        first = steps.ids[starts]
        ids[heads], value[heads], time[heads] = first, self._value[first], self._since[first]
        if steps.fresh is not None:
            epoch[body] = steps.fresh
            epoch = np.cumsum(epoch, dtype=np.int32)
        with np.errstate(invalid="ignore", over="ignore"):
            begins = self._begins(value, ids, at, epoch)
        anchor = np.maximum.accumulate(np.where(begins, np.arange(len(heads)), 0))
        ends = np.append(at[1:], len(heads)) - 1
        self._value[first], self._since[first] = value[anchor[ends]], time[anchor[ends]]
        since: Times = time[anchor][body]
        return since

    def _begins(self, value: Values, ids: Any, at: Any, epoch: Any) -> Mask:
        """Where a stretch begins."""
        if not self._exact:
            return Runs(New(value, None, epoch, None), ids, at, self._tolerance).decide(self.many_lanes)
        begins = np.ones(len(value), np.bool_)
        begins[1:] = (value[1:] != value[:-1]) | (epoch[1:] != epoch[:-1])
        begins[at] = True
        return begins

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Sources' times may have jumped with the clock: every point begins anew."""
        self._last.forget()
        return super().clock_stepped(delta_ns)

    def snapshot(self) -> State:
        """The last sample of each point, and the one that its stretch began with."""
        last = self._last.snapshot()
        known = last["point"]
        return {"last": last, "value": self._value[known], "since": self._since[known]}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._last.restore(state["last"])
        self._value = grown(self._value, len(self._points))
        self._since = grown(self._since, len(self._points))
        known = state["last"]["point"]
        self._value[known], self._since[known] = state["value"], state["since"]
