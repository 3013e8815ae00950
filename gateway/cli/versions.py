"""``onpath config``: the configuration of a gateway and its versions: look, compare, apply, go back.

Light: imports what a verb needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import DEFAULT_CONFIG, AsJson, ConfigPath, StatePath

app = typer.Typer(
    name="config", help="The configuration's versions: list, compare, apply, roll back.", no_args_is_help=True
)

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; kept with the version.")]
Confirm = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Undo it by itself unless onpath config confirm comes by then.")
]


@app.command()
def versions(config: ConfigPath = DEFAULT_CONFIG, state: StatePath = None, as_json: AsJson = False) -> None:
    """List the versions that have run, newest first; works with or without a running gateway."""
    from gateway.cli.versions_run import Target, list_versions

    list_versions(Target(config, state, as_json=as_json))


@app.command()
def show(
    version: Annotated[int, typer.Argument(min=1, help="Number of the version.")],
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Print the files of a version."""
    from gateway.cli.versions_run import Target, show_version

    show_version(Target(config, state, as_json=as_json), version)


@app.command()
def diff(
    version: Annotated[int | None, typer.Argument(min=1, help="From this version; default: the newest.")] = None,
    other: Annotated[int | None, typer.Argument(min=1, help="To this one; default: the files on disk.")] = None,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed from a version to another, or to the files on disk; exit 1 if something did."""
    from gateway.cli.versions_run import Target, show_diff

    show_diff(Target(config, state, as_json=as_json), version, other)


@app.command()
def apply(
    files: Annotated[list[Path], typer.Argument(help="YAML files to put in place; a folder stands for all of it.")],
    remove: Annotated[list[str] | None, typer.Option(help="Name of a file to remove; may be repeated.")] = None,
    comment: Comment = "",
    confirm: Confirm = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check, and show what would change.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Put files in place and reload; if that fails, the former ones come back."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.versions_run import Edit, Target, apply_files

    edit = Edit(files, remove or [], comment, duration("--confirm", confirm) if confirm else 0.0, dry_run=dry_run)
    apply_files(Target(config, state, as_json=as_json), edit)


@app.command()
def rollback(
    version: Annotated[int, typer.Argument(min=1, help="Number of the version to bring back.")],
    comment: Comment = "",
    confirm: Confirm = None,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Bring a former version back, as a new one."""
    from gateway.cli.modbus_run import duration
    from gateway.cli.versions_run import Edit, Target, roll_back

    edit = Edit([], [], comment, duration("--confirm", confirm) if confirm else 0.0)
    roll_back(Target(config, state, as_json=as_json), version, edit)


@app.command()
def confirm(
    revert: Annotated[bool, typer.Option("--revert", help="Undo it now instead.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    state: StatePath = None,
    as_json: AsJson = False,
) -> None:
    """Keep a change that was applied with --confirm."""
    from gateway.cli.versions_run import Target, confirm_change

    confirm_change(Target(config, state, as_json=as_json), keep=not revert)
