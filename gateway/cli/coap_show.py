"""What ``onpath coap`` prints."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.payloads.readings import Reading
from gateway.quality import Reason

if TYPE_CHECKING:
    from adapters.coap.asking.discovery import Found

FORMATS = {
    0: "text/plain", 40: "application/link-format", 41: "application/xml", 42: "application/octet-stream",
    50: "application/json", 60: "application/cbor", 110: "application/senml+json", 111: "application/sensml+json",
    112: "application/senml+cbor", 113: "application/sensml+cbor", 11542: "application/vnd.oma.lwm2m+tlv",
}  # fmt: skip
_NEVER_VALUES = {40, 41}
SHOWN = 4096
"""Bytes of a payload that is shown as it is."""


@dataclass(frozen=True)
class Answer:
    """A representation, decoded as far as it could be."""

    message: Any
    readings: Sequence[Reading]
    why: str
    """Why there are no readings."""

    @property
    def format(self) -> int | None:
        """The Content-Format number."""
        number = self.message.opt.content_format
        return None if number is None else int(number)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        option = self.message.opt
        return {
            "code": str(self.message.code),
            "format": self.format,
            "max_age": option.max_age,
            "etag": option.etag.hex() if option.etag is not None else None,
            "observe": option.observe,
            "size": len(self.message.payload),
            "values": [_plain(reading) for reading in self.readings],
            **({"payload": _text(self.message.payload), "why": self.why} if self.why else {}),
        }


def _plain(reading: Reading) -> dict[str, Any]:
    value: float | bool | str | None = None
    missing: str | None = None
    if isinstance(reading.value, Reason):
        missing = reading.value.text
    elif isinstance(reading.value, float) and not math.isfinite(reading.value):
        missing = Reason.NOT_A_NUMBER.text
    else:
        value = reading.value
    fields = {"name": reading.name, "value": value, "unit": reading.unit, "time": _time(reading.time_ns)}
    return fields | ({"reason": missing} if missing else {})


def _time(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    try:
        said = datetime.fromtimestamp(time_ns / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"
    return said.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(payload: bytes) -> str:
    try:
        text = payload[:SHOWN].decode()
    except UnicodeDecodeError:
        return payload[:SHOWN].hex()
    return text if text.replace("\n", " ").replace("\t", " ").isprintable() else payload[:SHOWN].hex()


def line(content: Any) -> None:
    """One line of JSON, out at once: somebody may read it through a pipe."""
    print(json.dumps(content), flush=True)


def _print(*parts: Any) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a pipe has no width; nothing is cut
    for part in parts:
        console.print(part)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _shown(reading: dict[str, Any]) -> str:
    value = reading["value"]
    if value is None:
        return str(reading["reason"])
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def answer(one: Answer) -> None:
    """A resource: its head, and its values or its payload."""
    facts = one.as_dict()
    number = facts["format"]
    said = "no format" if number is None else f"{FORMATS.get(number, 'format')} ({number})"
    age = f"Max-Age {facts['max_age']} s" if facts["max_age"] is not None else "Max-Age 60 s, which goes without saying"
    tag = [f"ETag {facts['etag']}"] if facts["etag"] else []
    _print(Text(", ".join([facts["code"], said, age, *tag, f"{facts['size']} bytes"])))
    if one.why:
        note = [] if number in _NEVER_VALUES else [Text(f"no values: {one.why}")]
        _print(Text(_text(one.message.payload)), *note)
        return
    table = _table("name", "value", "unit", "time")
    for reading in facts["values"]:
        table.add_row(reading["name"], Text(_shown(reading)), reading["unit"], reading["time"] or "")
    _print(table)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def each(one: Answer) -> None:
    """A notification: a line for people."""
    facts = one.as_dict()
    values = [
        f"{reading['name']} {_shown(reading)}{' ' if reading['unit'] else ''}{reading['unit']}"
        for reading in facts["values"]
    ]
    print(_now(), ", ".join(values) or f"no values: {one.why}", flush=True)


def each_as_json(one: Answer) -> None:
    """A notification: a line for machines."""
    line({"time": _now(), **one.as_dict()})


def hosts(found: Sequence[Found]) -> None:
    """Hosts and what they offer."""
    table = _table("host", "resource", "rt", "if", "ct", "obs", "sz", "title")
    failed = [one for one in found if one.failed]
    for one in found:
        for number, link in enumerate(one.links):
            row = [link.get(name) or "" for name in ("rt", "if", "ct")]
            title = link.get("title") or ""
            cells = [link.target, *row, "yes" if link.has("obs") else "", link.get("sz") or "", title]
            table.add_row("" if number else one.url, *(Text(cell) for cell in cells))
    if table.row_count:
        _print(table)
    for one in failed:
        _print(Text(f"{one.url}: {one.failed}"))
    answered = len(found) - len(failed)
    _print(Text(f"{answered} {'host' if answered == 1 else 'hosts'} answered, {table.row_count} resources"))
