"""``onpath status`` and ``reload``: verbs that talk to the running daemon."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

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


def show_status(config: Path, state: Path | None, *, as_json: bool) -> None:
    """Print the daemon's counters."""
    answer = asyncio.run(ask(state or state_of(config), "status"))
    if not answer["ok"]:
        raise OnpathError(answer["error"])
    status = answer["status"]
    if as_json:
        print(json.dumps(status))
        return
    console = Console()
    console.print(
        f"{status['gateway']}  onpath {status['version']}  up {status['uptime_s']:.0f} s  {status['points']} points"
    )
    for table in (_adapters(status), _pipelines(status), _uplinks(status)):
        if table.row_count:
            console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _adapters(status: dict[str, Any]) -> Table:
    table = _table("adapters", "name", "link", "samples", "messages", "errors", "reasons")
    for name, row in status["adapters"].items():
        reasons = ", ".join(f"{reason} {count}" for reason, count in row["reasons"].items())
        table.add_row(name, row["link"], str(row["samples"]), str(row["messages"]), str(row["errors"]), reasons)
        for device, facts in row["devices"].items():
            detail = " ".join(f"{key}={value}" for key, value in facts.items() if key != "link" and value != "")
            table.add_row(f"  {device}", str(facts.get("link", "")), "", "", "", detail)
    return table


def _pipelines(status: dict[str, Any]) -> Table:
    columns = ("in", "out", "filtered", "aggregated", "dropped", "queued", "derived")
    table = _table("pipelines", "name", *columns)
    for name, row in status["pipelines"].items():
        table.add_row(name, *(str(row[column]) for column in columns))
        for step in row["steps"]:
            table.add_row(f"  {step['step']}", *(str(step[column]) for column in columns))
    return table


def _uplinks(status: dict[str, Any]) -> Table:
    table = _table(
        "uplinks",
        "name",
        "link",
        "sent",
        "acknowledged",
        "samples",
        "bytes",
        "spooled rows",
        "spooled bytes",
        "oldest",
        "lost",
    )
    for name, row in status["uplinks"].items():
        spool = row["spool"]
        table.add_row(
            name, row["link"], str(row["messages"]), str(row["acknowledged"]), str(row["samples"]),
            str(row["bytes"]), str(spool["rows"]), str(spool["bytes"]), f"{spool['oldest_s']:.1f} s",
            str(spool["lost"]),
        )  # fmt: skip
    return table
