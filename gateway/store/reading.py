"""Reading a state folder beside whoever writes it: the local history, found by point and time.

A connection of its own that can only read: SQLite's write-ahead log gives it a whole and unchanging picture while
the daemon goes on to write, so nothing waits for it. The same holds where no daemon runs. A read transaction lasts
as long as one segment takes, so that the log is not kept from being folded into the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import apsw
import numpy as np

from gateway.directory import Directory
from gateway.errors import OnpathError, PayloadError, StoreError
from gateway.frame import EMPTY, Frame, Ids, Mask, concat, grouped
from gateway.store import segments
from gateway.store.check import intact
from gateway.store.compact import newest
from gateway.store.database import FILE, get_meta, rows_of
from gateway.store.upgrade import FORMAT
from gateway.wire import columns

EVER: Final = (-(1 << 63), (1 << 63) - 1)
"""A span without bounds."""


class NoStateError(OnpathError):
    """There is no store in the folder, or none that this version can read."""


@dataclass
class Effort:
    """What a query has cost, and what it could not have."""

    bytes: int = 0
    """Of compressed blocks that were read."""
    blocks: int = 0
    damaged: int = 0
    """Samples in blocks that cannot be read any more."""


class Reader:
    """A state folder, read-only. One thread at a time.

    Raises:
        NoStateError: there is nothing to read.
        StoreError: (methods, too) it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if not self.path.is_file():
            raise NoStateError(f"{folder}: no state folder of onpath: {FILE} is not there")
        try:
            self.db = _open(self.path)
            try:
                found = self.db.pragma("user_version")
            except apsw.Error:
                self.db.close()
                raise
        except apsw.Error as error:
            raise StoreError(f"{self.path}: {error}") from error
        if found != FORMAT:
            self.db.close()
            hint = "the daemon brings it up to date when it starts" if found < FORMAT else "a newer version wrote it"
            raise NoStateError(f"{self.path}: format {found}, this version reads {FORMAT}: {hint}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def directory(self) -> Directory:
        """The points, as they are on disk."""
        directory = Directory()
        rows = rows_of(self.db, "SELECT id, row, crc FROM directory ORDER BY id")
        directory.load((number, row if intact(crc, number, row) else b"") for number, row, crc in rows)
        return directory

    def latest(self) -> Frame:
        """The newest sample of each point that there ever was, grouped by point."""
        found: list[Frame] = []
        with self.db:
            compacted = get_meta(self.db, "compacted", 0)
            for (block,) in rows_of(self.db, "SELECT block FROM latest ORDER BY part"):
                try:
                    found.append(columns.decode(block))
                except PayloadError:
                    continue
            for (block,) in rows_of(self.db, "SELECT block FROM journal WHERE position > ? ORDER BY position",
                                    (compacted,)):  # fmt: skip
                found.append(newest(grouped(_samples_of(block))))
                if len(found) >= 64:
                    found = [newest(grouped(concat(found)))]
        return newest(grouped(concat(found)))


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """For statements of one's own: what SQLite says against them, as one of our errors."""
    try:
        yield
    except apsw.Error as error:
        raise StoreError(f"{type(error).__name__}: {error}") from error


def _open(path: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    db = apsw.Connection(f"{path.resolve().as_uri()}?mode=ro", flags=flags)
    try:
        # A store that is set aside meanwhile gets a successor of the same name: its log is not ours to take away
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        db.set_busy_timeout(2000)
        db.pragma("user_version")
    except apsw.CantOpenError:
        db.close()
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        return apsw.Connection(f"{path.resolve().as_uri()}?immutable=1", flags=flags)  # a copy on read-only ground
    except apsw.Error:
        db.close()
        raise
    return db


def _samples_of(block: bytes) -> Frame:
    """All samples of a journal block; none of a damaged one."""
    try:
        return concat([segment for segment in segments.decode(block) if isinstance(segment, Frame)])
    except PayloadError:
        return EMPTY


class Query:
    """Samples of chosen points in a span of time, one segment after another; see :meth:`next`.

    Args:
        reader: over the state folder.
        points: ids; None for all.
        since_ns: source time from which, ns.
        until_ns: source time before which, ns.
        backwards: the newest segment first.
    """

    def __init__(
        self,
        reader: Reader,
        points: Ids | None,
        since_ns: int = EVER[0],
        until_ns: int = EVER[1],
        *,
        backwards: bool = False,
    ) -> None:
        self.effort = Effort()
        self._db = reader.db
        self._points = None if points is None else np.unique(points)
        self._wanted = _mask(self._points)
        self._span = (since_ns, until_ns)
        self._units = self._backwards() if backwards else self._forwards()

    def next(self) -> Frame | None:
        """Samples in the order of time, of a segment or of what is not compacted yet; None when there are no more.

        Segments follow each other in the order in which the samples came in, so a late sample may stand behind a
        newer one. May be called in another thread each time.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            found = next(self._units, None)
        except apsw.Error as error:
            raise StoreError(f"{type(error).__name__}: {error}") from error
        if found is None or not len(found):
            return found
        return found.take(np.argsort(found.time, kind="stable"))

    def __iter__(self) -> Iterator[Frame]:
        """All of it."""
        while (frame := self.next()) is not None:
            yield frame

    def _forwards(self) -> Iterator[Frame]:
        query = (
            "SELECT segment, damaged FROM history WHERE segment > ? AND last_ns >= ? AND first_ns < ? "
            "ORDER BY segment LIMIT 1"
        )
        after = 0
        while True:
            with self._db:
                found = list(rows_of(self._db, query, (after, *self._span)))
                if not found:
                    frame = self._tail(max(after, get_meta(self._db, "compacted", 0)))
                else:
                    frame = self._segment(*found[0])
            yield frame
            if not found:
                return
            after = found[0][0]

    def _backwards(self) -> Iterator[Frame]:
        query = (
            "SELECT segment, damaged FROM history WHERE segment < ? AND last_ns >= ? AND first_ns < ? "
            "ORDER BY segment DESC LIMIT 1"
        )
        with self._db:
            before = get_meta(self._db, "compacted", 0) + 1
            frame = self._tail(before - 1)
        while True:
            yield frame
            with self._db:
                found = list(rows_of(self._db, query, (before, *self._span)))
                if not found:
                    return
                before = found[0][0]
                frame = self._segment(*found[0])

    def _segment(self, segment: int, damaged: int) -> Frame:
        self.effort.damaged += damaged
        query = (
            "SELECT chunk, first_point, last_point FROM history_chunk "
            "WHERE segment = ? AND last_ns >= ? AND first_ns < ? ORDER BY first_point, chunk"
        )
        frames: list[Frame] = []
        for chunk, first, last in list(rows_of(self._db, query, (segment, *self._span))):
            if self._any_between(first, last):
                frames.append(self._chunk(chunk))
        return concat(frames)

    def _any_between(self, first: int, last: int) -> bool:
        if self._points is None:
            return True
        at = int(np.searchsorted(self._points, first))
        return at < len(self._points) and int(self._points[at]) <= last

    def _chunk(self, chunk: int) -> Frame:
        query = "SELECT block, samples FROM history_chunk WHERE chunk = ?"
        for block, samples in rows_of(self._db, query, (chunk,)):
            self.effort.bytes += len(block)
            self.effort.blocks += 1
            try:
                return self._chosen(columns.decode(block))
            except PayloadError:
                self.effort.damaged += samples
        return EMPTY

    def _tail(self, after: int) -> Frame:
        """Blocks that are not compacted."""
        query = (
            "SELECT block, samples FROM journal WHERE position > ? AND last_ns >= ? AND first_ns < ? ORDER BY position"
        )
        frames: list[Frame] = []
        for block, samples in rows_of(self._db, query, (after, *self._span)):
            self.effort.bytes += len(block)
            self.effort.blocks += 1
            try:
                decoded = segments.decode(block)
            except PayloadError:
                self.effort.damaged += samples
                continue
            frames += [self._chosen(segment) for segment in decoded if isinstance(segment, Frame)]
        return concat(frames)

    def _chosen(self, frame: Frame) -> Frame:
        since, until = self._span
        keep: Mask = (frame.time >= since) & (frame.time < until)
        if self._wanted is not None:
            known = np.minimum(frame.point, len(self._wanted) - 1)
            keep &= self._wanted[known]
        return frame if keep.all() else frame.take(keep)


def _mask(points: Ids | None) -> Mask | None:
    """By id; what lies behind its end is not wanted, which its last place says."""
    if points is None:
        return None
    wanted = np.zeros(int(points.max(initial=-1)) + 2, np.bool_)
    wanted[points] = True
    return wanted


def matching(directory: Directory, globs: Iterable[str]) -> Ids:
    """Ids of the points that some glob takes, ascending."""
    from gateway.point import compile_glob

    patterns = [compile_glob(glob) for glob in globs]
    found = [
        point for point in range(len(directory)) if any(pattern.match(directory.name(point)) for pattern in patterns)
    ]
    return np.array(found, np.int32)
