"""The edge node's connection: what counts as delivered, what happens when the broker, its answers or a host go."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import aiomqtt
import pytest

from adapters.payloads.sparkplug.codec import DataType, Payload, decode, make_metric
from gateway.errors import FieldError, LinkError
from gateway.frame import Frame
from gateway.tasks import ended
from gateway.units import Duration
from gateway.uplinks.config import UPLINKS
from gateway.uplinks.sparkplug.config import SparkplugUplinkConfig
from tests.gateway.uplinks.sparkplug.scripted import Connect, Disconnect, Proxy, Unsubscribe
from tests.support.nats import nats_broker
from tests.support.uplink import running

MS = 1_000_000
M1, M2, NODE = range(3)


def config_for(broker, **options) -> SparkplugUplinkConfig:
    return SparkplugUplinkConfig(url=broker.url, group="G", **options)


def sample(n: int, point: int = M1) -> Frame:
    return Frame.of([point], time.time_ns() // MS * MS, [n + 0.5])


def values(packets) -> list[float]:
    return [metric.raw for packet in packets for metric in packet.payload.metrics]


async def test_a_batch_is_done_when_the_broker_has_answered_what_came_behind_it(broker, ctx):
    broker.answering = False
    async with running(config_for(broker).create(), ctx):
        seq = ctx.put(sample(1))[0].seq
        await ctx.until(lambda: broker.of(Unsubscribe))
        assert broker.verbs[-1] == "DDATA"
        assert ctx.acknowledged == []
        broker.release()
        await ctx.until(lambda: ctx.acknowledged == [seq])
    assert (ctx.stats.messages, ctx.stats.acknowledged, ctx.stats.samples) == (1, 1, 1)
    assert ctx.stats.bytes > 0
    assert ctx.links == [(True, broker.url)]


async def test_one_answer_confirms_all_that_was_sent_before_it(broker, ctx):
    broker.answering = False
    seqs = [ctx.put(sample(n))[0].seq for n in range(50)]
    async with running(config_for(broker, in_flight=50).create(), ctx):
        await ctx.until(lambda: len(broker.said("DDATA")) == 50)
        broker.release()
        await ctx.until(lambda: ctx.acknowledged == seqs)
    assert len(broker.of(Unsubscribe)) <= 3
    assert values(broker.said("DDATA")) == [n + 0.5 for n in range(50)]


async def test_a_broker_that_dies_before_the_answer_has_nothing(broker, ctx):
    """The promise in one test: what was sent and not confirmed is sent again, as history where it is not news."""
    async with running(config_for(broker).create(), ctx):
        ctx.put(sample(0))
        await ctx.until(lambda: ctx.acknowledged)
    broker.packets.clear()
    broker.answering = False
    task = asyncio.create_task(config_for(broker).create().run(ctx))
    seqs = [ctx.put(sample(n))[0].seq for n in range(1, 4)]
    await ctx.until(lambda: len(broker.said("DDATA")) == 3)
    broker.cut()
    with pytest.raises(LinkError):
        await asyncio.wait_for(task, 5)
    assert len(ctx.acknowledged) == 1
    assert ctx.spool.gauge("out").rows == 3
    broker.packets.clear()
    broker.answering = True
    async with running(config_for(broker).create(), ctx):
        await ctx.until(lambda: ctx.acknowledged[1:] == seqs)
    assert broker.said("DBIRTH")[0].values == {"power": 3.5}
    again = [(m.raw, m.historical) for packet in broker.said("DDATA") for m in packet.payload.metrics]
    assert again[-1] == (3.5, False)
    assert {raw for raw, _ in again} == {1.5, 2.5, 3.5}
    assert ctx.spool.gauge("out").rows == 0


async def test_no_more_than_the_window_is_sent_unconfirmed(broker, ctx):
    broker.answering = False
    seqs = [ctx.put(sample(n))[0].seq for n in range(10)]
    async with running(config_for(broker, in_flight=3).create(), ctx):
        await ctx.until(lambda: len(broker.said("DDATA")) == 3)
        await asyncio.sleep(0.05)  # nothing more may come
        assert len(ctx.handed) == 3
        broker.release()
        await ctx.until(lambda: ctx.acknowledged == seqs)


async def test_an_answer_that_never_comes_is_a_link_that_is_down(broker, ctx):
    broker.answering = False
    ctx.put(sample(1))
    with pytest.raises(LinkError, match="timed out"):
        await asyncio.wait_for(config_for(broker, timeout=Duration(0.2)).create().run(ctx), 10)
    assert ctx.acknowledged == []
    await ctx.until(lambda: broker.of(Disconnect))
    assert broker.verbs[-1] == "NDEATH", "the DISCONNECT takes the will back, so it must be said"


async def test_quality_of_service_1(broker, ctx):
    broker.answering = False
    async with running(config_for(broker, qos=1).create(), ctx):
        seq = ctx.put(sample(1))[0].seq
        await ctx.until(lambda: "DDATA" in broker.verbs)
        assert (broker.said("DDATA")[0].qos, broker.said("NBIRTH")[0].qos) == (1, 0)
        assert not broker.of(Unsubscribe)
        broker.release()
        await ctx.until(lambda: ctx.acknowledged == [seq])


async def test_what_waited_long_is_history_and_its_newest_the_present_value_in_the_end(broker, ctx):
    ago = time.time_ns() // MS * MS - 30_000 * MS
    with ctx.db:
        for n in range(3):
            ctx.spool.append("out", "p", Frame.of([M1], ago + n * MS, [n]), ago)
    ctx.feed.restart(ctx.spool.newest)
    async with running(config_for(broker).create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 3 and len(broker.said("DDATA")) == 4)
    sent = [(m.raw, m.historical) for packet in broker.said("DDATA") for m in packet.payload.metrics]
    assert sent == [(0.0, True), (1.0, True), (2.0, True), (2.0, False)]


async def test_the_number_of_the_session_goes_round(broker, ctx):
    ctx.remember("bdseq", b"\xff")
    async with running(config_for(broker).create(), ctx):
        await ctx.until(lambda: broker.verbs == ["NBIRTH"])
    (connect,) = broker.of(Connect)
    assert connect.will.metrics[0].raw == broker.said("NBIRTH")[0].values["bdSeq"] == 0
    assert connect.client_id == "onpath-test-out"


async def test_requests_for_births_that_come_together_are_met_by_one(broker, ctx):
    wanted = Payload(metrics=(make_metric("Node Control/Rebirth", DataType.BOOLEAN, True),))
    async with running(config_for(broker).create(), ctx):
        await ctx.until(lambda: broker.verbs == ["NBIRTH"])
        for _ in range(100):
            broker.tell("spBv1.0/G/NCMD/test", wanted)
        ctx.put(sample(1))
        await ctx.until(lambda: "DDATA" in broker.verbs and len(broker.said("NBIRTH")) > 1)
    assert len(broker.said("NBIRTH")) == 2


async def test_what_is_no_request_for_births_is_refused_and_counted(broker, ctx, caplog):
    def command(name, value, **fields) -> Payload:
        return Payload(metrics=(make_metric(name, DataType.BOOLEAN, value, **fields),))

    async with running(config_for(broker).create(), ctx):
        ctx.put(sample(1))
        await ctx.until(lambda: ctx.acknowledged)
        broker.tell("spBv1.0/G/NCMD/test", command("Node Control/Rebirth", False))
        broker.tell("spBv1.0/G/NCMD/test", command("Node Control/Reboot", True))
        broker.tell("spBv1.0/G/DCMD/test/m1", command("Node Control/Rebirth", True))
        for _ in range(3):
            broker.tell("spBv1.0/G/DCMD/test/m1", command(None, True, alias=16))
        broker.tell("spBv1.0/G/NCMD/test", b"\xff\xff")
        await ctx.until(lambda: ctx.stats.refused == 6)
    assert len(broker.said("NBIRTH")) == 1
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert lines.count("refused: spBv1.0/G/DCMD/test/m1: m1/power: writing is not possible") == 1
    assert any("unparsable" in line for line in lines)


async def test_a_broker_that_refuses_commands_is_told_in_plain_words(broker, ctx):
    broker.suback = 0x80
    with pytest.raises(LinkError, match=r"does not let us subscribe to spBv1\.0/G/NCMD/test"):
        await asyncio.wait_for(config_for(broker).create().run(ctx), 5)


async def test_no_broker_is_a_link_that_is_down(ctx):
    with pytest.raises(LinkError, match=r"mqtt://127\.0\.0\.1:1"):
        await SparkplugUplinkConfig(url="mqtt://127.0.0.1:1", group="G").create().run(ctx)


async def test_who_waits_for_the_primary_host_leaves_without_a_death(broker, ctx):
    async with running(config_for(broker, host="scada").create(), ctx):
        await ctx.until(lambda: ctx.links)
        ctx.put(sample(1))
    await ctx.until(lambda: broker.of(Disconnect))
    assert broker.published == []
    assert ctx.links == [(False, f"{broker.url}: waiting for the primary host scada")]
    assert ctx.spool.gauge("out").rows == 1


# Against a real broker


@asynccontextmanager
async def listener(port: int):
    """What a host gets: (verb, payload)."""
    got: list[tuple[str, Payload]] = []

    def note(message) -> None:
        got.append((str(message.topic).split("/")[2], decode(bytes(message.payload))))

    async def collect(client) -> None:
        async for message in client.messages:
            note(message)

    async with aiomqtt.Client("127.0.0.1", port, identifier="listener") as client:
        await client.subscribe("spBv1.0/#", qos=1)
        task = asyncio.create_task(collect(client))
        try:
            yield got
        finally:
            await ended(task)


async def test_a_broker_that_is_killed_costs_nothing_that_it_had_not_read(tmp_path, ctx):
    async with nats_broker(tmp_path / "broker") as nats:
        config = SparkplugUplinkConfig(url=nats.mqtt_url, group="G")
        seqs = [ctx.put(sample(n))[0].seq for n in range(400)]
        got: set[float] = set()
        async with listener(nats.mqtt_port) as heard:
            task = asyncio.create_task(config.create().run(ctx))
            await ctx.until(lambda: len(ctx.acknowledged) > 50)
            await nats.stop()
            with pytest.raises(LinkError):
                await asyncio.wait_for(task, 5)
            got |= {metric.raw for verb, payload in heard if verb == "DDATA" for metric in payload.metrics}
        done = set(ctx.acknowledged)
        assert done < set(seqs)
        assert {batch.seq for batch in ctx.spool.read("out", 0, 1000, 0)} == set(seqs) - done
        await nats.start()
        async with listener(nats.mqtt_port) as heard, running(config.create(), ctx):
            await ctx.until(lambda: set(ctx.acknowledged) == set(seqs))
            await ctx.until(lambda: len([1 for verb, _ in heard if verb == "DDATA"]) >= len(seqs) - len(done))
            got |= {metric.raw for verb, payload in heard if verb == "DDATA" for metric in payload.metrics}
            got |= {metric.raw for verb, payload in heard if verb == "DBIRTH" for metric in payload.metrics}
    assert got == {n + 0.5 for n in range(400)}


async def test_a_gateway_that_is_cut_off_dies_by_its_will(tmp_path, ctx):
    async with nats_broker(tmp_path / "broker") as nats, listener(nats.mqtt_port) as heard:
        cut = Proxy(nats.mqtt_port)
        async with cut.serving() as port:
            config = SparkplugUplinkConfig(url=f"mqtt://127.0.0.1:{port}", group="G")
            task = asyncio.create_task(config.create().run(ctx))
            ctx.put(sample(1))
            await ctx.until(lambda: ctx.acknowledged)
            cut.abort()
            with pytest.raises(LinkError):
                await asyncio.wait_for(task, 5)
        await ctx.until(lambda: heard and heard[-1][0] == "NDEATH")
        assert heard[-1][1].metrics[0].raw == heard[0][1].metrics[0].raw


# Options


def test_it_is_on_the_list():
    assert SparkplugUplinkConfig in UPLINKS


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "http://x"}, "url"),
        ({"group": ""}, "group"),
        ({"group": "a/b"}, "group"),
        ({"group": "x" * 257}, "group"),
        ({"group": "{gateway}"}, "group"),
        ({"node": "a+b"}, "node"),
        ({"node": "{uplink}"}, "node"),
        ({"host": "a#"}, "host"),
        ({"timeout": Duration(0)}, "timeout"),
        ({"ca": "x"}, "ca"),
    ],
)
def test_what_cannot_work_is_refused(options, field):
    with pytest.raises(FieldError) as error:
        SparkplugUplinkConfig(**{"url": "mqtt://b", "group": "G", **options})
    assert error.value.field == (field,)
