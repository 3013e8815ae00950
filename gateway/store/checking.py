"""Reading every row and every block of a store: whether it is what was written. Changes nothing; see ``spool verify``.

Rows are read a few at a time, each time as the file is then, so that a running daemon is not held up; what comes and
goes meanwhile is as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import apsw
import msgspec

from gateway.batch import Loss, RowKind
from gateway.errors import PayloadError
from gateway.frame import Frame, concat
from gateway.store import segments, state
from gateway.store.check import intact
from gateway.store.database import rows_of
from gateway.store.reading import Reader
from gateway.wire import columns

AT_ONCE: Final = 64
TOLD: Final = 10
"""Damaged rows of a table that are named."""

Row = tuple[Any, ...]
Judge = Callable[[Row], int]
"""Samples of a row (key first); raises if the row is not what was written."""


class DamageError(Exception):
    """A row is not what was written: why."""


@dataclass
class Checked:
    """What was found in one part of the store."""

    part: str
    rows: int = 0
    bytes: int = 0
    samples: int = 0
    damaged: int = 0
    """Rows."""
    where: list[str] = field(default_factory=list)
    """The first of them, and why."""

    def note(self, text: str) -> None:
        """One more that is damaged."""
        self.damaged += 1
        if len(self.where) < TOLD:
            self.where.append(text)


@dataclass(frozen=True)
class _Part:
    """A table: the last of its columns is the block."""

    name: str
    table: str
    key: str
    columns: str
    judge: Judge


def check_store(reader: Reader) -> Iterator[Checked]:
    """Each part of the store, one after another; the file's own structure comes first."""
    yield _structure(reader.db)
    for part in _PARTS:
        yield _check(reader.db, part)


def _structure(db: apsw.Connection) -> Checked:
    """SQLite's pages."""
    checked = Checked("file")
    try:
        checked.rows = db.pragma("page_count")
        checked.bytes = checked.rows * db.pragma("page_size")
        for (text,) in rows_of(db, "PRAGMA integrity_check(100)"):
            if text != "ok":
                checked.note(text)
    except apsw.Error as error:
        checked.note(f"{type(error).__name__}: {error}")
    return checked


def _check(db: apsw.Connection, part: _Part) -> Checked:
    checked = Checked(part.name)
    first = f"SELECT {part.columns} FROM {part.table} ORDER BY {part.key} LIMIT {AT_ONCE}"  # noqa: S608  our names
    later = f"SELECT {part.columns} FROM {part.table} WHERE {part.key} > ? ORDER BY {part.key} LIMIT {AT_ONCE}"  # noqa: S608
    try:
        rows = list(rows_of(db, first))
        while rows:
            for row in rows:
                _judge(checked, part, row)
            through = rows[-1][0]
            rows = list(rows_of(db, later, (through,)))
            if rows and not rows[0][0] > through:
                checked.note(f"{part.table}: rows are out of order behind {through}")
                return checked
    except (apsw.Error, TypeError) as error:
        checked.note(f"{part.table}: {type(error).__name__}: {error}")
    return checked


def _judge(checked: Checked, part: _Part, row: Row) -> None:
    checked.rows += 1
    if isinstance(row[-1], bytes):
        checked.bytes += len(row[-1])
    try:
        checked.samples += part.judge(row)
    except (PayloadError, DamageError, msgspec.DecodeError, TypeError, ValueError) as error:
        checked.note(f"{part.name} {row[0]}: {error}")


def _spool(row: Row) -> int:
    seq, crc, uplink, pipeline, kind, samples, first, last, created, prev, block = row
    if not intact(crc, seq, uplink, pipeline, kind, samples, first, last, created, prev, block):
        raise DamageError(f"uplink {uplink}, pipeline {pipeline}: the checksum of row {seq} is wrong")
    if kind == RowKind.LOSS:
        msgspec.msgpack.decode(block, type=Loss)
        return 0
    return _compared(columns.decode(block), samples, first, last)


def _compared(frame: Frame, samples: int, first_ns: int, last_ns: int) -> int:
    """The index beside a block says what is in it."""
    if len(frame) != samples:
        raise DamageError(f"{len(frame)} samples instead of {samples}")
    if samples and (int(frame.time.min()), int(frame.time.max())) != (first_ns, last_ns):
        raise DamageError("the index has another span of time")
    return samples


def _journal(row: Row) -> int:
    _, samples, first, last, block = row
    frame = concat([segment for segment in segments.decode(block) if isinstance(segment, Frame)])
    return _compared(frame, samples, first, last)


def _chunk(row: Row) -> int:
    _, samples, first, last, first_point, last_point, block = row
    frame = columns.decode(block)
    if len(frame) and (int(frame.point[0]), int(frame.point[-1])) != (first_point, last_point):
        raise DamageError("the index has other points")
    return _compared(frame, samples, first, last)


def _frame(row: Row) -> int:
    return len(columns.decode(row[-1]))


def _state(row: Row) -> int:
    state.decode(row[-1])
    return 0


def _summed(row: Row) -> int:
    """(key, crc, what the checksum is of ...)."""
    if not intact(row[1], *row[2:]):
        raise DamageError("the checksum is wrong")
    return 0


_PARTS: Final = (
    _Part("meta", "meta", "key", "key, crc, key, value", _summed),
    _Part("points", "directory", "id", "id, crc, id, row", _summed),
    _Part("memory", "memory", "adapter || ' ' || key", "adapter || ' ' || key, crc, adapter, key, value", _summed),
    _Part(
        "spool", "spool", "seq",
        "seq, crc, uplink, pipeline, kind, samples, first_ns, last_ns, created_ns, prev, block", _spool,
    ),
    _Part("journal", "journal", "position", "position, samples, first_ns, last_ns, block", _journal),
    _Part(
        "history", "history_chunk", "chunk",
        "chunk, samples, first_ns, last_ns, first_point, last_point, block", _chunk,
    ),
    _Part("latest", "latest", "part", "part, block", _frame),
    _Part("checkpoint", "checkpoint", "pipeline", "pipeline, state", _state),
)  # fmt: skip
