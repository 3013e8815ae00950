"""A column of integers in runs, one run a point.

``heads``, the first number of each run, as a column of integers; then, if any run is longer than 1, a byte and
``rest``, a column of all other numbers: 0, their offsets from the head of their run, or 1, their differences from the
number before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gateway.errors import PayloadError
from gateway.frame import Index, Mask
from gateway.wire import integers
from gateway.wire.integers import Int64s, Reader

_OFFSETS, _DIFFERENCES = 0, 1
_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Runs:
    """How a column of n numbers falls into runs."""

    starts: Index
    lengths: Index
    n: int
    even: int
    """The length of all runs if they are equally long, else 0."""

    @classmethod
    def of(cls, lengths: Index) -> Runs:
        """Runs of these lengths, one at least."""
        first = int(lengths[0])
        if not np.count_nonzero(lengths != first):
            n = first * len(lengths)
            return cls(np.arange(0, n, first), lengths, n, first)
        ends = np.cumsum(lengths)
        return cls(ends - lengths, lengths, int(ends[-1]), 0)

    def spread(self, one_each: npt.NDArray[_T]) -> npt.NDArray[_T]:
        """One number of each run to all of its places, [n]."""
        return one_each if self.even == 1 else np.repeat(one_each, self.even or self.lengths)

    def inner(self) -> Mask:
        """Which numbers are not the first of their run, [n]."""
        mask = np.ones(self.n, np.bool_)
        mask[self.starts] = False
        return mask

    def some(self, which: Mask) -> Runs:
        """Only those runs, one after the other."""
        return Runs.of(self.lengths[which])


def write(out: bytearray, column: Int64s, runs: Runs) -> None:
    """Append a column, [n]."""
    heads = column[runs.starts]
    integers.write(out, heads)
    if runs.n == len(heads):
        return
    if runs.even:
        table = column.reshape(len(heads), runs.even)
        differences, offsets = (table[:, 1:] - table[:, :-1]).ravel(), (table[:, 1:] - table[:, :1]).ravel()
    else:
        inner = runs.inner()
        differences, offsets = (column[1:] - column[:-1])[inner[1:]], (column - runs.spread(heads))[inner]
    if integers.cheaper(offsets, differences):
        out.append(_OFFSETS)
        integers.write(out, offsets)
    else:
        out.append(_DIFFERENCES)
        integers.write(out, differences)


def read(reader: Reader, runs: Runs) -> Int64s:
    """The inverse of :func:`write`, [n].

    Raises:
        PayloadError: the bytes are not such a column.
    """
    heads = reader.column(len(runs.starts))
    if runs.n == len(heads):
        return heads
    form = reader.byte()
    if form not in {_OFFSETS, _DIFFERENCES}:
        raise PayloadError("bad-column", f"a series of form {form}")
    rest = reader.column(runs.n - len(heads))
    whole = np.empty(runs.n, np.int64)
    if runs.even:
        table = whole.reshape(len(heads), runs.even)
        table[:, 0] = heads
        table[:, 1:] = rest.reshape(len(heads), runs.even - 1)
        if form == _DIFFERENCES:
            np.cumsum(table, axis=1, out=table)
        else:
            table[:, 1:] += heads[:, None]
        return whole
    whole[runs.starts] = 0
    whole[runs.inner()] = rest
    if form == _DIFFERENCES:
        np.cumsum(whole, out=whole)
        heads = heads - whole[runs.starts]
    whole += runs.spread(heads)
    return whole
