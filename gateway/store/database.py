"""The SQLite file: connection, pragmas and tables. Used by one thread only, through apsw."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from gateway.errors import StoreError

FORMAT = 1
FILE = "onpath.db"

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE directory (id INTEGER PRIMARY KEY, row BLOB NOT NULL);
-- AUTOINCREMENT: positions and record ids only ever grow, also when the table was emptied in between
CREATE TABLE journal (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,   -- span of source times, for the history
    samples INTEGER NOT NULL, written_ns INTEGER NOT NULL, bytes INTEGER NOT NULL, block BLOB NOT NULL
);
CREATE INDEX journal_size ON journal (position, bytes, written_ns);
CREATE TABLE spool (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uplink TEXT NOT NULL, pipeline TEXT NOT NULL, kind INTEGER NOT NULL,
    samples INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,
    created_ns INTEGER NOT NULL, bytes INTEGER NOT NULL, block BLOB NOT NULL
);
CREATE INDEX spool_order ON spool (uplink, seq, bytes, samples, created_ns);
CREATE TABLE loss (
    uplink TEXT NOT NULL, pipeline TEXT NOT NULL, reason TEXT NOT NULL,
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (uplink, pipeline, reason)
) WITHOUT ROWID;
CREATE TABLE received (adapter TEXT NOT NULL, position INTEGER NOT NULL, tokens BLOB NOT NULL);
CREATE INDEX received_order ON received (adapter, position);
CREATE TABLE memory (adapter TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (adapter, key)) WITHOUT ROWID;
CREATE TABLE checkpoint (pipeline TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
"""


# Added since the first release; an older version leaves it alone, so the format keeps its number
_ADDED = """
CREATE TABLE IF NOT EXISTS bounds (uplink TEXT NOT NULL, pipeline TEXT NOT NULL, seq INTEGER NOT NULL,
    bounds BLOB NOT NULL, PRIMARY KEY (uplink, pipeline, seq)) WITHOUT ROWID;
"""


def open_database(folder: Path, now_ns: int) -> apsw.Connection:
    """Open or create the store of a state folder.

    WAL with synchronous=FULL: a commit returns after fsync, which is what a receipt promises.

    Raises:
        StoreError: the file is of a newer format, damaged, or cannot be opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / FILE).touch(mode=0o600)
        db = apsw.Connection(str(folder / FILE))
    except (apsw.Error, OSError) as error:
        raise StoreError(f"{folder / FILE}: {error}") from error
    try:
        _prepare(db, now_ns)
    except (apsw.Error, StoreError) as error:
        db.close()  # now: a later close would take away the log of a new file of this name
        raise StoreError(f"{folder / FILE}: {error}") from error
    return db


def _prepare(db: apsw.Connection, now_ns: int) -> None:
    db.set_busy_timeout(1000)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.pragma("wal_autocheckpoint", 1000)
    db.pragma("journal_size_limit", 16 * 2**20)
    version = db.pragma("user_version")
    if version == 0:
        _create(db, now_ns)
    elif version != FORMAT:
        raise StoreError(f"has format {version}, this version reads {FORMAT}")
    db.execute(_ADDED)


def _create(db: apsw.Connection, now_ns: int) -> None:
    with db:
        db.execute(_TABLES)
        # 48 bits of chance: stays exact in JSON, and a state folder made anew never reuses record ids
        db.execute("INSERT INTO meta VALUES ('epoch', ?), ('created_ns', ?)", (secrets.randbits(48), now_ns))
        db.pragma("user_version", FORMAT)


def rows_of(db: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Rows of a statement; what a column holds is known from the table, not from the type checker."""
    return db.execute(sql, values)


def get_meta(db: apsw.Connection, key: str, default: int) -> int:
    """A number of the meta table."""
    for (value,) in db.execute("SELECT value FROM meta WHERE key = ?", (key,)):
        return int(value)
    return default


def set_meta(db: apsw.Connection, key: str, value: int) -> None:
    """Write a number of the meta table; part of the caller's transaction."""
    db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value))
