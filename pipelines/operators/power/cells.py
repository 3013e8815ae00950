"""Open blocks of time: what was added up for each (point, block number) so far.

A block is open until :meth:`Cells.pop` takes it. Sums run strictly in the order in which amounts come (``bincount``
is sequential), so that cutting frames otherwise never changes a bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway import quality as q

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Ids, Index, Mask, Qualities, Times, Values
    from pipelines.base import State

DOUBTFUL: Final = 1 << 24
"""Bit of ``marks``: a questionable value went in."""
REJECTED: Final = 1 << 25
"""Bit of ``marks``: a value came that could not be used."""
NOTED: Final = 1 << 26
"""Bit of ``marks``: for the operator's own use."""
_FLAGS: Final = np.uint16(0xFFFF ^ q.VALIDITY)


def marks_of(quality: Qualities, ok: Mask) -> npt.NDArray[np.uint32]:
    """The bits that samples leave on their block: their flags, and whether they are doubtful or of no use, [n]."""
    doubtful = np.where(q.severity(quality) > 0, DOUBTFUL, 0)
    return ((quality & _FLAGS) | np.where(ok, doubtful, REJECTED)).astype(np.uint32)


def words_of(marks: npt.NDArray[np.uint32], partial: Mask) -> Qualities:
    """The quality of results of blocks; ``partial`` is where a block is not whole."""
    flags = (marks & _FLAGS).astype(np.uint16)
    doubt = partial | ((marks & (DOUBTFUL | REJECTED)) > 0)
    unsure = partial | ((marks & REJECTED) > 0)
    word = flags | np.where(doubt, q.QUESTIONABLE, q.GOOD) | np.where(unsure, q.INACCURATE, 0)
    return word.astype(np.uint16)


class Blocks:
    """Columns of some blocks, ordered by point and number."""

    __slots__ = ("amount", "covered", "marks", "number", "point")

    def __init__(
        self, point: Ids, number: Times, amount: Values, covered: Times, marks: npt.NDArray[np.uint32]
    ) -> None:
        self.point = point
        self.number = number
        self.amount = amount
        """What was added up, [n]."""
        self.covered = covered
        """The time in ns for which something is known, [n]."""
        self.marks = marks

    def __len__(self) -> int:
        return len(self.point)

    def take(self, index: Mask | Index) -> Blocks:
        """Some of them, in that order."""
        return Blocks(self.point[index], self.number[index], self.amount[index], self.covered[index], self.marks[index])

    def mean(self, *, square: bool = False) -> Values:
        """The mean over what is covered of amounts that are integrals over seconds, or its root; NaN without any."""
        seconds = np.maximum(self.covered, 1) * 1e-9
        mean: Values = np.where(self.covered > 0, self.amount / seconds, q.no_value(q.Reason.NO_VALID_SAMPLES))
        return np.sqrt(mean) if square else mean

    @staticmethod
    def none() -> Blocks:
        """No block."""
        return Blocks(
            np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64), np.empty(0, np.uint32)
        )

    def behind(self, others: Blocks) -> Blocks:
        """The others and then these."""
        if not len(others):
            return self
        return Blocks(*(np.concatenate([getattr(others, name), getattr(self, name)]) for name in _NAMES))

    def snapshot(self) -> State:
        """The columns."""
        return {name: getattr(self, name).copy() for name in _NAMES}

    @staticmethod
    def restored(state: State) -> Blocks:
        """The inverse of :meth:`snapshot`."""
        return Blocks(*(state[name].copy() for name in _NAMES))


_NAMES: Final = ("point", "number", "amount", "covered", "marks")


class Cells:
    """The open blocks."""

    def __init__(self) -> None:
        self.open = Blocks.none()

    def add(self, parts: Blocks) -> None:
        """Add amounts, in order of time for each point; blocks that are missing are made."""
        if not len(parts):
            return
        parts = parts.behind(self.open)
        order = np.lexsort((parts.number, parts.point))  # stable: what was there first stays first
        parts = parts.take(order)
        fresh = np.empty(len(parts), np.bool_)
        fresh[0] = True
        np.not_equal(parts.number[1:], parts.number[:-1], out=fresh[1:])
        fresh[1:] |= parts.point[1:] != parts.point[:-1]
        starts = np.flatnonzero(fresh)
        if len(starts) == len(parts):
            self.open = parts
            return
        at = np.cumsum(fresh) - 1
        self.open = Blocks(
            parts.point[starts],
            parts.number[starts],
            np.bincount(at, parts.amount, len(starts)).astype(np.float64),
            np.add.reduceat(parts.covered, starts),
            np.bitwise_or.reduceat(parts.marks, starts),
        )

    def pop(self, before: Times) -> Blocks:
        """Take out the blocks of each point whose number is below ``before``, [points]."""
        if not len(self.open):
            return self.open
        closed = self.open.number < before[self.open.point]
        if not closed.any():
            return Blocks.none()
        popped, self.open = self.open.take(closed), self.open.take(~closed)
        return popped

    def clear(self) -> Blocks:
        """Take out all blocks."""
        popped, self.open = self.open, Blocks.none()
        return popped
