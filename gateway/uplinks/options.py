"""What the options of uplinks have in common. Light: imports no protocol library."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink


class Format(enum.StrEnum):
    """How a batch is written for the other side."""

    JSON = "json"
    FRAME = "frame"


class TimeFormat(enum.StrEnum):
    """How ``json`` writes times."""

    RFC3339 = "rfc3339"
    """UTC with milliseconds: ``2026-01-31T12:00:00.250Z``."""
    NS = "ns"
    """Integer nanoseconds since 1970 UTC."""


class UplinkConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of every uplink's options. A subclass repeats ``frozen=True, kw_only=True`` and sets ``tag``."""

    def create(self) -> Uplink:
        """The uplink for these options. Imports its module here, so that unused ones cost nothing."""
        raise NotImplementedError


class BatchOptions(UplinkConfig, frozen=True, kw_only=True):
    """Options of uplinks that send batches as they are."""

    format: Format = Format.JSON
    """``json``, or ``frame`` (compact, between gateways)."""
    time: TimeFormat = TimeFormat.RFC3339
    """How ``json`` writes times."""
