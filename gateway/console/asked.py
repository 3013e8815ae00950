"""One request of the API as its handler sees it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request

from gateway.console.answers import ApiError

if TYPE_CHECKING:
    from gateway.console.app import Console
    from gateway.console.table import Endpoint

MAX_BODY: Final = 1 << 20
"""Bytes; what changes the configuration has a limit of its own."""
BODY_S: Final = 30.0
_CLOSE: Final = {"connection": "close"}
"""What was not read must not be taken for the next request."""


@dataclass(frozen=True)
class Asked:
    """A request, with what came with it checked."""

    console: Console
    request: Request
    query: Any
    body: Any

    @classmethod
    async def of(cls, console: Console, request: Request, endpoint: Endpoint) -> Asked:
        """Check query and body.

        Raises:
            ApiError: one of them is not what it should be.
        """
        query = _query(request, endpoint) if isinstance(endpoint.query, type) or endpoint.query is None else None
        body = await _body(request, endpoint.body) if endpoint.body is not None else None
        return cls(console, request, query, body)


def _query(request: Request, endpoint: Endpoint) -> Any:
    given = dict(request.query_params)
    if endpoint.query is None:
        if given:
            raise ApiError(400, f"{min(given)}: unknown parameter; there is none here")
        return None
    assert isinstance(endpoint.query, type)
    known = msgspec.structs.fields(endpoint.query)
    names = {one.encode_name for one in known}
    if unknown := given.keys() - names:
        raise ApiError(400, f"{min(unknown)}: unknown parameter; there is {', '.join(sorted(names))}")
    try:
        return msgspec.convert(given, endpoint.query, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(400, str(error)) from None


async def _body(request: Request, cls: type[msgspec.Struct]) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(400, "the body is to be JSON: send content-type: application/json")
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                data += piece
                if len(data) > MAX_BODY:
                    raise ApiError(
                        413, f"the body is larger than {MAX_BODY >> 20} MiB", headers={"connection": "close"}
                    )
    except TimeoutError:
        raise ApiError(408, "the body did not come in time", headers=_CLOSE) from None
    except ClientDisconnect:
        raise ApiError(400, "the body did not come whole") from None
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=cls)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, str(error)) from None
