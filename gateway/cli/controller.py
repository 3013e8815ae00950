"""``onpath controller``: plans which step of each service runs where, for the whole network.

Light: imports what a verb needs when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import AsJson
from gateway.cli.service import CarrierUrl, NodeConfig

app = typer.Typer(name="controller", invoke_without_command=True)


@app.callback()
def controller(
    context: typer.Context,
    carrier: CarrierUrl = None,
    config: NodeConfig = None,
    name: Annotated[str, typer.Option(help="Of this controller, in logs. Default: host and process.")] = "",
    dwell: Annotated[
        str, typer.Option(metavar="DURATION", help="How long what has moved stays, unless it cannot.")
    ] = "10min",
) -> None:
    """Plan which step of each service runs where, for the whole network; any number may run, one of them leads."""
    if context.invoked_subcommand is None:
        from gateway.cli.controller_run import run_controller

        run_controller(carrier, config, name, dwell)


@app.command()
def simulate(
    gateways: Annotated[int, typer.Option(min=1, max=20_000, help="How many.")] = 1000,
    services: Annotated[int, typer.Option(min=1, max=20, help="How many.")] = 5,
    storm: Annotated[bool, typer.Option("--storm", help="Let all of them change at once, again and again.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Try the controller on a network of adverts, without devices: what is planned, what moves, who takes over."""
    from gateway.cli.controller_run import run_simulation

    run_simulation(gateways, services, storm=storm, seed=seed, as_json=as_json)
