"""What ``onpath top`` knows of the gateway: follows its views, and comes back when the gateway does."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final

from gateway.cli.top_header import Seen
from gateway.cli.top_views import VIEWS
from gateway.control import NotRunningError, follow

RETRY_S: Final = 1.0
LONG_S: Final = 5.0
"""Between two payloads; rates over a longer time would not be of now."""
EVENTS: Final = 500
"""Lines of the log that are kept."""


class Feed:
    """The newest of all topics that a view needs. ``run`` is a task; it ends by being cancelled."""

    def __init__(self, state: Path, view: str, on_news: Callable[..., None]) -> None:
        self._state = state
        self._on_news = on_news
        self._view = view
        self._changed = asyncio.Event()
        self._came_s: dict[str, float] = {}
        self._fresh: set[str] = set()
        """Topics that came since the connection was made."""
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS)
        self._gone_since_s: float | None = None
        self._gone = ""
        self.topics: dict[str, Any] = {"before": {}}

    def show(self, view: str) -> None:
        """Follow what another view needs."""
        if view != self._view:
            self._view = view
            self._changed.set()

    @property
    def seen(self) -> Seen:
        """As it is now; what is replaced later is not changed within it."""
        since = self._gone_since_s
        gone_s = 0.0 if since is None else asyncio.get_running_loop().time() - since
        return Seen({**self.topics, "before": dict(self.topics["before"])}, self._gone, gone_s)

    async def run(self) -> None:
        """Follow for ever. ``on_news(urgent=...)`` is called for all that comes.

        Raises:
            OnpathError: the gateway refuses, with its words.
        """
        while True:
            self._changed.clear()
            following = asyncio.create_task(self._follow(self._view), name="top: follow")
            turning = asyncio.create_task(self._changed.wait(), name="top: another view")
            try:
                await asyncio.wait((following, turning), return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    following.result()
                    await asyncio.wait((turning,), timeout=RETRY_S)
            finally:
                for task in (following, turning):
                    task.cancel()
                await asyncio.gather(following, turning, return_exceptions=True)

    async def _follow(self, view: str) -> None:
        topics = ["overview", *VIEWS[view][0]]
        self._fresh.clear()
        try:
            async with contextlib.aclosing(follow(self._state, "live", topics=topics)) as answers:
                async for answer in answers:
                    self._take(answer["topic"], answer["data"])
            self._lost("it went away")
        except NotRunningError:
            self._lost("nobody is there")

    def _take(self, topic: str, data: dict[str, Any]) -> None:
        now_s = asyncio.get_running_loop().time()
        if topic == "overview" and self._restarted(data):
            self._events.clear()
            self.topics["before"].clear()
        if topic == "events":
            known = self._events[-1]["number"] if self._events else 0
            self._events.extend(row for row in data["events"] if row["number"] > known)
            self.topics[topic] = list(self._events)
        else:
            self._compare(topic, now_s)
            self.topics[topic] = data
        urgent = topic not in self._fresh or bool(self._gone)
        self._fresh.add(topic)
        self._came_s[topic] = now_s
        self._gone, self._gone_since_s = "", None
        self._on_news(urgent=urgent)

    def _compare(self, topic: str, now_s: float) -> None:
        """Keep what a topic was for rates, if that is not long ago."""
        passed_s = now_s - self._came_s.get(topic, -LONG_S)
        if passed_s < LONG_S:
            self.topics["before"][topic] = self.topics[topic]
            self.topics["after_s"] = max(0.1, passed_s)
        else:
            self.topics["before"].pop(topic, None)

    def _restarted(self, overview: dict[str, Any]) -> bool:
        before = self.topics.get("overview")
        return before is not None and before["pid"] != overview["pid"]

    def _lost(self, why: str) -> None:
        if self._gone_since_s is None:
            self._gone_since_s = asyncio.get_running_loop().time()
        self._gone = why
        self._came_s.clear()
        self.topics["before"].clear()
        self._on_news(urgent=True)


async def looks(state: Path) -> AsyncGenerator[dict[str, Any], None]:
    """Everything at once, each second: the topics of all views but the log, with rates over the second before.

    Raises:
        NotRunningError: nobody answers.
        OnpathError: the gateway refuses, with its words.
    """
    topics = {"overview", *(topic for needed, _ in VIEWS.values() for topic in needed)} - {"events"}
    found: dict[str, Any] = {}
    begun = asyncio.get_running_loop().time()
    async with contextlib.aclosing(follow(state, "live", topics=sorted(topics))) as answers:
        async for answer in answers:
            # A topic that is as it was is not sent again; the overview, which comes first, always changes
            if answer["topic"] == "overview" and found:
                yield dict(found)
            found[answer["topic"]] = answer["data"]
    if not found:
        raise NotRunningError(f"the gateway went away after {asyncio.get_running_loop().time() - begun:.0f} s")


async def snapshot(state: Path) -> dict[str, Any]:
    """What the views show, of a second: :data:`gateway.cli.top_views.Payloads`.

    Raises:
        NotRunningError: nobody answers.
        OnpathError: the gateway refuses, with its words.
    """
    loop, began = asyncio.get_running_loop(), 0.0
    before: dict[str, Any] = {}
    async with contextlib.aclosing(looks(state)) as seen:
        async for found in seen:
            if before:
                return {**found, "before": before, "after_s": max(0.1, loop.time() - began), "events": []}
            before, began = found, loop.time()
    raise NotRunningError("the gateway went away")
