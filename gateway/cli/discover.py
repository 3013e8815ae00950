"""``onpath discover``: what could be read and is not configured, and the YAML for what the user accepts."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.cli.state import state_of
from gateway.cli.write_yaml import add_to_file, as_yaml
from gateway.control import NotRunningError, ask
from gateway.discovery import Findings
from gateway.errors import ConfigError, OnpathError
from gateway.scan import scan

SHOWN_OFFERS = 4


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    config: Path
    state: Path | None
    targets: list[str]
    topics: list[str]
    for_s: float
    apply_to: Path | None
    accept: list[str]
    join: list[str]
    as_json: bool


def run_discover(request: Request) -> None:
    """Find, show, and write or join what is accepted."""
    rows = asyncio.run(_found(request))
    if request.join:
        _join(request, rows)
        return
    if request.as_json:
        print(json.dumps(rows))
    else:
        _show(rows)
    if request.apply_to is not None:
        accepted = _accepted(request, rows)
        if not accepted:
            print("nothing was accepted; nothing was written", file=sys.stderr)
            return
        written = add_to_file(request.apply_to, [row["config"] for row in accepted])
        names = ", ".join(row["device"] for row in accepted)
        print(f"{request.apply_to}: {names} written" if written else f"{request.apply_to}: has all of it already")


async def _found(request: Request) -> list[dict[str, Any]]:
    """Findings of the targets; without targets those of the running gateway."""
    if not request.targets:
        return await _of_daemon(request)
    found = await scan(request.targets, topics=request.topics, for_s=request.for_s)
    table = Findings()
    for finding in found:
        table.add("", finding, 0)
    return table.rows()


async def _of_daemon(request: Request) -> list[dict[str, Any]]:
    try:
        state = request.state or state_of(request.config)
        answer = await ask(state, "findings")
    except (NotRunningError, ConfigError) as error:
        raise OnpathError(
            f"{error}\nname what to look at instead: onpath discover tcp://HOST:502 coap://HOST mqtt://BROKER"
        ) from error
    if not answer["ok"]:
        raise OnpathError(answer["error"])
    rows: list[dict[str, Any]] = answer["findings"]
    return rows


def _show(rows: list[dict[str, Any]]) -> None:
    if not rows:
        print("nothing was found")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("#", "kind", "device", "address", "identity", "offers", ""):
        table.add_column(column, overflow="fold")
    for number, row in enumerate(rows, 1):
        state = "is read" if row["taken"] else "joined" if row["joined"] else "" if row["config"] else "needs you"
        more = len(row["offers"]) - SHOWN_OFFERS
        offers = ", ".join(row["offers"][:SHOWN_OFFERS]) + (f" and {more} more" if more > 0 else "")
        table.add_row(str(number), row["kind"], row["device"], row["address"], row["identity"], offers, state)
    Console().print(table)


def _accepted(request: Request, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those named by number, key or device; on a terminal, without names, those that are said yes to."""
    usable = [row for row in rows if row["config"]]
    if request.accept:
        return _chosen(request.accept, rows)
    if not sys.stdin.isatty():
        raise OnpathError("name what to write: --accept NUMBER, --accept DEVICE or --accept all")
    chosen = []
    for row in usable:
        print(f"\n{row['kind']} {row['address']} {row['identity']}\n{as_yaml(row['config'])}", end="")
        if input(f"write {row['device']} to {request.apply_to}? [y/N] ").strip().lower() in {"y", "yes"}:
            chosen.append(row)
    return chosen


def _chosen(words: list[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if words == ["all"]:
        return [row for row in rows if row["config"]]
    chosen = []
    for word in words:
        fitting = [row for number, row in enumerate(rows, 1) if word in {str(number), row["key"], row["device"]}]
        if not fitting:
            raise OnpathError(f"{word}: no finding has this number, device name or key")
        for row in fitting:
            if not row["config"]:
                raise OnpathError(f"{word}: what it needs is not known; write its block by hand")
        chosen += fitting
    return chosen


def _join(request: Request, rows: list[dict[str, Any]]) -> None:
    """Let the running gateway take what is named at once, without a file."""
    if request.targets:
        raise OnpathError("--join takes what the running gateway has found; with targets use --apply-to FILE")
    keys = [row["key"] for row in _chosen(request.join, rows)]
    answer = asyncio.run(ask(request.state or state_of(request.config), "accept", keys=keys))
    if not answer["ok"]:
        raise OnpathError(answer["error"])
    print(json.dumps(answer) if request.as_json else f"joined: {', '.join(answer['accepted']) or 'nothing'}")
