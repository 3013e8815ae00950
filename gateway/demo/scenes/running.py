"""Which stages of which services run at which gateway, by the plan; and the picture of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.network.chain import Chain, StageKind
from gateway.network.config import Tier
from gateway.network.extended import chain_for
from gateway.network.grouping import Place
from gateway.network.picture import amount, draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.demo.scenes.report import NodeFigures, SceneReport
    from gateway.network.assignment import Assignment


def stages_of(plans: Mapping[str, Assignment], children: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """By node a line for each service that something runs of there.

    Args:
        plans: by node.
        children: names of the nodes below each node.
    """
    found: dict[str, list[str]] = {}
    for node, plan in plans.items():
        found[node] = lines = []
        for service, part in plan.services.items():
            chain = chain_for(part)
            mine = [plans[one].services[service] for one in children.get(node, ()) if service in plans[one].services]
            names = [] if chain is None else stages_at(chain, part.cut, min((one.cut for one in mine), default=0))
            if names:
                lines.append(f"{service}: {names[-1]}")
    return found


def stages_at(chain: Chain, cut: int, below: int) -> list[str]:
    """What a node runs whose children have applied ``below`` stages at least, and which lets go behind ``cut``."""
    return [
        stage.kind_name
        for stage in chain.stages[:cut]
        if stage.index > below or (stage.kind is StageKind.MERGE and cut >= stage.index)
    ]


def drawn(final: SceneReport) -> str:
    """The picture as SVG: rates are over the time that was judged."""
    below: dict[str, list[NodeFigures]] = {}
    for node in final.nodes:
        if node.tier != Tier.CORE.value:
            below.setdefault(node.parent, []).append(node)
    core = [node for node in final.nodes if node.tier == Tier.CORE.value]
    top = Place(
        name=f"core: {len(core)} workers", tier=Tier.CORE, stages=("results",), bytes_s=0.0, raw_s=0.0,
        children=tuple(_place(node, below, final.duration_s) for node in below.get("", [])),
    )  # fmt: skip
    facts = [
        f"raw JSON {amount(final.bytes_raw)}",
        f"into the core {amount(final.bytes_by_tier['aggregation_to_core'])}",
        f"{final.reduction:g} times less",
        f"{final.compared:,} figures exact" if final.exact else "NOT exact",
    ]
    return draw(top, f"onpath demo {final.scene}", facts)


def _place(node: NodeFigures, below: dict[str, list[NodeFigures]], seconds: float) -> Place:
    children = tuple(_place(child, below, seconds) for child in below.get(node.name, []))
    raw = node.bytes_raw / seconds + sum(child.raw_s for child in children)
    return Place(node.name, Tier(node.tier), tuple(node.stages), node.bytes_sent / seconds, raw, children=children)
