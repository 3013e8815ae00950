"""The local history of a gateway as a source of samples: what really came in, through another configuration."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.frame import Frame, Ids, concat
from gateway.point import Kind
from gateway.store.database import FILE
from gateway.store.reading import EVER, Query, Reader
from gateway.trial.source import Names, Samples, in_time_order

HELD_NS: Final = 60_000_000_000
"""Segments overlap by what came late: the last minute of each is sorted together with the next."""
PIECE: Final = 1 << 16


class JournalSource:
    """See :class:`gateway.trial.source.Source`. Points keep the unit and kind that the gateway knows of them."""

    kind = "history"

    def __init__(self, reader: Reader, names: Names, since_ns: int = EVER[0], until_ns: int = EVER[1]) -> None:
        self._directory = reader.directory()
        self._names = names
        self._query = Query(reader, None, since_ns, until_ns)
        self._ids: dict[int, int] = {}
        self.size = reader.path.stat().st_size

    @property
    def done(self) -> int:
        """Bytes read."""
        return min(self._query.effort.bytes, self.size)

    @property
    def notes(self) -> list[str]:
        """What a person should know of how it was read."""
        damaged = self._query.effort.damaged
        return [f"{damaged:,} samples are lost: their blocks are damaged"] if damaged else []

    def chunks(self) -> Iterator[Samples]:
        """All samples by time; the order in which they once arrived is not kept."""
        held: list[Frame] = []
        for frame in self._query:
            whole = in_time_order(concat([*held, self._ours(frame)]))
            ready = int(np.searchsorted(whole.time, whole.time[-1] - HELD_NS)) if len(whole) else 0
            yield from _cut(whole.take(slice(0, ready)))
            held = [whole.take(slice(ready, None))]
        yield from _cut(concat(held))

    def _ours(self, frame: Frame) -> Frame:
        """The same under the trial's ids and texts."""
        theirs, place = np.unique(frame.point, return_inverse=True)
        ids: Ids = np.array([self._id(point) for point in theirs.tolist()], np.int32)
        return frame.replace(point=ids[place])

    def _id(self, theirs: int) -> int:
        known = self._ids.get(theirs)
        if known is None:
            known = self._ids[theirs] = _described(self._names, self._directory, theirs)
        return known


def _described(names: Names, directory: Directory, theirs: int) -> int:
    """The id of a point in the trial; its texts get the numbers that they have in the history."""
    point = directory.point(theirs)
    ours = names.describe(point.name, point.unit, point.kind)
    texts = directory.states(theirs)
    if texts:
        if names.directory.point(ours).kind is not Kind.STATE:
            names.become_state(point.name)
        for text in texts:
            names.directory.state(ours, text)
    return ours


def _cut(frame: Frame) -> Iterator[Samples]:
    for start in range(0, len(frame), PIECE):
        yield Samples(frame.take(slice(start, start + PIECE)))


@contextlib.contextmanager
def opened_journal(where: Path, names: Names, since_ns: int, until_ns: int) -> Iterator[JournalSource]:
    """The history of a state folder, or of the gateway with this configuration, whether it runs or not.

    Raises:
        OnpathError: there is none.
    """
    folder = where
    if not (where / FILE).is_file():
        from gateway.config import load

        if not where.exists():
            raise OnpathError(f"{where}: neither a state folder nor a configuration")
        folder = Path(load(where, os.environ).state)
    with Reader(folder) as reader:
        yield JournalSource(reader, names, since_ns, until_ns)
