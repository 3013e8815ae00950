"""A batch: one row of the spool, one message of an uplink. A leaf."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from gateway.frame import Frame


class RowKind(enum.IntEnum):
    """What a spool row holds. Codes are stored: never renumber."""

    SAMPLES = 0
    LOSS = 1


@dataclass(frozen=True, slots=True)
class Loss:
    """Samples that policy let go: the span of their source times (ns), how many, and why."""

    first_ns: int
    last_ns: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes upstream under one record id (gateway, epoch, seq)."""

    seq: int
    pipeline: str
    created_ns: int
    frame: Frame
    loss: Loss | None = None
    historical: bool = False
    block: bytes = b""
    """The frame as the spool has it (gateway.wire.columns), so that nothing is encoded twice."""
    bounds: tuple[dict[str, Any], ...] = ()
    """Error bounds in force, one for each step that trades error for bytes; plain JSON types."""
    epoch: int = 0
    """Which life of the state folder numbered it; a folder begun anew has another one."""


def record_id(gateway: str, epoch: int, seq: int) -> str:
    """The record id as text, the same in every protocol: ``feeder-7/123/42``. A receiver removes doubles by it."""
    return f"{gateway}/{epoch}/{seq}"
