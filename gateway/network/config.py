"""``network:`` in YAML: this gateway as a node of a network. Light: imports no protocol library."""

from __future__ import annotations

import enum
import zlib
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from gateway.budget.config import AdaptConfig
from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Bandwidth, Duration
from gateway.uplinks.options import BudgetConfig
from pipelines.base import Glob

PARTITIONS: Final = 64
"""Parts of the core's work, each held by one worker at a time."""
LOCAL: Final = "local:"


class Tier(enum.StrEnum):
    """How far a node is from the devices."""

    ACCESS = "access"
    """Has devices."""
    AGGREGATION = "aggregation"
    """Has access nodes below it."""
    CORE = "core"
    """Shares the end of all services with the other nodes of the core."""


RANK: Final = {Tier.ACCESS: 0, Tier.AGGREGATION: 1, Tier.CORE: 2}


class CarrierConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What carries the network."""

    url: str
    """``local:/var/lib/onpath-network`` for nodes of one machine, in a folder that they share, without any server; or
    NATS JetStream by ``nats://host:4222`` or ``tls://host:4222``, several separated by commas."""
    username: str = ""
    """Name to log in with."""
    password: str = ""
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    ca: str | None = None
    """File with the certificates to trust. Default: those of the system."""
    cert: str | None = None
    """File with the client's own certificate, and ``key`` with its private key."""
    key: str | None = None
    """File with the private key of ``cert``."""
    replicas: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    """On how many servers of a cluster each stream is stored, when it is made: 3 for a cluster of three."""
    timeout: Duration = Duration(10)
    """How long an answer may take."""

    def __post_init__(self) -> None:
        if self.is_local:
            if not self.url.removeprefix(LOCAL):
                raise FieldError("url", "local: needs a folder, such as local:/var/lib/onpath-network")
            if self.username or self.password or self.ca or self.cert or self.key:
                raise FieldError("url", "a folder of this machine needs no login and no certificates")
        else:
            for part in self.url.split(","):
                _check_nats(part.strip())
        if (self.cert is None) != (self.key is None):
            raise FieldError("key" if self.cert is None else "cert", "cert and key go together")
        if self.password and not self.username:
            raise FieldError("password", "a password needs a username")
        if self.timeout <= 0:
            raise FieldError("timeout", "must be above 0")

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.url.startswith(LOCAL)

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.url.removeprefix(LOCAL))

    @property
    def servers(self) -> list[str]:
        """The addresses of NATS."""
        return [part.strip() for part in self.url.split(",")]


def _check_nats(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or parts.path not in {"", "/"}:
        raise FieldError("url", f"{url!r}: write local:/folder, nats://host:4222 or tls://host:4222")


class ShareConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What other nodes may have of this one's points."""

    points: Annotated[list[Glob], msgspec.Meta(min_length=1)]
    """Globs of the points."""
    with_: Annotated[list[Glob], msgspec.Meta(min_length=1)] = msgspec.field(name="with")
    """Names of the nodes that may ask for them, or globs."""


class NeighbourConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this node asks another one for."""

    points: Annotated[list[Glob], msgspec.Meta(min_length=1)]
    """Globs of the other node's points, as they are called there. Here they are called ``<node>/<point>``."""


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This gateway as a node: ``gateway`` is its name in the network, which no other node may have."""

    carrier: CarrierConfig
    """What carries the network; the same for all nodes."""
    tier: Tier = Tier.ACCESS
    """``access`` (has devices), ``aggregation`` (has access nodes below it) or ``core``."""
    site: Name = "site"
    """Where it stands, for services that are for some sites only; a label ``site`` of all points in services. What
    comes from one site is brought together by one worker of the core."""
    labels: dict[str, str] = {}
    """More labels for all of this node's points in services, such as ``{floor: "3", building: west}``."""
    parents: list[Name] = []
    """The nodes that what it computes may go to, the preferred one first; none: straight to the core."""
    advert: Duration = Duration(20)
    """How often it says what it has, and how it is; three times as long without, and it counts as gone."""
    headroom: Annotated[float, msgspec.Meta(ge=0.05, le=1.0)] = 0.7
    """Part of this machine's cores that services may use."""
    link: Bandwidth = Bandwidth(1_000_000)
    """What the way to the parent carries, such as ``64kB/s``."""
    price: Annotated[float, msgspec.Meta(gt=0)] = 100.0
    """What a byte on that way is worth to the plan, in µs of a gateway's CPU: more where it is slow or paid for."""
    bandwidth: Bandwidth | None = None
    """Bytes a second that may go to the parent at most. Left out: no limit."""
    budget: BudgetConfig | None = None
    """How many bytes may go to the parent a month, week or day. Left out: no limit."""
    adapt: AdaptConfig | None = None
    """Keep to what the way to the parent carries by widening the error bounds of services' steps; of the rungs
    ``codec`` and ``thin`` only. Sums and counts stay exact."""
    snapshot: Duration = Duration(1)
    """In the core: how often what was computed is made durable; gateways keep their copies until then."""
    corrections: Duration = Duration(86_400)
    """In the core: how long after a result a late part of it still corrects it."""
    results: list[Name] = []
    """Services whose results this node takes in like samples of a device, as ``<service>/<point>``, for its own
    pipelines and uplinks."""
    share: list[ShareConfig] = []
    """Points that other nodes may ask for."""
    neighbours: dict[Name, NeighbourConfig] = {}
    """Nodes whose points are asked for, by name; they must share them."""

    def __post_init__(self) -> None:
        if self.tier is Tier.CORE and self.parents:
            raise FieldError("parents", "the core has none")
        if self.link <= 0:
            raise FieldError("link", "must be above 0")
        if not 1 <= self.advert <= 600:
            raise FieldError("advert", "between 1s and 10min")
        if not 0.05 <= self.snapshot <= 60:
            raise FieldError("snapshot", "between 50ms and 60s")


def partition_of(site: str) -> int:
    """Which part of the core's work a site belongs to, below :data:`PARTITIONS`."""
    return zlib.crc32(site.encode()) % PARTITIONS


def core_subject(partition: int) -> str:
    """The word for a partition in subjects: where its nodes send to."""
    return f"core-{partition:02d}"
