"""What a receiver can tell of a series from the samples that a reducing operator kept. Pure functions, no state.

Two rules, by the key of the operator in :data:`RECONSTRUCTION`:

* ``hold``: a value holds until the next one kept;
* ``linear``: a straight line between two neighbours that were kept. It is drawn between two finite numbers only;
  beside a NaN or an infinity the earlier one holds.

Before the first sample kept nothing is known (NaN); behind the last one it holds. Samples kept are taken by their
source time; of several with one time the last to come counts at that time, the first is where the line from before
ends, the last is where the line behind begins.

The bounds of the operators hold along times that do not go back. A source that sends old times again begins a
new piece; :func:`pieces` cuts there, and each piece is reconstructed by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from gateway.frame import Index, Times, Values

Kind = Literal["hold", "linear"]

RECONSTRUCTION: Final[dict[str, Kind]] = {
    "deadband": "hold",
    "dedup": "hold",
    "narrowband": "hold",
    "piecewise_linear": "linear",
    "rate_limit": "hold",
    "round": "hold",
    "sample": "hold",
    "swinging_door": "linear",
    "throttle": "hold",
    "top_k": "hold",
}
"""The rule for each operator that reduces; any other operator leaves no series to reconstruct."""


def reconstruct(kind: Kind, times: Times, values: Values, at: Times) -> Values:
    """The series at other times, [len(at)].

    Args:
        kind: the rule, ``hold`` or ``linear``.
        times: source times of the samples kept, ns, [n]; in the order in which they came.
        values: their values, [n].
        at: times to tell the value of, ns, [k]; in any order.
    """
    if not len(times):
        return np.full(len(at), np.nan)
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    behind = np.searchsorted(times, at, side="right")
    before = np.maximum(behind - 1, 0)
    result: Values = values[before]
    if kind == "linear":
        result = _lines(times, values, at, before, np.minimum(behind, len(times) - 1))
    result[behind == 0] = np.nan
    return result


def _lines(times: Times, values: Values, at: Times, before: Index, behind: Index) -> Values:
    """Values on the lines between the samples ``before`` and ``behind``, [k]."""
    left, right = values[before], values[behind]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        part = span(times[before], at) / span(times[before], times[behind])
        # Halves, because two finite numbers may lie further apart than the largest one.
        line = left + 2 * ((right / 2 - left / 2) * part)
    drawn = np.isfinite(left) & np.isfinite(right) & (times[before] < at) & (before != behind)
    return np.where(drawn, line, left)


def span(start: Times, end: Times) -> Values:
    """Nanoseconds from ``start`` to a later ``end``, [n]; right over all of int64."""
    return (end.view(np.uint64) - start.view(np.uint64)).astype(np.float64)


def pieces(times: Times) -> Index:
    """Where the times go back, and the pieces in between begin, [pieces]; the first is 0."""
    if not len(times):
        return np.empty(0, np.intp)
    return np.concatenate([np.zeros(1, np.intp), np.flatnonzero(times[1:] < times[:-1]) + 1])


def error(kind: Kind, came: tuple[Times, Values], kept: tuple[Times, Values]) -> Values:
    """How far the reconstruction lies from each sample that came, [n]; NaN where one of both is no number.

    Where several samples of one time were kept the series steps, and the nearest of them counts.

    Args:
        kind: the rule.
        came: times and values of all samples of a point.
        kept: those of the samples that were kept.
    """
    found = reconstruct(kind, *kept, came[0])
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(found - came[1])
        distance[found == came[1]] = 0.0  # equal infinities
        return np.fmin(distance, _from_twins(came, kept))


def _from_twins(came: tuple[Times, Values], kept: tuple[Times, Values]) -> Values:
    """How far the nearest sample kept of the very same time lies from each that came, [n]; NaN if there is none."""
    n, total = len(kept[0]), len(kept[0]) + len(came[0])
    time, value = np.concatenate([kept[0], came[0]]), np.concatenate([kept[1], came[1]])
    order = np.lexsort((value, time))
    time, value = time[order], value[order]
    place, is_kept = np.arange(total), order < n
    below = np.maximum.accumulate(np.where(is_kept, place, -1))
    above = np.minimum.accumulate(np.where(is_kept, place, total)[::-1])[::-1]
    distance = np.full(total, np.nan)
    for found in (below, above):
        at = np.clip(found, 0, total - 1)
        twin = is_kept[at] & (time[at] == time)
        own = np.where(value[at] == value, 0.0, np.abs(value[at] - value))
        distance = np.fmin(distance, np.where(twin, own, np.nan))
    result = np.empty(total)
    result[order] = distance
    return result[n:]
