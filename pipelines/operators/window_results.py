"""From the cells of closed windows to samples of derived points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Kind, Merge
from pipelines.operators.window_cells import SEVERITY_SHIFT

if TYPE_CHECKING:
    from gateway.frame import Ids, Qualities, Times, Values
    from pipelines.base import Points
    from pipelines.operators.window import WindowConfig
    from pipelines.operators.window_cells import Columns

_INT64_MAX: Final = int(np.iinfo(np.int64).max)
_WITHOUT_VALID: Final = frozenset({"count", "coverage"})
"""Statistics that have a value, 0, also where no sample was valid."""
_PLAIN: Final[dict[str, Any]] = {"kind": Kind.GAUGE, "resolution": None, "merge": Merge.LAST}
"""A mean or quantile: no state any more, and between the steps of the resolution."""
_NUMBER: Final[dict[str, Any]] = _PLAIN | {"unit": "1", "limits": None}
_FACTS: Final[dict[str, dict[str, Any]]] = {
    "count": _NUMBER | {"resolution": 1.0, "merge": Merge.ADD},
    "coverage": _NUMBER | {"limits": (0.0, 1.0)},
    "sum": {"kind": Kind.GAUGE, "limits": None, "merge": Merge.ADD},
    "min": {"merge": Merge.MIN},
    "max": {"merge": Merge.MAX},
    "first": {"merge": Merge.LAST},
    "last": {"merge": Merge.LAST},
}
"""What a statistic's point has otherwise than the point it is of."""


def results(points: Points, config: WindowConfig, cells: Columns, quantiles: list[Values]) -> Frame:
    """One sample a window and statistic, ordered by (end of window, point, order of ``config.stats``).

    Args:
        points: where the derived points are made.
        config: which statistics, and the length of the windows.
        cells: columns ordered by (window number, point), each [m].
        quantiles: the quantiles among the statistics, in their order, each [m].
    """
    rows, stats = len(cells["point"]), config.stats
    left = iter(quantiles)
    ids: Ids = np.empty((rows, len(stats)), np.int32)
    values: Values = np.empty((rows, len(stats)), np.float64)
    words: Qualities = np.empty((rows, len(stats)), np.uint16)
    word, invalid = _quality(cells)
    empty = cells["count"] == 0
    for at, stat in enumerate(stats):
        value = next(left) if stat.startswith("p") else _statistic(stat, config, cells)
        ids[:, at] = points.derive(cells["point"], f"#{stat}", **_FACTS.get(stat, _PLAIN))
        nothing = np.zeros(rows, np.bool_) if stat in _WITHOUT_VALID else empty
        not_a_number = np.isnan(value) & ~nothing
        value = np.where(nothing, q.no_value(q.Reason.NO_VALID_SAMPLES), value)
        values[:, at] = np.where(not_a_number, q.no_value(q.Reason.NOT_A_NUMBER), value)
        words[:, at] = np.where(nothing | not_a_number, invalid, word)
    time = np.repeat(_ends(cells["number"], config.every.ns), len(stats))
    return Frame(ids.ravel(), time, values.ravel(), words.ravel())


def _ends(numbers: Times, every_ns: int) -> Times:
    """The end of each window in ns, [m]; the last window that int64 can hold ends where that does."""
    after = numbers + 1
    return np.where(after > _INT64_MAX // every_ns, _INT64_MAX, after * every_ns)


def _quality(cells: Columns) -> tuple[Qualities, Qualities]:
    """The quality of results that have a value and of those that have none, each [m]."""
    flags = (cells["marks"] & (0xFFFF ^ q.VALIDITY)).astype(np.uint16)
    worst = cells["marks"] >> SEVERITY_SHIFT
    word = flags | np.where(worst > 1, q.QUESTIONABLE, q.GOOD).astype(np.uint16)
    word |= np.where(cells["rejected"] > 0, q.INACCURATE, 0).astype(np.uint16)
    return word, flags | np.uint16(q.INVALID)


def _statistic(stat: str, config: WindowConfig, cells: Columns) -> Values:
    count = cells["count"].astype(np.float64)
    if stat == "count":
        return count
    if stat == "coverage":
        return _coverage(config, cells)
    if stat in {"sum", "mean"}:
        with np.errstate(over="ignore"):
            total = cells["sum"] * np.where(cells["step"] > 0, cells["step"], 1.0)
        return total if stat == "sum" else total / np.maximum(count, 1)
    return cells[stat]


def _coverage(config: WindowConfig, cells: Columns) -> npt.NDArray[np.float64]:
    if config.expect is None:
        share: Values = cells["count"] / (cells["count"] + cells["rejected"])
        return share
    return np.minimum(1.0, cells["count"] * (config.expect.ns / config.every.ns))
