"""Options of the gateway's own metrics and of its heartbeat."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.point import Name
from gateway.units import Duration


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gateway's own metrics as points ``onpath/...``, of which pipelines and alerts may take some.

    Only a glob that begins with ``onpath/`` takes them; ``**`` does not. Without such a glob they are not sampled.
    """

    every: Duration = Duration(10.0)
    """How often they are sampled."""


class HeartbeatConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign of life upstream: ``onpath/health``, ``onpath/version`` and ``onpath/uptime``."""

    to: list[Name]
    """Uplinks that take it."""
    every: Duration = Duration(60.0)
    """How often."""
    also: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    """Globs of other own metrics to send along, such as ``onpath/uplink/*/spool_age``."""
