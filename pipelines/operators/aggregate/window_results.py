"""From what closed windows hold to samples of derived points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway import quality as q
from gateway.frame import EMPTY, Frame
from gateway.point import Kind, Merge
from pipelines.operators.aggregate.ddsketch import Bins, quantiles
from pipelines.operators.aggregate.exact_sums import variance
from pipelines.operators.aggregate.groups import SQUARED
from pipelines.operators.aggregate.window_cells import ABOVE, SEVERITY_SHIFT, Closed
from pipelines.operators.aggregate.window_columns import SEEN
from pipelines.operators.reduce.tally import by_bin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.frame import Index, Mask, Qualities, Times, Values
    from pipelines.operators.aggregate.exact_sums import ExactSums
    from pipelines.operators.aggregate.groups import Names
    from pipelines.operators.aggregate.window_columns import Columns
    from pipelines.operators.reduce.tally import Tally

SECOND_NS: Final = 1_000_000_000
VALIDITIES: Final = ("good", "questionable", "invalid")
"""What the numbers of ``validity`` stand for."""
_PLAIN: Final[dict[str, Any]] = {"kind": Kind.GAUGE, "resolution": None, "merge": Merge.LAST}
"""A mean or quantile: no state any more, and between the steps of the resolution."""
_NUMBER: Final[dict[str, Any]] = _PLAIN | {"unit": "1", "limits": None}
COUNT: Final[dict[str, Any]] = _NUMBER | {"resolution": 1.0, "merge": Merge.ADD}
MIN: Final[dict[str, Any]] = {"merge": Merge.MIN}
MAX: Final[dict[str, Any]] = {"merge": Merge.MAX}
_SECONDS: Final[dict[str, Any]] = _NUMBER | {"unit": "s"}
_FACTS: Final[dict[str, dict[str, Any]]] = {
    "count": COUNT,
    "distinct": _NUMBER,
    "coverage": _NUMBER | {"limits": (0.0, 1.0)},
    "validity": _NUMBER | {"unit": "", "kind": Kind.STATE},
    "sum": {"kind": Kind.GAUGE, "limits": None, "merge": Merge.ADD},
    "min": MIN,
    "max": MAX,
    "first": {"merge": Merge.LAST},
    "last": {"merge": Merge.LAST},
    "range": {"kind": Kind.GAUGE, "limits": None, "merge": Merge.LAST},
    "variance": _PLAIN | {"limits": None, "unit": SQUARED},
    "stddev": _PLAIN | {"limits": None},
    "min_time": _SECONDS,
    "max_time": _SECONDS,
    "histogram": COUNT,
    "duration": _SECONDS | {"merge": Merge.ADD},
}
"""What a statistic's point has otherwise than the point it is of."""


@dataclass(frozen=True)
class Wanted:
    """Which results, and what they are made with."""

    stats: tuple[str, ...]
    expect_ns: int = 0
    """0 for none."""
    by_time: bool = False
    """Whether ``coverage`` is the part of the window in which a value was in force."""
    bins: Bins | None = None
    """Of the sketches."""
    histogram: list[int] = field(default_factory=list)
    """The declared bins, in their order; none for those that come in partial results."""
    exact: ExactSums | None = None
    sources: int = 0
    """How many partial results a whole window has; 0 for any."""
    texts: list[str] = field(default_factory=list)
    """What durations are of, by number."""


@dataclass(frozen=True)
class _Part:
    """One derived point of some windows."""

    suffix: str
    facts: dict[str, Any]
    value: Values
    nothing: Mask | None = None
    """Where there is no value; None: where no sample was valid."""
    rows: Index | None = None
    """Which windows; None for all."""
    texts: tuple[str, ...] = ()


def results(names: Names, wanted: Wanted, closed: Closed, length: Times, end: Times) -> Frame:
    """One sample a window and statistic, in the order of the windows and then of the statistics.

    Args:
        names: where the derived points are made.
        wanted: which statistics.
        closed: m windows.
        length: how long each is in ns, [m].
        end: when each ends, [m].
    """
    word, invalid = quality_of(closed)
    empty = closed.columns["count"] == 0
    every = np.arange(len(closed))
    frames: list[tuple[Index, Frame]] = []
    for part in _parts(wanted, closed, length):
        rows = every if part.rows is None else part.rows
        nothing = (empty | _lacking(part.suffix, closed))[rows] if part.nothing is None else part.nothing
        not_a_number = np.isnan(part.value) & ~nothing
        value = np.where(nothing, q.no_value(q.Reason.NO_VALID_SAMPLES), part.value)
        value = np.where(not_a_number, q.no_value(q.Reason.NOT_A_NUMBER), value)
        words = np.where(nothing | not_a_number, invalid[rows], word[rows])
        ids = names.derive(closed.columns["point"][rows], part.suffix, part.facts, part.texts)
        frames.append((rows, Frame(ids, end[rows], value, words)))
    return in_order(frames)


