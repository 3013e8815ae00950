"""The latest value of every point that somebody watches: what consoles, observers and other adapters are shown.

Fed with what has become durable, once a commit and not once a sample. Costs nothing while nobody watches.
Lives on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from adapters.base import Latest
from gateway.directory import Directory
from gateway.frame import Frame, Ids
from gateway.point import Kind, compile_glob

NEVER: Final = int(np.iinfo(np.int64).min)
"""The time of a point of which nothing is known."""


class LatestValues:
    """The last sample of each point in columns, indexed by point id; a sample older than the known one is left."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._views: set[ValuesView] = set()
        self._time = np.full(0, NEVER, np.int64)
        self._value = np.empty(0, np.float64)
        self._quality = np.empty(0, np.uint16)
        self._watching = 0
        self.asked = asyncio.Event()
        """Somebody began to watch: what was before is to be looked up in the history."""
        self.caught_up = asyncio.Event()
        """That has been done."""

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return bool(self._views) or self._watching > 0

    def watch(self) -> None:
        """Keep the columns up to date until :meth:`unwatch`, for who reads them whole and asks for no news."""
        if not self.watched:
            self.caught_up.clear()
            self.asked.set()
        self._watching += 1

    def unwatch(self) -> None:
        """The opposite of :meth:`watch`."""
        self._watching -= 1

    def columns(self, points: Ids) -> Frame:
        """The latest sample of each of these points, [n]; its time is :data:`NEVER` where none is known."""
        self._grow()
        return Frame(points, self._time[points], self._value[points], self._quality[points])

    def view(self, globs: Sequence[str]) -> ValuesView:
        """See :meth:`adapters.base.Context.view`."""
        view = ValuesView(self, self._directory, globs)
        if not self.watched:
            self.caught_up.clear()
        self._views.add(view)
        self.asked.set()
        return view

    def forget(self, view: ValuesView) -> None:
        """A view was closed."""
        self._views.discard(view)

    def take(self, frame: Frame) -> None:
        """Samples that are durable now."""
        if not self.watched or not len(frame):
            return
        self._grow()
        news = frame.take(frame.time >= self._time[frame.point])
        ordered = news.take(np.argsort(news.time, kind="stable"))  # of equal points the last assignment stays
        self._time[ordered.point] = ordered.time
        self._value[ordered.point] = ordered.value
        self._quality[ordered.point] = ordered.quality
        if self._views:
            points = np.unique(ordered.point)
            for view in self._views:
                view.tell(points)

    def _grow(self) -> None:
        missing = len(self._directory) - len(self._time)
        if missing > 0:
            self._time = np.append(self._time, np.full(missing, NEVER, np.int64))
            self._value = np.append(self._value, np.full(missing, np.nan))
            self._quality = np.append(self._quality, np.zeros(missing, np.uint16))

    def row(self, point: int) -> Latest | None:
        """The latest sample of a point, or None."""
        if point >= len(self._time) or self._time[point] == NEVER:
            return None
        known, value = self._directory.point(point), float(self._value[point])
        texts = self._directory.states(point) if known.kind is Kind.STATE else None
        text = texts[int(value)] if texts and value.is_integer() and 0 <= value < len(texts) else None
        return Latest(known.name, known.unit, int(self._time[point]), value, int(self._quality[point]), text)


class ValuesView:
    """See :class:`adapters.base.View`."""

    def __init__(self, values: LatestValues, directory: Directory, globs: Sequence[str]) -> None:
        self._values = values
        self._directory = directory
        self._globs = [compile_glob(glob) for glob in globs]
        self._wanted = np.zeros(0, np.bool_)
        self._changed: set[int] = set()
        self._news = asyncio.Event()

    def tell(self, points: Ids) -> None:
        """These points, each once, have news."""
        self._learn()
        chosen = points[self._wanted[points]]
        if len(chosen):
            self._changed.update(chosen.tolist())
            self._news.set()

    def _learn(self) -> None:
        """Look at the names of points that are new."""
        known, total = len(self._wanted), len(self._directory)
        if known < total:
            fits = [
                any(glob.match(self._directory.name(point)) for glob in self._globs) for point in range(known, total)
            ]
            self._wanted = np.append(self._wanted, np.array(fits, np.bool_))

    def rows(self) -> list[Latest]:
        """See :meth:`adapters.base.View.rows`."""
        self._learn()
        found = (self._values.row(point) for point in np.flatnonzero(self._wanted).tolist())
        return sorted(row for row in found if row is not None)

    def get(self, name: str) -> Latest | None:
        """See :meth:`adapters.base.View.get`."""
        point = self._directory.find(name)
        if point is None or not any(glob.match(name) for glob in self._globs):
            return None
        return self._values.row(point)

    async def changed(self) -> set[str]:
        """See :meth:`adapters.base.View.changed`."""
        await self._news.wait()
        self._news.clear()
        changed, self._changed = self._changed, set()
        return {self._directory.name(point) for point in changed}

    def close(self) -> None:
        """See :meth:`adapters.base.View.close`."""
        self._values.forget(self)
