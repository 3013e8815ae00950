"""Windows that were given, kept for a time so that what comes late corrects them.

What closes together is a chunk: columns and tallies, sorted by group and window, that nobody changes any more. A
window that is corrected goes into a newer chunk, and the newest that has it counts. Chunks of like size become one, so
that there are few, and what a snapshot has of an old one stays the same from one snapshot to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.base import Settled
from pipelines.operators.reduce.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.frame import Ids, Index, Mask, Times
    from pipelines.base import State
    from pipelines.operators.aggregate.window_cells import Cells, Closed
    from pipelines.operators.aggregate.window_columns import Columns

_JOIN: Final[dict[str, np.ufunc]] = {
    "count": np.add,
    "rejected": np.add,
    "parts": np.add,
    "marks": np.bitwise_or,
    "seen": np.bitwise_or,
    "min": np.minimum,
    "max": np.maximum,
}
"""How columns of one window join; ``told`` is of the samples that wait only."""
_TALLIES: Final = ("sketch", "histogram", "exact")


@dataclass(frozen=True, eq=False)
class _Chunk:
    keys: npt.NDArray[np.complex128]
    """(group, window), ascending."""
    columns: Columns
    tallies: Mapping[str, Tally]
    state: Settled = field(default_factory=Settled)
    """What a snapshot has of it."""

    def __post_init__(self) -> None:
        if not self.state:
            self.state["columns"] = dict(self.columns)
            self.state.update({name: tally.shown() for name, tally in self.tallies.items()})

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: npt.NDArray[np.complex128]) -> tuple[Index, Mask]:
        """Where keys are, [n], and whether they are there at all."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return at, self.keys[at] == keys


class Kept:
    """The windows of one ``merge``."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._chunks: list[_Chunk] = []
        """The oldest first."""

    def __len__(self) -> int:
        """Windows, of which those that were corrected may count several times."""
        return sum(map(len, self._chunks))

    def recall(self, slots: Index) -> None:
        """Add what is kept of the windows of these cells, [n], to the cells."""
        wanted = _keys(self._cells.column("point")[slots], self._cells.column("number")[slots])
        for chunk in reversed(self._chunks):
            at, there = chunk.find(wanted)
            if there.any():
                self._add(chunk, at[there], slots[there])
                slots, wanted = slots[~there], wanted[~there]
            if not len(slots):
                return

    def _add(self, chunk: _Chunk, at: Index, slots: Index) -> None:
        for name, join in _JOIN.items():
            if name in chunk.columns:
                join.at(self._cells.raw(name), slots, chunk.columns[name][at])
        for name, tally in self._tallies().items():
            tally.count(*chunk.tallies[name].gathered(at, slots).entries())

    def has(self, ids: Ids, numbers: Times) -> Mask:
        """Which windows are kept, [n]."""
        wanted = _keys(ids, numbers)
        found = np.zeros(len(wanted), np.bool_)
        for chunk in self._chunks:
            found |= chunk.find(wanted)[1]
        return found

    def add(self, closed: Closed) -> None:
        """Keep windows as they are now."""
        columns = {name: column for name, column in closed.columns.items() if name != "told"}
        found = {name: tally for name in _TALLIES if (tally := getattr(closed, name)) is not None}
        keys = _keys(columns["point"], columns["number"])
        self._chunks.append(_sorted(keys, columns, found))
        while len(self._chunks) > 1 and 2 * len(self._chunks[-1]) > len(self._chunks[-2]):
            newer, older = self._chunks.pop(), self._chunks.pop()
            self._chunks.append(_together(older, newer))

    def forget(self, gone: Callable[[Ids, Times], Mask]) -> None:
        """Let windows go; chunks of which less than half goes stay as they are."""
        chunks = []
        for chunk in self._chunks:
            left = ~gone(chunk.columns["point"], chunk.columns["number"])
            many = int(np.count_nonzero(left))
            if 2 * many > len(chunk):
                chunks.append(chunk)
            elif many:
                chunks.append(_chosen(chunk, np.flatnonzero(left)))
        self._chunks = chunks

    def snapshot(self) -> list[State]:
        """All chunks."""
        return [chunk.state for chunk in self._chunks]

    def restore(self, state: list[State]) -> None:
        """The inverse of :meth:`snapshot`."""
        bits = {name: tally.bits for name, tally in self._tallies().items()}
        self._chunks = [_restored(one, bits) for one in state]

    def _tallies(self) -> dict[str, Tally]:
        """Those of the cells, by their names in what was closed."""
        cells = self._cells
        found = {"sketch": cells.sketches, "histogram": cells.histograms}
        found["exact"] = None if cells.exact is None else cells.exact.tally
        return {name: tally for name, tally in found.items() if tally is not None}


def _keys(ids: Ids, numbers: Times) -> npt.NDArray[np.complex128]:
    keys = np.empty(len(ids), np.complex128)
    keys.real = ids
    keys.imag = numbers
    return keys


def _sorted(keys: npt.NDArray[np.complex128], columns: Columns, tallies: Mapping[str, Tally]) -> _Chunk:
    order = np.argsort(keys)
    places = np.arange(len(order))
    return _Chunk(
        keys[order],
        {name: column[order] for name, column in columns.items()},
        {name: tally.gathered(order, places) for name, tally in tallies.items()},
    )


def _chosen(chunk: _Chunk, at: Index) -> _Chunk:
    """Some windows of a chunk, in its order."""
    places = np.arange(len(at))
    return _Chunk(
        chunk.keys[at],
        {name: column[at] for name, column in chunk.columns.items()},
        {name: tally.gathered(at, places) for name, tally in chunk.tallies.items()},
    )


def _together(older: _Chunk, newer: _Chunk) -> _Chunk:
    """One chunk of two; of windows in both what the newer one has."""
    older = _chosen(older, np.flatnonzero(~newer.find(older.keys)[1]))
    keys = np.concatenate([older.keys, newer.keys])
    places = np.empty(len(keys), np.intp)
    order = np.argsort(keys)
    places[order] = np.arange(len(keys))
    tallies: dict[str, Tally] = {}
    for name, tally in newer.tallies.items():
        joined = tallies[name] = Tally(tally.bits)
        for chunk, at in ((older, places[: len(older)]), (newer, places[len(older) :])):
            joined.count(*chunk.tallies[name].gathered(np.arange(len(chunk)), at).entries())
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.concatenate([older.columns[name], column])[order] for name, column in newer.columns.items()
    }
    return _Chunk(keys[order], columns, tallies)


def _restored(state: State, bits: Mapping[str, int]) -> _Chunk:
    columns: Columns = state["columns"]
    tallies = {name: Tally.of(size, state[name]) for name, size in bits.items()}
    same = state if isinstance(state, Settled) else Settled(state)
    return _Chunk(_keys(columns["point"], columns["number"]), columns, tallies, same)
