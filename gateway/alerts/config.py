"""Options of an alert."""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec

from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Duration
from pipelines.base import Glob

LONGEST_S: Final = 366 * 86_400
_CONDITIONS: Final = ("above", "below", "equals", "differs", "absent")


class Severity(enum.StrEnum):
    """How much an alert matters."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule. Each point that fits has a state of its own: quiet, pending, or raised. One condition is enough."""

    points: Glob | list[Glob]
    """Globs of the points that are watched; ``onpath/...`` for the gateway's own metrics."""
    of: list[Name] = []
    """Pipelines whose results are watched, such as means of a window; left out: what adapters send."""
    above: float | None = None
    """Raised by a value above this."""
    below: float | None = None
    """Raised by a value below this."""
    equals: float | str | None = None
    """Raised by this value, or by the state of this text."""
    differs: float | str | None = None
    """Raised by any other value than this, or by any state of another text."""
    invalid: bool = False
    """Raised by a sample that cannot be believed (quality invalid, or no value)."""
    suspect: bool = False
    """Raised by a sample of questionable quality as well."""
    absent: Duration | None = None
    """Raised when a point that was heard of has sent no value that can be believed for so long."""
    hysteresis: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """How far a value must come back across ``above`` or ``below`` before the alert is cleared, in the point's unit."""
    for_: Duration = msgspec.field(default=Duration(0.0), name="for")
    """How long it must last before the alert is raised."""
    clear_after: Duration = Duration(0.0)
    """How long it must be over before the alert is cleared."""
    max_per_hour: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 12
    """A point that is raised so often within an hour stays raised until all is well for 10 minutes: who is told is not
    flooded. ``0``: no bound."""
    severity: Severity = Severity.WARNING
    """``info``, ``warning`` or ``critical``."""
    text: str = ""
    """What a person is told. ``{point}``, ``{value}``, ``{unit}``, ``{rule}``, ``{severity}`` and ``{gateway}`` are
    filled in. Left out: the condition in words."""
    to: list[Name] = []
    """Uplinks that take it: as samples of the point ``alert/<rule>/<point>``, or, of type ``webhook``, as a text. The
    console, ``onpath status`` and the log have it anyway."""

    def __post_init__(self) -> None:
        if not (self.invalid or self.suspect or any(getattr(self, name) is not None for name in _CONDITIONS)):
            words = ", ".join((*_CONDITIONS, "invalid"))
            raise FieldError((), f"says when: one of {words} or suspect is needed")
        if not self.globs:
            raise FieldError("points", "names no point")
        if self.hysteresis and self.above is None and self.below is None:
            raise FieldError("hysteresis", "belongs to above or below")
        if self.absent is not None and self.absent <= 0:
            raise FieldError("absent", "must be longer than 0")
        for field in ("for_", "clear_after", "absent"):
            if (getattr(self, field) or 0.0) > LONGEST_S:
                raise FieldError(field.rstrip("_"), "must be at most a year")

    @property
    def globs(self) -> tuple[str, ...]:
        """``points`` as a tuple, also if a single glob was written."""
        return (self.points,) if isinstance(self.points, str) else tuple(self.points)

    @property
    def condition(self) -> str:
        """The condition in words: ``above 253 or absent for 60 s, for 10 s``."""
        limits = ((name, getattr(self, name)) for name in _CONDITIONS if name != "absent")
        parts = [f"{name} {_shown(limit)}" for name, limit in limits if limit is not None]
        parts += [word for word in ("invalid", "suspect") if getattr(self, word)]
        if self.absent is not None:
            parts.append(f"absent for {self.absent:g} s")
        lasting = f", for {self.for_:g} s" if self.for_ else ""
        return " or ".join(parts) + lasting

    @property
    def template(self) -> str:
        """``text``, or what stands for it."""
        return self.text or f"{{point}} is {{value}} {{unit}} ({self.condition})"


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
