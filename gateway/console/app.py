"""The application: what is served where. One for as long as the console listens."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.console import doing, exporting, looking
from gateway.console.answers import ApiError, error, json, of_onpath
from gateway.console.asked import Asked
from gateway.console.guard import Guard
from gateway.console.guessing import Guessing
from gateway.console.openapi import document
from gateway.console.static_files import StaticFiles
from gateway.console.streams import Streams
from gateway.console.table import Endpoint
from gateway.errors import OnpathError
from gateway.store.reading import NoStateError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.console.access import Access
    from gateway.console.config import ConsoleConfig
    from gateway.console.sessions import Sessions
    from gateway.inside import Inside

READING = 2
"""Histories that are read at once."""


class Console:
    """What handlers share."""

    def __init__(self, inside: Inside, config: ConsoleConfig, access: Access, sessions: Sessions) -> None:
        self.inside = inside
        self.config = config
        self.access = access
        self.sessions = sessions
        self.streams = Streams()
        self.guessing = Guessing()
        self.turn = asyncio.Lock()
        """One password is hashed at a time."""
        self.verifying = 0
        self.reading = asyncio.Semaphore(READING)
        self.files = StaticFiles()
        endpoints = _endpoints(inside)
        self.table: dict[tuple[str, str], Endpoint] = {(one.method, one.path): one for one in endpoints}
        self._document: dict[str, Any] | None = None

    def stamp(self) -> str:
        """Changes with the password, and ends all sessions then."""
        if self.config.password:
            return hashlib.sha256(b"onpath" + self.config.password.encode()).hexdigest()
        return self.access.stamp()

    def secure(self, request: Request) -> bool:
        """Whether the browser speaks TLS to us, or to the proxy before us."""
        return request.url.scheme == "https"

    def app(self) -> ASGIApp:
        """Ready to be served."""
        routes = [Route(one.path, self._handler(one), methods=[one.method]) for one in self.table.values()]
        routes += [
            Route("/", self._page, methods=["GET"]),
            Route("/static/{path:path}", self._file, methods=["GET"]),
            Route("/favicon.ico", self._icon, methods=["GET"]),
        ]
        app = Starlette(
            routes=routes, exception_handlers={ApiError: _refused, HTTPException: _not_found, Exception: _defect}
        )
        return Guard(app, self)

    def _handler(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            if endpoint.route is not None:
                return await endpoint.route(request)
            assert endpoint.handle is not None
            try:
                answer = await endpoint.handle(await Asked.of(self, request, endpoint))
            except NoStateError as found:
                return await error(request, ApiError(503, str(found)))
            except OnpathError as found:
                return await error(request, of_onpath(found))
            return answer if isinstance(answer, Response) else await json(request, answer)

        return handle

    async def _page(self, request: Request) -> Response:
        scripts = await self.files.policy()
        policy = (
            f"default-src 'self'; script-src {scripts}; img-src 'self' data: blob:; object-src 'none'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        return await self.files.file(request, "index.html", {"content-security-policy": policy})

    async def _file(self, request: Request) -> Response:
        return await self.files.file(request, request.path_params["path"])

    async def _icon(self, request: Request) -> Response:
        return await self.files.file(request, "img/logo.svg")

    async def openapi(self) -> dict[str, Any]:
        """The document, made once, in a thread."""
        if self._document is None:
            self._document = await asyncio.to_thread(document, list(self.table.values()))
        return self._document


def _endpoints(inside: Inside) -> list[Endpoint]:
    """Ours, and those of other parts."""
    return [*looking.ENDPOINTS, *doing.ENDPOINTS, *exporting.ENDPOINTS, _OPENAPI, _METRICS, *_editing(inside)]


def _editing(inside: Inside) -> list[Endpoint]:
    from gateway.editing import routes as editing

    served = {route.path: route.endpoint for route in editing.routes(inside)}
    return [
        Endpoint(
            method=one.method,
            path=one.path,
            summary=one.summary,
            route=served[one.path],
            role=one.role,
            changes=one.path.endswith(("/apply", "/rollback", "/confirm")),
            query=one.query,
            body=one.body,
            answer=one.answer,
            errors=(400, 401, 403, 404, 409, 422, 503),
        )
        for one in editing.ENDPOINTS
    ]


async def _openapi(asked: Asked) -> dict[str, Any]:
    return await asked.console.openapi()


async def _metrics(asked: Asked) -> Response:
    from gateway.own.prometheus import render

    body, media = await render(asked.console.inside, asked.request.headers.get("accept", ""))
    return Response(body, headers={"content-type": media, "cache-control": "no-store"})


async def _refused(request: Request, found: Exception) -> Response:
    assert isinstance(found, ApiError)
    return await error(request, found)


async def _not_found(request: Request, found: Exception) -> Response:
    assert isinstance(found, HTTPException)
    text = {404: "there is no such page", 405: f"{request.method} is not possible here"}
    headers = dict(found.headers or {})
    return await error(request, ApiError(found.status_code, text.get(found.status_code, found.detail), headers=headers))


async def _defect(request: Request, _found: Exception) -> Response:
    """Ours; the log has it whole."""
    return await error(request, ApiError(500, "something went wrong in the gateway: its log says what"))


_OPENAPI = Endpoint(
    method="GET", path="/api/openapi.json", handle=_openapi, answer={"type": "object"}, summary="This document.",
)  # fmt: skip
_METRICS = Endpoint(
    method="GET", path="/metrics", handle=_metrics, media="text/plain", summary="All figures, for Prometheus.",
)  # fmt: skip
