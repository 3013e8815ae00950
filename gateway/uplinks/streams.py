"""Records back to back: what the uplinks file and stdout have in common."""

from __future__ import annotations

import os
import select

from gateway.batch import Batch
from gateway.uplinks.base import UplinkContext
from gateway.uplinks.options import TimeFormat
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json


def write_all(fd: int, data: bytes) -> None:
    """Write all of it to a descriptor, whatever it is. Blocks: called in a thread."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # somebody who shares our standard output made it non-blocking
            select.select([], [fd], [])


class Recorder:
    """Batches to the bytes that a stream of records holds, in either format."""

    def __init__(self, ctx: UplinkContext, *, framed: bool, time: TimeFormat) -> None:
        self._ctx = ctx
        self._framed = framed
        self._time = time
        self._frames = FrameEncoder(ctx.gateway, ctx.directory)

    def begin(self) -> None:
        """A new file begins: it has to name its points itself."""
        self._frames = FrameEncoder(self._ctx.gateway, self._ctx.directory)

    def record(self, batch: Batch) -> bytes:
        """One JSON line, or a msgpack map with the directory before it where points are new."""
        ctx = self._ctx
        if not self._framed:
            return encode_json(batch, ctx.gateway, ctx.directory, self._time) + b"\n"
        message, announced = self._frames.encode(batch)
        return b"".join([*(directory for _, directory in announced), message])
