"""The Kafka uplink against librdkafka's own mock cluster: real sockets and protocol, brokers that are simulated."""

from __future__ import annotations

import asyncio
import json
from importlib import util

import msgpack
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from gateway.config import load_checked
from gateway.errors import ConfigError, FieldError, LinkError
from gateway.frame import Frame
from gateway.units import Duration
from gateway.uplinks import kafka, kafka_config
from gateway.uplinks.config import Format
from gateway.uplinks.kafka_config import KafkaKey, KafkaUplinkConfig, SaslOptions
from gateway.wire.message import FrameDecoder
from tests.support.build import directory_of
from tests.support.uplink import running, uplink_context


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory_of("m1/power", "m1/voltage", "m2/power")) as context:
        yield context


@pytest.fixture(scope="module")
def cluster():
    """``host:port`` of three brokers; they live in a client."""
    host = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "unused"})
    metadata = host.list_topics(timeout=10)
    yield [f"{broker.host}:{broker.port}" for broker in metadata.brokers.values()]
    host.purge()
    host.flush(1)


def sample(n: int, point: int = 0) -> Frame:
    return Frame.of([point], n * 1_000_000, [n + 0.5])


def read(servers: list[str], topic: str) -> list:
    """All messages of a topic, in order within each partition."""
    consumer = Consumer({"bootstrap.servers": ",".join(servers), "group.id": "test", "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        found = []
        for number in partitions:
            place = TopicPartition(topic, number, 0)
            low, high = consumer.get_watermark_offsets(place, timeout=10)
            consumer.assign([place])
            while low < high:
                message = consumer.poll(10)
                assert message is not None
                assert not message.error(), message.error()
                found.append(message)
                low = message.offset() + 1
        return found
    finally:
        consumer.close()


async def received(servers, topic: str) -> list:
    return await asyncio.to_thread(read, servers, topic)


def headers(message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers()}


async def test_batches_arrive_in_order_under_their_record_id(cluster, ctx):
    config = KafkaUplinkConfig(servers=cluster, topic="a.{gateway}.{pipeline}")
    seqs = [ctx.put(sample(n))[0].seq for n in range(500)]
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 500, 30)
    messages = await received(cluster, "a.test.p")
    assert sorted(ctx.acknowledged) == seqs
    assert [json.loads(message.value())["seq"] for message in messages] == seqs
    assert {message.key() for message in messages} == {b"test"}
    assert headers(messages[0]) == {"gateway": "test", "epoch": "77", "seq": str(seqs[0]), "pipeline": "p"}
    assert ctx.spool.gauge("out").rows == 0
    assert ctx.stats.messages == 500
    assert ctx.links[0] == (True, ",".join(cluster))


@pytest.mark.parametrize(("by", "keys"), [(KafkaKey.DEVICE, ["m1", "m2"]), (KafkaKey.PIPELINE, ["test/p"])])
async def test_keys(cluster, ctx, by, keys):
    topic = f"keys-{by.value}"
    config = KafkaUplinkConfig(servers=cluster, topic=topic, key_by=by)
    (batch,) = ctx.put(Frame.of([0, 1, 2, 0], [1, 2, 3, 4], [1.5, 2.5, 3.5, 4.5]))
    ctx.lose(sample(9))
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 2, 30)
    messages = [message for message in await received(cluster, topic) if headers(message)["seq"] == str(batch.seq)]
    assert sorted(message.key().decode() for message in messages) == keys
    parts = {message.key().decode(): headers(message).get("part") for message in messages}
    assert parts == ({"m1": "1/2", "m2": "2/2"} if len(keys) == 2 else {"test/p": None})
    values = [row["value"] for message in messages for row in json.loads(message.value())["samples"]]
    assert sorted(values) == [1.5, 2.5, 3.5, 4.5]


async def test_frames_come_after_the_directory_that_names_their_points(cluster, ctx):
    config = KafkaUplinkConfig(servers=cluster, topic="frames", format=Format.FRAME)
    async with running(config.create(), ctx):
        seqs = [ctx.put(sample(n, n % 3))[0].seq for n in range(6)]
        await ctx.until(lambda: len(ctx.acknowledged) == 6, 30)
    decoder = FrameDecoder()
    messages = await received(cluster, "frames")
    records = [decoder.decode(msgpack.unpackb(message.value(), strict_map_key=False)) for message in messages]
    assert records[0] is None
    assert "directory" in headers(messages[0])
    assert [record["seq"] for record in records if record] == seqs


