"""Opening the store of a state folder, whatever state it is in: renewed, upgraded, saved from damage."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from gateway.errors import StoreError
from gateway.store.config import StoreConfig
from gateway.store.database import (
    FILE,
    SHM,
    WAL,
    StoreDamagedError,
    StoreFullError,
    StoreReadOnlyError,
    explained,
    leave,
)
from gateway.store.files import SYSTEM, StoreFiles
from gateway.store.pages import rotten, sound_header
from gateway.store.salvage import finish_salvage, partly_unreadable, salvage
from gateway.store.store import Store
from gateway.store.upgrade import expected_schema, schema_of

log = logging.getLogger(__name__)

T = TypeVar("T")


def with_store(
    folder: Path,
    config: StoreConfig,
    now_ns: int,
    use: Callable[[Store], T],
    files: StoreFiles = SYSTEM,
    failure: StoreError | None = None,
) -> T:
    """Open the store of a state folder and begin to use it; from one that is damaged, what can be read is saved.

    ``use`` reads what it needs to start. A file that is no database, or whose rows are not what was
    written, may not keep a gateway on an unattended box from starting. ``failure`` is why the store was given up
    before, if it was.

    Raises:
        StoreError: it cannot be opened for another reason (a newer format, a full disk, no permission).
    """
    try:
        finish_salvage(folder, now_ns, files)
        _set_aside_what_is_no_file(folder, now_ns, files)
        _renew_log(folder, files, failure)
        if isinstance(failure, StoreDamagedError):
            raise failure
        if rotten(folder / WAL):
            raise StoreDamagedError("the write-ahead log is damaged in its midst")
        return _used(folder, config, now_ns, use, files)
    except OSError as error:
        raise explained(error, folder / FILE) from error
    except (StoreError, apsw.Error, ValueError, TypeError, ArithmeticError, LookupError, msgspec.DecodeError) as error:
        if not _damaged(folder, files, error):
            if isinstance(error, apsw.Error):
                raise explained(error, folder / FILE) from error
            raise
        saved = salvage(folder, now_ns, str(error), files)

    def use_saved(store: Store) -> T:
        store.salvaged = saved
        return use(store)

    return _used(folder, config, now_ns, use_saved, files)


def _set_aside_what_is_no_file(folder: Path, now_ns: int, files: StoreFiles) -> None:
    for name in (FILE, WAL, SHM):
        path = folder / name
        if path.is_dir() or (path.is_symlink() and not path.exists()):
            log.error("%s is no file; it is set aside as corrupt-%d-%s", path, now_ns, name)
            files.rename(path, folder / f"corrupt-{now_ns}-{name}")


def _renew_log(folder: Path, files: StoreFiles, failure: StoreError | None) -> None:
    """Whatever the log holds is really on disk before anything is built on it, see :meth:`StoreFiles.renew`."""
    if isinstance(failure, StoreFullError):
        return  # nothing was synced in vain, and a copy would take room
    try:
        files.renew(folder / WAL)
    except OSError as error:
        known = explained(error, folder / WAL)
        if failure is not None or not isinstance(known, (StoreFullError, StoreReadOnlyError)):
            raise known from error


def _used(folder: Path, config: StoreConfig, now_ns: int, use: Callable[[Store], T], files: StoreFiles) -> T:
    store = Store(folder, config, now_ns, files)
    with contextlib.ExitStack() as undo:
        undo.callback(store.abandon)
        store.probe()
        store.check()
        used = use(store)
        undo.pop_all()
    return used


def _damaged(folder: Path, files: StoreFiles, error: Exception) -> bool:
    """Whether an error comes from a damaged file, and not from what the file lies on or from a defect of ours."""
    cause = error.__cause__ if isinstance(error, StoreError) else error
    # SQLite gives back any bytes as a text
    certain = (StoreDamagedError, apsw.NotADBError, apsw.CorruptError, UnicodeDecodeError, msgspec.DecodeError)
    if isinstance(error, certain) or isinstance(cause, certain) or not sound_header(folder / FILE):
        return True
    if getattr(cause, "extendedresult", 0) == apsw.SQLITE_IOERR_READ:
        return partly_unreadable(folder)
    below = (apsw.BusyError, apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)
    if isinstance(cause, below) or (isinstance(error, StoreError) and not isinstance(cause, apsw.SQLError)):
        return False
    return _looks_damaged(folder, files)


def _looks_damaged(folder: Path, files: StoreFiles) -> bool:
    try:
        db = files.connect(folder / FILE)
        try:
            return bool(db.pragma("integrity_check", 1) != "ok") or not expected_schema() <= schema_of(db)
        finally:
            leave(db)
    except (apsw.Error, UnicodeDecodeError):
        return True
