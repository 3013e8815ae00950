"""From adverts and services to a problem. Pure: the same adverts always give the same problem."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.network.config import RANK, Tier
from gateway.network.controller import defaults
from gateway.network.controller.service_view import ServiceView, service_view
from gateway.network.plan.problem import Floats, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.network.advert import Advert, LinkFacts
    from gateway.network.chain import Chain
    from gateway.network.controller.measured import Measured

NO_LINK: Final = 1_000_000.0
"""Bytes a second of a link that a node says nothing of."""


@dataclass(frozen=True)
class Wanted:
    """A service that is to run."""

    chain: Chain
    version: int
    yaml: str

    @property
    def name(self) -> str:
        """The service's."""
        return self.chain.service.service


@dataclass(frozen=True)
class View:
    """The network as it is now; n nodes that are not of the core."""

    nodes: tuple[Advert, ...]
    """By name, [n]."""
    core: tuple[Advert, ...]
    links: tuple[LinkFacts | None, ...]
    """The way to the parent that was chosen, [n]."""
    hop_s: Floats
    """From a node to its parent, [n]."""
    wanted: tuple[Wanted, ...]
    services: tuple[ServiceView, ...]
    problem: Problem

    @cached_property
    def number(self) -> dict[str, int]:
        """A node's number by its name."""
        return {advert.node: number for number, advert in enumerate(self.nodes)}

    def parent_of(self, node: int) -> str:
        """Name of its parent; empty: the core."""
        parent = int(self.problem.parent[node])
        return "" if parent < 0 else self.nodes[parent].node


def view_of(adverts: Mapping[str, Advert], wanted: Sequence[Wanted], measured: Measured) -> View:
    """The view.

    Args:
        adverts: of the nodes that live, by name.
        wanted: services, each name once.
        measured: what their stages did until now.
    """
    ordered = [adverts[name] for name in sorted(adverts)]
    core = tuple(advert for advert in ordered if advert.tier is Tier.CORE)
    nodes = tuple(advert for advert in ordered if advert.tier is not Tier.CORE)
    parent = _parents(nodes)
    links = tuple(
        _link(advert, "" if above < 0 else nodes[above].node) for advert, above in zip(nodes, parent, strict=True)
    )
    hop_s = np.array([defaults.HOP_S + (0.0 if link is None else link.round_trip_s) for link in links], np.float64)
    services = tuple(service_view(one, nodes, core, parent, hop_s, measured) for one in wanted)
    tiers = [advert.tier for advert in nodes]
    problem = Problem(
        names=tuple(advert.node for advert in nodes),
        tier=np.array([RANK[tier] for tier in tiers], np.int64),
        parent=np.array(parent, np.int64),
        cpu=np.array([max(advert.headroom, 0.0) for advert in nodes] + [_core_cpu(core)], np.float64),
        up=np.array([_room(advert, link) for advert, link in zip(nodes, links, strict=True)], np.float64),
        cpu_price=np.array([defaults.CPU_PRICE[tier] for tier in [*tiers, Tier.CORE]], np.float64),
        link_price=np.array([1.0 if link is None else link.price for link in links], np.float64),
        services=tuple(service.problem for service in services),
    )
    return View(nodes, core, links, hop_s, tuple(wanted), services, problem)


def _core_cpu(core: Sequence[Advert]) -> float:
    """Cores; as long as nobody of the core has said anything, as much as a plan could need."""
    return sum(max(advert.headroom, 0.0) for advert in core) if core else 1e6


def _parents(nodes: Sequence[Advert]) -> list[int]:
    """The first parent of each that lives and is no access node, -1 for the core; never a circle."""
    number = {advert.node: at for at, advert in enumerate(nodes) if advert.tier is Tier.AGGREGATION}
    parent = [-1] * len(nodes)
    for at, advert in enumerate(nodes):
        for name in advert.parents:
            above = number.get(name, -1)
            if above >= 0 and not _leads_to(parent, above, at):
                parent[at] = above
                break
    return parent


def _leads_to(parent: list[int], node: int, target: int) -> bool:
    while node >= 0:
        if node == target:
            return True
        node = parent[node]
    return False


def _link(advert: Advert, to: str) -> LinkFacts | None:
    return next((link for link in advert.links if link.to == to), advert.links[0] if advert.links else None)


def _room(advert: Advert, link: LinkFacts | None) -> float:
    """Bytes a second that services may use: what others use is taken off."""
    if link is None:
        return NO_LINK * defaults.LINK_PART
    ours = sum(facts.bytes_out for stages in advert.stages.values() for facts in stages.values())
    others = max(0.0, link.used - ours)
    return max(0.05 * link.capacity, defaults.LINK_PART * link.capacity - others)
