"""Judging several points together: samples wait in a queue until the rows that they are part of were judged.

Rows come from :mod:`pipelines.operators.aligned`, a while after their time, because samples of several points come in
any order. So what is to be marked upstream has to wait as long: everything that comes in leaves in the order in
which it came, ``wait`` after the tick behind its arrival. By then all its rows were judged: the watermark of a group
is at least the time of its newest sample plus what has passed since. So nothing waits without bound, wild dates
included, and only what came late was not judged.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import numpy.typing as npt

from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, Times, concat
from gateway.point import Kind, Point
from pipelines.base import Operator, Selector, State, StateClass, grown
from pipelines.operators.aligned import Aligner, Mode
from pipelines.operators.judge.judging import judged
from pipelines.operators.judge.limits import Action
from pipelines.operators.judge.waiting import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.frame import Ids, Mask, Qualities
    from gateway.units import Duration
    from pipelines.base import Counts, Points
    from pipelines.operators.aligned import Rows

_UNKNOWN: Final = -1
_MISSING: Final = -1
Codes = npt.NDArray[np.int64]


def check_inputs(field: str, inputs: Sequence[str]) -> None:
    """Refuse patterns that do not make one row a device.

    Raises:
        FieldError: says which and why.
    """
    for pattern in inputs:
        if not pattern or "**" in pattern or "?" in pattern:
            raise FieldError(field, f"{pattern!r} is no input: write a point's name, with * for a part that varies")
    if len({pattern.count("*") for pattern in inputs}) > 1:
        told = ", ".join(inputs)
        raise FieldError(field, f"inputs of one rule have the same number of * ({told}): none, or one for the device")


class Reports:
    """A state point for each group, told whenever its state changes."""

    def __init__(self, points: Points, name: str) -> None:
        self._points = points
        self._name = name
        self._code: Codes = np.empty(0, np.int64)
        """The state told last, by group."""

    def changes(self, rows: Rows, codes: Codes, groups: Callable[[int], str], text: Callable[[int], str]) -> Frame:
        """States that changed; ``rows`` are those that were judged, in order of group and time."""
        if not len(rows):
            return EMPTY
        self._code = grown(self._code, int(rows.group.max()) + 1, _UNKNOWN)
        before = np.empty_like(codes)
        before[1:] = codes[:-1]
        begins = np.ones(len(rows), np.bool_)
        begins[1:] = rows.group[1:] != rows.group[:-1]
        before[begins] = self._code[rows.group[begins]]
        self._code[rows.group] = codes  # of several rows of a group the last assignment stays
        changed = np.flatnonzero(codes != before)
        if not len(changed):
            return EMPTY
        ids = [self._point(groups(group)) for group in rows.group[changed].tolist()]
        pairs = zip(ids, codes[changed].tolist(), strict=True)
        return Frame.of(ids, rows.time[changed], [self._points.state(point, text(code)) for point, code in pairs])

    def _point(self, group: str) -> int:
        name = self._name if group == "." else f"{group}/{self._name}"
        return self._points.make(Point(name=name, kind=Kind.STATE))

    def snapshot(self) -> State:
        """The states told last."""
        return {"code": self._code.copy()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._code = state["code"].copy()


class Rule(abc.ABC):
    """Something that has to hold between points.

    Args:
        points: the directory.
        inputs: patterns, see :class:`pipelines.operators.aligned.Aligner`.
        name: name of the state point.
        lateness: how long rows wait for samples out of order.
        max_gap: how old a value may be that is taken for one of now; 0: all inputs are of the same time.
    """

    def __init__(self, points: Points, inputs: Sequence[str], name: str, lateness: Duration, max_gap: Duration) -> None:
        self._points = points
        self._inputs = inputs
        self.gap_ns = max_gap.ns
        mode = Mode.LAST if self.gap_ns else Mode.EXACT
        self._aligner = Aligner(points, inputs, mode=mode, lateness_ns=lateness.ns, max_gap_ns=self.gap_ns)
        self._reports = Reports(points, name)
        self._members: dict[int, Ids] = {}
        self.told = EMPTY
        """States that changed at the last tick."""

    @abc.abstractmethod
    def judge(self, rows: Rows) -> tuple[Mask, Codes]:
        """Which inputs of each row are suspect, [k, inputs], and the state of each row, [k]."""

    @abc.abstractmethod
    def text(self, code: int) -> str:
        """The text of a state."""

    def add(self, frame: Frame, counts: Counts) -> None:
        """Take inputs."""
        taken = self._aligner.add(frame)
        for reason, n in (("late", taken.late), ("early", taken.early)):
            if n:
                counts.reasons[reason] += n

    def tick(self, now_ns: int) -> tuple[Ids, Times]:
        """Points and times of suspects."""
        return self._suspects(self._aligner.tick(now_ns)[0])

    def flush(self) -> tuple[Ids, Times]:
        """The same for all that waits."""
        return self._suspects(self._aligner.flush()[0])

    def _suspects(self, rows: Rows) -> tuple[Ids, Times]:
        rows = _complete(rows)
        if not len(rows):
            self.told = EMPTY
            return np.empty(0, np.int32), np.empty(0, np.int64)
        with np.errstate(all="ignore"):
            suspects, codes = self.judge(rows)
        known = codes != _UNKNOWN
        self.told = self._reports.changes(_chosen(rows, known), codes[known], self._aligner.text, self.text)
        row, number = np.nonzero(suspects)
        if not len(row):
            return np.empty(0, np.int32), np.empty(0, np.int64)
        groups, which = np.unique(rows.group[row], return_inverse=True)
        ids = np.stack([self._ids(group) for group in groups.tolist()])[which, number]
        return ids[ids != _MISSING], rows.time[row][ids != _MISSING]

    def _ids(self, group: int) -> Ids:
        """Ids of the inputs of a group."""
        if group not in self._members:
            parts = self._aligner.text(group).split("/")
            names = [_filled(pattern, parts) for pattern in self._inputs]
            found = [self._points.find(name) for name in names]
            self._members[group] = np.array([_MISSING if i is None else i for i in found], np.int32)
        return self._members[group]

    def snapshot(self) -> State:
        """Rows that are not complete yet, and the states told."""
        return {"aligner": self._aligner.snapshot(), "reports": self._reports.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._aligner.restore(state["aligner"])
        self._reports.restore(state["reports"])
        self._members = {}


def _filled(pattern: str, parts: Sequence[str]) -> str:
    """A pattern with what its stars stand for."""
    pieces = pattern.split("*")
    return pieces[0] + "".join(part + piece for part, piece in zip(parts, pieces[1:], strict=False))


def _chosen(rows: Rows, mask: Mask) -> Rows:
    if mask.all():
        return rows
    return type(rows)(rows.group[mask], rows.time[mask], rows.value[mask], rows.quality[mask])


def _complete(rows: Rows) -> Rows:
    """The rows of which every input has a value that is not invalid."""
    words: Qualities = rows.quality & np.uint16(3)
    usable = np.isfinite(rows.value) & ((words == 0) | (words == 3))
    return _chosen(rows, usable.all(1))


class Joined(Operator):
    """Holds what comes in until its rules have judged it."""

    joins: ClassVar[bool] = True
    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, points: Points, rules: Sequence[Rule], inputs: Sequence[str], wait_ns: int) -> None:
        super().__init__()
        self._rules = rules
        self._inputs = Selector(points, inputs)
        self._queue = Queue(wait_ns)
        self._hold = True
        self._report = True
        self._action = Action.MARK
        self._flags = 0
        self._reason = ""
        self._marks = Selector(points, "**")

    def process(self, frame: Frame) -> Frame:
        """What is no input; all, if nothing is held."""
        mask = self._inputs.mask(frame.point)
        if not mask.any():
            return frame
        every = bool(mask.all())
        own = frame if every else frame.take(mask)
        for rule in self._rules:
            rule.add(own, self.counts)
        if not self._hold:
            return frame
        self._queue.add(own)
        self.counts.queued += len(own)
        return EMPTY if every else frame.take(~mask)

    def tick(self, now_ns: int) -> Frame:
        """What has been judged, and states that changed."""
        self._queue.tick(now_ns)
        told = self._judge([rule.tick(now_ns) for rule in self._rules])
        return self._out(told, *self._queue.due(now_ns))

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Everything is judged as it is, and goes."""
        del delta_ns
        self._queue.tick(0)
        told = self._judge([rule.flush() for rule in self._rules])
        return self._out(told, *self._queue.all())

    def _judge(self, found: list[tuple[Ids, Times]]) -> Frame:
        """Notes the suspects; the states that changed."""
        for rule, (ids, times) in zip(self._rules, found, strict=True):
            if self._hold and len(ids):
                mine = self._marks.mask(ids)
                self._queue.mark(ids[mine], times[mine], rule.gap_ns)
        told = concat([rule.told for rule in self._rules]) if self._report else EMPTY
        self.counts.derived += len(told)
        return told

    def _out(self, told: Frame, released: Frame, suspect: Mask) -> Frame:
        self.counts.queued -= len(released)
        if suspect.any():
            released = judged(released, suspect, self._flags, self._action, self.counts, self._reason)
        return concat([told, released])

    def snapshot(self) -> State:
        """What waits, and the state of each rule."""
        return {"queue": self._queue.snapshot(), "rules": [rule.snapshot() for rule in self._rules]}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._queue.restore(state["queue"])
        for rule, own in zip(self._rules, state["rules"], strict=True):
            rule.restore(own)
