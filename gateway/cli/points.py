"""``onpath points``: the points of the running gateway with their latest values."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.cli.figures import count, moment, span
from gateway.cli.printing import lines_of, room, show, styled
from gateway.cli.top_table import Cell, Column, Row, Spans, Table, clipped
from gateway.cli.top_views import facts
from gateway.control import NotRunningError, ask, follow
from gateway.errors import OnpathError

TONES: Final = {"good": "good", "questionable": "warn", "invalid": "bad"}
PAGE: Final = 1000
"""Rows that the gateway gives at once, at most."""
COLUMNS: Final = (
    Column("point", widest=44), Column("value", right=True, widest=20), Column("unit", widest=12, rank=1),
    Column("quality", widest=40), Column("age", right=True), Column("adapter", rank=2, flexible=True),
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    state: Path
    words: str
    quality: str
    device: str
    stale: bool
    sort: str
    descending: bool
    limit: int
    watch: bool
    for_s: float | None
    as_json: bool

    def query(self, offset: int = 0) -> dict[str, Any]:
        """As the gateway takes it, for the page behind ``offset``."""
        return {
            "q": self.words, "quality": self.quality, "device": self.device, "state": "stale" if self.stale else "",
            "sort": self.sort, "descending": self.descending, "offset": offset,
            "limit": min(PAGE, self.limit - offset),
        }  # fmt: skip


def show_points(request: Request) -> None:
    """Print them once, or go on with what changes.

    Raises:
        NotRunningError: nobody answers.
        OnpathError: the gateway refuses, with its words.
    """
    if not request.watch:
        asyncio.run(_print(request))
        return
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(request))


async def _print(request: Request) -> None:
    found = await _found(request)
    if request.as_json:
        print(json.dumps(found))
        return
    rows = found["rows"]
    show(lines_of(table(rows)))
    if len(rows) < found["matched"]:
        sys.stdout.flush()
        print(f"{len(rows):,} of {found['matched']:,} points; --limit shows more", file=sys.stderr)


async def _found(request: Request) -> dict[str, Any]:
    """As many pages as it takes."""
    found: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    while not found or (len(rows) < min(request.limit, found["matched"]) and found["rows"]):
        answer = await ask(request.state, "points", **request.query(len(rows)))
        if not answer["ok"]:
            raise OnpathError(answer["error"])
        found = answer["points"]
        rows += found["rows"]
    return found | {"rows": rows}


def table(rows: list[dict[str, Any]]) -> Table:
    """A line a point."""
    return Table(COLUMNS, tuple(map(_row, rows)), "no point fits")


def _row(row: dict[str, Any]) -> Row:
    words = [row["validity"] or "nothing came yet", *row["flags"], *([row["reason"]] if row["reason"] else [])]
    return Row(
        (
            Cell(row["name"]), Cell(shown(row), "bold"), Cell(row["unit"], "dim"),
            Cell(", ".join(words), TONES.get(row["validity"], "dim")),
            Cell("" if row["age_s"] is None else span(max(0.0, row["age_s"]))), Cell(row["adapter"] or "", "dim"),
        ),
        facts(row),
    )  # fmt: skip


def shown(row: dict[str, Any]) -> str:
    """A state's text, or the value as it was read."""
    return row["text"] or ("-" if row["value"] is None else f"{row['value']:.10g}")


async def _watch(request: Request) -> None:
    """On a terminal the table, in place; elsewhere a line a change."""
    found = await _found(request)
    rows = {row["id"]: row for row in found["rows"]}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(request.for_s):
            if sys.stdout.isatty() and not request.as_json:
                await _in_place(request.state, rows)
            else:
                await _lines(request.state, rows, as_json=request.as_json)


async def _lines(state: Path, rows: dict[int, dict[str, Any]], *, as_json: bool) -> None:
    async with contextlib.aclosing(follow(state, "live", topics=["points"], points=list(rows))) as answers:
        async for answer in answers:
            for row in _changed(rows, answer["data"]["rows"]):
                if as_json:
                    print(json.dumps(row))
                else:
                    print(f"{moment(row['time_ms'])}  {row['name']}  {shown(row)} {row['unit']}".rstrip())
            sys.stdout.flush()
    raise NotRunningError("the gateway went away")


def _changed(rows: dict[int, dict[str, Any]], news: list[list[Any]]) -> list[dict[str, Any]]:
    """Take in ``[id, value, text, time_ms, quality, reason]``."""
    from gateway import quality as q

    for point, value, text, time_ms, word, reason in news:
        validity, *flags = q.to_text(word).split(",")
        rows[point] |= {
            "value": value, "text": text, "time_ms": time_ms, "quality": word, "validity": validity, "flags": flags,
            "reason": reason, "age_s": max(0.0, time.time() - time_ms / 1000),
        }  # fmt: skip
    return [rows[point] for point, *_ in news]


async def _in_place(state: Path, rows: dict[int, dict[str, Any]]) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False, screen=True) as live:
        async with contextlib.aclosing(follow(state, "live", topics=["overview", "points"], points=list(rows))) as seen:
            async for answer in seen:
                if answer["topic"] == "points":
                    _changed(rows, answer["data"]["rows"])
                    continue
                lines = _picture(rows, live.console.size.height)
                live.update(Group(*map(styled, lines)), refresh=True)
    raise NotRunningError("the gateway went away")


def _picture(rows: dict[int, dict[str, Any]], height: int) -> list[Spans]:
    now_s = time.time()
    for row in rows.values():
        if row["time_ms"] is not None:
            row["age_s"] = max(0.0, now_s - row["time_ms"] / 1000)
    lines = lines_of(table(list(rows.values())))
    cut = len(lines) - height + 1
    note = f"{count(cut)} more below; name fewer" if cut > 0 else "Ctrl-C ends it"
    return [clipped(line, room() or 80) for line in (*lines[: height - 1], [(note, "dim")])]
