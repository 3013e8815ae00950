"""The store: everything durable behind one connection. Called from one thread only."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import apsw

from gateway.directory import Directory
from gateway.errors import PayloadError, StateInUseError, StoreError
from gateway.store import state as snapshots
from gateway.store.config import StoreConfig
from gateway.store.database import FILE, get_meta, open_database, rows_of, set_meta
from gateway.store.journal import Journal
from gateway.store.spool import Spool
from gateway.store.tokens import TokenTable

log = logging.getLogger(__name__)

Memory = dict[tuple[str, str], bytes]
"""What adapters have learned of their devices, by (adapter, key)."""


class StateLock:
    """The exclusive hold on a state folder; the kernel lets go of it when the process ends, however."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"state folder {folder}: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._path.read_text(errors="replace").strip() or "?"
            os.close(self._fd)
            raise StateInUseError(f"state folder {folder} is in use by process {holder}") from None
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

    def __init__(self, folder: Path, config: StoreConfig, now_ns: int) -> None:
        self.folder = folder
        self.config = config
        self._db = open_database(folder, now_ns)
        with contextlib.ExitStack() as undo:
            undo.callback(self._db.close)
            self._load()
            undo.pop_all()

    def _load(self) -> None:
        config = self.config
        self.epoch = get_meta(self._db, "epoch", 0)
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
        """Close the connection; folds the write-ahead log into the file."""
        self._db.close()

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
            "spool": {
                uplink: {
                    "rows": gauge.rows,
                    "bytes": gauge.bytes,
                    "samples": gauge.samples,
                    "oldest_ns": self.spool.oldest_ns(uplink),
                    "lost": self.spool.lost.get(uplink, 0),
                }
                for uplink, gauge in self.spool.gauges.items()
            },
            "damaged": self.spool.damaged,
        }

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when it ends.

        Raises:
            StoreError: nothing of it is durable.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except apsw.Error as error:
            raise StoreError(f"{type(error).__name__}: {error}") from error
        finally:
            if self._db.in_transaction:  # SQLite has rolled back by itself after some errors, not after others
                with contextlib.suppress(apsw.Error):
                    self._db.execute("ROLLBACK")

    def load_directory(self, directory: Directory) -> None:
        """Fill an empty directory from disk."""
        directory.load(self._db.execute("SELECT id, row FROM directory ORDER BY id"))

    def write_directory(self, directory: Directory) -> None:
        """Write what changed in the directory; part of the caller's transaction."""
        self._db.executemany("INSERT OR REPLACE INTO directory VALUES (?, ?)", directory.changes())

    def read_memory(self) -> Memory:
        """What adapters have learned, by (adapter, key)."""
        found = rows_of(self._db, "SELECT adapter, key, value FROM memory")
        return {(adapter, key): value for adapter, key, value in found}

    def write_memory(self, learned: Memory) -> None:
        """Write what adapters have learned anew; part of the caller's transaction."""
        rows = [(adapter, key, value) for (adapter, key), value in learned.items()]
        if rows:
            self._db.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?, ?)", rows)

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


T = TypeVar("T")


def with_store(folder: Path, config: StoreConfig, now_ns: int, use: Callable[[Store], T]) -> T:
    """Open the store of a state folder and begin to use it; one that is damaged is set aside, and a new one begun.

    ``use`` reads what it needs to start. A file that is no database, or whose rows are not what was
    written, may not keep a gateway on an unattended box from starting.

    Raises:
        StoreError: it cannot be opened for another reason (a newer format, a full disk, no permission).
    """
    try:
        return _used(folder, config, now_ns, use)
    except (StoreError, apsw.Error, ValueError, TypeError, ArithmeticError, LookupError) as error:
        if not _damaged(folder, error):
            raise
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                (folder / (FILE + suffix)).rename(folder / f"corrupt-{now_ns}-{FILE}{suffix}")
        log.error(  # noqa: TRY400  the cause is in the message, a traceback tells no more
            "the store was damaged; it is set aside as corrupt-%d-%s, and a new one begins: %s", now_ns, FILE, error
        )
        return _used(folder, config, now_ns, use)


def _used(folder: Path, config: StoreConfig, now_ns: int, use: Callable[[Store], T]) -> T:
    store = Store(folder, config, now_ns)
    with contextlib.ExitStack() as undo:
        undo.callback(store.close)
        used = use(store)
        undo.pop_all()
    return used


def _damaged(folder: Path, error: Exception) -> bool:
    """Whether an error comes from a damaged file, and not from what the file lies on or from a defect of ours."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    if isinstance(cause, (apsw.NotADBError, apsw.CorruptError)):
        return True
    if isinstance(cause, (apsw.BusyError, apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)):
        return False
    if isinstance(error, StoreError) and cause is None:
        return False
    try:
        db = apsw.Connection(str(folder / FILE), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            return bool(db.pragma("integrity_check", 1) != "ok")
        finally:
            db.close()
    except apsw.Error:
        return True
