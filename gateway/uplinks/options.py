"""What the options of uplinks have in common. Light: imports no protocol library."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import msgspec

from gateway.budget.config import AdaptConfig
from gateway.errors import FieldError
from gateway.point import Name
from gateway.store.config import QueueConfig
from gateway.units import Bandwidth, Duration, Rate, Size
from gateway.wire.record import TimeFormat

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink


__all__ = [
    "AdaptConfig",
    "BacklogConfig",
    "BatchOptions",
    "BudgetConfig",
    "BudgetSpent",
    "Format",
    "Period",
    "TimeFormat",
    "UplinkConfig",
]


class Format(enum.StrEnum):
    """How a batch is written for the other side."""

    JSON = "json"
    FRAME = "frame"


class BacklogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How what has waited is sent, behind what is live."""

    rate: Rate | None = None
    """Samples of the backlog a second, at most: ``2000/s``. Left out: as fast as the link takes them while what is live
    keeps its latency."""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """Batches of the backlog sent and not yet acknowledged. Left out: found by measuring how long acknowledgements
    take."""

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate <= 0:
            raise FieldError("rate", "must be above 0")


class Period(enum.StrEnum):
    """How long a data budget has to last."""

    DAY = "day"
    WEEK = "week"
    """Begins on Mondays."""
    MONTH = "month"


class BudgetSpent(enum.StrEnum):
    """What an uplink does when its data budget is spent."""

    PAUSE = "pause"
    """Nothing is sent; everything waits in the spool for the next period."""
    PRIORITY = "priority"
    """Only the pipelines named in ``priority`` go on; the rest waits."""
    GO_ON = "go_on"
    """Sending goes on; it is logged, and shown by ``status``."""


class BudgetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many payload bytes may be sent in a period, as a mobile contract has it. Survives restarts."""

    size: Size
    """Payload bytes a period. Protocols and TLS add some: leave a tenth of what the contract has."""
    per: Period = Period.MONTH
    """``day``, ``week`` (from Monday on) or ``month``; periods begin at midnight UTC."""
    start: Annotated[int, msgspec.Meta(ge=1, le=28)] = 1
    """Day of the month on which a ``month`` begins."""
    when_spent: BudgetSpent = BudgetSpent.PAUSE
    """``pause``, ``priority`` (only pipelines named in ``priority`` go on) or ``go_on``."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise FieldError("size", "must be above 0")


class UplinkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of every uplink's options. A subclass repeats ``frozen=True, kw_only=True`` and sets ``tag``."""

    keep: Duration = Duration(0)
    """How long a batch stays on disk after it was acknowledged, so that it can be sent again when the other side has
    lost it after all. Goes first when the spool is short of space."""
    backlog: BacklogConfig = BacklogConfig()
    """How what has waited is sent, behind what is live."""
    bandwidth: Bandwidth | None = None
    """Payload bytes a second, at most: ``64kB/s``, ``512kbit/s``. Left out: no limit."""
    budget: BudgetConfig | None = None
    """How many payload bytes may be sent a month, week or day. Left out: no limit."""
    adapt: AdaptConfig | None = None
    """Keep to what the link carries by widening the error bounds of the steps before it. Left out: bounds stay as they
    are, and what is too much waits."""
    priority: tuple[Name, ...] = ()
    """Pipelines whose batches go first, the most important first; those not named come last. The others also give way
    first when the spool is full."""
    spool: QueueConfig = QueueConfig()
    """Bounds of this uplink's queue on disk, where they differ from ``store.spool``."""

    def create(self) -> Uplink:
        """The uplink for these options. Imports its module here, so that unused ones cost nothing."""
        raise NotImplementedError


class BatchOptions(UplinkConfig, frozen=True, kw_only=True):
    """Options of uplinks that send batches as they are."""

    format: Format = Format.JSON
    """``json``, or ``frame`` (compact, between gateways)."""
    time: TimeFormat = TimeFormat.RFC3339
    """How ``json`` writes times."""
