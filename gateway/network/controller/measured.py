"""What stages do, smoothed over adverts: by node where it is known, else over all nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.network.advert import Advert, StageFacts

FRESH: Final = 0.3
"""Weight of a new advert."""
LEAST: Final = 0.01
"""Samples a second below which nothing is learned."""


@dataclass
class Ratio:
    """A quotient of two rates, both smoothed, so that few samples weigh little."""

    above: float = 0.0
    below: float = 0.0

    def note(self, above: float, below: float) -> None:
        """One more measurement."""
        if self.below == 0.0:
            self.above, self.below = above, below
        else:
            self.above += FRESH * (above - self.above)
            self.below += FRESH * (below - self.below)

    @property
    def known(self) -> bool:
        """Whether there is anything to divide by."""
        return self.below > 0.0

    def value(self) -> float:
        """The quotient."""
        return self.above / self.below


@dataclass
class StageMeasured:
    """One stage, at one node or over all."""

    passes: Ratio = field(default_factory=Ratio)
    """Samples out for each that came in."""
    bytes: Ratio = field(default_factory=Ratio)
    """Of a sample that left the node behind it."""
    cpu_us: Ratio = field(default_factory=Ratio)
    """CPU of a sample that came in."""

    def note(self, facts: StageFacts) -> None:
        """What an advert says."""
        if facts.samples_in > LEAST:
            self.passes.note(facts.samples_out, facts.samples_in)
            if facts.cpu_us > 0:
                self.cpu_us.note(facts.cpu_us * facts.samples_in, facts.samples_in)
        # Where only some of it left behind this stage (the plan has just changed), the quotient says little
        if facts.bytes_out > 0 and facts.samples_out > LEAST:
            self.bytes.note(facts.bytes_out, facts.samples_out)


class Measured:
    """All of them. Keys: service, version of the service, stage."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str, int, int], StageMeasured] = {}
        self._all: dict[tuple[str, int, int], StageMeasured] = {}
        self._rates: dict[tuple[str, str], float] = {}

    def note(self, advert: Advert, versions: dict[str, int]) -> None:
        """What one advert says; of services that are not known any more nothing."""
        for name, rate in advert.inputs.items():
            key = (advert.node, name)
            before = self._rates.get(key)
            self._rates[key] = rate if before is None else before + FRESH * (rate - before)
        for name, stages in advert.stages.items():
            version = versions.get(name)
            if version is None:
                continue
            for index, facts in stages.items():
                self._nodes.setdefault((advert.node, name, version, index), StageMeasured()).note(facts)
                self._all.setdefault((name, version, index), StageMeasured()).note(facts)

    def forget(self, versions: dict[str, int]) -> None:
        """Let go of what belongs to services and versions that are gone."""
        self._nodes = {key: one for key, one in self._nodes.items() if versions.get(key[1]) == key[2]}
        self._all = {key: one for key, one in self._all.items() if versions.get(key[0]) == key[1]}
        self._rates = {key: rate for key, rate in self._rates.items() if key[1] in versions}

    def rate(self, node: str, service: str) -> float:
        """Samples a second that a service's inputs select at a node; 0 if it is not known."""
        return self._rates.get((node, service), 0.0)

    def at(self, node: str, service: str, version: int, stage: int) -> StageMeasured | None:
        """What is known of a stage at one node."""
        return self._nodes.get((node, service, version, stage))

    def over_all(self, service: str, version: int, stage: int) -> StageMeasured | None:
        """What is known of a stage over all nodes."""
        return self._all.get((service, version, stage))
