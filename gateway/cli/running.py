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
    for line in _troubles(status):
        console.print(line, style="bold red", markup=False)
    for table in (_adapters(status), _pipelines(status), _uplinks(status), _spool(status)):
        if table.row_count:
            console.print(table)


def _troubles(status: dict[str, Any]) -> list[str]:
    """What a person should know before all figures."""
    store, clock = status["store"], status["clock"]
    lines = []
    if not store["healthy"]:
        why = store["detail"] or "a commit is overdue"
        lines.append(f"the store fails since {store['failing_s']:.0f} s: {why}; {store['waiting']} samples wait")
    if store.get("salvaged"):
        lines.append(f"the store was damaged and saved: {store['salvaged']['reason'].splitlines()[-1]}")
    if not clock["trusted"]:
        lines.append("the clock is in doubt: it is not synchronised")
    return lines


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
    table = _table("uplinks", "name", "link", "sent", "acknowledged", "samples", "bytes", "budget")
    for name, row in status["uplinks"].items():
        numbers = [str(row[key]) for key in ("messages", "acknowledged", "samples", "bytes")]
        table.add_row(name, row["link"], *numbers, _budget(row["lanes"]["budget"]))
    return table


def _spool(status: dict[str, Any]) -> Table:
    """What waits before the uplinks; a table of its own, because a terminal is 80 characters wide."""
    table = _table("waiting", "uplink", "rows", "samples", "bytes", "oldest", "lost", "thinned", "backlog/s")
    for name, row in status["uplinks"].items():
        spool, lanes = row["spool"], row["lanes"]
        rate = f"{lanes['backlog_rate']:g}" if lanes["behind"] else ""
        table.add_row(name, *_waiting(spool), str(spool["lost"]), str(spool["thinned"]), rate)
        if len(spool["pipelines"]) > 1:
            for pipeline, part in spool["pipelines"].items():
                table.add_row(f"  {pipeline}", *_waiting(part))
    return table


def _waiting(part: dict[str, Any]) -> list[str]:
    return [*(str(part[key]) for key in ("rows", "samples", "bytes")), f"{part['oldest_s']:.1f} s"]


def _budget(budget: dict[str, Any] | None) -> str:
    if budget is None:
        return ""
    part = 100 * budget["spent"] / budget["size"]
    return f"{part:.1f} % of {budget['size'] / 1e6:g} MB" + (" (spent)" if budget["exhausted"] else "")
