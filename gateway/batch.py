"""A batch: one row of the spool, one message of an uplink. A leaf."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.frame import Frame

Link: TypeAlias = tuple[int, int]
"""The number of a chain, which is the rows of one uplink and pipeline, and the seq of the row before in it; 0 if there
was none. A receiver that has every row which another one names has them all."""


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
    first_seq: int | None = None
    """The rows that went with them, of one uplink and pipeline, lie from this seq ..."""
    last_seq: int | None = None
    """... to this one; None where none had a number yet."""


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
    chain: Link | None = None
    """What proves that nothing is missing; None for a row that was written before there were chains."""


def record_id(gateway: str, epoch: int, seq: int) -> str:
    """The record id as text, the same in every protocol: ``feeder-7/123/42``. A receiver removes doubles by it."""
    return f"{gateway}/{epoch}/{seq}"
