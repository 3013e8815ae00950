"""Control packets: beside gmqtt and the standard's own examples."""

from __future__ import annotations

from gmqtt.mqtt.package import CommandWithMidPacket, PublishPacket
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt import packets
from adapters.mqtt.packets import Connect, Wanted
from adapters.mqtt.properties import TOPIC_ALIAS, USER_PROPERTY, each, topic_alias, user_properties
from adapters.mqtt.publish import Publish
from adapters.mqtt.wire import Splitter
from gateway.errors import PayloadError

VERSION = st.sampled_from([packets.V311, packets.V5])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.integers(1, 65_535), max_size=50))
def test_acknowledgements_are_those_of_gmqtt(ids):
    expected = b"".join(CommandWithMidPacket.build_package(0x40, i, False, proto_ver=packets.V311) for i in ids)
    assert packets.puback_packets([i.to_bytes(2, "big") for i in ids]) == expected


def puback(body, _version):
    return packets.parse_puback(body)


@given(st.binary(max_size=40), VERSION)
def test_any_answer_is_parsed_or_a_named_error(body, version):
    for parse in (packets.parse_connack, packets.parse_suback, packets.parse_unsuback, puback):
        try:
            parse(body, version)
        except PayloadError as error:
            assert error.reason == "malformed"


def test_answers():
    assert packets.parse_connack(b"\x01\x00", packets.V311) == (True, 0, {})
    answer = packets.parse_connack(b"\x00\x00\x03\x13\x00\x1e", packets.V5)
    assert answer == (False, 0, {"server_keep_alive": 30})
    assert packets.parse_connack(b"\x00\x01", packets.V5).code == 1
    assert packets.parse_suback(b"\x00\x01\x01\x80", packets.V311) == b"\x01\x80"
    assert packets.parse_suback(b"\x00\x01\x00\x01\x87", packets.V5) == b"\x01\x87"


def test_login_is_as_the_standard_lays_it_out():
    packet = packets.connect_packet(packets.V311, Connect("ü", ("u", "p"), 15, 3600))
    assert packet == b"\x10\x14\x00\x04MQTT\x04\xc0\x00\x0f\x00\x02\xc3\xbc\x00\x01u\x00\x01p"
    clean = packets.connect_packet(packets.V311, Connect("x", None, 15))
    assert clean[9] == 0x02
    packet = packets.connect_packet(packets.V5, Connect("x", None, 15, 3600))
    assert packet == b"\x10\x13\x00\x04MQTT\x05\x00\x00\x0f\x05\x11\x00\x00\x0e\x10\x00\x01x"


def test_a_will_stands_in_the_login():
    will = Publish("st/ü", b"gone", qos=1, retain=True)
    packet = packets.connect_packet(packets.V311, Connect("x", None, 15, will=will))
    assert packet == b"\x10\x1a\x00\x04MQTT\x04\x2e\x00\x0f\x00\x01x\x00\x05st/\xc3\xbc\x00\x04gone"
    packet = packets.connect_packet(packets.V5, Connect("x", None, 15, 60, will, 20, 7))
    assert b"\x21\x00\x14" in packet
    assert b"\x22\x00\x07" in packet
    assert packet.endswith(b"\x00\x01x\x00\x00\x05st/\xc3\xbc\x00\x04gone")


def test_subscriptions_say_what_is_to_come_of_retained_messages():
    wanted = [Wanted("a/+", 1, 2), Wanted("b", 0, 1)]
    assert packets.subscribe_packet(packets.V5, wanted, 300) == b"\x82\x0d\x01\x2c\x00\x00\x03a/+\x21\x00\x01b\x10"
    assert packets.subscribe_packet(packets.V311, wanted, 1) == b"\x82\x0c\x00\x01\x00\x03a/+\x01\x00\x01b\x00"
    assert packets.unsubscribe_packet(packets.V5, ["a/+", "b"], 7) == b"\xa2\x0b\x00\x07\x00\x00\x03a/+\x00\x01b"
    assert packets.parse_unsuback(b"\x00\x07\x00\x00\x11", packets.V5) == b"\x00\x11"
    assert packets.parse_unsuback(b"\x00\x07", packets.V311) == b""


@given(TEXT.filter(bool), st.binary(max_size=300), st.integers(0, 1), st.booleans(), VERSION)
def test_what_is_published_comes_back_out_of_the_splitter(topic, payload, qos, retain, version):
    splitter = Splitter(version, 1000)
    assert not splitter.feed(packets.publish_packet(version, Publish(topic, payload, qos, retain), 77))
    got = splitter.take()
    assert (got.topics, got.payloads) == ([topic.encode()], [payload])
    assert got.packet_ids == [b"\x00\x4d"] * qos
    assert got.retained == [0] * retain


@given(TEXT, st.binary(max_size=20), st.integers(1, 65_535), st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_properties_are_those_of_gmqtt(content_type, correlation, alias, pairs):
    properties = {
        "payload_format_id": 1,
        "message_expiry_interval": 60,
        "content_type": content_type,
        "response_topic": "r/t",
        "correlation_data": correlation,
        "subscription_identifier": 200,
        "topic_alias": alias,
        "user_property": pairs,
    }
    block = bytes(PublishPacket._build_properties_data(properties, packets.V5))
    block = block[1 if block[0] < 128 else 2 :]
    assert [one.kind for one in each(block)] == [1, 2, 3, 8, 9, 11, TOPIC_ALIAS] + [USER_PROPERTY] * len(pairs)
    assert topic_alias(block) == alias
    expected = {}
    for name, value in pairs:
        expected.setdefault(name, value)
    assert user_properties(block) == expected


@given(st.binary(max_size=60))
def test_any_properties_are_read_or_a_named_error(block):
    for read in (topic_alias, user_properties):
        try:
            read(block)
        except PayloadError as error:
            assert error.reason == "malformed"
