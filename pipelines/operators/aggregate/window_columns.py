"""What a window keeps of its samples, as columns over cells: their start, what needs them, and joining two cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway.frame import group_starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.frame import Index

Columns = dict[str, npt.NDArray[Any]]

LATEST: Final = int(np.iinfo(np.int64).max)
EARLIEST: Final = int(np.iinfo(np.int64).min)

SPEC: Final[dict[str, tuple[type[np.generic], float, frozenset[str]]]] = {
    # name: (type, what a new cell starts with, what needs it; empty: everything)
    "point": (np.int32, 0, frozenset()),
    "number": (np.int64, 0, frozenset()),
    "count": (np.int64, 0, frozenset()),
    "rejected": (np.int64, 0, frozenset()),
    "marks": (np.uint32, 0, frozenset()),
    "step": (np.float64, 0, frozenset({"sum", "mean", "variance", "stddev"})),
    "sum": (np.float64, 0, frozenset({"sum", "mean"})),
    "min": (np.float64, np.inf, frozenset({"min", "range", "min_time"})),
    "max": (np.float64, -np.inf, frozenset({"max", "range", "max_time"})),
    "last": (np.float64, 0, frozenset({"last"})),
    "last_time": (np.int64, EARLIEST, frozenset({"last"})),
    "first": (np.float64, np.nan, frozenset({"first"})),
    "first_time": (np.int64, LATEST, frozenset({"first"})),
    "min_time": (np.int64, LATEST, frozenset({"min_time"})),
    "max_time": (np.int64, LATEST, frozenset({"max_time"})),
    "pivot": (np.float64, np.nan, frozenset({"variance", "stddev"})),
    "off": (np.float64, 0, frozenset({"variance", "stddev"})),
    "off2": (np.float64, 0, frozenset({"variance", "stddev"})),
    "integral": (np.float64, 0, frozenset({"wmean"})),
    "covered": (np.int64, 0, frozenset({"wmean", "duration"})),
    "begin": (np.int64, LATEST, frozenset({"span"})),
    "end": (np.int64, EARLIEST, frozenset({"span"})),
    "told": (np.int64, 0, frozenset({"told"})),
    "parts": (np.int64, 0, frozenset({"parts"})),
    "seen": (np.int64, 0, frozenset({"seen"})),
}
"""``marks`` are the inputs' quality flags and severities; ``off`` and ``off2`` the sums of what the values differ from
the first one, ``pivot``, and of the squares; ``covered`` is in ns; ``told`` how many inputs went into a result already,
``parts`` of how many windows partial results came in, and ``seen`` (a bit each) with what they came."""

EXACTLY: Final = frozenset({"sum", "mean", "variance", "stddev"})
"""Statistics that come from exact sums instead of columns, where those are kept."""


SEEN: Final = {
    "sum": 1, "mean": 1, "variance": 3, "stddev": 3, "min": 4, "max": 8, "range": 12, "histogram": 16, "quantile": 32,
}  # fmt: skip
"""What a statistic needs to have ``seen`` of partial results, as bits."""


def columns_for(needs: frozenset[str]) -> list[str]:
    """The columns that some needs (statistics, mostly) take."""
    return [name for name, (_, _, of) in SPEC.items() if not of or of & needs]


def joined(columns: Columns, cells: Index, rows: Index) -> Columns:
    """The columns of several cells joined to one row, as if their samples had come one cell behind the other.

    Args:
        columns: of all cells.
        cells: which, [k].
        rows: the row that each goes to, [k]; rows grow, and begin at 0.

    Returns:
        Columns over rows.
    """
    taken = {name: column[cells] for name, column in columns.items()}
    starts = group_starts(rows)
    if len(starts) == len(rows):
        return taken
    if "step" in taken:
        _even_steps(taken, starts, rows)
    if "pivot" in taken:
        _one_pivot(taken, starts, rows)
    out: Columns = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for name, column in taken.items():
            reduce = _REDUCE.get(name)
            out[name] = column[starts] if reduce is None else reduce(column, starts)
    for value, time, newest in (("last", "last_time", True), ("first", "first_time", False)):
        if value in taken:
            at = _nth(taken[time] == out[time][rows], rows, starts, last=newest)
            out[value] = taken[value][at]
    for extreme in ("min", "max"):
        time = f"{extreme}_time"
        if time in taken:
            here = taken[extreme] == out[extreme][rows]
            out[time] = np.minimum.reduceat(np.where(here, taken[time], LATEST), starts)
    return out


_REDUCE: Final[dict[str, Callable[..., npt.NDArray[Any]]]] = {
    "count": np.add.reduceat,
    "rejected": np.add.reduceat,
    "marks": np.bitwise_or.reduceat,
    "sum": np.add.reduceat,
    "min": np.minimum.reduceat,
    "max": np.maximum.reduceat,
    "last_time": np.maximum.reduceat,
    "first_time": np.minimum.reduceat,
    "off": np.add.reduceat,
    "off2": np.add.reduceat,
    "integral": np.add.reduceat,
    "covered": np.add.reduceat,
    "begin": np.minimum.reduceat,
    "end": np.maximum.reduceat,
}
"""How a column joins; what is not here comes from the first cell, or is told above."""


def _even_steps(taken: Columns, starts: Index, rows: Index) -> None:
    """Where cells of a row count in different steps, because the point was told anew: go over to plain values."""
    mixed = taken["step"] != taken["step"][starts][rows]
    if not mixed.any():
        return
    mixed = np.logical_or.reduceat(mixed, starts)[rows]
    factor = np.where(mixed & (taken["step"] > 0), taken["step"], 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for name, power in (("sum", 1), ("pivot", 1), ("off", 1), ("off2", 2)):
            if name in taken:
                taken[name] = taken[name] * factor**power
    taken["step"] = np.where(mixed, 0.0, taken["step"])


def _one_pivot(taken: Columns, starts: Index, rows: Index) -> None:
    """Let all cells of a row differ from the same value."""
    some = taken["count"] > 0
    first = _nth(some, rows, starts, last=False)
    pivot = taken["pivot"][first][rows]
    with np.errstate(over="ignore", invalid="ignore"):
        shift = np.where(some, taken["pivot"] - pivot, 0.0)
        shift = np.where(np.isfinite(shift) | ~some, shift, np.nan)
        taken["off2"] = taken["off2"] + shift * (2 * taken["off"] + taken["count"] * shift)
        taken["off"] = taken["off"] + taken["count"] * shift
    taken["pivot"] = pivot


def _nth(chosen: npt.NDArray[np.bool_], rows: Index, starts: Index, *, last: bool) -> Index:
    """The first or last place of each row where something holds, [rows]; its first place if it holds nowhere."""
    places = np.flatnonzero(chosen)
    out = starts.copy()
    if last:
        out[rows[places]] = places  # of several the last assignment stays
    else:
        out[rows[places[::-1]]] = places[::-1]
    return out
