"""The frame: a batch of samples in columns, the only thing that travels inside the gateway. A leaf."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Qualities = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]


class Frame:
    """Parallel numpy columns of one length; immutable by agreement: nobody writes into a column.

    ``point`` int32 [n], ids in the directory; ``time`` int64 [n], source time in ns since 1970 UTC;
    ``value`` float64 [n], booleans 0/1, integers exact to 2**53, states by the point's table;
    ``quality`` uint16 [n], see :mod:`gateway.quality`.
    """

    __slots__ = ("point", "quality", "time", "value")

    def __init__(self, point: Ids, time: Times, value: Values, quality: Qualities) -> None:
        self.point = point
        self.time = time
        self.value = value
        self.quality = quality

    @classmethod
    def of(
        cls,
        point: Sequence[int] | Ids,
        time: Sequence[int] | Times | int,
        value: Sequence[float] | Values,
        quality: Sequence[int] | Qualities | int = 0,
    ) -> Frame:
        """A frame from anything column-like; a single time or quality holds for all samples.

        Raises:
            ValueError: if the lengths differ.
        """
        ids = np.asarray(point, np.int32)
        values = np.asarray(value, np.float64)
        n = len(ids)
        times = np.full(n, time, np.int64) if isinstance(time, int) else np.asarray(time, np.int64)
        words = np.full(n, quality, np.uint16) if isinstance(quality, int) else np.asarray(quality, np.uint16)
        if not n == len(times) == len(values) == len(words):
            raise ValueError(f"columns differ in length: {n}, {len(times)}, {len(values)}, {len(words)}")
        return cls(ids, times, values, words)

    def __len__(self) -> int:
        return len(self.point)

    def __repr__(self) -> str:
        return f"Frame({len(self)} samples)"

    def __eq__(self, other: object) -> bool:
        """Equal columns, bit for bit: a NaN equals the same NaN, 0.0 differs from -0.0."""
        if not isinstance(other, Frame):
            return NotImplemented
        return (
            np.array_equal(self.point, other.point)
            and np.array_equal(self.time, other.time)
            and np.array_equal(self.value.view(np.int64), other.value.view(np.int64))
            and np.array_equal(self.quality, other.quality)
        )

    __hash__ = None  # type: ignore[assignment]  # columns compare by content, so they cannot be keys

    def take(self, index: Mask | Index | slice) -> Frame:
        """The samples that a mask, an index array or a slice selects, in that order."""
        return Frame(self.point[index], self.time[index], self.value[index], self.quality[index])

    def replace(
        self,
        *,
        point: Ids | None = None,
        time: Times | None = None,
        value: Values | None = None,
        quality: Qualities | None = None,
    ) -> Frame:
        """The same samples with some columns exchanged."""
        return Frame(
            self.point if point is None else point,
            self.time if time is None else time,
            self.value if value is None else value,
            self.quality if quality is None else quality,
        )

    @property
    def nbytes(self) -> int:
        """Memory that the columns take, in bytes."""
        return 22 * len(self)


EMPTY: Final = Frame.of([], [], [])


def concat(frames: Iterable[Frame]) -> Frame:
    """One frame of all samples, in order. Costs nothing for one frame."""
    parts = [frame for frame in frames if len(frame)]
    if len(parts) <= 1:
        return parts[0] if parts else EMPTY
    return Frame(
        np.concatenate([part.point for part in parts]),
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.quality for part in parts]),
    )


def by_point(point: Ids) -> Index:
    """The stable order that groups samples by point and keeps their order within each, [n].

    Ids that fit 16 bits sort by radix, several times faster than numpy's stable sort of int32.
    """
    if len(point) and int(point.max()) < 1 << 16:
        return np.argsort(point.astype(np.uint16), kind="stable")
    return np.argsort(point, kind="stable")


def grouped(frame: Frame) -> Frame:
    """The samples grouped by point, in their order within each; the frame itself if it is so already."""
    if (frame.point[1:] >= frame.point[:-1]).all():
        return frame
    return frame.take(by_point(frame.point))


def group_starts(sorted_keys: npt.NDArray[np.generic]) -> Index:
    """Where each run of equal keys begins, [groups]."""
    n = len(sorted_keys)
    if not n:
        return np.empty(0, np.intp)
    change = np.empty(n, np.bool_)
    change[0] = True
    np.not_equal(sorted_keys[1:], sorted_keys[:-1], out=change[1:])
    return np.flatnonzero(change)
