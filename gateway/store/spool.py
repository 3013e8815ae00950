"""The spool: output rows by uplink and pipeline, numbered for ever, bounded by bytes and age with a named rule.

A row *waits* until the other side has it. Then it goes, or is *kept* for a grace in which it can be asked for again;
kept rows do not count as backlog, and go first when space is short (:mod:`gateway.store.room`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apsw
import msgspec

from gateway.batch import Batch, Loss, RowKind
from gateway.clock import PLAUSIBLE_NS
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, grouped
from gateway.store.bounds import BoundsTable
from gateway.store.chain import Chains
from gateway.store.check import crc_of, intact
from gateway.store.config import Queue, SpoolConfig
from gateway.store.database import rows_of
from gateway.store.gauges import Gauge, Gauges
from gateway.store.room import THINNED, Room
from gateway.store.rows import MAX_ROW, cut, span
from gateway.wire import columns
from pipelines.base import Points

__all__ = ["HISTORICAL_AFTER_NS", "MAX_ROW", "Gauge", "Spool"]

HISTORICAL_AFTER_NS = 10_000_000_000
"""A row that waited longer than this is sent flagged as historical."""
_WAITING = "uplink = ? AND pipeline = ? AND delivered_ns IS NULL"


@dataclass
class Spool:
    """Rows before their uplinks. All methods run inside the caller's transaction."""

    db: apsw.Connection
    config: SpoolConfig
    epoch: int = 0
    queues: dict[str, Queue] = field(default_factory=dict)
    """What uplinks say themselves; see :meth:`queue`."""
    points: Points | None = None
    """The directory, in which thinning makes derived points; without it nothing is thinned."""
    held: dict[str, Collection[int]] = field(default_factory=dict)
    """Rows that are being sent just now, by uplink: what is thinned must not be sent as well."""
    away: set[str] = field(default_factory=set)
    """Uplinks whose link is down: what is kept for them stays, for the other side may have lost it just now."""
    levels: dict[str, int] = field(default_factory=dict)
    """The level of zstd by uplink, where it is not that of the format."""
    lost: dict[str, int] = field(default_factory=dict)
    """Samples given up since the start, by uplink."""
    thinned: dict[str, int] = field(default_factory=dict)
    """Samples replaced by aggregates since the start, by uplink."""
    given_up: dict[str, list[int]] = field(default_factory=dict)
    """Rows given up or thinned since the last commit that told of it, by uplink."""
    damaged: int = 0
    """Rows that could not be read back."""
    newest: int = 0
    """The highest seq that was ever given."""
    _losses_open: bool = True

    def __post_init__(self) -> None:
        self.bounds = BoundsTable(self.db)
        self.chains = Chains(self.db)
        self.counts = Gauges()
        self._room = Room(self)

    def load(self) -> None:
        """Learn what is there, without reading it."""
        self.bounds.load()
        self.chains.load()
        query = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'spool'"
        self.newest = self.db.execute(query).get
        self.counts.load(self.db, self.newest)

    def pass_over(self, seq: int) -> None:
        """Give no seq up to this one any more."""
        self.db.execute("DELETE FROM sqlite_sequence WHERE name = 'spool'")
        self.newest = max(self.newest, seq)
        self.db.execute("INSERT INTO sqlite_sequence VALUES ('spool', ?)", (self.newest,))

    @property
    def gauges(self) -> dict[str, Gauge]:
        """What waits, by uplink."""
        return self.counts.uplinks

    def gauge(self, uplink: str) -> Gauge:
        """What waits for an uplink."""
        return self.counts.uplinks.setdefault(uplink, Gauge())

    def queue(self, uplink: str) -> Queue:
        """The bounds of an uplink; those of ``store.spool`` for one that is not configured any more."""
        found = self.queues.get(uplink)
        return Queue(bounds=self.config) if found is None else found

    def full(self, uplink: str) -> bool:
        """Whether what waits for the uplink has reached its bound."""
        return self.gauge(uplink).bytes >= self.queue(uplink).bounds.max_size

    def blocking(self, uplinks: Iterable[str]) -> bool:
        """Whether no input may be taken: the rule of a bound that is reached is ``block``."""
        return any(map(self._room.blocked, uplinks))

    @property
    def pressed(self) -> bool:
        """Whether something is nearly full that is to be thinned, so that it matters what is being sent."""
        return self.points is not None and any(map(self._room.pressed, self.queues))

    def append(
        self, uplink: str, pipeline: str, frame: Frame, now_ns: int, bounds: tuple[dict[str, Any], ...] = ()
    ) -> list[Batch]:
        """Write samples as rows of at most :data:`MAX_ROW`; makes room or refuses by the rule for full."""
        batches: list[Batch] = []
        frame = grouped(frame)  # as it will be read back: one record id has one content, also after a restart
        level = self.levels.get(uplink, columns.LEVEL)
        for part in cut(frame):
            block = columns.encode(part, level)
            if self._room.make(uplink, pipeline, part, len(block), now_ns):
                batches.append(self.insert(uplink, pipeline, part, block, now_ns, bounds))
        return batches

    def insert(
        self,
        uplink: str,
        pipeline: str,
        frame: Frame,
        block: bytes,
        created_ns: int,
        bounds: tuple[dict[str, Any], ...] = (),
        *,
        level: int = 0,
    ) -> Batch:
        """Write one row of samples, whatever the bounds; ``level`` is how often they were thinned."""
        link = self.chains.next(uplink, pipeline)
        seq = self._insert(uplink, pipeline, RowKind.SAMPLES, frame, created_ns, block, level=level)
        self.bounds.note(uplink, pipeline, seq, bounds)
        return Batch(seq, pipeline, created_ns, frame, block=block, bounds=bounds, epoch=self.epoch, chain=link)

    def _insert(
        self, uplink: str, pipeline: str, kind: RowKind, frame: Frame, now_ns: int, block: bytes, *, level: int = 0
    ) -> int:
        first, last = span(frame) if len(frame) else (now_ns, now_ns)
        _, prev = self.chains.next(uplink, pipeline)
        said = (self.newest + 1, uplink, pipeline, int(kind), len(frame), first, last, now_ns, prev, block)
        self.db.execute(
            "INSERT INTO spool (seq, uplink, pipeline, kind, samples, first_ns, last_ns, created_ns, prev, block, "
            "bytes, level, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*said, len(block), level, crc_of(*said)),
        )
        self.counts.wait(uplink, pipeline, 1, len(block), len(frame))
        self.newest = self.db.last_insert_rowid()
        self.chains.add(uplink, pipeline, self.newest)
        return self.newest

    def give_up(self, uplink: str, seqs: Iterable[int], reason: str) -> None:
        """Let waiting rows go, to be told as lost."""
        seqs = list(seqs)
        for seq in seqs:
            query = "SELECT pipeline, kind, samples, first_ns, last_ns, block FROM spool WHERE seq = ?"
            for pipeline, kind, samples, first, last, block in rows_of(self.db, query, (seq,)):
                told = _loss_of(block) if kind == RowKind.LOSS else None
                if told is not None:  # a loss that was never told must still be told
                    first_seq = seq if told.first_seq is None else told.first_seq
                    self.lose(
                        uplink, pipeline, dataclasses.replace(told, first_seq=first_seq, last_seq=seq), again=True
                    )
                else:
                    self.lose(uplink, pipeline, Loss(first, last, samples, reason, seq, seq))
        self.drop(uplink, seqs)

    def drop(self, uplink: str, seqs: list[int]) -> None:
        """Take rows away of which markers tell, and say so to whoever has them in memory."""
        if seqs:
            self.remove([(uplink, seq) for seq in seqs])
            self.given_up.setdefault(uplink, []).extend(seqs)

    def lose(self, uplink: str, pipeline: str, loss: Loss, *, again: bool = False) -> None:
        """Note what a marker has to tell of."""
        self._losses_open = True
        counted = self.thinned if loss.reason == THINNED else self.lost
        if not again:
            counted[uplink] = counted.get(uplink, 0) + loss.count
        self.db.execute(
            "INSERT INTO loss (uplink, pipeline, reason, first_ns, last_ns, count, first_seq, last_seq) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uplink, pipeline, reason) DO UPDATE SET "
            "first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns), "
            "count = count + excluded.count, "
            "first_seq = coalesce(min(first_seq, excluded.first_seq), first_seq, excluded.first_seq), "
            "last_seq = coalesce(max(last_seq, excluded.last_seq), last_seq, excluded.last_seq)",
            (
                uplink, pipeline, loss.reason, loss.first_ns, loss.last_ns, loss.count, loss.first_seq, loss.last_seq,
            ),
        )  # fmt: skip

    def untold(self) -> list[str]:
        """Uplinks with losses that no marker tells of yet."""
        if not self._losses_open:
            return []
        found = [uplink for (uplink,) in rows_of(self.db, "SELECT DISTINCT uplink FROM loss")]
        self._losses_open = bool(found)
        return found

    def announce(self, uplink: str, now_ns: int) -> list[Batch]:
        """Turn what was lost for an uplink into loss markers, which travel upstream as rows of their own."""
        query = "SELECT pipeline, first_ns, last_ns, count, reason, first_seq, last_seq FROM loss WHERE uplink = ?"
        batches: list[Batch] = []
        for pipeline, *said in list(rows_of(self.db, query, (uplink,))):
            loss = Loss(*said)
            link = self.chains.next(uplink, pipeline)
            seq = self._insert(uplink, pipeline, RowKind.LOSS, EMPTY, now_ns, msgspec.msgpack.encode(loss))
            batches.append(Batch(seq, pipeline, now_ns, EMPTY, loss, epoch=self.epoch, chain=link))
        self.db.execute("DELETE FROM loss WHERE uplink = ?", (uplink,))
        return batches

    def expire(self, now_ns: int) -> int:
        """Give up what waits longer than the bound on age, and let go what was kept long enough; how many rows."""
        gone = 0
        for uplink, pipeline in list(self.counts.waiting):
            queue = self.queue(uplink)
            stream = queue.streams.get(pipeline)
            age = queue.bounds.max_age if stream is None or stream.max_age is None else stream.max_age
            old = list(itertools.islice(self._older(uplink, pipeline, now_ns - age.ns), 1000))
            self.give_up(uplink, old, "spool-age")
            gone += len(old)
        for uplink in [one for one in self.counts.kept_bytes if one not in self.away]:
            gone += self._forget_kept(uplink, now_ns - self.queue(uplink).keep_ns)
        uplinks = {uplink for uplink, _ in self.counts.waiting}
        self.bounds.trim(min((self.first(uplink) for uplink in uplinks), default=self.newest))
        return gone

    def _older(self, uplink: str, pipeline: str, horizon_ns: int) -> Iterator[int]:
        """Rows from before a time; thinned ones have a higher seq than what came after them."""
        query = (
            f"SELECT seq FROM (SELECT seq, created_ns FROM spool WHERE {_WAITING} AND level = 0 ORDER BY seq "  # noqa: S608
            "LIMIT 1000) WHERE created_ns < ? AND created_ns >= ?"
        )
        never_set = PLAUSIBLE_NS if horizon_ns > PLAUSIBLE_NS else -(2**63)  # nobody knows how old such a row is
        yield from [seq for (seq,) in rows_of(self.db, query, (uplink, pipeline, horizon_ns, never_set))]
        query = f"SELECT seq FROM spool WHERE {_WAITING} AND level > 0 AND created_ns < ? LIMIT 1000"  # noqa: S608  constants
        yield from [seq for (seq,) in rows_of(self.db, query, (uplink, pipeline, horizon_ns))]

    def _forget_kept(self, uplink: str, horizon_ns: int) -> int:
        query = (
            "DELETE FROM spool WHERE seq IN (SELECT seq FROM spool WHERE uplink = ? AND delivered_ns < ? LIMIT 5000) "
            "AND delivered_ns IS NOT NULL RETURNING pipeline, bytes, samples"
        )
        rows = list(rows_of(self.db, query, (uplink, horizon_ns)))
        for pipeline, size, samples in rows:
            self.counts.keep(uplink, pipeline, -1, -size, -samples)
        return len(rows)

    def first(self, uplink: str) -> int:
        """The first row that may still be sent."""
        found = [self.newest]
        for pipeline in self.counts.pipelines(uplink):
            query = f"SELECT seq FROM spool WHERE {_WAITING} ORDER BY seq LIMIT 1"  # noqa: S608  constants
            found += [seq for (seq,) in rows_of(self.db, query, (uplink, pipeline))]
        query = "SELECT min(seq) FROM spool WHERE uplink = ? AND delivered_ns IS NOT NULL"
        found += [seq for (seq,) in rows_of(self.db, query, (uplink,)) if seq is not None]
        return min(found)

    def deliver(self, records: Iterable[tuple[str, int]], now_ns: int) -> None:
        """The other side has rows, given as (uplink, seq): they go, or are kept for the grace."""
        query = (
            "UPDATE spool SET delivered_ns = ? WHERE seq = ? AND uplink = ? AND delivered_ns IS NULL "
            "RETURNING pipeline, bytes, samples"
        )
        gone: list[tuple[str, int]] = []
        for uplink, seq in records:
            if not self.queue(uplink).keep_ns:
                gone.append((uplink, seq))
                continue
            for pipeline, size, samples in rows_of(self.db, query, (now_ns, seq, uplink)):
                self.counts.wait(uplink, pipeline, -1, -size, -samples)
                self.counts.keep(uplink, pipeline, 1, size, samples)
        self.remove(gone)

    def remove(self, records: Iterable[tuple[str, int]]) -> None:
        """Delete rows, given as (uplink, seq)."""
        query = "DELETE FROM spool WHERE seq = ? AND uplink = ? RETURNING pipeline, bytes, samples, delivered_ns"
        for uplink, seq in records:
            for pipeline, size, samples, delivered in rows_of(self.db, query, (seq, uplink)):
                count = self.counts.wait if delivered is None else self.counts.keep
                count(uplink, pipeline, -1, -size, -samples)

    def repeat(self, uplink: str, after: int) -> int:
        """Let rows that are kept wait again, those with a seq above ``after``; how many."""
        query = (
            "UPDATE spool SET delivered_ns = NULL WHERE uplink = ? AND delivered_ns IS NOT NULL AND seq > ? "
            "RETURNING pipeline, bytes, samples"
        )
        rows = list(rows_of(self.db, query, (uplink, after)))
        for pipeline, size, samples in rows:
            self.counts.keep(uplink, pipeline, -1, -size, -samples)
            self.counts.wait(uplink, pipeline, 1, size, samples)
        return len(rows)

    def forget_kept(self, uplink: str, excess: int) -> None:
        """Let go of the longest delivered rows until ``excess`` bytes are free, or none is left."""
        query = (
            "SELECT seq, bytes FROM spool WHERE uplink = ? AND delivered_ns IS NOT NULL ORDER BY delivered_ns LIMIT 64"
        )
        while excess > 0 and (rows := list(rows_of(self.db, query, (uplink,)))):
            for seq, size in rows:
                if excess > 0:
                    self.remove([(uplink, seq)])
                    excess -= size

    def write_gauges(self) -> None:
        """Write what was counted; part of the caller's transaction, the last of it."""
        self.counts.write(self.db, self.newest)

    def read(
        self, uplink: str, after: int, limit: int, now_ns: int, pipelines: Collection[str] | None = None
    ) -> list[Batch]:
        """The next waiting rows of an uplink behind ``after``; a damaged row becomes a loss marker in its place.

        Args:
            uplink: whose.
            after: the seq behind which.
            limit: how many at most.
            now_ns: what time it is, to flag what has waited long as historical.
            pipelines: of these only; None for all.
        """
        query = f"SELECT seq FROM spool WHERE {_WAITING} AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608  constants
        streams = [one for one in self.counts.pipelines(uplink) if pipelines is None or one in pipelines]
        found = [[seq for (seq,) in rows_of(self.db, query, (uplink, one, after, limit))] for one in streams]
        seqs = itertools.islice(heapq.merge(*found), limit)
        return [self.batch(uplink, seq, now_ns) for seq in seqs]

    def batch(self, uplink: str, seq: int, now_ns: int) -> Batch:
        """The row of this seq, which is there."""
        query = (
            "SELECT uplink, pipeline, kind, samples, first_ns, last_ns, created_ns, prev, block, crc FROM spool "
            "WHERE seq = ?"
        )
        *said, crc = next(rows_of(self.db, query, (seq,)))
        _, pipeline, kind, samples, first, last, created, prev, block = said
        frame, loss = EMPTY, None
        with contextlib.suppress(PayloadError, msgspec.DecodeError):
            if kind == RowKind.LOSS and intact(crc, seq, *said):
                loss = msgspec.msgpack.decode(block, type=Loss)
            elif intact(crc, seq, *said):
                frame = columns.decode(block)
        if loss is None and not len(frame):
            self.damaged += 1
            loss = Loss(first, last, samples, "spool-damaged", seq, seq)
        historical = now_ns - created > HISTORICAL_AFTER_NS
        bounds = () if loss else self.bounds.at(uplink, pipeline, seq)
        plain = b"" if loss else block
        link = self.chains.link(uplink, pipeline, prev)
        return Batch(seq, pipeline, created, frame, loss, historical, plain, bounds, self.epoch, link)

    def oldest_ns(self, uplink: str, pipelines: Collection[str] | None = None) -> int | None:
        """When the oldest waiting row was written, or None if there is none."""
        query = f"SELECT created_ns FROM spool WHERE {_WAITING} ORDER BY seq LIMIT 1"  # noqa: S608  constants
        streams = self.counts.pipelines(uplink) if pipelines is None else pipelines
        found = [int(created) for one in streams for (created,) in rows_of(self.db, query, (uplink, one))]
        return min(found, default=None)

    def status(self) -> dict[str, Any]:
        """What waits by uplink, and by pipeline in it: plain JSON types."""
        return {uplink: self._status(uplink, gauge) for uplink, gauge in self.gauges.items()}

    def _status(self, uplink: str, gauge: Gauge) -> dict[str, Any]:
        return {
            **dataclasses.asdict(gauge),
            "oldest_ns": self.oldest_ns(uplink),
            "kept_bytes": self.counts.kept_bytes.get(uplink, 0),
            "lost": self.lost.get(uplink, 0),
            "thinned": self.thinned.get(uplink, 0),
            "pipelines": {
                pipeline: {
                    **dataclasses.asdict(self.counts.stream(uplink, pipeline)),
                    "oldest_ns": self.oldest_ns(uplink, (pipeline,)),
                }
                for pipeline in self.counts.pipelines(uplink)
            },
        }


def _loss_of(block: bytes) -> Loss | None:
    try:
        return msgspec.msgpack.decode(block, type=Loss)
    except msgspec.DecodeError:
        return None
