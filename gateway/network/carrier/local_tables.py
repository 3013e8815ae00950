"""The tables of the carrier in a folder: streams and keys in one SQLite file. Synchronous; for one thread.

What a transaction wrote is on disk when it ends (WAL, ``synchronous=FULL``), so that a process or the machine may
stop at any moment. Sequence numbers and revisions begin at the time of the first opening, so that a folder that was
deleted and made again never gives a number twice.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from gateway.network.carrier.base import (
    BUCKETS,
    DUPLICATES_S,
    OUT,
    OUT_S,
    UP,
    CarrierError,
    ConflictError,
    Entry,
    Message,
    takes,
)
from gateway.network.carrier.local_file import boot_id, connect
from gateway.store.database import rows_of

FORMAT: Final = 1
READ_MESSAGES: Final = 512
READ_BYTES: Final = 8 * 2**20
"""One reading gives about so much at most."""
SCANNED: Final = 10_000
"""Rows that one reading looks at."""
AT_ONCE: Final = 1000
"""Rows that one cleaning removes of a table."""
GRAVE_S: Final = 86_400.0
"""How long it is kept that a key was deleted."""
FIRST_SHIFT: Final = 20
"""The first number is the time in s, so many bits up: a million numbers a second do not reach that of later."""
FREE_PAGES: Final = 2000
"""Of 4 KiB; more is given back to the disk."""
_SCHEMA: Final = """
CREATE TABLE up (seq INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, subject TEXT NOT NULL, at REAL NOT NULL,
    payload BLOB NOT NULL);
CREATE INDEX up_lane ON up (lane, seq);
CREATE TABLE out (seq INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT NOT NULL, subject TEXT NOT NULL, at REAL NOT NULL,
    payload BLOB NOT NULL);
CREATE INDEX out_lane ON out (lane, seq);
CREATE TABLE seen (stream TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (stream, id)) WITHOUT ROWID;
CREATE INDEX seen_at ON seen (at);
CREATE TABLE key (revision INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL,
    value BLOB, UNIQUE (bucket, key));
