"""What is only looked at: the views by HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from starlette.responses import Response

from gateway import __version__
from gateway.console.answers import ApiError
from gateway.console.streams import event
from gateway.console.table import Endpoint
from gateway.errors import OnpathError
from gateway.view import shapes
from gateway.view.health import health, ready
from gateway.view.live import TOPICS
from gateway.view.plan import plan
from gateway.view.points import PointsQuery

if TYPE_CHECKING:
    from gateway.console.asked import Asked

Number = Annotated[int, msgspec.Meta(ge=0)]


class PointQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which point."""

    name: str
    """Its name, such as ``m1/power``."""


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of the log."""

    after: Number = 0
    """Only those with a higher number."""
    level: Literal["debug", "info", "warning", "error", "critical"] = "debug"
    """Only those, and more important ones."""
    limit: Annotated[int, msgspec.Meta(ge=0, le=2000)] = 500
    """The newest so many."""


class RejectedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which rejected wire units."""

    after: Number = 0
    """Only those with a higher number."""


class PlanQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Whose plan."""

    adapter: str
    """The adapter's name."""


class LiveQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to follow."""

    topics: str
    """Topics, separated by commas."""
    points: str = ""
    """Ids of points, separated by commas, for the topic ``points``."""


class TapQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which samples to watch go by."""

    globs: str = "**"
    """Globs of points, separated by commas."""
    after: str = ""
    """Behind which step: ``live/deadband``, or with its number from 0, ``live/1``."""
    made: bool = True
    """With what pipelines made."""
    time: Literal["rfc3339", "ns"] = "rfc3339"
    """How times are written."""


async def session(asked: Asked) -> shapes.SessionRow:
    """Who asks."""
    inside = asked.console.inside
    return {
        "role": asked.request.state.role.value,
        "gateway": inside.config.gateway,
        "version": __version__,
        "read_only": asked.console.config.read_only,
    }


async def healthy(asked: Asked) -> Response:
    """For a load balancer or a watchdog: 503 when failing. Reasons are for those who have signed in."""
    state, reasons = health(asked.console.inside)
    content: dict[str, Any] = {"health": state}
    if asked.request.state.role is not None:
        content["reasons"] = reasons
    return _plain(content, 503 if state == "failing" else 200)


async def is_ready(asked: Asked) -> Response:
    """Whether it takes input."""
    why = ready(asked.console.inside)
    return _plain({"ready": not why}, 503 if why else 200)


def _plain(content: dict[str, Any], status: int) -> Response:
    body = msgspec.json.encode(content)
    return Response(body, status, {"cache-control": "no-store"}, media_type="application/json")


async def point(asked: Asked) -> shapes.PointView:
    """All about one point."""
    try:
        return await asked.console.inside.views.point(asked.query.name)
    except OnpathError as error:
        raise ApiError(404, str(error)) from None


async def plan_of(asked: Asked) -> shapes.PlanView:
    """What an adapter asks of its devices."""
    try:
        return plan(asked.console.inside, asked.query.adapter)
    except OnpathError as error:
        raise ApiError(404, str(error)) from None


async def live(asked: Asked) -> Response:
    """Follow topics."""
    topics = set(_split(asked.query.topics))
    try:
        points = [int(text) for text in _split(asked.query.points)]
    except ValueError:
        raise ApiError(400, "points: ids of points are wanted, separated by commas") from None
    if not topics:
        raise ApiError(400, f"topics: at least one of {', '.join(sorted(TOPICS))} is wanted")
    views = asked.console.inside.views

    async def events() -> AsyncGenerator[bytes, None]:
        following = views.live.follow(topics, points)
        try:
            async for topic, payload in following:
                yield event(topic, payload)
        finally:
            await following.aclose()

    return asked.console.streams.response(events())


