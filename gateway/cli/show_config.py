"""``onpath show-config``: what holds and where each value comes from, of files or of the running gateway."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.config.emit import path_filter
from gateway.config.lenient import LenientExpander
from gateway.config.load import load_checked
from gateway.config.origins import Kind, Row, effective, rows
from gateway.control import ask
from gateway.editing.change import state_folder
from gateway.editing.effective import LIMIT, printed
from gateway.errors import OnpathError


@dataclass(frozen=True)
class Request:
    """What is wanted."""

    config: Path
    state: Path | None
    glob: str
    running: bool
    defaults: bool
    origins: bool
    as_json: bool


def show(request: Request) -> None:
    """Print YAML, or for machines the rows.

    Raises:
        ConfigError: the files cannot be used.
        OnpathError: nothing fits the glob, or no daemon answers.
    """
    if request.running:
        text, found = asyncio.run(_of_daemon(request))
    else:
        text, found = _of_files(request)
    if not (found if request.as_json else text):
        raise OnpathError(f"nothing in the configuration fits {request.glob!r}; write uplinks.* or store, for example")
    print(json.dumps(found) if request.as_json else text, end="\n" if request.as_json else "")


def _of_files(request: Request) -> tuple[str, list[dict[str, Any]]]:
    expander = LenientExpander(os.environ)
    loaded = load_checked(request.config, os.environ, expander)
    for name in expander.missing:
        print(f"credential {name} is not to be had here; what it decides is not known", file=sys.stderr)
    shown = effective(loaded.config, loaded.root)
    if not request.as_json:
        return printed(shown, request.glob, defaults=request.defaults, origins=request.origins), []
    fits = path_filter(request.glob) if request.glob else lambda _path: True

    def wanted(row: Row) -> bool:
        return fits(row.path) and (request.defaults or row.leaf.origin.kind is not Kind.DEFAULT)

    return "", [row.as_dict() for row in rows(shown) if wanted(row)]


async def _of_daemon(request: Request) -> tuple[str, list[dict[str, Any]]]:
    state = request.state or state_folder(request.config, os.environ)
    wanted = {"path": request.glob, "defaults": request.defaults, "origins": request.origins}
    if not request.as_json:
        return (await _asked(state, "effective-yaml", **wanted))["yaml"], []
    found: list[dict[str, Any]] = []
    while True:
        answer = await _asked(state, "effective", offset=len(found), limit=LIMIT, **wanted)
        found += answer["rows"]
        if len(found) >= answer["total"] or not answer["rows"]:
            return "", found


async def _asked(state: Path, verb: str, **fields: Any) -> dict[str, Any]:
    answer = await ask(state, verb, **fields)
    if not answer["ok"]:
        raise OnpathError(answer["error"])
    return answer
