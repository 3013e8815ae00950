"""Results of a service as a reader has them: the newest word on each point and time holds.

The core publishes ``out/<service>/<partition>``, messages of the format ``frame`` of the gateway ``core-PP``; a late
part of a window gives its results again, as a correction. A reader that sees messages twice, or from the beginning, or
both, has the same results.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.frame.records import Reader, UnknownDirectoryError
from gateway.errors import PayloadError
from gateway.network.carrier.base import OUT
from gateway.network.lookup import ending
from gateway.point import compile_glob
from gateway.wire.directories import Described
from gateway.wire.record import TimeFormat, record_of

if TYPE_CHECKING:
    from gateway.network.carrier.base import Carrier, Message
    from gateway.wire.receive import Received

SLACK: Final = 1_000
"""Results beyond those that are wanted that are kept before the oldest are let go."""
MOST_SEEN: Final = 100_000
"""Record ids that are known: one that comes again says nothing new, and is no correction."""
_DEEP: Final = 4_096
"""Directories that build on one another, at most."""


@dataclass(frozen=True, slots=True)
class Result:
    """One result."""

    partition: str
    """``core-PP``: the part of the core that brought it together."""
    point: str
    time_ns: int
    value: float | str | None
    """None: there is none, and ``reason`` says why."""
    unit: str
    quality: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For machines; ``time`` in ns since 1970 UTC."""
        told = {"point": self.point, "time": self.time_ns, "value": self.value, "unit": self.unit}
        told |= {"quality": self.quality, "partition": self.partition}
        return told | ({"reason": self.reason} if self.reason else {})


class Results:
    """The newest results, by partition, point and time.

    Args:
        last: how many are kept, those of the newest times.
        globs: of which points; none: of all.
    """

    def __init__(self, last: int, globs: Sequence[str] = ()) -> None:
        self._last = last
        self._patterns = [compile_glob(glob) for glob in globs]
        self._found: dict[tuple[str, str, int], Result] = {}
        self._seen: dict[str, None] = {}
        self.replaced = 0
        """Results that a later record has given again with another value."""

    def take(self, received: Received) -> list[Result]:
        """Take a message, in the order of the stream; what of it is new, or replaces what was there."""
        fresh: list[Result] = []
        if received.id in self._seen:
            return fresh
        self._seen[received.id] = None
        while len(self._seen) > MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        for result in results_of(received):
            if self._patterns and not any(pattern.match(result.point) for pattern in self._patterns):
                continue
            key = (result.partition, result.point, result.time_ns)
            known = self._found.get(key)
            self._found[key] = result
            if known is None or (known.value, known.quality) != (result.value, result.quality):
                self.replaced += known is not None
                fresh.append(result)
        if len(self._found) > self._last + max(SLACK, self._last):
            self._found = {(one.partition, one.point, one.time_ns): one for one in self.newest()}
        return fresh

    def newest(self) -> list[Result]:
        """The last ones, in the order of their times."""
        ordered = sorted(self._found.values(), key=lambda one: (one.time_ns, one.point, one.partition))
        return ordered[-self._last :] if self._last else []


def results_of(received: Received) -> list[Result]:
    """What a message says, a result a sample.

    Raises:
        PayloadError: what is said of its points is not usable.
    """
    batch = received.batch
    if batch.loss is not None:
        return []
    rows = record_of(batch, received.gateway, Described(received.points, batch.frame), TimeFormat.NS)["samples"]
    units = {facts.get("name"): facts.get("unit", "") for facts in received.points.values() if isinstance(facts, dict)}
    return [
        Result(
            partition=received.gateway, point=row["point"], time_ns=row["time"], value=row["value"],
            unit=str(units.get(row["point"], "")), quality=row["quality"], reason=row.get("reason", ""),
        )
        for row in rows
    ]  # fmt: skip


class Feed:
    """Messages of a service, decoded; directories come from where the carrier keeps them."""

    def __init__(self, carrier: Carrier, service: str) -> None:
        self._carrier = carrier
        self._pattern = f"{OUT}/{service}/**"
        self._reader = Reader()
        self.unusable = 0
        """Messages that could not be read."""

    async def batches(self) -> AsyncGenerator[list[Received], None]:
        """From the first that is kept on, and then as they come; some at once.

        Raises:
            CarrierError: the carrier cannot be reached.
        """
        async with ending(self._carrier.consume(self._pattern)) as batches:
            async for messages in batches:
                yield [received for message in messages if (received := await self._read(message)) is not None]

    async def _read(self, message: Message) -> Received | None:
        for _ in range(_DEEP):
            try:
                return self._reader.read(message.payload)
            except UnknownDirectoryError as error:
                entry = await self._carrier.get("directories", error.name)
                if entry is None or entry.value is None:
                    break
                self._reader.learn(entry.value)
            except PayloadError:
                break
        self.unusable += 1
        return None
