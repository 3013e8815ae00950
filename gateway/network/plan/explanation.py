"""Why a plan is as it is, as what is kept in the bucket ``facts`` and shown by ``onpath service explain``. A leaf."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

KEY: Final = "plan/explanation"
"""Bucket ``facts``: before ``/<service>``."""
FEW: Final = 8
"""So many nodes are named one by one."""
MOST_LINKS: Final = 200
"""So many links are listed, those into the core and then the busiest; totals count all."""


class Cause(enum.StrEnum):
    """What decided where a stage runs."""

    CHEAPEST = "cheapest"
    """Nothing but what it costs."""
    PLACE = "place"
    """``place:`` of the service."""
    PINNED = "pinned"
    """Its state does not merge: it stays where its points come in; or nothing but the core may give results."""
    LATENCY = "latency"
    """Elsewhere the result would come too late."""
    OPERATOR = "operator"
    """The nodes where it would be cheaper do not have it."""
    CPU = "cpu"
    """CPU is scarce where it would be cheaper."""
    LINK = "link"
    """A link is scarce that would carry more without it."""
    BYTES = "bytes"
    """The service's ``bytes_per_day``."""


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of one tier that run a stage."""

    tier: str
    """access, aggregation or core."""
    nodes: int
    """How many; of the core: how many workers share it."""
    of: int
    """How many of the tier have a part in the service."""
    names: list[str] = []
    """If they are few (:data:`FEW`); none are named of the core."""


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a stage runs where it does."""

    cause: Cause
    words: str
    """A sentence for people."""
    nodes: int = 0
    """For how many nodes it decided."""
    price: float = 0.0
    """Of what is scarce: what another unit of it would save (a core, or a byte a second), in units of cost."""


class StagePlace(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: where, why, and what it takes."""

    index: int
    """From 1 on."""
    operator: str
    kind: str
    """step, partial, merge, final or post."""
    where: list[Where]
    """From the devices to the core."""
    why: list[Why]
    """What decided for most nodes first."""
    cpu: float
    """Cores, all nodes together."""
    samples_in: float
    """A second, all nodes together; a merge that runs again counts again."""
    samples_out: float
    """A second, of all there is behind the stage."""
    bytes_out: float
    """A second, of all there is behind the stage, if it left its node then."""
    cost: float
    """Of its CPU, in units of cost."""


class LinkLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What the service puts on one link."""

    node: str
    to: str
    """Empty: the core."""
    tier: str
    """Of the node."""
    cut: int
    """How many stages are applied to what it carries."""
    bytes: float
    """A second."""
    raw: float
    """A second, were nothing applied to it."""
    used: float
    """By all services together, part of its capacity."""
    cost: float


class TierLoad(msgspec.Struct, frozen=True, kw_only=True):
    """All links that leave a tier."""

    tier: str
    links: int
    bytes: float
    """A second."""
    raw: float
    """A second, were nothing applied to it."""


class IntentMet(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the service asks for."""

    name: str
    """bytes_per_day, latency or error."""
    wanted: float
    expected: float | None
    """What the plan gives; None: it is not known before the service runs."""
    unit: str
    """B/day, s, % or nothing."""
    met: bool | None
    """None: not known."""
    words: str
    """Such as "40 % below"."""


class Shed(msgspec.Struct, frozen=True, kw_only=True):
    """A service that is left out, because there is not enough for all."""

    service: str
    nodes: list[str]
    """Whose inputs are left out; empty: all."""
    words: str
    """What is missing."""


class Solved(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan, all services together."""

    cost: float
    """Of what runs now, in units of cost a second: a byte on a link of price 1, or a microsecond of a gateway's CPU."""
    bound: float
    """No plan can cost less."""
    distance: float
    """How far the cost is above the bound, %."""
    method: str
    """How it was found: ``dp``, ``prices``, and ``exact`` if HiGHS went over it."""
    seconds: float
    nodes: int
    services: int
    shed: list[Shed] = []


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One service in the plan that is in force: bucket ``facts``, key ``plan/explanation/<service>``."""

    service: str
    version: int
    epoch: int
    """Of the plan."""
    made_ms: int
    """When, UTC ms since 1970."""
    stages: list[StagePlace]
    links: list[LinkLoad]
    """Into the core first, then by bytes, at most :data:`MOST_LINKS`."""
    links_left_out: int
    tiers: list[TierLoad]
    """From the devices to the core."""
    to_core: float
    """Bytes a second on all links into the core together."""
    raw_to_core: float
    """The same, were nothing computed on the way."""
    ratio: float
    """``raw_to_core / to_core``; 0 if nothing flows."""
    latency_s: float
    """Estimate: from the end of a window (or a sample) to the result, on the longest way."""
    cost: float
    """Of this service."""
    intents: list[IntentMet]
    plan: Solved
    estimated: bool = False
    """Whether most figures are the table's, because nothing ran yet that could be measured."""


def key_of(service: str) -> str:
    """Where it is kept in the bucket ``facts``."""
    return f"{KEY}/{service}"


def encode(explanation: Explanation) -> bytes:
    """As it is kept: JSON."""
    return msgspec.json.encode(explanation)


def decode(payload: bytes) -> Explanation:
    """The inverse of :func:`encode`.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(payload, type=Explanation)
