from __future__ import annotations

import gmqtt
import pytest
from gmqtt.mqtt.package import PublishPacket
from gmqtt.mqtt.utils import IdGenerator
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt import packets, wire
from adapters.mqtt.properties import user_properties
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
VERSION = st.sampled_from([packets.V311, packets.V5])


class Proto:
    def __init__(self, version):
        self.proto_ver = version
        self.id_generator = IdGenerator()


def sent(messages, version) -> bytes:
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
    got, others = fed(sent(messages, version) + packets.PINGREQ_PACKET, version, cuts)
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
    for version in (packets.V311, packets.V5):
        data = sent(messages, version)
        whole, _ = fed(data, version, [])
        for cut in range(len(data)):
            got, _ = fed(data, version, [cut])
            assert (got.topics, got.payloads, got.packet_ids) == (
                whole.topics,
                whole.payloads,
                whole.packet_ids,
            )


@pytest.mark.parametrize("version", [packets.V311, packets.V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_a_huge_message_is_dropped_while_it_arrives_and_still_acknowledged(version, qos):
    huge = ("big", b"x" * 2_000_000, qos, False, False)
    data = sent([huge, ("next", b"1", 0, False, False)], version)
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
        fed(data, packets.V311, [])


def with_alias(topic: str, alias: int, payload: bytes = b"1", qos: int = 0) -> bytes:
    message = gmqtt.Message(topic, payload, qos=qos, topic_alias=alias)
    return bytes(PublishPacket.build_package(message, Proto(packets.V5))[1])


def test_topics_that_the_broker_has_given_a_number():
    data = with_alias("a/b", 1, b"1") + with_alias("", 1, b"2", 1) + with_alias("c", 2, b"3")
    data += with_alias("d", 1, b"4") + with_alias("", 1, b"5") + with_alias("", 2, b"6")
    for cut in range(len(data)):
        splitter = wire.Splitter(packets.V5, LIMIT, alias_maximum=2)
        splitter.feed(data[:cut])
        splitter.feed(data[cut:])
        got = splitter.take()
        assert got.topics == [b"a/b", b"a/b", b"c", b"d", b"d", b"c"]
        assert got.payloads == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_a_message_that_is_too_long_introduces_its_number_all_the_same():
    splitter = wire.Splitter(packets.V5, LIMIT, alias_maximum=2)
    data = with_alias("big", 1, b"x" * 200_000) + with_alias("", 1)
    for at in range(0, len(data), 5000):
        splitter.feed(data[at : at + 5000])
    got = splitter.take()
    assert got.topics == [b"big"]
    assert got.oversize == 1
    topic, size = got.oversized[0]
    assert topic == b"big"
    assert size >= 200_000


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (with_alias("a", 3), "highest allowed"),
        (with_alias("", 1), "not introduced"),
        (b"\x30\x07\x00\x01a\x03\x23\x00\x00", "alias 0"),
        (b"\x30\x0a\x00\x01a\x06\x23\x00\x01\x23\x00\x01", "twice"),
        (b"\x30\x06\x00\x01a\x02\x23\x00", "cut off"),
        (b"\x30\x05\x00\x00\x01\x01\x00", "cut off|without topic"),
    ],
)
def test_a_number_for_a_topic_that_breaks_the_protocol(data, why):
    splitter = wire.Splitter(packets.V5, LIMIT, alias_maximum=2)
    with pytest.raises(PayloadError, match=why):
        splitter.feed(data)


def test_a_number_that_was_never_allowed():
    with pytest.raises(PayloadError, match="where 0 is the highest"):
        wire.Splitter(packets.V5, LIMIT).feed(with_alias("", 1))


def test_properties_are_handed_over_where_they_are_wanted():
    data = sent([("a", b"1", 0, False, False), ("b", b"2", 1, False, True), ("c", b"3", 0, False, False)], packets.V5)
    splitter = wire.Splitter(packets.V5, LIMIT, keep_properties=True)
    splitter.feed(data)
    got = splitter.take()
    assert [bool(block) for block in got.properties] == [False, True, False]
    assert user_properties(got.properties[1]) == {"a": "b"}
    assert [bool(block) for block in got.less({0}).properties] == [True, False]
    splitter.keep_properties = False
    splitter.feed(data)
    assert splitter.take().properties is None
