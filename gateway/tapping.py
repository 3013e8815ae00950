"""Taps: a person watches samples go by, without being able to slow them down.

Fed with what has become durable and with what pipelines made of it. A tap has a bound; what it cannot take is
counted and told, and costs the gateway nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

import numpy as np

from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.frame import Frame
from gateway.point import compile_glob
from gateway.rejected import RejectedRing
from gateway.uplinks.config import TimeFormat
from gateway.wire.record import samples

QUEUED_FRAMES: Final = 256
LOOK_S: Final = 0.2


class Tap:
    """One onlooker."""

    def __init__(self, globs: list[str], directory: Directory, time: TimeFormat, *, made: bool) -> None:
        self._globs = [compile_glob(glob) for glob in globs]
        self._time = time
        self.made = made
        """Whether it wants what pipelines made, too."""
        self._directory = directory
        self._wanted = np.zeros(0, np.bool_)
        self._queue: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._missed = 0

    def offer(self, frame: Frame) -> None:
        """Samples went by."""
        self._learn()
        chosen = frame.take(self._wanted[frame.point])
        if not len(chosen):
            return
        if len(self._queue) >= QUEUED_FRAMES:
            self._missed += len(chosen)
            return
        self._queue.append(chosen)
        self._news.set()

    def _learn(self) -> None:
        known, total = len(self._wanted), len(self._directory)
        if known < total:
            names = map(self._directory.name, range(known, total))
            fits = [any(glob.match(name) for glob in self._globs) for name in names]
            self._wanted = np.append(self._wanted, np.array(fits, np.bool_))

    async def follow(self) -> AsyncGenerator[dict[str, Any], None]:
        """``{"samples": [...], "missed": n}`` for ever; samples as in the format ``json``."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                rows = samples(self._queue.popleft(), self._directory, self._time)
                missed, self._missed = self._missed, 0
                yield {"samples": rows, "missed": missed}


class Taps:
    """All onlookers of a daemon; its verbs on the control socket."""

    def __init__(self, directory: Directory, rejected: RejectedRing) -> None:
        self._directory = directory
        self._rejected = rejected
        self._taps: set[Tap] = set()

    def offer(self, frames: Iterable[Frame], made: Iterable[Frame] = ()) -> None:
        """Samples came in, and pipelines made some of them. Costs nothing while nobody looks."""
        if self._taps:
            came, made = list(frames), list(made)
            for tap in self._taps:
                for frame in (*came, *made) if tap.made else came:
                    tap.offer(frame)

    async def tap_verb(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """``{"verb": "tap", "globs": ["**/power"]}``, or ``"rejected": true``: answers until the asker goes.

        ``"made": false`` leaves out what pipelines made; ``"time": "ns"`` gives times as integers.
        """
        if request.get("rejected"):
            async with contextlib.aclosing(self._follow_rejected(int(request.get("last", 20)))) as following:
                async for one in following:
                    yield {"rejected": one}
            return
        globs = request.get("globs") or ["**"]
        if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
            raise OnpathError("globs: a list of globs of points is wanted")
        time = TimeFormat.NS if request.get("time") == "ns" else TimeFormat.RFC3339
        tap = Tap(globs, self._directory, time, made=bool(request.get("made", True)))
        self._taps.add(tap)
        try:
            async with contextlib.aclosing(tap.follow()) as following:
                async for news in following:
                    yield news
        finally:
            self._taps.discard(tap)

    async def _follow_rejected(self, last: int) -> AsyncGenerator[dict[str, Any], None]:
        """The newest ``last`` of them, then each as it comes."""
        kept = self._rejected.after(0)
        seen = kept[-last - 1].number if len(kept) > last else 0
        while True:
            for one in self._rejected.after(seen):
                seen = one.number
                yield one.as_dict()
            await asyncio.sleep(LOOK_S)
