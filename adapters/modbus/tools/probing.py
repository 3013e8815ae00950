"""``onpath modbus probe``: read around a place, in both tables, twice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.modbus.pdu import AnswerError
from adapters.modbus.place import Table
from adapters.modbus.tools.rank import Guess, Seen, rank
from adapters.modbus.tools.session import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.modbus.tools.session import Session

AROUND = 14
"""Registers looked at: one before, and behind it three values of 64 bits, the last one shifted."""


@dataclass(frozen=True)
class Probed:
    """The result: guesses, the best first, and what each table said where it did not answer."""

    guesses: list[Guess]
    refused: dict[str, str]
    registers: dict[str, dict[int, int]]


async def probe(
    session: Session, unit: int, table: Table, address: int, *, between_s: float, expect: float | None = None
) -> Probed:
    """Read around ``address`` and rank what may be there. The table given comes first in a tie.

    Raises:
        UsageError: the table holds bits.
        LinkError: the connection is gone.
    """
    if table.is_bits:
        raise UsageError(f"--at: a {table} is a bit, there is nothing to guess; probe holding or input")
    other = Table.INPUT if table is Table.HOLDING else Table.HOLDING
    refused: dict[str, str] = {}
    first = {one: await _around(session, unit, one, address, refused) for one in (table, other)}
    if between_s and any(first.values()):
        await asyncio.sleep(between_s)
    second = {one: await _around(session, unit, one, address, {}) if first[one] else {} for one in first}
    seen = [Seen(one, first[one], second[one]) for one in (table, other) if first[one]]
    registers = {str(one): values for one, values in first.items() if values}
    return Probed(rank(seen, address, expect), refused, registers)


async def _around(session: Session, unit: int, table: Table, address: int, refused: dict[str, str]) -> dict[int, int]:
    """The registers around a place, with as few reads as the device's map allows."""
    start, end = max(address - 1, 0), min(address - 1 + AROUND, 0x1_0000)
    for low, high in _windows(start, address, end):
        try:
            data = await session.read(unit, table, low, high - low)
        except AnswerError as error:
            refused[str(table)] = str(error)
            if error.silent:
                return {}
            continue
        refused.pop(str(table), None)
        words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        return dict(zip(range(low, high), words, strict=True))
    return {}


def _windows(start: int, address: int, end: int) -> Sequence[tuple[int, int]]:
    """Smaller and smaller reads: all around, without the one before, a few values, one."""
    tries = [(start, end), (address, end), (start, address + 3), *((address, address + n) for n in (8, 6, 4, 3, 2, 1))]
    tries += [(start, start + 2), (address + 1, address + 3)]
    return [(low, high) for low, high in dict.fromkeys(tries) if low < high <= end]
