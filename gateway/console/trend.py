"""The history of one point, thinned to what a chart can show. Read and thinned in a thread.

Where there are more samples than asked for, time is cut into as many parts of one length; each gives its last sample
and the least and greatest value in it, so that no peak is lost.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypedDict

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.console.answers import ApiError
from gateway.frame import Frame, concat
from gateway.store.database import rows_of
from gateway.store.reading import NoStateError, Query, Reader, reading

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.console.asked import Asked

MS: Final = 1_000_000
DAY_MS: Final = 86_400_000
_LIMIT: Final = (1 << 63) - 1


class TrendQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the history of which point."""

    name: str
    """The point's name."""
    since_ms: int | None = None
    """Source time from which; left out: a day before ``until_ms``."""
    until_ms: int | None = None
    """Source time before which; left out: now."""
    max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000
    """How many places in time at most."""


class TrendView(TypedDict):
    """Parallel lists; ``min`` and ``max`` equal ``values`` where nothing was thinned."""

    name: str
    unit: str
    times_ms: list[int]
    values: list[float | None]
    qualities: list[int]
    min: list[float | None]
    max: list[float | None]
    thinned: bool


async def history(asked: Asked) -> TrendView:
    """The samples of a point, or what is to be seen of them."""
    query, inside = asked.query, asked.console.inside
    point = inside.directory.find(query.name)
    if point is None:
        raise ApiError(404, f"there is no point {query.name!r}")
    until_ms = inside.clock.now_ns() // MS + 1 if query.until_ms is None else query.until_ms
    since_ms = until_ms - DAY_MS if query.since_ms is None else query.since_ms
    if since_ms >= until_ms:
        raise ApiError(400, "since_ms is to be below until_ms")
    stop = threading.Event()
    async with asked.console.reading:
        try:
            span = (_ns(since_ms), _ns(until_ms))
            parts = await asyncio.to_thread(_read, inside.shared.state, point, span, query.max, stop)
        finally:
            stop.set()
    unit = inside.directory.point(point).unit
    return {"name": query.name, "unit": unit, **parts}  # type: ignore[typeddict-item]  # see _Parts.shown


def _ns(ms: int) -> int:
    return max(-_LIMIT, min(ms * MS, _LIMIT))


def _read(state: Path, point: int, span: tuple[int, int], most: int, stop: threading.Event) -> dict[str, object]:
    try:
        with Reader(state) as reader:
            since = max(span[0], _first(reader))
            parts = _Parts(since, max(span[1], since + 1), most)
            for frame in Query(reader, np.array([point], np.int32), *span):
                if stop.is_set():
                    break
                parts.add(frame)
    except NoStateError:  # nothing was ever committed
        parts = _Parts(*span, most)
    return parts.shown()


def _first(reader: Reader) -> int:
    """The oldest time in the history: parts of time before it would all be empty."""
    found = -_LIMIT
    with reading():
        times = [
            first
            for table in ("history", "journal")
            for (first,) in rows_of(reader.db, f"SELECT min(first_ns) FROM {table}")  # noqa: S608  names of ours
            if first is not None
        ]
    return min(times, default=found)


@dataclass
class _Parts:
    """Samples as they are until there are too many, then parts of time."""

    since: int
    until: int
    most: int
    frames: list[Frame] = field(default_factory=list)
    held: int = 0
    cut: bool = False

    def __post_init__(self) -> None:
        self.time: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, frame: Frame) -> None:
        """More samples, ordered by time among themselves."""
        if not len(frame):
            return
        self.frames.append(frame)
        self.held += len(frame)
        if self.held > 4 * self.most:
            self._cut()

    def _cut(self) -> None:
        if not self.cut:
            self.cut = True
            self.time = np.full(self.most, np.iinfo(np.int64).min, np.int64)
            self.value = np.full(self.most, np.nan)
            self.quality = np.zeros(self.most, np.uint16)
            self.low = np.full(self.most, np.nan)
            self.high = np.full(self.most, np.nan)
        frame = concat(self.frames)
        self.frames, self.held = [], 0
        width = max(1, -(-(self.until - self.since) // self.most))
        place = np.clip((frame.time - self.since) // width, 0, self.most - 1)
        finite = np.where(np.isfinite(frame.value), frame.value, np.nan)
        np.fmin.at(self.low, place, finite)
        np.fmax.at(self.high, place, finite)
        order = np.argsort(frame.time, kind="stable")
        newer = order[frame.time[order] >= self.time[place[order]]]  # of a place the last assignment stays
        self.time[place[newer]] = frame.time[newer]
        self.value[place[newer]] = finite[newer]
        self.quality[place[newer]] = frame.quality[newer]

    def shown(self) -> dict[str, object]:
        """Plain JSON types, for :class:`TrendView`."""
        if self.cut or self.held > self.most:
            self._cut()
            some = np.flatnonzero(self.time != np.iinfo(np.int64).min)
            columns = (self.time[some], self.value[some], self.quality[some], self.low[some], self.high[some])
        else:
            frame = concat(self.frames)
            frame = frame.take(np.argsort(frame.time, kind="stable"))
            finite = np.where(np.isfinite(frame.value), frame.value, np.nan)
            columns = (frame.time, finite, frame.quality, finite, finite)
        time, value, quality, low, high = columns
        return {
            "times_ms": (time // MS).tolist(),
            "values": _numbers(value),
            "qualities": quality.tolist(),
            "min": _numbers(low),
            "max": _numbers(high),
            "thinned": self.cut,
        }


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """NaN as None."""
    found: list[float | None] = values.tolist()
    for at in np.flatnonzero(np.isnan(values)).tolist():
        found[at] = None
    return found
