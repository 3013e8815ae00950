"""Several points side by side: rows of values for one time, made of samples that come when they please.

What joins points (an expression, the sum of phases, a line's loss) names its inputs by patterns. Where a pattern
has a ``*``, what it stands for is the *group*: ``*/p`` and ``*/q`` make a row for each device; a pattern without
one, beside others that have it, is shared by all groups. Samples wait here until the group's watermark (the newest
source time of any of its points, and while all are silent the gateway's clock; see
:mod:`pipelines.operators.aggregate.window_clock`) has passed by ``lateness``; then rows come out, in the order of
time within each group. Samples that come later than that are late.

Three ways to make rows:

* :attr:`Mode.EXACT`: at each time at which every input has a sample. Times of which some input has none give no row.
* :attr:`Mode.LAST`: at each time at which any input has a sample; the others by their last sample before it, if that
  is not older than ``max_gap``.
* :attr:`Mode.LINEAR`, and ``LAST`` with a ``grid``: at multiples of the grid since 1970 UTC, from the first sample of
  the group to its watermark; linear between two samples that lie at most ``max_gap`` apart.

Everything is decided at ticks, from sorted columns; nothing runs sample by sample.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import EMPTY, Frame, Ids, Index, Mask, Qualities, Times, Values, concat
from pipelines.base import State, grown
from pipelines.operators.aggregate.window_clock import INT64_MAX, INT64_MIN, PointClocks
from pipelines.operators.aligned_finder import Finder
from pipelines.operators.aligned_finder import pattern_of as _pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.base import Points

SHARED: Final = 0
"""The group of inputs without a ``*`` beside inputs that have one; no rows of its own."""
MAX_GRID_ROWS: Final = 100_000
"""Rows of a grid that one group may give at one tick: a clock that was set forward may not fill the memory."""
FARTHEST_NS: Final = 1 << 62
"""Source times beyond the year 2116, or as long before 1970, are taken for wild dates."""


class Mode(enum.StrEnum):
    """How rows are made, see the top of the module."""

    EXACT = "exact"
    LAST = "last"
    LINEAR = "linear"


@dataclass(frozen=True)
class Rows:
    """Aligned inputs: k rows of m inputs. A missing input is a NaN with a reason and an invalid quality."""

    group: Ids
    """Number of the group, [k]; its text by :meth:`Aligner.text`."""
    time: Times
    """Source time, [k]; grows within a group."""
    value: Values
    """[k, m]."""
    quality: Qualities
    """[k, m]."""

    def __len__(self) -> int:
        return len(self.group)


@dataclass(frozen=True)
class Taken:
    """What became of the samples of a frame, for the operator's counters."""

    held: int
    late: int
    early: int
    strangers: Frame
    """Samples of points that are no input."""


