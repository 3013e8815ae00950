"""Compaction: blocks of the journal become the local history, regrouped by point. Runs in the store's thread.

Many small blocks in the order of arrival become a **segment**: some hundred thousand samples that came one after
another, as **chunks** of about sixteen thousand, each with the samples of neighbouring points. So a point is found
by its id and a span of time in a few chunks, and runs of one point take a fraction of the bytes. A segment also
brings up to date what ``latest`` has of each of its points.

The work is done in pieces of a few milliseconds (:meth:`Compaction.step`), between which commits go on. Nothing is
written before the last piece but one, which writes the segment in one transaction: a crash leaves the blocks or the
segment. Blocks that the history holds are deleted afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import apsw
import numpy as np

from gateway.errors import PayloadError, StoreError
from gateway.frame import EMPTY, Frame, Index, concat, group_starts, grouped
from gateway.store.database import rows_of
from gateway.wire import columns

if TYPE_CHECKING:
    from gateway.store.store import Store

SAMPLES: Final = 1 << 19
"""Of a segment, about, at most: 11 MiB of columns while it is made."""
ROWS: Final = 1 << 13
"""Blocks from which a segment is worth its while: so many are read to find a point in what is not compacted yet."""
BYTES: Final = 2 << 20
SPAN_NS: Final = 3600 * 1_000_000_000
"""A segment is made after so long, however little came."""
SPANS: Final = 8
"""At least so many segments lie within the bound on age, for it is kept by segment."""
SHORTEST_NS: Final = 600 * 1_000_000_000
"""A history that is kept for less is not compacted: it would be gone before that pays."""
CHUNK: Final = 1 << 14
PIECE: Final = 1 << 13
"""Samples that are read in one step."""
PIECE_ROWS: Final = 32
PART: Final = 1 << 10
"""Points whose latest samples are one row."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples of the points ``first_point`` to ``last_point``, as they are written."""

    first_point: int
    last_point: int
    first_ns: int
    last_ns: int
    samples: int
    block: bytes


