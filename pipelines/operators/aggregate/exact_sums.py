"""Sums and sums of squares without any rounding, so that they do not depend on how samples are spread and joined.

A value of a point with a resolution is the whole number of its steps, any other value is itself. A float64 is cut into
three *slices*: whole numbers of at most 26 bits, in units of ``2**(26 * n)`` for some n. Slices of one unit add exactly
as integers in any order, as long as there are fewer than 2**37 of them; a square is exact as a pair of float64 and
makes up to five slices. Only the end result is rounded, out of twice the precision of a float64. After J. Demmel and
H. D. Nguyen, "Fast Reproducible Floating-Point Summation", ARITH 21, 2013, with slices that are kept apart.

A sum is known outside by its slices, :class:`Slice`: total = Σ value x 2**(26 n) x step, or x step² for squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.base import grown
from pipelines.operators.aggregate import double_double as dd
from pipelines.operators.reduce.tally import Keys, Tally, by_bin

if TYPE_CHECKING:
    from gateway.frame import Index, Values
    from pipelines.base import State

WIDTH: Final = 26
"""Bits of a slice."""
_UNIT: Final = 2.0**WIDTH
_OFFSET: Final = 1 << 7
"""Slice 0 in a bin; slices lie between -85 and 80."""
INFINITE: Final = 100
"""As a slice: how often infinity was added; -100 for its negative."""
_SLICE_BITS: Final = 8
_SQUARE: Final = 1 << _SLICE_BITS
_STEP_SHIFT: Final = _SLICE_BITS + 1
_STEPS_BITS: Final = 10
_MOST_STEPS: Final = 1 << _STEPS_BITS
"""Different steps that are kept apart; values of more are added as they are."""
_MOST_DENSE: Final = 16
"""Bins that have a column of their own, 8 bytes a window; what belongs to others goes to the tally at once."""
_FAR: Final = 30
"""Beyond it a unit is no float64 any more."""
_NONE: Final[Keys] = np.empty(0, np.int64)


@dataclass(frozen=True, order=True)
class Slice:
    """One of the integers that a sum consists of."""

    square: bool
    step: float
    """The resolution of the points; 0 for values as they are."""
    number: int
    """The unit is ``2**(26 * number)``; :data:`INFINITE` and its negative count infinities."""


class ExactSums:
    """Sums by window, exact; ``squares`` also those of the squares."""

    def __init__(self, *, squares: bool) -> None:
        self._squares = squares
        self._tally = Tally(_STEP_SHIFT + _STEPS_BITS)
        self._dense: dict[int, Keys] = {}
        """What is not in the tally yet: by bin a sum for each window."""
        self._steps = [0.0]
        self._known = {0.0: 0}

    def step(self, resolution: float) -> int:
        """The number of a step, made when new; 0 stands for values as they are."""
        found = self._known.get(resolution)
        if found is None:
            if len(self._steps) == _MOST_STEPS:
                return 0
            found = self._known[resolution] = len(self._steps)
            self._steps.append(resolution)
        return found

    @property
    def tally(self) -> Tally:
        """All sums by window and slice."""
        for key, column in self._dense.items():
            windows = np.flatnonzero(column)
            if len(windows):
                self._tally.count(windows, np.full(len(windows), key, np.int64), column[windows])
                column[windows] = 0
        return self._tally

    def add(self, windows: Index, values: Values, steps: Index | int) -> None:
        """Add values, [n], of points with the steps of these numbers, [n] or the same for all."""
        family: Keys | int = steps << _STEP_SHIFT if isinstance(steps, int) else steps.astype(np.int64) << _STEP_SHIFT
        if np.any(steps):
            size = np.asarray(self._steps)[steps]
            with np.errstate(over="ignore"):
                values = np.where(size > 0, np.rint(values / np.where(size > 0, size, 1.0)), values)
        self._add(windows, values, family)
        if self._squares:
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                high, low = dd.two_product(values, values)
            self._add(windows, high, family | _SQUARE)
            self._add(windows, low, family | _SQUARE)

    def _add(self, windows: Index, values: Values, family: Keys | int) -> None:
        if not np.isfinite(values).all():
            family = np.broadcast_to(family, values.shape)
            finite = np.isfinite(values)
            number = np.where(values[~finite] > 0, INFINITE, -INFINITE)
            self._tally.count(windows[~finite], family[~finite] | (number + _OFFSET))
            windows, values, family = windows[finite], values[finite], family[finite]
        number = (np.frexp(values)[1].astype(np.int64) - 1) // WIDTH
        if isinstance(family, int) and len(values) and self._add_dense(windows, values, number, family):
            return
        first = np.ldexp(values, -WIDTH * number)
        key = family | (number + _OFFSET)
        high, middle, low = _cut(first)
        whole = np.concatenate([high, middle, low])
        some = np.flatnonzero(whole)
        windows, keys = np.concatenate([windows] * 3), np.concatenate([key, key - 1, key - 2])
        self._tally.count(windows[some], keys[some], whole[some].astype(np.int64))

    def _add_dense(self, windows: Index, values: Values, number: Keys, family: int) -> bool:
        """Into columns over windows, if the values are of few magnitudes, as measurements are; whether they are."""
        lowest, highest = int(number.min()), int(number.max())
        keys = {family | (number + _OFFSET) for number in range(lowest - 2, highest + 1)}
        if max(abs(lowest), abs(highest)) > _FAR or len(keys | self._dense.keys()) > _MOST_DENSE:
            return False
        size = int(windows.max()) + 1
        for one in range(lowest, highest + 1):
            first, slots = values, windows
            if lowest != highest:
                chosen = np.flatnonzero(number == one)
                first, slots = values[chosen], windows[chosen]
            for less, whole in enumerate(_cut(first * 2.0 ** (-WIDTH * one))):
                if whole.any():
                    key = family | (one - less + _OFFSET)
                    column = self._dense[key] = grown(self._dense.get(key, _NONE), size)
                    np.add.at(column, slots, whole.astype(np.int64))
        return True

    def add_slices(self, windows: Index, one: Slice, values: Values) -> None:
        """Add what another node has added up, [n]: the values of one slice."""
        number = self.step(one.step)
        key = (number << _STEP_SHIFT) | (_SQUARE if one.square else 0) | (one.number + _OFFSET)
        whole = np.rint(np.clip(values, -(2.0**62), 2.0**62)).astype(np.int64)
        self._tally.count(windows, np.full(len(windows), key, np.int64), whole)

    def slices(self, tally: Tally, windows: Index | None = None) -> list[tuple[Slice, Index, Values]]:
        """What a tally of these sums holds, by slice: windows and values, each [k]; in a fixed order.

        Args:
            tally: the sums.
            windows: those that have a slice in any case, be it zero.
        """
        found = {
            self._slice(key): (rows, counts.astype(np.float64))
            for key, rows, counts in by_bin(*_carried(*tally.entries()))
        }
        if windows is not None:
            for square in (False, True)[: 1 + self._squares]:
                some = [rows for one, (rows, _) in found.items() if one.square == square]
                none = np.setdiff1d(windows, np.concatenate([windows[:0], *some]))
                if len(none):
                    rows, values = found.get(Slice(square, 0.0, 0), (windows[:0], np.empty(0)))
                    found[Slice(square, 0.0, 0)] = np.append(rows, none), np.append(values, np.zeros(len(none)))
        return [(one, *found[one]) for one in sorted(found)]

    def _slice(self, key: int) -> Slice:
        number = (key & (_SQUARE - 1)) - _OFFSET
        return Slice(bool(key & _SQUARE), self._steps[key >> _STEP_SHIFT], number)

    def totals(self, tally: Tally, windows: int) -> tuple[dd.Pair, dd.Pair]:
        """The sum and the sum of squares of each window from 0 on, each a pair of [windows]."""
        sums = [(np.zeros(windows), np.zeros(windows)) for _ in range(2)]
        parts: dict[tuple[bool, float], dd.Pair] = {}
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for one, rows, values in self.slices(tally):
                if abs(one.number) == INFINITE:
                    sums[one.square][0][rows] += math.copysign(math.inf, one.number)
                    continue
                part = parts.setdefault((one.square, one.step), (np.zeros(windows), np.zeros(windows)))
                added = dd.add(
                    (part[0][rows], part[1][rows]), (np.ldexp(values, WIDTH * one.number), np.zeros(len(rows)))
                )
                part[0][rows], part[1][rows] = added
            for (square, step), part in parts.items():
                factor = _factor(step, windows, square=square)
                sums[square] = dd.add(sums[square], part if factor is None else dd.multiply(part, factor))
        return sums[0], sums[1]

    def snapshot(self) -> State:
        """All sums, and the steps they are in."""
        return {**self.tally.snapshot(), "steps": np.array(self._steps)}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._dense = {}
        self._tally.restore(state)
        self._steps = state["steps"].tolist()
        self._known = {step: number for number, step in enumerate(self._steps)}


def _cut(first: Values) -> tuple[Values, Values, Values]:
    """Whole numbers of 26 bits each, of values below 2**26."""
    high = np.trunc(first)
    second = (first - high) * _UNIT
    middle = np.trunc(second)
    return high, middle, (second - middle) * _UNIT


def _factor(step: float, windows: int, *, square: bool) -> dd.Pair | None:
    if not step:
        return None
    size = np.full(windows, step)
    return dd.two_product(size, size) if square else (size, np.zeros(windows))


def _carried(windows: Index, bins: Keys, counts: Keys) -> tuple[Index, Keys, Keys]:
    """Counts that a float64 holds exactly: what is larger goes over to the next slice."""
    large = np.abs(counts) >= 1 << 52
    if not large.any():
        return windows, bins, counts
    over = counts[large] >> WIDTH
    counts = counts.copy()
    counts[large] -= over << WIDTH
    other = Tally(_STEP_SHIFT + _STEPS_BITS)
    other.count(np.concatenate([windows, windows[large]]), np.concatenate([bins, bins[large] + 1]),
                np.concatenate([counts, over]))  # fmt: skip
    return other.entries()


def variance(total: dd.Pair, squares: dd.Pair, count: Values) -> Values:
    """The mean squared deviation from the mean, [n], of ``count`` values with these sums."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        n = np.maximum(count, 1.0)
        mean = dd.divide(total, n)
        high, low = dd.multiply(total, mean)
        rest = dd.divide(dd.add(squares, (-high, -low)), n)
        return np.maximum(rest[0] + rest[1], 0.0)
