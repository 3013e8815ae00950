"""What ``onpath config`` does: asks the running gateway, or where none runs, works on files and state by itself."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.cli.versions_local import Outside
from gateway.config.load import is_config
from gateway.control import NotRunningError, ask
from gateway.editing.change import state_folder
from gateway.editing.files import ConfigFiles
from gateway.editing.overlay import plain_files, unified
from gateway.editing.versions import Versions
from gateway.errors import OnpathError


@dataclass(frozen=True)
class Target:
    """Which gateway, and how to print."""

    config: Path
    chosen_state: Path | None
    as_json: bool = False

    @cached_property
    def state(self) -> Path:
        """Its state folder; found also where the configuration cannot be used."""
        return self.chosen_state or state_folder(self.config, os.environ)

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        """The daemon's answer.

        Raises:
            NotRunningError: there is none.
            OnpathError: it refuses; with its words and its exit code.
        """
        answer = asyncio.run(ask(self.state, verb, **fields))
        if not answer["ok"]:
            error = OnpathError(answer["error"])
            error.exit_code = int(answer.get("exit_code", 1))
            raise error
        return answer

    def print(self, answer: dict[str, Any], text: str) -> None:
        """For machines or for people."""
        print(json.dumps({key: value for key, value in answer.items() if key != "ok"}) if self.as_json else text)


@dataclass(frozen=True)
class Edit:
    """What is to be done."""

    files: list[Path]
    remove: list[str]
    comment: str
    confirm_s: float
    dry_run: bool = False


def list_versions(target: Target) -> None:
    """Print what is kept."""
    running = ""
    try:
        found = target.ask("config-versions")["versions"]
    except NotRunningError:
        running = "no gateway runs"
        heads = Versions(target.state).heads()
        names = ("version", "time_ms", "comment", "by", "hash", "files")
        found = [{**{name: getattr(head, name) for name in names}, "running": False} for head in heads]
    if target.as_json:
        print(json.dumps({"versions": found}))
        return
    if running:
        print(running, file=sys.stderr)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("version", "when (UTC)", "by", "comment", "files", ""):
        table.add_column(column, justify="right" if column == "version" else "left")
    for one in found:
        when = datetime.fromtimestamp(one["time_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        marks = "running" if one["running"] else ""
        table.add_row(str(one["version"]), when, one["by"], one["comment"], ", ".join(one["files"]), marks)
    Console().print(table)


def _texts(target: Target, version: int) -> dict[str, bytes]:
    """The files of a version, from the daemon or from the state folder."""
    try:
        answer = target.ask("config-version", version=version)
    except NotRunningError:
        return Versions(target.state).texts(version)
    return {one["name"]: one["text"].encode() for one in answer["files"]}


def show_version(target: Target, version: int) -> None:
    """Print its files, each behind a line with its name if there are several."""
    files = plain_files(_texts(target, version))
    if target.as_json:
        print(json.dumps({"version": version, "files": files}))
        return
    for one in files:
        if len(files) > 1:
            print(f"# ---- {one['name']}")
        print(one["text"], end="" if one["text"].endswith("\n") else "\n")


def show_diff(target: Target, version: int | None, other: int | None) -> None:
    """Print the difference like ``diff -u``; exit 1 if there is one."""
    if version is None:
        try:
            newest = [one["version"] for one in target.ask("config-versions")["versions"]]
        except NotRunningError:
            newest = [head.version for head in Versions(target.state).heads()]
        if not newest:
            raise OnpathError(f"no version is kept in {target.state}")
        version = newest[0]
    after = ConfigFiles(target.config).read() if other is None else _texts(target, other)
    text = unified(_texts(target, version), after)
    if target.as_json:
        print(json.dumps({"diff": text}))
    else:
        print(text, end="")
    if text:
        sys.exit(1)


def _wanted(target: Target, edit: Edit) -> dict[str, bytes]:
    """All files that there are to be."""
    texts = ConfigFiles(target.config).read()
    for path in edit.files:
        if path.is_dir():
            texts = {name.name: _content(name) for name in sorted(path.iterdir()) if is_config(name.name)}
        else:
            name = target.config.name if _is_file(target.config) else path.name
            texts[name] = _content(path)
    for name in edit.remove:
        if texts.pop(name, None) is None:
            raise OnpathError(f"{name}: there is no such file in the configuration")
    return texts


def _is_file(config: Path) -> bool:
    return config.exists() and not config.is_dir()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OnpathError(f"{path}: cannot be read: {error.strerror}") from None


def apply_files(target: Target, edit: Edit) -> None:
    """Through the daemon; by ourselves where it may not write, or where none runs."""
    texts = _wanted(target, edit)
    if edit.dry_run:
        _preview(target, texts)
        return
    _apply(target, edit, texts)


def roll_back(target: Target, version: int, edit: Edit) -> None:
    """Through the daemon likewise."""
    texts = _texts(target, version)
    comment = edit.comment or f"back to version {version}"
    _apply(target, Edit([], [], comment, edit.confirm_s), texts, version)


def _preview(target: Target, texts: dict[str, bytes]) -> None:
    outside = Outside(target.config, target.state)
    problems = outside.problems(texts)
    difference = unified(ConfigFiles(target.config).read(), texts)
    if target.as_json:
        print(json.dumps({"diff": difference, "problems": problems}))
    else:
        print(difference, end="")
        _print_problems(problems)
    if any(one["severity"] == "error" for one in problems):
        sys.exit(78)


def _print_problems(problems: list[dict[str, Any]]) -> None:
    for one in problems:
        path = f"{one['path']}: " if one["path"] else ""
        mark = "warning: " if one["severity"] == "warning" else ""
        print(f"{mark}{one['file']}:{one['line']}:{one['column']}: {path}{one['message']}", file=sys.stderr)


def _apply(target: Target, edit: Edit, texts: dict[str, bytes], version: int = 0) -> None:
    by = _who()
    try:
        shown = target.ask("config")
    except NotRunningError:
        shown = {"writable": False, "why_not": ""}
    if shown["writable"]:
        fields = {"comment": edit.comment, "by": by, "confirm_s": edit.confirm_s}
        if version:
            answer = target.ask("config-rollback", version=version, **fields)
        else:
            answer = target.ask("config-apply", files=_plain(texts), base=shown["base"], **fields)
    else:
        if edit.confirm_s:
            why = shown["why_not"] or "no gateway runs"
            raise OnpathError(f"--confirm needs a gateway that writes its configuration itself; {why}")
        answer = Outside(target.config, target.state).apply(texts, edit.comment, by)
    target.print(answer, _told(answer))


def _plain(texts: dict[str, bytes]) -> list[dict[str, str]]:
    try:
        return [{"name": name, "text": data.decode("utf-8-sig")} for name, data in texts.items()]
    except UnicodeDecodeError as error:
        raise OnpathError(f"not UTF-8: {error.reason} at byte {error.start}; save it as UTF-8") from None


def _told(answer: dict[str, Any]) -> str:
    parts = [
        f"{section}: {kind} {', '.join(names)}"
        for section, kinds in (answer.get("changes") or {}).items()
        for kind, names in kinds.items()
        if names
    ]
    number = answer.get("version")
    lines = [f"version {number} runs" if number else "written; no gateway runs", *parts]
    if answer.get("unconfirmed"):
        lines.append(
            f"it is undone in {answer['unconfirmed']['remaining_s']:g} s unless you run: onpath config confirm"
        )
    return "\n".join(lines)


def confirm_change(target: Target, *, keep: bool) -> None:
    """Keep what waits, or take it back."""
    answer = target.ask("config-confirm", keep=keep)
    number = answer["version"]
    target.print(answer, f"version {number} stays" if keep else f"taken back; version {number} runs")


def _who() -> str:
    """The person at the terminal, as far as it is known."""
    name = os.environ.get("SUDO_USER", "")
    if not name:
        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
    return f"{name} (command line)"
