"""What a receiver must know after it was killed: which records came, how far its output is good, directories.

One SQLite file beside the output, through apsw: a commit is synced to disk, and is what an acknowledgement waits for.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import apsw

from adapters.frame.ledger import Ledger
from gateway.errors import OnpathError, PayloadError, StateInUseError

FORMAT = 1
_TABLES = """
CREATE TABLE came (gateway TEXT NOT NULL, epoch INTEGER NOT NULL, ledger BLOB NOT NULL,
    PRIMARY KEY (gateway, epoch)) WITHOUT ROWID;
CREATE TABLE directory (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, message BLOB NOT NULL);
CREATE TABLE fact (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
MAX_DIRECTORIES = 100_000


class ReceiverState:
    """Of one receiver. ``path`` None keeps it in memory: it is forgotten at the end.

    Raises:
        OnpathError: it cannot be opened, or is of a newer format.
        StateInUseError: another receiver has it open.
    """

    def __init__(self, path: Path | None) -> None:
        self._what = "memory" if path is None else str(path)
        self.path = path
        try:
            self._db = apsw.Connection(":memory:" if path is None else str(path))
            self._prepare()
        except apsw.BusyError:
            raise StateInUseError(f"{self._what} is in use by another receiver") from None
        except (apsw.Error, OSError) as error:
            raise OnpathError(f"{self._what}: {error}") from error

    def _prepare(self) -> None:
        self._db.pragma("locking_mode", "exclusive")
        self._db.pragma("journal_mode", "wal")
        self._db.pragma("synchronous", "full")
        found = self._db.pragma("user_version")
        if found > FORMAT:
            raise OnpathError(f"{self._what}: has format {found}, this version reads {FORMAT}")
        with self._db:
            if found == 0:
                self._db.execute(_TABLES)
                self._db.pragma("user_version", FORMAT)
            self._db.execute("INSERT OR REPLACE INTO fact VALUES ('opened', 1)")  # takes the lock, which stays

    def fact(self, key: str) -> str:
        """What was noted under a key; empty if nothing was."""
        return next((str(value) for (value,) in self._db.execute("SELECT value FROM fact WHERE key = ?", (key,))), "")

    def ledger(self, now_s: float) -> Ledger:
        """The records that came.

        Raises:
            OnpathError: what is kept of one gateway is damaged.
        """
        ledger = Ledger()
        for gateway, epoch, kept in self._db.execute("SELECT gateway, epoch, ledger FROM came"):
            try:
                ledger.load(gateway, epoch, kept, now_s)
            except PayloadError as error:
                raise OnpathError(f"{self._what}: {gateway}: {error}") from error
        return ledger

    def directories(self) -> list[bytes]:
        """The directory messages that came, in order."""
        return [message for (message,) in self._db.execute("SELECT message FROM directory ORDER BY number")]

    def commit(
        self,
        ledger: Ledger,
        changed: Iterable[tuple[str, int]],
        directories: Iterable[tuple[str, bytes]],
        facts: Iterable[tuple[str, str | int]],
    ) -> None:
        """Make it durable, all or nothing.

        Raises:
            OnpathError: nothing of it is.
        """
        try:
            with self._db:
                self._db.executemany(
                    "INSERT OR REPLACE INTO came VALUES (?, ?, ?)",
                    [(gateway, epoch, ledger.encode(gateway, epoch)) for gateway, epoch in changed],
                )
                self._db.executemany("INSERT OR IGNORE INTO directory (name, message) VALUES (?, ?)", directories)
                self._db.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts)
        except apsw.Error as error:
            raise OnpathError(f"{self._what}: {error}") from error

    def trim(self) -> None:
        """Forget directories that came long ago."""
        self._db.execute(
            "DELETE FROM directory WHERE number <= (SELECT max(number) FROM directory) - ?", (MAX_DIRECTORIES,)
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()
