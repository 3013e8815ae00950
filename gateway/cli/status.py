"""``onpath status``: what a person should know first, then what the running gateway has counted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.cli.figures import begins, count, size, span
from gateway.cli.printing import lines_of, show
from gateway.cli.top_table import Cell, Column, Row, Spans, Table
from gateway.cli.top_views import TONES, alerts, budget, number, word
from gateway.control import ask
from gateway.errors import OnpathError
from gateway.network.names import is_network

SHOWN: Final = 10
"""Devices of an adapter that are shown; onpath top and --json have all."""
FACTS: Final = 4
"""Facts of a device that are shown beside its state."""

REMEDIES: Final = (
    (r"^uplink .* is down", "what waits is safe on disk; onpath doctor looks at the way there"),
    (r"^adapter .* is down", "onpath doctor looks at its address; onpath events says when it went"),
    (r"^adapter .*: .* (down|stale)", "look at power, cable, address; onpath modbus and coap ask one device"),
    (r"^the store fails|^a commit is overdue|disk", "look at the disk under the state folder: df -h, dmesg"),
    (r"^the queue of an uplink is full", "look at the way upstream; or give it a larger spool, or another rule"),
    (r"clock", "give it a time source: timedatectl, chrony"),
    (r"broker", "look whether another broker has its port: ss -ltnp"),
    (r"^pipeline .*: step", "onpath events has the error; onpath simulate shows it without the gateway"),
)  # fmt: skip
"""What to look at, by what the reason says."""


def show_status(where: Path, *, as_json: bool) -> None:
    """Print it.

    Raises:
        NotRunningError: nobody answers.
    """
    status, overview, raised = asyncio.run(_asked(where))
    if as_json:
        print(json.dumps(status | {"health": overview["health"], "reasons": overview["reasons"]}))
        return
    lines = [*_head(status, overview), *_troubles(status)]
    if raised["active"]:
        lines += lines_of(alerts({"alerts": raised | {"recent": []}}), "alerts")
    lines += _network(status.get("network"))
    lines += lines_of(_adapters(status), "adapters")
    lines += _pipelines(status)
    lines += lines_of(_uplinks(status), "uplinks")
    show(lines)


async def _asked(where: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    answers = [await ask(where, verb) for verb in ("status", "overview", "alerts")]
    for answer in answers:
        if not answer["ok"]:
            raise OnpathError(answer["error"])
    return answers[0]["status"], answers[1]["overview"], answers[2]["alerts"]


def remedy(reason: str) -> str:
    """What to look at; empty if nobody knows."""
    return next((hint for pattern, hint in REMEDIES if re.search(pattern, reason)), "")


def _head(status: Mapping[str, Any], overview: Mapping[str, Any]) -> list[Spans]:
    """The health before all else: each reason, and under it what to look at."""
    tone = TONES.get(overview["health"], "")
    lines: list[Spans] = [
        [
            (status["gateway"], "bold"), (f"  onpath {status['version']}", "dim"),
            (f"  up {span(status['uptime_s'])}  {count(status['points'])} points  ", ""),
            (f"● {overview['health']}", tone),
        ]
    ]  # fmt: skip
    for reason in overview["reasons"]:
        lines.append([(f"  {reason}", tone)])
        if hint := remedy(reason):
            lines.append([(f"    {hint}", "dim")])
    return lines


def _troubles(status: Mapping[str, Any]) -> list[Spans]:
    """What the health does not tell: it is over, or waits for a person."""
    store = status["store"]
    lines: list[Spans] = []
    if store.get("salvaged"):
        reason = store["salvaged"]["reason"].splitlines()[-1]
        lines.append([(f"  the store was damaged and saved: {reason}", "warn")])
    if store.get("waiting") and not store["healthy"]:
        lines.append([(f"  {count(store['waiting'])} samples wait in memory for the store", "bad")])
    if status["findings"]:
        lines.append([(f"  {status['findings']} devices found that are not configured: onpath discover", "accent")])
    return lines


def _network(found: Mapping[str, Any] | None) -> list[Spans]:
    """The gateway as a node: what it does for services, and in the core what it holds."""
    if found is None:
        return []
    tone = TONES.get("ok" if found["link"] == "up" else "failing", "")
    lines: list[Spans] = [
        [("network  ", "bold"), (found["link"], tone), (f"  {found['tier']} at {found['site']}", ""),
         (f"  {found['detail']}", "dim")]
    ]  # fmt: skip
    for name, part in found["services"].items():
        to = f" to {part['parent']}" if part["parent"] else " to the core"
        told = f"  {name}, version {part['version']}: up to stage {part['cut']},{to}, by plan {part['epoch']}"
        later = begins(part["since_ms"])
        lines.append([(told, ""), (f", {later}" if later else "", "dim")])
    for word_, names in (("runs out", found["draining"]), ("begins at its next window", found["waiting"])):
        lines += [[(f"  {name} {word_}", "dim")] for name in names]
    if "core" in found:
        core = found["core"]
        lines.append([(f"  holds {len(core['held'])} partitions of 64, beside {len(core['members']) - 1} others", "")])
        lines += [[(f"  partition {number}: {text}", "warn")] for number, text in core["troubles"].items()]
    return lines


def _adapters(status: Mapping[str, Any]) -> Table:
    columns = (
        Column("name", widest=22), Column("link"), Column("samples", right=True),
        Column("messages", right=True, rank=2), Column("errors", right=True, rank=1),
        Column("detail", flexible=True, widest=200),
    )  # fmt: skip
    rows = [
        Row(
            (
                Cell(name, "bold"), word(row["link"]), number(row["samples"], count), number(row["messages"], count),
                number(row["errors"], count, "warn" if row["errors"] else "dim"),
                Cell(", ".join(f"{reason} {count(times)}" for reason, times in row["reasons"].items()), "warn"),
            ),
            parts=tuple(_devices(row["devices"])),
        )
        for name, row in status["adapters"].items()
    ]  # fmt: skip
    return Table(columns, tuple(rows), "no adapters are configured")


def _devices(devices: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """All of a few; of many those with which something is wrong, and how many there are besides."""
    wrong = {name: facts for name, facts in devices.items() if facts.get("link") == "down" or facts.get("stale")}
    shown = list((devices if len(devices) <= SHOWN else wrong).items())[:SHOWN]
    for name, facts in shown:
        yield _device(name, facts)
    bad = sum(name in wrong for name, _ in shown)
    for tone, left in (("down", len(wrong) - bad), ("up", len(devices) - len(wrong) - (len(shown) - bad))):
        if left:
            yield _device(f"{left} more", {"link": tone})


def _device(name: str, facts: Mapping[str, Any]) -> Row:
    nothing = Cell("", key=-1.0)
    state = "stale" if facts.get("stale") else str(facts.get("link", ""))
    return Row((Cell(f"  {name}"), word(state), nothing, nothing, nothing, Cell(_facts(facts), "dim")))


def _facts(facts: Mapping[str, Any]) -> str:
    """What protocols tell of a device: first why it is down, then the periods, then the rest."""
    parts: list[str] = [str(facts["detail"])] if facts.get("detail") else []
    asked, achieved = facts.get("period_asked_s"), facts.get("period_achieved_s")
    if asked is not None:
        parts.append(f"every {span(asked)}" + (f", achieved {span(achieved)}" if achieved is not None else ""))
    if facts.get("missed"):
        parts.append(f"missed {count(facts['missed'])}")
    told = {"link", "detail", "stale", "missed", "period_asked_s", "period_achieved_s"}
    parts += [f"{key}={value}" for key, value in facts.items() if key not in told and value not in {"", None}][:FACTS]
    return "  ".join(parts)


def _pipelines(status: Mapping[str, Any]) -> list[Spans]:
    """The user's, and in one line those that nobody wrote."""
    columns = (
        Column("name", widest=26), Column("in", right=True), Column("out", right=True), Column("kept", right=True),
        *(Column(name, right=True, rank=rank) for rank, name in enumerate(_COUNTED, 1)),
    )  # fmt: skip
    rows = [
        Row(_counts(Cell(name, "bold"), row), parts=tuple(_counts_of(step) for step in row["steps"]))
        for name, row in status["pipelines"].items()
        if row["in"] or not is_network(name)  # a node has an entrance for each stage, most of them idle
    ]
    lines = lines_of(Table(columns, tuple(rows), "no pipelines are configured"), "pipelines")
    hidden = status.get("hidden", {})
    if hidden:
        passed = sum(row["in"] for row in hidden.values())
        lines.append([(f"and {len(hidden)} of the gateway's own for alerts and heartbeat: {count(passed)} in", "dim")])
    return lines


