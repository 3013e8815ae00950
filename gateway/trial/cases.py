"""Pipeline tests as users write them: YAML beside the configuration, ``site.test.yaml`` beside ``site.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from gateway.config import GatewayConfig, load_checked
from gateway.config.convert import locate
from gateway.config.nodes import Mapping as Tree
from gateway.config.nodes import path_text
from gateway.errors import ConfigError, FieldError, PayloadError, Problem
from gateway.point import PointOptions
from gateway.trial.facts import read_yaml
from gateway.trial.table import Cell, TableError, parse_table
from gateway.trial.times import TimeReader
from gateway.units import Duration
from pipelines.base import Glob

START: Final = "2026-01-01T00:00:00Z"
SUFFIXES: Final = (".test.yaml", ".test.yml")


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that happens; exactly one of the four."""

    samples: str | None = None
    """A table of samples; they come at their times."""
    csv: str | None = None
    """A file of samples, beside the test: CSV, JSON lines or frames, as ``onpath simulate`` reads them."""
    clock: Duration | None = None
    """So much time passes."""
    step: str | None = None
    """The wall clock jumps: ``1h``, ``-30s``. Timers do not notice; later samples carry the new time."""

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.samples, self.csv, self.clock, self.step)) != 1:
            raise FieldError((), "needs exactly one of samples, csv, clock and step")
        if self.step is not None:
            try:
                Duration.parse(self.step.lstrip("+-"))
            except ValueError as error:
                raise FieldError("step", str(error)) from None

    @property
    def step_ns(self) -> int:
        """The jump; negative if it goes back."""
        assert self.step is not None
        return (-1 if self.step.startswith("-") else 1) * Duration.parse(self.step.lstrip("+-")).ns


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One test: what comes in, and what has to come out."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    """What messages call it."""
    pipeline: str | None = None
    """The pipeline whose output is compared, ``alert.<rule>`` for that of an alert; left out: the output of all that
    the configuration names."""
    points: dict[str, PointOptions] = {}
    """What is known of points, by name or glob; goes before what adapters declare."""
    start: str = START
    """When the test begins: what ``+20s`` in tables counts from."""
    given: list[Given]
    """What happens, in order."""
    expect: str = ""
    """A table of all samples that come out, in any order; empty: nothing does."""
    only: list[Glob] = msgspec.field(default_factory=lambda: ["**"])
    """Points that are compared; others may come out or not."""
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 1e-9
    """How far a value may lie from the one expected."""

    def __post_init__(self) -> None:
        try:
            TimeReader()[self.start]
        except PayloadError as error:
            raise FieldError("start", str(error)) from None

    @property
    def start_ns(self) -> int:
        """When the test begins, ns."""
        return TimeReader()[self.start]


class CasesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of tests."""

    config: str | None = None
    """File or folder of the configuration, from the test's folder. Default: ``site.yaml`` for
    ``site.test.yaml`` if there is one, else the folder."""
    env: dict[str, str] = {}
    """Variables for ``${...}`` in the configuration, beside those of the environment."""
    points: dict[str, PointOptions] = {}
    """As in a test, for all of them."""
    tests: Annotated[list[Case], msgspec.Meta(min_length=1)]
    """The tests."""


@dataclass(frozen=True)
class Cases:
    """A file of tests that can be run."""

    path: Path
    file: CasesFile
    config: GatewayConfig
    given: Mapping[tuple[int, int], list[Cell]]
    """The tables by number of the test and of the thing given."""
    expect: list[list[Cell]]
    """By number of the test."""


def load_cases(path: Path, env: Mapping[str, str]) -> Cases:
    """Read a file of tests and its configuration.

    Raises:
        ConfigError: one of both is wrong, with every problem.
        OnpathError: the file cannot be read.
    """
    file, tree = read_yaml(path, CasesFile)
    config = load_checked(config_of(path, file.config), {**env, **file.env}).config
    reader = _Tables(tree)
    for at, case in enumerate(file.tests):
        reader.case(at, case, config)
    if reader.problems:
        raise ConfigError(reader.problems)
    return Cases(path, file, config, reader.given, reader.expect)


def config_of(path: Path, named: str | None) -> Path:
    """Where the configuration of a test is."""
    if named is not None:
        return path.parent / named
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            beside = path.with_name(path.name.removesuffix(suffix) + suffix.removeprefix(".test"))
            if beside.exists():
                return beside
    return path.parent


class _Tables:
    """Reads the tables of all tests, and says which pipelines are not there."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.problems: list[Problem] = []
        self.given: dict[tuple[int, int], list[Cell]] = {}
        self.expect: list[list[Cell]] = []

    def case(self, at: int, case: Case, config: GatewayConfig) -> None:
        """Take one test."""
        if case.pipeline is not None and case.pipeline not in config.effective:
            known = ", ".join(config.effective) or "none"
            self._report(("tests", at, "pipeline"), 0, f'no pipeline is named "{case.pipeline}" (known: {known})')
        for number, given in enumerate(case.given):
            if given.samples is not None:
                path = ("tests", at, "given", number, "samples")
                self.given[at, number] = self._table(given.samples, case.start_ns, path)
                if any(cell.quality is None for cell in self.given[at, number]):
                    self._report(path, 0, 'the quality "any" can only be expected')
        self.expect.append(self._table(case.expect, case.start_ns, ("tests", at, "expect")))

    def _table(self, text: str, start_ns: int, path: tuple[str | int, ...]) -> list[Cell]:
        try:
            return parse_table(text, start_ns)
        except TableError as error:
            self._report(path, error.line + 1, str(error))
            return []

    def _report(self, path: tuple[str | int, ...], below: int, message: str) -> None:
        mark = locate(self._tree, path) or self._tree.mark
        self.problems.append(Problem(mark.file, mark.line + below, mark.column, path_text(path), message))
