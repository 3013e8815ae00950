"""The cone that opens at the last point sent, for ``swinging_door`` and ``piecewise_linear``.

From the last point sent, the anchor, each sample allows a range of slopes: those of the lines that pass it within
the tolerance. The cone is what all samples since the anchor allow. Its newest sample is held; what ends a segment is
sent when a sample no longer fits, and becomes the next anchor. So every sample that is left out lies within the
tolerance of the line between two neighbours that were sent.

* ``touch`` (swinging door): a sample fits if its own slope lies in the cone of those before it; the end of a
  segment is that sample as it came. This keeps the last point that satisfied the cone, where the naive rule only asks
  that the cone is not empty, and may send a point from which an earlier sample is out of tolerance.
* else (piecewise linear): a sample fits if the cone stays open; the end of a segment is the value nearest to the
  newest sample on a line within the cone.

What never fits, and so ends a segment: another quality (historical aside), a NaN or infinity beside a number or
another NaN, a time that is not later than the anchor's or is before the last one. Equal NaNs form a segment like equal
numbers. A state fits only while it is constant.

All samples of a lane depend on one another, so frames are worked through in lanes
(:mod:`pipelines.operators.reduce.lanes`); the few lanes of a step whose segment ends, and long runs of few points,
are walked through in plain numbers (:mod:`pipelines.operators.reduce.door_walk`), which is the same rule. Frames of
a hundred samples are where that pays least: each step costs some thirty numpy calls whatever its size.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind
from pipelines.base import Operator, State, StateClass, grown
from pipelines.bounds import Bound
from pipelines.operators.facts import Facts
from pipelines.operators.reduce.door_walk import NOTHING, UNMARKED, UNSEEN, Door, Sample
from pipelines.operators.reduce.lanes import MANY_LANES, Lanes
from pipelines.operators.reduce.news import narrower

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Values
    from gateway.point import Point
    from pipelines.base import Points

_LIVE_WORD: Final = np.uint16(0xFFFF ^ q.HISTORICAL)
_FEW_ENDS: Final = 8
"""Ends of segments in one step up to which plain numbers beat columns."""
SHRINK: Final = 1 - 2.0**-20
"""The tolerance is taken so much narrower that rounding never exceeds it, while values are below 2**30 times it."""
_LARGEST: Final = sys.float_info.max
_FLOATS: Final = ("value", "low", "high", "held_value")
_INTEGERS: Final = ("time", "held_time", "word", "held_quality", "mark")
_A, _LOW, _HIGH, _HELD = range(4)
_TIME, _HELD_TIME, _WORD, _HELD_QUALITY, _MARK = range(5)

Table = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Slack:
    """How far a line may pass from each sample, and how steep it may be."""

    def __init__(self, points: Points, bound: Bound, configured: Bound) -> None:
        self._bound, self._configured = bound, configured
        self._absolute = bound.absolute
        self._some_relative = bound.percent is not None or configured.percent is not None
        self._mixed = self._absolute is None
        self._facts = Facts(points, 3, self._of_point)

    def _of_point(self, point: Point) -> tuple[float, float, float]:
        """The fixed part, what a sample's size adds, and the steepest slope."""
        if point.kind is Kind.STATE:
            self._mixed = True
            return 0.0, 0.0, 0.0
        found = _width(self._bound, point)
        if point.kind is Kind.COUNTER and self._configured != self._bound:
            self._mixed = True
            found = narrower(_width(self._configured, point), found)
        return (*found, _LARGEST)

    def around(self, ids: Ids, value: Values) -> Values | float:
        """Half the width of the gate at each sample, [n], or one for all; a share of what is not finite is 0."""
        self._facts.meet(ids)
        if not self._mixed:
            return (self._absolute or 0.0) * SHRINK
        fixed = self._facts.column(0, ids)
        if not self._some_relative:
            return fixed
        relative = self._facts.column(1, ids)
        if not relative.any():
            return fixed
        width = np.minimum(fixed + relative * np.abs(value), _LARGEST)
        return np.where(np.isfinite(value), width, 0.0)

    def steepest(self, ids: Ids) -> Values | float:
        """The largest slope of each point's lines, [n], or one for all."""
        return self._facts.column(2, ids) if self._mixed else _LARGEST


def _width(bound: Bound, point: Point) -> tuple[float, float]:
    if bound.percent is None:
        return (bound.absolute or 0.0) * SHRINK, 0.0
    share = bound.percent / 100 * SHRINK
    span = math.inf if point.limits is None else point.limits[1] - point.limits[0]
    return (share * span, 0.0) if math.isfinite(span) else (0.0, share)


