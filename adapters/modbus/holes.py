"""Finding what a device does not have, when it refuses a whole read with exception 2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.modbus.planner import Read, Span, atoms, hull

if TYPE_CHECKING:
    from adapters.modbus.place import Table

BUDGET = 32
"""Requests that one search may take; it goes on at the next cycle if that was not enough."""


@dataclass
class Holes:
    """What was found: values that are not there, and addresses that no read may span."""

    dead: set[int] = field(default_factory=set)
    cuts: set[tuple[Table, int]] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.dead or self.cuts)


async def find_holes(spans: Sequence[Span], failed: Read, readable: Callable[[Read], Awaitable[bool]]) -> Holes:
    """Bisect a read that was refused, down to single values.

    Two halves that can be read apart, but not together, are cut apart: what lies between them is a hole,
    or the device bears no read that long. ``readable`` says whether the device answers a read (or refuses
    it with exception 2); whatever else it raises ends the search.
    """
    found = Holes()
    pending = [atoms(spans, failed.members)]
    budget = BUDGET
    while pending:
        group = pending.pop()
        if len(group) == 1:
            found.dead.update(group[0])
            found.cuts.add((failed.table, hull(spans, group[0]).address))
        elif budget >= 2:
            budget -= 2
            middle = len(group) // 2
            halves = group[:middle], group[middle:]
            bad = [half for half in halves if not await readable(_read(spans, half))]
            if not bad:
                found.cuts.add((failed.table, _read(spans, halves[1]).address))
            pending += bad
    return found


def _read(spans: Sequence[Span], group: Sequence[tuple[int, ...]]) -> Read:
    return hull(spans, (i for atom in group for i in atom))
