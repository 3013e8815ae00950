"""Finding why a device refuses a read: an address that is not there, or a read that is too long.

A search asks for ever other parts of the read that failed. It bisects for the shortest beginning that is
refused, and then looks at the value that made the difference: refused alone, it is a hole; refused
together with its neighbour, the hole lies between the two; answered both ways, the read was too long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from adapters.modbus.place import Table
from adapters.modbus.planner import Read, Span, atoms, hull

BUDGET = 32
"""Requests that one search may take; it goes on at the next cycle if that was not enough."""
_ONE = 12  # what finding one cause may take: a bisection of 2,000 bits, and the value alone

Readable = Callable[[Read], Awaitable[bool]]
"""Whether the device answers a read, or refuses it; whatever else it raises ends the search."""


@dataclass
class Holes:
    """What was found: values that are not there, addresses that no read may span, the longest read."""

    dead: set[int] = field(default_factory=set)
    """Indices of the values."""
    cuts: set[tuple[Table, int]] = field(default_factory=set)
    most: int = 0
    """Addresses that a read of this table may ask for; 0 if nothing was found about it."""
    refused: tuple[int, int] = (0, 0)
    """Address and count of the shortest read found that is too long."""
    table: Table = Table.HOLDING
    """Where all this is."""

    def __bool__(self) -> bool:
        return bool(self.dead or self.cuts or self.most)


async def find_holes(spans: Sequence[Span], failed: Read, readable: Readable) -> Holes:
    """Find what in ``failed`` makes the device refuse it, knowing that it does."""
    return await _Search(spans, failed.table, readable).run(atoms(spans, failed.members))


class _Search:
    def __init__(self, spans: Sequence[Span], table: Table, readable: Readable) -> None:
        self._spans = spans
        self._table = table
        self._readable = readable
        self._asked = 0
        self.found = Holes(table=table)

    async def run(self, group: list[tuple[int, ...]]) -> Holes:
        """Take ``group``, which is refused, apart; goes on behind each hole while the budget lasts."""
        while group:
            good = await self._longest(group)
            group = group[await self._explain(group, good) :]
            done = self.found.most or self._asked > BUDGET - _ONE
            if done or not group or await self._works(group):
                break
        return self.found

    def _read(self, group: Sequence[tuple[int, ...]]) -> Read:
        return hull(self._spans, (i for atom in group for i in atom))

    async def _works(self, group: Sequence[tuple[int, ...]]) -> bool:
        self._asked += 1
        return await self._readable(self._read(group))

    async def _longest(self, group: list[tuple[int, ...]]) -> int:
        """How many values from the first on can be read together; all of them cannot."""
        good, bad = 0, len(group)
        while bad - good > 1:
            middle = (good + bad) // 2
            if await self._works(group[:middle]):
                good = middle
            else:
                bad = middle
        return good

    async def _explain(self, group: list[tuple[int, ...]], good: int) -> int:
        """Why the value ``group[good]`` cannot be read with the ``good`` before it; values that are done with."""
        culprit = group[good]
        if not good or not await self._works([culprit]):
            self.found.dead.update(culprit)
            self.found.cuts.add((self._table, hull(self._spans, culprit).address))
            return good + 1
        if await self._is_length(group, good):
            await self._measure(self._read(group[:good]), self._read(group[: good + 1]))
        else:
            self.found.cuts.add((self._table, hull(self._spans, culprit).address))
        return good

    async def _is_length(self, group: list[tuple[int, ...]], good: int) -> bool:
        """Whether the read is refused for its length, rather than for what lies before the value ``good``."""
        if good > 1:
            return await self._works(group[good - 1 : good + 1])
        pair = group[1:3]  # no two values go together: here, or anywhere?
        return len(pair) == 2 and not await self._works(pair) and await self._works(pair[1:])

    async def _measure(self, good: Read, bad: Read) -> None:
        """The longest read: at least ``good``; longer ones are tried into a gap, never into half a value."""
        least = good.count
        most = self._before_last(bad)
        while least < most:
            middle = (least + most + 1) // 2
            self._asked += 1
            if await self._readable(Read(good.table, good.address, middle, good.members)):
                least = middle
            else:
                most = middle - 1
        self.found.most = least
        self.found.refused = (bad.address, bad.count)

    def _before_last(self, bad: Read) -> int:
        """Addresses of ``bad`` before its last value."""
        return max(self._spans[i].address for i in bad.members) - bad.address