_COUNTED: Final = ("queued", "dropped", "derived", "filtered", "aggregated")


def _counts(name: Cell, row: Mapping[str, Any]) -> tuple[Cell, ...]:
    share = 100 * row["out"] / row["in"] if row["in"] else None
    kept = Cell("", key=-1.0) if share is None else number(share, lambda value: f"{value:.3g} %")
    warn = {"dropped": "warn"}
    cells = [number(row[key], count, warn.get(key, "") if row[key] else "dim") for key in _COUNTED]
    return (name, number(row["in"], count), number(row["out"], count), kept, *cells)


def _counts_of(step: Mapping[str, Any]) -> Row:
    return Row(_counts(Cell(f"  {step['step']}"), step))


def _uplinks(status: Mapping[str, Any]) -> Table:
    columns = (
        Column("name", widest=22), Column("link"), Column("sent", right=True), Column("samples", right=True, rank=3),
        Column("bytes", right=True, rank=2), Column("waiting", right=True), Column("on disk", right=True, rank=1),
        Column("oldest", right=True), Column("lost", right=True), Column("thinned", right=True, rank=4),
        Column("budget", rank=5), Column("adapt", rank=6),
    )  # fmt: skip
    return Table(columns, tuple(_uplink(name, row) for name, row in status["uplinks"].items()), "no uplinks")


