"""What a broker repeats although it is on disk is acknowledged and not taken a second time."""

from __future__ import annotations

import numpy as np

from adapters.mqtt import packets, wire
from tests.adapters.mqtt.scripted import puback, publish, scripted
from tests.adapters.mqtt.support import mqtt_config
from tests.support.context import RecordingContext, running

ENTRY = {"topic": "x/{device}", "points": {"v": {}}}


def again(n: int, payload: bytes = b'{"v": 1}', topic: bytes = b"x/d") -> bytes:
    """The same PUBLISH with its DUP flag."""
    packet = publish(n, payload, topic)
    return bytes([packet[0] | 0x08]) + packet[1:]


def made(broker):
    return mqtt_config(ENTRY, url=broker.url).create()


def values(ctx):
    return [value for _, value, _ in ctx.samples("d/v")]


async def test_a_repetition_on_the_next_connection_is_known():
    ctx = RecordingContext("bus")
    async with scripted() as broker:
        async with running(made(broker), ctx):
            await ctx.until(lambda: ("", True) in [link[:2] for link in ctx.links])
            broker.send(publish(1, b'{"v": 1}') + publish(2, b'{"v": 2}'))
            await ctx.until(lambda: puback(1, 2) in broker.heard)
        ctx.links.clear()
        async with running(made(broker), ctx):
            await ctx.until(lambda: ("", True) in [link[:2] for link in ctx.links])
            # 1 is known; id 2 is used again for something new; 3 was never seen
            broker.send(again(1, b'{"v": 1}') + again(2, b'{"v": 20}') + again(3, b'{"v": 3}'))
            await ctx.until(lambda: puback(1, 2, 3) in broker.heard)
    assert values(ctx) == [1, 2, 20, 3]
    assert ctx.stats.repeated == 1


async def test_a_repetition_of_what_is_on_its_way_to_disk_is_acknowledged_once():
    ctx = RecordingContext("bus", hold=True)
    async with scripted() as broker, running(made(broker), ctx):
        await ctx.until(lambda: ("", True) in [link[:2] for link in ctx.links])
        broker.send(publish(7))
        await ctx.until(lambda: ctx.receipts and ctx.receipts[0].asked.is_set())
        broker.send(again(7))
        await ctx.until(lambda: ctx.stats.repeated == 1)
        assert broker.heard == b""
        ctx.receipts[0].position.set_result(1)
        broker.send(publish(8, b'{"v": 8}'))
        await ctx.until(lambda: len(ctx.receipts) == 2)
        ctx.receipts[1].position.set_result(2)
        await ctx.until(lambda: broker.heard == puback(7, 8))
    assert values(ctx) == [1, 8]


def test_tokens_tell_id_topic_and_payload_apart():
    splitter = wire.Splitter(packets.V311, 100)
    splitter.feed(
        publish(1, b"a") + publish(2, b"a") + publish(1, b"b") + publish(1, b"a", b"x/e") + b"\x30\x06\x00\x03x/qz"
        + publish(9, b"x" * 101)
    )  # fmt: skip
    batch = splitter.take()
    tokens = batch.tokens()
    assert len(tokens) == len(batch.packet_ids) == 5, "a QoS 0 message has none"
    assert len(np.unique(tokens)) == 5
    assert tokens[4] == 0, "an oversize message has no payload to tell"


def test_a_batch_without_some_messages_keeps_the_rest_in_place():
    splitter = wire.Splitter(packets.V311, 100)
    for at, packet in enumerate([publish(1, b"a"), again(2, b"b"), b"\x30\x06\x00\x03x/qz", again(3, b"c")]):
        splitter.feed(packet)
        splitter.batch.marks.append((at + 1, 1000 + at))
    batch = splitter.take()
    assert batch.repeated == [1, 2]
    left = batch.without({1}, {2})
    assert left.payloads == [b"a", b"z"]
    assert left.packet_ids == [b"\x00\x01", b"\x00\x02"], "the known one is acknowledged, the other is not"
    assert left.owners == [0, -1]
    assert left.marks == [(1, 1000), (1, 1001), (2, 1002), (2, 1003)]
