"""Where a trial's samples come from: chunks in the order in which the samples arrived.

This is the seam for further sources, such as the journal: anything that gives chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec
import numpy as np

from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.frame import Frame, Ids, Mask, Times, Values, by_point, grouped
from gateway.point import Kind, Point
from gateway.quality import INVALID, Reason, no_value
from gateway.trial.facts import Facts

NOT_A_NUMBER: Final = no_value(Reason.NOT_A_NUMBER)
REASONS: Final = {reason.text: no_value(reason) for reason in Reason} | {
    "infinity": float("inf"),
    "-infinity": float("-inf"),
}
"""What stands in for a value by the reason that the format ``json`` gives."""


class BadInputError(OnpathError):
    """A file of samples cannot be read as such: ``file:line:column: what``."""

    def __init__(self, file: str, line: int, column: int, message: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}")


class Chunk(Protocol):
    """Samples that came one after another, in rows; all samples of a row came at once."""

    times: Times
    """Source time of each row, ns, [rows]; in the order of arrival, which may not be that of time."""

    def part(self, start: int, end: int) -> Frame:
        """The samples of some rows, grouped by point."""


class Source(Protocol):
    """A stream of samples."""

    @property
    def size(self) -> int:
        """How long it is, in bytes; 0 if nobody knows."""

    @property
    def done(self) -> int:
        """How much of it was read."""

    @property
    def notes(self) -> list[str]:
        """What a person should know of how it was read."""

    def chunks(self) -> Iterator[Chunk]:
        """All samples.

        Raises:
            BadInputError: it holds something else.
        """


class Samples:
    """Rows of one sample each."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.times = frame.time

    def part(self, start: int, end: int) -> Frame:
        """See :class:`Chunk`."""
        return grouped(self._frame.take(slice(start, end)))


class Matrix:
    """Rows that hold a sample of each point, or of some of them.

    Args:
        times: ns, [rows].
        ids: of the points, ascending, [points].
        values: [rows, points].
        absent: where there is no sample, [rows, points]; None if they are all there.
    """

    def __init__(self, times: Times, ids: Ids, values: Values, absent: Mask | None = None) -> None:
        self.times = times
        self._ids = ids
        self._values = values
        self._absent = absent
        self._all_numbers = not np.isnan(values).any()

    def part(self, start: int, end: int) -> Frame:
        """See :class:`Chunk`."""
        rows = end - start
        value = np.ascontiguousarray(self._values[start:end].T).ravel()
        point, time = np.repeat(self._ids, rows), np.tile(self.times[start:end], len(self._ids))
        quality = np.zeros(len(value), np.uint16)
        if not self._all_numbers:
            quality[np.isnan(value)] = INVALID
        frame = Frame(point, time, value, quality)
        return frame if self._absent is None else frame.take(~self._absent[start:end].T.ravel())


class Names:
    """Names of points to their ids; makes the point, with what is known of it, when a name is new."""

    def __init__(self, directory: Directory, facts: Facts) -> None:
        self.directory = directory
        self._facts = facts
        self._ids: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        """The id of a name."""
        known = self._ids.get(name)
        if known is None:
            known = self._ids[name] = self.directory.add(self._facts.point(name))
        return known

    def describe(self, name: str, unit: str, kind: Kind) -> int:
        """The id of a name, with what a capture says of it where nothing better is known."""
        known = self(name)
        point = self.directory.point(known)
        if point == Point(name=name) and (unit or kind is not Kind.GAUGE):
            self.directory.add(Point(name=name, unit=unit, kind=kind))
        return known

    def become_state(self, name: str) -> None:
        """Texts come for a point of which nothing was said."""
        known = self.directory.point(self(name))
        self.directory.add(msgspec.structs.replace(known, kind=Kind.STATE))


def in_time_order(frame: Frame) -> Frame:
    """The samples by time, those of one time as they came."""
    return frame.take(np.argsort(frame.time, kind="stable"))


def each_in_order(frame: Frame) -> bool:
    """Whether the samples of each point come in the order of time, whatever the others do."""
    order = by_point(frame.point)
    same = frame.point[order][1:] == frame.point[order][:-1]
    return not (same & (frame.time[order][1:] < frame.time[order][:-1])).any()
