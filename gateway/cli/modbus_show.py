"""What ``onpath modbus`` prints for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from adapters.modbus.planning import BusPlan
    from adapters.modbus.tools.plausible import Check
    from adapters.modbus.tools.rank import Guess
    from adapters.modbus.tools.reading import Reading
    from adapters.modbus.tools.scanning import Found

_COLOURS = {"ok": "green", "suspicious": "yellow", "failed": "red"}


def line(content: Any) -> None:
    """One line of JSON, out at once: somebody may read it through a pipe."""
    print(json.dumps(content), flush=True)


def _table(*columns: str, left: Sequence[str] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 or column in left else "right", overflow="fold")
    return table


def _print(*parts: Any) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; nothing is cut
    for part in parts:
        console.print(part)


def _number(value: object) -> str:
    return "" if value is None else f"{value:.8g}" if isinstance(value, float) else str(value)


def readings(rows: Sequence[Reading], time: str) -> None:
    """Values with their registers."""
    table = _table("at", "value", "registers", "quality", left=("registers", "quality"))
    for row in rows:
        raw = " ".join(f"{word:04x}" for word in row.raw)
        table.add_row(row.at, _number(row.value), raw, row.quality)
    _print(*([Text(time)] if time else []), table)


def guesses(rows: Sequence[Guess], refused: Mapping[str, str], registers: Mapping[str, Mapping[int, int]]) -> None:
    """Guesses, the likeliest first, and how to write them down."""
    for name, why in refused.items():
        _print(Text(f"{name}: {why}"))
    for name, held in registers.items():
        first, last = min(held), max(held)
        _print(Text(f"{name}:{first} to {last}: {' '.join(f'{word:04x}' for word in held.values())}"))
    if not rows:
        _print(Text("nothing there looks like a value of a grid"))
        return
    table = _table(
        "score", "value", "meaning", "as the YAML says it", "why", left=("meaning", "as the YAML says it", "why")
    )
    for row in rows:
        words = [f"at: {row.at}", f"as: {row.form.type}"]
        words += [f"order: {row.form.order}"] if row.form.order != "ABCD" else []
        words += [f"scale: {row.form.scale:g}"] if row.form.scale != 1.0 else []
        table.add_row(
            f"{row.score:.0f}", _number(row.value), row.meaning, f"{{{', '.join(words)}}}", "; ".join(row.why)
        )
    _print(table)


def found(rows: Sequence[Found], asked: int, requests: int) -> None:
    """The units of a bus."""
    for row in rows:
        _print(Text(f"unit {row.unit}: answers with {row.said}"))
        for name, text in row.identity.items():
            _print(Text(f"  {name}: {text}"))
        if row.sunspec:
            models = " ".join(f"{model}({length})" for model, length in row.sunspec["models"])
            _print(Text(f"  SunSpec at {row.sunspec['base']}: {models or 'no models'}"))
        for table, ranges in row.ranges.items():
            spans = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges.readable)
            _print(Text(f"  {table}: {spans} (longest read {ranges.longest})"))
            if ranges.whole:
                _print(Text(f"    only whole: {', '.join(f'{first}-{last}' for first, last in ranges.whole)}"))
        for note in row.notes:
            _print(Text(f"  {note}"))
    _print(Text(f"{len(rows)} of {asked} units answered, {requests} requests"))


def checks(rows: Sequence[tuple[Check, str]], requests: str) -> None:
    """Checks with the values they are about; what is fine comes first, what failed last."""
    order = list(_COLOURS)
    table = _table("check", "value", "result", "why", left=("result", "why"))
    for check, value in sorted(rows, key=lambda row: order.index(row[0].verdict)):
        table.add_row(check.name, value, Text(check.verdict, style=_COLOURS[check.verdict]), check.why)
    counts = {word: sum(check.verdict == word for check, _ in rows) for word in order}
    _print(table, Text(", ".join(f"{count} {word}" for word, count in counts.items()) + requests))


def plan(name: str, bus: BusPlan) -> None:
    """The requests of one endpoint."""
    about = "estimated" if bus.estimated else "by the baud rate"
    _print(Text(f"{name}: {bus.url}"))
    table = _table("device", "unit", "request", "needed", "points", "every", "time", left=("request",))
    for device in bus.devices:
        for number, read in enumerate(device.reads):
            start = [device.device, str(device.unit)] if number == 0 else ["", ""]
            asked = f"{read.table}:{read.start} x {read.count}"
            needed = f"{read.needed} of {read.count}"
            table.add_row(
                *start, asked, needed, str(read.points), f"{read.every_s:g} s", f"{1000 * read.time_s:.1f} ms"
            )
        if not device.reads:
            table.add_row(device.device, str(device.unit), "found on the device", "", "", "", "")
    registers, needed = (sum(getattr(one, key) for one in bus.devices) for key in ("registers", "registers_needed"))
    bits = sum(one.bits for one in bus.devices)
    more = f" and {bits} bits" if bits else ""
    _print(
        table,
        Text(f"{bus.requests} requests for {registers} registers{more}, {needed} registers needed"),
        Text(f"bus time {1000 * bus.time_s:.1f} ms ({about}), load {100 * bus.load:.1f} % at the periods asked for"),
        Text(f"shortest period for all points: {1000 * bus.shortest_period_s:.1f} ms"),
        *([] if bus.holds else [Text("the bus cannot hold these periods", style="red")]),
    )
