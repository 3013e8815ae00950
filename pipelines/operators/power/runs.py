"""Recursions along rows of groups: one step over all groups at once, where a row depends on the one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.frame import group_starts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.frame import Ids, Index


def firsts(group: Ids) -> tuple[Index, Index]:
    """Where the rows of each group begin and end (its last row); rows are ordered by group."""
    starts = group_starts(group)
    return starts, np.append(starts[1:], len(group)) - 1 if len(group) else starts


def walk(group: Ids) -> Iterator[Index]:
    """The first rows of all groups, then the second rows of those that have one, and so on."""
    starts, ends = firsts(group)
    order = np.argsort(starts - ends, kind="stable")
    starts, ends = starts[order], ends[order]
    while len(starts):
        yield starts
        left = int(np.count_nonzero(starts < ends))  # longest first
        starts, ends = starts[:left] + 1, ends[:left]
