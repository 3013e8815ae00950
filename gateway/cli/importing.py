"""``onpath import``: a configuration of another gateway turned into ours, and what could not be carried over."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.errors import ConfigError, OnpathError

app = typer.Typer(
    name="import",
    help="Turn a configuration of another gateway into one of onpath.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[Path | None, typer.Option("-o", "--out", help="Write here; default: standard output.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print configuration and remarks as one JSON object.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit code 1 if anything was left out.")]


@app.command()
def telegraf(
    files: Annotated[list[Path], typer.Argument(help="Telegraf's TOML files, or a folder such as telegraf.d.")],
    out: Out = None,
    force: Force = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Inputs modbus and mqtt_consumer, processors, aggregators and outputs that have a counterpart."""
    from gateway.migrate.telegraf import read_telegraf

    _finish(read_telegraf(files), files, out=out, force=force, strict=strict, as_json=as_json)


@app.command()
def neuron(
    file: Annotated[Path, typer.Argument(help="JSON of GET /api/v2/global/config or drivers, or sqlite.db.")],
    out: Out = None,
    force: Force = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Modbus drivers with their groups and tags, MQTT and Sparkplug applications with what they take."""
    from gateway.migrate.neuron import read_neuron

    _finish(read_neuron(file), [file], out=out, force=force, strict=strict, as_json=as_json)


def _finish(draft: Any, sources: Sequence[Path], *, out: Path | None, force: bool, strict: bool, as_json: bool) -> None:
    """Check it, write it, and tell what there is to tell."""
    from gateway.migrate.draft import Fate

    if not draft.adapters:
        for note in draft.notes:
            print(note, file=sys.stderr)
        raise OnpathError(f"{', '.join(map(str, sources))}: nothing that could be carried over")
    _complete(draft)
    text = _text(draft, sources)
    problems = _problems(text)
    left = [note for note in draft.notes if note.fate is Fate.LEFT]
    if out is not None:
        _write(out, text, force=force)
    if as_json:
        notes = [{"fate": note.fate, "where": note.where, "text": note.text} for note in draft.notes]
        print(json.dumps({"configuration": draft.document(), "notes": notes, "problems": problems}))
    else:
        if out is None:
            print(text, end="")
        for line in (*draft.notes, *(f"to be put right: {problem}" for problem in problems)):
            print(line, file=sys.stderr)
        print(_summary(draft, len(left), len(problems)), file=sys.stderr)
    if problems or (strict and left):
        sys.exit(1)


def _complete(draft: Any) -> None:
    """A configuration without an uplink prints, so that something is seen."""
    if not draft.uplinks:
        draft.uplinks["out"] = {"type": "stdout"}
        draft.changed("uplinks", "none was found: results go to standard output; put your own in its place")
    for pipeline in draft.pipelines.values():
        pipeline["to"] = pipeline["to"] or list(draft.uplinks)
    if not draft.pipelines:
        draft.pipelines["all"] = {"from": ["**"], "steps": [], "to": list(draft.uplinks)}


def _text(draft: Any, sources: Sequence[Path]) -> str:
    from gateway.cli.write_yaml import as_yaml

    head = [f"# Made by onpath import from {', '.join(source.name for source in sources)}."]
    if draft.notes:
        head += ["# What differs or was left out:", *(f"#   {note}" for note in draft.notes)]
    return "\n".join(head) + "\n" + as_yaml(draft.document())


def _problems(text: str) -> list[str]:
    """What ``onpath check`` will say of it, variables that are not set yet aside."""
    from gateway.config import load_checked

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "import.yaml")
        file.write_text(text, "utf-8")
        try:
            load_checked(file, {"MQTT_PASSWORD": "x", "INFLUX_PASSWORD": "x", "INFLUX_TOKEN": "x"})
        except ConfigError as error:
            shown = [f"{problem.path}: {problem.message}" for problem in error.problems]
            return [line.replace(str(file), "the result") for line in shown]
    return []


def _write(out: Path, text: str, *, force: bool) -> None:
    if out.exists() and not force:
        raise OnpathError(f"{out} exists; --force overwrites it")
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise OnpathError(f"{out}: cannot be written: {error.strerror}") from error


def _summary(draft: Any, left: int, problems: int) -> str:
    devices = [device for adapter in draft.adapters.values() for device in adapter.get("devices", {}).values()]
    points = sum(len(device["points"]) for device in devices)
    parts = [f"{len(draft.adapters)} adapters", f"{len(devices)} devices", f"{points} points",
             f"{len(draft.pipelines)} pipelines", f"{len(draft.uplinks)} uplinks", f"{left} left out"]  # fmt: skip
    return ", ".join(parts) + (f", {problems} to be put right" if problems else "")
