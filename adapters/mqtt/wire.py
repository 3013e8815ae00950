"""MQTT packets as bytes and values: the client's side of subscribing. No I/O, no clock.

A packet is one byte of type and flags, the remaining length (1 to 4 bytes, 7 bits each, least first), and
that many bytes (MQTT 3.1.1 and 5.0, 2.1). PUBLISH is

    topic length (2) · topic · packet id (2, only with QoS 1) · properties (MQTT 5 only) · payload

and is what the data path consists of: :class:`Splitter` cuts any number of them out of what a socket gave,
without a call or an object a message. All other packets are rare; gmqtt builds those that are sent.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt
from gmqtt.mqtt.package import LoginPackageFactor, SubscribePacket
from gmqtt.mqtt.property import Property
from gmqtt.mqtt.utils import IdGenerator
from gmqtt.subscription import Subscription

from adapters.mqtt.topics import MAX_BYTES
from gateway.errors import PayloadError

CONNACK, PUBLISH, SUBACK, PINGRESP, DISCONNECT = 0x20, 0x30, 0x90, 0xD0, 0xE0
PINGREQ_PACKET = b"\xc0\x00"
DISCONNECT_PACKET = b"\xe0\x00"
"""Normal end, in both versions; a persistent session stays."""
V311, V5 = 4, 5
_PUBACK = b"\x40\x02"
_QOS = 0x06
_RETAIN = 0x01
_DUP = 0x08


class Connack(NamedTuple):
    """The broker's answer to CONNECT."""

    session_present: bool
    code: int
    properties: dict[str, Any]


class _Proto:
    """What gmqtt's packet builders want to know of a connection."""

    proto_name = b"MQTT"

    def __init__(self, version: int) -> None:
        self.proto_ver = version
        self.id_generator = IdGenerator()


def connect_packet(
    version: int, client_id: str, login: tuple[str, str] | None, keepalive_s: int, expiry_s: int | None
) -> bytes:
    """CONNECT. ``expiry_s`` None asks for a clean session; MQTT 3.1.1 has no field for its length."""
    properties: dict[str, int] = {}
    if version == V5 and expiry_s:
        properties["session_expiry_interval"] = expiry_s
    user, password = (None, None) if login is None else (login[0].encode(), login[1].encode() or None)
    return bytes(
        LoginPackageFactor.build_package(
            client_id.encode(), user, password, expiry_s is None, keepalive_s, _Proto(version), **properties
        )
    )


def subscribe_packet(version: int, filters: list[tuple[str, int]]) -> bytes:
    """SUBSCRIBE to all of (filter, highest QoS) at once."""
    wanted = [Subscription(text.encode(), qos=qos) for text, qos in filters]
    return bytes(SubscribePacket.build_package(wanted, _Proto(version))[1])


def puback_packets(packet_ids: list[bytes]) -> bytes:
    """One PUBACK for each 2-byte packet id, back to back; "success" in both versions."""
    return _PUBACK + _PUBACK.join(packet_ids) if packet_ids else b""


def parse_connack(body: bytes, version: int) -> Connack:
    """CONNACK's flags, code and properties.

    Raises:
        PayloadError: ``malformed``.
    """
    if len(body) < 2:
        raise PayloadError("malformed", "CONNACK is too short")
    # A broker that does not speak version 5 refuses in the form of 3.1.1, without properties.
    properties = _properties(body[2:])[0] if version == V5 and len(body) > 2 else {}
    return Connack(bool(body[0] & 1), body[1], properties)


def parse_suback(body: bytes, version: int) -> bytes:
    """The codes of a SUBACK, one byte a filter: the QoS granted, or 0x80 and above for a refusal.

    Raises:
        PayloadError: ``malformed``.
    """
    if len(body) < 3:
        raise PayloadError("malformed", "SUBACK is too short")
    return _properties(body[2:])[1] if version == V5 else body[2:]


