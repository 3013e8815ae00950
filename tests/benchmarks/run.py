"""Runs the rows, prints the table, and, if asked, one JSON object as the last line."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from gateway.errors import OnpathError
from tests.benchmarks import (
    allreduce,
    backlog,
    brokers,
    budget,
    carrier,
    coap,
    codec,
    console,
    core,
    footprint,
    history,
    latency,
    machine,
    modbus,
    modbus_fleet,
    modbus_isolation,
    modbus_reads,
    mqtt,
    operator_library,
    operators,
    own,
    plan,
    receive,
    recovery,
    reduction,
    simulate,
    store,
    typical,
    uplinks,
    windows,
)
from tests.benchmarks.rows import FULL, QUICK, Bench, Row, Sizes

GROUPS: dict[str, Callable[[Bench], Awaitable[list[Row]]]] = {
    "mqtt-qos0": mqtt.qos0,
    "mqtt-qos1": mqtt.qos1,
    "mqtt-paced": mqtt.paced,
    "mqtt-mosquitto": mqtt.mosquitto,
    "mqtt-window": mqtt.window,
    "mqtt-window-mosquitto": mqtt.window_mosquitto,
    "mqtt-wide": mqtt.wide,
    "mqtt-adapter": mqtt.adapter,
    "modbus": modbus.rows,
    "modbus-reads": modbus_reads.rows,
    "modbus-isolation": modbus_isolation.rows,
    "modbus-fleet": modbus_fleet.rows,
    "coap": coap.rows,
    "pipeline": operators.pipeline,
    "operators": operators.each,
    "operator-library": operator_library.rows,
    "window-points": windows.rows,
    "typical-chain": typical.rows,
    "reduction": reduction.rows,
    "link-budget": budget.rows,
    "latency": latency.rows,
    "memory": footprint.memory,
    "start": footprint.start,
    "simulate": simulate.rows,
    "store": store.rows,
    "store-cost": store.cost,
    "store-recovery": recovery.rows,
    "backlog": backlog.rows,
    "uplink-mqtt": uplinks.mqtt,
    "uplink-nats": uplinks.jetstream,
    "receive": receive.rows,
    "history": history.rows,
    "codec": codec.rows,
    "console": console.rows,
    "carrier": carrier.rows,
    "metrics": own.rows,
    "allreduce": allreduce.rows,
    "plan": plan.rows,
    "core-worker": core.rows,
}
QUICK_LEAVES_OUT = {"mqtt-adapter", "mqtt-wide", "operators", "operator-library", "link-budget"}
NEEDS_MOSQUITTO = {"mqtt-mosquitto", "mqtt-window-mosquitto"}


async def group(name: str, sizes: Sizes, folder: Path, fsync_ms: float) -> list[Row]:
    """The rows of one group, in a folder of its own; none if it could not be measured, and why on standard error."""
    inside = folder / name
    inside.mkdir()
    began = time.monotonic()
    try:
        return await GROUPS[name](Bench(sizes, inside, fsync_ms))
    except (RuntimeError, OSError, AssertionError, LookupError, ValueError, OnpathError):
        traceback.print_exc()
        return []
    finally:
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True, file=sys.stderr)


async def measure(names: Sequence[str], sizes: Sizes, *, at_once: int = 1) -> tuple[dict[str, list[Row]], dict]:
    """The rows of the named groups, and the machine. Groups that run at once disturb each other."""
    turn = asyncio.Semaphore(at_once)
    with tempfile.TemporaryDirectory(prefix="onpath-bench-", dir=machine.on_disk()) as folder:
        fsync_ms = machine.fsync_ms(Path(folder))
        described = machine.describe(Path(folder), fsync_ms)

        async def one(name: str) -> list[Row]:
            async with turn:
                return await group(name, sizes, Path(folder), fsync_ms)

        found = await asyncio.gather(*map(one, names))
    return dict(zip(names, found, strict=True)), described


def table(rows: Sequence[Row], described: dict) -> Table:
    """For people."""
    shown = Table(title=", ".join(f"{key} {value}" for key, value in described.items()), title_justify="left", box=None)
    for column in ("row", "measured", "reference", "unit", "ratio", "bar", ""):
        shown.add_column(column, justify="right" if column in {"measured", "reference", "ratio"} else "left")
    shown.add_column("notes", overflow="fold")
    for row in rows:
        verdict = {None: "", True: "[green]ok[/]", False: "[bold red]MISSED[/]"}[row.ok]
        reference = "" if row.reference is None else f"{row.reference:,g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        shown.add_row(row.name, f"{row.measured:,g}", reference, row.unit, ratio, row.bar, verdict, row.notes)
    return shown


def chosen(wanted: Sequence[str], *, quick: bool) -> list[str]:
    """Groups whose name begins like one that is wanted, or else that a wanted row belongs to; all if none is wanted."""
    if not wanted:
        return [name for name in GROUPS if not (quick and name in QUICK_LEAVES_OUT)]
    exact = [one for one in wanted if any(name.startswith(one) for name in GROUPS)]
    rest = [one for one in wanted if one not in exact]
    return [
        name
        for name in GROUPS
        if any(name.startswith(one) for one in exact) or any(one.startswith(name) for one in rest)
    ]


def possible(names: Sequence[str]) -> list[str]:
    """Those that can be measured here; says which cannot, and what they need."""
    missing = set() if brokers.has_mosquitto() else NEEDS_MOSQUITTO
    for name in names:
        if name in missing:
            print(f"{name}: left out, mosquitto is not installed (apt-get install mosquitto)", file=sys.stderr)
    return [name for name in names if name not in missing]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What the gateway costs.")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, below a minute")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(GROUPS)}; default: all")
    options = parser.parse_args(arguments)
    names = chosen(options.rows, quick=options.quick)
    if not names:
        parser.error(f"no such row; there are {', '.join(GROUPS)}")
    names = possible(names)
    found, described = asyncio.run(measure(names, QUICK if options.quick else FULL))
    rows = [row for name in names for row in found[name]]
    failed = [name for name in names if not found[name]]
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table(rows, described))
    missed = [row.name for row in rows if row.ok is False]
    if missed:
        console.print(f"[bold red]bar missed:[/] {', '.join(missed)}")
    if failed:
        console.print(f"[bold red]could not be measured:[/] {', '.join(failed)}")
    if options.json:
        result = {"rows": rows, "machine": described, "missed": missed, "failed": failed}
        print(msgspec.json.encode(result).decode())
    return 1 if failed else 0
