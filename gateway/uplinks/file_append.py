"""A file that is appended to: records back to back, on disk before they are done, none of them twice.

After a kill, rows come again whose record the file already has, in any order and perhaps late. So the file is looked
through when it is opened, and what it has is not written again. Before another file is begun, the spool has let go of
all that was done (so that only the newest file need be looked through), and the newest ids that may still come again
are noted in the store (``written``).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import time
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import msgspec

from gateway.batch import Batch
from gateway.errors import PayloadError
from gateway.uplinks.file_config import FileFormat, FileUplinkConfig
from gateway.uplinks.file_names import FileNames
from gateway.uplinks.streams import write_all
from gateway.wire.envelope import unseal

GATHER = 64
"""Batches written and synced together, at most."""
NOTED = 10_000
"""Ids that are noted, at most: rows that were written, and whose end was not committed when the process was killed."""
NOTE = "written"
_LINE = re.compile(rb'\{"gateway":"[^"]*","epoch":(\d+),"seq":(\d+),')


class AppendedFile:
    """The current file. All methods block: called in a thread."""

    def __init__(self, config: FileUplinkConfig, names: FileNames, note: bytes | None = None) -> None:
        self._config = config
        self._names = names
        self._base = names.base()
        self._known = _Ids(note)
        before = names.existing()[-1:] if not names.shifts else []
        self._file = self._open(names.path(self._base, max(1, names.newest(self._base))))
        try:
            self._mend()
            if self._file.tell():
                os.fsync(self._file.fileno())  # what is found in it must be there for good
            for file in {*before, self.path}:
                self._look_through(file)
        except OSError:
            self._file.close()
            raise
        self._known.settle()

    @property
    def path(self) -> Path:
        """The file that is appended to."""
        return Path(self._file.name)

    def _open(self, path: Path) -> io.FileIO:
        """The file at its end, its name as durable as what is written to it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = io.FileIO(path, "ab")
        self._began = time.monotonic()
        sync_folder(path.parent)
        return file

    def _mend(self) -> None:
        """Cut off a record that a power cut left half written; it was not done, so it comes again.

        A line that is not ours is ended instead.
        """
        size = self._file.tell()
        if not size:
            return
        with self.path.open("rb") as existing:
            if self._config.format is FileFormat.FRAME:
                self._file.truncate(_whole(existing, size))
                return
            start, last = _last_line(existing, size)
            if last.endswith(b"\n"):
                return
            if b'{"gateway":"'.startswith(last[:12]) or _LINE.match(last):
                self._file.truncate(start)
            else:
                self._file.write(b"\n")

    def _look_through(self, path: Path) -> None:
        if not path.is_file():
            return
        with path.open("rb") as stream:
            found = _messages if self._config.format is FileFormat.FRAME else _lines
            for epoch, seq in found(stream):
                self._known.add(epoch, seq)

    def has(self, batch: Batch) -> bool:
        """Whether the batch was in a file when this one was opened first."""
        return self._known.has(batch.epoch, batch.seq)

    def note(self) -> bytes:
        """What to keep in the store before :meth:`rotate`: ids that may come again, and are in no newer file."""
        return self._known.note()

    def write(self, records: list[bytes]) -> None:
        """Append records and sync them to disk, all or (where the disk is full) none."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            write_all(self._file.fileno(), b"".join(records))
            os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                self._file.truncate(before)
            raise

    def due(self) -> bool:
        """Whether the next record belongs into another file."""
        every = self._config.every_s
        return (
            os.fstat(self._file.fileno()).st_size >= self._config.max_size
            or (every is not None and time.monotonic() - self._began >= every)
            or (self._names.dated and self._names.base() != self._base)
        )

    def rotate(self) -> list[Path]:
        """Begin a new file; which old ones were removed."""
        names, path = self._names, self.path
        self._file.close()
        if names.shifts:
            _shift(path, names.existing(), self._config.files)
        else:
            self._base = names.base()
            path = names.path(self._base, names.newest(self._base) + 1)
        self._file = self._open(path)
        return self.tidy()

    def tidy(self) -> list[Path]:
        """Remove old files by count, age and size; which."""
        gone = self._names.surplus(self.path)
        for file in gone:
            file.unlink(missing_ok=True)
        return gone

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Ids:
    """Record ids that were found, sorted: eight bytes each; and the newest that have not come again yet."""

    def __init__(self, note: bytes | None) -> None:
        self._seqs: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._waited: dict[tuple[int, int], None] = {}
        for epoch, seq in msgpack.unpackb(note) if note else ():
            self.add(epoch, seq)

    def add(self, epoch: int, seq: int) -> None:
        self._seqs[epoch].append(seq)
        self._waited.pop((epoch, seq), None)
        self._waited[epoch, seq] = None
        if len(self._waited) > NOTED:
            del self._waited[next(iter(self._waited))]

    def settle(self) -> None:
        for epoch, seqs in self._seqs.items():
            self._seqs[epoch] = array("q", sorted(seqs))

    def has(self, epoch: int, seq: int) -> bool:
        seqs = self._seqs.get(epoch)
        if seqs is None:
            return False
        at = bisect_left(seqs, seq)
        found = at < len(seqs) and seqs[at] == seq
        if found:
            self._waited.pop((epoch, seq), None)
        return found

    def note(self) -> bytes:
        return bytes(msgpack.packb(list(self._waited)))


def sync_folder(folder: Path) -> None:
    """Make names in a folder as durable as the files."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _shift(path: Path, before: list[Path], files: int) -> None:
    """``path`` becomes ``path.1``, that ``path.2`` ..., the oldest first, so that a kill in between loses none."""
    for file in sorted(before, key=_number, reverse=True):
        if _number(file) < files:
            file.rename(file.with_suffix(f".{_number(file) + 1}"))
    if files:
        path.rename(path.with_name(f"{path.name}.1"))
    else:
        path.unlink()