def _properties(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Properties (5.0, 2.2.2) by gmqtt's names for them, and what follows."""
    length, at = varint(data, 0)
    block, rest = data[at : at + length], data[at + length :]
    if len(block) < length:
        raise PayloadError("malformed", "properties are cut off")
    found: dict[str, Any] = {}
    while block:
        kind = Property.factory(id_=block[0])
        if kind is None:
            raise PayloadError("malformed", f"no property has number {block[0]}")
        try:
            values, block = kind.loads(block[1:])
        except (ValueError, IndexError, struct.error) as error:
            raise PayloadError("malformed", f"property {block[0]}: {error}") from None
        found.update(values)
    return found, rest


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (1.5.5) at ``at``, and where it ends.

    Raises:
        PayloadError: ``malformed``, if it is cut off or longer than four bytes.
    """
    value = 0
    for number in range(4):
        if at + number >= len(data):
            break
        value |= (data[at + number] & 0x7F) << (7 * number)
        if data[at + number] < 0x80:
            return value, at + number + 1
    raise PayloadError("malformed", "a length is cut off or too long")


class Batch:
    """Messages in columns, in the order of arrival."""

    __slots__ = (
        "marks",
        "nbytes",
        "oversize",
        "owners",
        "packet_ids",
        "payloads",
        "repeated",
        "retained",
        "topics",
    )

    def __init__(self) -> None:
        self.topics: list[bytes] = []
        self.payloads: list[bytes] = []
        self.packet_ids: list[bytes] = []
        """Of the QoS 1 messages, oversize ones included."""
        self.owners: list[int] = []
        """Which message each packet id belongs to; -1 for an oversize one."""
        self.repeated: list[int] = []
        """Indexes of the packet ids that the broker sent before (DUP)."""
        self.retained: list[int] = []
        """Indexes of the messages that the broker had kept for new subscribers."""
        self.marks: list[tuple[int, int]] = []
        """(messages so far, arrival time of those since the mark before, UTC ns)."""
        self.oversize = 0
        self.nbytes = 0

    def __bool__(self) -> bool:
        return bool(self.topics or self.packet_ids or self.oversize)

    def tokens(self) -> npt.NDArray[np.uint64]:
        """A number for each packet id, from the id, the topic and the payload; 0 for an oversize message.

        A broker repeats a message under its old packet id (3.1.1, 4.4), so that a repetition has the
        same number; that another message gets it too takes an id used again and a collision of CRC-32.
        """
        owners = self.owners
        if not owners:
            return np.empty(0, np.uint64)
        whole = [owner for owner in owners if owner >= 0]
        topics, payloads = map(self.topics.__getitem__, whole), map(self.payloads.__getitem__, whole)
        sums = np.fromiter(map(crc32, payloads, map(crc32, topics)), np.uint64, len(whole))
        ids = np.frombuffer(b"".join(self.packet_ids), ">u2").astype(np.uint64)
        tokens = np.zeros(len(owners), np.uint64)
        taken = np.array(owners, np.intp) >= 0
        tokens[taken] = (ids[taken] << np.uint64(32)) | sums
        return tokens

    def without(self, known: set[int], unanswered: set[int]) -> Batch:
        """The batch less the messages of some packet ids, given by index.

        ``known`` ids stay and are acknowledged again; ``unanswered`` ones go as well.
        """
        gone = {self.owners[i] for i in known | unanswered}
        stay = [i for i in range(len(self.topics)) if i not in gone]
        place = {old: new for new, old in enumerate(stay)}
        ids = [i for i in range(len(self.packet_ids)) if i not in unanswered]
        batch = Batch()
        batch.topics = [self.topics[i] for i in stay]
        batch.payloads = [self.payloads[i] for i in stay]
        batch.packet_ids = [self.packet_ids[i] for i in ids]
        batch.owners = [place.get(self.owners[i], -1) for i in ids]
        batch.retained = [place[i] for i in self.retained if i in place]
        batch.marks = [(sum(i < count for i in stay), time) for count, time in self.marks]
        batch.oversize, batch.nbytes = self.oversize, self.nbytes
        return batch


class Splitter:
    """Cuts a byte stream into packets and collects messages; any cut of the stream gives the same."""

    def __init__(self, version: int, max_payload: int) -> None:
        self.batch = Batch()
        self._v5 = version == V5
        self._max_payload = max_payload
        # Longer packets are not even buffered; topic, id and reasonable properties fit into the rest.
        self._max_packet = max_payload + MAX_BYTES + 4096
        self._rest = b""
        self._skip = 0
        self._skipped_id = b""

    def take(self) -> Batch:
        """The messages collected so far."""
        batch, self.batch = self.batch, Batch()
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
        batch, v5, most, end = self.batch, self._v5, self._max_payload, len(data)
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
        if length > self._max_packet:
            return self._begin_skipping(data, at, body, stop)
        return at

    def _message(self, first: int, body: bytes) -> None:
        """A PUBLISH of any kind."""
        topic, packet_id, start = _head(first, body)
        if start <= len(body) and self._v5:
            length, start = varint(body, start)
            start += length
        if start > len(body):
            raise PayloadError("malformed", "PUBLISH is cut off")
        batch = self.batch
        oversize = len(body) - start > self._max_payload
        if packet_id:
            batch.packet_ids.append(packet_id)
            batch.owners.append(-1 if oversize else len(batch.topics))
            if first & _DUP and not oversize:
                batch.repeated.append(len(batch.packet_ids) - 1)
        if oversize:
            batch.oversize += 1
            return
        if first & _RETAIN:
            batch.retained.append(len(batch.topics))
        batch.topics.append(topic)
        batch.payloads.append(body[start:])

    def _begin_skipping(self, data: bytes, at: int, body: int, stop: int) -> int:
        """Drop a packet that is far too long while it arrives, all but its id."""
        if data[at] & 0xF0 != PUBLISH:
            raise PayloadError("malformed", f"packet of type {data[at] >> 4} has {stop - body} bytes")
        if len(data) - body < MAX_BYTES + 4:  # until topic and id are there for sure
            return at
        self._skipped_id = _head(data[at], data[body : body + MAX_BYTES + 4])[1]
        self._skip = stop - len(data)
        return len(data)

    def _go_on_skipping(self, data: bytes) -> bytes:
        if len(data) < self._skip:
            self._skip -= len(data)
            return b""
        data, self._skip = data[self._skip :], 0
        self.batch.oversize += 1
        if self._skipped_id:
            self.batch.packet_ids.append(self._skipped_id)
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
