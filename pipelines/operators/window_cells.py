"""The open windows: one cell for each (point, window number), its running statistics in columns.

The two windows of a point that are usually open have neighbouring numbers, so a table of two entries a point,
chosen by the number's parity, finds the cell of nearly every sample with one gather. The rest is found by
binary search over all cells, sorted by (point, window number) as complex numbers: numpy orders those by the
real part and then the imaginary one, and both are exact in a float64 (numbers of windows of a millisecond and
more are below 2**53).

Sums run strictly in the order of the samples (``np.add.at`` is sequential), so that cutting frames otherwise
never changes a bit. Where the point has a resolution, whole steps of it are added, which is exact below 2**53
in any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from pipelines.base import State, grown
from pipelines.operators.ddsketch import Sketches

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Mask, Times, Values
    from pipelines.operators.facts import Facts

Columns = dict[str, npt.NDArray[Any]]

SEVERITY_SHIFT: Final = 16
"""``marks`` holds the inputs' quality flags below this bit, and ``1 << severity`` of each from it on."""

_INT64: Final = np.iinfo(np.int64)
_FLAGS: Final = np.uint16(0xFFFF ^ q.VALIDITY)
# name: (type, what a new cell starts with, the statistics that need it; empty: all of them)
_COLUMNS: Final[dict[str, tuple[type[np.generic], float, frozenset[str]]]] = {
    "point": (np.int32, 0, frozenset()),
    "number": (np.int64, 0, frozenset()),
    "count": (np.int64, 0, frozenset()),
    "rejected": (np.int64, 0, frozenset()),
    "marks": (np.uint32, 0, frozenset()),
    "step": (np.float64, 0, frozenset({"sum", "mean"})),
    "sum": (np.float64, 0, frozenset({"sum", "mean"})),
    "min": (np.float64, np.inf, frozenset({"min"})),
    "max": (np.float64, -np.inf, frozenset({"max"})),
    "last": (np.float64, 0, frozenset({"last"})),
    "last_time": (np.int64, int(_INT64.min), frozenset({"last"})),
    "first": (np.float64, np.nan, frozenset({"first"})),
    "first_time": (np.int64, int(_INT64.max), frozenset({"first"})),
}


