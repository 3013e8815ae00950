"""Where a receiver writes what came: JSON lines in a file or on standard output. Parquet: gateway.receive.parquet.

An output is good up to its position, which is kept with the records that it holds. Beyond it stands what nobody
acknowledged: it is cut off at the start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from gateway.errors import OnpathError
from gateway.wire.directories import Described
from gateway.wire.receive import Received
from gateway.wire.record import TimeFormat, record_of


class Output(Protocol):
    """What a receiver writes to. Called in a thread."""

    @property
    def line(self) -> Callable[[bytes], None] | None:
        """Adds a JSON message as it is; None: this output wants columns made of it."""

    def batch(self, received: Received) -> None:
        """Add a batch in columns.

        Raises:
            PayloadError: what is said of a point cannot be used.
        """

    def due(self, idle_s: float) -> bool:
        """Whether what was added should be made durable now; ``idle_s`` is for how long nothing came."""

    def sync(self) -> str:
        """Make it durable; the position to be kept."""

    def close(self) -> None:
        """Let go of the files."""


def json_line(received: Received, time: TimeFormat) -> bytes:
    """A batch as one line of JSON."""
    names = Described(received.points, received.batch.frame) if "unit" in _facts(received) else Named(received)
    return msgspec.json.encode(record_of(received.batch, received.gateway, names, time)) + b"\n"


def _facts(received: Received) -> dict[str, object]:
    return next(iter(received.points.values()), {"unit": ""})


class Named:
    """Names and texts of points of which nothing else is said, as JSON has them."""

    def __init__(self, received: Received) -> None:
        self._points = received.points

    def name(self, point_id: int, /) -> str:
        """See :class:`gateway.wire.record.Names`."""
        return str(self._points[point_id]["name"])

    def states(self, point_id: int, /) -> list[str] | None:
        """See :class:`gateway.wire.record.Names`."""
        found: list[str] | None = self._points[point_id].get("states")
        return found


def _one_line(payload: bytes) -> bytes:
    return (msgspec.json.format(payload, indent=-1) if b"\n" in payload else payload) + b"\n"


class LinesFile:
    """JSON lines in a file.

    Raises:
        OnpathError: it cannot be opened, or is shorter than what was kept of it.
    """

    def __init__(self, path: Path, position: str, time: TimeFormat) -> None:
        self._path = path
        self._time = time
        self._lines: list[bytes] = []
        self._size = int(position or 0)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OnpathError(f"{path}: {error.strerror}") from error
        found = os.fstat(self._fd).st_size
        if found < self._size or (found > 0 and not position):
            os.close(self._fd)
            why = f"has {found} bytes, and {self._size} were acknowledged" if position else "was not written by us"
            raise OnpathError(f"{path}: {why}; move it away, with its .state file, to begin anew")
        os.ftruncate(self._fd, self._size)
        os.lseek(self._fd, self._size, os.SEEK_SET)
        _sync_folder(path.parent)

    def line(self, payload: bytes) -> None:
        """See :class:`Output`."""
        self._lines.append(_one_line(payload))

    def batch(self, received: Received) -> None:
        """See :class:`Output`."""
        self._lines.append(json_line(received, self._time))

    def due(self, idle_s: float) -> bool:
        """See :class:`Output`: at once."""
        del idle_s
        return True

    def sync(self) -> str:
        """See :class:`Output`.

        Raises:
            OnpathError: the disk does not take it.
        """
        if self._lines:
            data = memoryview(b"".join(self._lines))
            self._lines.clear()
            try:
                while data:
                    written = os.write(self._fd, data)
                    self._size += written
                    data = data[written:]
                os.fsync(self._fd)
            except OSError as error:
                raise OnpathError(f"{self._path}: {error.strerror}") from error
        return str(self._size)

    def close(self) -> None:
        """See :class:`Output`."""
        os.close(self._fd)


class LinesOut:
    """JSON lines on standard output: durable as far as whoever reads them is."""

    def __init__(self, time: TimeFormat) -> None:
        self._time = time
        self._lines: list[bytes] = []

    def line(self, payload: bytes) -> None:
        """See :class:`Output`."""
        self._lines.append(_one_line(payload))

    def batch(self, received: Received) -> None:
        """See :class:`Output`."""
        self._lines.append(json_line(received, self._time))

    def due(self, idle_s: float) -> bool:
        """See :class:`Output`."""
        del idle_s
        return True

    def sync(self) -> str:
        """See :class:`Output`.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        if self._lines:
            sys.stdout.buffer.write(b"".join(self._lines))
            sys.stdout.buffer.flush()
            self._lines.clear()
        return ""

    def close(self) -> None:
        """See :class:`Output`."""


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
