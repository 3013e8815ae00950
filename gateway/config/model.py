"""What a configuration is, as a whole: the top of the tree of typed structs.

The unions of adapters, operators and uplinks are those that are installed (:mod:`gateway.config.plugins`).
"""

from __future__ import annotations

import enum
import re
import socket
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from gateway.alerts.config import AlertConfig
from gateway.clock import ClockTrust
from gateway.config.plugins import installed
from gateway.config.sections import BrokerConfig, BrokerWord, DiscoveryConfig
from gateway.console.config import ConsoleConfig
from gateway.errors import FieldError
from gateway.network.config import NetworkConfig
from gateway.own.config import HeartbeatConfig, MetricsConfig
from gateway.point import Name
from gateway.reduction.config import ReductionConfig
from gateway.store.config import Queue, StoreConfig
from pipelines.base import Glob, OperatorConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.base import AdapterConfig
    from gateway.uplinks.config import UplinkConfig


class LogLevel(enum.StrEnum):
    """The least important messages that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """How a log line is written."""

    TEXT = "text"
    """For people and the journal of systemd."""
    JSON = "json"
    """One object a line."""


class LogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged to standard error, and how."""

    level: LogLevel = LogLevel.INFO
    """``debug``, ``info``, ``warning`` or ``error``."""
    format: LogFormat = LogFormat.TEXT
    """``text``, or ``json`` for one object a line."""


class StepBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a pipeline: a single key, the operator's name, with its options behind it."""

    @property
    def operator(self) -> tuple[str, OperatorConfig]:
        """The name of the operator and its options."""
        (found,) = self._set()
        return found

    def _set(self) -> list[tuple[str, OperatorConfig]]:
        names = zip(self.__struct_fields__, self.__struct_encode_fields__, strict=True)
        fields = [(encoded, getattr(self, name)) for name, encoded in names]
        return [(name, value) for name, value in fields if value is not UNSET]

    def __post_init__(self) -> None:
        found = self._set()
        if not found:
            raise FieldError(
                (), "a step is one operator with its options, such as limits: {}; onpath plugins lists them"
            )
        if len(found) > 1:
            names = " and ".join(name for name, _ in found)
            raise FieldError((), f"a step is one operator; write {names} as one list item each")


def step_struct(operators: Mapping[str, type[OperatorConfig]]) -> type[StepBase]:
    """The struct of a step that may be any one of ``operators``."""
    fields: list[tuple[str, Any, Any]] = []
    for number, (name, cls) in enumerate(operators.items()):
        # a name such as swinging-door is no Python name, and one such as operator is taken
        fields.append((f"_{number}", cls | UnsetType, msgspec.field(default=UNSET, name=name)))
    step = msgspec.defstruct(
        "Step",
        fields,
        bases=(StepBase,),
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    step.__doc__ = StepBase.__doc__
    return cast("type[StepBase]", step)


if TYPE_CHECKING:
    AnyAdapter = AdapterConfig
    AnyUplink = UplinkConfig
    Step = StepBase
else:
    AnyAdapter = reduce(or_, installed().adapters.values())
    AnyUplink = reduce(or_, installed().uplinks.values())
    Step = step_struct(installed().operators)


# Without the pattern of Name, which the cross references make up for: msgspec (0.22.0) corrupts memory when it
# frees a decoder for a union of text that has a pattern with a list, a dict or a tuple.
Target = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class PipelineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ordered operators over a selection of points."""

    from_: Glob | list[Glob] = msgspec.field(default_factory=list, name="from")
    """Globs of the points that go in: ``m1/**``, ``*/power``. May be left out if another pipeline
    feeds this one."""
    steps: list[Step] = []
    """The operators, in order; none passes everything on."""
    to: Target | list[Name] = []
    """Uplinks, and other pipelines, that take what comes out."""

    @property
    def globs(self) -> tuple[str, ...]:
        """``from`` as a tuple, also if a single glob was written."""
        return (self.from_,) if isinstance(self.from_, str) else tuple(self.from_)

    @property
    def targets(self) -> tuple[str, ...]:
        """``to`` as a tuple, also if a single name was written."""
        return (self.to,) if isinstance(self.to, str) else tuple(self.to)


def host_name() -> str:
    """The host's name, made fit to be a gateway's: the default of ``gateway``."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "-", socket.gethostname())[:128] or "onpath"


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One gateway."""

    gateway: Name = msgspec.field(default_factory=host_name)
    """The gateway's name, part of every record id; keep it. Default: the host's name."""
    state: Annotated[str, msgspec.Meta(min_length=1)] = "/var/lib/onpath"
    """Folder for what must survive a restart. One daemon a folder."""
    adapters: dict[Name, AnyAdapter] = {}
    """Where samples come from, by name."""
    pipelines: dict[Name, PipelineConfig] = {}
    """What is done with samples on their way, by name."""
    uplinks: dict[Name, AnyUplink] = {}
    """Where results go, by name."""
    broker: BrokerWord | BrokerConfig | None = None
    """``embedded``, or its options: an MQTT broker for sites without one. Adapters and uplinks reach it by
    ``url: embedded``."""
    discovery: DiscoveryConfig = DiscoveryConfig()
    """Which devices that introduce themselves may join."""
    console: ConsoleConfig | None = None
    """The console in the browser and the API; ``{}`` for all defaults."""
    alerts: dict[Name, AlertConfig] = {}
    """Rules on points and on the gateway's own metrics, by name."""
    metrics: MetricsConfig = MetricsConfig()
    """The gateway's own metrics as points."""
    heartbeat: HeartbeatConfig | None = None
    """A sign of life upstream."""
    network: NetworkConfig | None = None
    """This gateway as a node of a network of gateways."""
    reduction: ReductionConfig | None = None
    """Sums of the vectors of many workers, added on their way; ``{}`` for all defaults."""
    store: StoreConfig = StoreConfig()
    """How input and unsent output are kept on disk."""
    clock: ClockTrust = ClockTrust.PLAUSIBLE
    """When the wall clock is believed: unless it cannot be right (``plausible``), or only while the kernel says that it
    is ``synchronised``. What is stamped by one in doubt is flagged, and nothing becomes too old by it."""
    max_points: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 100_000
    """How many points may appear; a bound on memory where devices name them."""
    log: LogConfig = LogConfig()
    """What is logged, and how."""

    @property
    def effective(self) -> dict[str, PipelineConfig]:
        """All pipelines that run: those of the user, and those behind alerts and the heartbeat."""
        from gateway.config.hidden import effective

        return effective(self)

    @property
    def queues(self) -> dict[str, Queue]:
        """The bounds of the queue before each uplink, with what ``store.spool`` says where it says nothing."""
        return {
            name: Queue.of(self.store.spool, uplink.spool, uplink.keep, uplink.priority)
            for name, uplink in self.uplinks.items()
        }

    @property
    def broker_options(self) -> BrokerConfig | None:
        """The embedded broker's options, or None if there is none."""
        return BrokerConfig() if isinstance(self.broker, BrokerWord) else self.broker
