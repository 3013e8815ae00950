"""The order of an edge node's messages (Sparkplug 3.0, 5.8): what came too early waits for those before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from adapters.mqtt.sparkplug.where import Where
    from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb

SEQUENCE: Final = 256
"""Numbers go from 0 to 255 and begin again."""


class Message(NamedTuple):
    """One message of an edge node."""

    where: Where
    payload: pb.Payload
    arrival_ns: int
    size: int
    mark: int
    """Hash of its bytes: a broker that repeats a message repeats it whole."""

    @property
    def stamp_ms(self) -> int:
        """When the node says that it was sent; 0 if it does not."""
        return self.payload.timestamp


class Order:
    """Which message is next, and those that wait: at most one of each of the 256 numbers."""

    def __init__(self) -> None:
        self.next: int | None = None
        """None before the birth."""
        self.size = 0
        """Bytes of what waits."""
        self._held: dict[int, Message] = {}
        self._recent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, birth: Message) -> int:
        """A birth: all begins behind it. Gives the number of messages that had waited and are older than it."""
        self.next = (birth.payload.seq + 1) % SEQUENCE
        self._recent = {birth.payload.seq: birth.mark}
        old = [seq for seq, message in self._held.items() if message.stamp_ms < birth.stamp_ms]
        for seq in old:
            self._drop(seq)
        return len(old)

    def end(self) -> int:
        """A death: nothing is expected any more. Gives the number of messages that had waited."""
        lost = len(self._held)
        self.next, self.size = None, 0
        self._held.clear()
        self._recent.clear()
        return lost

    def repeated(self, message: Message) -> bool:
        """Whether this very message was taken, or waits."""
        seq = message.payload.seq
        waiting = self._held.get(seq)
        return self._recent.get(seq) == message.mark or (waiting is not None and waiting.mark == message.mark)

    def hold(self, message: Message) -> bool:
        """Let it wait; False if another one with its number does already."""
        seq = message.payload.seq
        if seq in self._held:
            return False
        self._held[seq] = message
        self.size += message.size
        return True

    def passed(self, message: Message) -> None:
        """This message was the next one, or is taken for it."""
        seq = message.payload.seq
        self.next = (seq + 1) % SEQUENCE
        self._recent[seq] = message.mark

    def ready(self, not_before_ms: int) -> Iterator[Message]:
        """What is next among those that wait, one after the other; never what is older than the birth."""
        while self._held and self.next is not None:
            message = self._held.get(self.next)
            if message is None or message.stamp_ms < not_before_ms:
                return
            self._drop(self.next)
            self.passed(message)
            yield message

    def oldest_ns(self) -> int | None:
        """When the first of those that wait came; None if none waits."""
        return min((message.arrival_ns for message in self._held.values()), default=None)

    def give_up(self) -> list[Message]:
        """What waits, in order; what is missing between is lost."""
        start = self.next or 0
        found = [self._held[seq] for seq in sorted(self._held, key=lambda seq: (seq - start) % SEQUENCE)]
        self._held.clear()
        self.size = 0
        if found and self.next is not None:
            for message in found:
                self.passed(message)
        return found

    def _drop(self, seq: int) -> None:
        self.size -= self._held.pop(seq).size
