"""Messages of the format ``frame``: batches and directories. A leaf. docs/wire/format.md is the specification.

Msgpack maps. A batch of version 2 is ``{"onpath": 2, "h": head, "c": columns}``, both in envelopes
(gateway.wire.envelope). The head is a msgpack list of gateway, epoch, seq, pipeline, historical, the hash of the
directory (8 bytes, or none), the number of its chain (0: none), by how much its seq is above that of the batch before
it in the chain (0: there was none), and, if there is something in it, a map with ``bounds`` or ``loss``. Columns are as
in gateway.wire.columns; a loss marker has none.

Points go by number. A directory message says what they are: ``{"onpath": 2, "directory": hash, "base": hash or "",
"points": envelope}``: what that of ``base`` says, with the points of the map in the envelope added or said anew.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgpack
import numpy as np
import numpy.typing as npt

from gateway.batch import Batch, Loss
from gateway.frame import Ids
from gateway.point import Merge, Point
from gateway.wire import columns
from gateway.wire.directories import PART_BYTES, hash_of
from gateway.wire.envelope import seal
from gateway.wire.receive import FrameDecoder, Received
from gateway.wire.record import Names

__all__ = ["LONGEST_CHAIN", "PART", "WIRE_VERSION", "FrameDecoder", "FrameEncoder", "Points", "Received"]

WIRE_VERSION: Final = 2
PART = 4000
"""Points a directory message describes, at most: stays below what brokers accept."""
LONGEST_CHAIN = 64
"""Directory messages that build on each other; then one begins anew."""


class Points(Names, Protocol):
    """What an encoder needs to know of points; :class:`gateway.directory.Directory` is one."""

    def __len__(self) -> int: ...

    @property
    def edition(self) -> int:
        """Grows with each change of what is known of a point."""

    def changed_since(self, edition: int, /) -> set[int]:
        """Points of which something else is known than in an earlier edition."""

    def point(self, point_id: int, /) -> Point:
        """What is known of a point."""


class FrameEncoder:
    """``frame`` messages of one link: knows which points its directory messages have described.

    Args:
        gateway: its name.
        directory: its points.
        sparse: describe points when they are sent first, and not all there are: for links that few of them go over.
    """

    def __init__(self, gateway: str, directory: Points, *, sparse: bool = False) -> None:
        self._gateway = gateway
        self._sparse = sparse
        self._told: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        """By id, if ``sparse``: which points stand in the directory messages of this chain."""
        self._directory = directory
        self._edition = directory.edition
        self._hash = ""
        self._described = 0
        """Ids below it stand in the directory messages of this chain."""
        self._chain = 0

    def encode(self, batch: Batch) -> tuple[bytes, list[tuple[str, bytes]]]:
        """The message, and (hash, directory message) of each that the other side must have before it."""
        announced = self._learn(batch.frame.point)
        chain, before = batch.chain or (0, 0)
        head: list[Any] = [
            self._gateway,
            batch.epoch,
            batch.seq,
            batch.pipeline,
            batch.historical,
            bytes.fromhex(self._hash),
            chain,
            batch.seq - before if before else 0,
        ]
        more: dict[str, Any] = {}
        if batch.bounds:
            more["bounds"] = list(batch.bounds)
        if batch.loss:
            more["loss"] = _loss(batch.loss)
        message = {"onpath": WIRE_VERSION, "h": seal(msgpack.packb([*head, more] if more else head))}
        if not batch.loss:
            message["c"] = batch.block if batch.block[:1] == b"\x02" else columns.encode(batch.frame)
        return msgpack.packb(message), announced

    def _learn(self, ids: Ids) -> list[tuple[str, bytes]]:
        """Describe all points that are new or changed once one of them is sent, in parts of a bounded size."""
        changed = self._directory.changed_since(self._edition)
        self._edition = self._directory.edition
        fresh = self._used(changed, ids) if self._sparse else self._all(changed, ids)
        if self._hash and not fresh:
            return []
        announced: list[tuple[str, bytes]] = []
        part: dict[int, bytes] = {}
        size = 0
        for point in fresh:
            part[point] = msgpack.packb(self._describe(point))
            size += len(part[point])
            if len(part) >= PART or size >= PART_BYTES:
                announced.append(self._announce(part))
                part, size = {}, 0
        return [*announced, self._announce(part)] if part or not announced else announced

    def _all(self, changed: set[int], ids: Ids) -> list[int]:
        """What has to be described: all that is new, as soon as something of it is sent."""
        changed = {point for point in changed if point < self._described}
        if self._hash and not changed and (not len(ids) or int(ids.max()) < self._described):
            return []
        if self._chain >= LONGEST_CHAIN:
            self._hash, self._described, self._chain, changed = "", 0, 0, set()
        fresh = [*sorted(changed), *range(self._described, len(self._directory))]
        self._described = len(self._directory)
        return fresh

    def _used(self, changed: set[int], ids: Ids) -> list[int]:
        """Likewise, but only what is sent."""
        if len(self._told) < len(self._directory):
            self._told = np.append(self._told, np.zeros(len(self._directory) - len(self._told), np.bool_))
        changed = {point for point in changed if self._told[point]}
        if not changed and self._told[ids].all():
            return []
        if self._chain >= LONGEST_CHAIN:
            self._hash, self._chain, changed = "", 0, set()
            self._told[:] = False
        fresh: list[int] = np.unique(ids[~self._told[ids]]).tolist()
        self._told[fresh] = True
        return [*sorted(changed), *fresh]

    def _announce(self, described: dict[int, bytes]) -> tuple[str, bytes]:
        packer = msgpack.Packer()
        parts = [packer.pack_map_header(len(described))]
        for point, facts in described.items():
            parts += (packer.pack(point), facts)
        points = seal(b"".join(parts))
        base, self._hash = self._hash, hash_of(self._hash, points)
        self._chain += 1
        record = {"onpath": WIRE_VERSION, "directory": self._hash, "base": base, "points": points}
        return self._hash, msgpack.packb(record)

    def _describe(self, point: int) -> dict[str, Any]:
        known = self._directory.point(point)
        described: dict[str, Any] = {"name": known.name, "unit": known.unit, "kind": known.kind.value}
        if texts := self._directory.states(point):
            described["states"] = list(texts)
        if known.limits is not None:
            described["limits"] = list(known.limits)
        if known.resolution is not None:
            described["resolution"] = known.resolution
        if known.merge is not Merge.LAST:
            described["merge"] = known.merge.value
        if known.labels:
            described["labels"] = dict(known.labels)
        return described


def _loss(loss: Loss) -> dict[str, Any]:
    told = {"from": loss.first_ns, "to": loss.last_ns, "count": loss.count, "reason": loss.reason}
    if loss.first_seq is not None and loss.last_seq is not None:
        told |= {"first_seq": loss.first_seq, "last_seq": loss.last_seq}
    return told
