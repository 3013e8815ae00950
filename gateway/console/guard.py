"""What stands before every request: is the Host ours, who asks, what may that one; and what browsers are told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.console.access import Role
from gateway.console.answers import ApiError, error
from gateway.console.config import LOCAL
from gateway.console.doing import COOKIE

if TYPE_CHECKING:
    from gateway.console.app import Console
    from gateway.console.table import Endpoint

log = logging.getLogger(__name__)

_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=()",
}
_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
"""For everything but the page itself."""


class Guard:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, console: Console) -> None:
        self._app = app
        self._console = console

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through what may, with headers added; answer the rest."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", _POLICY)
                if scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        try:
            self._check(request)
            await self._app(scope, receive, with_headers)
        except ApiError as found:
            if begun:
                raise
            await (await error(request, found))(scope, receive, with_headers)

    def _check(self, request: Request) -> None:
        """Say who asks in ``request.state.role`` and ``.who``.

        Raises:
            ApiError: that one may not.
        """
        self._check_host(request)
        endpoint = self._console.table.get(("GET" if request.method == "HEAD" else request.method, request.url.path))
        role, who, by_cookie = self._identity(request)
        request.state.role, request.state.who = role, who
        allowed = self._allowed(request, endpoint)
        if allowed == "open":
            return
        if role is None:
            raise ApiError(401, "sign in first, or send a token", headers={"www-authenticate": 'Bearer realm="onpath"'})
        if by_cookie and request.method not in {"GET", "HEAD"} and request.headers.get("x-onpath") != "1":
            raise ApiError(403, "the header X-Onpath: 1 is missing")
        if allowed == "admin" and role is not Role.ADMIN:
            raise ApiError(403, "that is for the role admin")
        if endpoint is not None and endpoint.changes and self._console.config.read_only:
            raise ApiError(403, "the console is read-only: the configuration says so")

    def _allowed(self, request: Request, endpoint: Endpoint | None) -> str:
        path = request.url.path
        if path == "/metrics" and self._console.config.metrics == "open":
            return "open"
        if endpoint is not None:
            return endpoint.role
        if not path.startswith("/api/"):
            return "open"  # files of the package, or nothing at all
        return "read" if request.method in {"GET", "HEAD"} else "admin"

    def _check_host(self, request: Request) -> None:
        """A page of somebody else may have its name point here (DNS rebinding): it is not ours."""
        config = self._console.config
        host = request.headers.get("host", "").lower()
        name = host.rpartition("]")[0].strip("[]") if host.startswith("[") else host.partition(":")[0]
        known = {*(one.lower() for one in config.hosts), *LOCAL}
        if (config.hosts or config.host in LOCAL) and name not in known:
            raise ApiError(403, f"{name[:100] or 'no host'}: not a name of this console; console.hosts may list it")

    def _identity(self, request: Request) -> tuple[Role | None, str, bool]:
        """Role, name, and whether a cookie says so."""
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            found = self._console.access.token(text.strip())
            return (found[1], f"token {found[0]}", False) if found is not None else (None, "", False)
        secret = request.cookies.get(COOKIE)
        session = self._console.sessions.find(secret, self._console.stamp()) if secret else None
        return (session.role, "console", True) if session is not None else (None, "", False)