class Aligner:
    """Buffers inputs and gives rows.

    Args:
        points: the directory.
        inputs: one pattern an input, ``m1/p`` or ``*/p``; ``*`` stands for one segment or a part of it.
        mode: how rows are made.
        lateness_ns: how long rows wait for samples that come out of order.
        max_gap_ns: how old a held value may be, or how far two samples may lie apart between which is interpolated.
        grid_ns: distance of rows; 0 for none. ``LINEAR`` needs one.
        sparse: leave rows of a grid out whose inputs would all be missing, further than ``max_gap`` behind any sample;
            otherwise a group that is silent gives rows of nothing.
    """

    def __init__(
        self,
        points: Points,
        inputs: Sequence[str],
        *,
        mode: Mode = Mode.EXACT,
        lateness_ns: int = 5_000_000_000,
        max_gap_ns: int = 0,
        grid_ns: int = 0,
        sparse: bool = False,
    ) -> None:
        self._points = points
        self._patterns = [_pattern(text) for text in inputs]
        self._grouping = any("*" in text for text in inputs)
        self._mode, self._lateness_ns, self._max_gap_ns, self._grid_ns = mode, lateness_ns, max_gap_ns, grid_ns
        self.width = len(inputs)
        self._sparse = sparse
        self._groups: dict[str, int] = {"": SHARED}
        self._texts = [""]
        self._known = 0
        self._first = np.empty(0, np.int32)
        """Where in ``_slots`` the inputs of a point begin, by point id, and how many there are:"""
        self._many = np.empty(0, np.int32)
        self._slots = np.empty(0, np.int64)
        """Group times width plus input."""
        self._clocks = PointClocks()
        self._done = np.empty(0, np.int64)
        """Time up to which rows of a group were given; later ones are open."""
        self._slot = np.empty(0, np.int64)
        self._held = EMPTY
        """What waits, and its slot; and behind it the last sample of each slot before ``_done``, for holding."""
        self._kept_slot = np.empty(0, np.int64)
        self._kept = EMPTY

    def text(self, group: int) -> str:
        """What the ``*`` of a group stands for; several are joined by ``/``."""
        return self._texts[group]

    def __len__(self) -> int:
        """Samples that wait; one that serves as two inputs counts twice."""
        return len(self._slot)

    # taking

    def add(self, frame: Frame) -> Taken:
        """Take the samples of inputs."""
        self._learn()
        many = self._many[frame.point]
        mine = np.flatnonzero(many)
        strangers = frame.take(many == 0) if len(mine) < len(frame) else EMPTY
        if not len(mine):
            return Taken(0, 0, 0, strangers)
        own, slots = self._spread(frame.take(mine) if len(mine) < len(frame) else frame)
        groups = (slots // self.width).astype(np.int32)
        self._clocks.grow(len(self._texts))
        self._done = grown(self._done, len(self._texts), INT64_MIN)
        wild = (own.time > FARTHEST_NS) | (own.time < -FARTHEST_NS)
        ahead = self._clocks.early(groups, own.time)
        wild = wild if ahead is None else wild | ahead
        early = int(np.count_nonzero(wild))
        if early:
            own, slots, groups = own.take(~wild), slots[~wild], groups[~wild]
        late = own.time <= self._done[groups]
        self._clocks.see(groups, own.time)
        if late.any():
            own, slots = own.take(~late), slots[~late]
        self._slot = np.concatenate([self._slot, slots])
        self._held = concat([self._held, own])
        return Taken(len(own), int(np.count_nonzero(late)), early, strangers)

    def _spread(self, frame: Frame) -> tuple[Frame, npt.NDArray[np.int64]]:
        """The samples, once for each input that they serve as, and the slots of those."""
        many, first = self._many[frame.point], self._first[frame.point]
        if many.max() == 1:
            return frame, self._slots[first]
        which = np.repeat(np.arange(len(frame)), many)
        offset = np.arange(len(which)) - np.repeat(np.cumsum(many) - many, many)
        return frame.take(which), self._slots[first[which] + offset]

    def _learn(self) -> None:
        """Look at the names of points that are new."""
        total = len(self._points)
        if total <= self._known:
            return
        first: list[int] = []
        many: list[int] = []
        slots: list[int] = []
        for point in range(self._known, total):
            own = self._slots_of(self._points.name(point))
            first.append(len(self._slots) + len(slots))
            many.append(len(own))
            slots += own
        self._first = np.append(self._first, np.array(first, np.int32))
        self._many = np.append(self._many, np.array(many, np.int32))
        self._slots = np.append(self._slots, np.array(slots, np.int64))
        self._known = total

    def _slots_of(self, name: str) -> list[int]:
        found = []
        for number, pattern in enumerate(self._patterns):
            match = pattern.match(name)
            if match is not None:
                shared = self._grouping and not match.groups()
                text = "" if shared else "/".join(match.groups()) or "."
                found.append(self._group(text) * self.width + number)
        return found

    def _group(self, text: str) -> int:
        number = self._groups.get(text)
        if number is None:
            number = self._groups[text] = len(self._texts)
            self._texts.append(text)
        return number

    # giving

    def tick(self, now_ns: int) -> tuple[Rows, int]:
        """Rows that are due, and how many samples have done their duty."""
        self._clocks.grow(len(self._texts))
        self._clocks.tick(now_ns)
        wait_ns = self._lateness_ns + (self._max_gap_ns if self._mode is Mode.LINEAR else 0)
        groups = np.arange(len(self._done), dtype=np.int32)[: len(self._texts)]
        # Also where nothing waits: what counts as late in one group must not depend on what waits in another
        return self._give(self._clocks.due(groups, wait_ns, 1))

    def flush(self) -> tuple[Rows, int]:
        """All rows there are, whether complete or not; time begins anew, as after a step of the clock."""
        self._clocks.grow(len(self._texts))
        self._done = grown(self._done, len(self._texts), INT64_MIN)
        newest = np.full(len(self._texts), INT64_MIN, np.int64)
        np.maximum.at(newest, self._slot // self.width, self._held.time)
        rows, consumed = self._give(newest)
        consumed += len(self._slot)  # what shared inputs still have
        self._slot, self._held = self._slot[:0], EMPTY
        self._clocks.reset()
        self._done[:] = INT64_MIN
        self._kept_slot, self._kept = self._kept_slot[:0], EMPTY
        return rows, consumed

    def _give(self, due: Times) -> tuple[Rows, int]:
        """Rows with a time up to ``due`` of their group, [groups]."""
        if not len(due):
            return _none(self)
        if self._grouping:
            # A group of which no sample came yet holds nobody up: its points may be those of a device long gone
            begun = due[1:][due[1:] > INT64_MIN]
            due[SHARED] = begun.min(initial=INT64_MAX) if len(begun) else due[SHARED]
        group = self._slot // self.width
        ripe = self._held.time <= due[group]
        rows = self._rows(due, group, ripe)
        np.maximum(self._done[: len(due)], due, out=self._done[: len(due)])
        consumed = int(np.count_nonzero(ripe))
        if consumed:
            self._keep(ripe)
        return rows, consumed

    def _rows(self, due: Times, group: Index, ripe: Mask) -> Rows:
        at_group, at_time = self._places(due, group, ripe)
        if not len(at_group):
            return _none(self)[0]
        slots = np.concatenate([self._kept_slot, self._slot])
        samples = concat([self._kept, self._held])
        ranks, at = np.unique(np.concatenate([samples.time, at_time]), return_inverse=True)
        rank, row_rank = at[: len(samples)], at[len(samples) :]
        if len(ranks) == 0:
            return _none(self)[0]
        # One sortable number for (slot, time): exact, because times go by their rank among those at hand
        key = slots * np.int64(len(ranks) + 1) + rank
        order = np.argsort(key, kind="stable")
        order = order[np.append(key[order][1:] != key[order][:-1], True)]  # the later of two for one time counts
        finder = Finder(key[order], slots[order], samples.take(order), len(ranks) + 1)
        value = np.empty((len(at_group), self.width))
        quality = np.empty((len(at_group), self.width), np.uint16)
        for number in range(self.width):
            slot = self._slot_of(at_group, number)
            value[:, number], quality[:, number] = self._value(finder, slot, row_rank, at_time)
        if self._mode is Mode.EXACT:
            found = [finder.has(self._slot_of(at_group, number), row_rank) for number in range(self.width)]
            chosen = np.logical_and.reduce(found)
            return Rows(at_group[chosen], at_time[chosen], value[chosen], quality[chosen])
        return Rows(at_group, at_time, value, quality)

    def _slot_of(self, group: Ids, number: int) -> npt.NDArray[np.int64]:
        own = group.astype(np.int64) * self.width + number
        if self._grouping and not self._patterns[number].groups:
            return np.full(len(group), SHARED * self.width + number, np.int64)
        return own

    def _places(self, due: Times, group: Index, ripe: Mask) -> tuple[Ids, Times]:
        """Groups and times of the rows to be made, sorted."""
        if self._grid_ns:
            return self._near(due) if self._sparse else self._grid(due)
        own = ripe if not self._grouping else ripe & (group != SHARED)
        group, time = group[own], self._held.time[own]
        order = np.lexsort((time, group))
        group, time = group[order], time[order]
        other = np.ones(len(group), np.bool_)
        other[1:] = (group[1:] != group[:-1]) | (time[1:] != time[:-1])
        return group[other].astype(np.int32), time[other]

    def _grid(self, due: Times) -> tuple[Ids, Times]:
        """The grid of each group that has samples, from behind what was given, or its first sample, to ``due``."""
        size, grid = len(due), self._grid_ns
        oldest = np.full(size, INT64_MAX, np.int64)
        for slot, samples in ((self._slot, self._held), (self._kept_slot, self._kept)):
            np.minimum.at(oldest, slot // self.width, samples.time)
        seen = oldest != INT64_MAX
        seen[SHARED] &= not self._grouping
        start = np.maximum(-(-oldest // grid), self._done[:size] // grid + 1)
        end = due // grid
        count = np.where(seen & (end >= start), end - start + 1, 0)
        count = np.minimum(count, MAX_GRID_ROWS)
        start = end - count + 1
        group = np.repeat(np.arange(size, dtype=np.int32), count)
        step = np.arange(len(group)) - np.repeat(np.cumsum(count) - count, count)
        return group, (start[group] + step) * grid

    def _near(self, due: Times) -> tuple[Ids, Times]:
        """Places on the grid up to ``max_gap`` behind a sample of the group, each once."""
        grid = self._grid_ns
        time = np.concatenate([self._kept.time, self._held.time])
        group = np.concatenate([self._kept_slot, self._slot]) // self.width
        own = group != SHARED if self._grouping else np.ones(len(group), np.bool_)
        order = np.lexsort((time[own], group[own]))
        group, time = group[own][order], time[own][order]
        # Behind a sample, up to the gap; before the group's next sample has its turn
        end = np.minimum((time + self._max_gap_ns) // grid, due[group] // grid)
        start = np.maximum(-(-time // grid), self._done[group] // grid + 1)
        same = group[1:] == group[:-1]
        start[1:] = np.where(same, np.maximum(start[1:], end[:-1] + 1), start[1:])
        count = np.clip(end - start + 1, 0, MAX_GRID_ROWS)
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        return np.repeat(group, count).astype(np.int32), (np.repeat(start, count) + step) * grid

    def _value(self, finder: Finder, slot: npt.NDArray[np.int64], rank: Index, time: Times) -> tuple[Values, Qualities]:
        """One input of each row, [k]."""
        before = finder.last(slot, rank)
        if self._mode is Mode.LINEAR:
            return finder.between(before, slot, time, self._max_gap_ns)
        limit = 0 if self._mode is Mode.EXACT else self._max_gap_ns
        return finder.held(before, slot, time, limit)

    def _keep(self, ripe: Mask) -> None:
        """Let go of what is ripe, but for the newest of each slot, which later rows may hold or begin at."""
        slots = np.concatenate([self._kept_slot, self._slot[ripe]])
        samples = concat([self._kept, self._held.take(ripe)])
        self._slot, self._held = self._slot[~ripe], self._held.take(~ripe)
        if self._mode is Mode.EXACT:
            return
        order = np.lexsort((samples.time, slots))
        ends = np.append(np.flatnonzero(slots[order][1:] != slots[order][:-1]), len(order) - 1)
        last = order[ends]
        self._kept_slot, self._kept = slots[last], samples.take(last)

    # state

    def snapshot(self) -> State:
        """What waits and what is held."""
        return {
            "texts": list(self._texts),
            "clocks": self._clocks.snapshot(),
            "done": self._done.copy(),
            "held": _state(self._held),
            "slot": self._slot.copy(),
            "kept": _state(self._kept),
            "kept_slot": self._kept_slot.copy(),
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._texts = list(state["texts"])
        self._groups = {text: number for number, text in enumerate(self._texts)}
        self._known, self._first, self._many = 0, self._first[:0], self._many[:0]
        self._slots = self._slots[:0]
        self._clocks.restore(state["clocks"])
        self._done = state["done"].copy()
        self._slot, self._held = state["slot"].copy(), _frame(state["held"])
        self._kept_slot, self._kept = state["kept_slot"].copy(), _frame(state["kept"])


def _none(aligner: Aligner) -> tuple[Rows, int]:
    empty = np.empty((0, aligner.width))
    return Rows(np.empty(0, np.int32), np.empty(0, np.int64), empty, empty.astype(np.uint16)), 0


def _state(frame: Frame) -> dict[str, Any]:
    return {"point": frame.point, "time": frame.time, "value": frame.value, "quality": frame.quality}


def _frame(state: dict[str, Any]) -> Frame:
    return Frame(state["point"], state["time"], state["value"], state["quality"])


def worst_of(quality: Qualities) -> Qualities:
    """The quality of a result of all inputs of a row: worst validity, all flags joined; [k, m] to [k]."""
    if not quality.shape[1]:
        return np.zeros(len(quality), np.uint16)
    flags = np.bitwise_or.reduce(quality & np.uint16(0xFFFF ^ q.VALIDITY), axis=1)
    severity = q.severity(quality.ravel()).reshape(quality.shape).max(1)
    joined: Qualities = (flags | q.validity_of(severity)).astype(np.uint16)
    return joined
