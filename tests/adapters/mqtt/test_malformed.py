"""10,000 packets that are almost right (more by ONPATH_MALFORMED): values or a named error, soon, and bounded."""

from __future__ import annotations

import pytest

from adapters.mqtt import packets
from adapters.mqtt.packets import Wanted
from adapters.mqtt.publish import Publish
from adapters.mqtt.wire import Splitter
from tests.adapters.mqtt.test_wire import sent, with_alias
from tests.support import malformed

MAX_PAYLOAD = 300
MESSAGES = [("a/b", b"x" * 130, 1, False, True), ("c", b"", 0, True, True), ("d", b"1", 0, False, False)]
ALIASES = with_alias("a", 1) + with_alias("", 1, qos=1) + with_alias("b", 2)


@pytest.mark.parametrize("version", [packets.V311, packets.V5])
def test_a_broken_stream_gives_messages_or_a_named_error(version):
    whole = sent(MESSAGES, version)
    long = packets.publish_packet(version, Publish("big", b"y" * 50_000, 1), 9)
    seeds = [whole, ALIASES, long + whole, whole + packets.PINGREQ_PACKET, b"\x90\x03\x00\x01\x00" + whole]

    def feed(data: bytes) -> None:
        splitter = Splitter(version, MAX_PAYLOAD, alias_maximum=2, keep_properties=True)
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            splitter.feed(half)
        batch = splitter.take()
        assert len(batch.topics) == len(batch.payloads)
        assert len(batch.packet_ids) == len(batch.owners)
        assert all(len(payload) <= MAX_PAYLOAD for payload in batch.payloads)
        assert len(batch.tokens()) == len(batch.packet_ids)
        assert sum(map(len, batch.payloads)) + len(splitter._rest) <= len(data)

    assert malformed.survives(feed, seeds) > 0


@pytest.mark.parametrize("version", [packets.V311, packets.V5])
def test_broken_answers(version):
    def parse(data: bytes) -> None:
        for one in (packets.parse_connack, packets.parse_suback, packets.parse_unsuback):
            one(data, version)
        packets.parse_puback(data)

    subscribe = packets.subscribe_packet(version, [Wanted("a/b", 1, 1)], 1)
    seeds = [
        b"\x01\x00\x0b\x13\x00\x1e\x21\x00\x14\x12\x00\x01x\x2a\x00",
        b"\x00\x01\x00\x01\x87",
        b"\x00\x01\x0a\x26\x00\x02ab\x00\x03cde\x00",
        subscribe,
    ]
    assert malformed.survives(parse, seeds) > 0
