"""The metrics as points: sampled like a device, by the gateway of itself, and only those that somebody takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.config.hidden import HEARTBEAT
from gateway.frame import Frame
from gateway.own.lag import Lag
from gateway.own.metrics import BY_NAME, Reading, Shape
from gateway.own.readings import Readings
from gateway.point import OWN, Point, compile_glob

if TYPE_CHECKING:
    import re

    from gateway.inside import Inside

SOURCE: Final = "onpath"
"""Stands where the name of an adapter would."""
LOOK_S: Final = 1.0
"""How often it is looked whether something is due; a second makes no reload wait."""


class Own:
    """What the gateway knows of itself. ``run`` is a task of the daemon."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self.readings = Readings(inside)
        self._lag = Lag()
        self._ids: dict[tuple[str, tuple[str, ...]], int] = {}

    @property
    def lag_s(self) -> float:
        """The longest that the event loop was late within the last minute."""
        return self._lag.longest_s

    async def run(self) -> None:
        """Sample what is due, and measure how late the loop is."""
        loop = asyncio.get_running_loop()
        often, beat = _Schedule(), _Schedule()
        while True:
            due_s = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self._lag.note(loop.time(), loop.time() - due_s)
            config = self._inside.config
            globs: list[str] = []
            if often.due(loop.time(), config.metrics.every):
                globs += _taken(self._inside, heart=False)
            if config.heartbeat is not None and beat.due(loop.time(), config.heartbeat.every):
                globs += _taken(self._inside, heart=True)
            if globs:
                await self._sample([compile_glob(glob) for glob in dict.fromkeys(globs)])

    async def _sample(self, wanted: Sequence[re.Pattern[str]]) -> None:
        readings = await self.readings.read()
        chosen = [one for one in readings if any(glob.match(_name(one)) for glob in wanted)]
        if chosen:
            await self._inside.intake.emit(self._frame(chosen), SOURCE)

    def _frame(self, readings: Iterable[Reading]) -> Frame:
        ids, values = [], []
        for reading in readings:
            point = self._id(reading)
            ids.append(point)
            value = reading.value
            values.append(self._code(point, value) if isinstance(value, str) else float(value))
        return Frame.of(ids, self._inside.clock.now_ns(), np.array(values))

    def _id(self, reading: Reading) -> int:
        key = reading.metric, reading.labels
        found = self._ids.get(key)
        if found is None:
            metric = BY_NAME[reading.metric]
            labels = dict(zip(metric.all_labels, reading.labels, strict=True))
            point = Point(name=metric.point(reading.labels), unit=metric.unit, kind=metric.kind, labels=labels)
            found = self._ids[key] = self._inside.directory.make(point)
            if metric.shape is Shape.STATE:
                for text in metric.texts:
                    self._code(found, text)
        return found

    def _code(self, point: int, text: str) -> float:
        return self._inside.directory.state(point, text)


class _Schedule:
    """When something is due that comes at an interval; at once for the first time."""

    def __init__(self) -> None:
        self._next_s: float | None = None

    def due(self, now_s: float, every_s: float) -> bool:
        if self._next_s is not None and now_s < min(self._next_s, now_s + every_s):
            self._next_s = min(self._next_s, now_s + every_s)  # a reload may have made the interval shorter
            return False
        late = self._next_s is None or now_s - self._next_s > every_s
        self._next_s = (now_s if late else self._next_s or now_s) + every_s
        return True


def _taken(inside: Inside, *, heart: bool) -> list[str]:
    """Globs of own metrics that the heartbeat names, or that any other pipeline does."""
    pipelines = inside.config.effective.items()
    named = [glob for name, pipeline in pipelines if (name == HEARTBEAT) is heart for glob in pipeline.globs]
    return [glob for glob in named if glob.startswith(OWN)]


def _name(reading: Reading) -> str:
    return BY_NAME[reading.metric].point(reading.labels)