class Doors(Operator):
    """The operator behind both; see the top of the module."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    many_lanes = MANY_LANES
    touch: ClassVar[bool]
    """Whether segments end at samples as they came."""

    def __init__(self, points: Points, bound: Bound, silence_ns: int) -> None:
        super().__init__()
        self._points = points
        self._bound = bound
        self._silence_ns = silence_ns
        self._configured = bound
        self._slack = Slack(points, bound, bound)
        self._table: Table = np.empty((len(_FLOATS) + len(_INTEGERS), 0))
        """Rows ``_FLOATS``, then the bits of ``_INTEGERS``; columns by point id."""

    @property
    def bound(self) -> Bound:
        """See the base class: no sample left out lies further from the line between its neighbours."""
        return self._bound

    def set_bound(self, bound: Bound) -> None:
        """See the base class; what was left out before keeps the bound it came under. Counters get no wider one."""
        self._bound = bound
        self._slack = Slack(self._points, bound, self._configured)

    def process(self, frame: Frame) -> Frame:
        """The ends of segments, and samples that belong to none."""
        if not len(frame):
            return frame
        self._grow(len(self._points))
        lanes = Lanes(frame)
        inside = isinstance(lanes.place, slice)
        state = self._table[:, lanes.place] if inside else self._table.take(lanes.ids, 1)
        before = _held(state)
        parts: list[Frame] = []
        with np.errstate(all="ignore"):
            for n, where in lanes.steps(self.many_lanes):
                self._step(state[:, :n], lanes.frame.take(where), parts)
            self._walk_rest(state, lanes, parts)
        if not inside:
            self._table[:, lanes.ids] = state
        out = concat(parts)
        held = _held(state) - before
        self.counts.queued += held
        self.counts.filtered += len(frame) - len(out) - held
        return out

    def _step(self, state: Table, new: Frame, parts: list[Frame]) -> None:
        """One more sample of each lane; ``state`` [9, lanes] is written to."""
        anchor, low, high, held = state[:4]
        time, held_time, word, held_quality, _ = _integers(state)
        dt, dv = new.time - time, new.value - anchor
        if not np.isfinite(new.value).all():
            dv[new.value.view(np.int64) == anchor.view(np.int64)] = 0.0
        width = self._slack.around(new.point, new.value)
        lower = np.maximum(low, (dv - width) / dt)
        upper = np.minimum(high, (dv + width) / dt)
        if self.touch:
            slope = dv / dt
            fits = slope >= low
            fits &= slope <= high
        else:
            fits = lower <= upper
        fits &= dt > 0
        fits &= new.time >= held_time
        fits &= (new.quality & _LIVE_WORD) == word
        ends = np.flatnonzero(~fits)
        old = state.take(ends, 1)
        low[:], high[:], held[:] = lower, upper, new.value
        held_time[:], held_quality[:] = new.time, new.quality
        if len(ends):
            self._ends(old, new.take(ends), parts)
            state[:, ends] = old
        if self._silence_ns:
            self._let_go(state, new.point, np.flatnonzero(held_time - time >= self._silence_ns), parts)

    def _ends(self, state: Table, new: Frame, parts: list[Frame]) -> None:
        """The same for lanes in which the new sample does not fit."""
        if len(new) <= _FEW_ENDS:
            self._walk(state, new.point, [[sample] for sample in self._samples(new)], parts)
            return
        holds = _integers(state)[_HELD_QUALITY] >= 0
        closing = np.flatnonzero(holds)
        if len(closing):
            closed, again = state.take(closing, 1), new.take(closing)
            parts.append(self._end(closed, again.point))
            self._step(closed, again, parts)
            state[:, closing] = closed
        alone = np.flatnonzero(~holds)
        if len(alone):
            sent = new.take(alone)
            parts.append(sent)
            state[:, alone] = self._begun(sent)

    def _end(self, state: Table, ids: Ids) -> Frame:
        """Send what is held in each of these lanes; the next segments begin there."""
        anchor, low, high, held = state[:4]
        time, held_time, _, held_quality, mark = _integers(state)
        value = held.copy()
        if not self.touch:
            dt = held_time - time
            slope = (held - anchor) / dt
            line = np.where(slope < low, anchor + low * dt, anchor + high * dt)
            line = np.minimum(np.maximum(line, -_LARGEST), _LARGEST) + 0.0
            np.copyto(value, line, where=(slope < low) | (slope > high))
        sent = Frame(ids, held_time.copy(), value, held_quality.astype(np.uint16))
        steepest = self._slack.steepest(ids)
        anchor[:], time[:], high[:], low[:] = value, held_time, steepest, -steepest
        held_quality[:], mark[:] = NOTHING, UNMARKED
        return sent

    def _begun(self, sent: Frame) -> Table:
        """The state of lanes whose last sample was sent by itself, [9, lanes]."""
        state = np.empty((len(self._table), len(sent)))
        steepest = self._slack.steepest(sent.point)
        state[_A], state[_HELD], state[_LOW], state[_HIGH] = sent.value, sent.value, -steepest, steepest
        integers = _integers(state)
        integers[_TIME], integers[_HELD_TIME] = sent.time, sent.time
        integers[_WORD] = sent.quality & _LIVE_WORD
        integers[_HELD_QUALITY], integers[_MARK] = NOTHING, UNMARKED
        return state

    def _let_go(self, state: Table, ids: Ids, which: Index, parts: list[Frame]) -> None:
        """Send what some of the lanes hold."""
        if len(which):
            chosen = state.take(which, 1)
            parts.append(self._end(chosen, ids[which]))
            state[:, which] = chosen

    # plain numbers

    def _walk_rest(self, state: Table, lanes: Lanes, parts: list[Frame]) -> None:
        """Walk through what is left of a few long runs."""
        frame = lanes.frame
        runs = [self._samples(frame.take(slice(start, end))) for _, start, end in lanes.rest(self.many_lanes)]
        if runs:
            self._walk(state[:, : len(runs)], lanes.ids[: len(runs)], runs, parts)

    def _samples(self, frame: Frame) -> list[Sample]:
        width = self._slack.around(frame.point, frame.value)
        widths = [width] * len(frame) if isinstance(width, float) else width.tolist()
        columns = (frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), widths)
        return list(map(Sample._make, zip(*columns, strict=True)))

    def _walk(self, state: Table, ids: Ids, runs: list[list[Sample]], parts: list[Frame]) -> None:
        """Walk through a run of samples in each of these lanes."""
        steepest = self._slack.steepest(ids)
        slopes = [steepest] * len(ids) if isinstance(steepest, float) else steepest.tolist()
        rows = zip(state[:4].T.tolist(), _integers(state).T.tolist(), slopes, strict=True)
        doors = [Door(*row) for row in rows]
        for door, samples in zip(doors, runs, strict=True):
            door.walk(samples, self._silence_ns, touch=self.touch)
        state[:4] = np.array([door.floats() for door in doors]).T
        _integers(state)[:] = np.array([door.integers() for door in doors], np.int64).T
        sent = [(point, *row) for point, door in zip(ids.tolist(), doors, strict=True) for row in door.out]
        if sent:
            parts.append(Frame.of(*map(list, zip(*sent, strict=True))))

    # time

    def tick(self, now_ns: int) -> Frame:
        """What was held for so long that the silence would exceed its bound."""
        if not self._silence_ns or not self.counts.queued:
            return EMPTY
        integers = _integers(self._table)
        holds, mark = integers[_HELD_QUALITY] >= 0, integers[_MARK]
        mark[holds & (mark == UNMARKED)] = now_ns
        return self._send_held(np.flatnonzero(holds & (mark <= now_ns - self._silence_ns)))

    def clock_stepped(self, delta_ns: int) -> Frame:
        """All that is held; every point begins anew."""
        del delta_ns
        out = self._send_held(np.flatnonzero(_integers(self._table)[_HELD_QUALITY] >= 0))
        _integers(self._table)[_WORD] = UNSEEN
        return out

    def _send_held(self, ids: Index) -> Frame:
        parts: list[Frame] = []
        with np.errstate(all="ignore"):
            self._let_go(self._table, np.arange(self._table.shape[1], dtype=np.int32), ids, parts)
        out = concat(parts)
        self.counts.queued -= len(out)
        return out

    # state

    def _grow(self, size: int) -> None:
        known = self._table.shape[1]
        if size > known:
            self._table = np.ascontiguousarray(grown(self._table.T, size).T)
            _integers(self._table)[:, known:] = 0
            _integers(self._table)[_WORD, known:] = UNSEEN
            _integers(self._table)[_HELD_QUALITY, known:] = NOTHING

    def snapshot(self) -> State:
        """Anchors, cones, and what is held."""
        known = np.flatnonzero(_integers(self._table)[_WORD] != UNSEEN).astype(np.int32)
        floats = {name: self._table[row][known] for row, name in enumerate(_FLOATS)}
        integers = {name: _integers(self._table)[row][known] for row, name in enumerate(_INTEGERS)}
        return {"point": known, **floats, **integers, "bound": self._bound.as_dict()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self.set_bound(Bound(**state["bound"]))
        self._table = self._table[:, :0]
        known = state["point"]
        self._grow(max(len(self._points), int(known.max(initial=-1)) + 1))
        for row, name in enumerate(_FLOATS):
            self._table[row][known] = state[name]
        for row, name in enumerate(_INTEGERS):
            _integers(self._table)[row][known] = state[name]


def _integers(state: Table) -> Integers:
    """The rows of whole numbers, [5, lanes], sharing memory."""
    return state.view(np.int64)[len(_FLOATS) :]


def _held(state: Table) -> int:
    """How many lanes hold a sample."""
    return int(np.count_nonzero(_integers(state)[_HELD_QUALITY] >= 0))
