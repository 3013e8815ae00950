"""Batches as messages of one link, for uplinks that publish under a topic or subject."""

from __future__ import annotations

import time
from math import inf
from typing import Final

from gateway.batch import Batch
from gateway.errors import LinkError
from gateway.uplinks.base import UplinkContext
from gateway.uplinks.options import BatchOptions, Format
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json

TOO_LARGE: Final = "too-large"
"""Reason of a loss marker: the batch is larger than what the other side takes."""
CONTENT_TYPES: Final = {Format.JSON: "application/json", Format.FRAME: "application/msgpack"}

Announced = list[tuple[str, bytes]]
"""(hash, directory message) of each that the other side must have before the batch."""


class Outgoing:
    """Encodes; knows which points the directory messages under each topic have described."""

    def __init__(self, config: BatchOptions, ctx: UplinkContext, renew_s: float = inf, *, sparse: bool = False) -> None:
        """Begin with nothing.

        Args:
            config: the format.
            ctx: the uplink's.
            renew_s: directory messages are said again after so long, where the other side forgets them.
            sparse: directory messages describe what is sent, and not all points there are.
        """
        self._config = config
        self._ctx = ctx
        self._renew_s = renew_s
        self._sparse = sparse
        self._frames: dict[str, tuple[FrameEncoder, float]] = {}
        """By topic: whoever reads one topic finds below it all the names it needs."""

    @property
    def content_type(self) -> str:
        """MIME type of the messages."""
        return CONTENT_TYPES[self._config.format]

    def encode(self, batch: Batch, topic: str, limit: float) -> tuple[bytes, Announced] | None:
        """The message of a batch in at most ``limit`` bytes, and the directory messages that must be there before it.

        None for a batch that is too large for the other side: it can never be sent, so it is given up, and a loss
        marker says so.

        Raises:
            LinkError: a directory message is too large, or a loss marker.
        """
        payload, announced = self._encode(batch, topic)
        largest = max([0, *(len(directory) for _, directory in announced)])
        if len(payload) > limit:
            if batch.loss is None and len(batch.frame):
                self._frames.pop(topic, None)  # what was to be announced was not
                self._give_up(batch, len(payload), limit)
                return None
            largest = max(largest, len(payload))
        if largest > limit:
            self._frames.pop(topic, None)
            raise LinkError(f"{topic}: a message of {largest} bytes is needed, and the other side takes {limit:.0f}")
        return payload, announced

    def _encode(self, batch: Batch, topic: str) -> tuple[bytes, Announced]:
        ctx = self._ctx
        if self._config.format is Format.JSON:
            return encode_json(batch, ctx.gateway, ctx.directory, self._config.time), []
        encoder, since = self._frames.get(topic, (None, 0.0))
        if encoder is None or time.monotonic() - since > self._renew_s:
            encoder, since = FrameEncoder(ctx.gateway, ctx.directory, sparse=self._sparse), time.monotonic()
            self._frames[topic] = encoder, since
        payload, announced = encoder.encode(batch)
        return payload, list(announced)

    def _give_up(self, batch: Batch, size: int, limit: float) -> None:
        ctx = self._ctx
        ctx.stats.counts[TOO_LARGE] += 1
        ctx.log.error(
            "uplink %s: batch %d of pipeline %s has %d bytes, and the other side takes %.0f: given up, %d samples",
            ctx.name,
            batch.seq,
            batch.pipeline,
            size,
            limit,
            len(batch.frame),
        )
        ctx.give_up(batch, TOO_LARGE)
