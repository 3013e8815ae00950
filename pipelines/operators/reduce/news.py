"""Report by exception: which samples are news against the last one sent of their point. Columns in, mask out.

What passes depends on what passed before it. So all samples of a frame are first compared with what was sent
before the frame; most points end here, because nothing of them passes. Behind the first sample of a point that
passed, all later ones are compared with that one, and so on, round by round, while each round leaves much less to do.
Where news is dense, the rest is decided in turn: sample by sample for all such points at once, and when few points
with long runs are left, point by point over plain numbers.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import group_starts
from gateway.point import Kind
from pipelines.bounds import Bound
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Mask, Times, Values
    from gateway.point import Point
    from pipelines.base import Points

MANY_LANES: Final = 40
"""Points still in work from which one numpy step over all of them beats a loop over their samples; the rows
``deadband runs`` of tests/benchmarks/operators.py measure both."""
SHORT: Final = 64
"""Samples of a run, on average, up to which runs are decided by rounds;"""
DENSE: Final = 0.6
"""as long as a round leaves at most this part of what it had."""
UNSEEN: Final = -1
"""The quality word of a point of which nothing was sent yet; differs from every real one."""
_LIVE_WORD: Final = np.uint16(0xFFFF ^ q.HISTORICAL)
_INT64_MAX: Final = (1 << 63) - 1

Words = npt.NDArray[np.int32]


class New:
    """What the comparison needs of n samples."""

    __slots__ = ("codes", "time", "value", "word")

    def __init__(self, value: Values, time: Times | None, word: Words | None, codes: Words | None) -> None:
        self.value = value
        self.time = time
        """None where it does not matter."""
        self.word = word
        """Quality without the historical bit; None where it cannot differ."""
        self.codes = codes
        """Reason + 1 of a NaN, 0 of a number; None where all are numbers."""

    def take(self, index: Index) -> New:
        """The samples at ``index``."""
        return New(
            self.value[index],
            None if self.time is None else self.time[index],
            None if self.word is None else self.word[index],
            None if self.codes is None else self.codes[index],
        )


class Sent:
    """The samples sent last, in columns, and how far from them the next may lie without being news."""

    __slots__ = ("band", "codes", "due", "value", "word")

    def __init__(self, value: Values, band: Values, due: Times | None, word: Words | None, codes: Words | None) -> None:
        self.value = value
        self.band = band
        """Half width of the band; finite, so that an infinite difference is always news."""
        self.due = due
        """A later time is news whatever the value; None if there is no such bound."""
        self.word = word
        """As in :class:`New`, or :data:`UNSEEN`."""
        self.codes = codes

    def differs(self, new: New) -> Mask:
        """Where a sample is news, [n]. Call it under ``np.errstate(invalid="ignore", over="ignore")``."""
        passes: Mask = np.abs(new.value - self.value) > self.band
        if self.word is not None and new.word is not None:
            passes |= new.word != self.word
        if new.codes is not None or self.codes is not None:
            passes |= np.not_equal(_or_zero(new.codes), _or_zero(self.codes))
        if self.due is not None and new.time is not None:
            passes |= new.time > self.due
        return passes

    def take(self, index: Index) -> Sent:
        """Those at ``index``."""
        return Sent(
            self.value[index],
            self.band[index],
            None if self.due is None else self.due[index],
            None if self.word is None else self.word[index],
            None if self.codes is None else self.codes[index],
        )

    def first(self, n: int) -> Sent:
        """The first n, sharing memory."""
        return Sent(
            self.value[:n],
            self.band[:n],
            None if self.due is None else self.due[:n],
            None if self.word is None else self.word[:n],
            None if self.codes is None else self.codes[:n],
        )


def nan_codes(value: Values) -> Words | None:
    """See :attr:`New.codes`."""
    nan = np.isnan(value)
    if not nan.any():
        return None
    return np.where(nan, q.reason_codes(value).astype(np.int32) + 1, 0).astype(np.int32)


def _or_zero(codes: Words | None) -> Words | int:
    return 0 if codes is None else codes


class Tolerance:
    """How far a value may move, and how long a point may be silent, before a sample is news."""

    def __init__(
        self,
        points: Points,
        *,
        absolute: float | None,
        percent: float | None,
        silence_ns: int,
        of_value: bool = False,
        configured: Bound | None = None,
    ) -> None:
        self._bound = Bound(absolute=absolute or 0.0) if percent is None else Bound(percent=percent)
        self._configured = configured or self._bound
        self._some_relative = self._bound.percent is not None or self._configured.percent is not None
        self._of_value = of_value
        """Whether percent always means percent of the value, also where a point has a range."""
        self._facts = Facts(points, 2, self._of_point)
        self.silence_ns = silence_ns
        """0 for no bound."""

    def _of_point(self, point: Point) -> tuple[float, float]:
        """The fixed part of a point's band, and what the last value sent adds to it by its size."""
        if point.kind is Kind.STATE:
            return 0.0, 0.0
        found = self._width(self._bound, point)
        return narrower(self._width(self._configured, point), found) if point.kind is Kind.COUNTER else found

    def _width(self, bound: Bound, point: Point) -> tuple[float, float]:
        if bound.percent is None:
            return float(bound.absolute or 0.0), 0.0
        share = bound.percent / 100
        ranged = point.limits is not None and not self._of_value
        span = point.limits[1] - point.limits[0] if ranged and point.limits else math.inf
        return (share * span, 0.0) if math.isfinite(span) else (0.0, share)

    def columns(self, frame: Frame) -> New:
        """The columns of a frame's samples that matter."""
        word = (frame.quality & _LIVE_WORD).astype(np.int32)
        return New(frame.value, frame.time if self.silence_ns else None, word, nan_codes(frame.value))

    def widths(self, ids: Ids) -> tuple[Values, Values | None]:
        """The two parts for each sample, [n]; the second is None where no band is relative."""
        fixed = self._facts.column(0, ids)
        if not self._some_relative:
            return fixed, None
        relative = self._facts.column(1, ids)
        return fixed, relative if relative.any() else None

    def due(self, times: Times | None) -> Times | None:
        """The time after which a sample is news for each time of one sent, [n]; None if there is none."""
        if not self.silence_ns or times is None:
            return None
        wait = self.silence_ns - 1
        return np.minimum(times, _INT64_MAX - wait) + wait


