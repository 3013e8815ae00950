"""Options of the gateway's own metrics and of its heartbeat."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from gateway.errors import FieldError
from gateway.point import OWN, Name
from gateway.units import Duration

PULSE: Final = (f"{OWN}health", f"{OWN}version", f"{OWN}uptime")
"""What every heartbeat says."""
LEAST_S: Final = 1.0
LONGEST_S: Final = 86_400.0


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway's own metrics as points ``onpath/...``, of which pipelines and alerts may take some.

    Only a glob that begins with ``onpath/`` takes them; ``**`` does not. Without such a glob they are not sampled.
    """

    every: Duration = Duration(10.0)
    """How often they are sampled."""

    def __post_init__(self) -> None:
        _check_every(self.every)


class HeartbeatConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign of life upstream: ``onpath/health``, ``onpath/version`` and ``onpath/uptime``."""

    to: list[Name]
    """Uplinks that take it."""
    every: Duration = Duration(60.0)
    """How often."""
    also: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    """Globs of other own metrics to send along, such as ``onpath/uplink/*/spool_age``."""

    def __post_init__(self) -> None:
        _check_every(self.every)
        if not self.to:
            raise FieldError("to", "names no uplink")
        for at, glob in enumerate(self.also):
            if not glob.startswith(OWN):
                raise FieldError(("also", at), f"{glob!r} does not begin with {OWN}: only own metrics are sent along")


def _check_every(every: Duration) -> None:
    if not LEAST_S <= every <= LONGEST_S:
        raise FieldError("every", f"must be between {LEAST_S:g} s and a day")
