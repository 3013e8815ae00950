"""The command line as a page: every verb with its arguments and options."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from gateway.cli.main import app
from tests.support.reference.structs import plain, row

HEAD = """# Verbs and options

All of `onpath`, as `--help` tells it. [Command line](../command-line.md) says what the verbs are for; exit codes are
[here](words.md#exit-codes).
"""
_METAVARS = {Path: "PATH", int: "N", float: "NUMBER"}


def page() -> str:
    """The whole page."""
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    return HEAD + "".join(_verb(f"onpath {name}", verb) for name, verb in sorted(command.commands.items()))


def _verb(name: str, verb: TyperCommand | TyperGroup) -> str:
    if isinstance(verb, TyperGroup):
        below = "".join(_verb(f"{name} {sub}", found) for sub, found in sorted(verb.commands.items()))
        return f"\n## {name}\n\n{_first(verb.help)}\n{below}"
    arguments = [param for param in verb.params if isinstance(param, TyperArgument)]
    options = [param for param in verb.params if not isinstance(param, TyperArgument) and not param.hidden]
    level = "#" * (1 + name.count(" "))
    usage = " ".join([name, *("[OPTIONS]" for _ in options[:1]), *(_metavar(argument) for argument in arguments)])
    rows = [_row(f"`{_metavar(argument)}`", argument) for argument in arguments]
    rows += [_row(_flags(option), option) for option in options]
    table = "\n| | default | |\n|---|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    return f"\n{level} {name}\n\n{_first(verb.help)}\n\n    {usage}\n{table}"


def _first(text: str | None) -> str:
    return plain(" ".join((text or "").split("\f")[0].split()))


def _metavar(argument: TyperArgument) -> str:
    word = (argument.name or "").rstrip("_").upper()
    word += "..." if argument.nargs == -1 or argument.multiple else ""
    return word if argument.required else f"[{word}]"


def _flags(option: TyperOption) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        return names
    return f"{names} {option.metavar or _METAVARS.get(option.type_descriptor.annotation, 'TEXT')}"


def _row(name: str, param: TyperArgument | TyperOption) -> str:
    default = param.default() if callable(param.default) else param.default
    given = "" if default in (None, False, "", [], ()) else f"`{default}`"
    shown = "required" if param.required else given
    cells = (name, shown, _first(getattr(param, "help", "") or ""))
    return row(cells)
