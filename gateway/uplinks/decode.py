"""Frame messages back to records: the inverse of :class:`gateway.uplinks.formats.FrameEncoder`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import msgpack
import numpy as np

from gateway.directory import Directory
from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.uplinks.config import TimeFormat
from gateway.uplinks.formats import WIRE_VERSION, loss_of, samples
from gateway.wire import columns

MAX_MESSAGE = 1 << 28
_ID_FIELDS = ("gateway", "epoch", "seq", "pipeline", "historical")


def messages(stream: BinaryIO) -> Iterator[Any]:
    """Msgpack objects back to back in a stream.

    Raises:
        PayloadError: ``bad-stream``; what follows cannot be told apart any more.
    """
    counted = _Counted(stream)
    unpacker = msgpack.Unpacker(counted, strict_map_key=False, max_buffer_size=MAX_MESSAGE)
    while True:
        end = unpacker.tell()
        try:
            message = next(unpacker)
        except StopIteration:
            if counted.taken > end:
                raise PayloadError("bad-stream", f"cut short after byte {end}") from None
            return
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise PayloadError("bad-stream", str(error) or type(error).__name__) from error
        yield message


class _Counted:
    """A stream that knows how much was read of it; a pipe cannot tell by itself."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.taken = 0

    def read(self, size: int) -> bytes:
        raw = self._stream.read(size)
        self.taken += len(raw)
        return raw


class FrameDecoder:
    """Decodes the messages of any number of gateways; learns their directories as they come."""

    def __init__(self, time: TimeFormat = TimeFormat.RFC3339) -> None:
        self._time = time
        self._directories: dict[str, tuple[str, dict[int, Any]]] = {}
        """Base and points by hash, in whatever order a broker gives out what it retained."""
        self._whole: dict[str, dict[int, Any]] = {}

    def decode(self, message: Any) -> dict[str, Any] | None:
        """One ``json`` record, or None for a directory message.

        Raises:
            PayloadError: it is no frame message, is damaged, or its directory never came.
        """
        match message:
            case {"onpath": 1, "directory": str(name), "base": str(base), "points": dict(points)}:
                self._directories[name] = base, points
                self._whole.clear()
                return None
            case {"onpath": 1, "columns": bytes(raw), "directory": str(name)}:
                return self._record(message) | {"samples": self._samples(columns.decode(raw), name)}
            case {"onpath": 1, "loss": {"from": int(first), "to": int(last), "count": int(n), "reason": str(why)}}:
                return self._record(message) | {"samples": [], "loss": loss_of(first, last, n, why, self._time)}
            case {"onpath": int(version)} if version != WIRE_VERSION:
                raise PayloadError("bad-version", f"message of version {version}; this one reads {WIRE_VERSION}")
            case _:
                raise PayloadError("bad-message", repr(message)[:80])

    def frame(self, message: Any) -> tuple[Frame, dict[int, Any]] | None:
        """The samples of a message by the sender's ids, and what is said of each id; None if it has no samples.

        Raises:
            PayloadError: as for :meth:`decode`.
        """
        match message:
            case {"onpath": 1, "columns": bytes(raw), "directory": str(name)}:
                return columns.decode(raw), self._described(name)
        self.decode(message)
        return None

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            record = {field: message[field] for field in _ID_FIELDS}
        except KeyError as error:
            raise PayloadError("bad-message", f"without {error}") from error
        return record | {"bounds": message["bounds"]} if message.get("bounds") else record

    def _described(self, name: str) -> dict[int, Any]:
        """All points that a directory and those it builds on describe; the newest word on each holds."""
        if name not in self._whole:
            chain: list[dict[int, Any]] = []
            base = name
            while base:
                if base not in self._directories or len(chain) > len(self._directories):
                    raise PayloadError("unknown-directory", f"directory {base} was not among the messages before")
                base, points = self._directories[base]
                chain.append(points)
            self._whole[name] = {point: facts for points in reversed(chain) for point, facts in points.items()}
        return self._whole[name]

    def _samples(self, frame: Frame, name: str) -> list[dict[str, Any]]:
        described = self._described(name)
        try:
            directory, ids = _directory(described, np.unique(frame.point).tolist())
        except (KeyError, TypeError, ValueError, TooManyPointsError) as error:
            raise PayloadError("bad-directory", f"{type(error).__name__}: {error}") from error
        local = np.array([ids[point] for point in frame.point.tolist()], np.int32)
        return samples(frame.replace(point=local), directory, self._time)


def _directory(described: dict[int, Any], wanted: list[int]) -> tuple[Directory, dict[int, int]]:
    """A directory of the wanted points, and where each id of the sender stands in it."""
    directory = Directory(len(wanted))
    ids: dict[int, int] = {}
    for point in wanted:
        facts = described[point]
        ids[point] = directory.add(Point(name=facts["name"], unit=facts["unit"], kind=Kind(facts["kind"])))
        for text in facts.get("states", ()):
            directory.state(ids[point], text)
    return directory, ids
