"""Words of the carrier in a folder: a small table that nobody syncs, of which entries go when they are seconds old.

It belongs to one run of the machine and has that in its name: without syncing, only a power cut can damage it.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from gateway.network.carrier.base import Message
from gateway.network.carrier.local_file import boot_id, connect
from gateway.store.database import rows_of

WAITING: Final = 10_000
"""So many of the newest are kept for a slow listener."""
KEPT_S: Final = 10.0
"""A word that no process has read by then is lost."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS word (number INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL,
    payload BLOB NOT NULL, at REAL NOT NULL);
"""


class Words:
    """See the module. One thread uses it.

    Raises:
        apsw.Error: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / f"words-{boot_id()}.db"
        for old in folder.glob("words-*.db*"):
            if not old.name.startswith(path.name):
                with contextlib.suppress(OSError):  # another process does the same
                    old.unlink()
        self._db = connect(path)
        self._db.pragma("synchronous", "off")
        self._db.execute(_SCHEMA)
        self._read_to = self._top()
        self._cleaned = 0.0

    def _top(self) -> int:
        return next((int(n or 0) for (n,) in rows_of(self._db, "SELECT max(number) FROM word")), 0)

    def add(self, words: list[tuple[str, bytes]]) -> None:
        """Say words to all processes."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                "INSERT INTO word (subject, payload, at) VALUES (?, ?, ?)", [(*word, now) for word in words]
            )
            if now > self._cleaned + KEPT_S / 4:
                self._cleaned = now
                self._db.execute("DELETE FROM word WHERE at < ?", (now - KEPT_S,))
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def skip(self) -> None:
        """What was said up to now is not for us."""
        self._read_to = max(self._read_to, self._top())

    def new(self) -> list[Message]:
        """What was said since the last time, the newest of it."""
        found = rows_of(
            self._db,
            "SELECT number, subject, payload FROM word WHERE number > ? ORDER BY number DESC LIMIT ?",
            (self._read_to, WAITING),
        )
        rows = list(found)
        if rows:
            self._read_to = rows[0][0]
        return [Message(subject, payload) for _, subject, payload in reversed(rows)]

    def data_version(self) -> int:
        """Changes when another connection has committed."""
        return int(self._db.pragma("data_version"))

    def close(self) -> None:
        """Close the file."""
        self._db.close()