async def tap(asked: Asked) -> Response:
    """Watch samples go by."""
    query = asked.query
    request = {"globs": _split(query.globs) or ["**"], "made": query.made, "time": query.time}
    if query.after:
        request["after"] = query.after

    async def events() -> AsyncGenerator[bytes, None]:
        tapping = asked.console.inside.taps.tap_verb(request)
        try:
            async for news in tapping:
                yield b"data: %s\n\n" % msgspec.json.encode(news)
        finally:
            await tapping.aclose()

    return asked.console.streams.response(events())


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _view(path: str, name: str, answer: Any, summary: str) -> Endpoint:
    async def handle(asked: Asked) -> Any:
        return await getattr(asked.console.inside.views, name)()

    return Endpoint(method="GET", path=path, handle=handle, answer=answer, summary=summary)


async def _status(asked: Asked) -> dict[str, Any]:
    return await asked.console.inside.status()


async def _points(asked: Asked) -> shapes.PointsView:
    return await asked.console.inside.views.points(asked.query)


async def _events(asked: Asked) -> shapes.EventsView:
    query = asked.query
    return asked.console.inside.views.events(query.after, query.level, query.limit)


async def _rejected(asked: Asked) -> shapes.RejectedView:
    return asked.console.inside.views.rejected(asked.query.after)


_STREAM = "text/event-stream"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET", path="/health", role="open", handle=healthy, answer=shapes.HealthRow, errors=(503,),
        summary="Whether all is well: 503 when nothing can be made durable.",
    ),
    Endpoint(
        method="GET", path="/ready", role="open", handle=is_ready, answer=shapes.ReadyRow, errors=(503,),
        summary="Whether samples are taken in: 503 if not.",
    ),
    Endpoint(method="GET", path="/api/session", handle=session, answer=shapes.SessionRow, summary="Who has signed in."),
    _view("/api/overview", "overview", shapes.Overview, "The whole gateway at a glance."),
    _view("/api/graph", "graph", shapes.GraphView, "Adapters, pipelines and uplinks, and what flows between them."),
    _view("/api/pipelines", "pipelines", shapes.PipelinesView, "Pipelines with their steps."),
    _view("/api/devices", "devices", shapes.DevicesView, "Devices of all adapters."),
    _view("/api/spool", "spool", shapes.SpoolView, "What waits before the uplinks, and what was lost."),
    _view("/api/findings", "findings", shapes.FindingsView, "What was found and is not configured."),
    _view("/api/alerts", "alerts", shapes.AlertsView, "Rules, what they say now, and what they said."),
    _view("/api/about", "about", shapes.About, "Versions, plug-ins and licences."),
    Endpoint(
        method="GET", path="/api/status", handle=_status, answer=dict[str, Any],
        summary="All counters, as onpath status --json prints them.",
    ),
    Endpoint(
        method="GET", path="/api/points", handle=_points, query=PointsQuery, answer=shapes.PointsView,
        summary="A page of points: searched, filtered, ordered.",
    ),
    Endpoint(
        method="GET", path="/api/point", handle=point, query=PointQuery, answer=shapes.PointView,
        errors=(400, 401, 404), summary="All about one point.",
    ),
    Endpoint(
        method="GET", path="/api/events", handle=_events, query=EventsQuery, answer=shapes.EventsView,
        summary="The newest lines of the log.",
    ),
    Endpoint(
        method="GET", path="/api/rejected", handle=_rejected, query=RejectedQuery, answer=shapes.RejectedView,
        summary="The newest wire units that adapters could not use.",
    ),
    Endpoint(
        method="GET", path="/api/plan", handle=plan_of, query=PlanQuery, answer=shapes.PlanView,
        errors=(400, 401, 404), summary="What a running adapter asks of its devices.",
    ),
    Endpoint(
        method="GET", path="/api/live", handle=live, query=LiveQuery, media=_STREAM, errors=(400, 401, 503),
        summary="Server-sent events: each topic at once, and again when it has changed, once a second at most.",
    ),
    Endpoint(
        method="GET", path="/api/tap", handle=tap, query=TapQuery, media=_STREAM, errors=(400, 401, 503),
        summary="Server-sent events: samples as they go by.",
    ),
)  # fmt: skip
