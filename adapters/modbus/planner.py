"""Which reads fetch a set of values: a pure function, no device and no clock.

The fewest reads such that each value lies whole in one of them. A read starts at the first value not yet
covered and takes in what follows while it stays within the limit of addresses, the gap to the next value
is small enough, and no cut lies between. Sorted by address this greedy rule is optimal: any read that
covers the first value starts at it or before, so none reaches further, and a value that does not fit
holds all later ones that would have fitted (they end before it does).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from adapters.modbus.place import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

MAX_BITS = 2000
"""Coils or discrete inputs of one read, by the standard."""


class Span(NamedTuple):
    """The addresses of one value: ``width`` registers or bits from ``address``."""

    table: Table
    address: int
    width: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.width


@dataclass(frozen=True)
class Read:
    """One request: ``count`` addresses, and the indices of the values that lie in it."""

    table: Table
    address: int
    count: int
    members: tuple[int, ...]


@dataclass(frozen=True)
class Limits:
    """What a device bears, in registers; of bits 16 times as many. No read spans an address in ``cuts``.

    ``most`` holds what was learned of a table: addresses (registers or bits) that a read may ask for.
    """

    max_registers: int = 125
    max_gap: int = 10
    cuts: Collection[tuple[Table, int]] = field(default=())
    most: Mapping[Table, int] = field(default_factory=dict)

    def count(self, table: Table) -> int:
        """Addresses that one read may ask for."""
        limit = min(self.max_registers * 16, MAX_BITS) if table.is_bits else self.max_registers
        return min(limit, self.most.get(table) or limit)

    def gap(self, table: Table) -> int:
        """Addresses that no value needs and that may be read along, in one go."""
        return self.max_gap * 16 if table.is_bits else self.max_gap


def plan(spans: Sequence[Span], limits: Limits) -> list[Read]:
    """The fewest reads that fetch all ``spans``, by table and address.

    A value that is wider than the limit gets a read of its own; callers refuse such values before.
    """
    reads: list[Read] = []
    for table in Table:
        chosen = [i for i, span in enumerate(spans) if span.table is table]
        chosen.sort(key=lambda i: (spans[i].address, spans[i].width))
        reads += _plan_table(table, spans, chosen, limits)
    return reads


def _plan_table(table: Table, spans: Sequence[Span], order: list[int], limits: Limits) -> Iterable[Read]:
    most, gap = limits.count(table), limits.gap(table)
    cuts = sorted(address for cut_table, address in limits.cuts if cut_table is table)
    at = 0
    while at < len(order):
        start, end = spans[order[at]].address, spans[order[at]].end
        barrier = next((cut for cut in cuts if cut > start), 0x1_0000)
        members = [order[at]]
        for i in order[at + 1 :]:
            span = spans[i]
            fits = max(end, span.end) - start <= most and span.address - end <= gap
            if not fits or span.address >= barrier:
                break
            members.append(i)
            end = max(end, span.end)
        yield Read(table, start, end - start, tuple(members))
        at += len(members)


def atoms(spans: Sequence[Span], members: Iterable[int]) -> list[tuple[int, ...]]:
    """Groups of values that share addresses, in order of address: what a search for holes takes apart."""
    groups: list[list[int]] = []
    end = -1
    for i in sorted(members, key=lambda i: (spans[i].address, spans[i].width)):
        if spans[i].address < end:
            groups[-1].append(i)
        else:
            groups.append([i])
        end = max(end, spans[i].end)
    return [tuple(group) for group in groups]


def hull(spans: Sequence[Span], members: Iterable[int]) -> Read:
    """The one read that covers ``members``, all of one table."""
    chosen = tuple(members)
    start = min(spans[i].address for i in chosen)
    return Read(spans[chosen[0]].table, start, max(spans[i].end for i in chosen) - start, chosen)
