"""``onpath spool status`` and ``verify``: both read the state folder, whether or not a daemon runs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.cli.moments import age
from gateway.control import NotRunningError, ask
from gateway.store.checking import Checked, check_store
from gateway.store.config import SpoolConfig
from gateway.store.database import get_meta, rows_of
from gateway.store.reading import Reader, reading
from gateway.store.spool import Spool


def show_status(state: Path, *, as_json: bool) -> None:
    """Print what waits for each uplink, and for each pipeline of it.

    Raises:
        OnpathError: there is no state folder, or it cannot be read.
    """
    with Reader(state) as reader, reading():
        found = _status(reader)
    running = asyncio.run(_links(state))
    result = {"running": running is not None, "uplinks": found}
    for name, link in (running or {}).items():
        found.setdefault(name, _nothing())["link"] = link
    if as_json:
        print(json.dumps(result))
        return
    print("the gateway runs" if running is not None else "no gateway runs: nothing is sent")
    if not any(one["pipelines"] or one["untold"] for one in found.values()):
        print("nothing waits")
        return
    Console().print(_table(found))
    for name, one in found.items():
        for loss in one["untold"]:
            print(f"{name}: {loss['count']:,} samples of {loss['pipeline']} were lost ({loss['reason']}), not told yet")


def _nothing() -> dict[str, Any]:
    return {"rows": 0, "bytes": 0, "samples": 0, "oldest_ns": None, "kept_bytes": 0, "pipelines": {}, "untold": []}


def _status(reader: Reader) -> dict[str, dict[str, Any]]:
    spool = Spool(reader.db, SpoolConfig(), get_meta(reader.db, "epoch", 0))
    spool.load()
    found = {
        name: _nothing() | {key: value for key, value in one.items() if key not in {"lost", "thinned"}}
        for name, one in spool.status().items()
    }
    query = "SELECT uplink, pipeline, reason, first_ns, last_ns, count FROM loss ORDER BY uplink, pipeline"
    for uplink, *rest in rows_of(reader.db, query):
        loss = dict(zip(("pipeline", "reason", "first_ns", "last_ns", "count"), rest, strict=True))
        found.setdefault(uplink, _nothing())["untold"].append(loss)
    return found


async def _links(state: Path) -> dict[str, str] | None:
    """Each uplink's link, or None if no daemon runs."""
    try:
        answer = await ask(state, "status")
    except NotRunningError:
        return None
    return {name: uplink["link"] for name, uplink in answer["status"]["uplinks"].items()}


def _table(found: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(("uplink", "link", "rows", "samples", "bytes", "oldest", "kept bytes")):
        table.add_column(column, justify="left" if number < 2 else "right")
    now_ns = time.time_ns()
    for name, one in sorted(found.items()):
        table.add_row(name, one.get("link", ""), *_cells(one, now_ns), f"{one['kept_bytes']:,}")
        for pipeline, part in sorted(one["pipelines"].items()):
            table.add_row(f"  {pipeline}", "", *_cells(part, now_ns), "")
    return table


def _cells(part: dict[str, Any], now_ns: int) -> tuple[str, str, str, str]:
    oldest = age(part["oldest_ns"], now_ns) if part["oldest_ns"] else ""
    return f"{part['rows']:,}", f"{part['samples']:,}", f"{part['bytes']:,}", oldest


def verify_store(state: Path, *, as_json: bool) -> None:
    """Check everything and print what was found; ends with 1 if something is damaged.

    Raises:
        OnpathError: there is no state folder, or it cannot be read.
    """
    with Reader(state) as reader:
        found: list[Checked] = []
        for one in check_store(reader):
            found.append(one)
            if not as_json:
                _tell(one)
    damaged = sum(one.damaged for one in found)
    if as_json:
        print(json.dumps({"ok": not damaged, "damaged": damaged, "parts": [dataclasses.asdict(one) for one in found]}))
    else:
        print("all is well" if not damaged else f"{damaged:,} damaged")
    if damaged:
        sys.exit(1)


def _tell(one: Checked) -> None:
    what = f"{one.rows:,} {'pages' if one.part == 'file' else 'rows'}, {one.bytes:,} bytes"
    samples = f", {one.samples:,} samples" if one.samples else ""
    print(f"{one.part:<11} {what}{samples}{f', {one.damaged:,} DAMAGED' if one.damaged else ''}", flush=True)
    for text in one.where:
        print(f"    {text}")
    if one.damaged > len(one.where):
        print(f"    and {one.damaged - len(one.where):,} more")
