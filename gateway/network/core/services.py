"""Which services a partition runs, in which versions. Pure.

A version is there from its first batch on, until it is replaced and none has come for two of its windows and
:data:`DRAIN_NS`, or its service is removed. Its YAML is in the snapshot: what is on its way of an old version finds its
chain everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.network.applied import DRAIN_NS
from gateway.network.assignment import ServiceRecord
from gateway.network.compile import Role, pipelines_of
from gateway.network.config import Tier, core_subject, partition_of
from gateway.network.edges import longest_ns
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
    versions: Mapping[Version, Running], newest: Mapping[str, int], removed: set[str], heard: set[Version], now_ns: int
) -> dict[Version, Running]:
    """What still runs: versions that were replaced have an end, those whose end has come and removed ones are gone.

    The end is put off while batches of a version come: its gateways change over when its windows end, which may be
    days ahead, and one of them may be late.

    Args:
        versions: what ran.
        newest: the newest version of each service.
        removed: services that are there no more.
        heard: versions of which a batch came since the last time.
        now_ns: the partition's time.
    """
    kept: dict[Version, Running] = {}
    for (name, version), one in versions.items():
        if name in removed or 0 < one.until_ns <= now_ns:
            continue
        lasts_ns, until_ns = DRAIN_NS + 2 * longest_ns(one.chain.service), 0
        if newest.get(name, version) > version:
            nearly = (name, version) in heard and one.until_ns - now_ns < lasts_ns / 2
            until_ns = now_ns + lasts_ns if not one.until_ns or nearly else one.until_ns
        kept[name, version] = one if until_ns == one.until_ns else Running(one.yaml, one.chain, until_ns)
    return kept
