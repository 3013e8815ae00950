"""From a chain to the pipelines of one node. Pure.

What comes from devices enters at stage 0, what comes from other nodes where they left off. Every entrance is there at
every node, whatever the plan says: a child that has not heard of a change yet is served all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from gateway.config.model import PipelineConfig, Step
from gateway.network.chain import StageKind
from gateway.network.config import Tier
from gateway.network.gate import gate
from gateway.network.names import MARK, THROUGH, TRANSIT, entry_name, pipeline_name, transit_of
from pipelines.operators.aggregate.merge import MergeConfig
from pipelines.operators.aggregate.window import WindowConfig
from pipelines.operators.shape.label import LabelConfig
from pipelines.operators.shape.rename import RenameConfig
from pipelines.operators.shape.select_points import SelectConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.model import StepBase
    from gateway.network.chain import Chain, Stage
    from gateway.units import Duration
    from pipelines.base import OperatorConfig


@dataclass(frozen=True)
class Role:
    """What a node is for a service."""

    node: str
    site: str
    tier: Tier
    labels: dict[str, str] = field(default_factory=dict)
    source: bool = True
    """Whether it takes samples of its own adapters."""
    since_ns: int = 0
    before_ns: int = 0
    """Which of them, by their own time: of which version they are (:mod:`gateway.network.gate`)."""


def pipelines_of(
    chain: Chain, version: int, role: Role, cut: int, sink: str, *, corrections: Duration | None = None
) -> dict[str, PipelineConfig]:
    """The pipelines of a service at a node.

    Args:
        chain: the service.
        version: its version, part of all names.
        role: the node.
        cut: how many stages are applied to what leaves.
        sink: the uplink that takes it. Its batches name the pipeline, and so the stage (:mod:`gateway.network.names`).
        corrections: how long the last merge corrects its results; left out: as the operator has it.
    """
    name = chain.service.service
    found: dict[str, PipelineConfig] = {}
    if role.source and role.tier is not Tier.CORE:
        found[pipeline_name(name, version, 0)] = _source(chain, role, _next(name, version, 0, cut, sink))
    for stage in chain.stages[:cut]:
        # Whoever has no children has nothing to join: its partials go on at once
        idle = stage.kind is StageKind.MERGE and role.tier is Tier.ACCESS
        steps = [] if idle else [_step(stage.operator, _options(stage, corrections))]
        to = _next(name, version, stage.index, cut, sink)
        found[pipeline_name(name, version, stage.index)] = PipelineConfig(steps=steps, to=to)
    for index in range(len(chain) + 1):
        again = 0 < index <= cut and chain.stages[index - 1].kind is StageKind.MERGE
        to = [pipeline_name(name, version, index)] if again else _next(name, version, index, cut, sink)
        found[entry_name(name, version, index)] = _entry(entry_name(name, version, index), name, version, index, to)
    return found


def _next(name: str, version: int, index: int, cut: int, sink: str) -> list[str]:
    return [pipeline_name(name, version, index + 1)] if index < cut else [sink]


def _source(chain: Chain, role: Role, to: list[str]) -> PipelineConfig:
    """Points get the node's name before theirs, and its labels."""
    inputs = chain.service.inputs
    labels = role.labels | {"site": role.site, "node": role.node}
    steps = [
        *gate(role.since_ns, role.before_ns),
        _one("label", LabelConfig(set=labels)),
        _one("rename", RenameConfig(regex={"(.*)": f"{role.node}/{{1}}"})),
    ]
    if inputs.labels:
        steps.insert(-1, _one("select", SelectConfig(labels=dict(inputs.labels))))
    return PipelineConfig(from_=list(inputs.globs), steps=steps, to=list(to))


def _entry(entry: str, name: str, version: int, index: int, to: list[str]) -> PipelineConfig:
    """What comes from other nodes behind a stage, under the names that it has at all nodes."""
    # A child's own entrance forwards under its name what it applies nothing to
    froms = [text for pipeline in (pipeline_name(name, version, index), entry) for text in transit_of(pipeline)]
    step = _one("rename", RenameConfig(names={f"{text}**": "{1}" for text in froms}, together=True))
    return PipelineConfig(from_=[f"{text}**" for text in froms], steps=[step], to=list(to))


def through(pipelines: Mapping[str, PipelineConfig], sink: str) -> PipelineConfig:
    """What takes all that comes from other nodes and that none of these pipelines takes, and hands it on as it came.

    A child may know a version that has not come here yet, that has run out here, or that cannot run here.
    """
    taken = [glob for one in pipelines.values() for glob in one.globs if glob.startswith(TRANSIT)]
    steps = [_one("rename", RenameConfig(regex={f"{TRANSIT}(?:{THROUGH}/)?(.*)": "{1}"}, together=True))]
    if taken:
        steps.insert(0, _one("select", SelectConfig(drop=taken)))
    return PipelineConfig(from_=[f"{TRANSIT}{MARK}**"], steps=steps, to=[sink])


def _options(stage: Stage, corrections: Duration | None) -> OperatorConfig:
    if stage.kind is StageKind.FINAL and corrections is not None and isinstance(stage.options, MergeConfig):
        return msgspec.structs.replace(stage.options, corrections=corrections)
    return stage.options


def _step(name: str, options: OperatorConfig) -> StepBase:
    kind = {WindowConfig: "window", MergeConfig: "merge"}.get(type(options), name)
    return _one(kind, options)


def _one(name: str, options: OperatorConfig) -> StepBase:
    fields = dict(zip(Step.__struct_encode_fields__, Step.__struct_fields__, strict=True))
    return Step(**{fields[name]: options})