CREATE INDEX key_bucket ON key (bucket, revision);
CREATE TABLE fact (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class Read(NamedTuple):
    """What one reading of a stream found."""

    messages: list[Message]
    after: int
    """Up to here everything was looked at."""
    more: bool
    """Whether there is more already."""


class Changes(NamedTuple):
    """What one look at a bucket found."""

    entries: list[Entry]
    revision: int
    """Up to here everything was looked at."""


class Position(NamedTuple):
    """How far the tables go."""

    up: int
    out: int
    key: int


class Touched(NamedTuple):
    """What has changed since a position."""

    lanes: set[str]
    buckets: set[str]


def lane_of(subject: str) -> str:
    """The first two words, by which a stream is indexed."""
    return "/".join(subject.split("/", 2)[:2])


def fixed_lane(pattern: str) -> str:
    """The lane of all that a pattern takes; empty if there are several."""
    words = pattern.split("/")
    return "" if len(words) < 2 or {"*", "**"} & set(words[:2]) else lane_of(pattern)


class Tables:
    """Streams and keys. Methods that write belong into :meth:`begin` and :meth:`commit`.

    Raises:
        apsw.Error: the file cannot be opened.
        CarrierError: it is of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.db = connect(path)
        try:
            self._prepare(path)
        except BaseException:
            self.db.close()
            raise

    def _prepare(self, path: Path) -> None:
        db = self.db
        db.pragma("synchronous", "full")
        self.begin()
        try:
            found = db.pragma("user_version")
            if found > FORMAT:
                raise CarrierError(f"{path}: has format {found}, this version reads {FORMAT}")
            if found == 0:
                db.execute(_SCHEMA)
                first = int(time.time()) << FIRST_SHIFT
                db.executemany(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", [(t, first) for t in (UP, OUT, "key")]
                )
                db.pragma("user_version", FORMAT)
            self._offset = self._anchor()
            self.commit()
        finally:
            self.roll_back()

    def _anchor(self) -> float:
        """What turns the time since boot into the carrier's: no step of the wall clock ages anything."""
        boot, since_boot = boot_id(), time.clock_gettime(time.CLOCK_BOOTTIME)
        if self._fact("boot") == boot:
            return float(self._fact("offset"))
        offset = max(time.time(), float(self._fact("time") or 0.0)) - since_boot
        self._note("boot", boot)
        self._note("offset", offset)
        self._note("time", offset + since_boot)
        return offset

    def _fact(self, name: str) -> Any:
        return next((value for (value,) in self.db.execute("SELECT value FROM fact WHERE name = ?", (name,))), None)

    def _note(self, name: str, value: str | float) -> None:
        self.db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def now(self) -> float:
        """The carrier's time, s."""
        return self._offset + time.clock_gettime(time.CLOCK_BOOTTIME)

    def begin(self) -> None:
        """Begin to write; waits for other processes."""
        self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make it durable."""
        self.db.execute("COMMIT")

    def roll_back(self) -> None:
        """Forget what was not committed, if there is something."""
        if self.db.in_transaction:
            with contextlib.suppress(apsw.Error):
                self.db.execute("ROLLBACK")

    def publish(self, subject: str, payload: bytes, message_id: str) -> int:
        """Append a message; its seq, of a double that of the first."""
        stream, now = stream_of(subject), self.now()
        if message_id:
            sql = "SELECT seq FROM seen WHERE stream = ? AND id = ? AND at > ?"
            for (seq,) in list(rows_of(self.db, sql, (stream, message_id, now - DUPLICATES_S))):
                return int(seq)
        self.db.execute(
            f"INSERT INTO {stream} (lane, subject, at, payload) VALUES (?, ?, ?, ?)",  # noqa: S608  one of two names
            (lane_of(subject), subject, now, payload),
        )
        seq = self.db.last_insert_rowid()
        if message_id:
            self.db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (stream, message_id, seq, now))
        return seq

    def read(self, pattern: str, after: int) -> Read:
        """What a pattern takes above a seq."""
        lane, stream = fixed_lane(pattern), stream_of(pattern)
        where, values = ("lane = ? AND", (lane, after, SCANNED)) if lane else ("", (after, SCANNED))
        rows = rows_of(
            self.db,
            f"SELECT seq, subject, payload FROM {stream} WHERE {where} seq > ? ORDER BY seq LIMIT ?",  # noqa: S608
            values,
        )
        found, size, looked, alive = list[Message](), 0, 0, self.alive_from(stream)
        for seq, subject, payload in rows:
            looked, after = looked + 1, seq
            if seq >= alive and takes(pattern, subject):
                found.append(Message(subject, payload, seq))
                size += len(payload)
                if len(found) >= READ_MESSAGES or size >= READ_BYTES:
                    return Read(found, after, more=True)
        return Read(found, after, more=looked >= SCANNED)

    def alive_from(self, stream: str) -> int:
        """The first seq that is not too old; only the oldest are looked at, for age follows the order."""
        if stream != OUT:
            return 0
        old = self.now() - OUT_S
        rows = self.db.execute(
            "SELECT max(seq) FROM (SELECT seq, at FROM out ORDER BY seq LIMIT ?) WHERE at < ?", (AT_ONCE, old)
        )
        return next((int(seq) + 1 for (seq,) in rows if seq is not None), 0)

    def purge(self, pattern: str, upto: int) -> None:
        """Remove what a pattern takes up to a seq."""
        lane, stream = fixed_lane(pattern), stream_of(pattern)
        where, values = ("lane = ? AND", (lane, upto)) if lane else ("", (upto,))
        if lane and pattern == f"{lane}/**":
            self.db.execute(f"DELETE FROM {stream} WHERE lane = ? AND seq <= ? AND subject != lane", values)  # noqa: S608
            return
        rows = rows_of(self.db, f"SELECT seq, subject FROM {stream} WHERE {where} seq <= ?", values)  # noqa: S608
        gone = [(seq,) for seq, subject in rows if takes(pattern, subject)]
        self.db.executemany(f"DELETE FROM {stream} WHERE seq = ?", gone)  # noqa: S608

    def _oldest(self, bucket: str) -> float:
        """What was written before this time is gone by its age."""
        age_s = BUCKETS[bucket]
        return self.now() - age_s if age_s else -1e300

    def entry(self, bucket: str, key: str) -> Entry | None:
        """The key as it stands; with value None if it was deleted not long ago."""
        rows = self.db.execute(
            "SELECT value, revision FROM key WHERE bucket = ? AND key = ? AND at >= ?",
            (bucket, key, self._oldest(bucket)),
        )
        return next((Entry(key, value, revision) for value, revision in rows), None)

    def put(self, bucket: str, key: str, value: bytes | None, revision: int | None) -> int:
        """Write a key, or that it was deleted; its new revision.

        Raises:
            ConflictError: it has another revision than it should.
        """
        found = self.entry(bucket, key)
        if revision is not None and revision != (found.revision if found else 0):
            there = found is not None and found.value is not None
            if revision or there:
                raise ConflictError(f"{bucket}/{key}: " + (f"is at {found.revision}" if found else "is not there"))
        self.db.execute(
            "INSERT OR REPLACE INTO key (bucket, key, at, value) VALUES (?, ?, ?, ?)", (bucket, key, self.now(), value)
        )
        return self.db.last_insert_rowid()

    def delete(self, bucket: str, key: str, revision: int | None) -> None:
        """Remove a key; see :meth:`put`."""
        found = self.entry(bucket, key)
        if found is not None and found.value is not None:
            self.put(bucket, key, None, revision)

    def changes(self, bucket: str, pattern: str, since: int | None, known: set[str]) -> Changes:
        """What has changed in a bucket since a revision; all that is there for None.

        ``known`` are the keys that were told: if deletions were forgotten since, what is missing of them is told.
        """
        with self.db:  # one state of the file
            top = self.position().key
            forgotten = int(self._fact("forgotten") or 0)
            anew = since is None or since < forgotten
            rows = rows_of(
                self.db,
                "SELECT key, value, revision FROM key WHERE bucket = ? AND revision > ? AND revision <= ? AND at >= ? "
                "ORDER BY revision",
                (bucket, 0 if anew else since, top, self._oldest(bucket)),
            )
            entries = [Entry(*row) for row in rows if takes(pattern, row[0])]
            if anew:
                there = {entry.key for entry in entries}
                gone = [] if since is None else [Entry(key, None, top) for key in sorted(known - there)]
                entries = gone + [entry for entry in entries if entry.value is not None]
        return Changes(entries, top)

    def position(self) -> Position:
        """How far the tables go."""
        found: dict[str, int] = dict(rows_of(self.db, "SELECT name, seq FROM sqlite_sequence"))
        return Position(found[UP], found[OUT], found["key"])

    def touched(self, since: Position, now: Position) -> Touched:
        """Which lanes and buckets have changed between two positions."""
        lanes, buckets = set[str](), set[str]()
        for stream, old, new in ((UP, since.up, now.up), (OUT, since.out, now.out)):
            if new > old:
                rows = self.db.execute(f"SELECT DISTINCT lane FROM {stream} WHERE seq > ?", (old,))  # noqa: S608
                lanes |= {lane for (lane,) in rows}
        if now.key > since.key:
            rows = self.db.execute("SELECT DISTINCT bucket FROM key WHERE revision > ?", (since.key,))
            buckets = {bucket for (bucket,) in rows}
        return Touched(lanes, buckets)

    def clean(self) -> None:
        """Remove what is too old, a bounded piece of it. In a transaction."""
        db, now = self.db, self.now()
        db.execute(
            "DELETE FROM out WHERE seq IN "
            "(SELECT seq FROM (SELECT seq, at FROM out ORDER BY seq LIMIT ?) WHERE at < ?)",
            (AT_ONCE, now - OUT_S),
        )
        db.execute(
            "DELETE FROM seen WHERE (stream, id) IN (SELECT stream, id FROM seen WHERE at < ? ORDER BY at LIMIT ?)",
            (now - DUPLICATES_S, AT_ONCE),
        )
        for bucket, age_s in BUCKETS.items():
            if age_s:
                self._remove_keys("bucket = ?", (bucket,), now - age_s)
        self._remove_keys("value IS NULL", (), now - GRAVE_S)
        self._note("time", now)

    def _remove_keys(self, where: str, values: tuple[str, ...], before: float) -> None:
        """Remove old keys; of those that say that something was deleted, it is noted how far they are gone."""
        rows = rows_of(
            self.db,
            f"SELECT revision, value IS NULL FROM (SELECT revision, value, at FROM key WHERE {where} "  # noqa: S608
            "ORDER BY revision LIMIT ?) WHERE at < ?",
            (*values, AT_ONCE, before),
        )
        found = list(rows)
        graves = [revision for revision, deleted in found if deleted]
        if graves:
            self._note("forgotten", max(int(self._fact("forgotten") or 0), *graves))
        self.db.executemany("DELETE FROM key WHERE revision = ?", [(revision,) for revision, _ in found])

    def shrink(self) -> None:
        """Give pages that are free back to the disk, some at a time."""
        if self.db.pragma("freelist_count") > FREE_PAGES:
            self.db.execute("PRAGMA incremental_vacuum(1000)").fetchall()

    def data_version(self) -> int:
        """Changes when another connection has committed."""
        return int(self.db.pragma("data_version"))

    def close(self) -> None:
        """Close the file."""
        self.db.close()


def stream_of(subject: str) -> str:
    """The stream that takes a subject or pattern.

    Raises:
        CarrierError: none does.
    """
    first = subject.partition("/")[0]
    if first not in {UP, OUT}:
        raise CarrierError(f"{subject}: streams begin with {UP} or {OUT}")
    return first
