"""The input journal: one compressed block a group commit; what a checkpoint has behind it is the local history.

Behind the checkpoint nothing is replayed any more, so :mod:`gateway.store.compact` regroups the blocks by point
into the table ``history``; rows up to ``compacted`` are waste from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import apsw

from gateway.errors import PayloadError
from gateway.frame import Frame
from gateway.store import segments
from gateway.store.config import JournalConfig
from gateway.store.database import get_meta, rows_of, set_meta
from gateway.store.segments import Segment

SWEPT = 256
"""Rows that one statement deletes: a millisecond or two."""


@dataclass(frozen=True, slots=True)
class DamagedBlock:
    """A block that cannot be read back: what the index still says of it."""

    position: int
    first_ns: int
    last_ns: int
    samples: int


@dataclass
class Journal:
    """Blocks by position. Writing methods run inside the caller's transaction."""

    db: apsw.Connection
    config: JournalConfig
    bytes: int = 0
    """Of the blocks and of the history behind them."""
    last: int = 0
    """Position of the newest block."""
    compacted: int = 0
    """Position up to which the history holds the samples."""
    rows: int = 0
    """Blocks that were not compacted yet."""
    rows_bytes: int = 0
    waste: int = 0
    """Blocks that were compacted and not yet deleted."""
    damaged: int = 0
    damages: list[DamagedBlock] = field(default_factory=list)
    """Blocks that :meth:`read` passed over; see :meth:`take_damages`."""

    def load(self) -> None:
        """Learn what is there; reads the index only."""
        query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'"
        self.last = self.db.execute(query).get
        newest = self.db.execute("SELECT coalesce(max(segment), 0) FROM history").get
        self.compacted = max(get_meta(self.db, "compacted", 0), newest)  # meta may be lost, in a store that was saved
        query = "SELECT count(*), coalesce(sum(bytes), 0) FROM journal WHERE position > ?"
        ((self.rows, self.rows_bytes),) = rows_of(self.db, query, (self.compacted,))
        self.waste = self.db.execute("SELECT count(*) FROM journal WHERE position <= ?", (self.compacted,)).get
        query = "SELECT coalesce((SELECT sum(bytes) FROM history), 0) + coalesce((SELECT sum(bytes) FROM journal), 0)"
        self.bytes = self.db.execute(query).get

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
        self.rows += 1
        self.rows_bytes += len(block)
        self.last = self.db.last_insert_rowid()
        return self.last

    def read(self, after: int, through: int = (1 << 63) - 1, limit: int = 64) -> Iterator[tuple[int, list[Segment]]]:
        """Blocks behind a position, in order. A damaged one is counted, noted in ``damages`` and passed over."""
        position = after
        query = (
            "SELECT position, block, first_ns, last_ns, samples FROM journal "
            "WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
        )
        while True:
            rows = list(rows_of(self.db, query, (position, through, limit)))
            if not rows:
                return
            for position, block, first, last, samples in rows:
                try:
                    yield position, segments.decode(block)
                except PayloadError:
                    self.damaged += 1
                    self.damages.append(DamagedBlock(position, first, last, samples))

    def has(self, position: int) -> bool:
        """Whether there is a block at a position."""
        return any(rows_of(self.db, "SELECT 1 FROM journal WHERE position = ?", (position,)))

    def take_damages(self) -> list[DamagedBlock]:
        """What :meth:`read` had to pass over since this was asked last."""
        found, self.damages = self.damages, []
        return found

    def trim(self, checkpoint: int, now_ns: int) -> int:
        """Drop the oldest beyond the bounds, never a block behind the checkpoint; how many blocks and segments."""
        horizon = now_ns - self.config.max_age.ns
        while self.waste and self.sweep():
            pass
        query = "SELECT segment, bytes, written_ns FROM history ORDER BY segment"
        gone = 0
        for segment, size, written in list(rows_of(self.db, query)):
            if self.bytes <= self.config.max_size and written >= horizon:
                return gone
            self.db.execute("DELETE FROM history_chunk WHERE segment <= ?", (segment,))
            self.db.execute("DELETE FROM history WHERE segment = ?", (segment,))
            self.bytes -= size
            gone += 1
        return gone + self._trim_blocks(checkpoint, horizon)

    def _trim_blocks(self, checkpoint: int, horizon: int) -> int:
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
            self._delete(doomed)
            self.rows -= len(doomed)
            self.rows_bytes -= sum(size for _, size in doomed)
            gone += len(doomed)

    def _delete(self, blocks: list[tuple[int, int]]) -> None:
        """Delete the oldest blocks, given as (position, bytes)."""
        self.db.execute("DELETE FROM journal WHERE position <= ?", (blocks[-1][0],))
        self.bytes -= sum(size for _, size in blocks)

    def sweep(self) -> bool:
        """Delete some of the blocks that the history holds; whether there were any."""
        query = "SELECT position, bytes FROM journal WHERE position <= ? ORDER BY position LIMIT ?"
        blocks = list(rows_of(self.db, query, (self.compacted, SWEPT)))
        if blocks:
            self._delete(blocks)
        self.waste = self.waste - len(blocks) if blocks else 0
        return bool(blocks)

    def compact(self, through: int, blocks: int, size: int, added: int) -> None:
        """The history holds what the blocks up to ``through`` held: that many, of ``size`` bytes, now ``added``."""
        set_meta(self.db, "compacted", through)
        self.compacted = through
        self.rows -= blocks
        self.rows_bytes -= size
        self.waste += blocks
        self.bytes += added
