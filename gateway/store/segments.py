"""A journal block: what came in between two commits, in order. A pure codec.

A block is an envelope (gateway.wire.envelope) around a msgpack list of ``[kind, body]``: 0 a frame (columns, see
gateway.wire.columns), 1 a tick (stream time, ns), 2 a step of the wall clock (ns), 3 another error bound of a step
(``[pipeline, step, absolute, percent]``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgpack

from gateway.errors import PayloadError
from gateway.frame import Frame
from gateway.wire import columns
from gateway.wire.envelope import seal, unseal
from pipelines.bounds import Bound

MAX_BYTES = 1 << 28
PLAIN_BELOW = 256
"""Samples: commits for a receipt's sake are many and small, and the database's pages outweigh what is saved."""


@dataclass(frozen=True)
class Tick:
    """Time went on to ``now_ns`` (stream time)."""

    now_ns: int


@dataclass(frozen=True)
class Step:
    """The wall clock jumped by ``delta_ns``."""

    delta_ns: int


@dataclass(frozen=True)
class Rebound:
    """A person, or the link's budget, gave a step of a pipeline another error bound."""

    pipeline: str
    step: str
    """The step's key, see :class:`pipelines.runner.Step`."""
    bound: Bound


Segment = Frame | Tick | Step | Rebound


def encode(segments: Iterable[Segment]) -> bytes:
    """The bytes of a block."""
    items: list[tuple[int, bytes | int | list[Any]]] = []
    for segment in segments:
        match segment:
            case Frame():
                items.append((0, columns.pack(segment, plain_below=PLAIN_BELOW)))
            case Tick(now_ns):
                items.append((1, now_ns))
            case Step(delta_ns):
                items.append((2, delta_ns))
            case Rebound(pipeline, step, bound):
                items.append((3, [pipeline, step, bound.absolute, bound.percent]))
    return seal(msgpack.packb(items), level=1)


def decode(block: bytes) -> list[Segment]:
    """The inverse of :func:`encode`; frames come grouped by point.

    Raises:
        PayloadError: the bytes are damaged or not a block.
    """
    try:
        items = msgpack.unpackb(unseal(block, MAX_BYTES))
    except (ValueError, msgpack.UnpackException) as error:
        raise PayloadError("bad-block", str(error)) from error
    if not isinstance(items, list):
        raise PayloadError("bad-block", "not a list")
    return [_segment(item) for item in items]


def _segment(item: object) -> Segment:
    match item:
        case [0, bytes(body)]:
            return columns.unpack(body)
        case [1, int(now_ns)]:
            return Tick(now_ns)
        case [2, int(delta_ns)]:
            return Step(delta_ns)
        case [3, [str(pipeline), str(step), float() | None as absolute, float() | None as percent]]:
            return Rebound(pipeline, step, Bound(absolute=absolute, percent=percent))
        case _:
            raise PayloadError("bad-block", repr(item)[:60])
