from __future__ import annotations

import gmqtt
import pytest
from gmqtt.mqtt.package import CommandWithMidPacket, PublishPacket
from gmqtt.mqtt.utils import IdGenerator
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt import wire
from gateway.errors import PayloadError

LIMIT = 300
TOPIC = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MESSAGE = st.tuples(
    TOPIC,
    st.binary(max_size=400),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
)
VERSION = st.sampled_from([wire.V311, wire.V5])


class Proto:
    def __init__(self, version):
        self.proto_ver = version
        self.id_generator = IdGenerator()


def packets(messages, version) -> bytes:
    """What gmqtt would send for (topic, payload, qos, retain, with properties)."""
    proto, out = Proto(version), b""
    for topic, payload, qos, retain, extra in messages:
        properties = {"content_type": "x" * 200, "user_property": ("a", "b")} if extra else {}
        message = gmqtt.Message(topic, payload, qos=qos, retain=retain, **properties)
        out += bytes(PublishPacket.build_package(message, proto)[1])
    return out


def fed(data: bytes, version: int, cuts: list[int], limit: int = LIMIT):
    splitter, others, at = wire.Splitter(version, limit), [], 0
    for cut in [*sorted({min(cut, len(data)) for cut in cuts}), len(data)]:
        others += splitter.feed(data[at:cut])
        at = cut
    return splitter.take(), others


@given(st.lists(MESSAGE, max_size=6), VERSION, st.lists(st.integers(0, 3000), max_size=8))
def test_messages_of_gmqtt_come_out_however_the_stream_is_cut(messages, version, cuts):
    got, others = fed(packets(messages, version) + wire.PINGREQ_PACKET, version, cuts)
    fitting = [m for m in messages if len(m[1]) <= LIMIT]
    assert got.topics == [topic.encode() for topic, *_ in fitting]
    assert got.payloads == [payload for _, payload, *_ in fitting]
    assert got.oversize == len(messages) - len(fitting)
    assert got.retained == [i for i, message in enumerate(fitting) if message[3]]
    qos1 = [m for m in messages if m[2]]
    assert got.packet_ids == [(i + 1).to_bytes(2, "big") for i in range(len(qos1))]
    assert others == [(0xC0, b"")]


def test_every_cut_of_a_stream_gives_the_same():
    messages = [("a/b", b"x" * 130, 1, False, False), ("c", b"", 0, True, True), ("d", b"1", 0, False, False)]
    for version in (wire.V311, wire.V5):
        data = packets(messages, version)
        whole, _ = fed(data, version, [])
        for cut in range(len(data)):
            got, _ = fed(data, version, [cut])
            assert (got.topics, got.payloads, got.packet_ids) == (
                whole.topics,
                whole.payloads,
                whole.packet_ids,
            )


@pytest.mark.parametrize("version", [wire.V311, wire.V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_huge_message_is_dropped_while_it_arrives_and_still_acknowledged(version, qos):
    huge = ("big", b"x" * 2_000_000, qos, False, False)
    data = packets([huge, ("next", b"1", 0, False, False)], version)
    splitter, most = wire.Splitter(version, LIMIT), 0
    for at in range(0, len(data), 5_000):
        splitter.feed(data[at : at + 5_000])
        most = max(most, len(splitter._rest))
    got = splitter.take()
    assert most < 80_000
    assert (got.oversize, got.topics, got.payloads) == (1, [b"next"], [b"1"])
    assert got.packet_ids == [b"\0\1"] * qos


@given(st.binary(max_size=400), VERSION, st.lists(st.integers(0, 400), max_size=4))
def test_any_bytes_give_packets_or_a_named_error(data, version, cuts):
    try:
        got, others = fed(data, version, cuts)
    except PayloadError as error:
        assert error.reason == "malformed"
    else:
        taken = sum(map(len, got.topics + got.payloads + got.packet_ids)) + sum(len(b) for _, b in others)
        assert taken <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length of five bytes
        b"\x30\x03\x00\x05a",  # a topic longer than its packet
        b"\x34\x06\x00\x01a\x00\x01x",  # QoS 2
        b"\x36\x06\x00\x01a\x00\x01x",  # QoS 3
        b"\x32\x04\x00\x01a\x00",  # half a packet id
        b"\x90\xff\xff\x7f",  # a SUBACK of 2 MB
    ],
)
def test_what_cannot_be_a_packet_is_an_error(data):
    with pytest.raises(PayloadError, match="malformed"):
        fed(data, wire.V311, [])


@given(st.lists(st.integers(1, 65_535), max_size=50))
def test_acknowledgements_are_those_of_gmqtt(ids):
    expected = b"".join(CommandWithMidPacket.build_package(0x40, i, False, proto_ver=wire.V311) for i in ids)
    assert wire.puback_packets([i.to_bytes(2, "big") for i in ids]) == expected


@given(st.binary(max_size=40), VERSION)
def test_any_answer_is_parsed_or_a_named_error(body, version):
    for parse in (wire.parse_connack, wire.parse_suback):
        try:
            parse(body, version)
        except PayloadError as error:
            assert error.reason == "malformed"


def test_answers():
    assert wire.parse_connack(b"\x01\x00", wire.V311) == (True, 0, {})
    answer = wire.parse_connack(b"\x00\x00\x03\x13\x00\x1e", wire.V5)
    assert answer == (False, 0, {"server_keep_alive": 30})
    assert wire.parse_connack(b"\x00\x01", wire.V5).code == 1
    assert wire.parse_suback(b"\x00\x01\x01\x80", wire.V311) == b"\x01\x80"
    assert wire.parse_suback(b"\x00\x01\x00\x01\x87", wire.V5) == b"\x01\x87"


def test_login_is_as_the_standard_lays_it_out():
    packet = wire.connect_packet(wire.V311, "ü", ("u", "p"), 15, 3600)
    assert packet == b"\x10\x14\x00\x04MQTT\x04\xc0\x00\x0f\x00\x02\xc3\xbc\x00\x01u\x00\x01p"
    clean = wire.connect_packet(wire.V311, "x", None, 15, None)
    assert clean[9] == 0x02
    packet = wire.connect_packet(wire.V5, "x", None, 15, 3600)
    assert packet == b"\x10\x13\x00\x04MQTT\x05\x00\x00\x0f\x05\x11\x00\x00\x0e\x10\x00\x01x"
