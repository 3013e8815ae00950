"""Taps: a person watches samples go by, without being able to slow them down.

Fed with what has become durable and with what pipelines made of it, or with what left one step of a pipeline. A tap
has a bound; what it cannot take is counted and told, and costs the gateway nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Final, Protocol

import numpy as np

from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.frame import Frame
from gateway.graph import Graph, Place
from gateway.point import compile_glob
from gateway.rejected import RejectedRing
from gateway.uplinks.config import TimeFormat
from gateway.wire.record import samples

QUEUED_FRAMES: Final = 256
LOOK_S: Final = 0.2


class Tappable(Protocol):
    """What taps need of the engine."""

    graph: Graph
    tapped: frozenset[Place]


class Tap:
    """One onlooker."""

    def __init__(
        self, globs: list[str], directory: Directory, time: TimeFormat, *, made: bool, after: Place | None = None
    ) -> None:
        self._globs = [compile_glob(glob) for glob in globs]
        self._time = time
        self.made = made
        """Whether it wants what pipelines made, too."""
        self.after = after
        """The step behind which it looks; None: at what came in, and was made."""
        self._directory = directory
        self._wanted = np.zeros(0, np.bool_)
        self._queue: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._missed = 0
        self._gone = False

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

    def end(self) -> None:
        """The step is there no more."""
        self._gone = True
        self._news.set()

    def _learn(self) -> None:
        known, total = len(self._wanted), len(self._directory)
        if known < total:
            names = map(self._directory.name, range(known, total))
            fits = [any(glob.match(name) for glob in self._globs) for name in names]
            self._wanted = np.append(self._wanted, np.array(fits, np.bool_))

    async def follow(self) -> AsyncGenerator[dict[str, Any], None]:
        """``{"samples": [...], "missed": n}`` for ever; samples as in the format ``json``.

        Raises:
            OnpathError: the step behind which it looks is gone, by a reload.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                rows = samples(self._queue.popleft(), self._directory, self._time)
                missed, self._missed = self._missed, 0
                yield {"samples": rows, "missed": missed}
            if self._gone and self.after:
                raise OnpathError(f"the step {'/'.join(self.after)} is gone: the configuration has changed")


class Taps:
    """All onlookers of a daemon; its verbs on the control socket."""

    def __init__(self, directory: Directory, rejected: RejectedRing, engine: Tappable) -> None:
        self._directory = directory
        self._rejected = rejected
        self._engine = engine
        self._taps: set[Tap] = set()

    def offer(
        self,
        frames: Iterable[Frame],
        made: Iterable[Frame] = (),
        aside: Mapping[Place, Iterable[Frame] | None] | None = None,
    ) -> None:
        """Samples came in, pipelines made some of them, steps passed them on. Costs nothing while nobody looks."""
        if not self._taps:
            return
        came, made, aside = list(frames), list(made), aside or {}
        for tap in self._taps:
            if tap.after is None:
                passed: Iterable[Frame] | None = (*came, *made) if tap.made else came
            else:
                passed = aside.get(tap.after, ())
            if passed is None:
                tap.end()
            for frame in passed or ():
                tap.offer(frame)

    async def tap_verb(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """``{"verb": "tap", "globs": ["**/power"]}``, or ``"rejected": true``: answers until the asker goes.

        ``"made": false`` leaves out what pipelines made; ``"after": "live/deadband"`` (or ``"live/1"``) shows what
        leaves that step instead; ``"time": "ns"`` gives times as integers.
        """
        if request.get("rejected"):
            async with contextlib.aclosing(self._follow_rejected(int(request.get("last", 20)))) as following:
                async for one in following:
                    yield {"rejected": one}
            return
        tap = self._tap(request)
        self._taps.add(tap)
        self._tell_engine()
        try:
            async with contextlib.aclosing(tap.follow()) as following:
                async for news in following:
                    yield news
        finally:
            self._taps.discard(tap)
            self._tell_engine()

    def _tap(self, request: Mapping[str, Any]) -> Tap:
        globs, word = request.get("globs") or ["**"], request.get("after")
        if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
            raise OnpathError("globs: a list of globs of points is wanted")
        time = TimeFormat.NS if request.get("time") == "ns" else TimeFormat.RFC3339
        after = place_of(self._engine.graph, str(word)) if word else None
        return Tap(globs, self._directory, time, made=bool(request.get("made", True)), after=after)

    def _tell_engine(self) -> None:
        self._engine.tapped = frozenset(tap.after for tap in self._taps if tap.after is not None)

    async def _follow_rejected(self, last: int) -> AsyncGenerator[dict[str, Any], None]:
        """The newest ``last`` of them, then each as it comes."""
        kept = self._rejected.after(0)
        seen = kept[-last - 1].number if len(kept) > last else 0
        while True:
            for one in self._rejected.after(seen):
                seen = one.number
                yield one.as_dict()
            await asyncio.sleep(LOOK_S)


def place_of(graph: Graph, text: str) -> Place:
    """``live/deadband``, ``live/1`` (from 0) or, where only one pipeline has such a step, ``deadband``.

    Raises:
        OnpathError: no step fits, or several do; with those to choose from.
    """
    pipeline, slash, word = text.rpartition("/")
    names = [pipeline] if slash else list(graph.pipelines)
    if slash and pipeline not in graph.pipelines:
        raise OnpathError(f"there is no pipeline {pipeline!r}; there is {', '.join(graph.pipelines)}")
    if (slash or len(names) == 1) and graph.step((names[0], word)) is not None:
        return names[0], word
    fitting = [
        (name, str(number))
        for name in names
        for number, step in enumerate(graph.pipelines[name].steps)
        if step.kind == word
    ]
    if len(fitting) == 1:
        return fitting[0]
    steps = [
        f"{name}/{number} ({step.kind})"
        for name in names
        for number, step in enumerate(graph.pipelines[name].steps)
        if step.kind == word or not fitting
    ]
    raise OnpathError(f"{'several steps are' if fitting else 'no step is'} {text!r}: name one of {', '.join(steps)}")
