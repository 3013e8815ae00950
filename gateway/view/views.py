"""Everything that can be looked at, of one daemon: for the API, the control socket and the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import OnpathError
from gateway.view.about import about
from gateway.view.devices import devices
from gateway.view.flows import Flows
from gateway.view.graph import graph
from gateway.view.live import Live
from gateway.view.overview import Overviews
from gateway.view.pipelines import pipelines
from gateway.view.points import Points, PointsQuery
from gateway.view.queues import Losses, spool
from gateway.view.tally import Tally

if TYPE_CHECKING:
    from gateway.control import Verb
    from gateway.engine import Committed
    from gateway.events import Event
    from gateway.frame import Frame
    from gateway.inside import Inside
    from gateway.view.shapes import (
        About,
        AlertsView,
        DevicesView,
        EventRow,
        EventsView,
        FindingsView,
        GraphView,
        Overview,
        PipelinesView,
        PointsView,
        PointView,
        RejectedView,
        SpoolView,
    )  # fmt: skip

LONGEST_WAIT_S: Final = 60.0
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class Views:
    """What onlookers are shown. Methods give plain JSON types; call them on the event loop only."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self.tally = Tally(inside)
        self.flows = Flows(inside)
        self._losses = Losses()
        self.points_of = Points(inside)
        self._overviews = Overviews(inside, self.tally)
        self.live = Live(inside, self)

    def committed(self, frames: Iterable[Frame], committed: Committed) -> None:
        """Samples of adapters are durable, and what was made of them is in the spool."""
        self.flows.offer(frames)
        self._losses.take(committed.batches)

    async def overview(self) -> Overview:
        """See :mod:`gateway.view.overview`."""
        return await self._overviews.view()

    async def graph(self) -> GraphView:
        """See :mod:`gateway.view.graph`."""
        return await graph(self._inside, self.tally, self.flows)

    async def pipelines(self) -> PipelinesView:
        """See :mod:`gateway.view.pipelines`."""
        return pipelines(self._inside, self.tally)

    async def devices(self) -> DevicesView:
        """See :mod:`gateway.view.devices`."""
        return await devices(self._inside, self.flows, self.points_of)

    async def spool(self) -> SpoolView:
        """See :mod:`gateway.view.queues`."""
        return await spool(self._inside, self._losses)

    async def points(self, query: PointsQuery) -> PointsView:
        """See :mod:`gateway.view.points`."""
        return await self.points_of.view(query)

    async def point(self, name: str) -> PointView:
        """All about one point.

        Raises:
            OnpathError: there is none of this name.
        """
        return await self.points_of.one(name)

    async def findings(self) -> FindingsView:
        """What was found and is not configured."""
        return {"findings": self._inside.joining.findings.rows()}

    async def alerts(self) -> AlertsView:
        """Rules, what they say now, and what they said."""
        found = self._inside.alerts.view()
        return {"rules": found["rules"], "active": found["active"], "recent": found["recent"]}

    async def about(self) -> About:
        """See :mod:`gateway.view.about`."""
        return await about(self._inside)

    def events(self, after: int = 0, level: str = "debug", limit: int = 500) -> EventsView:
        """The newest lines of the log behind a number, of this level or a more important one."""
        wanted = LEVELS.index(level) if level in LEVELS else 0
        every = self._inside.events.after(0)
        rows = [event for event in every if event.number > after and _rank(event) >= wanted]
        last = every[-1].number if every else 0
        return {"events": [_event(event) for event in rows[-limit:]] if limit else [], "last": last}

    def rejected(self, after: int = 0) -> RejectedView:
        """Wire units that adapters could not use."""
        every = self._inside.shared.rejected.after(0)
        rows = [one.as_dict() for one in every if one.number > after]
        for row in rows:
            row["time_ms"] = row["time_ns"] // 1_000_000
        return {"rejected": rows, "last": every[-1].number if every else 0}

    def verbs(self) -> dict[str, Verb]:
        """What the control socket answers of it: ``{"verb": "overview"}`` with ``{"overview": {...}}`` and so on.

        ``overview``, ``graph``, ``pipelines`` and ``devices`` take ``"over_s": 1.0``: rates are measured over so long
        first, where else they are over the time since anybody looked last.
        """
        measured: dict[str, Callable[[], Awaitable[Any]]] = {
            "overview": self.overview,
            "graph": self.graph,
            "pipelines": self.pipelines,
            "devices": self.devices,
        }
        plain: dict[str, Callable[[], Awaitable[Any]]] = {
            "spool": self.spool,
            "alerts": self.alerts,
            "about": self.about,
        }
        verbs: dict[str, Verb] = {name: _verb(name, view) for name, view in plain.items()}
        for name, view in measured.items():
            verbs[name] = _measured(name, view)

        async def points(request: dict[str, Any]) -> dict[str, Any]:
            return {"points": await self.points(PointsQuery.of(request))}

        async def point(request: dict[str, Any]) -> dict[str, Any]:
            return {"point": await self.point(str(request.get("name", "")))}

        return verbs | {"points": points, "point": point, "live": self.live.live_verb}


def _verb(name: str, view: Callable[[], Awaitable[Any]]) -> Verb:
    async def verb(_request: dict[str, Any]) -> dict[str, Any]:
        return {name: await view()}

    return verb


def _measured(name: str, view: Callable[[], Awaitable[Any]]) -> Verb:
    async def verb(request: dict[str, Any]) -> dict[str, Any]:
        over_s = request.get("over_s", 0)
        if not isinstance(over_s, int | float) or not 0 <= over_s <= LONGEST_WAIT_S:
            raise OnpathError(f"over_s: seconds are wanted, {LONGEST_WAIT_S:g} at most")
        if over_s:
            await view()
            await asyncio.sleep(max(over_s, 1.0))
        return {name: await view()}

    return verb


def _rank(event: Event) -> int:
    return LEVELS.index(event.level) if event.level in LEVELS else 0


def _event(event: Event) -> EventRow:
    return {
        "number": event.number,
        "time_ms": event.time_ns // 1_000_000,
        "level": event.level,
        "source": event.source,
        "text": event.text,
    }
