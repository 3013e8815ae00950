"""Quantiles with a bounded relative error, for many windows at once.

DDSketch: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
Relative-Error Guarantees", PVLDB 12(12), 2019. A value x > 0 is counted in bin ceil(log_gamma(x)) with
gamma = (1 + a) / (1 - a); the middle of a bin, 2 gamma^i / (gamma + 1), is within a * x of everything in it.
Two sketches merge by adding their counts, so neither order nor grouping of samples changes a result.

Here bins are numbered in the order of the values they stand for: negative ones, zero, positive ones; a *step* is
the same number with zero in the middle, which is what bins are called outside (:mod:`~.window_partials`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipelines.operators.reduce.tally import Keys, Tally

if TYPE_CHECKING:
    from gateway.frame import Index, Values

ACCURACY = 0.01
"""Largest relative error of a quantile, if nothing else is said."""
SMALLEST = 1e-12
"""Smaller magnitudes count as zero."""
LARGEST = 1e18
"""Larger magnitudes count as this. The two bound what a window can cost: 6,913 bins of 16 bytes at 1 %."""


class Bins:
    """The bins of sketches with one relative error."""

    def __init__(self, accuracy: float = ACCURACY) -> None:
        self.accuracy = accuracy
        self._log_gamma = math.log((1 + accuracy) / (1 - accuracy))
        self._first = math.ceil(math.log(SMALLEST) / self._log_gamma)
        self.steps = math.ceil(math.log(LARGEST) / self._log_gamma) - self._first + 1
        """Bins on each side of zero."""
        self.bits = (2 * self.steps + 1).bit_length()

    def of(self, values: Values) -> Keys:
        """The bin of each value, [n]; values are numbers, infinities allowed."""
        size = np.clip(np.abs(values), SMALLEST, LARGEST)
        step = np.ceil(np.log(size) / self._log_gamma).astype(np.int64) - self._first + 1
        step = np.clip(step, 1, self.steps)
        step[np.abs(values) < SMALLEST] = 0
        signed: Keys = np.where(values < 0, -step, step)
        return signed + self.steps

    def values(self, bins: Keys) -> Values:
        """The value that stands for each bin, [n]."""
        step = bins - self.steps
        exponent = (np.abs(step) + self._first - 1) * self._log_gamma
        middle = np.exp(exponent) * (1 - self.accuracy)  # 2 / (gamma + 1) = 1 - a
        return np.where(step == 0, 0.0, np.sign(step) * middle)


def quantiles(tally: Tally, bins: Bins, windows: Index, fractions: tuple[float, ...]) -> list[Values]:
    """For each fraction q the value of rank floor(q * (n - 1)) in each window, [windows].

    Args:
        tally: counts by bin.
        bins: what the bins stand for.
        windows: numbers of windows, in any order; one without values gives 0.
        fractions: between 0 and 1.
    """
    _, found, counts = tally.entries()
    if not len(found):
        return [np.zeros(len(windows)) for _ in fractions]
    total = np.concatenate([[0], np.cumsum(counts)])
    first, last = tally.bounds(windows)
    below, n = total[first], total[last] - total[first]
    wanted = []
    for fraction in fractions:
        rank = np.floor(fraction * np.maximum(n - 1, 0)).astype(np.int64)
        at = np.searchsorted(total, below + rank, side="right") - 1
        at = np.minimum(at, len(found) - 1)
        wanted.append(np.where(n > 0, bins.values(found[at]), 0.0))
    return wanted
