"""The open windows: one cell for each (point, window number), its running statistics in columns.

The two windows of a point that are usually open have neighbouring numbers, so a table of two entries a point,
chosen by the number's parity, finds the cell of nearly every sample with one gather. The rest is found by
binary search over all cells, sorted by (point, window number) as complex numbers: numpy orders those by the
real part and then the imaginary one, and both are exact in a float64 (numbers of windows of a millisecond and
more are below 2**53).

Sums run strictly in the order of the samples (``np.add.at`` is sequential), so that cutting frames otherwise
never changes a bit. Where the point has a resolution, whole steps of it are added, which is exact below 2**53
in any order. What is not a column (bins of sketches and histograms, exact sums) lies in tallies by cell. Samples of
small frames wait here until they are a batch, or somebody looks, because a step of numpy costs as much for one sample
as for some hundred.

"Point" is the number of a row here: the id of a point, or the number of a group of points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import concat
from pipelines.base import State, grown
from pipelines.operators.aggregate.ddsketch import Bins
from pipelines.operators.aggregate.exact_sums import ExactSums
from pipelines.operators.aggregate.window_columns import LATEST, SPEC, Columns, joined
from pipelines.operators.aggregate.window_distinct import Distinct
from pipelines.operators.reduce.tally import Tally

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Mask, Times, Values
    from pipelines.operators.facts import Facts

SEVERITY_SHIFT: Final = 16
"""``marks`` holds the inputs' quality flags below this bit, and ``1 << severity`` of each from it on."""

HISTOGRAM_BITS: Final = 12
ABOVE: Final = (1 << HISTOGRAM_BITS) - 1
"""The bin of a histogram for values from its last edge on; 0 is for those below the first."""
TEXT_BITS: Final = 16

NEVER: Final = (1 << 63) - 1
_BATCH: Final = 2048
"""Samples that may wait."""
_FLAGS: Final = np.uint16(0xFFFF ^ q.VALIDITY)
_INVALID_SEVERITY: Final = q.severity(np.array([q.INVALID], np.uint16))[0]


@dataclass(frozen=True)
class Keep:
    """What cells keep of their samples."""

    columns: list[str]
    """Names of :data:`~pipelines.operators.aggregate.window_columns.SPEC`."""
    bins: Bins | None = None
    """Of the sketches, if there are any."""
    edges: Values | None = None
    """Of the histogram, [bins + 1]."""
    exact: bool = False
    """Whether sums are exact; ``squares`` also those of the squares."""
    squares: bool = False
    distinct: bool = False
    durations: bool = False


@dataclass(frozen=True)
class Closed:
    """What was kept of m windows, ordered by (window number, point)."""

    columns: Columns
    """Each [m]."""
    sketch: Tally | None = None
    histogram: Tally | None = None
    durations: Tally | None = None
    exact: Tally | None = None
    distinct: Distinct | None = None
    """Each by window, from 0 on."""
    again: Mask | None = None
    """Which windows were closed before, [m]; None if none was."""

    def __len__(self) -> int:
        return len(self.columns["point"])

    def marked(self, again: Mask) -> Closed:
        """The same, of which some, [m], were closed before."""
        return replace(self, again=again)


