"""Where batches come from: a broker that keeps each message until it is acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from adapters.frame.config import FrameConfig


@dataclass(slots=True)
class Message:
    """One message."""

    topic: str
    payload: bytes
    mark: str | bytes | None = None
    """By what the source acknowledges it; None if nobody waits for that."""


class Source(Protocol):
    """One connection, from ``open`` to ``close``. What it raises is LinkError."""

    dot: str
    """What stands between the levels of a topic."""
    filters: list[str]
    """What it asks the broker for."""
    prompt: bool
    """Whether directory messages stand where they can be had at once, and what is not acknowledged does not come again
    before the next connection."""

    async def open(self, had: Collection[str]) -> str:
        """Connect and ask for the topics, give up those of ``had`` that are not asked for; a word on the session."""

    async def keep(self) -> NoReturn:
        """Watch over the connection."""

    async def take(self) -> list[Message]:
        """The messages that have come; waits for the first."""

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """The broker need not keep these any longer."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send a message of our own."""

    async def directory(self, topic: str, name: str) -> bytes | None:
        """Ask once more for a directory message of the batches of a topic; None if it comes like other messages."""

    async def close(self) -> None:
        """Say good-bye; never fails."""


def source_of(
    config: FrameConfig, client_id: str, now_ns: Callable[[], int], reasons: Counter[str], *, kept: bool = True
) -> Source:
    """The source that the URL names, not yet open. If it is not ``kept``, the broker forgets us when we go."""
    if config.is_nats:
        from adapters.frame.nats_source import NatsSource

        return NatsSource(config, client_id, reasons, kept=kept)
    from adapters.frame.mqtt_source import MqttSource

    return MqttSource(config, client_id, now_ns, reasons, kept=kept)
