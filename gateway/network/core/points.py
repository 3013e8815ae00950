"""The points of a partition as a snapshot has them, and those among them that leave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.directory import Directory
from gateway.wire.message import FrameEncoder
from pipelines.base import Settled, grown

if TYPE_CHECKING:
    from gateway.batch import Batch
    from gateway.frame import Frame, Ids

MOST: int = 10_000_000
"""Points of one partition."""


class Log:
    """Rows of a directory in settled parts: only what is new is written; parts of like size become one."""

    def __init__(self, parts: list[dict[str, Any]]) -> None:
        self._parts = [Settled(part) if not isinstance(part, Settled) else part for part in parts]

    def add(self, rows: list[tuple[int, bytes]]) -> list[Settled]:
        """All parts, with these rows (id, encoded) among them."""
        if rows:
            self._parts.append(_part(dict(rows)))
            while len(self._parts) > 1 and 2 * len(self._parts[-1]["ids"]) > len(self._parts[-2]["ids"]):
                newer, older = self._parts.pop(), self._parts.pop()
                self._parts.append(_part(_rows(older) | _rows(newer)))
        return list(self._parts)

    def directory(self) -> Directory:
        """What the rows say."""
        rows: dict[int, bytes] = {}
        for part in self._parts:
            rows |= _rows(part)
        found = Directory(MOST)
        found.load(sorted(rows.items()))
        return found


def _part(rows: dict[int, bytes]) -> Settled:
    return Settled(ids=np.array(list(rows), np.int64), rows=list(rows.values()))


def _rows(part: Settled) -> dict[int, bytes]:
    return dict(zip(part["ids"].tolist(), part["rows"], strict=True))


class Leaving:
    """Encodes batches that leave; their directory messages describe only points that ever left."""

    def __init__(self, name: str, directory: Directory) -> None:
        self._all, self._few = directory, Directory(MOST)
        self._encoder = FrameEncoder(name, self._few)
        self._ids = np.empty(0, np.int32)
        self._edition = directory.edition

    def frame(self, frame: Frame) -> Frame:
        """The samples by the ids that they leave under."""
        self._learn(frame.point)
        return frame.replace(point=self._ids[frame.point])

    def _learn(self, ids: Ids) -> None:
        self._ids = grown(self._ids, len(self._all), -1)
        changed = self._all.changed_since(self._edition)
        self._edition = self._all.edition
        fresh = np.unique(ids[self._ids[ids] < 0]).tolist()
        for point in [*fresh, *(one for one in changed if self._ids[one] >= 0)]:
            own = self._ids[point] = self._few.make(self._all.point(point))
            for text in (self._all.states(point) or [])[len(self._few.states(own) or []) :]:
                self._few.state(own, text)

    def encode(self, batch: Batch) -> tuple[bytes, list[tuple[str, bytes]]]:
        """See :meth:`FrameEncoder.encode`; the batch's frame is one of :meth:`frame`."""
        return self._encoder.encode(batch)
