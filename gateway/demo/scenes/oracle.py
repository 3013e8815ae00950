"""The judge of a scene: what gateways accepted from their devices against what the network made of it. Pure.

It reads files that the network has no hand in: each gateway writes the samples that it has accepted by an uplink of its
own (``file``, format ``json``, times in ns). Counts and sums of whole steps of a point's resolution are integers, and
must be the same in the results, window by window; so must the extremes, which are single samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.point import compile_glob

if TYPE_CHECKING:
    from gateway.demo.scenes.results import Told

S_NS = 1_000_000_000


class Range(NamedTuple):
    """Times that are compared, ns: whole windows."""

    begin_ns: int
    end_ns: int
    every_ns: int

    @property
    def windows(self) -> int:
        """How many."""
        return (self.end_ns - self.begin_ns) // self.every_ns


@dataclass(frozen=True, kw_only=True)
class Check:
    """Which results of a service are compared with what."""

    service: str
    points: str
    """Glob of the points that go in, as a gateway calls them."""
    result: str
    """What a result is called, with the labels of the gateway in braces: ``{site}/power``."""
    resolution: float
    """Of the points: sums are whole steps of it."""
    only: dict[str, str] = field(default_factory=dict)
    """Labels that gateways must have."""
    stats: tuple[str, ...] = ("count", "sum")
    """Those that are compared: count, sum, min, max."""


@dataclass
class Cell:
    """One window of one result."""

    count: int = 0
    steps: int = 0
    low: float = float("inf")
    high: float = float("-inf")

    def figures(self, resolution: float) -> dict[str, float]:
        """By statistic."""
        return {"count": self.count, "sum": self.steps * resolution, "min": self.low, "max": self.high}


class _Sample(msgspec.Struct):
    point: str
    time: int
    quality: str
    value: float | str | None


class _Line(msgspec.Struct):
    samples: list[_Sample]


_decode = msgspec.json.Decoder(_Line).decode
Cells = dict[tuple[str, str, int], Cell]
"""By service, result and end of the window, ns."""


class Accepted:
    """What gateways have accepted, added up by window."""

    def __init__(self, checks: Iterable[Check], span: Range) -> None:
        self._checks = [(check, compile_glob(check.points)) for check in checks]
        self._span = span
        self.cells: Cells = defaultdict(Cell)
        self.samples = 0
        """Within the time that is compared."""
        self.bytes_raw = 0
        """Of these as they stand in the lines of the file."""
        self.by_node: dict[str, int] = {}
        """The bytes by gateway."""

    def read(self, labels: Mapping[str, str], lines: Iterable[bytes]) -> None:
        """Take a gateway's file."""
        mine = [one for one in self._checks if all(labels.get(key) == text for key, text in one[0].only.items())]
        raw = 0.0
        for line in lines:
            samples = _decode(line).samples
            inside = [one for one in samples if self._span.begin_ns <= one.time < self._span.end_ns]
            if not inside:
                continue
            self.samples += len(inside)
            raw += len(line.rstrip(b"\n")) * len(inside) / len(samples)
            for sample in inside:
                self._add(mine, labels, sample)
        self.by_node[labels["node"]] = round(raw)
        self.bytes_raw += round(raw)

    def _add(self, checks: list[Any], labels: Mapping[str, str], sample: _Sample) -> None:
        value = sample.value
        if not isinstance(value, float) or sample.quality.startswith("invalid"):
            return
        end = sample.time // self._span.every_ns * self._span.every_ns + self._span.every_ns
        for check, glob in checks:
            if glob.match(sample.point):
                cell = self.cells[check.service, check.result.format(**labels), end]
                cell.count += 1
                cell.steps += round(value / check.resolution)
                cell.low, cell.high = min(cell.low, value), max(cell.high, value)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparison says."""

    compared: int
    """Figures."""
    windows: int
    """Windows of results."""
    differing: list[str]
    """What is not as it should be, a line each."""

    @property
    def exact(self) -> bool:
        """Whether there was something to compare and all of it is the same."""
        return self.compared > 0 and not self.differing


def judge(accepted: Accepted, checks: Iterable[Check], told: Mapping[tuple[str, str, int], Told]) -> Verdict:
    """Compare; a window whose results are missing differs, and so does a result without samples."""
    by_name = {check.service: check for check in checks}
    compared, differing = 0, []
    for (service, result, end), cell in sorted(accepted.cells.items()):
        check = by_name[service]
        figures = cell.figures(check.resolution)
        for stat in check.stats:
            compared += 1
            known = told.get((service, f"{result}#{stat}", end))
            if known is None or not _same(known.value, figures[stat], check.resolution):
                has = "nothing" if known is None else f"{known.value}"
                differing.append(f"{service} {result}#{stat} at {end // S_NS}: {has} in place of {figures[stat]:g}")
    differing += _invented(accepted, by_name, told)
    return Verdict(compared=compared, windows=len(accepted.cells), differing=differing)


def _same(value: float | str | None, wanted: float, resolution: float) -> bool:
    """Whether they are the same whole number of steps: a value may differ in the last bit of its float only."""
    if not isinstance(value, (int, float)):
        return False
    return round(value / resolution) == round(wanted / resolution) and abs(value - wanted) <= 1e-9 * max(1, abs(wanted))


def _invented(
    accepted: Accepted, checks: Mapping[str, Check], told: Mapping[tuple[str, str, int], Told]
) -> Iterator[str]:
    """Counts of windows that no sample was accepted for."""
    span = accepted._span  # noqa: SLF001  the same module
    for (service, point, end), known in sorted(told.items()):
        name, _, stat = point.rpartition("#")
        mine = service in checks and stat == "count" and span.begin_ns < end <= span.end_ns
        if mine and known.value and (service, name, end) not in accepted.cells:
            yield f"{service} {point} at {end // S_NS}: {known.value} in place of nothing"