class Cells:
    """The cells of one window operator; ``facts`` column 0 is each point's resolution, 0 for none."""

    def __init__(self, stats: tuple[str, ...], facts: Facts) -> None:
        self._names = [name for name, (_, _, of) in _COLUMNS.items() if not of or of & set(stats)]
        self._facts = facts
        self._columns: Columns = {name: np.empty(0, _COLUMNS[name][0]) for name in self._names}
        self._size = 0
        self._stepped = False
        """Whether any cell adds whole steps of a resolution."""
        self._table: Index = np.empty(0, np.intp)
        self._keys = np.empty(0, np.complex128)
        self._slots: Index = np.empty(0, np.intp)
        """The cell of each key."""
        self.sketches = Sketches() if any(stat.startswith("p") for stat in stats) else None
        self._reserve(0, 1)

    def __len__(self) -> int:
        return self._size

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column of all cells, [cells]; changes with the next samples."""
        return self._columns[name][: self._size]

    def _reserve(self, points: int, cells: int) -> None:
        """Room for points below ``points`` and for ``cells`` cells."""
        self._table = grown(self._table, 2 * points, -1)
        if cells > len(self._columns["point"]):
            for name in self._names:
                self._columns[name] = grown(self._columns[name], cells, _COLUMNS[name][1])

    def add(self, frame: Frame, numbers: Times) -> None:
        """Take samples into the windows with these numbers, [n]; makes the cells that are missing."""
        slots, values, times = self._find(frame.point, numbers), frame.value, frame.time
        if frame.quality.any() or np.isnan(values).any():
            usable = self._mark(frame, slots)
            slots, values, times = slots[usable], values[usable], times[usable]
        np.add.at(self._columns["count"], slots, 1)
        if "sum" in self._columns:
            self._add_sum(slots, values)
        if "min" in self._columns:
            np.minimum.at(self._columns["min"], slots, values)
        if "max" in self._columns:
            np.maximum.at(self._columns["max"], slots, values)
        if "last" in self._columns:
            self._add_last(slots, values, times)
        if "first" in self._columns:
            self._add_first(slots, values, times)
        if self.sketches:
            self.sketches.add(slots, values)

    def _mark(self, frame: Frame, slots: Index) -> Mask:
        """Remember what is not good; where samples have a usable value, [n]."""
        severity = q.severity(frame.quality).astype(np.uint32)
        severity[np.isnan(frame.value)] = q.severity(np.array([q.INVALID], np.uint16))[0]
        usable: Mask = ~q.is_invalid(frame.quality) & ~np.isnan(frame.value)
        marks = (np.uint32(1) << (severity + SEVERITY_SHIFT)) | (frame.quality & _FLAGS)
        notable = np.flatnonzero(marks != 1 << SEVERITY_SHIFT)
        np.bitwise_or.at(self._columns["marks"], slots[notable], marks[notable])
        np.add.at(self._columns["rejected"], slots[~usable], 1)
        return usable

    def _add_sum(self, slots: Index, values: Values) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            if self._stepped:
                step = self._columns["step"][slots]
                whole = np.rint(values / np.where(step > 0, step, 1.0))
                values = np.where(step > 0, whole, values)
            np.add.at(self._columns["sum"], slots, values)

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

    def _find(self, ids: Ids, numbers: Times) -> Index:
        """The cell of each sample, [n]."""
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
            self._columns[name][start:end] = _COLUMNS[name][1]
        ids = keys.real.astype(np.int32)
        self._columns["point"][start:end] = ids
        self._columns["number"][start:end] = keys.imag.astype(np.int64)
        if "step" in self._columns:
            steps = self._facts.column(0, ids)
            self._columns["step"][start:end] = steps
            self._stepped = self._stepped or bool(steps.any())
        self._size = end

    def pop(self, chosen: Mask, fractions: list[float]) -> tuple[Columns, list[Values]]:
        """Take cells out.

        Args:
            chosen: which, [cells]; m of them.
            fractions: which quantiles are wanted.

        Returns:
            Their columns ordered by (window number, point), each [m], and for each fraction its column, [m].
        """
        slots = np.flatnonzero(chosen)
        slots = slots[np.lexsort((self._columns["point"][slots], self._columns["number"][slots]))]
        popped = {name: self._columns[name][slots] for name in self._names}
        quantiles = self.sketches.quantiles(slots, fractions) if self.sketches else []
        self._keep(~chosen)
        return popped, quantiles

    def _keep(self, kept: Mask) -> None:
        if self.sketches:
            self.sketches.renumber(np.where(kept, np.cumsum(kept) - 1, -1))
        columns = {name: self.column(name)[kept] for name in self._names}
        self._load(columns)

    def _load(self, columns: Columns) -> None:
        """Make these columns all there is."""
        size = len(columns["point"])
        self._reserve(int(columns["point"].max(initial=-1)) + 1, size)
        for name in self._names:
            self._columns[name][:size] = columns[name]
        self._size = size
        self._stepped = "step" in columns and bool(columns["step"].any())
        keys = _keys(columns["point"], columns["number"])
        self._slots = np.argsort(keys)
        self._keys = keys[self._slots]
        self._table.fill(-1)
        self._table[2 * columns["point"].astype(np.intp) + (columns["number"] & 1)] = np.arange(size)

    def snapshot(self) -> State:
        """All cells."""
        state: State = {"cells": {name: self.column(name).copy() for name in self._names}}
        if self.sketches:
            state["sketches"] = self.sketches.snapshot()
        return state

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._load(state["cells"])
        if self.sketches:
            self.sketches.restore(state["sketches"])


def _keys(ids: Ids, numbers: Times) -> npt.NDArray[np.complex128]:
    keys = np.empty(len(ids), np.complex128)
    keys.real = ids
    keys.imag = numbers
    return keys
