"""Runs pipeline tests, and compares what came out with what was expected."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.frame import Frame
from gateway.graph import NOBODY, Graph, Outputs
from gateway.point import Kind, compile_glob
from gateway.trial.cases import Case, Cases, Given
from gateway.trial.facts import Facts
from gateway.trial.files import opened
from gateway.trial.long import marked
from gateway.trial.replay import FINE, TICK_NS, Replay
from gateway.trial.simulate import apart
from gateway.trial.source import Names, Samples
from gateway.trial.table import Cell, shown
from gateway.uplinks.config import TimeFormat
from gateway.wire.record import samples

MISSING: Final = "missing"
UNEXPECTED: Final = "unexpected"
DIFFERENT: Final = "different"


@dataclass(frozen=True)
class Difference:
    """One sample that is not as expected."""

    what: str
    """:data:`MISSING`, :data:`UNEXPECTED` or :data:`DIFFERENT`."""
    point: str
    time: str
    expected: str
    got: str

    def as_dict(self) -> dict[str, str]:
        """Plain JSON types."""
        return {
            "what": self.what,
            "point": self.point,
            "time": self.time,
            "expected": self.expected,
            "got": self.got,
        }


@dataclass
class Outcome:
    """What became of one test."""

    file: str
    name: str
    differences: list[Difference] = field(default_factory=list)
    error: str = ""
    """Why it could not be run to its end."""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.differences and not self.error

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "file": self.file,
            "name": self.name,
            "passed": self.passed,
            "error": self.error,
            "differences": [difference.as_dict() for difference in self.differences],
            "seconds": round(self.seconds, 4),
        }


def run_cases(cases: Cases) -> list[Outcome]:
    """All tests of a file, each over pipelines that begin afresh."""
    return [_run_timed(cases, at, case) for at, case in enumerate(cases.file.tests)]


def _run_timed(cases: Cases, at: int, case: Case) -> Outcome:
    began = time.perf_counter()
    outcome = Outcome(str(cases.path), case.name)
    run = _Run(cases, case)
    try:
        for number, given in enumerate(case.given):
            run.happens(given, cases.given.get((at, number), []))
    except OnpathError as error:
        outcome.error = str(error)
    else:
        outcome.error = run.failed()
        outcome.differences = compared(cases.expect[at], run.came(), case.tolerance, case.only)
    outcome.seconds = time.perf_counter() - began
    return outcome


class _Run:
    """One test as it runs."""

    def __init__(self, cases: Cases, case: Case) -> None:
        config = cases.config
        self._folder = cases.path.parent
        self._directory = Directory(config.max_points)
        self._names = Names(self._directory, Facts(config, {**cases.file.points, **case.points}))
        self._graph = Graph(apart(config.effective), self._directory)
        self._wanted = config.pipelines.keys() if case.pipeline is None else {case.pipeline}
        self._out: list[Frame] = []
        self._replay = Replay(self._graph, self._take, span_ns=TICK_NS, growth=FINE)
        self._replay.start(case.start_ns)

    def _take(self, outputs: Outputs) -> None:
        self._out += [frame for uplink, pipeline, frame in outputs if uplink != NOBODY and pipeline in self._wanted]

    def happens(self, given: Given, table: Sequence[Cell]) -> None:
        """One thing that is given."""
        if given.samples is not None:
            if table:
                self._replay.feed(Samples(self._frame(table)))
        elif given.csv is not None:
            with opened(self._folder / given.csv, self._names) as source:
                for chunk in source.chunks():
                    self._replay.feed(chunk)
        elif given.clock is not None:
            self._replay.clock(given.clock.ns)
        else:
            self._replay.step(given.step_ns)

    def _frame(self, table: Sequence[Cell]) -> Frame:
        points = [self._names(cell.point) for cell in table]
        values = [self._value(cell) for cell in table]
        words = [cell.quality or 0 for cell in table]
        return marked(Frame.of(points, [cell.time for cell in table], values, words))

    def _value(self, cell: Cell) -> float:
        if not isinstance(cell.value, str):
            return cell.value
        point = self._names(cell.point)
        if self._directory.point(point).kind is not Kind.STATE:
            self._names.become_state(cell.point)
        return self._directory.state(point, cell.value)

    def failed(self) -> str:
        """Which steps raised an error; empty if none did."""
        pipelines = self._graph.pipelines.items()
        steps = [f"{name}: {step.kind}" for name, pipeline in pipelines for step in pipeline.steps if step.failures]
        return f"a step failed and dropped its samples: {', '.join(steps)}" if steps else ""

    def came(self) -> list[Cell]:
        """All that came out; states as texts."""
        found: list[Cell] = []
        for frame in self._out:
            rows = samples(frame, self._directory, TimeFormat.NS)
            for row, value, word in zip(rows, frame.value.tolist(), frame.quality.tolist(), strict=True):
                text = row["value"] if isinstance(row["value"], str) else value
                found.append(Cell(row["point"], row["time"], text, word))
        return found


def compared(expected: Sequence[Cell], came: Sequence[Cell], tolerance: float, only: Sequence[str]) -> list[Difference]:
    """What differs, by point and time. Of several samples for one point and time the first go with the first."""
    globs = [compile_glob(glob) for glob in only]
    places: dict[tuple[str, int], tuple[list[Cell], list[Cell]]] = {}
    for which, cells in enumerate((expected, came)):
        for cell in cells:
            if any(glob.match(cell.point) for glob in globs):
                places.setdefault((cell.point, cell.time), ([], []))[which].append(cell)
    found: list[Difference] = []
    for place in sorted(places):
        left, right = places[place]
        for at in range(max(len(left), len(right))):
            wanted, got = _at(left, at), _at(right, at)
            if not _same(wanted, got, tolerance):
                found.append(_difference(place, wanted, got))
    return found


def _at(cells: Sequence[Cell], at: int) -> Cell | None:
    return cells[at] if at < len(cells) else None


def _same(wanted: Cell | None, got: Cell | None, tolerance: float) -> bool:
    if wanted is None or got is None:
        return False
    return (wanted.quality is None or wanted.quality == got.quality) and _equal(wanted.value, got.value, tolerance)


def _equal(wanted: float | str, got: float | str, tolerance: float) -> bool:
    if isinstance(wanted, str) or isinstance(got, str):
        return str(wanted) == str(got)
    if math.isnan(wanted) or math.isnan(got):
        return math.isnan(wanted) and math.isnan(got)
    return wanted == got or abs(wanted - got) <= tolerance


def _difference(place: tuple[str, int], wanted: Cell | None, got: Cell | None) -> Difference:
    what = MISSING if got is None else UNEXPECTED if wanted is None else DIFFERENT
    point, time_ns = place
    texts = [shown(None, None) if cell is None else shown(cell.value, cell.quality) for cell in (wanted, got)]
    return Difference(what, point, told_time(time_ns), *texts)


def told_time(time_ns: int) -> str:
    """A time in RFC 3339, with as many decimals as it has."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"