async def test_brokers_that_are_not_there_are_a_link_that_is_down(ctx):
    ctx.put(sample(1))
    config = KafkaUplinkConfig(servers=["127.0.0.1:1"], timeout=Duration(1))
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:1: .*timed out"):
        async with asyncio.timeout(20):
            await config.create().run(ctx)
    assert not ctx.acknowledged
    assert any(not up and "127.0.0.1:1" in detail for up, detail in ctx.links)


async def test_after_a_fatal_error_a_new_producer_goes_on(cluster, ctx):
    """The library cannot be made to have one from outside; what it would tell is told in its place."""
    config = KafkaUplinkConfig(servers=cluster, topic="fatal", in_flight=10)
    seqs = [ctx.put(sample(n))[0].seq for n in range(300)]
    async with kafka._producing(config, ctx) as link:
        serving = asyncio.create_task(link.serve())
        await ctx.until(lambda: len(ctx.acknowledged) > 50, 30)
        link.failed.get_loop().call_soon(link._fail, "fatal: out of order sequence")
        with pytest.raises(LinkError, match="out of order"):
            await serving
    assert len(ctx.acknowledged) < 300
    async with running(config.create(), ctx):
        await ctx.until(lambda: sorted(ctx.acknowledged) == seqs, 30)
    found = {int(headers(message)["seq"]) for message in await received(cluster, "fatal")}
    assert found == set(seqs)


async def test_no_more_than_the_window_is_in_flight(ctx):
    for n in range(20):
        ctx.put(sample(n))
    async with running(KafkaUplinkConfig(servers=["127.0.0.1:1"], in_flight=3).create(), ctx):
        await ctx.until(lambda: ctx.stats.messages == 3)
        await asyncio.sleep(0.1)  # nothing more may come
        assert ctx.stats.messages == 3
        assert len(ctx.handed) == 3


def test_what_the_library_is_told():
    config = KafkaUplinkConfig(
        servers=["a:1", "b:2"], tls=True, ca="ca.pem", sasl=SaslOptions(username="me", password="secret"),
        properties={"socket.keepalive.enable": "true"},
    )  # fmt: skip
    told = kafka.properties(config)
    assert told["bootstrap.servers"] == "a:1,b:2"
    assert (told["enable.idempotence"], told["acks"]) == (True, "all")
    assert told["security.protocol"] == "SASL_SSL"
    assert (told["ssl.ca.location"], told["sasl.password"]) == ("ca.pem", "secret")
    assert told["socket.keepalive.enable"] == "true"
    assert kafka.properties(KafkaUplinkConfig(servers=["a:1"]))["security.protocol"] == "PLAINTEXT"


async def test_a_property_that_does_not_exist_is_said(ctx):
    config = KafkaUplinkConfig(servers=["127.0.0.1:1"], properties={"no.such": "1"})
    with pytest.raises(LinkError, match=r"no\.such"):
        await config.create().run(ctx)


@pytest.mark.parametrize("content", [None, ""])
async def test_certificates_that_cannot_be_used_fail_closed(tmp_path, ctx, content):
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_text(content)
    config = KafkaUplinkConfig(servers=["127.0.0.1:1"], tls=True, ca=str(ca))
    with pytest.raises(LinkError, match="ca "):
        await config.create().run(ctx)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"servers": ["host"]}, "servers"),
        ({"servers": ["a:1"], "topic": "with space"}, "topic"),
        ({"servers": ["a:1"], "topic": "{nothing}"}, "topic"),
        ({"servers": ["a:1"], "ca": "ca.pem"}, "ca"),
        ({"servers": ["a:1"], "timeout": Duration(0.5)}, "timeout"),
        ({"servers": ["a:1"], "linger": Duration(60)}, "linger"),
        ({"servers": ["a:1"], "properties": {"acks": "1"}}, "properties"),
    ],
)
def test_options_that_make_no_sense(options, field):
    with pytest.raises(FieldError) as caught:
        KafkaUplinkConfig(**options)
    assert caught.value.field[0] == field


def test_without_the_extra_the_check_says_what_to_install(tmp_path, monkeypatch):
    def without(name):
        return None if name == "confluent_kafka" else util.find_spec(name)

    monkeypatch.setattr(kafka_config, "find_spec", without)
    file = tmp_path / "onpath.yaml"
    file.write_text("uplinks:\n  out:\n    type: kafka\n    servers: [a:9092]\n")
    with pytest.raises(ConfigError, match=r"onpath.yaml:3:\d+: uplinks.out.type: .*pip install 'onpath\[kafka\]'"):
        load_checked(file, {})
