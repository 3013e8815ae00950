"""How many different values a window has seen: exactly while they are few, then by HyperLogLog.

Up to :data:`EXACT` values of a window are kept as they are. From then on it is a sketch of Apache DataSketches with
4,096 registers (4 kB), whose standard error is 1.6 %. P. Flajolet et al., "HyperLogLog: the analysis of a
near-optimal cardinality estimation algorithm", AofA 2007. The library's better estimate for sketches that were never
merged depends on the order of the values; here every estimate is that of a merged one, which does not.

The sketches take their values one by one (there is no call for a column); windows with few values are columns.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway.frame import by_point, group_starts

if TYPE_CHECKING:
    from gateway.frame import Index, Values
    from pipelines.base import State

Bits = npt.NDArray[np.int64]

EXACT: Final = 1024
"""Different values of a window that are kept as they are."""
STANDARD_ERROR: Final = 0.0163
"""Of an estimate, relative: 1.04 / sqrt(4096)."""
_LOG_REGISTERS: Final = 12
_PENDING: Final = 1 << 15


@lru_cache(maxsize=1)
def _library() -> Any:
    """The library, which costs 20 ms and some MB to import, when it is first needed."""
    return import_module("datasketches")


def _sketch() -> Any:
    library = _library()
    return library.hll_sketch(_LOG_REGISTERS, library.tgt_hll_type.HLL_8)


class Distinct:
    """Sets of values by window number."""

    def __init__(self) -> None:
        self._window: Bits = np.empty(0, np.int64)
        self._value: Bits = np.empty(0, np.int64)
        """The bits of the values of small windows, sorted by window and bits, each once."""
        self._large: dict[int, Any] = {}
        """Sketches of the others."""
        self._pending: list[tuple[Bits, Bits]] = []
        self._pending_size = 0

    def add(self, windows: Index, values: Values) -> None:
        """Take values, [n], into windows, [n]; -0.0 and 0.0 are the same."""
        self._pending.append((windows.astype(np.int64), (values + 0.0).view(np.int64)))
        self._pending_size += len(values)
        if self._pending_size > max(_PENDING, 2 * len(self._window)):
            self._settle()

    def _settle(self) -> None:
        if not self._pending:
            return
        window = np.concatenate([self._window, *(windows for windows, _ in self._pending)])
        value = np.concatenate([self._value, *(values for _, values in self._pending)])
        self._pending, self._pending_size = [], 0
        window, value = _unique(window, value)
        if self._large:
            known = np.isin(window, np.fromiter(self._large, np.int64, len(self._large)))
            self._update(window[known], value[known])
            window, value = window[~known], value[~known]
        self._window, self._value = window, value
        self._enlarge()

    def _enlarge(self) -> None:
        """Make sketches of the windows that have become too large."""
        if len(self._window) <= EXACT:
            return
        starts = group_starts(self._window)
        size = np.diff(starts, append=len(self._window))
        grown = self._window[starts[size > EXACT]]
        if len(grown):
            chosen = np.isin(self._window, grown)
            self._large.update((int(window), _sketch()) for window in grown)
            self._update(self._window[chosen], self._value[chosen])
            self._window, self._value = self._window[~chosen], self._value[~chosen]

    def _update(self, windows: Bits, values: Bits) -> None:
        """Into the sketches of these windows; sorted by window."""
        starts = group_starts(windows)
        for start, end in zip(starts, starts + np.diff(starts, append=len(windows)), strict=True):
            update = self._large[int(windows[start])].update
            for value in values[start:end].view(np.float64).tolist():
                update(value)

    def gathered(self, windows: Index, rows: Index) -> Distinct:
        """The sets of some windows, [k], under other numbers, [k]; those of one number are joined."""
        self._settle()
        other = Distinct()
        first, last = np.searchsorted(self._window, windows), np.searchsorted(self._window, windows, side="right")
        size = last - first
        inside = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        at = np.repeat(first, size) + inside
        for window, row in zip(windows.tolist(), rows.tolist(), strict=True):
            if window in self._large:
                other._join(row, self._large[window])
        other._pending.append((np.repeat(rows.astype(np.int64), size), self._value[at]))
        other._settle()
        return other

    def _join(self, row: int, sketch: Any) -> None:
        library = _library()
        union = library.hll_union(_LOG_REGISTERS)
        if row in self._large:
            union.update(self._large[row])
        union.update(sketch)
        self._large[row] = union.get_result(library.tgt_hll_type.HLL_8)

    def counts(self, windows: int) -> Values:
        """How many different values each window from 0 on has, [windows]."""
        self._settle()
        found = np.bincount(self._window, minlength=windows).astype(np.float64)
        for window, sketch in self._large.items():
            found[window] = _estimate(sketch)
        return found

    def renumber(self, numbers: Index) -> None:
        """Give each window its new number, [windows]; -1 forgets it. The order of numbers may not change."""
        self._settle()
        new = numbers[self._window]
        kept = new >= 0
        self._window, self._value = new[kept].astype(np.int64), self._value[kept]
        large = {int(numbers[window]): sketch for window, sketch in self._large.items()}
        self._large = {window: sketch for window, sketch in large.items() if window >= 0}

    def snapshot(self) -> State:
        """The small sets, and the bytes of the sketches one behind the other."""
        self._settle()
        order = sorted(self._large)
        encoded = [np.frombuffer(self._large[window].serialize_updatable(), np.uint8) for window in order]
        return {
            "window": self._window.copy(),
            "value": self._value.copy(),
            "large": np.array(order, np.int64),
            "size": np.array([len(one) for one in encoded], np.int64),
            "bytes": np.concatenate(encoded) if encoded else np.empty(0, np.uint8),
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._window, self._value = state["window"].copy(), state["value"].copy()
        self._pending, self._pending_size, self._large = [], 0, {}
        end = 0
        for window, size in zip(state["large"].tolist(), state["size"].tolist(), strict=True):
            start, end = end, end + size
            self._large[window] = _library().hll_sketch.deserialize(state["bytes"][start:end].tobytes())


def _unique(window: Bits, value: Bits) -> tuple[Bits, Bits]:
    """Each pair once, sorted."""
    order = np.argsort(value)
    order = order[by_point(window[order].astype(np.int32))]  # by radix where windows are few; twice as fast as lexsort
    window, value = window[order], value[order]
    first = np.ones(len(window), np.bool_)
    first[1:] = (window[1:] != window[:-1]) | (value[1:] != value[:-1])
    return window[first], value[first]


def _estimate(sketch: Any) -> float:
    union = _library().hll_union(_LOG_REGISTERS)
    union.update(sketch)
    union.update(sketch)  # from the second on the library does not lean on the order any more
    return float(union.get_estimate())
