"""What the host sends: its STATE, and requests to be born again (Sparkplug 3.0, 5.5, 5.11 and 5.14)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from adapters.mqtt.publish import Publish
from adapters.mqtt.sparkplug.options import NAMESPACE
from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import DataType
from gateway.errors import PayloadError

if TYPE_CHECKING:
    Node = tuple[str, str]

REBIRTH: Final = "Node Control/Rebirth"
BURST: Final = 64
"""Requests that go out at once: thousands of births together are a load."""
PAUSE_NS: Final = 1_000_000_000
"""What follows such a burst."""
MOST: Final = 8
"""How many intervals a node is left alone at most."""
_MS: Final = 1_000_000
_LONG: Final = 2**62


class _State(msgspec.Struct):
    online: bool
    timestamp: int


_read_state = msgspec.json.Decoder(_State).decode


class Certificate:
    """Birth and death of the host: JSON with ``online`` and ``timestamp`` (ms), QoS 1, retained."""

    def __init__(self, host: str) -> None:
        self.topic = f"{NAMESPACE}/STATE/{host}"
        self._stamp_ms = 0
        self._online = False

    def will(self, now_ns: int) -> Publish:
        """What the broker says if the link is lost; the birth on this connection has the same time."""
        self._stamp_ms = now_ns // _MS
        self._online = False
        return self._publish(self._stamp_ms, online=False)

    def birth(self) -> Publish:
        """To be sent first on a connection, behind the subscriptions."""
        self._online = True
        return self._publish(self._stamp_ms, online=True)

    def death(self, now_ns: int) -> Publish:
        """To be sent before a clean end."""
        self._online = False
        return self._publish(now_ns // _MS, online=False)

    def heard(self, payload: bytes) -> bool:
        """What was said on our own topic; whether it is wrong: somebody says that we are not online.

        Raises:
            PayloadError: ``unparsable``.
        """
        try:
            said = _read_state(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PayloadError("unparsable", str(error)) from None
        return self._online and not said.online

    def _publish(self, stamp_ms: int, *, online: bool) -> Publish:
        said = msgspec.json.encode({"online": online, "timestamp": stamp_ms})
        return Publish(self.topic, said, qos=1, retain=True)


class Rebirths:
    """Requests to be born again: each node at most once in an interval, a few nodes at a time.

    A node that gives reason again and again, because its births never say all, is asked less and less often.
    """

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._asked: dict[Node, tuple[int, int]] = {}
        """When a node was asked, and how long that counts, ns."""
        self._wanted: deque[Node] = deque()
        self._waiting: set[Node] = set()
        self._look_ns = 0
        """Before this nobody may be asked."""
        self._burst_ns = 0
        """Before this the last burst has to work."""

    def want(self, node: Node) -> None:
        """Ask the node as soon as it may be asked."""
        if node not in self._waiting:
            self._waiting.add(node)
            self._wanted.append(node)
            self._look_ns = min(self._look_ns, self._burst_ns)

    def born(self, node: Node) -> None:
        """Its birth has come: no need to ask."""
        self._waiting.discard(node)

    def due(self, now_ns: int) -> list[Publish]:
        """The requests to send now."""
        if now_ns < self._look_ns:
            return []
        found: list[Publish] = []
        later = now_ns + self._interval_ns
        for _ in range(len(self._wanted)):
            node = self._wanted.popleft()
            if node not in self._waiting:
                continue
            asked, pause = self._asked.get(node, (-_LONG, self._interval_ns))
            allowed = asked + pause
            if allowed <= now_ns and len(found) < BURST:
                self._waiting.discard(node)
                again = now_ns < allowed + pause
                pause = min(2 * pause, MOST * self._interval_ns) if again else self._interval_ns
                self._asked[node] = (now_ns, pause)
                found.append(request(node, now_ns))
            else:
                self._wanted.append(node)
                later = min(later, allowed)
        if len(found) == BURST:
            later = self._burst_ns = now_ns + PAUSE_NS
        self._look_ns = later
        return found


def request(node: Node, now_ns: int) -> Publish:
    """NCMD with ``Node Control/Rebirth`` true: no sequence number, QoS 0, not retained.

    The type stands in it although it need not: some edge nodes read no value without.
    """
    stamp_ms = now_ns // _MS
    message = pb.Payload(timestamp=stamp_ms)
    message.metrics.add(name=REBIRTH, timestamp=stamp_ms, datatype=DataType.BOOLEAN, boolean_value=True)
    group, edge = node
    return Publish(f"{NAMESPACE}/{group}/NCMD/{edge}", message.SerializeToString())
