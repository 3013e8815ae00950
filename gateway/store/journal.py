"""The input journal: one compressed block a group commit; behind the checkpoint it is the local history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apsw

from gateway.errors import PayloadError
from gateway.frame import Frame
from gateway.store import segments
from gateway.store.config import JournalConfig
from gateway.store.database import rows_of
from gateway.store.segments import Segment


@dataclass
class Journal:
    """Blocks by position. Writing methods run inside the caller's transaction."""

    db: apsw.Connection
    config: JournalConfig
    bytes: int = 0
    last: int = 0
    """Position of the newest block."""
    damaged: int = 0

    def load(self) -> None:
        """Learn what is there; reads the index only."""
        self.bytes = self.db.execute("SELECT coalesce(sum(bytes), 0) FROM journal").get
        query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'"
        self.last = self.db.execute(query).get

    def append(self, items: list[Segment], now_ns: int) -> int:
        """Write one block; its position."""
        block = segments.encode(items)
        frames = [item for item in items if isinstance(item, Frame) and len(item)]
        first = min((int(frame.time.min()) for frame in frames), default=now_ns)
        last = max((int(frame.time.max()) for frame in frames), default=now_ns)
        self.db.execute(
            "INSERT INTO journal (first_ns, last_ns, samples, written_ns, bytes, block) VALUES (?, ?, ?, ?, ?, ?)",
            (first, last, sum(map(len, frames)), now_ns, len(block), block),
        )
        self.bytes += len(block)
        self.last = self.db.last_insert_rowid()
        return self.last

    def read(self, after: int) -> Iterator[tuple[int, list[Segment]]]:
        """Blocks behind a position, in order. A damaged one is counted and passed over."""
        position = after
        while True:
            query = "SELECT position, block FROM journal WHERE position > ? ORDER BY position LIMIT 64"
            rows = list(rows_of(self.db, query, (position,)))
            if not rows:
                return
            for position, block in rows:
                try:
                    yield position, segments.decode(block)
                except PayloadError:
                    self.damaged += 1

    def trim(self, checkpoint: int, now_ns: int) -> int:
        """Drop the oldest blocks beyond the bounds, never one behind the checkpoint; how many."""
        horizon = now_ns - self.config.max_age.ns
        gone = 0
        query = "SELECT position, bytes, written_ns FROM journal WHERE position <= ? ORDER BY position LIMIT 256"
        while True:
            doomed: list[tuple[int, int]] = []
            excess = self.bytes - self.config.max_size
            for position, size, written in rows_of(self.db, query, (checkpoint,)):
                if excess <= 0 and written >= horizon:
                    break
                doomed.append((position, size))
                excess -= size
            if not doomed:
                return gone
            self.db.execute("DELETE FROM journal WHERE position <= ?", (doomed[-1][0],))
            self.bytes -= sum(size for _, size in doomed)
            gone += len(doomed)
