"""What the tables of the store look like, and how a row of each proves to be what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from gateway.batch import Loss, RowKind
from gateway.directory import readable
from gateway.errors import PayloadError
from gateway.store import segments, state
from gateway.store.bounds import Bounds
from gateway.store.check import intact, numbered
from gateway.store.database import rows_of
from gateway.wire import columns

Row = dict[str, Any]

_TYPES = {"INTEGER": int, "TEXT": str, "BLOB": bytes}


@dataclass(frozen=True)
class Column:
    """One column as it was declared."""

    name: str
    type: str
    needed: bool
    """Whether every row has it, of whichever format."""


@dataclass(frozen=True)
class Table:
    """One table."""

    name: str
    columns: tuple[Column, ...]
    stored: tuple[Column, ...]
    """In the order of the record: a table without rowid begins with its key."""
    key: tuple[str, ...]
    """Columns of the primary key; "rowid" where there is none."""
    rowid: str | None
    """The column that is the rowid, and NULL in the record."""
    keyed: bool
    """Whether it is a table without rowid, which lies in the leaves of an index."""

    def row(self, rowid: int | None, values: Sequence[Any]) -> Row | None:
        """What a leaf holds as a row of this table, or None if it cannot be one."""
        if (rowid is None) is not self.keyed or not 2 <= len(values) <= len(self.stored):
            return None
        row: Row = {}
        for column, value in zip(self.stored, values, strict=False):
            if column.name == self.rowid:
                if value is not None:
                    return None
                row[column.name] = rowid
            elif not _fits(column, value):
                return None
            else:
                row[column.name] = value
        missing = self.stored[len(values) :]
        return None if any(column.needed for column in missing) else row


def _fits(column: Column, value: object) -> bool:
    kind = _TYPES.get(column.type)
    return kind is None or isinstance(value, kind) or (value is None and not column.needed)


def tables(db: apsw.Connection) -> list[Table]:
    """All tables of a store but SQLite's own, in the order in which they were made."""
    query = (
        "SELECT l.name, l.wr FROM pragma_table_list l JOIN sqlite_schema s ON s.name = l.name "
        "WHERE s.type = 'table' AND l.schema = 'main' AND l.name NOT LIKE 'sqlite%' ORDER BY s.rowid"
    )
    found = list(rows_of(db, query))
    return [_table(db, name, keyed=bool(keyed)) for name, keyed in found]


def _table(db: apsw.Connection, name: str, *, keyed: bool) -> Table:
    facts = list(
        rows_of(db, 'SELECT name, type, "notnull" AND dflt_value IS NULL, pk FROM pragma_table_info(?)', (name,))
    )
    own = tuple(Column(column, kind, bool(needed)) for column, kind, needed, _ in facts)
    key = [place for place, fact in enumerate(facts) if fact[3]]
    key.sort(key=lambda place: facts[place][3])
    names = tuple(own[place].name for place in key)
    alias = names[0] if not keyed and len(key) == 1 and own[key[0]].type == "INTEGER" else None
    stored = (*(own[place] for place in key), *(c for c in own if c.name not in names)) if keyed else own
    return Table(name, own, stored, names if keyed or alias else ("rowid",), alias, keyed)


def _decodes(decode: Callable[[Any], Any], raw: object) -> bool:
    try:
        decode(raw)
    except (PayloadError, msgspec.DecodeError, UnicodeDecodeError, TypeError):
        return False
    return True


def _spool(row: Row) -> bool:
    said = ("seq", "uplink", "pipeline", "kind", "samples", "first_ns", "last_ns", "created_ns", "prev", "block")
    if not intact(row.get("crc"), *(row.get(name) for name in said)):
        return False
    if row["kind"] == RowKind.LOSS:
        return _decodes(lambda raw: msgspec.msgpack.decode(raw, type=Loss), row["block"])
    return _decodes(columns.decode, row["block"])


def _plain(row: Row) -> bool:
    """A row of format 1, which had nothing but numbers there."""
    return isinstance(row["value"], int)


_PROOFS: Mapping[str, Callable[[Row], bool]] = {
    "meta": lambda row: intact(row.get("crc"), row["key"], row["value"]) if row.get("crc") else _plain(row),
    "identity": lambda row: intact(row["crc"], row["epoch"]),
    "directory": lambda row: row.get("crc") in {None, numbered(row["id"], row["row"])} and readable(row["row"]),
    "memory": lambda row: intact(row.get("crc"), row["adapter"], row["key"], row["value"]),
    "journal": lambda row: _decodes(segments.decode, row["block"]),
    "checkpoint": lambda row: _decodes(state.decode, row["state"]),
    "bounds": lambda row: _decodes(lambda raw: msgspec.json.decode(raw, type=Bounds), row["bounds"]),
    "history_chunk": lambda row: _decodes(columns.decode, row["block"]),
    "latest": lambda row: _decodes(columns.decode, row["block"]),
    "spool": _spool,
}


def proven(table: str, row: Row) -> bool:
    """Whether a row is what was written, as far as it says so itself."""
    proof = _PROOFS.get(table)
    try:
        return proof is None or proof(row)
    except (TypeError, LookupError, ValueError):  # not even the kind of values that a row has
        return False
