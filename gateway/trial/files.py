"""Opens a file of samples: tells its kind by its first bytes, never by its name."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from gateway.errors import OnpathError
from gateway.frame import concat
from gateway.trial.captured import Capture
from gateway.trial.jsonl import JsonLines
from gateway.trial.lines import Lines
from gateway.trial.long import COLUMNS, LongCsv
from gateway.trial.source import Chunk, Names, Samples, Source, in_time_order
from gateway.trial.wide import WideCsv

STANDARD_INPUT: Final = Path("-")
SEPARATORS: Final = (",", ";", "\t")
PIECE: Final = 1 << 16
"""Samples of a chunk that was sorted."""
_MSGPACK_MAPS: Final = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})

Reader = WideCsv | LongCsv | JsonLines | Capture


class FileSource:
    """See :class:`gateway.trial.source.Source`."""

    def __init__(self, stream: BinaryIO, name: str, names: Names, size: int = 0) -> None:
        self.size = size
        self.kind = ""
        """``wide csv``, ``long csv``, ``json lines`` or ``frames``."""
        self._lines = Lines(stream, name)
        self._reader = self._open(stream, name, names)

    def _open(self, stream: BinaryIO, name: str, names: Names) -> Reader:
        peeked = cast("io.BufferedReader", stream).peek(4)[:4]
        if peeked[:1] and peeked[0] in _MSGPACK_MAPS:
            self.kind = "frames"
            return Capture(stream, name, names)
        if peeked.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
            self.kind = "json lines"
            return JsonLines(self._lines, names)
        header = self._lines.header()
        separator = max(SEPARATORS, key=header.count)
        cells = self._lines.cells(header, 1, separator)
        if len(cells) < 2:
            raise self._lines.bad(1, 1, "neither CSV with a header, nor JSON lines, nor frames")
        if {cell.strip().lower() for cell in cells}.issuperset(COLUMNS):
            self.kind = "long csv"
            return LongCsv(self._lines, cells, separator, names)
        self.kind = "wide csv"
        return WideCsv(self._lines, cells, separator, names)

    @property
    def done(self) -> int:
        """Bytes read."""
        return self._reader.done if isinstance(self._reader, Capture) else self._lines.done

    @property
    def notes(self) -> list[str]:
        """What a person should know of how it was read."""
        notes = []
        if getattr(self._reader, "zoneless", False):
            notes.append("times without a zone were taken as UTC")
        if isinstance(self._reader, LongCsv) and self._reader.ignored:
            notes.append(f"columns left out: {', '.join(self._reader.ignored)}")
        return notes

    def chunks(self) -> Iterator[Chunk]:
        """All samples."""
        yield from self._reader.chunks()


@contextlib.contextmanager
def opened(path: Path, names: Names) -> Iterator[FileSource]:
    """A file of samples, or standard input for ``-``.

    Raises:
        OnpathError: it cannot be opened.
        BadInputError: it is of no kind that we know.
    """
    if path == STANDARD_INPUT:
        yield FileSource(sys.stdin.buffer, "standard input", names)
        return
    try:
        stream = path.open("rb")
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
    with stream:
        yield FileSource(stream, str(path), names, path.stat().st_size)


class Sorted:
    """A source whose samples are put in the order of time; all of them are in memory, 22 bytes each."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = source.size

    @property
    def done(self) -> int:
        """Bytes read."""
        return self._source.done

    @property
    def notes(self) -> list[str]:
        """See :class:`FileSource`."""
        return self._source.notes

    def chunks(self) -> Iterator[Chunk]:
        """All samples by time, those of one time as they came."""
        whole = concat([chunk.part(0, len(chunk.times)) for chunk in self._source.chunks()])
        whole = in_time_order(whole)
        for start in range(0, len(whole), PIECE):
            yield Samples(whole.take(slice(start, start + PIECE)))
