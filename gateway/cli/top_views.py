"""What ``onpath top`` shows in its views: tables from what the running gateway tells. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from gateway.cli.figures import clock, count, moment, rate, size, span
from gateway.cli.top_table import Cell, Column, Row, Table

Payloads = Mapping[str, Any]
"""The newest of each topic; ``before`` holds those of the look before with ``after_s`` between them."""

TONES: Final = {
    **dict.fromkeys(("up", "ok", "good", "cleared"), "good"),
    **dict.fromkeys(("down", "failing", "error", "critical", "raised"), "bad"),
    **dict.fromkeys(("degraded", "stale", "warning", "pending", "connecting"), "warn"),
}
"""Style by the word of a state."""


def word(text: str) -> Cell:
    """A state in its colour."""
    return Cell(text, TONES.get(text, ""))


def number(value: float | None, show: Callable[[Any], str], style: str = "") -> Cell:
    """A figure that is sorted as such."""
    return Cell("", style, -1.0) if value is None else Cell(show(value), style, float(value))


def adapters(data: Payloads) -> Table:
    """A line an adapter, and one for the broker inside."""
    columns = (
        Column("adapter", widest=20), Column("type", rank=4), Column("link"), Column("samples/s", right=True),
        Column("devices", right=True, rank=2), Column("down", right=True, rank=1),
        Column("detail", flexible=True, widest=200, rank=3),
    )  # fmt: skip
    rates = {node["id"]: node["samples_s"] for node in (data.get("graph") or {}).get("nodes", [])}
    rows = [
        Row(
            (
                Cell(link["name"]), Cell(link["type"], "dim"), word(link["state"]),
                number(rates.get(f"adapter:{link['name']}"), rate), number(link["devices"], count),
                number(link["devices_down"], count, "bad" if link["devices_down"] else "dim"), Cell(link["detail"]),
            ),
            facts(link),
        )
        for link in (data.get("overview") or {}).get("links", [])
        if link["kind"] != "uplink"
    ]  # fmt: skip
    return Table(columns, tuple(rows), "no adapters are configured")


def devices(data: Payloads) -> Table:
    """A line a device."""
    columns = (
        Column("device", widest=22), Column("adapter", rank=3), Column("link"), Column("points", right=True, rank=2),
        Column("asked", right=True, rank=1), Column("achieved", right=True), Column("missed", right=True),
        Column("last error", flexible=True, widest=200, rank=4),
    )  # fmt: skip
    return Table(columns, tuple(map(_device, (data.get("devices") or {}).get("devices", []))), "no devices yet")


def _device(row: Mapping[str, Any]) -> Row:
    state = "stale" if row["stale"] else row["link"]
    asked, achieved = row["period_asked_s"], row["period_achieved_s"]
    slow = asked and achieved and achieved > 1.1 * asked
    error = row["last_error"]
    said = row["detail"] or (f"{clock(error['time_ms'])} {error['text']}" if error else "")
    return Row(
        (
            Cell(row["device"]), Cell(row["adapter"], "dim"), word(state), number(row["points"], count),
            number(asked, span), number(achieved, span, "warn" if slow else ""),
            number(row["missed"], count, "warn" if row["missed"] else "dim"),
            Cell(said, "bad" if row["link"] == "down" else "dim"),
        ),
        facts(row),
    )  # fmt: skip


def pipelines(data: Payloads) -> Table:
    """A line a pipeline, and under it one a step."""
    columns = (
        Column("pipeline", widest=26), Column("in/s", right=True), Column("out/s", right=True),
        Column("kept", right=True, rank=1), Column("queued", right=True, rank=3), Column("dropped", right=True, rank=2),
        Column("time", right=True), Column("bound", rank=4), Column("options", flexible=True, widest=200, rank=5),
    )  # fmt: skip
    before = {row["name"]: row for row in (data.get("before") or {}).get("pipelines", {}).get("pipelines", [])}
    rows = [
        _pipeline(row, before.get(row["name"]), data.get("after_s", 0.0))
        for row in (data.get("pipelines") or {}).get("pipelines", [])
    ]
    return Table(columns, tuple(rows), "no pipelines are configured")


def _pipeline(row: Mapping[str, Any], before: Mapping[str, Any] | None, after_s: float) -> Row:
    spent = sum(step["cpu_percent"] for step in row["steps"])
    earlier = before["steps"] if before and len(before["steps"]) == len(row["steps"]) else [None] * len(row["steps"])
    parts = tuple(_step(step, then, after_s) for step, then in zip(row["steps"], earlier, strict=True))
    cells = (
        Cell(row["name"], "bold"), number(row["in_s"], rate), number(row["out_s"], rate),
        _kept(row["in"], row["out"]), *_held(row), number(spent, _percent),
        Cell(""), Cell(" ".join(row["from"]) + " → " + " ".join(row["to"]), "dim"),
    )  # fmt: skip
    return Row(cells, facts(row), parts)


def _step(step: Mapping[str, Any], before: Mapping[str, Any] | None, after_s: float) -> Row:
    flow = [None if before is None else max(0, step[key] - before[key]) / (after_s or 1) for key in ("in", "out")]
    bound = step["bound"] or {}
    return Row(
        (
            Cell(f"  {step['step']}"), number(flow[0], rate), number(flow[1], rate),
            _kept(step["in"], step["out"]), *_held(step), number(step["cpu_percent"], _percent),
            Cell(" ".join(f"{value:g}{' %' * (kind == 'percent')}" for kind, value in bound.items()), "accent"),
            Cell(step["options"], "dim"),
        ),
        facts(step),
    )  # fmt: skip


def _held(row: Mapping[str, Any]) -> tuple[Cell, Cell]:
    return (
        number(row["queued"], count, "" if row["queued"] else "dim"),
        number(row["dropped"], count, "warn" if row["dropped"] else "dim"),
    )


def _kept(taken: int, given: int) -> Cell:
    """How much of what went in came out, since the beginning."""
    return number(100 * given / taken, lambda share: f"{share:.3g} %") if taken else Cell("", key=-1.0)


def _percent(value: float) -> str:
    return f"{value:.1f} %" if value >= 0.05 or not value else "<0.1 %"


def uplinks(data: Payloads) -> Table:
    """A line an uplink, and under it one a pipeline that waits."""
    columns = (
        Column("uplink", widest=22), Column("type", rank=5), Column("link"), Column("sent/s", right=True),
        Column("bytes/s", right=True), Column("waiting", right=True), Column("on disk", right=True, rank=2),
        Column("oldest", right=True), Column("lost", right=True, rank=1), Column("backlog/s", right=True, rank=3),
        Column("budget", rank=4),
    )  # fmt: skip
    before = {row["name"]: row for row in (data.get("before") or {}).get("spool", {}).get("uplinks", [])}
    rows = [
        _uplink(row, before.get(row["name"]), data.get("after_s", 0.0))
        for row in (data.get("spool") or {}).get("uplinks", [])
    ]
    return Table(columns, tuple(rows), "no uplinks are configured")


def _uplink(row: Mapping[str, Any], before: Mapping[str, Any] | None, after_s: float) -> Row:
    flow = [None if before is None else max(0, row[key] - before[key]) / (after_s or 1) for key in ("samples", "bytes")]
    spool, lanes = row["spool"], row["lanes"]
    parts = tuple(_waiting(name, part) for name, part in spool["pipelines"].items())
    cells = (
        Cell(row["name"], "bold"), Cell(row["type"], "dim"), word(row["link"]), number(flow[0], rate),
        number(flow[1], size), number(spool["samples"], count), number(spool["bytes"], size), _oldest(spool),
        number(spool["lost"], count, "bad" if spool["lost"] else "dim"),
        number(lanes["backlog_rate"] if lanes["behind"] else None, rate, "warn"), Cell(budget(lanes["budget"])),
    )  # fmt: skip
    return Row(cells, facts(row), parts if len(parts) > 1 else ())


def _waiting(name: str, part: Mapping[str, Any]) -> Row:
    nothing = Cell("", key=-1.0)
    cells = (
        Cell(f"  {name}"), Cell(""), Cell(""), nothing, nothing, number(part["samples"], count),
        number(part["bytes"], size), _oldest(part), nothing, nothing, Cell(""),
    )  # fmt: skip
    return Row(cells, facts(part))


def _oldest(part: Mapping[str, Any]) -> Cell:
    return number(part["oldest_s"], span, "warn" if part["oldest_s"] > 60 else "") if part["rows"] else Cell("", "", -1)


def budget(found: Mapping[str, Any] | None) -> str:
    """``12.5 % of 100 MB``."""
    if found is None:
        return ""
    spent = 100 * found["spent"] / found["size"]
    return f"{spent:.1f} % of {size(found['size'])}" + (" (spent)" if found["exhausted"] else "")


def alerts(data: Payloads) -> Table:
    """What is raised or about to be, then what was lately."""
    columns = (
        Column("severity"), Column("state"), Column("since", right=True, rank=1), Column("rule", widest=24),
        Column("point", widest=32), Column("value", right=True, rank=2),
        Column("text", flexible=True, widest=200, rank=3),
    )  # fmt: skip
    found = data.get("alerts") or {}
    rows = [
        Row(
            (
                word(row["severity"]), Cell(*_acknowledged(row)), Cell(clock(row[key]), key=row[key]),
                Cell(row["rule"]), Cell(row["point"]), number(row["value"], lambda value: f"{value:.6g}"),
                Cell(row["text"]),
            ),
            facts(row),
        )
        for part, key in (("active", "since_ms"), ("recent", "time_ms"))
        for row in found.get(part, [])
    ]  # fmt: skip
    rules = len(found.get("rules", []))
    return Table(columns, tuple(rows), f"all quiet: {rules} rules" if rules else "no alert rules are configured")


def _acknowledged(row: Mapping[str, Any]) -> tuple[str, str]:
    return ("seen", "dim") if row.get("acknowledged") else (row["state"], TONES.get(row["state"], ""))


def events(data: Payloads) -> Table:
    """The newest lines of the log, the newest last."""
    columns = (
        Column("time"), Column("level"), Column("source", widest=22, rank=1), Column("text", flexible=True, widest=999)
    )  # fmt: skip
    rows = [
        Row(
            (
                Cell(clock(row["time_ms"]), "dim", row["time_ms"]),
                Cell(row["level"], TONES.get(row["level"], "dim")),
                Cell(row["source"].removeprefix("gateway."), "dim"),
                Cell(row["text"].replace("\n", " ")),
            ),
            (("time", moment(row["time_ms"])), *facts(row)),
        )
        for row in data.get("events") or []
    ]
    return Table(columns, tuple(rows), "nothing was logged yet", follows=True)


def facts(row: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Everything that is known of a row, for the detail; what lies deeper gets a name with dots."""
    return tuple(_facts(row, prefix))


def _facts(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in row.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _facts(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for at, one in enumerate(value):
                yield from _facts(one, f"{name}[{at}].")
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value))
        elif key.endswith("_ms") and isinstance(value, int):
            yield name.removesuffix("_ms"), moment(value)
        elif value is not None and value != "":
            yield name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


VIEWS: Final[dict[str, tuple[tuple[str, ...], Callable[[Payloads], Table]]]] = {
    "adapters": (("graph",), adapters),
    "devices": (("devices",), devices),
    "pipelines": (("pipelines",), pipelines),
    "uplinks": (("spool",), uplinks),
    "alerts": (("alerts",), alerts),
    "events": (("events",), events),
}
"""By name, in the order of their keys: the topics they need beside ``overview``, and the table."""