def _number(file: Path) -> int:
    return int(file.suffix[1:])


def _last_line(stream: BinaryIO, size: int, step: int = 1 << 16) -> tuple[int, bytes]:
    """Where the last line begins, and the line; with its end, if it has one."""
    start, tail = size, b""
    while start and b"\n" not in tail[:-1]:
        begin = max(0, start - step)
        stream.seek(begin)
        tail = stream.read(start - begin) + tail
        start = begin
    at = tail.rfind(b"\n", 0, -1) + 1
    return start + at, tail[at:]


def _whole(stream: BinaryIO, size: int) -> int:
    """Where the last whole msgpack object of a stream ends, in bytes; ``size`` if it holds something else."""
    unpacker = msgpack.Unpacker(stream)
    try:
        while True:
            end = int(unpacker.tell())
            unpacker.skip()
    except msgpack.OutOfData:
        return end
    except (ValueError, msgpack.UnpackException):
        return size


def _lines(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """Record ids of JSON lines. The newest may have been torn by a power cut, so those are read as a whole."""
    newest: list[tuple[int, int, bytes]] = []
    for line in stream:
        if match := _LINE.match(line):
            newest.append((int(match[1]), int(match[2]), line))
            if len(newest) > GATHER:
                yield newest.pop(0)[:2]
    for epoch, seq, line in newest:
        with contextlib.suppress(msgspec.DecodeError):
            msgspec.json.decode(line)
            yield epoch, seq


def _messages(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """Record ids of frame messages; ends where something else begins."""
    with contextlib.suppress(ValueError, TypeError, msgpack.UnpackException):
        for message in msgpack.Unpacker(stream, strict_map_key=False, max_buffer_size=1 << 28):
            if (found := _id_of(message)) is not None:
                yield found


def _id_of(message: Any) -> tuple[int, int] | None:
    match message:
        case {"h": bytes(sealed)}:
            try:
                head = msgpack.unpackb(unseal(sealed))
            except (PayloadError, ValueError, msgpack.UnpackException):
                return None
            match head:
                case [str(), int(epoch), int(seq), *_]:
                    return epoch, seq
        case {"epoch": int(epoch), "seq": int(seq)}:  # version 1
            return epoch, seq
    return None
