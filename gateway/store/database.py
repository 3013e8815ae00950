"""The SQLite file: connection and pragmas. Used by one thread only, through apsw."""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from gateway.errors import StoreError
from gateway.store.check import crc_of, intact
from gateway.store.files import SYSTEM, StoreFiles
from gateway.store.upgrade import FIRST, refuse_newer, upgrade

FILE = "onpath.db"
WAL = FILE + "-wal"
SHM = FILE + "-shm"


PAGE = 1024
"""Bytes of a page of a new file. A commit writes each page that it touches whole, so that small ones cost a flash disk
a third of what SQLite's own size does, and no more time (benchmark ``store-written``)."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StoreDamagedError(StoreError):
    """What is on disk is not what was written."""

    reason = "store-damaged"


class StoreFullError(StoreError):
    """There is no room, by the disk, a quota or a limit: nothing is broken, and nothing can be written."""

    reason = "store-full"


class StoreReadOnlyError(StoreError):
    """The file system takes no writes."""

    reason = "store-read-only"


def explained(error: apsw.Error | OSError, what: object = "", number: int = 0) -> StoreError:
    """The error of SQLite or the system as one of ours; ``number`` is the errno behind it if it is known."""
    kind: type[StoreError] = StoreError
    number = (error.errno or 0) if isinstance(error, OSError) else number
    failed = isinstance(error, (OSError, apsw.IOError, apsw.CantOpenError))  # for others the number is an old one
    synced = getattr(error, "extendedresult", 0) in {apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC}
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        kind = StoreDamagedError
    elif isinstance(error, apsw.FullError) or (failed and number in NO_ROOM and not synced):
        kind = StoreFullError
    elif isinstance(error, apsw.ReadOnlyError) or (failed and number == errno.EROFS):
        kind = StoreReadOnlyError
    text = f"{type(error).__name__}: {error}" if isinstance(error, apsw.Error) else str(error)
    return kind(f"{what}: {text}" if what else text)


def open_database(folder: Path, now_ns: int, files: StoreFiles = SYSTEM) -> apsw.Connection:
    """Open or create the store of a state folder.

    WAL with synchronous=FULL: a commit returns after fsync, which is what a receipt promises.

    Raises:
        StoreError: the file is of a newer format, damaged, or cannot be opened.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.touch(path)
        db = files.connect(path)
    except (apsw.Error, OSError) as error:
        raise explained(error, path) from error
    with contextlib.ExitStack() as undo:
        undo.callback(leave, db)
        try:
            _prepare(db, now_ns)
        except apsw.Error as error:
            raise explained(error, path, db.system_errno) from error
        except StoreError as error:
            raise type(error)(f"{path}: {error}") from error
        undo.pop_all()
    return db


def _prepare(db: apsw.Connection, now_ns: int) -> None:
    db.set_busy_timeout(1000)
    refuse_newer(db)
    if not db.pragma("page_count"):
        db.pragma("page_size", PAGE)
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.pragma("journal_size_limit", 16 * 2**20)
    db.wal_autocheckpoint(0)  # SQLite hides what goes wrong there; see Store.transaction
    if db.pragma("user_version") == 0:
        _create(db, now_ns)
    upgrade(db)


def _create(db: apsw.Connection, now_ns: int) -> None:
    with db:
        db.execute(FIRST)
        # 48 bits of chance: stays exact in JSON, and a state folder made anew never reuses record ids
        db.execute("INSERT INTO meta VALUES ('epoch', ?), ('created_ns', ?)", (secrets.randbits(48), now_ns))
        db.pragma("user_version", 1)


def leave(db: apsw.Connection) -> None:
    """Close without folding the log into the file: nothing is written or synced any more on these descriptors."""
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.close(True)


def rows_of(db: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Rows of a statement; what a column holds is known from the table, not from the type checker."""
    return db.execute(sql, values)


def get_meta(db: apsw.Connection, key: str, default: int) -> int:
    """A number of the meta table.

    Raises:
        StoreDamagedError: it is not the number that was written.
    """
    for value, crc in rows_of(db, "SELECT value, crc FROM meta WHERE key = ?", (key,)):
        if not isinstance(value, int) or not intact(crc, key, value):
            raise StoreDamagedError(f"meta {key} is damaged")
        return value
    return default


def set_meta(db: apsw.Connection, key: str, value: int) -> None:
    """Write a number of the meta table; part of the caller's transaction."""
    db.execute(
        "INSERT INTO meta VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, crc = excluded.crc",
        (key, value, crc_of(key, value)),
    )
