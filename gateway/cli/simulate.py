"""``onpath simulate``: a file of samples through a configuration, offline."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.config import load_checked
from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.store.reading import EVER
from gateway.trial.facts import Facts, read_points
from gateway.trial.files import FileSource, Sorted, opened
from gateway.trial.journal import JournalSource, opened_journal
from gateway.trial.simulate import Progress, Simulation
from gateway.trial.source import Names, Source
from pipelines.bounds import Bound

LONG_FILE: Final = 8 << 20
"""Bytes from which a progress bar is shown."""
TERMINAL: Final = "-"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user wants to see."""

    config: Path
    input: Path | None = None
    journal: Path | None = None
    """State folder or configuration of a gateway, whose history is taken instead."""
    span: tuple[int, int] = EVER
    """Of the history, ns."""
    points: Path | None = None
    sort: bool = False
    exact: bool = False
    plot: str | None = None
    globs: list[str] = field(default_factory=list)
    suggest: bool = False
    error: str = "1%"
    as_json: bool = False


def run_simulation(request: Request) -> None:
    """Simulate, or suggest, and print.

    Raises:
        ConfigError: the configuration or the points file is not usable.
        OnpathError: the input cannot be read.
    """
    try:
        config = load_checked(request.config, os.environ).config
        gc.freeze()  # all that was loaded stays: not to be looked through for garbage again and again
    finally:
        gc.enable()
    facts = Facts(config, read_points(request.points) if request.points else None)
    if request.suggest:
        _suggest(request, Directory(config.max_points), facts)
        return
    wanted = (request.globs or ["**"]) if request.plot else []
    simulation = Simulation(config, facts, exact=request.exact, pictured=wanted)
    with _opened(request, simulation.names) as file, _progress(file, request) as progress:
        result = simulation.run(_ordered(file, request), progress)
    head = {"config": str(request.config), "input": str(request.input or request.journal), "kind": file.kind}
    if request.as_json:
        print(json.dumps(head | result))
    else:
        from gateway.cli.simulate_show import report

        report(head | result)
    if request.plot:
        _plot(simulation, request.plot)


def _suggest(request: Request, directory: Directory, facts: Facts) -> None:
    from gateway.trial.suggest import Suggestions

    try:
        wanted = Bound.parse(request.error)
    except ValueError as error:
        raise OnpathError(f"--error: {error}") from None
    with _opened(request, Names(directory, facts)) as file:
        found = Suggestions(directory, wanted).find(_ordered(file, request))
    if request.as_json:
        print(json.dumps(found))
    else:
        from gateway.cli.simulate_show import suggestions

        suggestions(found)


def _opened(request: Request, names: Names) -> AbstractContextManager[FileSource | JournalSource]:
    if request.journal is not None:
        return opened_journal(request.journal, names, *request.span)
    assert request.input is not None
    return opened(request.input, names)


def _ordered(file: FileSource | JournalSource, request: Request) -> Source:
    return Sorted(file) if request.sort else file


@contextmanager
def _progress(file: FileSource | JournalSource, request: Request) -> Iterator[Progress | None]:
    """A bar on standard error while a long file is read and somebody looks."""
    if file.size < LONG_FILE or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(str(request.input or request.journal), total=file.size)
        yield lambda source: bar.update(task, completed=source.done)


def _plot(simulation: Simulation, where: str) -> None:
    from gateway.trial.picture import Panel, braille, svg

    panels = [
        Panel(f"{step}: {simulation.directory.name(point)}", simulation.directory.point(point).unit, *series)
        for step, pictured in simulation.pictures.items()
        for point, series in pictured.series().items()
    ]
    if not panels:
        print("nothing to plot: no step leaves a series to reconstruct of these points", file=sys.stderr)
    elif where == TERMINAL:
        print(*map(braille, panels), sep="\n")
    else:
        _write(Path(where), svg(panels))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
