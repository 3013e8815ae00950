"""``/api/config/...``: the configuration by HTTP. Who may call what is checked by whoever mounts these.

``ENDPOINTS`` says the role that each wants (``read`` or ``admin``) and the schemas for OpenAPI. The texts of files may
hold passwords, and a check expands ``${...}``: both are for ``admin`` only; ``read`` sees what holds, without secrets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.config.load import MAX_FILE
from gateway.editing.editor import ConflictError, RefusedError
from gateway.editing.files import BadRequestError, NotWritableError
from gateway.editing.overlay import row
from gateway.editing.verbs import (
    Apply,
    Confirm,
    Query,
    Rollback,
    T,
    Wanted,
    apply,
    effective,
    rollback,
)
from gateway.editing.versions import NoVersionError
from gateway.errors import ConfigError, OnpathError
from gateway.reload import Changes
from gateway.tasks import in_thread

if TYPE_CHECKING:
    from gateway.inside import Inside

MAX_BODY: Final = 2 * MAX_FILE
PREFIX: Final = "/api/config"

Answer = dict[str, Any] | list[dict[str, Any]]
Call = Callable[["Inside", Request], Awaitable[Answer]]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    path: str
    method: Literal["GET", "POST"]
    role: Literal["read", "admin"]
    changes: bool = False
    """Whether it changes anything."""
    summary: str
    call: Call
    body: type[msgspec.Struct] | None = None
    query: dict[str, dict[str, Any]] | None = None
    """JSON Schema by the name of a parameter."""
    answer: dict[str, Any]
    """JSON Schema."""


async def _body(request: Request, cls: type[T]) -> T:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise BadRequestError(f"more than {MAX_BODY >> 20} MiB")
    try:
        return msgspec.json.decode(bytes(data) or b"{}", type=cls)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequestError(str(error)) from None


def _who(request: Request) -> str:
    """Who has signed in, as the part that checks roles says."""
    return str(getattr(request.state, "who", "") or "console")


async def _current(inside: Inside, _request: Request) -> Answer:
    return await inside.editing.current()


async def _schema(_inside: Inside, _request: Request) -> Answer:
    from gateway.config.schema import schema

    return await in_thread(schema)


async def _check(inside: Inside, request: Request) -> Answer:
    return await inside.editing.check((await _body(request, Wanted)).pairs)


async def _diff(inside: Inside, request: Request) -> Answer:
    return await inside.editing.diff((await _body(request, Wanted)).pairs)


async def _apply(inside: Inside, request: Request) -> Answer:
    return await apply(inside.editing, await _body(request, Apply), _who(request))


async def _versions(inside: Inside, _request: Request) -> Answer:
    return await inside.editing.list_versions()


async def _version(inside: Inside, request: Request) -> Answer:
    try:
        number = int(request.query_params.get("version", ""))
    except ValueError:
        raise BadRequestError("version: a number is wanted") from None
    return await inside.editing.show_version(number)


async def _rollback(inside: Inside, request: Request) -> Answer:
    return await rollback(inside.editing, await _body(request, Rollback), _who(request))


async def _confirm(inside: Inside, request: Request) -> Answer:
    return await inside.editing.confirm(keep=(await _body(request, Confirm)).keep)


async def _effective(inside: Inside, request: Request) -> Answer:
    try:
        query = msgspec.convert(dict(request.query_params), Query, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequestError(str(error)) from None
    return await effective(inside, query)


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer"}
_FLAG: Final = {"type": "boolean"}
_FILES: Final = _list(_object(name=_TEXT, text=_TEXT))
_PROBLEMS: Final = _list(
    _object(file=_TEXT, line=_WHOLE, column=_WHOLE, path=_TEXT, message=_TEXT, severity={"enum": ["error", "warning"]})
)
_NAMES: Final = _object(added=_list(_TEXT), changed=_list(_TEXT), removed=_list(_TEXT))
_CHANGES: Final = _object(**{section.name: _NAMES for section in fields(Changes)})
_UNCONFIRMED: Final = {**_object(version=_WHOLE, remaining_s={"type": "number"}), "type": ["object", "null"]}
_DONE: Final = _object(version=_WHOLE, changes=_CHANGES, unconfirmed=_UNCONFIRMED)
_HEAD: Final = _object(
    version=_WHOLE, time_ms=_WHOLE, comment=_TEXT, by=_TEXT, hash=_TEXT, files=_list(_TEXT), running=_FLAG
)
_ROW: Final = _object(path=_TEXT, value={}, origin=_TEXT, kind=_TEXT)
_QUERY: Final = {"path": _TEXT, "defaults": _FLAG, "offset": _WHOLE, "limit": _WHOLE}
_CURRENT: Final = _object(
    path=_TEXT, folder=_FLAG, writable=_FLAG, why_not=_TEXT, instead=_TEXT, base=_TEXT, running=_FLAG,
    unconfirmed=_UNCONFIRMED, files=_FILES,
)  # fmt: skip

ENDPOINTS: Final = (
    Endpoint(
        path=PREFIX, method="GET", role="admin", call=_current, answer=_CURRENT,
        summary="The files of the configuration as they are on disk, and whether they can be changed from here.",
    ),
    Endpoint(
        path=f"{PREFIX}/schema", method="GET", role="read", call=_schema, answer={"type": "object"},
        summary="JSON Schema of a configuration, with all installed plug-ins.",
    ),
    Endpoint(
        path=f"{PREFIX}/check", method="POST", role="admin", call=_check, body=Wanted,
        answer=_object(problems=_PROBLEMS),
        summary="All problems of these files; nothing is written.",
    ),
    Endpoint(
        path=f"{PREFIX}/diff", method="POST", role="admin", call=_diff, body=Wanted,
        answer=_object(diff=_TEXT, changes={**_CHANGES, "type": ["object", "null"]}, problems=_PROBLEMS),
        summary="How these files differ from those on disk, and what a reload would touch.",
    ),
    Endpoint(
        path=f"{PREFIX}/apply", method="POST", role="admin", changes=True, call=_apply, body=Apply, answer=_DONE,
        summary="Write these files and reload; put the former ones back if that fails.",
    ),
    Endpoint(
        path=f"{PREFIX}/confirm", method="POST", role="admin", changes=True, call=_confirm, body=Confirm,
        answer=_object(version=_WHOLE, kept=_FLAG),
        summary="Keep a change that would be undone by itself, or take it back now.",
    ),
    Endpoint(
        path=f"{PREFIX}/versions", method="GET", role="read", call=_versions, answer=_list(_HEAD),
        summary="Versions of the configuration that have run, newest first.",
    ),
    Endpoint(
        path=f"{PREFIX}/version", method="GET", role="admin", call=_version, query={"version": _WHOLE},
        answer=_object(version=_WHOLE, files=_FILES),
        summary="The files of a version.",
    ),
    Endpoint(
        path=f"{PREFIX}/rollback", method="POST", role="admin", changes=True, call=_rollback, body=Rollback,
        answer=_DONE,
        summary="Bring a former version into effect again, as a version of its own.",
    ),
    Endpoint(
        path=f"{PREFIX}/effective", method="GET", role="read", call=_effective, query=_QUERY,
        answer=_object(total=_WHOLE, rows=_list(_ROW)),
        summary="What holds, value by value, and where each comes from; secrets are hidden.",
    ),
)  # fmt: skip


def routes(inside: Inside) -> list[Route]:
    """Ready to be mounted."""
    return [Route(one.path, _handler(inside, one), methods=[one.method]) for one in ENDPOINTS]


def _handler(inside: Inside, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            answer = await endpoint.call(inside, request)
        except OnpathError as error:
            status, body = failed(error)
            return JSONResponse(body, status)
        return JSONResponse(answer)

    return handle


def failed(error: OnpathError) -> tuple[int, dict[str, Any]]:
    """Status and body of an error."""
    body: dict[str, Any] = {"error": str(error).partition("\n")[0]}
    if isinstance(error, RefusedError):
        return 422, {"error": "the configuration is not usable; nothing was changed", "problems": error.rows}
    if isinstance(error, ConfigError):
        rows = [row(problem, "error") for problem in error.problems]
        return 422, {"error": "the configuration is not usable; the former one is back", "problems": rows}
    statuses: dict[type[OnpathError], int] = {
        ConflictError: 409,
        NoVersionError: 404,
        NotWritableError: 503,
        BadRequestError: 400,
    }
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), 503), body
