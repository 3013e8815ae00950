"""Verbs that show what holds and what is wrong, as functions that :func:`register` puts on the command line.

Light: imports what a verb needs when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, StatePath


def show_config(
    path: Annotated[
        str, typer.Argument(metavar="[GLOB]", help="Only these keys and what is below: store, 'uplinks.*.url'.")
    ] = "",
    running: Annotated[bool, typer.Option("--running", help="Of the running gateway, with what has joined.")] = False,
    origin: Annotated[bool, typer.Option(help="Say behind each value where it comes from.")] = True,
    defaults: Annotated[bool, typer.Option(help="Show values that nobody has written, too.")] = True,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Show the configuration as it holds, and where each value comes from; secrets are hidden."""
    from gateway.cli.show_config import Request, show

    show(Request(config, state, path, running=running, defaults=defaults, origins=origin, as_json=as_json))


def doctor(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """Look for what is wrong with the box, the configuration and its surroundings; exit 1 if there is a problem."""
    from gateway.cli.doctor import run_doctor

    run_doctor(config, state, as_json=as_json)


def register(app: typer.Typer) -> None:
    """Put the verbs on the command line."""
    app.command("show-config")(show_config)
    app.command()(doctor)
