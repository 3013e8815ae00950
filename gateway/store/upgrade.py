"""Formats of the SQLite file: one step from each to the next. A new file takes the same steps, from the first on.

What a step adds, it adds for good: once a version with it was released, the change goes into a new step. A step runs
in one transaction with its number, so that a crash leaves the format before or the format after.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import apsw

from gateway.errors import StoreError
from gateway.store.check import crc_of

Upgrade = Callable[[apsw.Connection], None]

FIRST = """
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
"""Format 1. Never changed: files of it are upgraded."""

SECOND = """
-- Checksums of whole rows (gateway.store.check); rows of format 1 have none
ALTER TABLE meta ADD COLUMN crc INTEGER;
ALTER TABLE directory ADD COLUMN crc INTEGER;
ALTER TABLE memory ADD COLUMN crc INTEGER;
ALTER TABLE spool ADD COLUMN crc INTEGER;
-- The epoch once more, on a page of its own: without it no record id could be trusted any more
CREATE TABLE identity (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, crc INTEGER NOT NULL);
-- Files of format 1 may have it already
CREATE TABLE IF NOT EXISTS bounds (uplink TEXT NOT NULL, pipeline TEXT NOT NULL, seq INTEGER NOT NULL,
    bounds BLOB NOT NULL, PRIMARY KEY (uplink, pipeline, seq)) WITHOUT ROWID;
-- The local history behind the checkpoint, regrouped by point: see gateway.store.compact
CREATE TABLE history (
    segment INTEGER PRIMARY KEY,                           -- the last journal position in it
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,   -- span of source times
    samples INTEGER NOT NULL, damaged INTEGER NOT NULL, written_ns INTEGER NOT NULL, bytes INTEGER NOT NULL
);
CREATE TABLE history_chunk (
    chunk INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL, first_point INTEGER NOT NULL, last_point INTEGER NOT NULL,
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, samples INTEGER NOT NULL, block BLOB NOT NULL
);
CREATE INDEX history_points ON history_chunk (segment, first_point, last_point, first_ns, last_ns, samples);
CREATE TABLE latest (part INTEGER PRIMARY KEY, block BLOB NOT NULL);
-- Rows name the one before them of the same uplink and pipeline (gateway.store.chain); NULL where nobody knows
ALTER TABLE spool ADD COLUMN prev INTEGER;
CREATE TABLE chain (number INTEGER PRIMARY KEY AUTOINCREMENT, uplink TEXT NOT NULL, pipeline TEXT NOT NULL,
    seq INTEGER NOT NULL, UNIQUE (uplink, pipeline));
-- Losses say which rows went with them; NULL where none had a number yet
ALTER TABLE loss ADD COLUMN first_seq INTEGER;
ALTER TABLE loss ADD COLUMN last_seq INTEGER;
-- When the other side had a row that is kept for a grace; NULL: it waits
ALTER TABLE spool ADD COLUMN delivered_ns INTEGER;
-- How often it was thinned, see gateway.store.thin
ALTER TABLE spool ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
DROP INDEX spool_order;
CREATE INDEX spool_waiting ON spool (uplink, pipeline, seq, level, bytes, samples, created_ns)
    WHERE delivered_ns IS NULL;
CREATE INDEX spool_thinned ON spool (uplink, pipeline, level, seq) WHERE delivered_ns IS NULL AND level > 0;
CREATE INDEX spool_kept ON spool (uplink, delivered_ns, seq, pipeline, bytes, samples)
    WHERE delivered_ns IS NOT NULL;
"""


def _to_second(db: apsw.Connection) -> None:
    db.execute(SECOND)
    for key, value in list(db.execute("SELECT key, value FROM meta")):
        db.execute("UPDATE meta SET crc = ? WHERE key = ?", (crc_of(key, value), key))
        if key == "epoch":
            db.execute("INSERT INTO identity VALUES (1, ?, ?)", (value, crc_of(value)))
    ((points,),) = list(db.execute("SELECT coalesce(max(id) + 1, 0) FROM directory"))
    db.execute("INSERT INTO meta VALUES ('points', ?, ?)", (points, crc_of("points", points)))


STEPS: tuple[Upgrade, ...] = (_to_second,)
"""From format 1 to 2, from 2 to 3 and so on."""

FORMAT = 1 + len(STEPS)
"""What this version writes, in SQLite's ``user_version``."""


def refuse_newer(db: apsw.Connection) -> None:
    """To be asked before anything is written.

    Raises:
        StoreError: the file is of a newer format.
    """
    found = db.pragma("user_version")
    noted = noted_format(db)
    if noted not in {None, found} or (not found and any(db.execute("SELECT 1 FROM sqlite_schema"))):
        raise apsw.CorruptError(f"the header says format {found}, the table {noted}")
    if not 0 <= found <= FORMAT:
        raise StoreError(f"has format {found}, this version reads {FORMAT}")


def noted_format(db: apsw.Connection) -> int | None:
    """The format as the file says it once more, from 2 on: one flipped bit must not look like another version."""
    for value, crc in db.execute("SELECT value, crc FROM meta WHERE key = 'format'") if _notes(db) else ():
        if isinstance(value, int) and crc == crc_of("format", value):
            return value
    return None


def _notes(db: apsw.Connection) -> bool:
    return any(db.execute("SELECT 1 FROM pragma_table_info('meta') WHERE name = 'crc'"))


def schema_of(db: apsw.Connection) -> set[str]:
    """The statements that made a file's tables and indexes."""
    return {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}


@functools.cache
def expected_schema() -> set[str]:
    """Those of :data:`FORMAT`."""
    db = apsw.Connection(":memory:")
    try:
        db.execute(FIRST)
        for step in STEPS:
            step(db)
        return schema_of(db)
    finally:
        db.close()


def upgrade(db: apsw.Connection) -> None:
    """Bring an open file of a known format to :data:`FORMAT`, step by step."""
    for number in range(db.pragma("user_version"), FORMAT):
        with db:
            STEPS[number - 1](db)
            row = ("format", number + 1, crc_of("format", number + 1))
            db.execute("INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?, ?, ?)", row)
            db.pragma("user_version", number + 1)
