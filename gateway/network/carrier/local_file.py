"""A SQLite file that several processes write: WAL, and how they wait for each other. Synchronous."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final

import apsw

BUSY_S: Final = 10.0
"""How long a transaction of another process is waited for."""


def boot_id() -> str:
    """Names this run of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def connect(path: Path) -> apsw.Connection:
    """A connection in WAL mode that waits for other processes.

    Raises:
        apsw.Error: it cannot be.
    """
    db = apsw.Connection(str(path))
    db.set_busy_handler(_wait)
    try:
        until = time.monotonic() + BUSY_S
        while True:
            try:
                if not db.pragma("page_count"):
                    db.pragma("auto_vacuum", 2)
                db.pragma("journal_mode", "wal")
                break
            except apsw.BusyError:  # of this change SQLite does not always ask the handler
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        db.pragma("journal_size_limit", 16 * 2**20)
    except BaseException:
        db.close()
        raise
    return db


def _wait(tries: int) -> bool:
    """SQLite's own pauses grow to 0.1 s; a transaction here takes a few ms."""
    pause_s = min(0.001 * (tries + 1), 0.008)
    time.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  spreads load, no secret
    return tries < BUSY_S / 0.006
