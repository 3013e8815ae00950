"""As a subscription of the adapter: options, routing, what is remembered, and a real broker."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter

import aiomqtt
import pytest

from adapters.mqtt.decode import Decoder
from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from gateway.directory import Directory
from gateway.errors import FieldError, LinkError
from tests.adapters.mqtt.sparkplug.relay import packets, relay
from tests.adapters.mqtt.sparkplug.support import STALE, Edge, metric
from tests.adapters.mqtt.support import batch, mqtt_config, publisher
from tests.support.context import RecordingContext, running
from tests.support.nats import nats_broker

ENTRY = {"topic": "spBv1.0/+/+/+/#", "payload": "sparkplug"}
HOST = {**ENTRY, "sparkplug": {"host": "onpath-1", "device": "{edge}-{device}"}}
STATE = "spBv1.0/STATE/onpath-1"


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"topic": "a/#"}, ("topic",)),
        ({"device": "x"}, ("device",)),
        ({"time": "ts"}, ("time",)),
        ({"labels": {"area": "{area}"}}, ("labels", "area")),
        ({"points": {"x": {}}}, ("points",)),
        ({"columns": ["a"]}, ("columns",)),
        ({"share": "s"}, ("share",)),
        ({"sparkplug": {"host": "a/b"}}, ("host",)),
        ({"sparkplug": {"device": "{edge}"}}, ("device",)),
        ({"sparkplug": {"device": "{edge}-{device}-{area}"}}, ("device",)),
        ({"sparkplug": {"device": "{device} "}}, ("device",)),
        ({"sparkplug": {"rebirth_interval": "10ms"}}, ("rebirth_interval",)),
    ],
)
def test_options_that_do_not_fit(entry, field):
    with pytest.raises(FieldError) as caught:
        mqtt_config({**ENTRY, **entry}, version="5")
    assert caught.value.field[-len(field) :] == field


def test_sparkplug_options_go_with_that_payload():
    with pytest.raises(FieldError, match="payload: sparkplug"):
        mqtt_config({"topic": "x/{device}", "sparkplug": {}})


def test_a_connection_is_one_host():
    other = {**HOST, "topic": "spBv1.0/Plant2/#"}
    with pytest.raises(FieldError, match="second adapter"):
        mqtt_config(HOST, other)
    with pytest.raises(FieldError, match="one will"):
        mqtt_config(HOST, state_topic="x/state")
    assert mqtt_config(HOST, {**ENTRY, "topic": "spBv1.0/Plant2/#"})


def test_tck_id_message_flow_phid_sparkplug_clean_session_311():
    assert mqtt_config(HOST).starts_clean
    assert not mqtt_config(ENTRY).starts_clean
    assert mqtt_config(ENTRY, session={"clean": True}).starts_clean


def test_devices_appear():
    assert mqtt_config(ENTRY).devices_appear()


def decoder(ctx=None, points=None, reasons=None):
    if points is None:
        points = Directory(100) if ctx is None else ctx.points
    return Decoder(mqtt_config(HOST), points, reasons if reasons is not None else Counter(), ctx)


def test_messages_of_a_batch_in_order():
    edge, points = Edge(), Directory(100)
    made = decoder(points=points)
    first = batch(edge.nbirth(metric("n", 1.0)), edge.dbirth("d", metric("x", 2.0)), at=1_000)
    assert [points.name(i) for i in made.frame(first).point] == ["E/n", "E-d/x"]
    assert made.frame(batch(edge.ddata("d", metric("x", 3.0)), edge.ndata(metric("n", 4.0)))).value.tolist() == [3, 4]


async def test_what_cannot_be_used_is_kept_to_look_at():
    ctx = RecordingContext()
    decoder(ctx).frame(batch(("spBv1.0/G/NDATA/E", b"\xff"), ("spBv1.0/G/ODD/E", b""), (STATE, b"?")))
    assert [rejected[:3] for rejected in ctx.rejected] == [
        ("unparsable", "spBv1.0/G/NDATA/E", b"\xff"),
        ("bad-topic", "spBv1.0/G/ODD/E", b""),
        ("unparsable", STATE, b"?"),
    ]


async def test_nodes_are_remembered_and_asked_when_the_host_comes_back():
    ctx = RecordingContext()
    edge = Edge()
    decoder(ctx).frame(batch(edge.nbirth(metric("n", 1.0))))
    again = decoder(ctx)
    again.will()
    birth, request = again.hello()
    assert (birth.topic, request.topic) == (STATE, "spBv1.0/G/NCMD/E")
    ctx.memory = dict.fromkeys(ctx.memory, b"\xc1")
    assert [message.topic for message in decoder(ctx).hello()] == [STATE]


def test_tck_id_host_topic_phid_birth_message():
    """The first message is the birth, whatever else is to be sent."""
    made = decoder()
    made.will()
    made.frame(batch(Edge().ndata(metric("n", 1.0))))
    assert [message.topic for message in made.hello()] == [STATE, "spBv1.0/G/NCMD/E"]


@pytest.fixture
async def broker():
    async with nats_broker() as running_broker:
        yield running_broker


def adapter(broker, entry=HOST, **options):
    return mqtt_config(entry, url=broker.mqtt_url, **options).create()


def up(ctx):
    return bool(ctx.links) and ctx.links[-1][1]


async def states(client, count):
    """The next states of the host: (online, timestamp, retained)."""
    found = []
    async for message in client.messages:
        said = json.loads(message.payload)
        found.append((said["online"], said["timestamp"], message.retain))
        if len(found) == count:
            return found
    return found


async def test_tck_id_message_flow_phid_sparkplug_state_publish(broker):
    ctx = RecordingContext()
    async with publisher(broker.mqtt_port) as watcher, asyncio.timeout(20):
        await watcher.subscribe(STATE, qos=1)
        async with running(adapter(broker), ctx):
            ((online, since, _),) = await states(watcher, 1)
            assert online
            await ctx.until(lambda: up(ctx))
        ((online, at, _),) = await states(watcher, 1)
        assert not online
        assert at >= since
    async with publisher(broker.mqtt_port) as late, asyncio.timeout(20):
        await late.subscribe(STATE, qos=1)
        assert await states(late, 1) == [(False, at, True)]


async def test_tck_id_operational_behavior_host_application_connect_will(broker):
    ctx = RecordingContext()
    async with relay(broker.mqtt_port) as (port, cut), publisher(broker.mqtt_port) as watcher, asyncio.timeout(20):
        await watcher.subscribe(STATE, qos=1)
        task = asyncio.create_task(mqtt_config(HOST, url=f"mqtt://127.0.0.1:{port}").create().run(ctx))
        ((_, since, _),) = await states(watcher, 1)
        cut()
        assert await states(watcher, 1) == [(False, since, False)]
        with pytest.raises(LinkError):
            await task


CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14


@pytest.fixture
async def session(broker):
    """The packets that a host sends from its beginning to its end."""
    ctx, heard = RecordingContext(), bytearray()
    async with relay(broker.mqtt_port, heard) as (port, _), asyncio.timeout(20):
        async with running(mqtt_config(HOST, url=f"mqtt://127.0.0.1:{port}").create(), ctx):
            await ctx.until(lambda: STATE.encode() in heard.partition(b'"online":true')[0] and b"true" in heard)
        await ctx.until(lambda: heard.endswith(b"\xe0\x00"))
    return packets(heard)


async def test_tck_id_message_flow_phid_sparkplug_subscription(session):
    first = [kind for kind, _, _ in session][:3]
    assert first[:2] == [CONNECT, SUBSCRIBE]
    asked = b"".join(body for kind, _, body in session if kind == SUBSCRIBE)
    assert STATE.encode() + b"\x01" in asked
    assert b"spBv1.0/+/+/+/#" in asked
    kinds = [kind for kind, _, _ in session]
    assert max(n for n, kind in enumerate(kinds) if kind == SUBSCRIBE) < kinds.index(PUBLISH)


async def test_tck_id_operational_behavior_host_application_connect_will_retained(session):
    """Clean session, will, will QoS 1, will retained: 3.1.1, 3.1.2."""
    _, _, connect = session[0]
    assert connect[7] & 0x3E == 0x02 | 0x04 | 0x08 | 0x20
    assert STATE.encode() in connect


async def test_tck_id_operational_behavior_host_application_disconnect_intentional(session):
    (last, flags, death), (kind, _, _) = session[-2:]
    assert (last, kind) == (PUBLISH, DISCONNECT)
    assert flags & 0x0F == 0x03  # QoS 1, retained
    assert b'"online":false' in death


async def test_a_host_that_is_said_to_be_offline_says_otherwise(broker):
    ctx = RecordingContext()
    async with publisher(broker.mqtt_port) as watcher, asyncio.timeout(20):
        await watcher.subscribe(STATE, qos=1)
        async with running(adapter(broker), ctx):
            ((_, since, _),) = await states(watcher, 1)
            await ctx.until(lambda: up(ctx))
            await watcher.publish(STATE, json.dumps({"online": False, "timestamp": 1}), qos=1, retain=True)
            found = await states(watcher, 2)
            assert [said[:2] for said in found] == [(False, 1), (True, since)]


async def test_an_edge_node_from_birth_to_death(broker):
    ctx, edge = RecordingContext(), Edge()
    topic, payload = edge.ndeath()
    will = aiomqtt.Will(topic, payload, qos=1)
    async with running(adapter(broker), ctx), relay(broker.mqtt_port) as (port, cut):
        await ctx.until(lambda: up(ctx))
        with pytest.raises(aiomqtt.MqttError):  # noqa: PT012 - the client fails where it leaves the block
            async with publisher(port, will=will) as node, asyncio.timeout(20):
                for message in (edge.nbirth(metric("n", 1.0)), edge.dbirth("d", metric("x", 2.0))):
                    await node.publish(*message)
                for number in range(300):
                    await node.publish(*edge.ddata("d", metric("x", float(number))))
                await ctx.until(lambda: len(ctx.frame) == 302)
                assert [value for _, value, _ in ctx.samples("E-d/x")] == [2.0, *map(float, range(300))]
                cut()
                await states(node, 1)
        await ctx.until(lambda: len(ctx.frame) == 304)
    assert ctx.samples("E-d/x")[-1][2] == STALE
    assert ("E-d", False, "the edge node died") in ctx.links
    assert ctx.expected == {"E": float("inf"), "E-d": float("inf")}
    assert not ctx.stats.reasons


async def test_a_node_that_is_running_when_the_host_comes_is_asked_and_born(broker):
    ctx, edge = RecordingContext(), Edge()
    edge.nbirth(), edge.dbirth("d")
    async with running(adapter(broker), ctx), publisher(broker.mqtt_port) as node, asyncio.timeout(20):
        await ctx.until(lambda: up(ctx))
        await node.subscribe(edge.topic("NCMD"), qos=1)
        await node.publish(*edge.ndata(metric("n", 5.0)))
        message = await anext(aiter(node.messages))
        assert pb.Payload.FromString(message.payload).metrics[0].boolean_value
        await node.publish(*edge.nbirth(metric("n", 6.0)))
        await ctx.until(lambda: len(ctx.frame) == 1)
    assert [value for _, value, _ in ctx.samples("E/n")] == [6.0]


async def test_the_broker_is_lost_and_comes_back(broker):
    """All is stale, and the nodes that are known are asked for their births."""
    ctx, edge = RecordingContext(), Edge()
    async with relay(broker.mqtt_port) as (port, cut), publisher(broker.mqtt_port) as node, asyncio.timeout(20):
        made = mqtt_config(HOST, url=f"mqtt://127.0.0.1:{port}").create()
        task = asyncio.create_task(made.run(ctx))
        await ctx.until(lambda: up(ctx))
        await node.publish(*edge.nbirth(metric("n", 1.0)))
        await ctx.until(lambda: len(ctx.frame) == 1)
        cut()
        with pytest.raises(LinkError):
            await task
        assert ctx.samples("E/n")[-1][2] == STALE
        await node.subscribe(edge.topic("NCMD"), qos=1)
        async with running(made, ctx):
            message = await anext(aiter(node.messages))
            assert pb.Payload.FromString(message.payload).metrics[0].name == "Node Control/Rebirth"
            await node.publish(*edge.nbirth(metric("n", 2.0)))
            await ctx.until(lambda: ctx.samples("E/n")[-1][1] == 2.0)


def test_the_options_are_light():
    code = "import sys, adapters.mqtt.config, adapters.mqtt.decode; sys.exit('google.protobuf' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
