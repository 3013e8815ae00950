"""Quantiles with a bounded relative error, for many windows at once.

DDSketch: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
Relative-Error Guarantees", PVLDB 12(12), 2019. A value x > 0 is counted in bin ceil(log_gamma(x)) with
gamma = (1 + a) / (1 - a); the middle of a bin, 2 gamma^i / (gamma + 1), is within a * x of everything in it.
Two sketches merge by adding their counts, so neither order nor grouping of samples changes a result.

Here bins are numbered in the order of the values they stand for: negative ones, zero, positive ones. A bin of
a window is one integer key, and the counts of all windows are two parallel arrays sorted by it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from gateway.frame import Index, Values

Keys = npt.NDArray[np.int64]

ACCURACY = 0.01
"""Largest relative error of a quantile."""
SMALLEST = 1e-12
"""Smaller magnitudes count as zero."""
LARGEST = 1e18
"""Larger magnitudes count as this. The two bound what a window can cost: 6,913 bins of 16 bytes."""

_LOG_GAMMA = math.log((1 + ACCURACY) / (1 - ACCURACY))
_FIRST = math.ceil(math.log(SMALLEST) / _LOG_GAMMA)
_BINS = math.ceil(math.log(LARGEST) / _LOG_GAMMA) - _FIRST + 1
_ZERO = _BINS
_SHIFT = 13  # 2 * _BINS + 1 = 6,913 bins fit below 2**13
_BIN_MASK = (1 << _SHIFT) - 1
_PENDING = 1 << 15


def bins_of(values: Values) -> Keys:
    """The bin of each value, [n]; values are numbers, infinities allowed."""
    size = np.clip(np.abs(values), SMALLEST, LARGEST)
    step = np.ceil(np.log(size) / _LOG_GAMMA).astype(np.int64) - _FIRST + 1
    step = np.clip(step, 1, _BINS)
    step[np.abs(values) < SMALLEST] = 0
    signed: Keys = np.where(values < 0, -step, step)
    return signed + _ZERO


def values_of(bins: Keys) -> Values:
    """The value that stands for each bin, [n]."""
    step = bins - _ZERO
    exponent = (np.abs(step) + _FIRST - 1) * _LOG_GAMMA
    middle = np.exp(exponent) * (1 - ACCURACY)  # 2 / (gamma + 1) = 1 - a
    return np.where(step == 0, 0.0, np.sign(step) * middle)


class Sketches:
    """Counts by (window number, bin). Window numbers are below 2**50."""

    def __init__(self) -> None:
        self._keys: Keys = np.empty(0, np.int64)
        self._counts: Keys = np.empty(0, np.int64)
        self._pending: list[Keys] = []
        self._pending_size = 0

    def add(self, windows: Index, values: Values) -> None:
        """Count each value in its window."""
        self._pending.append((windows.astype(np.int64) << _SHIFT) | bins_of(values))
        self._pending_size += len(values)
        if self._pending_size > max(_PENDING, len(self._keys)):
            self._settle()

    def _settle(self) -> None:
        if not self._pending:
            return
        fresh, counts = np.unique(np.concatenate(self._pending), return_counts=True)
        self._pending, self._pending_size = [], 0
        keys = np.concatenate([self._keys, fresh])
        self._keys, inverse = np.unique(keys, return_inverse=True)
        totals = np.zeros(len(self._keys), np.int64)
        np.add.at(totals, inverse, np.concatenate([self._counts, counts]))
        self._counts = totals

    def quantiles(self, windows: Index, fractions: list[float]) -> list[Values]:
        """For each fraction q the value of rank floor(q * (n - 1)) in each window, [windows].

        Args:
            windows: numbers of windows, in any order; one without values gives 0.
            fractions: between 0 and 1.
        """
        self._settle()
        if not len(self._keys):
            return [np.zeros(len(windows)) for _ in fractions]
        total = np.concatenate([[0], np.cumsum(self._counts)])
        first = np.searchsorted(self._keys, windows.astype(np.int64) << _SHIFT)
        last = np.searchsorted(self._keys, (windows.astype(np.int64) + 1) << _SHIFT)
        below, n = total[first], total[last] - total[first]
        found = []
        for fraction in fractions:
            rank = np.floor(fraction * np.maximum(n - 1, 0)).astype(np.int64)
            at = np.searchsorted(total, below + rank, side="right") - 1
            at = np.minimum(at, len(self._keys) - 1)
            value = values_of(self._keys[at] & _BIN_MASK)
            found.append(np.where(n > 0, value, 0.0))
        return found

    def renumber(self, numbers: Index) -> None:
        """Give each window its new number, [windows]; -1 forgets it. The order of numbers may not change."""
        self._settle()
        new = numbers[self._keys >> _SHIFT]
        kept = new >= 0
        self._keys = (new[kept].astype(np.int64) << _SHIFT) | (self._keys[kept] & _BIN_MASK)
        self._counts = self._counts[kept]

    def snapshot(self) -> dict[str, Keys]:
        """Keys and counts."""
        self._settle()
        return {"keys": self._keys.copy(), "counts": self._counts.copy()}

    def restore(self, state: dict[str, Keys]) -> None:
        """The inverse of :meth:`snapshot`."""
        self._keys, self._counts = state["keys"].copy(), state["counts"].copy()
        self._pending, self._pending_size = [], 0
