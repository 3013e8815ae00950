"""What is known of a unit beyond its configuration: holes in its tables, and the longest reads it answers.

Kept over restarts through the adapter's memory, one entry a unit and table:

    learned/UNIT/TABLE   ->   JSON {config, most, refused, dead, cuts}

``config`` is a hash of what the unit is configured to be; with another configuration the entry does not
count. Addresses are stored, not points: whatever the groups of a device, they share what one has found.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from adapters.modbus.place import Table
from adapters.modbus.planner import Limits, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from adapters.modbus.holes import Holes

RELEARN_S = 3600.0
"""How often a read that was too long is tried again."""


class Facts(msgspec.Struct, kw_only=True):
    """What was found out about one table of a unit."""

    config: str = ""
    most: int = 0
    """Addresses of the longest read, 0 if unknown."""
    refused: tuple[int, int] = (0, 0)
    """Address and count of a read that was too long."""
    dead: set[tuple[int, int]] = msgspec.field(default_factory=set)
    """Address and width of values that are not there."""
    cuts: set[int] = msgspec.field(default_factory=set)
    """Addresses that no read may span."""


class Learned:
    """What was learned of one unit; groups of one unit share it.

    Args:
        unit: the unit id.
        config: what :func:`fingerprint` says of the unit's configuration.
        recall: gives what was remembered under a key.
        remember: keeps it.
    """

    def __init__(
        self,
        unit: int = 0,
        config: str = "",
        recall: Callable[[str], bytes | None] | None = None,
        remember: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.version = 0
        """Grows with each change: who has planned before plans anew."""
        self._unit = unit
        self._config = config
        self._remember = remember
        self._tables = {table: self._recalled(table, recall) for table in Table}

    def _recalled(self, table: Table, recall: Callable[[str], bytes | None] | None) -> Facts:
        kept = recall(self._key(table)) if recall else None
        if kept:
            try:
                facts = msgspec.json.decode(kept, type=Facts)
            except msgspec.MsgspecError:  # of another version of this program: learn again
                facts = Facts()
            if facts.config == self._config:
                return facts
        return Facts(config=self._config)

    def _key(self, table: Table) -> str:
        return f"learned/{self._unit}/{table}"

    def _changed(self, table: Table) -> None:
        self.version += 1
        if self._remember:
            self._remember(self._key(table), msgspec.json.encode(self._tables[table], order="sorted"))

    def facts(self, table: Table) -> Facts:
        """What is known of a table."""
        return self._tables[table]

    def add(self, spans: Sequence[Span], holes: Holes) -> None:
        """Keep what a search has found; ``holes.dead`` are indices into ``spans``."""
        facts = self._tables[holes.table]
        facts.dead |= {(spans[i].address, spans[i].width) for i in holes.dead}
        facts.cuts |= {address for _, address in holes.cuts}
        if holes.most:
            facts.most = min(holes.most, facts.most or holes.most)
            facts.refused = holes.refused
        self._changed(holes.table)

    def forget(self, table: Table) -> None:
        """Begin anew with a table: it has changed."""
        self._tables[table] = Facts(config=self._config)
        self._changed(table)

    def dead(self, spans: Sequence[Span]) -> set[int]:
        """Indices of the values that are not there."""
        return {i for i, span in enumerate(spans) if (span.address, span.width) in self._tables[span.table].dead}

    def limits(self, given: Limits) -> Limits:
        """The configured limits with what was learned worked in."""
        return Limits(
            given.max_registers,
            given.max_gap,
            {(table, cut) for table, facts in self._tables.items() for cut in facts.cuts},
            {table: facts.most for table, facts in self._tables.items() if facts.most},
        )


def fingerprint(url: str, limits: Iterable[Limits], spans: Iterable[Span]) -> str:
    """A hash of what a unit is configured to be: where it is, what it may be asked for, and how."""
    parts = [url, *sorted(f"{one.max_registers} {one.max_gap}" for one in limits)]
    parts += sorted({f"{span.table}:{span.address}+{span.width}" for span in spans})
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
