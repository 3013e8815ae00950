"""``onpath hub``: the NATS server that carries a network. Light: imports what a verb needs when it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.options import AsJson

if TYPE_CHECKING:
    from gateway.network.hub.config import HubConfig

app = typer.Typer(name="hub", help="The server that carries a network of gateways.", no_args_is_help=True)

HubPath = Annotated[Path, typer.Option("-c", "--config", help="The hub's YAML file.")]
DEFAULT = Path("/etc/onpath/hub/hub.yaml")


def _read(path: Path) -> HubConfig:
    import os

    from gateway.network.hub.reading import read_hub

    return read_hub(path, os.environ)


@app.command()
def run(config: HubPath = DEFAULT) -> None:
    """Run the hub in the foreground; SIGTERM stops it in order."""
    import asyncio

    from gateway.config.model import LogConfig
    from gateway.logs import set_up
    from gateway.network.hub.run import serve

    hub = _read(config)
    set_up(LogConfig())
    asyncio.run(serve(hub))


@app.command()
def check(config: HubPath = DEFAULT, as_json: AsJson = False) -> None:
    """Check the hub's file: all problems at once; exit 78 if there are any."""
    from gateway.errors import ConfigError
    from gateway.network.hub.reading import missing_files

    try:
        hub = _read(config)
    except ConfigError as error:
        if not as_json:
            raise
        print(json.dumps({"ok": False, "problems": [str(problem) for problem in error.problems]}))
        sys.exit(error.exit_code)
    warnings = missing_files(hub)
    if as_json:
        print(json.dumps({"ok": True, "name": hub.name, "warnings": warnings}))
        return
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    parts = f", {len(hub.cluster.routes)} routes in cluster {hub.cluster.name}" if hub.cluster else ""
    print(f"{config}: hub {hub.name} ok ({hub.listen}, {len(hub.users)} users{parts})")


@app.command()
def status(config: HubPath = DEFAULT, as_json: AsJson = False) -> None:
    """Show what runs: streams, bytes, and whether the other hubs of the cluster follow."""
    import asyncio

    from gateway.network.hub.status import status as ask

    found = asyncio.run(ask(_read(config)))
    if as_json:
        print(json.dumps(found))
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    used, limit = found["store_bytes"] / 1e6, found["store_limit_bytes"] / 1e6
    print(
        f"hub {found['name']}: up {found['uptime']}, port {found['port']}, {found['connections']} connections, "
        f"{used:.1f} of {limit:.0f} MB stored, nats-server {found['version']}"
    )
    cluster = found["cluster"]
    if cluster is not None:
        leader = "leads" if cluster["leads"] else f"led by {cluster['leader']}" if cluster["leader"] else "no leader"
        others = ", ".join(
            one["name"] + ("" if one["follows"] is None else " follows" if one["follows"] else " does not follow")
            for one in cluster["others"]
        )
        print(f"cluster {cluster['name']}: {leader}; {others}")
    table = Table(box=None, pad_edge=False)
    for column, side in (("stream", "left"), ("messages", "right"), ("MB", "right"), ("readers", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    table.add_column("leader")
    table.add_column("behind")  # known to the leader only
    for stream in found["streams"]:
        behind = "?" if stream["behind"] is None and stream["leader"] else ", ".join(stream["behind"] or [])
        table.add_row(
            stream["name"], str(stream["messages"]), f"{stream['bytes'] / 1e6:.1f}", str(stream["consumers"]),
            stream["leader"], behind,
        )  # fmt: skip
    Console().print(table)
