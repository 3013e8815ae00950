"""The API as one table: what is served, who may ask, and what OpenAPI says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.console.asked import Asked

Allowed = Literal["open", "read", "admin"]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: Literal["GET", "POST"]
    path: str
    summary: str
    handle: Callable[[Asked], Awaitable[Any]] | None = None
    """Gives plain JSON types or a response; None: ``route`` serves it."""
    route: Callable[[Request], Awaitable[Response]] | None = None
    """A handler that another part brings."""
    role: Allowed = "read"
    changes: bool = False
    """Whether it changes anything: not where the console is read-only."""
    query: type[msgspec.Struct] | dict[str, dict[str, Any]] | None = None
    """A struct, or JSON Schema by the name of a parameter."""
    body: type[msgspec.Struct] | None = None
    answer: Any = None
    """A type, or a JSON Schema as a dict."""
    media: str = "application/json"
    errors: tuple[int, ...] = field(default=(400, 401, 403))
    """Statuses that it may answer with besides."""