def narrower(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Of two widths, given as the fixed part and that by the value, the narrower; the second if nobody can say."""
    return one if one[0] <= other[0] and one[1] <= other[1] else other


def around(value: Values, fixed: Values, relative: Values | None) -> Values:
    """The band around values sent, [n]; one relative to an infinity is none."""
    if relative is None:
        return fixed
    with np.errstate(invalid="ignore", over="ignore"):
        moving = np.where(np.isinf(value), 0.0, relative * np.abs(value))
        return np.minimum(fixed + moving, sys.float_info.max)


def _span(time: Times | None) -> int:
    """How far the times lie apart, in ns; -1 if there are none."""
    return -1 if time is None else int(time.max()) - int(time.min())


class Runs:
    """Samples grouped by point; the first of each run is news, and the others are decided behind it."""

    def __init__(self, new: New, ids: Ids, starts: Index, tolerance: Tolerance) -> None:
        assert new.word is not None
        same = bool((new.word == new.word[0]).all())
        time = new.time if tolerance.silence_ns <= _span(new.time) else None
        self._new = New(new.value, time, None if same else new.word, new.codes)
        self._tolerance = tolerance
        lengths = np.diff(starts, append=len(ids))
        # Longest first, so that the runs with samples left are always the first ones.
        order = np.argsort(-lengths, kind="stable")
        self._starts, self._lengths = starts[order], lengths[order]
        self._fixed, self._relative = tolerance.widths(ids[self._starts])
        self._passes: Mask = np.zeros(len(ids), np.bool_)
        self._passes[starts] = True

    def decide(self, many_lanes: int) -> Mask:
        """Which samples are news, [n]; ``many_lanes`` is normally :data:`MANY_LANES`."""
        self._rounds()
        if not len(self._starts):
            return self._passes
        # How many runs have a k-th sample, for k = 1, 2, 3 ...
        active = np.searchsorted(-self._lengths, -np.arange(1, self._lengths[0]), side="left").tolist()
        many = sum(1 for lanes in active if lanes >= many_lanes)
        sent = self._sent()
        for k, lanes in enumerate(active[:many], 1):
            self._step(sent.first(lanes), self._starts[:lanes] + k)
        for lane in range(active[many] if many < len(active) else 0):
            self._walk(lane, many + 1, sent)
        return self._passes

    def _sent(self) -> Sent:
        """The samples at the starts of the runs."""
        first = self._new.take(self._starts)
        band = around(first.value, self._fixed, self._relative)
        return Sent(first.value, band, self._tolerance.due(first.time), first.word, first.codes)

    def _rounds(self) -> None:
        """Find the next news behind the start of each run, all runs at once; runs then begin there, if there is any.

        Ends when nothing is left, or when the next round would have nearly as much to compare as this one.
        """
        left = int(self._lengths.sum()) - len(self._starts)
        if left > SHORT * len(self._starts):
            return
        while left:
            sent, behind = self._sent(), self._lengths - 1
            lane = np.repeat(np.arange(len(behind)), behind)
            at = np.arange(left) + np.repeat(self._starts + 1 - (np.cumsum(behind) - behind), behind)
            hits = np.flatnonzero(sent.take(lane).differs(self._new.take(at)))
            hits = hits[group_starts(lane[hits])]
            lanes, place = lane[hits], at[hits]
            self._passes[place] = True
            self._choose(lanes, place, self._starts[lanes] + self._lengths[lanes] - place)
            before, left = left, int(self._lengths.sum()) - len(self._lengths)
            if left > DENSE * before:
                break
        order = np.argsort(-self._lengths, kind="stable") if left else np.empty(0, np.intp)
        self._choose(order, self._starts[order], self._lengths[order])

    def _choose(self, lanes: Index, starts: Index, lengths: Index) -> None:
        """Go on with some of the runs, which begin and last otherwise."""
        self._starts, self._lengths, self._fixed = starts, lengths, self._fixed[lanes]
        self._relative = None if self._relative is None else self._relative[lanes]

    def _step(self, sent: Sent, at: Index) -> None:
        """One more sample of each of the first runs."""
        new = self._new.take(at)
        found = sent.differs(new)
        self._passes[at] = found
        np.copyto(sent.value, new.value, where=found)
        if self._relative is not None:
            n = len(at)
            np.copyto(sent.band, around(new.value, self._fixed[:n], self._relative[:n]), where=found)
        due = self._tolerance.due(new.time)
        for kept, fresh in ((sent.due, due), (sent.word, new.word), (sent.codes, new.codes)):
            if kept is not None and fresh is not None:
                np.copyto(kept, fresh, where=found)

    def _walk(self, lane: int, k: int, sent: Sent) -> None:
        """The same rule for what is left of one run from its k-th sample on, number by number."""
        start, end = int(self._starts[lane]), int(self._starts[lane] + self._lengths[lane])
        relative = 0.0 if self._relative is None else float(self._relative[lane])
        fixed, wait, passes = float(self._fixed[lane]), self._tolerance.silence_ns - 1, self._passes
        value, band = float(sent.value[lane]), float(sent.band[lane])
        due = _INT64_MAX if sent.due is None else int(sent.due[lane])
        word = 0 if sent.word is None else int(sent.word[lane])
        code = 0 if sent.codes is None else int(sent.codes[lane])
        for i, v, t, w, c in zip(range(start + k, end), *self._numbers(start + k, end), strict=True):
            if abs(v - value) > band or w != word or c != code or t > due:
                passes[i] = True
                value, word, code = v, w, c
                due = t + wait if wait >= 0 else due
                band = fixed if math.isinf(v) else min(fixed + relative * abs(v), sys.float_info.max)

    def _numbers(self, start: int, end: int) -> list[list[Any]]:
        """Value, time, word and code of some samples as plain numbers; a column left out is all zeros."""
        columns = (self._new.value, self._new.time, self._new.word, self._new.codes)
        return [[0] * (end - start) if c is None else c[start:end].tolist() for c in columns]
