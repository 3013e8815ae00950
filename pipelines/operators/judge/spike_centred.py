"""``spike`` with ``centred``: samples wait until half a window has come behind them.

A point's samples leave in the order in which they came: one that waits for its verdict holds those behind it.
None waits longer than ``wait``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import EMPTY, Frame, by_point, concat, group_starts
from pipelines.base import Operator, State, StateClass, grown
from pipelines.operators.judge import limits
from pipelines.operators.judge.judging import frame_of, frame_state, judged
from pipelines.operators.judge.spike import Judge, SpikeAction, SpikeConfig, replaced

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Times
    from pipelines.base import Points
    from pipelines.operators.judge.hampel import Verdict
    from pipelines.operators.judge.succession import Steps

Numbers = npt.NDArray[np.int64]
_NO_NUMBER: Final = -1
_NO_TICK: Final = (1 << 63) - 1


class CentredSpike(Operator):
    """See :class:`pipelines.operators.judge.spike.SpikeConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: SpikeConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._action = config.action
        self._half = config.samples // 2
        self._wait_ns = config.wait.ns
        self._judge = Judge(config, points)
        self._entered: Numbers = np.empty(0, np.int64)
        """How many samples of each point entered windows, by point id; they are numbered from 0."""
        # What waits, grouped by point, in the order in which it came
        self._held = EMPTY
        self._number: Numbers = np.empty(0, np.int64)
        """``_NO_NUMBER`` for samples that are not judged."""
        self._since: Times = np.empty(0, np.int64)
        """The tick behind its arrival."""

    def process(self, frame: Frame) -> Frame:
        """What has its verdict by now."""
        if not len(frame):
            return frame
        self._grow()
        number = np.full(len(frame), _NO_NUMBER, np.int64)
        steps = self._judge.last.follow(frame)
        if steps is not None:
            number[steps.at] = self._enter(steps)
        self.counts.queued += len(frame)
        self._join(frame, number)
        if steps is not None:
            self._decide(steps)
        return self._let_go(~self._waiting())

    def _enter(self, steps: Steps) -> Numbers:
        """Numbers for new samples, [k]."""
        starts = group_starts(steps.ids)
        lengths = np.diff(starts, append=len(steps))
        rank = np.arange(len(steps)) - np.repeat(starts, lengths)
        number: Numbers = self._entered[steps.ids] + rank
        self._entered[steps.ids[starts]] += lengths
        return number

    def _join(self, frame: Frame, number: Numbers) -> None:
        held = concat([self._held, frame])
        order = by_point(held.point)
        since = np.concatenate([self._since, np.full(len(frame), _NO_TICK, np.int64)])
        self._held, self._since = held.take(order), since[order]
        self._number = np.concatenate([self._number, number])[order]

    def _decide(self, steps: Steps) -> None:
        """Verdicts on the samples half a window before the new ones; those that were let go already get none."""
        verdict = self._judge.new(steps)
        chosen = np.flatnonzero(verdict.suspect)
        if not len(chosen):
            return
        starts = group_starts(steps.ids)
        lengths = np.diff(starts, append=len(steps))
        # How far each new sample is from the end of its point, and how far what it decides about is
        back = np.repeat(starts + lengths, lengths) - np.arange(len(steps)) - 1 + self._half
        numbered = np.flatnonzero(self._number >= 0)
        theirs = self._back(numbered)
        size = int(max(theirs.max(initial=0), back.max())) + 1
        keys = self._held.point[numbered].astype(np.int64) * size + (size - 1 - theirs)
        wanted = steps.ids[chosen].astype(np.int64) * size + (size - 1 - back[chosen])
        place = np.searchsorted(keys, wanted)
        there = place < len(keys)
        there[there] = keys[place[there]] == wanted[there]
        self._treat(numbered[place[there]], verdict, chosen[there])

    def _back(self, at: Index) -> Numbers:
        """How many numbered samples of its point came behind each of these held ones."""
        result: Numbers = self._entered[self._held.point[at]] - 1 - self._number[at]
        return result

    def _treat(self, at: Index, verdict: Verdict, which: Index) -> None:
        """Mark, replace or drop held samples, about which the verdicts ``which`` are."""
        if not len(at):
            return
        if self._action is SpikeAction.REPLACE:
            self._held = replaced(self._held, at, verdict.median[which])
            return
        action = limits.Action(self._action)
        self._held = judged(self._held, at, q.INCONSISTENT, action, self.counts, "spike")
        if action is limits.Action.DROP:
            stays = np.ones(len(self._number), np.bool_)
            stays[at] = False
            self._number, self._since = self._number[stays], self._since[stays]
            self.counts.queued -= len(at)

    def _waiting(self) -> Mask:
        """Held samples that have no verdict yet, and those of the same point behind them."""
        open_ = np.zeros(len(self._held), np.int64)
        numbered = np.flatnonzero(self._number >= 0)
        open_[numbered[self._back(numbered) < self._half]] = 1
        total = np.cumsum(open_)
        starts = group_starts(self._held.point)
        before = (total - open_)[starts]
        mask: Mask = total > np.repeat(before, np.diff(starts, append=len(open_)))
        return mask

    def _let_go(self, mask: Mask) -> Frame:
        n = int(np.count_nonzero(mask))
        if not n:
            return EMPTY
        out, keep = self._held.take(mask), ~mask
        self._held, self._number, self._since = self._held.take(keep), self._number[keep], self._since[keep]
        self.counts.queued -= n
        return out

    def tick(self, now_ns: int) -> Frame:
        """What has waited too long, judged by what there is."""
        if not len(self._held):
            return EMPTY
        self._since[self._since == _NO_TICK] = now_ns
        return self._give_up(now_ns - self._since >= self._wait_ns)

    def _give_up(self, mask: Mask) -> Frame:
        """Let samples go that are the oldest of their points."""
        old = np.flatnonzero(mask & (self._number >= 0))
        old = old[self._back(old) < self._half]
        if len(old):
            ids: Ids = self._held.point[old]
            verdict = self._judge.old(ids, self._back(old))
            chosen = np.flatnonzero(verdict.suspect)
            before = self._held
            self._treat(old[chosen], verdict, chosen)
            if len(self._held) < len(before):
                mask = np.delete(mask, old[chosen])
        given_up = self._let_go(mask)
        return concat([given_up, self._let_go(~self._waiting())])  # what stood behind those waits for nothing now

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Everything goes, and every point begins anew."""
        del delta_ns
        out = self._give_up(np.ones(len(self._held), np.bool_))
        self._judge.last.forget()
        return out

    def _grow(self) -> None:
        self._entered = grown(self._entered, len(self._points))
        self._judge.windows.grow(len(self._points))

    def snapshot(self) -> State:
        """What waits, and the last samples of each point."""
        known = np.flatnonzero(self._entered).astype(np.int32)
        return {
            "judge": self._judge.snapshot(),
            "held": frame_state(self._held),
            "number": self._number.copy(),
            "since": self._since.copy(),
            "point": known,
            "entered": self._entered[known],
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._grow()
        self._judge.restore(state["judge"])
        self._held = frame_of(state["held"])
        self._number, self._since = state["number"].copy(), state["since"].copy()
        self._entered[:] = 0
        self._entered[state["point"]] = state["entered"]
