"""Saving what can be read of a damaged store, so that damage costs what it hit and not the rest.

The damaged file is set aside as ``corrupt-TIME-onpath.db``, and a new one has taken its place once it is complete:
a process that is killed in between begins again, or finishes. Rows come through SQLite as far as that reads
on from either end of a table, and from the leaves themselves where it does not (:mod:`gateway.store.pages`). Every row
with a checksum is checked. What is missing is counted and told upstream by loss markers.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from gateway.store.database import FILE, SHM, WAL, StoreDamagedError, explained, leave, open_database, rows_of
from gateway.store.files import StoreFiles
from gateway.store.pages import Image, leaves
from gateway.store.saved import Salvaged, begin, finish
from gateway.store.tables import Row, Table, proven, tables

log = logging.getLogger(__name__)

WORK = "onpath.db-salvage"
"""Folder in which the new store is built."""
DONE = "onpath.db-saved"
"""The new store, complete: from here on there is no way back."""
UNREADABLE = 64
"""Pages that may be unreadable in the smallest file."""
KEPT = 2
"""Damaged stores that are kept, at most."""
KEPT_BYTES = 512 * 2**20
"""Bytes of them, at most, but for the newest, which is always kept."""


def finish_salvage(folder: Path, now_ns: int, files: StoreFiles) -> None:
    """Go on where a process was killed in the middle of it."""
    if (folder / DONE).exists():
        _exchange(folder, now_ns, files)
    _clear(folder, files)


def salvage(folder: Path, now_ns: int, reason: str, files: StoreFiles) -> Salvaged:
    """Put a new store with all that can be read in the place of a damaged one.

    Raises:
        OSError, StoreError: there is no room for it; the damaged one is as it was.
    """
    log.error("the store is damaged: %s; saving what can be read", reason)
    try:
        saved = _build(folder, now_ns, reason, files)
    except (StoreDamagedError, ValueError, TypeError, ArithmeticError, LookupError):
        log.exception("nothing could be saved")
        saved = _build(folder, now_ns, reason, files, everything=False)
    files.rename(folder / WORK / FILE, folder / DONE)
    _exchange(folder, now_ns, files)
    _clear(folder, files)
    log.error("saved of the damaged store, which is set aside as %s: %s", saved.aside, saved.as_dict())
    return saved


def _build(folder: Path, now_ns: int, reason: str, files: StoreFiles, *, everything: bool = True) -> Salvaged:
    """Make the new store, complete and synced."""
    saved = Salvaged(reason, f"corrupt-{now_ns}-{FILE}")
    _clear(folder, files)
    (folder / WORK).mkdir(mode=0o700)
    db = open_database(folder / WORK, now_ns, files)
    try:
        with db, _image(folder) as image, _reader(folder, image, files) as damaged:
            known, fresh = tables(db), begin(db)
            whole = {table.name: _copy(damaged, db, table, saved) for table in known} if damaged and everything else {}
            torn = [table for table in known if not whole.get(table.name)]
            if everything:
                _gather(image, db, torn, saved)
            finish(db, damaged if everything else None, saved, now_ns, fresh, {table.name for table in torn})
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.Error as error:
        raise explained(error, folder / WORK, db.system_errno) from error
    finally:
        db.close()
    return saved


@contextlib.contextmanager
def _image(folder: Path) -> Iterator[Image]:
    """The damaged file page by page, with what its log can be believed in."""
    log_path = folder / WAL
    raw_log = log_path.read_bytes() if log_path.is_file() else b""
    path = folder / FILE
    if not path.is_file():
        yield Image(None, raw_log)
        return
    with path.open("rb") as file:
        yield Image(file.fileno(), raw_log)


def partly_unreadable(folder: Path) -> bool:
    """Whether the disk does not give back some of the file; if most of it is gone, the disk is, and may come back."""
    with _image(folder) as image:
        return 0 < image.unreadable() <= max(UNREADABLE, image.own // 8)


@contextlib.contextmanager
def _reader(folder: Path, image: Image, files: StoreFiles) -> Iterator[apsw.Connection | None]:
    """SQLite's own view of the damaged file, or None where it has none or one that ends before a damaged commit."""
    if image.log.rotten or not (folder / FILE).is_file():
        yield None
        return
    try:
        db = files.connect(folder / FILE)
    except apsw.Error:
        yield None
        return
    try:
        db.pragma("schema_version")
    except apsw.Error:
        leave(db)
        yield None
        return
    try:
        yield db
    finally:
        leave(db)


def _copy(damaged: apsw.Connection, db: apsw.Connection, table: Table, saved: Salvaged) -> bool:
    """Copy what SQLite reads of a table from either end; whether that is all of it."""
    try:
        if _made_by(damaged, table) != _made_by(db, table):
            return False  # an older format, or a schema that is damaged itself: its columns may not be what they say
    except (apsw.Error, UnicodeDecodeError):
        return False
    names = [column.name for column in table.columns]
    for order in ("ASC", "DESC"):
        by = ", ".join(f"{name} {order}" for name in table.key)
        query = f"SELECT {', '.join(names)} FROM {table.name} ORDER BY {by}"  # noqa: S608  names from the schema
        with contextlib.suppress(apsw.Error, UnicodeDecodeError):
            for values in rows_of(damaged, query):
                saved.damaged[table.name] += not _keep(db, table, dict(zip(names, values, strict=True)), saved)
            return True
    return False


def _made_by(db: apsw.Connection, table: Table) -> list[tuple[str]]:
    query = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return [(str(sql),) for (sql,) in rows_of(db, query, (table.name,))]


def _gather(image: Image, db: apsw.Connection, torn: Sequence[Table], saved: Salvaged) -> None:
    """Take the rows of some tables from the leaves themselves, wherever those are."""
    for rowid, values in leaves(image) if torn else ():
        found = [(table, row) for table in torn if (row := table.row(rowid, values)) is not None]
        if not any(_keep(db, table, row, saved) for table, row in found) and found and rowid is not None:
            saved.damaged[found[0][0].name] += 1  # what lies in the leaves of an index may be an entry of one


def _keep(db: apsw.Connection, table: Table, row: Row, saved: Salvaged) -> bool:
    """Write a row that is what was written; whether it is."""
    if not proven(table.name, row):
        return False
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    query = f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608  names from the schema
    try:
        db.execute(query, tuple(row.values()))
    except apsw.ConstraintError:
        return False
    saved.rows[table.name] += db.changes()
    return True


def _exchange(folder: Path, now_ns: int, files: StoreFiles) -> None:
    for name in (FILE, WAL, SHM):
        if (folder / name).exists():
            files.rename(folder / name, folder / f"corrupt-{now_ns}-{name}")
    files.rename(folder / DONE, folder / FILE)


def _clear(folder: Path, files: StoreFiles) -> None:
    """Remove what was begun, and damaged stores beyond what is kept of them."""
    work = folder / WORK
    if work.exists():
        for path in work.iterdir():
            files.remove(path)
        work.rmdir()
    found = (path for path in folder.glob(f"corrupt-*-{FILE}") if path.is_file())
    aside = sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    size = 0
    for number, path in enumerate(aside):
        size += path.stat().st_size
        if number and (number >= KEPT or size > KEPT_BYTES):
            for name in ("", "-wal", "-shm"):
                files.remove(path.with_name(path.name + name))
