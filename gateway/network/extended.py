"""What being a node adds to a configuration: hidden adapters, uplinks and pipelines. Pure."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.budget.config import Rung
from gateway.config.model import PipelineConfig, Step
from gateway.errors import ConfigError, FieldError
from gateway.network.chain import chain_of
from gateway.network.compile import Role, pipelines_of, through
from gateway.network.config import Tier, core_subject, partition_of
from gateway.network.links.config import ChildrenConfig, ParentConfig
from gateway.network.names import ADAPTER, MARK, THROUGH, UPLINK
from gateway.network.reading import service_of
from gateway.point import compile_glob
from gateway.store.config import QueueConfig, SpoolFull
from pipelines.operators.shape.select_points import SelectConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.model import GatewayConfig
    from gateway.network.applied import Applied
    from gateway.network.assignment import ServicePart, ServiceRecord
    from gateway.network.chain import Chain
    from gateway.network.config import NetworkConfig

log = logging.getLogger(__name__)

RESULTS: Final = "@results"
NEIGHBOURS: Final = "@neighbours"
_RUNGS: Final = (Rung.CODEC, Rung.THIN)
"""What leaves every sample and every partial result on its way."""
NEAR: Final = "~near"
"""Behind a node's name in subjects: what its neighbours send it."""


def extended(config: GatewayConfig, applied: Applied, asks: Mapping[str, list[str]]) -> GatewayConfig:
    """The configuration with what makes the gateway a node; what an earlier call had added is replaced.

    Args:
        config: what the user wrote.
        applied: what runs here for services.
        asks: globs by neighbours that ask this node for points.
    """
    network = config.network
    adapters: dict[str, Any] = {name: one for name, one in config.adapters.items() if not name.startswith(MARK)}
    uplinks: dict[str, Any] = {name: one for name, one in config.uplinks.items() if not name.startswith(MARK)}
    pipelines = {name: one for name, one in config.pipelines.items() if not name.startswith(MARK)}
    if network is not None:
        node = config.gateway
        if network.tier is not Tier.CORE:
            adapters[ADAPTER] = ChildrenConfig(carrier=network.carrier, node=node, topics=[f"up/{node}/**"])
            way = _parent(network, node, _to(network, applied))
            if config.store.spool.when_full is SpoolFull.THIN:  # aggregates are no samples to the stages further up
                way = msgspec.structs.replace(way, spool=QueueConfig(when_full=SpoolFull.DROP_OLDEST))
            uplinks[UPLINK] = way
            pipelines |= pipelines_for(network, node, applied)
        if network.neighbours:
            adapters[NEIGHBOURS] = ChildrenConfig(
                carrier=network.carrier, node=node, topics=[f"up/{node}{NEAR}/**"],
                children=list(network.neighbours), name="{gateway}/{point}",
            )  # fmt: skip
        for service in network.results:
            adapters[f"{RESULTS}.{service}"] = ChildrenConfig(
                carrier=network.carrier, node=node, topics=[f"out/{service}/**"], name="{pipeline}/{point}",
                receipts=False,
            )  # fmt: skip
        for other, globs in asks.items():
            shared = _shared(network, other, globs)
            if shared is not None:
                uplink, pipeline = f"{MARK}near.{other}", f"{MARK}share.{other}"
                uplinks[uplink] = _parent(network, node, other + NEAR)
                pipelines[pipeline] = msgspec.structs.replace(shared, to=[uplink])
    if (adapters, uplinks, pipelines) == (config.adapters, config.uplinks, config.pipelines):
        return config
    return msgspec.structs.replace(config, adapters=adapters, uplinks=uplinks, pipelines=pipelines)


def chain_for(part: ServicePart | ServiceRecord) -> Chain | None:
    """The chain of a service; None if this version of onpath cannot run it, with a log line."""
    return _chain(part.yaml)


@lru_cache(256)
def _chain(yaml: str) -> Chain | None:
    try:
        return chain_of(service_of(yaml).config)
    except (ConfigError, FieldError) as error:
        log.error("a service of the plan cannot be run here: %s", error)  # noqa: TRY400  nothing to trace
        return None


def pipelines_for(network: NetworkConfig, node: str, applied: Applied) -> dict[str, PipelineConfig]:
    """What a node outside the core runs for the network."""
    parts = [(part, True, 0) for part in applied.services.values()]
    parts += [(one.part, one.before_ns > 0, one.before_ns) for one in applied.draining.values()]
    found: dict[str, PipelineConfig] = {}
    for part, source, before_ns in parts:
        chain = chain_for(part)
        if chain is not None:
            mine = source and chain.service.inputs.at(network.site)
            role = Role(node, network.site, network.tier, network.labels, mine, part.since_ns, before_ns)
            found |= pipelines_of(chain, part.version, role, min(part.cut, len(chain)), UPLINK)
    return found | {THROUGH: through(found, UPLINK)}


def _to(network: NetworkConfig, applied: Applied) -> str:
    """The word for the receiver: what the newest part of the plan says, else the first parent."""
    newest = max(applied.services.values(), key=lambda part: part.epoch, default=None)
    parent = newest.parent if newest is not None else next(iter(network.parents), "")
    return parent or core_subject(partition_of(network.site))


def _parent(network: NetworkConfig, node: str, to: str) -> ParentConfig:
    adapt = network.adapt
    if adapt is not None:
        adapt = msgspec.structs.replace(adapt, rungs=[rung for rung in adapt.rungs if rung in _RUNGS])
    return ParentConfig(
        carrier=network.carrier, node=node, to=to, bandwidth=network.bandwidth, budget=network.budget, adapt=adapt
    )


def _shared(network: NetworkConfig, other: str, globs: list[str]) -> PipelineConfig | None:
    """What a neighbour gets: what it asks for, of what it may have; None if that is nothing."""
    allowed = [glob for share in network.share if _any(share.with_, other) for glob in share.points]
    if not allowed or not globs:
        return None
    (name,) = (field for field, told in zip(Step.__struct_fields__, Step.__struct_encode_fields__, strict=True)
               if told == "select")  # fmt: skip
    return PipelineConfig(from_=allowed, steps=[Step(**{name: SelectConfig(keep=globs)})])


def _any(globs: list[str], name: str) -> bool:
    return any(compile_glob(glob).match(name) for glob in globs)
