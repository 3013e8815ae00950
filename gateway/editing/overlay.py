"""Texts that are not on disk, judged as if they were: problems, differences, and what a reload would touch. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.config import GatewayConfig, Loaded, extended
from gateway.config.expand import Expander
from gateway.config.load import load_texts
from gateway.editing.files import Texts
from gateway.errors import ConfigError, Problem
from gateway.reload import Changes, compare

Additions = Mapping[str, dict[str, Any]]
"""What has joined by discovery, by the key of the finding."""
TAKES_RESTART: Final = "cannot change while running: change the file by hand, and restart the gateway"


@dataclass(frozen=True)
class Judged:
    """What was found."""

    loaded: Loaded | None
    problems: list[Problem]
    """It cannot be run."""
    warnings: list[Problem]
    """It can, and is probably not meant."""
    restart: list[Problem]
    """It can, but not by the process that runs now."""
    changes: Changes | None
    """What a reload would do; None if it would be refused."""

    def rows(self) -> list[dict[str, Any]]:
        """All of them as plain JSON types. What takes a restart is an error: it cannot be applied."""
        graded = [(one, "error") for one in sorted([*self.problems, *self.restart])]
        return [row(one, severity) for one, severity in [*graded, *((one, "warning") for one in self.warnings)]]


def row(problem: Problem, severity: str) -> dict[str, Any]:
    """A problem as plain JSON types."""
    fields = ("file", "line", "column", "path", "message")
    return {**{field: getattr(problem, field) for field in fields}, "severity": severity}


def judge(texts: Texts, env: Mapping[str, str], running: GatewayConfig, joined: Additions) -> Judged:
    """What ``onpath check`` would say of these files, and what a running gateway would."""
    names = {Path(name): texts[name] for name in sorted(texts)}
    try:
        loaded = load_texts(names, Expander(env))
    except ConfigError as error:
        return Judged(None, error.problems, [], [], None)
    fresh = extended(loaded, joined)[0] if joined else loaded.config
    try:
        return Judged(loaded, [], loaded.warnings, [], compare(running, fresh))
    except ConfigError as error:
        restart = [_placed(loaded, problem) for problem in error.problems]
        return Judged(loaded, [], loaded.warnings, restart, None)


def _placed(loaded: Loaded, problem: Problem) -> Problem:
    """A key that holds for the life of the process, at its place in the file."""
    entry = loaded.root.entries.get(problem.path)
    mark = entry.key if entry is not None else loaded.root.mark
    return mark.problem(problem.path, TAKES_RESTART)


def unified(old: Texts, new: Texts) -> str:
    """The difference as ``diff -u`` has it, for all files."""
    return "".join(
        line
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
        for line in _file_diff(name, old.get(name), new.get(name))
    )


def _file_diff(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    before = "/dev/null" if old is None else f"a/{name}"
    after = "/dev/null" if new is None else f"b/{name}"
    for line in difflib.unified_diff(_lines(old), _lines(new), before, after):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(text: bytes | None) -> list[str]:
    return _text(text or b"").splitlines(keepends=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace")


def plain_files(texts: Texts) -> list[dict[str, str]]:
    """Files as they are shown."""
    return [{"name": name, "text": _text(data)} for name, data in texts.items()]


def not_text(texts: Texts) -> list[str]:
    """Files that cannot be shown and written back without a loss."""

    def bad(data: bytes) -> bool:
        try:
            data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return True
        return False

    return [name for name, data in texts.items() if bad(data)]


def wanted(files: Iterable[tuple[str, str]], now: Texts) -> dict[str, bytes]:
    """The bytes that texts stand for; a file whose text is the same stays as it is, byte for byte."""
    return {name: now[name] if name in now and _text(now[name]) == text else text.encode() for name, text in files}
