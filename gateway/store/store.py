"""The store: everything durable behind one connection. Called from one thread only."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from gateway.directory import Directory
from gateway.errors import PayloadError, StateInUseError, StoreError
from gateway.store import state as snapshots
from gateway.store.check import crc_of, intact, numbered
from gateway.store.config import StoreConfig
from gateway.store.database import (
    FILE,
    StoreDamagedError,
    explained,
    get_meta,
    leave,
    open_database,
    rows_of,
    set_meta,
)
from gateway.store.files import SYSTEM, StoreFiles
from gateway.store.journal import Journal
from gateway.store.saved import JUMP, Salvaged, sequences_hold
from gateway.store.spool import Spool
from gateway.store.tokens import TokenTable
from gateway.store.upgrade import expected_schema, schema_of

log = logging.getLogger(__name__)

HELD_BYTES = 2**20
"""What may wait for uplinks in a transaction that is left open."""
LOG_PAGES = 4000
"""Pages in the write-ahead log (4 MB) from which on it is folded into the file."""
CHECKED_BYTES = 32 * 2**20
"""A file up to this size is checked as a whole before it is used: below half a second on a small board."""

Memory = dict[tuple[str, str], bytes]
"""What adapters have learned of their devices, by (adapter, key)."""


class StateLock:
    """The exclusive hold on a state folder; the kernel lets go of it when the process ends, however."""

    def __init__(self, folder: Path, files: StoreFiles = SYSTEM) -> None:
        self._path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = files.lock(self._path)
        except BlockingIOError:
            holder = self._path.read_text(errors="replace").strip() or "?"
            raise StateInUseError(f"state folder {folder} is in use by process {holder}") from None
        except OSError as error:
            raise StoreError(f"state folder {folder}: {error.strerror}") from error
        with contextlib.suppress(OSError):  # on a full disk; the lock holds, only nobody is told whose it is
            os.ftruncate(self._fd, 0)
            os.write(self._fd, str(os.getpid()).encode())

    def release(self) -> None:
        """Give the folder free."""
        os.close(self._fd)


class Store:
    """One open state folder.

    Raises:
        StoreError: the file cannot be opened or is of a newer format.
    """

    def __init__(self, folder: Path, config: StoreConfig, now_ns: int, files: StoreFiles = SYSTEM) -> None:
        self.folder = folder
        self.config = config
        self.files = files
        self.salvaged: Salvaged | None = None
        """What was saved of a damaged store when this one was opened."""
        self._db = open_database(folder, now_ns, files)
        self._log_pages = 0
        self._failed = False
        self._db.set_wal_hook(self._logged)
        self._reserved = 0
        """Seqs below it may be given out before they are on disk, see :meth:`leap`."""
        if config.flash is not None:
            self._db.pragma("cache_spill", 0)  # an open transaction writes nothing until its end
        with contextlib.ExitStack() as undo:
            undo.callback(self.abandon)
            self._load()
            undo.pop_all()

    def _logged(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _load(self) -> None:
        config = self.config
        self.epoch = get_meta(self._db, "epoch", 0)
        self._owed = get_meta(self._db, "reserved", 0)
        self.processed = get_meta(self._db, "processed", 0)
        """Journal position up to which the pipelines' output is in the spool."""
        self.checkpointed = get_meta(self._db, "checkpoint", 0)
        self.stream_ns = get_meta(self._db, "stream_ns", 0)
        """Stream time of the newest tick."""
        self.journal = Journal(self._db, config.journal)
        self.journal.load()
        self.tokens = TokenTable(self._db)
        self.spool = Spool(self._db, config.spool, self.epoch)
        self.spool.load()

    def close(self) -> None:
        """Close the connection; folds the write-ahead log into the file, unless it has failed."""
        if self._reserved and not self._failed:
            with contextlib.suppress(StoreError), self.transaction():
                set_meta(self._db, "reserved", 0)  # an end in order: nothing was given out that is not written
        if self._failed:
            self.abandon()
        else:
            self._db.close()

    def abandon(self) -> None:
        """Close a connection that failed: what could not be synced on its descriptors is not tried on them again."""
        with contextlib.suppress(apsw.ConnectionClosedError):
            leave(self._db)

    def status(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        return {
            "epoch": self.epoch,
            "journal": {
                "position": self.journal.last,
                "bytes": self.journal.bytes,
                "checkpoint": self.checkpointed,
                "processed": self.processed,
                "damaged": self.journal.damaged,
            },
            "spool": self.spool.status(),
            "damaged": self.spool.damaged,
            "salvaged": self.salvaged.as_dict() if self.salvaged else None,
        }

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing, on disk when it ends; if it need not be ``durable``, with the next one that is.

        Raises:
            StoreError: nothing of it is durable, nor of those before it that were not.
        """
        whole = False
        try:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            yield
            if durable or self._full_of_news():
                self._reserve()
                self._db.execute("COMMIT")
                if self._log_pages >= LOG_PAGES:
                    self._fold()
            whole = True
        except apsw.Error as error:
            self._failed = True
            raise explained(error, number=self._db.system_errno) from error
        finally:
            if not whole and self._db.in_transaction:  # SQLite has rolled back by itself after some errors only
                with contextlib.suppress(apsw.Error):
                    self._db.execute("ROLLBACK")

    @property
    def synced(self) -> bool:
        """Whether all that was committed is on disk."""
        return not self._db.in_transaction

    def _full_of_news(self) -> bool:
        """Whether an open transaction holds as much as it may: an uplink does not take what there is."""
        waiting = sum(gauge.bytes for gauge in self.spool.gauges.values())
        return waiting > HELD_BYTES or self.spool.newest > self._reserved - JUMP // 2

    def _reserve(self) -> None:
        """Before seqs are given out that are not written: say so on disk. Part of a durable transaction."""
        if self.config.flash is not None and self.spool.newest > self._reserved - JUMP // 2:
            self._reserved = self.spool.newest + JUMP
            set_meta(self._db, "reserved", self._reserved)

    def leap(self) -> bool:
        """Pass over seqs that may have been given out without being written; part of the caller's transaction.

        A record id never repeats with another content. The answer is whether there may be any: the last end was not in
        order, and ``store.flash`` was in force.
        """
        owed, self._owed = self._owed, 0
        if owed:
            self.spool.pass_over(owed)
        return bool(owed)

    def _fold(self) -> None:
        """Fold the write-ahead log into the file. Not left to SQLite, which would keep its failures to itself."""
        self._log_pages = 0
        with contextlib.suppress(apsw.BusyError):  # somebody reads; the next one will do
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def probe(self) -> None:
        """Find out whether the store can be written, with as little as there is.

        Raises:
            StoreError: it cannot.
        """
        with self.transaction():
            set_meta(self._db, "opened", get_meta(self._db, "opened", 0) + 1)

    def check(self) -> None:
        """Look for damage: in the schema, and everywhere if the file is small enough for that at every start.

        Raises:
            StoreDamagedError: there is some.
        """
        if not expected_schema() <= schema_of(self._db):
            raise StoreDamagedError("the tables are not those of this format")
        if not sequences_hold(self._db):
            raise StoreDamagedError("the numbers that are given next are not behind those given before")
        if (self.folder / FILE).stat().st_size <= CHECKED_BYTES:
            found = self._db.pragma("integrity_check", 1)
            if found != "ok":
                raise StoreDamagedError(str(found))

    def load_directory(self, directory: Directory) -> None:
        """Fill an empty directory from disk."""
        rows = rows_of(self._db, "SELECT id, row, crc FROM directory ORDER BY id")
        directory.load((number, row if crc in {None, numbered(number, row)} else b"") for number, row, crc in rows)

    def write_directory(self, directory: Directory) -> None:
        """Write what changed in the directory; part of the caller's transaction."""
        rows = [(number, row, numbered(number, row)) for number, row in directory.changes()]
        if rows:
            self._db.executemany("INSERT OR REPLACE INTO directory VALUES (?, ?, ?)", rows)
            points = max(get_meta(self._db, "points", 0), 1 + max(number for number, _, _ in rows))
            set_meta(self._db, "points", points)

    def read_memory(self) -> Memory:
        """What adapters have learned, by (adapter, key)."""
        found = rows_of(self._db, "SELECT adapter, key, value, crc FROM memory")
        return {(adapter, key): value for adapter, key, value, crc in found if intact(crc, adapter, key, value)}

    def write_memory(self, learned: Memory) -> None:
        """Write what adapters have learned anew; part of the caller's transaction."""
        rows = [(*key, value, crc_of(*key, value)) for key, value in learned.items()]
        if rows:
            self._db.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?, ?, ?)", rows)

    def mark_processed(self, position: int, stream_ns: int) -> None:
        """Say up to where the spool holds the output; part of the caller's transaction."""
        set_meta(self._db, "processed", position)
        self.processed = position
        if stream_ns > self.stream_ns:
            set_meta(self._db, "stream_ns", stream_ns)
            self.stream_ns = stream_ns

    def write_checkpoint(self, states: dict[str, Any]) -> None:
        """Write the pipelines' states as of ``processed``; part of the caller's transaction."""
        self._db.execute("DELETE FROM checkpoint")
        self._db.executemany(
            "INSERT INTO checkpoint VALUES (?, ?)",
            [(name, snapshots.encode(state)) for name, state in states.items()],
        )
        set_meta(self._db, "checkpoint", self.processed)
        self.checkpointed = self.processed

    def read_checkpoint(self) -> dict[str, Any]:
        """The pipelines' states; one that is damaged is left out, counted and told."""
        states: dict[str, Any] = {}
        for name, raw in self._db.execute("SELECT pipeline, state FROM checkpoint"):
            try:
                states[name] = snapshots.decode(raw)
            except PayloadError as error:
                log.error("checkpoint of pipeline %s is damaged: %s", name, error)  # noqa: TRY400  no traceback needed
        return states