def _lacking(suffix: str, closed: Closed) -> Mask | bool:
    """Where partial results came without what a statistic needs, [m]."""
    if "seen" not in closed.columns:
        return False
    need = SEEN["quantile" if suffix.startswith("#p") else suffix[1:]]
    lacking: Mask = (closed.columns["seen"] & need) != need
    return lacking


def in_order(frames: list[tuple[Index, Frame]]) -> Frame:
    """All samples by window, then in the order of the frames; each comes with the windows of its samples."""
    if not frames:
        return EMPTY
    rows = np.concatenate([one for one, _ in frames])
    order = np.argsort(rows, kind="stable")
    columns = [(f.point, f.time, f.value, f.quality) for _, f in frames]
    return Frame(*(np.concatenate(column)[order] for column in zip(*columns, strict=True)))


def quality_of(closed: Closed) -> tuple[Qualities, Qualities]:
    """The quality of results that have a value and of those that have none, each [m]."""
    word = joined_quality(closed)
    flags = word & np.uint16(0xFFFF ^ q.VALIDITY)
    word |= np.where(closed.columns["rejected"] > 0, q.INACCURATE, 0).astype(np.uint16)
    return word, flags | np.uint16(q.INVALID)


def joined_quality(closed: Closed) -> Qualities:
    """All flags of the inputs, and questionable where any was worse than good, [m]."""
    marks = closed.columns["marks"]
    flags = (marks & (0xFFFF ^ q.VALIDITY)).astype(np.uint16)
    if closed.again is not None:
        flags |= np.where(closed.again, q.HISTORICAL, 0).astype(np.uint16)
    word: Qualities = flags | np.where(marks >> SEVERITY_SHIFT > 1, q.QUESTIONABLE, q.GOOD).astype(np.uint16)
    return word


def _parts(wanted: Wanted, closed: Closed, length: Times) -> Iterator[_Part]:
    columns = closed.columns
    never = np.zeros(len(closed), np.bool_)
    totals = _Totals(wanted, closed)
    fractions = tuple(fraction(stat) for stat in wanted.stats if stat.startswith("p"))
    found = iter(_quantiles(wanted, closed, fractions))
    for stat in wanted.stats:
        facts = _FACTS.get(stat, _PLAIN)
        if stat.startswith("p"):
            yield _Part(f"#{stat}", facts, next(found))
        elif stat in _ALWAYS:
            value = _always(stat, wanted, closed, length)
            yield _Part(f"#{stat}", facts, value, never, texts=VALIDITIES if stat == "validity" else ())
        elif stat == "histogram":
            assert closed.histogram is not None
            for number, rows, value in histogram(wanted, closed.histogram, len(closed)):
                yield _Part(histogram_suffix(number), facts, value, never[rows], rows)
        elif stat == "duration":
            yield from _durations(wanted, closed)
        elif stat == "wmean":
            with np.errstate(invalid="ignore", over="ignore"):
                value = columns["integral"] / np.maximum(columns["covered"] / SECOND_NS, 1e-9)
            yield _Part("#wmean", facts, value, columns["covered"] == 0)
        elif stat in {"sum", "mean", "variance", "stddev"}:
            yield _Part(f"#{stat}", facts, totals.value(stat))
        else:
            yield _Part(f"#{stat}", facts, _plain(stat, columns))


_ALWAYS: Final = frozenset({"count", "coverage", "validity", "distinct"})
"""Statistics that have a value also where no sample was valid."""


def fraction(stat: str) -> float:
    """0.95 for ``p95``."""
    part = float(stat[1:]) / 100
    return math.nextafter(1, 0) if part >= 1 else part


def _quantiles(wanted: Wanted, closed: Closed, fractions: tuple[float, ...]) -> list[Values]:
    if not fractions:
        return []
    assert closed.sketch is not None
    assert wanted.bins is not None
    return quantiles(closed.sketch, wanted.bins, np.arange(len(closed)), fractions)


