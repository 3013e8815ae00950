"""Harmonics of a waveform by IEC 61000-4-7. Pure.

The window is 10 periods at 50 Hz or 12 at 60 Hz: 200 ms, so that a line of the Fourier transform lies at each 5 Hz
and the harmonic of order h at line h times the number of periods, p. Around each harmonic lines belong together:

* no grouping: the line itself.
* subgroup: the line and its two neighbours.
* group: all lines nearer to it than to the next harmonic, p / 2 to each side; the two at the border count half.

Each is a root of a sum of squares of r.m.s. values. The total distortion is that of the orders 2 to the highest over
the fundamental: THD, THDS (of subgroups; the one that IEC 61000-4-30 class A tells) or THDG (of groups).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gateway.frame import Values


class Grouping(enum.StrEnum):
    """Which lines count for a harmonic."""

    NONE = "none"
    SUBGROUP = "subgroup"
    GROUP = "group"


def harmonics(windows: Values, periods: int, highest: int, grouping: Grouping) -> Values:
    """R.m.s. values of the orders 1 to ``highest``.

    Args:
        windows: samples of whole windows, [m, n]; n even, and more than twice (highest + 1/2) times ``periods``.
        periods: periods of the fundamental in a window, 10 or 12.
        highest: the highest order.
        grouping: which lines count.

    Returns:
        [m, highest].
    """
    n = windows.shape[1]
    lines = np.abs(np.fft.rfft(windows, axis=1)) * (np.sqrt(2) / n)
    power = lines * lines
    at = periods * np.arange(1, highest + 1)
    total = power[:, at]
    if grouping is Grouping.SUBGROUP:
        total = total + power[:, at - 1] + power[:, at + 1]
    elif grouping is Grouping.GROUP:
        half = periods // 2
        for away in range(1, half):
            total = total + power[:, at - away] + power[:, at + away]
        total = total + (power[:, at - half] + power[:, at + half]) / 2
    result: Values = np.sqrt(total)
    return result


def distortion(orders: Values) -> Values:
    """Total harmonic distortion, a part of the fundamental, [m]; NaN without a fundamental."""
    first = orders[:, 0]
    rest = np.sqrt((orders[:, 1:] ** 2).sum(axis=1))
    result: Values = np.where(first > 0, rest / np.where(first > 0, first, 1.0), np.nan)
    return result


def rms(windows: Values) -> Values:
    """Root mean square of all samples of each window, [m]."""
    result: Values = np.sqrt((windows * windows).mean(axis=1))
    return result
