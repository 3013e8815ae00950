"""The live table on a terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.demo.receiver import Receiver
from gateway.demo.report import Live, adapters_of, raw_json_bytes


def render(live: Live, receiver: Receiver) -> Group:
    """What the terminal shows now."""
    return Group(_adapters(live), _upstream(live, receiver), Text("Ctrl-C ends the demo", style="dim"))


def _adapters(live: Live) -> Table:
    table = Table(title=f"in, after {live.elapsed_s:.0f} s", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("adapter")
    table.add_column("link")
    for heading in ("devices up", "samples", "samples/s", "errors"):
        table.add_column(heading, justify="right")
    for name, part in adapters_of(live.status).items():
        table.add_row(
            name,
            Text(part.link, style="green" if part.link == "up" else "red"),
            _devices_up(live.status["adapters"][name]),
            f"{part.samples:,}",
            f"{live.rates.get(name, 0.0):,.0f}",
            Text(str(part.errors), style="red" if part.errors else ""),
        )
    return table


def _devices_up(adapter: dict[str, Any]) -> str:
    devices = adapter.get("devices", {})
    up = sum(device.get("link") == "up" for device in devices.values())
    return f"{up}/{len(devices)}" if devices else ""  # a broker's devices come and go unseen


def _upstream(live: Live, receiver: Receiver) -> Table:
    table = Table(title="out, as the receiver counts it", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("link")
    for heading in ("messages", "samples", "kB", "kB/s", "less", "p50 ms", "p99 ms", "spool"):
        table.add_column(heading, justify="right", no_wrap=True)
    uplink = live.status.get("uplinks", {}).get("cloud", {})
    link = str(uplink.get("link", "?"))
    raw = raw_json_bytes(adapters_of(live.status), receiver)
    table.add_row(
        Text(link, style="green" if link == "up" else "red"),
        f"{receiver.messages:,}",
        f"{receiver.samples:,}",
        f"{receiver.bytes / 1000:,.0f}",
        f"{live.bytes_rate / 1000:,.1f}",
        f"{raw / receiver.bytes:.1f}x" if receiver.bytes else "",
        _ms(receiver.latencies.percentile(50)),
        _ms(receiver.latencies.percentile(99)),
        str(uplink.get("spool", {}).get("rows", "")),
    )
    return table


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
