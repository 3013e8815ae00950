"""Results of all services of a scene, as they come: newest value, when it came first, and how many bytes they took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, cast

from gateway.network.results import Feed, results_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from gateway.network.carrier.base import Carrier, Entry, Message


class Told(NamedTuple):
    """One result."""

    value: float | str | None
    quality: str
    unit: str
    came_ns: int
    """When it came first, ns since 1970 UTC."""
    corrections: int = 0
    """How often it was given again with another value."""


class Tap:
    """Reads everything below ``out/``. ``told`` is by service, point and time."""

    def __init__(self, carrier: Carrier) -> None:
        self._counted = _Counted(carrier)
        self.told: dict[tuple[str, str, int], Told] = {}

    @property
    def bytes(self) -> int:
        """Of all messages."""
        return self._counted.bytes

    async def run(self) -> None:
        """Until cancelled."""
        feed = Feed(cast("Carrier", self._counted), "*")  # it calls these two methods of it
        async for batches in feed.batches():
            now_ns = time.time_ns()
            for received in batches:
                for one in results_of(received):
                    self._take(
                        (received.batch.pipeline, one.point, one.time_ns), one.value, one.quality, one.unit, now_ns
                    )

    def _take(self, key: tuple[str, str, int], value: float | str | None, quality: str, unit: str, now_ns: int) -> None:
        known = self.told.get(key)
        if known is None:
            self.told[key] = Told(value, quality, unit, now_ns)
        elif known.value != value:
            self.told[key] = Told(value, quality, unit, known.came_ns, known.corrections + 1)

    def newest(self, service: str, point: str) -> Told | None:
        """The result of the newest time."""
        times = [key for key in self.told if key[:2] == (service, point)]
        return self.told[max(times)] if times else None


class _Counted:
    """A carrier whose messages are counted as they are read."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.bytes = 0

    async def consume(self, pattern: str, after: int = 0) -> AsyncGenerator[list[Message], None]:
        """See the contract."""
        consuming: AsyncIterator[list[Message]] = self._carrier.consume(pattern, after)
        async for messages in consuming:
            self.bytes += sum(len(one.payload) for one in messages)
            yield messages

    async def get(self, bucket: str, key: str) -> Entry | None:
        """See the contract."""
        return await self._carrier.get(bucket, key)
