"""What onlookers follow: one look a second for all of them together, each topic made and encoded once.

A follower that is slow gets the newest when it comes for it: nothing is queued for anybody. While nobody follows,
nothing runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from gateway.errors import OnpathError
from gateway.frame import EMPTY, Frame

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.view.views import Views

EVERY_S: Final = 1.0
REST: Final = 20.0
"""After a look at a topic that took long, it is left alone for so many times as long: the devices of a large site."""
MOST_POINTS: Final = 2000
"""Points that one follower may name."""
SHARED: Final = ("overview", "graph", "pipelines", "devices", "spool", "alerts", "findings")
"""Topics that are the same for all."""
TOPICS: Final = frozenset({*SHARED, "events", "points"})

_encode = msgspec.json.Encoder().encode


class Live:
    """The looks of one daemon, and who follows them."""

    def __init__(self, inside: Inside, views: Views) -> None:
        self._inside = inside
        self._views = views
        self._wanted: list[Collection[str]] = []
        self._task: asyncio.Task[None] | None = None
        self._payloads: dict[str, bytes] = {}
        self._rests: dict[str, float] = {}
        """Until when a topic is left alone, of the loop's clock."""
        self._news: asyncio.Future[None] | None = None

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._wanted)

    async def follow(self, topics: set[str], points: Sequence[int] = ()) -> AsyncGenerator[tuple[str, bytes], None]:
        """``(topic, JSON)``, each topic at once and then when it has changed, for ever.

        Args:
            topics: of :data:`TOPICS`.
            points: ids, for ``points``: ``{"rows": [[id, value, text, time_ms, quality, reason], ...]}`` of those
                that have changed since the payload before.

        Raises:
            OnpathError: there is no such topic or point.
        """
        self._check(topics, points)
        own = _Own(self._inside, self._views, topics, points)
        sent: dict[str, bytes] = {}
        with contextlib.ExitStack() as looking:
            if "graph" in topics or "devices" in topics:
                looking.enter_context(self._views.flows.attention.held())
            if "points" in topics or "devices" in topics:
                await self._views.points_of.look()
                looking.enter_context(self._views.points_of.attention.held())
            looking.enter_context(self._following(topics))
            while True:
                news = self._next()
                for topic in SHARED:
                    if topic in topics and (payload := self._payloads.get(topic)) not in {None, sent.get(topic)}:
                        assert payload is not None
                        sent[topic] = payload
                        yield topic, payload
                for topic, payload in own.news():
                    yield topic, payload
                await asyncio.wait((news,))  # also if it is over by now: then there is a newer look already
                news.result()

    def _check(self, topics: Collection[str], points: Sequence[int]) -> None:
        if unknown := set(topics) - TOPICS:
            raise OnpathError(f"there is no topic {min(unknown)!r}; there is {', '.join(sorted(TOPICS))}")
        if len(points) > MOST_POINTS:
            raise OnpathError(f"{len(points)} points are too many to follow; {MOST_POINTS} at most")
        if points and not 0 <= min(points) <= max(points) < len(self._inside.directory):
            raise OnpathError("points: one of these ids is no point's")

    @contextlib.contextmanager
    def _following(self, topics: Collection[str]) -> Any:
        self._wanted.append(topics)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="live views")
        try:
            yield
        finally:
            self._wanted.remove(topics)

    def _next(self) -> asyncio.Future[None]:
        """Is done with the next look, and fails if that does."""
        if self._news is None or self._news.done():
            self._news = asyncio.get_running_loop().create_future()
        return self._news

    async def _run(self) -> None:
        """Look while anybody follows."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        try:
            while self._wanted:
                await self._look()
                self._tell(None)
                due_s = max(due_s + EVERY_S, loop.time() + EVERY_S / 2)
                await asyncio.sleep(due_s - loop.time())
        except BaseException as error:
            self._tell(error)
            raise
        finally:
            self._payloads.clear()

    def _tell(self, error: BaseException | None) -> None:
        news, self._news = self._news, None
        if news is None or news.done():
            return
        if error is None:
            news.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            news.cancel()
        else:
            news.set_exception(error)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        wanted = {topic for topics in self._wanted for topic in topics}
        for topic in SHARED:
            if topic not in wanted or (topic in self._payloads and loop.time() < self._rests.get(topic, 0.0)):
                continue
            view: Callable[[], Awaitable[Any]] = getattr(self._views, topic)
            began = loop.time()
            self._payloads[topic] = _encode(await view())
            self._rests[topic] = loop.time() + REST * (loop.time() - began) - EVERY_S

    async def live_verb(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """``{"verb": "live", "topics": ["overview"], "points": [1, 2]}``: ``{"topic": ..., "data": ...}`` for ever."""
        topics, points = request.get("topics"), request.get("points", [])
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            raise OnpathError("topics: a list of topics is wanted")
        if not isinstance(points, list) or not all(isinstance(point, int) for point in points):
            raise OnpathError("points: a list of ids of points is wanted")
        async with contextlib.aclosing(self.follow(set(topics), points)) as following:
            async for topic, payload in following:
                yield {"topic": topic, "data": msgspec.json.decode(payload)}


class _Own:
    """What is each follower's own: which points it has seen, and up to which event."""

    def __init__(self, inside: Inside, views: Views, topics: Collection[str], points: Sequence[int]) -> None:
        self._inside = inside
        self._views = views
        self._topics = topics
        self._points = np.array(sorted(set(points)), np.int32)
        self._seen: Frame = EMPTY
        self._event = -1

    def news(self) -> list[tuple[str, bytes]]:
        """Since the last call."""
        found: list[tuple[str, bytes]] = []
        if "points" in self._topics and len(self._points) and (rows := self._rows()):
            found.append(("points", _encode({"rows": rows})))
        if "events" in self._topics:
            last = self._inside.events.last
            if last != self._event:
                found.append(("events", _encode(self._views.events(max(self._event, 0)))))
                self._event = last
        return found

    def _rows(self) -> list[list[Any]]:
        now = self._inside.shared.latest.columns(self._points)
        before, self._seen = self._seen, now
        if not len(before):
            before = Frame.of(self._points, np.iinfo(np.int64).min, np.full(len(now), np.nan), 0)
        return self._views.points_of.changed(before, now)
