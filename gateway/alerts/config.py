"""Options of an alert."""

from __future__ import annotations

import enum

import msgspec

from gateway.point import Name
from gateway.units import Duration
from pipelines.base import Glob


class Severity(enum.StrEnum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule. Each point that fits has a state of its own: quiet, pending, or raised."""

    points: Glob | list[Glob]
    """Globs of the points that are watched; ``onpath/...`` for the gateway's own metrics."""
    above: float | None = None
    """Raised by a value above this."""
    below: float | None = None
    """Raised by a value below this."""
    equals: float | None = None
    """Raised by this value."""
    invalid: bool = False
    """Raised by a value that cannot be believed (quality invalid)."""
    hysteresis: float = 0.0
    """How far a value must come back across ``above`` or ``below`` before the alert is cleared, in the point's unit."""
    for_: Duration = msgspec.field(default=Duration(0.0), name="for")
    """How long it must last before the alert is raised."""
    clear_after: Duration = Duration(0.0)
    """How long it must be over before the alert is cleared."""
    severity: Severity = Severity.WARNING
    """``info``, ``warning`` or ``critical``."""
    text: str = ""
    """What a person is told. ``{point}``, ``{value}``, ``{unit}``, ``{rule}`` and ``{gateway}`` are filled in."""
    to: list[Name] = []
    """Uplinks that take it: as samples of the point ``alert/<rule>/<point>``, or, of type ``webhook``, as a text. The
    console, ``onpath status`` and the log have it anyway."""
