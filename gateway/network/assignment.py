"""What the plan tells a node, and what is kept under which key. A leaf."""

from __future__ import annotations

from typing import Final

import msgspec

EARLIER: Final = 8
HEAD: Final = "plan/head"
"""In the bucket ``facts``: the newest epoch, and who made it."""


class ServicePart(msgspec.Struct, frozen=True, kw_only=True):
    """What a node does for one service."""

    version: int
    """Of the service."""
    epoch: int
    """Of the plan; a node never goes back to an older one."""
    cut: int
    """How many stages are applied to what leaves the node."""
    parent: str = ""
    """Where to; empty: the core."""
    from_ns: int = 0
    """From when on, UTC; 0: at once."""
    since_ns: int = 0
    """Which samples are this version's, by their own time, UTC: those from here on; 0: all. Those before are the one's
    that it replaces. Set once for a version, so that all nodes cut at the same sample."""
    yaml: str = ""
    """The service itself, so that a node needs nothing else."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Bucket ``plan``, key = the node's name: all that it does for services, by name."""

    epoch: int
    services: dict[str, ServicePart] = {}


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Bucket ``services``, key = the service's name: what was applied last."""

    yaml: str
    version: int
    """Grows with each change."""
    applied_ms: int
    by: str = ""
    removed: bool = False
    earlier: dict[int, str] = {}
    """Versions before it, the newest :data:`EARLIER`, and their YAML: for what is on its way of them."""


def encode(record: msgspec.Struct) -> bytes:
    """As it is kept."""
    return msgspec.json.encode(record)


def assignment_of(payload: bytes) -> Assignment:
    """The inverse of :func:`encode`.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(payload, type=Assignment)


def record_of(payload: bytes) -> ServiceRecord:
    """The inverse of :func:`encode`.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return msgspec.json.decode(payload, type=ServiceRecord)
