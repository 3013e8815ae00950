"""``onpath test``: pipeline tests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from gateway.errors import ConfigError, OnpathError, Problem
from gateway.trial.cases import SUFFIXES, load_cases
from gateway.trial.check import DIFFERENT, MISSING, UNEXPECTED, Outcome, run_cases
from gateway.trial.junit import junit

_SIGNS: Final = {MISSING: "-", UNEXPECTED: "+", DIFFERENT: "~"}
MOST: Final = 50
"""Differences of one test that are printed."""


def run_tests(paths: Sequence[Path], junit_file: Path | None, *, as_json: bool) -> None:
    """Run the tests of all files; exit 1 if one fails.

    Raises:
        ConfigError: a file, or its configuration, is not usable; nothing was run.
        OnpathError: a file cannot be read or written.
    """
    problems: list[Problem] = []
    loaded = []
    for path in _files(paths):
        try:
            loaded.append(load_cases(path, os.environ))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(sorted(set(problems)))
    outcomes = [outcome for cases in loaded for outcome in run_cases(cases)]
    if junit_file is not None:
        try:
            junit_file.write_text(junit(outcomes), "utf-8")
        except OSError as error:
            raise OnpathError(f"{junit_file}: {error.strerror}") from error
    if as_json:
        failed = sum(not outcome.passed for outcome in outcomes)
        print(json.dumps({"tests": [outcome.as_dict() for outcome in outcomes], "failed": failed}))
    else:
        _print(outcomes)
    if not all(outcome.passed for outcome in outcomes):
        sys.exit(1)


def _files(paths: Sequence[Path]) -> list[Path]:
    """Files, and for a folder all its tests."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES)) if path.is_dir() else [path]
        if not inside:
            raise OnpathError(f"{path}: no *.test.yaml in this folder")
        found += inside
    return found


def _print(outcomes: Sequence[Outcome]) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 140
    for outcome in outcomes:
        console.print(f"{'ok  ' if outcome.passed else 'FAIL'} {outcome.file}: {outcome.name}")
        if outcome.error:
            console.print(f"     {outcome.error}")
        if outcome.differences:
            console.print(_diff(outcome))
        if len(outcome.differences) > MOST:
            console.print(f"     and {len(outcome.differences) - MOST:,} more")
    failed = sum(not outcome.passed for outcome in outcomes)
    console.print(f"{len(outcomes)} tests, {failed} failed")


def _diff(outcome: Outcome) -> Table:
    table = Table("", "point", "time", "expected", "got", box=None, pad_edge=True)
    for one in outcome.differences[:MOST]:
        table.add_row(f"   {_SIGNS[one.what]}", one.point, one.time, one.expected, one.got)
    return table
