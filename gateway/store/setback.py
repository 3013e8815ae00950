"""The way back from a newer format: a copy of the store before it is upgraded, and that copy in its place again.

For the installer, while the gateway is stopped: ``python -m gateway.store.setback VERB FOLDER``.

| verb | prints |
|---|---|
| ``format`` | the store's format and this version's, two numbers; 0 where there is no store |
| ``save`` | the name of the copy; nothing where this version would not change the format |
| ``restore`` | what was done, in one line |

A copy knows nothing of the numbers that were given after it was made. So they are passed over in it when it comes
back: no record id repeats with another content. The newer store is kept beside it: it may hold what has come in since.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import apsw

from gateway.errors import OnpathError, StoreError
from gateway.store.database import FILE, SHM, WAL, explained, rows_of
from gateway.store.files import SYSTEM
from gateway.store.store import StateLock
from gateway.store.upgrade import FORMAT

SPARE: Final = 64 * 2**20
"""Bytes that a copy must leave free."""


def copies(folder: Path) -> list[Path]:
    """The copies in a state folder, the newest format last."""
    found = [path for path in folder.glob(f"format-*-{FILE}") if path.name.split("-")[1].isdecimal()]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def formats(folder: Path) -> str:
    """The store's format and this version's; of a running gateway, too."""
    path = folder / FILE
    if not path.exists():
        return f"0 {FORMAT}"
    # Not from the header alone: the newest one may still be in the log
    with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        db.set_busy_timeout(1000)
        return f"{_format(db)} {FORMAT}"


def save(folder: Path) -> str:
    """Copy a store that this version would upgrade; the name of the copy, or nothing.

    Raises:
        StoreError: there is no room, or the store is of a newer format than this version reads.
    """
    with _opened(folder / FILE) as db:
        found = _format(db)
        if found > FORMAT:
            raise StoreError(f"{folder / FILE} has format {found}, this version reads {FORMAT}")
        if found in {0, FORMAT}:
            return ""
        need = db.pragma("page_count") * db.pragma("page_size") + SPARE
        if shutil.disk_usage(folder).free < need:
            raise StoreError(f"{folder}: a copy of the store before its upgrade needs {need >> 20} MiB free")
        part, copy = folder / "format.part", folder / f"format-{found}-{FILE}"
        part.unlink(missing_ok=True)
        SYSTEM.touch(part)
        with contextlib.closing(apsw.Connection(str(part))) as target:
            with target.backup("main", db, "main") as backup:
                backup.step()
            target.pragma("journal_mode", "delete")
        SYSTEM.rename(part, copy)
    return copy.name


def restore(folder: Path) -> str:
    """Put the newest copy in the place of the store; what was done.

    Raises:
        StoreError: there is no copy.
    """
    found = copies(folder)
    if not found:
        raise StoreError(f"{folder} holds no copy of a store of an older format")
    copy, kept = found[-1], ""
    with _opened(folder / FILE) as newer, _opened(copy) as older:
        format_now = _format(newer)
        if format_now <= _format(older) and format_now:
            raise StoreError(f"{folder / FILE} has format {format_now}: there is nothing to go back from")
        given, before = _given(newer), _given(older)
        _pass_over(older, given)
    if format_now:
        kept = f"newer-{format_now}-{FILE}"
        SYSTEM.rename(folder / FILE, folder / kept)
    for name in (WAL, SHM):
        (folder / name).unlink(missing_ok=True)
    SYSTEM.rename(copy, folder / FILE)
    taken = given.get("journal", 0) - before.get("journal", 0)
    news = f"; it holds {taken} commits of input that came in since" if taken > 0 else ""
    return f"{copy.name} is the store again" + (f", the newer one is kept as {kept}{news}" if kept else "")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[apsw.Connection]:
    """A database with its log folded into it; an empty one in memory where there is none."""
    there = path.exists()
    db = SYSTEM.connect(path) if there else apsw.Connection(":memory:")
    with contextlib.closing(db):
        if there:
            db.set_busy_timeout(1000)
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        yield db


def _format(db: apsw.Connection) -> int:
    return int(db.pragma("user_version"))


def _given(db: apsw.Connection) -> dict[str, int]:
    """The highest numbers that were given, by table."""
    if not any(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")):
        return {}
    given: dict[str, int] = dict(rows_of(db, "SELECT name, seq FROM sqlite_sequence"))
    for (reserved,) in rows_of(db, "SELECT value FROM meta WHERE key = 'reserved'"):
        given["spool"] = max(given.get("spool", 0), reserved)  # given out before they were written: store.flash
    return given


def _pass_over(db: apsw.Connection, given: dict[str, int]) -> None:
    with db:
        for name, seq in given.items():
            mine = _given(db).get(name, 0)
            db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, max(seq, mine)))


VERBS: Final[dict[str, Callable[[Path], str]]] = {"format": formats, "save": save, "restore": restore}


def main(arguments: list[str]) -> int:
    """Run a verb; the exit code."""
    if len(arguments) != 2 or arguments[0] not in VERBS:
        print(f"usage: python -m gateway.store.setback {'|'.join(VERBS)} FOLDER", file=sys.stderr)  # noqa: T201
        return 2
    folder = Path(arguments[1])
    try:
        if arguments[0] == "format":
            said = formats(folder)
        else:
            lock = StateLock(folder)
            try:
                said = VERBS[arguments[0]](folder)
            finally:
                lock.release()
    except OnpathError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    except (apsw.Error, OSError) as error:
        print(explained(error, folder), file=sys.stderr)  # noqa: T201
        return StoreError.exit_code
    print(said)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
