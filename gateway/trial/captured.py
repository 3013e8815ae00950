"""Captures: ``frame`` messages back to back, as ``onpath tap --save`` and the file uplink write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, cast

import numpy as np

from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import Frame, concat
from gateway.point import Kind
from gateway.trial.source import BadInputError, Names, Samples
from gateway.wire.message import FrameDecoder
from gateway.wire.stream import messages

GATHERED: Final = 1 << 16


class Capture:
    """See the top of the module."""

    def __init__(self, stream: BinaryIO, name: str, names: Names) -> None:
        self._stream = _Counted(stream)
        self._name = name
        self._names = names
        self._known: dict[tuple[int, str], tuple[int, np.ndarray[Any, np.dtype[np.float64]] | None]] = {}

    @property
    def done(self) -> int:
        """Bytes read."""
        return self._stream.taken

    def chunks(self) -> Iterator[Samples]:
        """See :class:`gateway.trial.source.Source`."""
        decoder, gathered, number = FrameDecoder(), list[Frame](), 1
        found = messages(cast("BinaryIO", self._stream))
        try:
            for message in found:
                told = decoder.frame(message)
                number += 1
                if told is not None:
                    gathered.append(self._ours(*told))
                if sum(map(len, gathered)) >= GATHERED:
                    yield Samples(concat(gathered))
                    gathered = []
        except (PayloadError, TooManyPointsError) as error:
            raise BadInputError(self._name, number, 1, f"message {number}: {error}") from None
        if any(map(len, gathered)):
            yield Samples(concat(gathered))

    def _ours(self, frame: Frame, described: Mapping[int, Any]) -> Frame:
        """The same under our ids, in the order of time: a message groups its samples by point."""
        theirs, place = np.unique(frame.point, return_inverse=True)
        entries = [self._entry(point, described.get(point)) for point in theirs.tolist()]
        ids = np.array([ours for ours, _ in entries], np.int32)
        value = frame.value
        for at, (_, codes) in enumerate(entries):
            if codes is not None:
                value = _translated(value, place == at, codes)
        ordered = frame.replace(point=ids[place], value=value)
        return ordered.take(np.argsort(ordered.time, kind="stable"))

    def _entry(self, point: int, facts: Any) -> tuple[int, np.ndarray[Any, np.dtype[np.float64]] | None]:
        """Our id of a point, and our number for each of its texts where they differ."""
        try:
            name, texts = facts["name"], list(facts.get("states", ()))
            known = self._known.get((point, name))
            if known is None or (known[1] is None and texts) or (known[1] is not None and len(known[1]) < len(texts)):
                ours = self._names.describe(name, facts["unit"], Kind(facts["kind"]))
                codes = np.array([self._names.directory.state(ours, text) for text in texts])
                known = self._known[point, name] = (ours, codes if texts else None)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PayloadError("bad-directory", f"{type(error).__name__}: {error}") from None
        return known


def _translated(
    value: np.ndarray[Any, np.dtype[np.float64]],
    where: np.ndarray[Any, np.dtype[np.bool_]],
    codes: np.ndarray[Any, np.dtype[np.float64]],
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Values of one state point under our numbers; what has no text stays as it is."""
    theirs = np.where(where & (value >= 0) & (value < len(codes)) & (np.floor(value) == value), value, -1.0)
    index = theirs.astype(np.intp)
    return np.where(index >= 0, codes[np.maximum(index, 0)], value)


class _Counted:
    """Counts what is read, for the progress bar."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        """See ``BinaryIO``."""
        raw = self._stream.read(size)
        self.taken += len(raw)
        return raw
