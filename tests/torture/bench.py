"""What the torture bench is made of: scales, scenarios and their outcomes, and the report."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Scale(enum.StrEnum):
    """How much is tried; ``change`` is what every change should pass."""

    SMOKE = "smoke"
    CHANGE = "change"
    NIGHTLY = "nightly"
    RELEASE = "release"


Counts = Mapping[Scale, int]


def counts(smoke: int, change: int, nightly: int, release: int) -> Counts:
    """Trials by scale."""
    return dict(zip(Scale, (smoke, change, nightly, release), strict=True))


def once() -> Counts:
    """The same at every scale."""
    return counts(1, 1, 1, 1)


@dataclass
class Outcome:
    """What a scenario found."""

    n: int
    """Trials that were made."""
    failures: list[str] = field(default_factory=list)
    """One text for each thing that must not be."""
    facts: dict[str, str] = field(default_factory=dict)
    """What was measured on the way."""
    seconds: float = 0.0

    @property
    def bound(self) -> str:
        """What N trials without a failure say of the probability of one, with 95 % confidence: the rule of three."""
        return f"p < {min(1.0, 3 / self.n):.2g}" if self.n and not self.failures else "-"

    def expect(self, what: str, *, holds: bool) -> None:
        """Note a failure unless it holds."""
        if not holds:
            self.failures.append(what)


class Scenario(Protocol):
    """One line of the table of what must be survived."""

    name: str
    must: str
    counts: Counts

    async def run(self, n: int, folder: Path) -> Outcome:
        """Make ``n`` trials; the folder is its own."""


@dataclass
class Story:
    """A scenario told by a function: a real site, something happens to it, and what it must have survived."""

    name: str
    must: str
    tell: Callable[[int, Path], Awaitable[Outcome]]
    counts: Counts

    async def run(self, n: int, folder: Path) -> Outcome:
        """See :class:`Scenario`."""
        return await self.tell(n, folder)


def report(scale: Scale, results: Mapping[str, tuple[Scenario, Outcome]]) -> str:
    """The report in Markdown."""
    lines = [
        f"# Torture, scale `{scale}`",
        "",
        "N trials without a failure bound its probability by 3/N with 95 % confidence.",
        "",
        "| scenario | must | N | failures | bound | seconds | measured |",
        "|---|---|---|---|---|---|---|",
    ]
    for scenario, outcome in results.values():
        facts = ", ".join(f"{name} {value}" for name, value in outcome.facts.items())
        lines.append(
            f"| {scenario.name} | {scenario.must} | {outcome.n} | {len(outcome.failures)} | {outcome.bound} "
            f"| {outcome.seconds:.0f} | {facts} |"
        )
    for scenario, outcome in results.values():
        if outcome.failures:
            lines += ["", f"## {scenario.name} failed", "", *(f"* {failure}" for failure in outcome.failures[:50])]
    return "\n".join([*lines, "", summary(results), ""])


def summary(results: Mapping[str, tuple[Scenario, Outcome]]) -> str:
    """The last line: how much was tried and how much of it failed."""
    n = sum(outcome.n for _, outcome in results.values())
    failures = sum(len(outcome.failures) for _, outcome in results.values())
    failed = [name for name, (_, outcome) in results.items() if outcome.failures]
    worst = f" ({', '.join(failed)})" if failed else ""
    return f"torture: {len(results)} scenarios, N = {n}, {failures} failures{worst}"
