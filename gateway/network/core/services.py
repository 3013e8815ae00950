"""Which services a partition runs, in which versions. Pure.

A version is there from its first batch on, until :data:`DRAIN_NS` after the first batch of the one that replaces it, or
its service is removed. Its YAML is in the snapshot: what is on its way of an old version finds its chain everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.network.applied import DRAIN_NS
from gateway.network.assignment import LONGEST_EDGE_NS, ServiceRecord
from gateway.network.compile import Role, pipelines_of
from gateway.network.config import Tier, core_subject, partition_of
from gateway.network.extended import chain_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.model import PipelineConfig
    from gateway.network.chain import Chain
    from gateway.units import Duration

SINK: Final = "out"
Version = tuple[str, int]
"""(service, version)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A version of a service in a partition."""

    yaml: str
    chain: Chain
    until_ns: int = 0
    """When it goes, by the partition's time; 0: it is the newest."""


def running(name: str, version: int, yaml: str, until_ns: int = 0) -> Running | None:
    """A version by its YAML; None if it cannot run here."""
    chain = chain_for(ServiceRecord(yaml=yaml, version=version, applied_ms=0))
    return None if chain is None or chain.service.service != name else Running(yaml, chain, until_ns)


def cut_of(chain: Chain, partition: int) -> int:
    """How many stages a partition applies: all, or up to the merge where another one finishes for all sites."""
    finished = not chain.spans_sites or partition_of(chain.service.service) == partition
    return len(chain) if finished else chain.merge_index


def target_of(chain: Chain, partition: int, stage: int, pipeline: str) -> str:
    """The subject that what has passed a stage goes to."""
    service = chain.service.service
    if stage == len(chain):
        return f"out/{service}/{partition:02d}"
    return f"up/{core_subject(partition_of(service))}/{core_subject(partition)}/{pipeline}"


def pipelines(
    versions: Mapping[Version, Running], partition: int, corrections: Duration | None
) -> dict[str, PipelineConfig]:
    """All pipelines of a partition."""
    role = Role(core_subject(partition), "", Tier.CORE, source=False)
    found: dict[str, PipelineConfig] = {}
    for (_, version), one in versions.items():
        cut = cut_of(one.chain, partition)
        found |= pipelines_of(one.chain, version, role, cut, SINK, corrections=corrections)
    return found


def aged(
    versions: Mapping[Version, Running], newest: Mapping[str, int], removed: set[str], now_ns: int
) -> dict[Version, Running]:
    """What still runs: versions that were replaced have an end, those whose end has come and removed ones are gone.

    Args:
        versions: what ran.
        newest: the newest version of each service.
        removed: services that are there no more.
        now_ns: the partition's time.
    """
    kept: dict[Version, Running] = {}
    last = {name: max(version for other, version in versions if other == name) for name, _ in versions}
    for (name, version), one in versions.items():
        if name in removed or 0 < one.until_ns <= now_ns:
            continue
        until_ns = 0
        if newest.get(name, version) > version:
            # The new one begins with a window of its own, and may have nothing to say here
            latest = now_ns + DRAIN_NS + (LONGEST_EDGE_NS if last[name] == version else 0)
            until_ns = min(one.until_ns or latest, latest)
        kept[name, version] = one if until_ns == one.until_ns else Running(one.yaml, one.chain, until_ns)
    return kept
