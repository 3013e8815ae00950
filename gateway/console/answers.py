"""Answers of the API: JSON, errors, files that are streamed."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import ConfigError, OnpathError

LEAST_ZIPPED: Final = 2048
"""Bytes from which on an answer is compressed for who can take it."""
IN_THREAD: Final = 1 << 17
"""Bytes from which on that is done in a thread."""

_encode = msgspec.json.Encoder().encode


class ApiError(Exception):
    """What is answered instead: a status and one line."""

    def __init__(self, status: int, text: str, *, headers: dict[str, str] | None = None, **facts: Any) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}
        self.facts = facts
        """More to say, beside ``error``."""


def takes_gzip(request: Request) -> bool:
    """Whether the other side can take a compressed answer."""
    words = [word.split(";") for word in request.headers.get("accept-encoding", "").lower().split(",")]
    return any(word[0].strip() == "gzip" and "q=0" not in [part.strip() for part in word[1:]] for word in words)


async def json(request: Request, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Plain JSON types; NaN and infinity become null."""
    body = _encode(content)
    sent = {"cache-control": "no-store", "vary": "accept-encoding", **(headers or {})}
    if len(body) >= LEAST_ZIPPED and takes_gzip(request):
        sent["content-encoding"] = "gzip"
        if len(body) >= IN_THREAD:
            body = await asyncio.to_thread(gzip.compress, body, 1)
        else:
            body = gzip.compress(body, 1)
    return Response(body, status, sent, media_type="application/json")


async def error(request: Request, found: ApiError) -> Response:
    """``{"error": "one line", ...}``."""
    return await json(request, {"error": str(found), **found.facts}, found.status, found.headers)


def of_onpath(found: OnpathError) -> ApiError:
    """What the gateway itself refuses."""
    if isinstance(found, ConfigError):
        problems = [
            {field: getattr(problem, field) for field in ("file", "line", "column", "path", "message")}
            for problem in found.problems
        ]
        return ApiError(422, "the configuration is not usable", problems=problems)
    return ApiError(400, str(found))
