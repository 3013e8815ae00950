"""Which addresses a device answers for: by halving what it refuses, down to single addresses.

Blocks are halved on even bounds; a value of two registers on an odd address that the device gives out only
whole is found by asking for odd pairs where two neighbours were refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise

Ask = Callable[[int, int], Awaitable[bool]]
"""Whether the device answers a read: (address, count). What else it raises ends the search."""


@dataclass(frozen=True)
class Ranges:
    """What was found; bounds are first and last address."""

    readable: tuple[tuple[int, int], ...]
    longest: int
    """The longest read that was answered."""
    whole: tuple[tuple[int, int], ...]
    """Pairs of registers that are only given out together."""


async def find_ranges(ask: Ask, first: int, last: int, *, block: int = 64) -> Ranges:
    """Search ``first`` to ``last``, in blocks of at most ``block`` addresses."""
    search = _Search(ask)
    for start in range(first, last + 1, block):
        await search.halve(start, min(block, last + 1 - start))
    if search.readable:
        await search.odd_pairs(first, last)
    return Ranges(tuple(_merged(search.readable)), search.longest, tuple(sorted(search.whole)))


class _Search:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.readable: set[int] = set()
        self.whole: set[tuple[int, int]] = set()
        self.longest = 0

    async def take(self, start: int, count: int) -> bool:
        """Ask, and keep what was answered."""
        if not await self._ask(start, count):
            return False
        self.readable.update(range(start, start + count))
        self.longest = max(self.longest, count)
        return True

    async def halve(self, start: int, count: int) -> None:
        """Find all that can be read within a block."""
        pending = [(start, count)]
        while pending:
            start, count = pending.pop()
            if await self.take(start, count):
                if count == 2 and not await self._ask(start, 1):
                    self.whole.add((start, start + 1))
            elif count > 1:
                half = 1 if count == 2 else (count // 2 + 1) // 2 * 2
                pending += [(start + half, count - half), (start, half)]

    async def odd_pairs(self, first: int, last: int) -> None:
        """Values that begin on an odd offset, where single addresses were refused."""
        missing = [at for at in range(first, last + 1) if at not in self.readable]
        for at, behind in pairwise(missing):
            if behind == at + 1 and (at - first) % 2 and at not in self.readable and await self.take(at, 2):
                self.whole.add((at, behind))


def _merged(addresses: set[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for at in sorted(addresses):
        if ranges and ranges[-1][1] == at - 1:
            ranges[-1] = (ranges[-1][0], at)
        else:
            ranges.append((at, at))
    return ranges
