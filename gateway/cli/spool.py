"""``onpath spool``: what waits for uplinks; look at it, check it, take it out, have it sent.

Light: imports what a verb needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="spool", help="What waits on disk for the uplinks: look, check, export, drain.", no_args_is_help=True
)

ConfigPath = Annotated[Path, typer.Option("-c", "--config", help="A YAML file, or a folder whose *.yaml are merged.")]
StatePath = Annotated[
    Path | None, typer.Option(help="The daemon's state folder; default: what the configuration says.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]
DEFAULT_CONFIG = Path("/etc/onpath")


def _folder(config: Path, state: Path | None) -> Path:
    from gateway.cli.state import state_of

    return state or state_of(config)


@app.command()
def status(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """Show what waits, by uplink and pipeline; works with or without a running gateway."""
    from gateway.cli.spool_show import show_status

    show_status(_folder(config, state), as_json=as_json)


@app.command()
def verify(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """Read every row and block of the store and check it; exit 1 if something is damaged. Changes nothing."""
    from gateway.cli.spool_show import verify_store

    verify_store(_folder(config, state), as_json=as_json)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write, which may not exist yet; - for standard output.")],
    uplink: Annotated[list[str] | None, typer.Option(help="Only what waits for this uplink; may be repeated.")] = None,
    pipeline: Annotated[list[str] | None, typer.Option(help="Only what this pipeline made; may be repeated.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only batches with samples from then on: 1h (ago), or 2026-01-31T12:00:00Z.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="json, csv or frame.")] = "json",
    kept: Annotated[bool, typer.Option("--kept", help="Also what was delivered and is kept for a grace.")] = False,
    gateway: Annotated[
        str | None, typer.Option(help="The gateway's name in the records; default: what the configuration says.")
    ] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Write what waits to a file, with the record ids it will be sent under; it stays in the spool."""
    from gateway.cli.spool_export import Request, export_spool

    export_spool(
        Request(
            file=file, uplinks=uplink or [], pipelines=pipeline or [], since=since, format=format_, kept=kept,
            gateway=gateway, config=config, state=_folder(config, state), as_json=as_json,
        )
    )  # fmt: skip


@app.command()
def drain(
    uplink: Annotated[list[str] | None, typer.Option(help="Only this uplink; may be repeated.")] = None,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="Give up after so long.")] = "10m",
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Wait until the other side has all that waits now; exit 1 if that takes too long."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.spool_drain import drain_spool

    drain_spool(_folder(config, state), uplink or [], duration("--timeout", timeout), as_json=as_json)
