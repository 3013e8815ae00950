"""What a node says of itself. Pure; how it is measured is elsewhere."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.network.config import Tier

LIVES: Final = 3
"""Periods without a new advert, and a node counts as gone."""


class LinkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The way to a parent."""

    to: str
    """Name of the node; empty: straight to the core."""
    capacity: float
    """Bytes a second, measured where it was, else as configured."""
    used: float = 0.0
    """Bytes a second in use, by services and everything else."""
    round_trip_s: float = 0.0
    price: float = 1.0
    """What a byte costs here, in comparison to other links."""
    backlog: int = 0
    """Bytes that wait."""
    backlog_age_s: float = 0.0


class StageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage of a service did at this node since its last advert, a second."""

    samples_in: float
    samples_out: float
    bytes_out: float = 0.0
    """On the wire, of what left the node behind this stage; 0 where nothing did."""
    cpu_us: float = 0.0
    """CPU a sample that came in, µs; 0: not measured."""


class Advert(msgspec.Struct, frozen=True, kw_only=True):
    """A node, as it is now. Ordered by boot and number: an older one is ignored."""

    node: str
    tier: Tier
    site: str
    boot: int
    """When the process started, ns since 1970 UTC."""
    number: int
    said_ms: int = 0
    """When, by the node's own clock, UTC ms since 1970: for people, nothing is decided by it. 0: not known."""
    every_s: float
    """Its period; after three of them without news the node counts as gone."""
    version: str = ""
    labels: dict[str, str] = {}
    parents: list[str] = []
    cores: float = 1.0
    headroom: float = 0.5
    """Part of all cores that is left for services, in cores: what they use already included."""
    memory_free: int = 0
    disk_free: int = 0
    speed: float = 1.0
    """How fast one core is in comparison to the reference (calibrated): 2.0 is twice as fast."""
    operators: dict[str, float] = {}
    """Operators that it has, each with its calibrated cost, µs of CPU a sample here."""
    links: list[LinkFacts] = []
    inputs: dict[str, float] = {}
    """By service: samples a second that its inputs select at this node."""
    points: dict[str, int] = {}
    """By service: how many points its inputs select at this node."""
    stages: dict[str, dict[int, StageFacts]] = {}
    """By service and stage: what ran here."""
    epochs: dict[str, int] = {}
    """By service: the epoch of the plan that is applied."""
    epoch: int = 0
    """The newest that it has heard of; it refuses older ones."""
    spool_bytes: int = 0
    spool_age_s: float = 0.0
    healthy: bool = True
    reasons: list[str] = []
    partitions: list[int] = []
    """Of a core node: what it holds."""


def encode(advert: Advert) -> bytes:
    """As it travels."""
    return msgspec.json.encode(advert)


def decode(payload: bytes) -> Advert:
    """The inverse of :func:`encode`; unknown keys of newer nodes are ignored.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(payload, type=Advert)
