"""The OpenAPI document, made of the same table that is served."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway import __version__
from gateway.config.describe import field_docs, one_line, summary
from gateway.console.table import Endpoint

_ERRORS: Final = {
    400: "The request is not what it should be.",
    401: "Nobody has signed in.",
    403: "This role may not do that, or the header X-Onpath is missing.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It does not fit what is there now.",
    413: "The body is too large.",
    422: "The configuration is not usable; ``problems`` says why.",
    429: "Too many wrong passwords; ``Retry-After`` says how long to wait.",
    503: "Not now.",
}
_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "description": "One line."},
        "problems": {"type": "array", "items": {"type": "object"}},
    },
}
_REF: Final = "#/components/schemas/{name}"


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1."""
    table = list(endpoints)
    types = [
        kind for one in table for kind in (one.body, one.answer) if kind is not None and not isinstance(kind, dict)
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for one in table:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "onpath",
            "version": __version__,
            "description": "Times ending in _ms are UTC milliseconds since 1970; rates ending in _s are per second.",
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "onpath console token NAME"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "onpath_session",
                    "description": "Set by POST /api/login. What changes something wants the header X-Onpath: 1, too.",
                },
            },
        },
    }


def _operation(one: Endpoint, by_type: dict[int, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{one.method.lower()}{one.path.replace('/', '_').replace('.', '_').replace('-', '_')}",
        "summary": one.summary,
        "responses": {"200": _done(one, by_type)},
    }
    operation["security"] = [] if one.role == "open" else [{"token": []}, {"session": []}]
    if one.role == "admin":
        operation["description"] = "For the role admin."
    if one.query is not None:
        operation["parameters"] = _parameters(one.query)
    if one.body is not None:
        schema = by_type[id(one.body)]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    for status in one.errors:
        if status == 503 and one.path in {"/health", "/ready"}:
            operation["responses"]["503"] = {**_done(one, by_type), "description": _ERRORS[503]}
            continue
        content = {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}
        operation["responses"][str(status)] = {"description": one_line(_ERRORS[status]), "content": content}
    return operation


def _done(one: Endpoint, by_type: dict[int, dict[str, Any]]) -> dict[str, Any]:
    if one.answer is None:
        schema: dict[str, Any] = {"type": "string"}
    elif isinstance(one.answer, dict):
        schema = one.answer
    else:
        schema = by_type[id(one.answer)]
    return {"description": "Done.", "content": {one.media: {"schema": schema}}}


def _parameters(query: type[msgspec.Struct] | dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(query, dict):
        return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in query.items()]
    (schema,), components = msgspec.json.schema_components([query], ref_template=_REF)
    own = components[query.__name__]
    docs = field_docs(query)
    del schema
    return [
        {
            "name": name,
            "in": "query",
            "required": name in own.get("required", []),
            "description": docs.get(name, summary(query)),
            "schema": {key: value for key, value in field.items() if key != "description"},
        }
        for name, field in own["properties"].items()
    ]