def _uplink(name: str, row: Mapping[str, Any]) -> Row:
    spool, nothing = row["spool"], Cell("", key=-1.0)
    parts = tuple(
        Row((Cell(f"  {pipeline}"), *[nothing] * 4, *_waiting(part), *[nothing] * 4))
        for pipeline, part in spool["pipelines"].items()
    )
    cells = (
        Cell(name, "bold"), word(row["link"]), number(row["acknowledged"], count), number(row["samples"], count),
        number(row["bytes"], size), *_waiting(spool), number(spool["lost"], count, "bad" if spool["lost"] else "dim"),
        number(spool["thinned"], count, "warn" if spool["thinned"] else "dim"), Cell(budget(row["lanes"]["budget"])),
        _adapt(row.get("adapt")),
    )  # fmt: skip
    return Row(cells, parts=parts if len(parts) > 1 else ())


def _adapt(adapt: Mapping[str, Any] | None) -> Cell:
    """``x2.4 of 12 kB/s, summarise``: how much wider bounds are, what the link carries, the rung that is taken."""
    if adapt is None:
        return Cell("")
    carried = "" if adapt["carried"] is None else f" of {size(adapt['carried'])}/s"
    rung = f", {adapt['rung']}" if adapt["rung"] else ""
    return Cell(f"x{adapt['widening']:.3g}{carried}{rung}", "warn" if adapt["widening"] > 1 or rung else "dim")


def _waiting(part: Mapping[str, Any]) -> tuple[Cell, Cell, Cell]:
    oldest = number(part["oldest_s"], span, "warn" if part["oldest_s"] > 60 else "") if part["rows"] else Cell("")
    return number(part["samples"], count), number(part["bytes"], size), oldest
