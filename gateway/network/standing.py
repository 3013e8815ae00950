"""How services stand: applied, planned, followed by which nodes, and what passes through each tier. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.network.config import RANK, Tier

if TYPE_CHECKING:
    from gateway.network.advert import Advert, StageFacts
    from gateway.network.assignment import ServicePart
    from gateway.network.facts import Facts


@dataclass
class TierFacts:
    """All nodes of a tier together, a second."""

    nodes: int = 0
    samples_in: float = 0.0
    samples_out: float = 0.0
    bytes_out: float = 0.0
    cpu: float = 0.0
    """Cores."""

    def as_dict(self) -> dict[str, float]:
        """For machines."""
        return {
            "nodes": self.nodes, "samples_in": self.samples_in, "samples_out": self.samples_out,
            "bytes_out": self.bytes_out, "cpu": self.cpu,
        }  # fmt: skip


@dataclass
class Standing:
    """One service."""

    service: str
    version: int
    """Applied last; 0: the record is gone, and nodes still have it."""
    removed: bool
    applied_ms: int
    by: str
    planned: int
    """Version that is planned; 0: none."""
    epoch: int
    """Newest of the plan's parts; 0: none."""
    since_ms: int
    """From which time on samples are the planned version's, UTC; 0: all are, there was none before it."""
    nodes: int
    """With a part in the plan."""
    follow: dict[int, list[str]] = field(default_factory=dict)
    """Nodes by the epoch that they have applied."""
    behind: list[str] = field(default_factory=list)
    """Nodes that have not applied yet what the plan says to them."""
    silent: list[str] = field(default_factory=list)
    """Nodes with a part in the plan that say nothing."""
    points: int = 0
    """That its inputs select."""
    tiers: dict[Tier, TierFacts] = field(default_factory=dict)
    raw: float | None = None
    """Bytes a second to the core, were nothing computed on the way; None: no plan says it."""

    @property
    def state(self) -> str:
        """One word."""
        if self.removed:
            return "removing" if self.nodes or self.follow else "removed"
        if not self.planned:
            return "not planned"
        if self.planned < self.version:
            return "planned before"
        return "degraded" if self.silent else "switching" if self.behind else "ok"

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "service": self.service, "state": self.state, "version": self.version, "removed": self.removed,
            "applied_ms": self.applied_ms, "by": self.by, "planned_version": self.planned, "epoch": self.epoch,
            "since_ms": self.since_ms, "nodes": self.nodes,
            "epochs": {str(epoch): names for epoch, names in sorted(self.follow.items())},
            "behind": self.behind, "silent": self.silent, "points": self.points,
            "tiers": {tier.value: facts.as_dict() for tier, facts in self.tiers.items()}, "raw": self.raw,
        }  # fmt: skip


def standings(facts: Facts) -> list[Standing]:
    """All services that are known, by name."""
    planned = {name for plan in facts.plans.values() for name in plan.services}
    return [_standing(facts, name) for name in sorted(facts.services.keys() | planned)]


def partitions(facts: Facts) -> dict[str, list[int]]:
    """The parts of the core's work by the node that holds them."""
    return {name: sorted(one.partitions) for name, one in sorted(facts.adverts.items()) if one.tier is Tier.CORE}


def _standing(facts: Facts, name: str) -> Standing:
    record, parts = facts.services.get(name), facts.parts(name)
    told = facts.explanations.get(name)
    found = Standing(
        service=name,
        version=0 if record is None else record.version,
        removed=record is None or record.removed,
        applied_ms=0 if record is None else record.applied_ms,
        by="" if record is None else record.by,
        planned=max((part.version for part in parts.values()), default=0),
        epoch=max((part.epoch for part in parts.values()), default=0),
        since_ms=max((part.since_ns for part in parts.values()), default=0) // 1_000_000,
        nodes=len(parts),
        raw=None if told is None else told.raw_to_core,
    )
    for node, part in parts.items():
        advert = facts.adverts.get(node)
        if advert is None:
            found.silent.append(node)
        elif advert.epochs.get(name, 0) < part.epoch:
            found.behind.append(node)
    _add_adverts(found, facts.adverts.values(), parts)
    return found


def _add_adverts(found: Standing, adverts: Any, parts: dict[str, ServicePart]) -> None:
    follow: defaultdict[int, list[str]] = defaultdict(list)
    tiers: defaultdict[Tier, TierFacts] = defaultdict(TierFacts)
    for advert in adverts:
        if found.service in advert.epochs:
            follow[advert.epochs[found.service]].append(advert.node)
        found.points += advert.points.get(found.service, 0)
        if advert.node in parts or found.service in advert.stages:
            _add(tiers[advert.tier], advert, advert.stages.get(found.service, {}), found.service)
    found.follow = dict(follow)
    found.tiers = {tier: tiers[tier] for tier in sorted(tiers, key=RANK.__getitem__)}


def _add(tier: TierFacts, advert: Advert, stages: dict[int, StageFacts], service: str) -> None:
    tier.nodes += 1
    if not stages:
        passed = advert.inputs.get(service, 0.0)
        tier.samples_in += passed
        tier.samples_out += passed
        return
    first, last = stages[min(stages)], stages[max(stages)]
    tier.samples_in += first.samples_in
    tier.samples_out += last.samples_out
    tier.bytes_out += sum(one.bytes_out for one in stages.values())
    tier.cpu += sum(one.samples_in * one.cpu_us for one in stages.values()) / 1e6


def ranges(numbers: list[int]) -> Iterator[str]:
    """Numbers as ranges: ``0-3, 7``."""
    start = last = None
    for number in [*sorted(numbers), None]:
        if start is not None and number is not None and last is not None and number == last + 1:
            last = number
            continue
        if start is not None:
            yield f"{start}" if start == last else f"{start}-{last}"
        start = last = number