def _always(stat: str, wanted: Wanted, closed: Closed, length: Times) -> Values:
    columns = closed.columns
    if stat == "count":
        return columns["count"].astype(np.float64)
    if stat == "coverage":
        return _coverage(wanted, columns, length)
    if stat == "distinct":
        assert closed.distinct is not None
        return closed.distinct.counts(len(closed))
    worst = columns["marks"] >> SEVERITY_SHIFT  # 2 for questionable, more for what is worse
    return np.where(worst >= 4, 2.0, np.where(worst > 1, 1.0, 0.0))


def _coverage(wanted: Wanted, columns: Columns, length: Times) -> Values:
    if wanted.expect_ns:
        return np.minimum(1.0, columns["count"] * (wanted.expect_ns / length))
    if wanted.by_time:
        return np.minimum(1.0, columns["covered"] / np.maximum(length, 1))
    share: Values = columns["count"] / np.maximum(columns["count"] + columns["rejected"], 1)
    return share if not wanted.sources else share * np.minimum(1.0, columns["parts"] / wanted.sources)


def _plain(stat: str, columns: Columns) -> Values:
    if stat == "range":
        with np.errstate(invalid="ignore", over="ignore"):
            value: Values = columns["max"] - columns["min"]
        return value
    if stat in {"min_time", "max_time"}:
        return columns[stat] / SECOND_NS
    value = columns[stat].astype(np.float64)
    return value + 0.0 if stat in {"min", "max"} else value  # no -0.0, which depends on the order of the samples


def histogram(wanted: Wanted, tally: Tally, windows: int) -> Iterator[tuple[int, Index, Values]]:
    """Each bin with windows and their counts; all declared ones of all windows, or those that came."""
    found = {number: (rows, counts.astype(np.float64)) for number, rows, counts in by_bin(*tally.entries())}
    every = np.arange(windows)
    for number in wanted.histogram or sorted(found):
        rows, counts = found.get(number, (every[:0], np.empty(0)))
        if wanted.histogram:
            value = np.zeros(windows)
            value[rows] = counts
            rows, counts = every, value
        yield number, rows, counts


def histogram_suffix(number: int) -> str:
    """``#hist.below``, ``#hist.0`` ... ``#hist.above`` for a bin."""
    return {0: "#hist.below", ABOVE: "#hist.above"}.get(number, f"#hist.{number - 1}")


def _durations(wanted: Wanted, closed: Closed) -> Iterator[_Part]:
    """Seconds in each state that occurred."""
    assert closed.durations is not None
    found = by_bin(*closed.durations.entries())
    for number, rows, spans in sorted(found, key=lambda one: wanted.texts[one[0]]):
        suffix = f"#duration.{wanted.texts[number]}"
        yield _Part(suffix, _FACTS["duration"], spans / SECOND_NS, np.zeros(len(rows), np.bool_), rows)


class _Totals:
    """Sums, and what follows from them; of columns, or of exact sums where those are kept."""

    def __init__(self, wanted: Wanted, closed: Closed) -> None:
        self._columns = closed.columns
        self._count = np.maximum(closed.columns["count"].astype(np.float64), 1.0)
        self._exact = None
        if closed.exact is not None and wanted.exact is not None:
            self._exact = wanted.exact.totals(closed.exact, len(closed))

    def value(self, stat: str) -> Values:
        """A statistic of each window, [m]."""
        if stat == "sum":
            return self._sum()
        if stat == "mean":
            return self._sum() / self._count
        squared = self._variance()
        return squared if stat == "variance" else np.sqrt(squared)

    def _sum(self) -> Values:
        if self._exact is not None:
            return self._exact[0][0]
        with np.errstate(over="ignore"):
            total: Values = self._columns["sum"] * self._steps()
        return total

    def _steps(self) -> Values:
        return np.where(self._columns["step"] > 0, self._columns["step"], 1.0)

    def _variance(self) -> Values:
        if self._exact is not None:
            return variance(*self._exact, self._count)
        with np.errstate(over="ignore", invalid="ignore"):
            off, off2 = self._columns["off"], self._columns["off2"]
            squared = np.maximum((off2 - off * off / self._count) / self._count, 0.0)
            result: Values = squared * self._steps() ** 2
        return result
