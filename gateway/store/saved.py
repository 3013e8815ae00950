"""What a salvaged store needs to be right, whatever is missing of it: numbers that go on, and the loss that is told."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import apsw

from gateway.batch import Loss
from gateway.frame import Frame
from gateway.store import segments
from gateway.store.check import crc_of, numbered
from gateway.store.config import SpoolConfig
from gateway.store.database import get_meta, rows_of, set_meta
from gateway.store.gauges import Written, written_in
from gateway.store.spool import Spool
from gateway.store.upgrade import FORMAT
from gateway.wire import columns

REASON = "store-damaged"
FARTHEST = 1 << 24
"""A sequence that is farther ahead of all that was numbered is not believed."""
JUMP = 1 << 20
"""How far numbers go ahead where nobody knows which was the last one."""


@dataclass
class Salvaged:
    """What was saved of a damaged store."""

    reason: str
    """What was found first."""
    aside: str = ""
    """The name of the damaged file."""
    rows: Counter[str] = field(default_factory=Counter)
    """Rows saved, by table."""
    damaged: Counter[str] = field(default_factory=Counter)
    """Rows that were found and are not what was written, by table."""
    lost: dict[tuple[str, str], int] = field(default_factory=dict)
    """Samples by uplink and pipeline that a loss marker tells of."""
    untold: bool = False
    """More is missing than anybody can count."""

    def as_dict(self) -> dict[str, object]:
        """For ``status``: plain JSON types."""
        return {
            "reason": self.reason,
            "aside": self.aside,
            "rows": dict(self.rows),
            "damaged": dict(+self.damaged),
            "lost_samples": sum(self.lost.values()),
        }


def begin(db: apsw.Connection) -> int:
    """Make room for what the damaged store says of itself; the epoch of the new one, in case that says nothing."""
    fresh = get_meta(db, "epoch", 0)
    db.execute("DELETE FROM meta; DELETE FROM identity")
    return fresh


def finish(
    db: apsw.Connection, damaged: apsw.Connection | None, saved: Salvaged, now_ns: int, fresh: int, torn: set[str]
) -> None:
    """Set what goes on from the damaged store: epoch, sequences, positions; note what was lost. Writes to ``db``.

    Args:
        db: the new store, with all rows that could be saved.
        damaged: the old one, as far as SQLite reads it.
        saved: what was saved; gets to know what was lost.
        now_ns: UTC, ns.
        fresh: an epoch that nobody has used.
        torn: tables of which rows may be missing.
    """
    epoch = _identify(db, fresh)
    written = written_in(db)
    _number(db, damaged, 0 if written is None else written.newest, known=written is not None)
    placed = _place(db)
    hurt = torn | set(+saved.damaged)
    _reserve_points(db, torn)
    saved.untold = not placed or bool({"journal", "checkpoint"} & hurt)
    if written is not None:
        _count_losses(db, epoch, written, saved, now_ns)
    else:
        saved.untold |= bool({"spool", "meta"} & hurt)
    db.execute("DELETE FROM meta WHERE key = 'spool_gauges'")  # counted anew


def _identify(db: apsw.Connection, fresh: int) -> int:
    """The old epoch, of which there are two copies; if both are gone the fresh one, so that no record id repeats."""
    epoch = fresh
    for query in ("SELECT epoch FROM identity WHERE id = 1", "SELECT value FROM meta WHERE key = 'epoch'"):
        for (found,) in rows_of(db, query):
            epoch = found
    set_meta(db, "epoch", epoch)
    set_meta(db, "format", FORMAT)
    db.execute("INSERT OR REPLACE INTO identity VALUES (1, ?, ?)", (epoch, crc_of(epoch)))
    return epoch


def _number(db: apsw.Connection, damaged: apsw.Connection | None, newest: int, *, known: bool) -> None:
    """Let record ids, positions and chains go on behind the highest that was ever given."""
    sequences: dict[str, int] = {}
    if damaged is not None:
        with contextlib.suppress(apsw.Error, UnicodeDecodeError):
            query = "SELECT name, seq FROM sqlite_sequence WHERE typeof(seq) = 'integer' AND typeof(name) = 'text'"
            sequences = dict(rows_of(damaged, query))
    least = {
        "spool": "SELECT max(coalesce((SELECT max(seq) FROM spool), 0), coalesce((SELECT max(seq) FROM chain), 0))",
        "journal": "SELECT coalesce(max(position), 0) FROM journal",
        "chain": "SELECT coalesce(max(number), 0) FROM chain",
    }
    for name, query in least.items():
        ((top,),) = rows_of(db, query)
        sure = name in sequences or (name == "spool" and known)
        if name == "journal":
            top = max(top, get_meta(db, "processed", 0), get_meta(db, "checkpoint", 0))
        top = max(top, newest if name == "spool" else 0)
        if top <= sequences.get(name, -1) <= top + FARTHEST:
            top = sequences[name]
        db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, top if sure else top + JUMP))


def sequences_hold(db: apsw.Connection) -> bool:
    """Whether the numbers that are given next are new ones, and near those before."""
    newest = written.newest if (written := written_in(db)) is not None else 0
    least = {
        "spool": max(newest, next(rows_of(db, "SELECT coalesce(max(seq), 0) FROM spool"))[0]),
        "journal": max(
            get_meta(db, "processed", 0), next(rows_of(db, "SELECT coalesce(max(position), 0) FROM journal"))[0]
        ),
    }
    found = dict(rows_of(db, "SELECT name, seq FROM sqlite_sequence"))
    return all(top <= found.get(name, 0) <= top + FARTHEST for name, top in least.items())


def _place(db: apsw.Connection) -> bool:
    """Where pipelines and checkpoint stand. Where that is lost, everything counts as processed: nothing comes twice."""
    keys = {key for (key,) in rows_of(db, "SELECT key FROM meta")}
    if {"processed", "checkpoint"} <= keys:
        return True
    ((last,),) = rows_of(db, "SELECT coalesce(max(position), 0) FROM journal")
    db.execute("DELETE FROM checkpoint")
    set_meta(db, "processed", last)
    set_meta(db, "checkpoint", last)
    return False


def _reserve_points(db: apsw.Connection, torn: set[str]) -> None:
    """Keep the ids of points that are lost from being given to others, for rows still speak of them."""
    ((top,),) = rows_of(db, "SELECT coalesce(max(id), -1) + 1 FROM directory")
    count = get_meta(db, "points", 0)
    if not count and "directory" in torn:
        frames = (frame for frame in _frames(db) if len(frame))
        count = max((int(frame.point.max()) + 1 for frame in frames), default=0)
    if count > top:
        db.execute("INSERT INTO directory VALUES (?, ?, ?)", (count - 1, b"", numbered(count - 1, b"")))


def _frames(db: apsw.Connection) -> Iterator[Frame]:
    for (block,) in rows_of(db, "SELECT block FROM journal"):
        yield from (segment for segment in segments.decode(block) if isinstance(segment, Frame))
    for (block,) in rows_of(db, "SELECT block FROM spool WHERE kind = 0"):
        yield columns.decode(block)


def _count_losses(db: apsw.Connection, epoch: int, written: Written, saved: Salvaged, now_ns: int) -> None:
    """What is missing of the spool is what was counted there, less what was saved."""
    query = "SELECT uplink, pipeline, count(*), sum(samples), min(first_ns) FROM spool WHERE delivered_ns IS NULL "
    there = {(uplink, name): rest for uplink, name, *rest in rows_of(db, query + "GROUP BY 1, 2")}
    spool = Spool(db, SpoolConfig(), epoch)
    for uplink, pipeline, kept, rows, _, samples in written.rows:
        found, held, first = there.get((uplink, pipeline), (0, 0, now_ns))
        if not kept and found < rows:
            lost = max(0, samples - held)
            spool.lose(uplink, pipeline, Loss(min(first, now_ns), now_ns, lost, REASON))
            saved.lost[uplink, pipeline] = lost
