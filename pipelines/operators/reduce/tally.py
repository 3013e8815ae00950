"""Sparse counters: whole numbers by (window, bin), for many windows at once.

A bin of a window is one integer key, and the counts of all windows are two parallel arrays sorted by it. What is
added waits in a list and is sorted in when enough has come together. Counts are int64, so adding is exact and
neither the order nor the grouping of samples changes a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from gateway.frame import group_starts

if TYPE_CHECKING:
    from gateway.frame import Index

Keys = npt.NDArray[np.int64]

_PENDING: Final = 1 << 15
_TABLE: Final = 4
"""Cells of a table a key up to which counting in it beats sorting."""
_EMPTY: Final[Keys] = np.empty(0, np.int64)


class Tally:
    """Counts by (window number, bin); bins are below ``1 << bits``, window numbers below ``1 << (63 - bits)``."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._mask = (1 << bits) - 1
        self._keys = _EMPTY
        self._counts = _EMPTY
        self._pending: list[tuple[Keys, Keys | None]] = []
        self._pending_size = 0

    @property
    def bits(self) -> int:
        """Of the numbers of bins."""
        return self._bits

    def count(self, windows: Index, bins: Keys, weights: Keys | None = None) -> None:
        """Add a weight, 1 if left out, to a bin of a window, [n]."""
        self._pending.append(((windows.astype(np.int64) << self._bits) | bins, weights))
        self._pending_size += len(bins)
        if self._pending_size > max(_PENDING, len(self._keys)):
            self._settle()

    def _settle(self) -> None:
        if not self._pending:
            return
        keys, counts = _gathered(self._pending, self._bits)
        self._pending, self._pending_size = [], 0
        self._keys, self._counts = _summed(np.concatenate([self._keys, keys]), np.concatenate([self._counts, counts]))

    def entries(self) -> tuple[Index, Keys, Keys]:
        """All that was counted as (window, bin, count), sorted by window and bin."""
        self._settle()
        return self._keys >> self._bits, self._keys & self._mask, self._counts

    def bounds(self, windows: Index) -> tuple[Index, Index]:
        """Where the entries of each window begin and end, [windows]."""
        self._settle()
        own = windows.astype(np.int64)
        return np.searchsorted(self._keys, own << self._bits), np.searchsorted(self._keys, (own + 1) << self._bits)

    def gathered(self, windows: Index, rows: Index) -> Self:
        """The counts of some windows under other numbers; those of one number are added.

        Args:
            windows: which, [k].
            rows: the number that the counts of each go to, [k].
        """
        first, last = self.bounds(windows)
        size = last - first
        inside = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        at = np.repeat(first, size) + inside
        other = type(self)(self._bits)
        keys = (np.repeat(rows.astype(np.int64), size) << self._bits) | (self._keys[at] & self._mask)
        other._keys, other._counts = _summed(keys, self._counts[at])  # noqa: SLF001 - one of its own kind
        return other

    def renumber(self, numbers: Index) -> None:
        """Give each window its new number, [windows]; -1 forgets it. The order of numbers may not change."""
        self._settle()
        new = numbers[self._keys >> self._bits]
        kept = new >= 0
        self._keys = (new[kept].astype(np.int64) << self._bits) | (self._keys[kept] & self._mask)
        self._counts = self._counts[kept]

    @property
    def nbytes(self) -> int:
        """Memory that the counts take, in bytes."""
        self._settle()
        return self._keys.nbytes + self._counts.nbytes

    def snapshot(self) -> dict[str, Keys]:
        """Keys and counts."""
        self._settle()
        return {"keys": self._keys.copy(), "counts": self._counts.copy()}

    def shown(self) -> dict[str, Keys]:
        """:meth:`snapshot` without copies, of a tally that nothing is counted in any more."""
        self._settle()
        return {"keys": self._keys, "counts": self._counts}

    @classmethod
    def of(cls, bits: int, shown: dict[str, Keys]) -> Self:
        """The inverse of :meth:`shown`."""
        tally = cls(bits)
        tally._keys, tally._counts = shown["keys"], shown["counts"]
        return tally

    def restore(self, state: dict[str, Keys]) -> None:
        """The inverse of :meth:`snapshot`."""
        self._keys, self._counts = state["keys"].copy(), state["counts"].copy()
        self._pending, self._pending_size = [], 0


def by_bin(windows: Index, bins: Keys, counts: Keys) -> list[tuple[int, Index, Keys]]:
    """Entries as a bin with its windows and their counts, each [k]; bins and windows grow."""
    order = np.argsort(bins, kind="stable")
    windows, bins, counts = windows[order], bins[order], counts[order]
    starts = group_starts(bins)
    ends = np.append(starts[1:], len(bins)) if len(starts) else starts
    return [(int(bins[a]), windows[a:b], counts[a:b]) for a, b in zip(starts, ends, strict=True)]


def _gathered(pending: list[tuple[Keys, Keys | None]], bits: int) -> tuple[Keys, Keys]:
    """Distinct keys and their counts; what has no weights is only counted, which needs no order of the samples."""
    plain = [keys for keys, weights in pending if weights is None]
    if len(plain) == len(pending):
        return _counted(np.concatenate(plain), bits)
    all_keys = np.concatenate([keys for keys, _ in pending])
    parts = [np.ones(len(keys), np.int64) if weights is None else weights for keys, weights in pending]
    return _summed(all_keys, np.concatenate(parts))


def _counted(keys: Keys, bits: int) -> tuple[Keys, Keys]:
    """How often each key occurs, sorted: by a table where windows and bins are few, which needs no order."""
    if len(keys):
        windows, bins = keys >> bits, keys & ((1 << bits) - 1)
        first, width = int(bins.min()), int(bins.max()) - int(bins.min()) + 1
        lowest = int(windows.min())
        if (int(windows.max()) - lowest + 1) * width <= _TABLE * len(keys):
            table = np.bincount((windows - lowest) * width + (bins - first))
            cells = np.flatnonzero(table)
            rows, columns = np.divmod(cells, width)
            return ((rows + lowest) << bits) | (columns + first), table[cells].astype(np.int64)
    found, counts = np.unique(keys, return_counts=True)
    return found, counts.astype(np.int64)


def _summed(keys: Keys, counts: Keys) -> tuple[Keys, Keys]:
    """One count for each key, sorted."""
    if not len(keys):
        return _EMPTY, _EMPTY
    order = np.argsort(keys)  # not stable: whole numbers add up in any order
    ordered = keys[order]
    starts = group_starts(ordered)
    return ordered[starts], np.add.reduceat(counts[order], starts)
