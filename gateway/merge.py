"""Combining several values of one point for one time by the point's merge rule. A leaf."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import Frame, group_starts
from gateway.point import Merge

RULES = (Merge.LAST, Merge.ADD, Merge.MIN, Merge.MAX)
"""The order of the codes in a rule column."""


def merged(frame: Frame, rules: npt.NDArray[np.uint8]) -> Frame:
    """One sample for each (point, time), ordered by point and time.

    Args:
        frame: any samples, n of them.
        rules: for each sample the index of its point's rule in :data:`RULES`, [n].

    Additions run in the order of the samples; they are exact, and so independent of that order, while
    values are integers (sums scaled by the point's resolution) below 2**53. The quality is the worst of
    those joined; under ``last`` it is that of the value taken.
    """
    order = np.lexsort((frame.time, frame.point))
    f, rule = frame.take(order), rules[order]
    if not len(f):
        return f
    starts = group_starts((f.point.astype(np.int64) << 32) ^ _dense(f.time))
    last = np.append(starts[1:], len(f)) - 1
    value = f.value[last].copy()
    for code, ufunc in ((1, np.add), (2, np.minimum), (3, np.maximum)):
        chosen = rule[starts] == code
        if chosen.any():
            with np.errstate(over="ignore", invalid="ignore"):  # infinities of other points, or of this one
                value[chosen] = ufunc.reduceat(f.value, starts)[chosen]
    words = f.quality & np.uint16(0xFFFF ^ q.VALIDITY)
    joined = np.bitwise_or.reduceat(words, starts) | q.validity_of(np.maximum.reduceat(q.severity(f.quality), starts))
    quality = np.where(rule[starts] == 0, f.quality[last], joined).astype(np.uint16)
    return Frame(f.point[starts], f.time[starts], value, quality)


def _dense(time: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A number below 2**32 for each distinct time, so that it can share a key with the point."""
    _, inverse = np.unique(time, return_inverse=True)
    return inverse.astype(np.int64)