class Cells:
    """The cells of one operator; ``facts`` column 0 is each point's resolution, 0 for none."""

    def __init__(self, keep: Keep, facts: Facts) -> None:
        self._keep, self._names, self._facts = keep, keep.columns, facts
        self.names = frozenset(keep.columns)
        self._columns: Columns = {name: np.empty(0, SPEC[name][0]) for name in self._names}
        self._size = 0
        self._stepped = False
        """Whether any cell adds whole steps of a resolution."""
        self._table: Index = np.empty(0, np.intp)
        self._keys = np.empty(0, np.complex128)
        self._slots: Index = np.empty(0, np.intp)
        """The cell of each key."""
        self.sketches = None if keep.bins is None else Tally(keep.bins.bits)
        self.histograms = None if keep.edges is None else Tally(HISTOGRAM_BITS)
        self.durations = Tally(TEXT_BITS) if keep.durations else None
        self.exact = ExactSums(squares=keep.squares) if keep.exact else None
        self.distinct = Distinct() if keep.distinct else None
        self._counting = bool(self._counters())
        self._pending: list[tuple[Frame, Times, Ids]] = []
        self._waiting = 0  # samples of those
        self.lowest = NEVER
        """No cell has a lower window number."""
        self._reserve(0, 1)

    def __len__(self) -> int:
        self._settle()
        return self._size

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column of all cells, [cells]; changes with the next samples."""
        self._settle()
        return self._columns[name][: self._size]

    def _counters(self) -> dict[str, Tally | Distinct]:
        exact = None if self.exact is None else self.exact.tally
        found = {
            "sketches": self.sketches,
            "histograms": self.histograms,
            "durations": self.durations,
            "exact": exact,
            "distinct": self.distinct,
        }
        return {name: counter for name, counter in found.items() if counter is not None}

    def _reserve(self, points: int, cells: int) -> None:
        """Room for points below ``points`` and for ``cells`` cells."""
        self._table = grown(self._table, 2 * points, -1)
        if cells > len(self._columns["point"]):
            for name in self._names:
                self._columns[name] = grown(self._columns[name], cells, SPEC[name][1])

    def add(self, frame: Frame, numbers: Times, origin: Ids | None = None) -> None:
        """Take samples into the windows with these numbers, [n]; makes the cells that are missing.

        Args:
            frame: its ``point`` is the number of a row.
            numbers: of the windows.
            origin: the points that the samples are of, if rows are groups.
        """
        self._pending.append((frame, numbers, frame.point if origin is None else origin))
        self._waiting += len(frame)
        self.lowest = min(self.lowest, int(numbers.min(initial=NEVER)))
        if self._waiting >= _BATCH:
            self._settle()

    def _settle(self) -> None:
        """Take what waits, in the order in which it came."""
        if not self._pending:
            return
        pending, self._pending, self._waiting = self._pending, [], 0
        frames, numbers, origins = zip(*pending, strict=True)
        if len(pending) == 1:
            self._add(frames[0], numbers[0], origins[0])
        else:
            self._add(concat(frames), np.concatenate(numbers), np.concatenate(origins))

    def _add(self, frame: Frame, numbers: Times, origin: Ids) -> None:
        slots, values, times = self._found(frame.point, numbers), frame.value, frame.time
        if "begin" in self._columns:
            np.minimum.at(self._columns["begin"], slots, times)
            np.maximum.at(self._columns["end"], slots, times)
        if frame.quality.any() or np.isnan(values).any():
            usable = self._mark(frame, slots)
            slots, values, times, origin = slots[usable], values[usable], times[usable], origin[usable]
        np.add.at(self._columns["count"], slots, 1)
        if "sum" in self._columns or "pivot" in self._columns:
            self._add_sums(slots, values)
        if "min" in self._columns:
            self._add_extreme("min", np.minimum, slots, values, times)
        if "max" in self._columns:
            self._add_extreme("max", np.maximum, slots, values, times)
        if "last" in self._columns:
            self._add_last(slots, values, times)
        if "first" in self._columns:
            self._add_first(slots, values, times)
        if self._counting:
            self._count(slots, values, origin)

    def _count(self, slots: Index, values: Values, origin: Ids) -> None:
        """What lies in tallies."""
        if self.sketches is not None and self._keep.bins is not None:
            self.sketches.count(slots, self._keep.bins.of(values))
        if self.histograms is not None:
            assert self._keep.edges is not None
            number = np.searchsorted(self._keep.edges, values, side="right")
            self.histograms.count(slots, np.where(number == len(self._keep.edges), ABOVE, number))
        if self.exact is not None:
            self.exact.add(slots, values, self._steps(self.exact, origin))
        if self.distinct is not None:
            self.distinct.add(slots, values)

    def _steps(self, exact: ExactSums, origin: Ids) -> Index | int:
        """The number of the step that each point's sums are in, [n] or the same for all."""
        size = self._facts.column(0, origin)
        if not len(size) or (size == size[0]).all():
            return exact.step(float(size[0])) if len(size) else 0
        steps, which = np.unique(size, return_inverse=True)
        return np.array([exact.step(step) for step in steps.tolist()], np.intp)[which]

    def _mark(self, frame: Frame, slots: Index) -> Mask:
        """Remember what is not good; where samples have a usable value, [n]."""
        severity = q.severity(frame.quality).astype(np.uint32)
        severity[np.isnan(frame.value)] = _INVALID_SEVERITY
        usable: Mask = ~q.is_invalid(frame.quality) & ~np.isnan(frame.value)
        self.mark(slots, severity, frame)
        np.add.at(self._columns["rejected"], slots[~usable], 1)
        return usable

    def mark(self, slots: Index, severity: npt.NDArray[np.uint32], frame: Frame) -> None:
        """Join the flags and severities, [n], of samples to their cells."""
        marks = (np.uint32(1) << (severity + SEVERITY_SHIFT)) | (frame.quality & _FLAGS)
        notable = np.flatnonzero(marks != 1 << SEVERITY_SHIFT)
        np.bitwise_or.at(self._columns["marks"], slots[notable], marks[notable])

    def _add_sums(self, slots: Index, values: Values) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            if self._stepped:
                step = self._columns["step"][slots]
                whole = np.rint(values / np.where(step > 0, step, 1.0))
                values = np.where(step > 0, whole, values)
            if "sum" in self._columns:
                np.add.at(self._columns["sum"], slots, values)
            if "pivot" in self._columns:
                self._add_squares(slots, values)

    def _add_squares(self, slots: Index, values: Values) -> None:
        """Sums of what differs from the first value of the window, which keeps them small and so precise."""
        pivot = self._columns["pivot"]
        fresh = np.flatnonzero(np.isnan(pivot[slots]))[::-1]
        pivot[slots[fresh]] = values[fresh]  # of several the last assignment stays: the first sample
        off = values - pivot[slots]
        np.add.at(self._columns["off"], slots, off)
        np.add.at(self._columns["off2"], slots, off * off)

    def _add_extreme(self, name: str, ufunc: np.ufunc, slots: Index, values: Values, times: Times) -> None:
        extreme, time = self._columns[name], self._columns.get(f"{name}_time")
        if time is None:
            ufunc.at(extreme, slots, values)
            return
        before = extreme[slots]
        ufunc.at(extreme, slots, values)
        time[slots[extreme[slots] != before]] = LATEST
        here = np.flatnonzero(values == extreme[slots])
        np.minimum.at(time, slots[here], times[here])

    def _add_last(self, slots: Index, values: Values, times: Times) -> None:
        """The newest source time wins; of equal ones the later arrival (the assignment that stays)."""
        newest = self._columns["last_time"]
        np.maximum.at(newest, slots, times)
        at = np.flatnonzero(times == newest[slots])
        self._columns["last"][slots[at]] = values[at]

    def _add_first(self, slots: Index, values: Values, times: Times) -> None:
        """The oldest source time wins; of equal ones the earlier arrival."""
        oldest, first = self._columns["first_time"], self._columns["first"]
        older = (times < oldest[slots]) | np.isnan(first[slots])
        np.minimum.at(oldest, slots, times)
        at = np.flatnonzero(older & (times == oldest[slots]))[::-1]
        first[slots[at]] = values[at]

    def raw(self, name: str) -> npt.NDArray[Any]:
        """One column to scatter into by slots; changes with the next samples."""
        self._settle()
        return self._columns[name]

    def slots(self, ids: Ids, numbers: Times) -> Index:
        """The cell of each (point, window number), [n]; made when missing."""
        self._settle()
        return self._found(ids, numbers)

    def _found(self, ids: Ids, numbers: Times) -> Index:
        self._reserve(int(ids.max(initial=-1)) + 1, 0)
        entries = 2 * ids.astype(np.intp) + (numbers & 1)
        slots: Index = self._table[entries]
        found = (self._columns["number"][slots] == numbers) & (slots >= 0)
        if not found.all():
            missing = np.flatnonzero(~found)
            slots[missing] = self._search(ids[missing], numbers[missing])
            self._table[entries[missing]] = slots[missing]
        return slots

    def _search(self, ids: Ids, numbers: Times) -> Index:
        keys, inverse = np.unique(_keys(ids, numbers), return_inverse=True)
        at = np.searchsorted(self._keys, keys)
        known = at < len(self._keys)
        known[known] = self._keys[at[known]] == keys[known]
        slots = np.empty(len(keys), np.intp)
        slots[known] = self._slots[at[known]]
        fresh = np.arange(self._size, self._size + np.count_nonzero(~known))
        slots[~known] = fresh
        self._create(keys[~known])
        self._keys = np.insert(self._keys, at[~known], keys[~known])
        self._slots = np.insert(self._slots, at[~known], fresh)
        result: Index = slots[inverse]
        return result

    def _create(self, keys: npt.NDArray[np.complex128]) -> None:
        start, end = self._size, self._size + len(keys)
        self._reserve(0, end)
        for name in self._names:
            self._columns[name][start:end] = SPEC[name][1]
        ids = keys.real.astype(np.int32)
        self._columns["point"][start:end] = ids
        numbers = self._columns["number"][start:end] = keys.imag.astype(np.int64)
        self.lowest = min(self.lowest, int(numbers.min(initial=NEVER)))
        if "step" in self._columns:
            steps = self._facts.column(0, ids)
            self._columns["step"][start:end] = steps
            self._stepped = self._stepped or bool(steps.any())
        self._size = end

    def pop(self, chosen: Mask) -> Closed:
        """Take cells, [cells], out."""
        closed = self.look(np.flatnonzero(chosen))
        self.drop(chosen)
        return closed

    def look(self, slots: Index) -> Closed:
        """What some cells hold."""
        self._settle()
        slots = slots[np.lexsort((self._columns["point"][slots], self._columns["number"][slots]))]
        return self.join(slots, np.arange(len(slots)))

    def join(self, slots: Index, rows: Index) -> Closed:
        """What some cells, [k], hold together in each row, [k]; rows grow and begin at 0, cells in order of time."""
        self._settle()
        names = {"sketches": "sketch", "histograms": "histogram"}
        found: dict[str, Any] = {
            names.get(name, name): counter.gathered(slots, rows) for name, counter in self._counters().items()
        }
        return Closed(joined({name: self._columns[name] for name in self._names}, slots, rows), **found)

    def drop(self, chosen: Mask) -> None:
        """Forget cells, [cells]."""
        self._settle()
        kept = ~chosen
        numbers = np.where(kept, np.cumsum(kept) - 1, -1)
        for counter in self._counters().values():
            counter.renumber(numbers)
        self._load({name: self.column(name)[kept] for name in self._names})

    def _load(self, columns: Columns) -> None:
        """Make these columns all there is."""
        self._pending, self._waiting = [], 0
        size = len(columns["point"])
        self._reserve(int(columns["point"].max(initial=-1)) + 1, size)
        for name in self._names:
            self._columns[name][:size] = columns[name]
        self._size, self.lowest = size, int(columns["number"].min(initial=NEVER))
        self._stepped = "step" in columns and bool(columns["step"].any())
        keys = _keys(columns["point"], columns["number"])
        self._slots = np.argsort(keys)
        self._keys = keys[self._slots]
        self._table.fill(-1)
        self._table[2 * columns["point"].astype(np.intp) + (columns["number"] & 1)] = np.arange(size)

    @property
    def nbytes(self) -> int:
        """Memory of columns, table and keys, in bytes; without what lies in tallies."""
        self._settle()
        own = [*self._columns.values(), self._table, self._keys, self._slots]
        return sum(array.nbytes for array in own)

    def snapshot(self) -> State:
        """All cells."""
        state: State = {"cells": {name: self.column(name).copy() for name in self._names}}
        counters = {name: counter.snapshot() for name, counter in self._counters().items()}
        if self.exact is not None:
            counters["exact"] = self.exact.snapshot()
        return state | counters

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._load(state["cells"])
        for name, counter in self._counters().items():
            counter.restore(state[name])
        if self.exact is not None:
            self.exact.restore(state["exact"])


def _keys(ids: Ids, numbers: Times) -> npt.NDArray[np.complex128]:
    keys = np.empty(len(ids), np.complex128)
    keys.real = ids
    keys.imag = numbers
    return keys
