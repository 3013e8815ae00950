"""Partial results: what a window holds, as samples that merge by adding, or by taking the least or the greatest.

A partial result of a window is a set of samples of derived points with the window's end as their time. Each says in its
name all that is needed to go on with it, so that it survives formats that know nothing but names:

* ``#count`` and ``#rejected``: valid samples, and the others.
* ``#min``, ``#max``.
* ``#sum.2@0.01``: slice 2 of the sum in steps of 0.01: its value times 2**(26 * 2) times 0.01 is a part of the sum.
  ``#sum.-1`` is a slice of plain values; ``#sum.100`` and ``#sum.-100`` count infinities. See
  :mod:`~pipelines.operators.aggregate.exact_sums`.
* ``#sumsq.0@0.01``: likewise of the squares, in steps of 0.01 squared.
* ``#hist.below``, ``#hist.0`` ... ``#hist.above``: the bins of a declared histogram.
* ``#bin.57@0.01``: bin 57 of a DDSketch with 1 % relative error, see :mod:`~pipelines.operators.aggregate.ddsketch`.
* ``#parts``: of how many windows it was merged, if that is more than one.

All values are whole numbers but for ``#min`` and ``#max``, so every way to merge gives the same bits.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from gateway.frame import Frame, Ids, Index, Mask, Times, Values
from gateway.point import Kind, Merge
from pipelines.operators.aggregate.ddsketch import Bins
from pipelines.operators.aggregate.exact_sums import INFINITE, Slice
from pipelines.operators.aggregate.groups import SQUARED
from pipelines.operators.aggregate.window_cells import ABOVE, Closed
from pipelines.operators.aggregate.window_results import (
    COUNT,
    MAX,
    MIN,
    Wanted,
    histogram,
    histogram_suffix,
    in_order,
    joined_quality,
)
from pipelines.operators.reduce.tally import by_bin

if TYPE_CHECKING:
    from pipelines.operators.aggregate.groups import Names

_SUM: Final[dict[str, Any]] = {"kind": Kind.GAUGE, "limits": None, "resolution": None, "merge": Merge.ADD}
_NAME: Final = re.compile(
    r"(?P<base>[^#]+)#(?:(?P<plain>count|rejected|min|max|parts)|hist\.(?P<hist>below|above|\d{1,4})"
    r"|(?P<sum>sum|sumsq)\.(?P<slice>-?\d{1,3})(?:@(?P<step>[0-9.e+-]{1,32}))?"
    r"|bin\.(?P<bin>-?\d{1,7})@(?P<accuracy>[0-9.e-]{1,32}))\Z",
    re.DOTALL,
)


class What(StrEnum):
    """What a sample of a partial result is."""

    COUNT = "count"
    REJECTED = "rejected"
    MIN = "min"
    MAX = "max"
    PARTS = "parts"
    HISTOGRAM = "hist"
    SLICE = "sum"
    BIN = "bin"


class Share(msgspec.Struct, frozen=True):
    """One derived point of a partial result, as its name says it."""

    base: str
    """The name before the ``#``."""
    what: What
    number: int = 0
    """Of a bin."""
    accuracy: float = 0.0
    """The relative error of a sketch."""
    slice: Slice | None = None

    @property
    def seen(self) -> int:
        """The bits of :data:`~pipelines.operators.aggregate.window_columns.SEEN` that it stands for."""
        if self.slice is not None:
            return 2 if self.slice.square else 1
        return {What.MIN: 4, What.MAX: 8, What.HISTOGRAM: 16, What.BIN: 32}.get(self.what, 0)


def share_of(name: str) -> Share | None:
    """What a point's name says; None if it is not one of a partial result."""
    match = _NAME.match(name)
    if match is None:
        return None
    base = match["base"]
    if match["plain"]:
        return Share(base, What(match["plain"]))
    if match["hist"]:
        number = {"below": 0, "above": ABOVE}.get(match["hist"])
        number = int(match["hist"]) + 1 if number is None else number
        return Share(base, What.HISTOGRAM, number) if number <= ABOVE else None
    if match["sum"]:
        return _slice_of(base, match)
    accuracy, number = _number(match["accuracy"]), int(match["bin"])
    if not 1e-4 <= accuracy <= 0.5 or abs(number) > bins_for(accuracy).steps:
        return None
    return Share(base, What.BIN, number, accuracy)


def _slice_of(base: str, match: re.Match[str]) -> Share | None:
    number, step = int(match["slice"]), _number(match["step"] or "0")
    if (abs(number) > 90 and abs(number) != INFINITE) or not 0 <= step < np.inf or (match["step"] and not step):
        return None
    return Share(base, What.SLICE, slice=Slice(match["sum"] == "sumsq", step, number))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


@lru_cache(maxsize=256)
def bins_for(accuracy: float) -> Bins:
    """The bins of sketches with this relative error."""
    return Bins(accuracy)


def slice_suffix(one: Slice) -> str:
    """``#sum.2@0.01``."""
    step = f"@{one.step!r}" if one.step else ""
    return f"#{'sumsq' if one.square else 'sum'}.{one.number}{step}"


def bin_suffix(number: int, accuracy: float) -> str:
    """``#bin.57@0.01``."""
    return f"#bin.{number}@{accuracy!r}"


def partials(names: Names, wanted: Wanted, closed: Closed, end: Times) -> Frame:
    """The samples of partial results, in the order of the windows.

    Args:
        names: where the derived points are made.
        wanted: the bins of sketches and histograms, and whose sums ``closed.exact`` holds.
        closed: m windows.
        end: the end of each window, [m].
    """
    columns = closed.columns
    word = joined_quality(closed)  # that samples were rejected is told by their number
    some = columns["count"] > 0
    frames: list[tuple[Index, Frame]] = []

    def give(rows: Index, suffix: str, facts: dict[str, Any], value: Values) -> None:
        ids: Ids = names.derive(columns["point"][rows], suffix, facts)
        frames.append((rows, Frame(ids, end[rows], value, word[rows])))

    def column(name: str, facts: dict[str, Any], where: Mask) -> None:
        rows = np.flatnonzero(where)
        if name in columns and len(rows):
            give(rows, f"#{name}", facts, columns[name][rows] + 0.0)  # no -0.0, which depends on the order

    column("count", COUNT, np.ones(len(closed), np.bool_))
    column("rejected", COUNT, columns["rejected"] > 0)
    column("parts", COUNT, columns["parts"] > 1 if "parts" in columns else some)
    column("min", MIN, some)
    column("max", MAX, some)
    if closed.exact is not None and wanted.exact is not None:
        for one, rows, values in wanted.exact.slices(closed.exact, np.flatnonzero(some)):
            give(rows, slice_suffix(one), _SUM | ({"unit": SQUARED} if one.square else {}), values)
    if closed.histogram is not None:
        for number, rows, values in histogram(wanted, closed.histogram, len(closed)):
            give(rows, histogram_suffix(number), COUNT, values)
    if closed.sketch is not None:
        assert wanted.bins is not None
        for number, rows, counts in by_bin(*closed.sketch.entries()):
            give(rows, bin_suffix(number - wanted.bins.steps, wanted.bins.accuracy), COUNT, counts.astype(np.float64))
    return in_order(frames)
