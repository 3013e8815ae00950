"""PUBLISH packets out of a byte stream: what the data path consists of. No I/O, no clock.

    type and flags (1) · remaining length (1 to 4) · topic length (2) · topic · packet id (2, only with QoS 1)
    · properties (MQTT 5 only) · payload

:class:`Splitter` cuts any number of them out of what a socket gave, without a call or an object a message. All
other packets are rare and handed on whole (:mod:`adapters.mqtt.packets`).
"""

from __future__ import annotations

from typing import Final

from adapters.mqtt.batch import Batch
from adapters.mqtt.packets import PUBLISH, V5
from adapters.mqtt.properties import topic_alias, varint
from adapters.mqtt.topics import MAX_BYTES
from gateway.errors import PayloadError

_QOS = 0x06
_RETAIN = 0x01
_DUP = 0x08
_PROPERTIES: Final = 4096
"""Room for the properties of a message that is too long to be buffered."""
_HEAD: Final = MAX_BYTES + 4 + _PROPERTIES
"""Topic, id and reasonable properties are in so many bytes for sure."""
_TOLD: Final = 16
"""Oversize messages of which a batch keeps topic and size."""


class Splitter:
    """Cuts a byte stream into packets and collects messages; any cut of the stream gives the same."""

    def __init__(
        self, version: int, max_payload: int, *, alias_maximum: int = 0, keep_properties: bool = False
    ) -> None:
        self.batch = Batch()
        self.max_payload = max_payload
        """A longer payload is dropped and counted; may be changed at any time."""
        self.keep_properties = keep_properties
        """Whether :attr:`Batch.properties` is wanted; likewise."""
        self._v5 = version == V5
        self._alias_maximum = alias_maximum
        self._aliases: dict[int, bytes] = {}
        """Topics by the number that the broker uses for them on this connection."""
        self._rest = b""
        self._skip = 0
        self._skipped: tuple[bytes, bytes, int] = (b"", b"", 0)
        """Topic, packet id and size of the message that is being skipped."""

    def take(self) -> Batch:
        """The messages collected so far."""
        batch, self.batch = self.batch, Batch()
        if batch.properties is not None:
            batch.properties += [b""] * (len(batch.topics) - len(batch.properties))
        return batch

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take in what the socket gave. Returns (type, body) of the packets that are not PUBLISH.

        Raises:
            PayloadError: ``malformed``; the stream cannot be understood any further.
        """
        self.batch.nbytes += len(data)
        if self._skip:
            data = self._go_on_skipping(data)
        if self._rest:
            data, self._rest = self._rest + data, b""
        others: list[tuple[int, bytes]] = []
        at = self._ordinary(data, 0)
        while at < len(data):
            after = self._any(data, at, others)
            if after == at:
                break
            at = self._ordinary(data, after)
        self._rest = data[at:]
        return others

    def _ordinary(self, data: bytes, at: int) -> int:
        """Collect messages from ``at`` on; where the first stands that is not a whole, plain PUBLISH.

        Plain: first delivery, not retained, QoS 0 or 1, below 16 KiB, without properties. This loop is
        what a message costs on the wire side; all that is rare is left to :meth:`_any`.
        """
        batch, v5, most, end = self.batch, self._v5, self.max_payload, len(data)
        add_topic, add_payload = batch.topics.append, batch.payloads.append
        add_id, add_owner, count = batch.packet_ids.append, batch.owners.append, len(batch.topics)
        while at + 4 < end:
            first, length, body = data[at], data[at + 1], at + 2
            if first not in {0x30, 0x32}:
                break
            if length > 0x7F:
                more = data[body]
                if more > 0x7F:
                    break
                length += (more << 7) - 0x80
                body += 1
            stop = body + length
            split = body + 2 + (data[body] << 8 | data[body + 1])
            start = split + 2 if first == 0x32 else split
            if stop > end or length > most or start >= stop:
                break
            if v5:
                if data[start]:
                    break
                start += 1
            if first == 0x32:
                add_id(data[split : split + 2])
                add_owner(count)
            count += 1
            add_topic(data[body + 2 : split])
            add_payload(data[start:stop])
            at = stop
        return at

    def _any(self, data: bytes, at: int, others: list[tuple[int, bytes]]) -> int:
        """Take the packet at ``at``, whatever it is; where the next begins, or ``at`` if it is not whole."""
        size = len(data) - at
        if size < 2 or (data[at + 1] > 0x7F and size < 5 and all(b > 0x7F for b in data[at + 1 :])):
            return at
        length, body = varint(data, at + 1)
        stop = body + length
        if stop <= len(data):
            if data[at] & 0xF0 == PUBLISH:
                self._message(data[at], data[body:stop])
            else:
                others.append((data[at] & 0xF0, data[body:stop]))
            return stop
        # A packet that is far too long is not even buffered
        if length > self.max_payload + _HEAD:
            return self._begin_skipping(data, at, body, stop)
        return at

    def _message(self, first: int, body: bytes) -> None:
        """A PUBLISH of any kind."""
        topic, packet_id, start = _head(first, body)
        block = b""
        if start <= len(body) and self._v5:
            length, at = varint(body, start)
            start = at + length
            block = body[at:start]
        if start > len(body):
            raise PayloadError("malformed", "PUBLISH is cut off")
        if self._v5:
            topic = self._topic(topic, block)
        batch = self.batch
        oversize = len(body) - start > self.max_payload
        if packet_id:
            batch.packet_ids.append(packet_id)
            batch.owners.append(-1 if oversize else len(batch.topics))
            if first & _DUP and not oversize:
                batch.repeated.append(len(batch.packet_ids) - 1)
        if oversize:
            self._too_long(topic, len(body) - start)
            return
        if first & _RETAIN:
            batch.retained.append(len(batch.topics))
        if block and self.keep_properties:
            batch.properties = batch.properties or []
            batch.properties += [b""] * (len(batch.topics) - len(batch.properties))
            batch.properties.append(block)
        batch.topics.append(topic)
        batch.payloads.append(body[start:])

    def _topic(self, topic: bytes, block: bytes) -> bytes:
        """The topic that is meant: a message may carry a number instead, which an earlier one has introduced.

        Raises:
            PayloadError: ``malformed``: a number that was not introduced or not allowed, or neither of both.
        """
        alias = topic_alias(block) if block and (self._alias_maximum or not topic) else 0
        if alias > self._alias_maximum:
            raise PayloadError("malformed", f"topic alias {alias}, where {self._alias_maximum} is the highest allowed")
        if alias and topic:
            self._aliases[alias] = topic
        elif alias:
            if alias not in self._aliases:
                raise PayloadError("malformed", f"topic alias {alias} was not introduced")
            return self._aliases[alias]
        elif not topic:
            raise PayloadError("malformed", "a message without topic")
        return topic

    def _too_long(self, topic: bytes, size: int) -> None:
        self.batch.oversize += 1
        if len(self.batch.oversized) < _TOLD:
            self.batch.oversized.append((topic, size))

    def _begin_skipping(self, data: bytes, at: int, body: int, stop: int) -> int:
        """Drop a packet that is far too long while it arrives, all but topic and id."""
        if data[at] & 0xF0 != PUBLISH:
            raise PayloadError("malformed", f"packet of type {data[at] >> 4} has {stop - body} bytes")
        if len(data) - body < _HEAD:
            return at
        topic, packet_id, start = _head(data[at], data[body : body + _HEAD])
        if self._v5:
            length, start = varint(data, body + start)
            if length > _PROPERTIES - 4:
                raise PayloadError("malformed", f"a message has {length} bytes of properties")
            topic = self._topic(topic, data[start : start + length])
        self._skipped = topic, packet_id, stop - body
        self._skip = stop - len(data)
        return len(data)

    def _go_on_skipping(self, data: bytes) -> bytes:
        if len(data) < self._skip:
            self._skip -= len(data)
            return b""
        data, self._skip = data[self._skip :], 0
        topic, packet_id, size = self._skipped
        self._too_long(topic, size)
        if packet_id:
            self.batch.packet_ids.append(packet_id)
            self.batch.owners.append(-1)
        return data


def _head(first: int, body: bytes) -> tuple[bytes, bytes, int]:
    """Topic, packet id (empty for QoS 0) and where the rest begins, which may be past the end.

    Raises:
        PayloadError: ``malformed``, if it is a QoS that was never asked for.
    """
    qos = first & _QOS
    if qos > 0b010:
        raise PayloadError("malformed", f"a message with QoS {qos >> 1}, which was not asked for")
    split = 2 + int.from_bytes(body[:2], "big")
    return body[2:split], body[split : split + 2] if qos else b"", split + 2 if qos else split
