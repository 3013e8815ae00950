"""What the plan would be of a service that is not applied yet, by the planner that the controller uses. Pure.

Nodes say how many points an applied service selects there. Of one that is not applied nobody knows it, so it is
assumed; all else (links, CPU, what operators cost, the other services) is as the nodes say it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.network.assignment import ServicePart
from gateway.network.config import Tier
from gateway.network.controller.explaining import explanations
from gateway.network.controller.measured import Measured
from gateway.network.controller.view import Wanted, view_of
from gateway.network.plan.solve import plan_for

if TYPE_CHECKING:
    from gateway.network.advert import Advert
    from gateway.network.plan.explanation import Explanation

LIMIT_S: Final = 5.0


@dataclass(frozen=True)
class Assumed:
    """What is assumed of nodes that cannot know it."""

    points: int
    """Points that the inputs select at each access node."""
    rate: float
    """Samples a second of each."""


@dataclass(frozen=True)
class Foreseen:
    """The plan as it would be."""

    explanation: Explanation
    parts: dict[str, ServicePart]
    adverts: dict[str, Advert]
    assumed: list[str]
    """Nodes of which the inputs were assumed."""


def foresee(
    wanted: Wanted, others: Sequence[Wanted], adverts: Mapping[str, Advert], assumed: Assumed, made_ms: int
) -> Foreseen:
    """The plan of a service among others.

    Args:
        wanted: the service.
        others: services that are applied; one of the same name gives way.
        adverts: of the nodes, by name.
        assumed: what they do not know.
        made_ms: when, UTC.
    """
    known = {name: _with_inputs(wanted, advert, assumed) for name, advert in adverts.items()}
    services = [*(one for one in others if one.name != wanted.name), wanted]
    measured = Measured()
    for advert in known.values():
        measured.note(advert, {one.name: one.version for one in others})
    view = view_of(known, services, measured)
    plan = plan_for(view.problem, limit_s=LIMIT_S)
    told = explanations(view, plan, plan.cuts, 0, made_ms)[wanted.name]
    parts = {
        node.node: ServicePart(
            version=wanted.version, epoch=0, cut=int(plan.cuts[-1, at]), parent=view.parent_of(at), yaml=wanted.yaml
        )
        for at, node in enumerate(view.nodes)
        if plan.cuts[-1, at] >= 0
    }
    return Foreseen(told, parts, known, [name for name in known if known[name] is not adverts[name]])


def _with_inputs(wanted: Wanted, advert: Advert, assumed: Assumed) -> Advert:
    """With points of the service, where it is an access node of one of its sites and says nothing of it."""
    name, inputs = wanted.name, wanted.chain.service.inputs
    if advert.tier is not Tier.ACCESS or name in advert.points or not inputs.at(advert.site):
        return advert
    return msgspec.structs.replace(
        advert,
        points=advert.points | {name: assumed.points},
        inputs=advert.inputs | {name: assumed.points * assumed.rate},
    )
