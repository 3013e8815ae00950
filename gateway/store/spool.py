"""The spool: output rows by uplink, numbered for ever, bounded by bytes and age with a named rule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import apsw
import msgspec

from gateway.batch import Batch, Loss, RowKind
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, grouped
from gateway.store.bounds import BoundsTable
from gateway.store.config import SpoolConfig, SpoolFull
from gateway.store.database import rows_of
from gateway.wire import columns

MAX_ROW = 2000
"""Samples a row, at most: keeps a message well below what brokers accept."""


@dataclass
class Gauge:
    """What one uplink's part of the spool holds."""

    rows: int = 0
    bytes: int = 0
    samples: int = 0


@dataclass
class Spool:
    """Rows waiting for their uplinks. All methods run inside the caller's transaction."""

    db: apsw.Connection
    config: SpoolConfig
    epoch: int = 0
    gauges: dict[str, Gauge] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    """Samples given up since the start, by uplink."""
    given_up: dict[str, int] = field(default_factory=dict)
    """Newest seq given up by uplink since the last commit that told of it."""
    damaged: int = 0
    """Rows that could not be read back."""
    _losses_open: bool = True

    newest: int = 0
    """The highest seq that was ever given."""

    def __post_init__(self) -> None:
        self.bounds = BoundsTable(self.db)

    def load(self) -> None:
        """Learn what is there; reads the index only."""
        self.bounds.load()
        query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'spool'"
        self.newest = self.db.execute(query).get
        self.gauges = {
            uplink: Gauge(rows, size, samples)
            for uplink, rows, size, samples in self.db.execute(
                "SELECT uplink, count(*), sum(bytes), sum(samples) FROM spool GROUP BY uplink"
            )
        }

    def gauge(self, uplink: str) -> Gauge:
        """What an uplink's part holds."""
        return self.gauges.setdefault(uplink, Gauge())

    def full(self, uplink: str) -> bool:
        """Whether the uplink's part has reached its bound."""
        return self.gauge(uplink).bytes >= self.config.max_size

    def append(
        self, uplink: str, pipeline: str, frame: Frame, now_ns: int, bounds: tuple[dict[str, Any], ...] = ()
    ) -> list[Batch]:
        """Write samples as rows of at most :data:`MAX_ROW`; makes room or refuses by the rule for full."""
        batches: list[Batch] = []
        frame = grouped(frame)  # as it will be read back: one record id has one content, also after a restart
        for start in range(0, len(frame), MAX_ROW):
            part = frame.take(slice(start, start + MAX_ROW)) if len(frame) > MAX_ROW else frame
            block = columns.encode(part)
            if self._make_room(uplink, pipeline, part, len(block)):
                seq = self._insert(uplink, pipeline, RowKind.SAMPLES, part, now_ns, block)
                self.bounds.note(uplink, pipeline, seq, bounds)
                batches.append(Batch(seq, pipeline, now_ns, part, block=block, bounds=bounds, epoch=self.epoch))
        return batches

    def _insert(self, uplink: str, pipeline: str, kind: RowKind, frame: Frame, now_ns: int, block: bytes) -> int:
        first, last = _span(frame) if len(frame) else (now_ns, now_ns)
        self.db.execute(
            "INSERT INTO spool (uplink, pipeline, kind, samples, first_ns, last_ns, created_ns, bytes, block) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (uplink, pipeline, int(kind), len(frame), first, last, now_ns, len(block), block),
        )
        gauge = self.gauge(uplink)
        gauge.rows += 1
        gauge.bytes += len(block)
        gauge.samples += len(frame)
        self.newest = self.db.last_insert_rowid()
        return self.newest

    def _make_room(self, uplink: str, pipeline: str, frame: Frame, size: int) -> bool:
        """Whether the row may be written; under ``block`` the intake has stopped before it comes to this."""
        gauge = self.gauge(uplink)
        if gauge.bytes + size <= self.config.max_size or self.config.when_full is SpoolFull.BLOCK:
            return True
        if self.config.when_full is SpoolFull.DROP_NEWEST:
            first, last = _span(frame)
            self._lose(uplink, pipeline, Loss(first, last, len(frame), "spool-full"))
            return False
        while gauge.rows and gauge.bytes + size > self.config.max_size:
            self._give_up(uplink, self._oldest(uplink, gauge.bytes + size - self.config.max_size), "spool-full")
        return True

    def _oldest(self, uplink: str, excess: int) -> list[int]:
        """The oldest rows that hold ``excess`` bytes together, as far as 16 of them do."""
        seqs: list[int] = []
        query = "SELECT seq, bytes FROM spool WHERE uplink = ? ORDER BY seq LIMIT 16"
        for seq, size in rows_of(self.db, query, (uplink,)):
            if excess <= 0:
                break
            seqs.append(seq)
            excess -= size
        return seqs

    def _give_up(self, uplink: str, seqs: list[int], reason: str) -> None:
        for seq in seqs:
            query = "SELECT pipeline, kind, samples, first_ns, last_ns, block FROM spool WHERE seq = ?"
            pipeline, kind, samples, first, last, block = next(iter(rows_of(self.db, query, (seq,))))
            if kind == RowKind.LOSS:  # a loss that was never told must still be told
                self._lose(uplink, pipeline, msgspec.msgpack.decode(block, type=Loss), again=True)
            else:
                self._lose(uplink, pipeline, Loss(first, last, samples, reason))
        if seqs:
            self.remove([(uplink, seq) for seq in seqs])
            self.given_up[uplink] = seqs[-1]

    def _lose(self, uplink: str, pipeline: str, loss: Loss, *, again: bool = False) -> None:
        self._losses_open = True
        if not again:
            self.lost[uplink] = self.lost.get(uplink, 0) + loss.count
        self.db.execute(
            "INSERT INTO loss VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uplink, pipeline, reason) DO UPDATE SET "
            "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns), "
            "count = count + excluded.count",
            (uplink, pipeline, loss.reason, loss.first_ns, loss.last_ns, loss.count),
        )

    def untold(self) -> list[str]:
        """Uplinks with losses that no marker tells of yet."""
        if not self._losses_open:
            return []
        found = [uplink for (uplink,) in self.db.execute("SELECT DISTINCT uplink FROM loss")]
        self._losses_open = bool(found)
        return found

    def announce(self, uplink: str, now_ns: int) -> list[Batch]:
        """Turn what was lost for an uplink into loss markers, which travel upstream as rows of their own."""
        query = "SELECT pipeline, reason, first_ns, last_ns, count FROM loss WHERE uplink = ?"
        batches: list[Batch] = []
        for pipeline, reason, first, last, count in list(rows_of(self.db, query, (uplink,))):
            loss = Loss(first, last, count, reason)
            block = msgspec.msgpack.encode(loss)
            seq = self._insert(uplink, pipeline, RowKind.LOSS, EMPTY, now_ns, block)
            batches.append(Batch(seq, pipeline, now_ns, EMPTY, loss, epoch=self.epoch))
        self.db.execute("DELETE FROM loss WHERE uplink = ?", (uplink,))
        return batches

    def expire(self, now_ns: int) -> int:
        """Give up rows older than the bound on age; how many."""
        horizon = now_ns - self.config.max_age.ns
        gone = 0
        for uplink in list(self.gauges):
            query = "SELECT seq FROM spool WHERE uplink = ? AND created_ns < ? ORDER BY seq LIMIT 1000"
            seqs = [seq for (seq,) in rows_of(self.db, query, (uplink, horizon))]
            self._give_up(uplink, seqs, "spool-age")
            gone += len(seqs)
        self.bounds.trim(min((self._first(uplink) for uplink in self.gauges), default=self.newest))
        return gone

    def _first(self, uplink: str) -> int:
        query = "SELECT seq FROM spool WHERE uplink = ? ORDER BY seq LIMIT 1"
        return next((seq for (seq,) in rows_of(self.db, query, (uplink,))), self.newest)

    def remove(self, records: Iterable[tuple[str, int]]) -> None:
        """Delete rows that the other side has, given as (uplink, seq)."""
        query = "DELETE FROM spool WHERE seq = ? AND uplink = ? RETURNING bytes, samples"
        for uplink, seq in records:
            for size, samples in rows_of(self.db, query, (seq, uplink)):
                gauge = self.gauge(uplink)
                gauge.rows -= 1
                gauge.bytes -= size
                gauge.samples -= samples

    def read(self, uplink: str, after: int, limit: int, now_ns: int) -> list[Batch]:
        """The next rows of an uplink behind ``after``; a damaged row becomes a loss marker in its place."""
        query = (
            "SELECT seq, pipeline, kind, created_ns, block, first_ns, last_ns, samples FROM spool "
            "WHERE uplink = ? AND seq > ? ORDER BY seq LIMIT ?"
        )
        batches: list[Batch] = []
        for seq, pipeline, kind, created, block, first, last, samples in self.db.execute(query, (uplink, after, limit)):
            frame, loss = EMPTY, None
            try:
                if kind == RowKind.LOSS:
                    loss = msgspec.msgpack.decode(block, type=Loss)
                else:
                    frame = columns.decode(block)
            except (PayloadError, msgspec.DecodeError):
                self.damaged += 1
                loss = Loss(first, last, samples, "spool-damaged")
            historical = now_ns - created > HISTORICAL_AFTER_NS
            bounds = () if loss else self.bounds.at(uplink, pipeline, seq)
            plain = b"" if loss else block
            batches.append(Batch(seq, pipeline, created, frame, loss, historical, plain, bounds, self.epoch))
        return batches

    def oldest_ns(self, uplink: str) -> int | None:
        """When the oldest row was written, or None if there is none."""
        query = "SELECT created_ns FROM spool WHERE uplink = ? ORDER BY seq LIMIT 1"
        for (created,) in rows_of(self.db, query, (uplink,)):
            return int(created)
        return None


HISTORICAL_AFTER_NS = 10_000_000_000
"""A row that waited longer than this is sent flagged as historical."""


def _span(frame: Frame) -> tuple[int, int]:
    return int(frame.time.min()), int(frame.time.max())
