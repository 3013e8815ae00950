"""What has arrived and is on its way into the gateway: samples of a few milliseconds become one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.base import Context
from adapters.coap.points import Row
from gateway.frame import Frame

COLLECT_S = 0.002
"""How long the first sample of a frame waits for others."""
LIMIT = 65_536
"""Samples held while the gateway is full; then the oldest eighth is dropped, and counted as ``overrun``."""


class Outbox:
    """A bounded buffer in columns, emptied by one task."""

    def __init__(self, ctx: Context, limit: int = LIMIT) -> None:
        self._ctx = ctx
        self._limit = limit
        self._point: list[int] = []
        self._time: list[int] = []
        self._value: list[float] = []
        self._quality: list[int] = []
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._point)

    def add(self, row: Row, time_ns: int) -> None:
        """Take one sample; never waits, because nobody can ask a device to notify later."""
        if len(self._point) >= self._limit:
            self._drop(max(1, self._limit // 8))
        self._point.append(row.point)
        self._time.append(time_ns)
        self._value.append(row.value)
        self._quality.append(row.quality)
        self._filled.set()

    def _drop(self, count: int) -> None:
        columns: Sequence[list[int] | list[float]] = (self._point, self._time, self._value, self._quality)
        for column in columns:
            del column[:count]
        self._ctx.stats.reasons["overrun"] += count

    async def run(self) -> None:
        """Hand over what has come, for ever."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(COLLECT_S)
            await self.flush()

    async def flush(self) -> None:
        """Hand over what there is as one frame."""
        self._filled.clear()
        if not self._point:
            return
        frame = Frame.of(self._point, self._time, self._value, self._quality)
        self._point, self._time, self._value, self._quality = [], [], [], []
        await self._ctx.emit(frame)
