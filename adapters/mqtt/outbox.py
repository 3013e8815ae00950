"""What the adapter publishes: packet ids, the window of QoS 1, and a bound on what waits."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from adapters.mqtt.packets import parse_puback, publish_packet, refused_message
from adapters.mqtt.publish import Publish
from gateway.errors import PayloadError

WINDOW: Final = 20
"""Messages of QoS 1 that are on their way, at most; fewer where the broker says so."""
MAX_WAITING: Final = 1000
"""Messages that wait for the window. A further one is not sent, and counted as ``unsent``."""
_FIRST_ID: Final = 1
_LAST_ID: Final = 0xFFFF


class Outbox:
    """Of one connection. ``write`` takes packets; ``room`` says whether the socket takes more."""

    def __init__(
        self, version: int, write: Callable[[bytes], None], room: Callable[[], bool], reasons: Counter[str]
    ) -> None:
        self._version = version
        self._write = write
        self._room = room
        self._reasons = reasons
        self._window = WINDOW
        self._on_the_way: set[int] = set()
        self._waiting: deque[Publish] = deque()
        self._last_id = _FIRST_ID - 1
        self.refused = ""
        """Why the broker did not take the last message that it refused."""

    def limit(self, window: int) -> None:
        """The broker takes no more than so many at once."""
        self._window = min(self._window, window)

    def next_id(self) -> int:
        """A packet id that is not in use."""
        while True:
            self._last_id = _FIRST_ID if self._last_id >= _LAST_ID else self._last_id + 1
            if self._last_id not in self._on_the_way:
                return self._last_id

    def send(self, message: Publish) -> None:
        """Send now, or when the window has room; beyond the bounds it is counted and left out."""
        full = len(self._waiting) >= MAX_WAITING if message.qos else not self._room()
        if full:
            self._reasons["unsent"] += 1
        elif message.qos and len(self._on_the_way) >= self._window:
            self._waiting.append(message)
        else:
            self._publish(message)

    def _publish(self, message: Publish) -> None:
        packet_id = 0
        if message.qos:
            packet_id = self.next_id()
            self._on_the_way.add(packet_id)
        self._write(publish_packet(self._version, message, packet_id))

    def acknowledged(self, body: bytes) -> None:
        """A PUBACK has come; a refusal is counted as ``publish-refused``.

        Raises:
            PayloadError: ``malformed``, or for a message that was not sent.
        """
        packet_id, code = parse_puback(body)
        if packet_id not in self._on_the_way:
            raise PayloadError("malformed", f"unexpected packet: PUBACK for {packet_id}, which was not sent")
        self._on_the_way.remove(packet_id)
        if code >= 0x80:
            self.refused = refused_message(code)
            self._reasons["publish-refused"] += 1
        if self._waiting and len(self._on_the_way) < self._window:
            self._publish(self._waiting.popleft())
