"""The host application: all edge nodes, what is sent to them, and what the gateway is told. Pure."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from google.protobuf.message import DecodeError

from adapters.mqtt.sparkplug.columns import Columns
from adapters.mqtt.sparkplug.held import Message
from adapters.mqtt.sparkplug.node import Node
from adapters.mqtt.sparkplug.requests import Certificate, Rebirths
from adapters.mqtt.sparkplug.where import BDSEQ, Verb, Where, device_name
from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.codec import MAX_BYTES
from gateway.errors import PayloadError
from gateway.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adapters.base import Points
    from adapters.mqtt.publish import Publish
    from adapters.mqtt.sparkplug.options import SparkplugOptions

MAX_NODES: Final = 10_000
MAX_HELD: Final = 16 * 2**20
"""Bytes of all messages that wait for earlier ones."""
MAX_OFFERS: Final = 32
MAX_OFFER: Final = 128
"""Metrics that a finding names, and the length of a name."""
COMPRESSED: Final = "SPBV1.0_COMPRESSED"
"""The ``uuid`` by which Eclipse Tahu marks a payload that stands compressed in ``body``."""
_IGNORED: Final = frozenset({Verb.NCMD, Verb.DCMD})


class Teller(Protocol):
    """What the host tells the gateway."""

    name: str
    """The adapter's name."""

    def link(self, device: str, *, up: bool, detail: str = "") -> None:
        """A node or device is there, or not."""

    def found(self, finding: Finding) -> None:
        """A node or device that was not known before."""

    def expect(self, device: str, period_s: float) -> None:
        """How often a device is to be heard."""


class Host:
    """A Sparkplug host application."""

    def __init__(
        self,
        options: SparkplugOptions,
        points: Points,
        reasons: Counter[str],
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options
        self.labels = labels or {}
        self.points = points
        self.reasons = reasons
        self.teller: Teller | None = None
        self.certificate = Certificate(options.host) if options.host else None
        self._rebirths = Rebirths(int(options.rebirth_interval * 1e9))
        self._nodes: dict[tuple[str, str], Node] = {}
        self._names: dict[str, tuple[str, str, str]] = {}
        self._restate = False
        self._held = 0
        """Bytes of messages that wait."""

    @property
    def nodes(self) -> list[tuple[str, str]]:
        """Group and id of all edge nodes that have been born, in the order of their first births."""
        return [key for key, node in self._nodes.items() if node.known]

    def take(self, where: Where, payload: bytes, arrival_ns: int, columns: Columns, *, kept: bool = False) -> None:
        """Take a message; ``kept``: the broker had it before we came, so that its age is unknown.

        Raises:
            PayloadError: it cannot be used.
        """
        if where.verb is Verb.STATE:
            self._state(where, payload)
            return
        if where.verb in _IGNORED:
            return
        node = self._node(where)
        if kept:
            self.rebirth(where.node)
            raise PayloadError("retained", "births, data and deaths are never retained")
        try:
            message = Message(where, parse(payload), arrival_ns, len(payload), hash(payload))
        except PayloadError:
            self.rebirth(where.node)
            raise
        before = node.order.size
        node.receive(message, columns)
        self._held += node.order.size - before
        if self._held > MAX_HELD and len(node.order):
            self._held -= node.order.size
            node.give_up(columns)

    def tick(self, now_ns: int, columns: Columns) -> None:
        """What time causes."""
        for node in self._nodes.values():
            node.tick(now_ns, columns)
        self._held = sum(node.order.size for node in self._nodes.values())

    def outgoing(self, now_ns: int) -> list[Publish]:
        """What is to be sent now."""
        found = self._rebirths.due(now_ns) if self.options.rebirth else []
        if self._restate and self.certificate is not None:
            found.insert(0, self.certificate.birth())
        self._restate = False
        return found

    def ask(self, nodes: Iterable[tuple[str, str]]) -> None:
        """Ask edge nodes for their births that are known from before."""
        for group, edge in nodes:
            self._node(Where(Verb.NBIRTH, group, edge)).known = True
            self.rebirth((group, edge))

    def lost(self, now_ns: int, columns: Columns) -> None:
        """The broker is gone: nothing is known any more (5.2)."""
        for node in self._nodes.values():
            node.silence(now_ns, columns, "the connection to the broker is lost")

    def name(self, where: Where) -> str:
        """See :class:`~adapters.mqtt.sparkplug.node.Surroundings`."""
        name = device_name(self.options.device, where)
        owner = (where.group, where.edge, where.device)
        if self._names.setdefault(name, owner) != owner:
            raise PayloadError("collision", f"{name}: {'/'.join(owner)} and {'/'.join(self._names[name])}")
        return name

    def link(self, device: str, *, up: bool, detail: str) -> None:
        """See :class:`~adapters.mqtt.sparkplug.node.Surroundings`."""
        if self.teller is not None:
            self.teller.link(device, up=up, detail=detail)

    def born(self, where: Where, device: str, payload: Any) -> None:
        """See :class:`~adapters.mqtt.sparkplug.node.Surroundings`."""
        self.link(device, up=True, detail="")
        if not where.device:
            self._rebirths.born(where.node)
        if self.teller is not None:
            self.teller.expect(device, math.inf)  # it speaks when something changes; its death says that it is gone
            self.teller.found(finding(where, device, payload, self.teller.name))

    def rebirth(self, node: tuple[str, str]) -> None:
        """See :class:`~adapters.mqtt.sparkplug.node.Surroundings`."""
        if self.options.rebirth:
            self._rebirths.want(node)

    def _state(self, where: Where, payload: bytes) -> None:
        if where.host == self.options.host and self.certificate is not None and self.certificate.heard(payload):
            self._restate = True

    def _node(self, where: Where) -> Node:
        node = self._nodes.get(where.node)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                raise PayloadError("too-many-nodes", f"more than {MAX_NODES} edge nodes")
            node = self._nodes[where.node] = Node(where, self)
        return node


def parse(payload: bytes) -> pb.Payload:
    """The protobuf message; unpacked, if it is compressed.

    Raises:
        PayloadError: ``too-large`` or ``unparsable``.
    """
    if len(payload) > MAX_BYTES:
        raise PayloadError("too-large", f"{len(payload)} bytes")
    try:
        message = pb.Payload.FromString(payload)
        return pb.Payload.FromString(_unpacked(message.body)) if message.uuid == COMPRESSED else message
    except (DecodeError, UnicodeDecodeError, zlib.error) as error:
        raise PayloadError("unparsable", str(error)) from None


def _unpacked(body: bytes) -> bytes:
    """Deflate or gzip, told apart by the head."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    found = unpacker.decompress(body, MAX_BYTES)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise PayloadError("too-large" if unpacker.unconsumed_tail else "unparsable", "a compressed payload")
    return found


def finding(where: Where, device: str, payload: Any, adapter: str) -> Finding:
    """What a birth says, for those who look what is there."""
    names = (metric.name for metric in payload.metrics[:MAX_OFFERS])
    offers = tuple(name for name in names if name != BDSEQ and 0 < len(name) <= MAX_OFFER)
    ids = "/".join(part for part in (where.group, where.edge, where.device) if part)
    topic = {"topic": f"spBv1.0/{where.group}/+/+/#", "payload": "sparkplug"}
    return Finding(
        kind="sparkplug",
        address=f"spBv1.0/{ids}",
        identity=ids,
        device=device,
        offers=offers,
        config={"adapters": {adapter: {"subscribe": [topic]}}},
        taken=True,
    )