class Compaction:
    """See the top of the module."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.journal = store.journal
        self._db = store.journal.db
        self._work: Iterator[None] | None = None

    def step(self, now_ns: int) -> bool:
        """Do one piece; whether there is more to do at once.

        Raises:
            StoreError, apsw.Error: the store failed, and is to be opened anew; what was begun is begun anew, too.
        """
        checkpoint = self.store.checkpointed
        if self._work is None:
            if not self._due(checkpoint, now_ns):
                return False
            self._work = self._make(checkpoint)
        work, self._work = self._work, None
        try:
            next(work)
        except StopIteration:
            return self._due(checkpoint, now_ns)
        except StoreError:
            with contextlib.suppress(apsw.Error):
                self.journal.load()  # it has counted what is not on disk
            raise
        self._work = work
        return True

    def _due(self, checkpoint: int, now_ns: int) -> bool:
        journal = self.journal
        keep_ns = journal.config.max_age.ns
        if journal.waste:
            return True
        if keep_ns < SHORTEST_NS or journal.compacted >= checkpoint:
            return False
        if journal.rows >= ROWS or journal.rows_bytes >= BYTES:
            return True
        query = "SELECT written_ns FROM journal WHERE position > ? ORDER BY position LIMIT 1"
        began = next((written for (written,) in rows_of(self._db, query, (journal.compacted,))), now_ns)
        return bool(now_ns - began >= min(SPAN_NS, keep_ns // SPANS))

    def _make(self, checkpoint: int) -> Iterator[None]:
        if self.journal.waste:  # a process ended, or the store failed, before it was swept
            yield from self._sweep()
            return
        gathered = _Gathered()
        yield from self._gather(gathered, checkpoint)
        chunks: list[Chunk] = []
        latest: list[Frame] = []
        for frame in gathered.chunks():
            chunks.append(_chunk(frame))
            latest.append(newest(frame))
            yield
        parts: list[tuple[int, bytes]] = []
        for part, news in _by_part(concat(latest)):
            parts.append((part, self._merged(part, news)))
            yield
        with self.store.transaction():
            self._write(gathered, chunks, parts)
        yield
        yield from self._sweep()

    def _sweep(self) -> Iterator[None]:
        while self.journal.waste:
            with self.store.transaction():
                self.journal.sweep()
            yield

    def _gather(self, gathered: _Gathered, checkpoint: int) -> Iterator[None]:
        """Read blocks until there are enough or no more behind the checkpoint; a damaged one is counted."""
        at = self.journal.compacted
        query = (
            "SELECT position, samples, written_ns, bytes FROM journal "
            "WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
        )
        while gathered.samples < SAMPLES and gathered.rows < 2 * ROWS:
            rows = _enough(list(rows_of(self._db, query, (at, checkpoint, PIECE_ROWS))))
            if not rows:
                return
            through = rows[-1][0]
            before = len(self.journal.damages)
            frames = [
                segment
                for _, segments in self.journal.read(at, through)
                for segment in segments
                if isinstance(segment, Frame)
            ]
            gathered.damaged += sum(block.samples for block in self.journal.damages[before:])
            del self.journal.damages[before:]  # they were processed long ago: nothing is lost for an uplink
            gathered.take(concat(frames), rows)
            at = through
            yield

    def _merged(self, part: int, news: Frame) -> bytes:
        known = EMPTY
        for (block,) in rows_of(self._db, "SELECT block FROM latest WHERE part = ?", (part,)):
            try:
                known = columns.decode(block)
            except PayloadError:
                self.journal.damaged += 1
        return columns.encode(newest(grouped(concat([known, news]))))

    def _write(self, gathered: _Gathered, chunks: list[Chunk], parts: list[tuple[int, bytes]]) -> None:
        """Write the segment; part of a transaction."""
        through, size = gathered.through, sum(len(chunk.block) for chunk in chunks)
        if chunks or gathered.damaged:
            first = min((chunk.first_ns for chunk in chunks), default=gathered.written_ns)
            last = max((chunk.last_ns for chunk in chunks), default=gathered.written_ns)
            self._db.execute(
                "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)",
                (through, first, last, gathered.samples, gathered.damaged, gathered.written_ns, size),
            )
        self._db.executemany(
            "INSERT INTO history_chunk (segment, first_point, last_point, first_ns, last_ns, samples, block) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(through, c.first_point, c.last_point, c.first_ns, c.last_ns, c.samples, c.block) for c in chunks],
        )
        self._db.executemany("INSERT OR REPLACE INTO latest VALUES (?, ?)", parts)
        self.journal.compact(through, gathered.rows, gathered.bytes, size)


class _Gathered:
    """Samples of a segment in the making: runs that are grouped by point."""

    def __init__(self) -> None:
        self.samples = 0
        self.rows = 0
        self.bytes = 0
        """Of the rows."""
        self.damaged = 0
        """Samples that could not be read."""
        self.through = 0
        self.written_ns = 0
        self._runs: list[Frame] = []
        self._counts = np.zeros(0, np.int64)
        """Samples by point."""

    def take(self, frame: Frame, rows: list[tuple[int, int, int, int]]) -> None:
        """Samples of the rows (position, samples, written_ns, bytes)."""
        self.rows += len(rows)
        self.through, _, self.written_ns, _ = rows[-1]
        self.bytes += sum(size for _, _, _, size in rows)
        if not len(frame):
            return
        self.samples += len(frame)
        run = grouped(frame)
        self._runs.append(run)
        missing = int(run.point[-1]) + 1 - len(self._counts)
        if missing > 0:
            self._counts = np.append(self._counts, np.zeros(missing, np.int64))
        self._counts += np.bincount(run.point, minlength=len(self._counts))

    def chunks(self) -> Iterator[Frame]:
        """About :data:`CHUNK` samples of neighbouring points each, grouped by point, in the order of arrival."""
        before = np.concatenate([[0], np.cumsum(self._counts)])
        first, points = 0, len(self._counts)
        while first < points:
            last = max(int(np.searchsorted(before, before[first] + CHUNK, "right")) - 1, first + 1)
            if before[last] > before[first]:
                frame = self._of(first, last)
                for start in range(0, len(frame), 2 * CHUNK):
                    yield frame.take(slice(start, start + 2 * CHUNK))
            first = last

    def _of(self, first: int, last: int) -> Frame:
        ends = np.array([first, last], np.int32)
        cuts = [(run, np.searchsorted(run.point, ends)) for run in self._runs]
        return grouped(concat([run.take(slice(start, end)) for run, (start, end) in cuts]))


def _enough(rows: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """The first of the rows, as many as hold :data:`PIECE` samples, and one at least."""
    held = np.cumsum([samples for _, samples, _, _ in rows])
    return rows[: int(np.searchsorted(held, PIECE)) + 1]


def _chunk(frame: Frame) -> Chunk:
    return Chunk(
        int(frame.point[0]),
        int(frame.point[-1]),
        int(frame.time.min()),
        int(frame.time.max()),
        len(frame),
        columns.encode(frame),
    )


def newest(frame: Frame) -> Frame:
    """The newest sample of each point, of equal times the last, of a frame that is grouped by point."""
    if not len(frame):
        return frame
    same = frame.point[1:] == frame.point[:-1]
    if (same & (frame.time[1:] < frame.time[:-1])).any():
        frame = frame.take(np.lexsort((frame.time, frame.point)))
    ends: Index = np.append(group_starts(frame.point)[1:], len(frame)) - 1
    return frame.take(ends)


def _by_part(frame: Frame) -> Iterator[tuple[int, Frame]]:
    """The samples by :data:`PART` of their points."""
    if not len(frame):
        return
    frame = newest(grouped(frame))
    parts = frame.point // PART
    starts = group_starts(parts)
    for start, end in zip(starts.tolist(), np.append(starts[1:], len(frame)).tolist(), strict=True):
        yield int(parts[start]), frame.take(slice(start, end))
