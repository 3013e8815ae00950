"""``onpath reload`` and ``bound``: verbs that change the running daemon."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from gateway.cli.state import state_of
from gateway.control import ask
from gateway.errors import OnpathError
from pipelines.bounds import Bound


def reload_gateway(config: Path, state: Path | None, *, as_json: bool) -> None:
    """Ask for a reload; print what changed, or every problem."""
    answer = asyncio.run(ask(state or state_of(config), "reload"))
    if as_json:
        print(json.dumps(answer))
    elif answer["ok"]:
        lines = [
            f"{section}: {kind} {', '.join(names)}"
            for section, kinds in answer["reload"].items()
            for kind, names in kinds.items()
            if names
        ]
        print("\n".join(lines) or "nothing changed")
    else:
        print("nothing was changed:", file=sys.stderr)
        print("\n".join(answer["problems"]) or answer["error"], file=sys.stderr)
    if not answer["ok"]:
        sys.exit(answer.get("exit_code", 1))


def set_bound(config: Path, state: Path | None, pipeline: str, step: str, value: str, *, as_json: bool) -> None:
    """Change a step's error bound; prints what it was and is."""
    request = {"pipeline": pipeline, "step": step, "bound": value if value.endswith("%") else _number(value)}
    answer = asyncio.run(ask(state or state_of(config), "bound", **request))
    if not answer["ok"]:
        raise OnpathError(answer["error"])
    if as_json:
        print(json.dumps(answer))
    else:
        print(f"{pipeline} {step}: {Bound(**answer['before'])} -> {Bound(**answer['bound'])}")


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
