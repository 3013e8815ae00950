"""MQTT packets other than PUBLISH, as bytes and values. No I/O, no clock.

A packet is one byte of type and flags, the remaining length (1 to 4 bytes, 7 bits each, least first), and
that many bytes (MQTT 3.1.1 and 5.0, 2.1). gmqtt builds what is sent.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import gmqtt
from gmqtt.mqtt.constants import PubAckReasonCode, SubAckReasonCode
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.mqtt.package import LoginPackageFactor, PublishPacket, SubscribePacket, UnsubscribePacket
from gmqtt.mqtt.property import Property
from gmqtt.subscription import Subscription

from adapters.mqtt.properties import varint
from adapters.mqtt.publish import Publish
from gateway.errors import PayloadError

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xB0, 0xD0, 0xE0
PINGREQ_PACKET: Final = b"\xc0\x00"
DISCONNECT_PACKET: Final = b"\xe0\x00"
"""Normal end, in both versions; a persistent session stays, and no will is published."""
V311, V5 = 4, 5
_PUBACK = b"\x40\x02"


class Connack(NamedTuple):
    """The broker's answer to CONNECT."""

    session_present: bool
    code: int
    properties: dict[str, Any]


class Connect(NamedTuple):
    """What CONNECT says."""

    client_id: str
    login: tuple[str, str] | None = None
    keepalive_s: int = 60
    expiry_s: int | None = None
    """None asks for a clean session; MQTT 3.1.1 has no field for the length of a session."""
    will: Publish | None = None
    receive_maximum: int = 0
    """How many messages of QoS 1 may be on their way to us; 0 for what the standard has, 65,535. MQTT 5 only."""
    alias_maximum: int = 0
    """How many topic aliases the broker may use. MQTT 5 only."""


class Wanted(NamedTuple):
    """A subscription as it is asked for."""

    filter: str
    qos: int = 1
    handling: int = 0
    """What is to come of retained messages (5.0, 3.8.3.1): 0 all, 1 if the subscription is new, 2 none."""


class _Ids:
    """Gives gmqtt's builders the packet id that we have chosen."""

    def __init__(self, packet_id: int) -> None:
        self.packet_id = packet_id

    def next_id(self) -> int:
        return self.packet_id


class _Proto:
    """What gmqtt's packet builders want to know of a connection."""

    proto_name = b"MQTT"

    def __init__(self, version: int, packet_id: int = 1) -> None:
        self.proto_ver = version
        self.id_generator = _Ids(packet_id)


def connect_packet(version: int, said: Connect) -> bytes:
    """CONNECT."""
    properties = {
        "session_expiry_interval": said.expiry_s,
        "receive_maximum": said.receive_maximum,
        "topic_alias_maximum": said.alias_maximum,
    }
    present = {name: value for name, value in properties.items() if value and version == V5}
    user, password = (None, None) if said.login is None else (said.login[0].encode(), said.login[1].encode() or None)
    return bytes(
        LoginPackageFactor.build_package(
            said.client_id.encode(),
            user,
            password,
            said.expiry_s is None,
            said.keepalive_s,
            _Proto(version),
            will_message=None if said.will is None else _message(said.will),
            **present,
        )
    )


def _message(message: Publish) -> Any:
    return gmqtt.Message(message.topic, message.payload, qos=message.qos, retain=message.retain)


def publish_packet(version: int, message: Publish, packet_id: int) -> bytes:
    """PUBLISH; the id stands in it with QoS 1 only."""
    return bytes(PublishPacket.build_package(_message(message), _Proto(version, packet_id))[1])


def subscribe_packet(version: int, wanted: list[Wanted], packet_id: int) -> bytes:
    """SUBSCRIBE to all of them at once; 3.1.1 has no say in retained messages."""
    entries = [
        Subscription(one.filter.encode(), qos=one.qos, retain_handling_options=one.handling if version == V5 else 0)
        for one in wanted
    ]
    return bytes(SubscribePacket.build_package(entries, _Proto(version, packet_id))[1])


def unsubscribe_packet(version: int, filters: list[str], packet_id: int) -> bytes:
    """UNSUBSCRIBE from all of them at once."""
    return bytes(UnsubscribePacket.build_package([one.encode() for one in filters], _Proto(version, packet_id))[1])


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


def parse_unsuback(body: bytes, version: int) -> bytes:
    """The codes of an UNSUBACK, one byte a filter, 0x80 and above for a failure; 3.1.1 has none.

    Raises:
        PayloadError: ``malformed``.
    """
    if len(body) < 2:
        raise PayloadError("malformed", "UNSUBACK is too short")
    return _properties(body[2:])[1] if version == V5 and len(body) > 2 else b""


def parse_puback(body: bytes) -> tuple[int, int]:
    """Packet id and code of a PUBACK; a code that is left out is success.

    Raises:
        PayloadError: ``malformed``.
    """
    packet_id = packet_id_of(body)
    return packet_id, body[2] if len(body) > 2 else 0


def packet_id_of(body: bytes) -> int:
    """The packet id that an answer begins with.

    Raises:
        PayloadError: ``malformed``.
    """
    if len(body) < 2:
        raise PayloadError("malformed", "an answer without packet id")
    return int.from_bytes(body[:2], "big")


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


def refused_login(code: int) -> str:
    """What a CONNACK's code means."""
    return str(MQTTConnectError(code))


def refused_filter(code: int) -> str:
    """What a SUBACK's code means."""
    return _worded(SubAckReasonCode, code)


def refused_message(code: int) -> str:
    """What a PUBACK's code means."""
    return _worded(PubAckReasonCode, code)


def _worded(codes: Any, code: int) -> str:
    try:
        return str(codes(code).name).lower().replace("_", " ")
    except ValueError:
        return f"0x{code:02x}"
