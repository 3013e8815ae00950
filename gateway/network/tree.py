"""A service's plan as a tree of places: who sends to whom, what runs where, what each link carries. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.network.advert import Advert
from gateway.network.assignment import ServicePart
from gateway.network.config import Tier
from gateway.network.grouping import Place
from gateway.network.plan.explanation import Explanation, LinkLoad

CORE: Final = "core"
"""What all of the core's nodes together are called."""
AGAIN: Final = " again"
"""Behind a merge that joins what children have merged."""


@dataclass
class _Work:
    """What is known of all nodes."""

    explanation: Explanation
    parts: Mapping[str, ServicePart]
    adverts: Mapping[str, Advert]
    children: dict[str, list[str]] = field(default_factory=dict)
    """By parent; those of the core below :data:`CORE`."""
    loads: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Bytes and raw bytes of the link that leaves a node, a second."""


def tree_of(explanation: Explanation, parts: Mapping[str, ServicePart], adverts: Mapping[str, Advert]) -> Place:
    """The core, and all below it.

    Args:
        explanation: of the plan.
        parts: what each node does for the service.
        adverts: of the nodes, if they are known.
    """
    work = _Work(explanation, parts, adverts)
    for name, part in sorted(parts.items()):
        if _tier(work, name) is not Tier.CORE:
            work.children.setdefault(part.parent if part.parent in parts else CORE, []).append(name)
    work.loads = _loads(work)
    below = tuple(_place(work, name, {name}) for name in work.children.get(CORE, []))
    cuts = [parts[name].cut for name in work.children.get(CORE, [])]
    workers = max((where.nodes for s in explanation.stages for where in s.where if where.tier == CORE), default=0)
    name = CORE if workers < 2 else f"{CORE} ({workers} nodes)"
    return Place(name, Tier.CORE, _stages(explanation, cuts, len(explanation.stages)), 0.0, 0.0, children=below)


def _place(work: _Work, name: str, above: Collection[str]) -> Place:
    part, below = work.parts[name], [child for child in work.children.get(name, []) if child not in above]
    tier = _tier(work, name)
    cuts = [work.parts[child].cut for child in below]
    if _has_inputs(work, name, tier):
        cuts.append(0)
    sent, raw = work.loads.get(name, (0.0, 0.0))
    return Place(
        name=name,
        tier=tier,
        stages=_stages(work.explanation, cuts, part.cut),
        bytes_s=sent,
        raw_s=raw,
        cpu=_cpu(work, name),
        children=tuple(_place(work, child, {*above, child}) for child in below),
    )


def _has_inputs(work: _Work, name: str, tier: Tier) -> bool:
    advert = work.adverts.get(name)
    if advert is None:
        return tier is Tier.ACCESS
    return bool(advert.points.get(work.explanation.service)) or tier is Tier.ACCESS


def _stages(explanation: Explanation, cuts: Collection[int], upto: int) -> tuple[str, ...]:
    """What runs where something enters at these cuts and leaves at another."""
    low = min(cuts, default=0)
    named = []
    for stage in explanation.stages:
        kind = stage.operator if stage.kind in {"step", "post"} else f"{stage.operator} ({stage.kind})"
        if low < stage.index <= upto:
            named.append(kind)
        elif stage.kind == "merge" and stage.index <= low and upto < len(explanation.stages) and len(cuts) > 1:
            named.append(kind + AGAIN)
    return tuple(named)


def _tier(work: _Work, name: str) -> Tier:
    advert = work.adverts.get(name)
    if advert is not None:
        return advert.tier
    link = next((one for one in work.explanation.links if one.node == name), None)
    if link is not None:
        return Tier(link.tier)
    return Tier.AGGREGATION if name in work.children else Tier.ACCESS


def _cpu(work: _Work, name: str) -> float:
    advert = work.adverts.get(name)
    facts = advert.stages.get(work.explanation.service, {}) if advert is not None else {}
    return sum(one.samples_in * one.cpu_us for one in facts.values()) / 1e6


def _loads(work: _Work) -> dict[str, tuple[float, float]]:
    """What each link carries; those that the explanation leaves out share what is left of their tier."""
    listed: dict[str, LinkLoad] = {link.node: link for link in work.explanation.links}
    loads = {name: (link.bytes, link.raw) for name, link in listed.items()}
    for load in work.explanation.tiers:
        missing = [name for name in work.parts if name not in listed and _tier(work, name) == load.tier]
        if missing:
            sent = load.bytes - sum(one.bytes for one in listed.values() if one.tier == load.tier)
            raw = load.raw - sum(one.raw for one in listed.values() if one.tier == load.tier)
            share = (max(0.0, sent) / len(missing), max(0.0, raw) / len(missing))
            loads |= dict.fromkeys(missing, share)
    return loads
