"""What the adapter itself says: the hooks of a plan, the window of QoS 1, and its own state at the broker."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import ClassVar

import aiomqtt
import pytest

from adapters.mqtt import choose, packets
from adapters.mqtt import link as link_module
from adapters.mqtt.outbox import MAX_WAITING, Outbox
from adapters.mqtt.plain import PlainText
from adapters.mqtt.publish import Publish
from gateway.errors import LinkError, PayloadError
from gateway.frame import Frame
from gateway.tasks import ended
from tests.adapters.mqtt.scripted import publish, scripted
from tests.adapters.mqtt.support import mqtt_config, publisher
from tests.support.context import RecordingContext, running
from tests.support.nats import nats_broker

ENTRY = {"topic": "x/{device}/{point}", "payload": "text"}


class Talking(PlainText):
    """A plan that answers each hook with a message or a sample that names it."""

    wishes: ClassVar[tuple[tuple[str, int], ...]] = ()
    has_will = True

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.seen = 0
        self.said = 0

    def asks(self):
        return list(self.wishes)

    def will(self):
        return Publish("say/will", b"gone", qos=1) if self.has_will else None

    def hello(self):
        return [Publish("say/hello", b"1", qos=1)]

    def frame(self, payloads, rows, arrival, stale):
        self.seen += len(payloads)
        return super().frame(payloads, rows, arrival, stale)

    def outgoing(self):
        new, self.said = self.seen - self.said, self.seen
        return [Publish("say/outgoing", b"%d" % self.seen, qos=1)] if new else []

    def tick(self, now_ns):
        return self._one(now_ns, 11.0)

    def goodbye(self):
        return [Publish("say/goodbye", b"1", qos=1)]

    def lost(self, now_ns):
        return self._one(now_ns, 22.0)

    def _one(self, now_ns: int, value: float) -> Frame:
        from gateway.point import Point

        return Frame.of([self.points.add(Point(name="talk/hook"))], [now_ns], [value])


@pytest.fixture
def talking(monkeypatch):
    monkeypatch.setattr(choose, "PlainText", Talking)
    monkeypatch.setattr(link_module, "TICK_S", 0.02)
    return Talking


@pytest.fixture
async def broker():
    async with nats_broker() as started:
        yield started


async def heard(broker, got: list, ready: asyncio.Event) -> None:
    async with publisher(broker.mqtt_port, identifier="listener") as client:
        await client.subscribe("say/#", qos=1)
        await client.subscribe("state/#", qos=1)
        ready.set()
        async for message in client.messages:
            got += [(str(message.topic), bytes(message.payload))]


@pytest.fixture
async def said(broker):
    got, ready = [], asyncio.Event()
    task = asyncio.create_task(heard(broker, got, ready))
    await ready.wait()
    yield got
    await ended(task)


def hooks(ctx):
    return {value for _, value, _ in ctx.samples("talk/hook")}


async def test_a_plan_is_asked_at_each_turn(broker, said, talking):
    talking.wishes = ()
    ctx = RecordingContext()
    made = mqtt_config({"topic": "extra/{device}/{point}", "payload": "text"}, url=broker.mqtt_url).create()
    async with running(made, ctx), publisher(broker.mqtt_port) as device:
        await ctx.until(lambda: ("say/hello", b"1") in said)
        await device.publish("extra/d/v", "5", qos=1)
        await ctx.until(lambda: ("say/outgoing", b"1") in said)
        await ctx.until(lambda: 11.0 in hooks(ctx))
        assert ctx.samples("d/v")[0][1] == 5.0
    await ctx.until(lambda: ("say/goodbye", b"1") in said)
    assert ("say/will", b"gone") not in said, "an orderly end has no will"
    assert 22.0 not in hooks(ctx)


async def test_topics_that_a_plan_asks_for_are_its_own(broker, talking):
    talking.wishes = (("other/place/+", 1),)
    ctx = RecordingContext()
    made = mqtt_config({"topic": "x/v", "device": "d", "payload": "text", "points": {"v": {}}}, url=broker.mqtt_url)
    async with running(made.create(), ctx), publisher(broker.mqtt_port) as device:
        await ctx.until(lambda: ctx.links)
        await device.publish("other/place/7", "7", qos=1)
        await ctx.until(lambda: ctx.points.find("d/v") is not None and ctx.samples("d/v"))
    assert ctx.samples("d/v")[0][1] == 7.0


async def test_a_lost_link_gives_the_plan_the_last_word_and_the_broker_the_will(said, broker, talking):
    talking.wishes = ()
    ctx = RecordingContext()
    made = mqtt_config(ENTRY, url=broker.mqtt_url).create()
    task = asyncio.create_task(made.run(ctx))
    await ctx.until(lambda: ctx.links)
    made._link._session._transport.abort()  # as if the cable were cut
    with pytest.raises(LinkError):
        await task
    await ctx.until(lambda: ("say/will", b"gone") in said)
    assert 22.0 in hooks(ctx)


async def test_the_state_of_the_gateway_stands_at_the_broker(broker, said):
    ctx = RecordingContext("bus")
    made = mqtt_config(ENTRY, url=broker.mqtt_url, state_topic="state/{gateway}/{adapter}").create()

    def states():
        return [json.loads(payload) for topic, payload in said if topic == "state/test/bus"]

    async with running(made, ctx):
        await ctx.until(lambda: len(states()) == 1)
    await ctx.until(lambda: len(states()) == 2)
    online, offline = states()
    assert (online["state"], offline["state"], offline["why"]) == ("online", "offline", "stopped")
    assert online["since"] <= online["time"] <= offline["time"]
    task = asyncio.create_task(made.run(ctx))
    await ctx.until(lambda: len(states()) == 3)
    made._link._session._transport.abort()
    with pytest.raises(LinkError):
        await task
    await ctx.until(lambda: len(states()) == 4)
    assert states()[3] == {"state": "offline", "time": None, "since": states()[2]["since"], "why": "link lost"}
    async with aiomqtt.Client("127.0.0.1", broker.mqtt_port) as late:
        await late.subscribe("state/test/bus")
        message = await anext(aiter(late.messages))
    assert message.retain
    assert json.loads(message.payload)["state"] == "offline"


class Wire:
    """What an outbox writes."""

    def __init__(self, *, room: bool = True) -> None:
        self.sent: list[bytes] = []
        self.reasons: Counter[str] = Counter()
        self.box = Outbox(packets.V311, self.sent.append, lambda: room, self.reasons)

    def ids(self) -> list[int]:
        return [int.from_bytes(packet[5:7], "big") for packet in self.sent]


def test_no_more_than_the_window_is_on_its_way():
    wire = Wire()
    wire.box.limit(3)
    for n in range(5):
        wire.box.send(Publish("t", b"%d" % n, qos=1))
    assert wire.ids() == [1, 2, 3]
    wire.box.acknowledged(b"\x00\x02")
    assert wire.ids() == [1, 2, 3, 4]
    assert [packet[-1:] for packet in wire.sent] == [b"0", b"1", b"2", b"3"]


def test_what_waits_is_bounded_and_counted():
    wire = Wire()
    wire.box.limit(1)
    for n in range(MAX_WAITING + 11):
        wire.box.send(Publish("t", b"%d" % n, qos=1))
    assert wire.reasons == {"unsent": 10}
    wire = Wire(room=False)
    wire.box.send(Publish("t", b"", qos=0))
    assert wire.reasons == {"unsent": 1}
    assert not wire.sent


def test_ids_go_round_and_are_not_used_twice():
    wire = Wire()
    wire.box.send(Publish("t", b"", qos=1))
    assert [wire.box.next_id() for _ in range(65_535)][-2:] == [65_535, 2]


def test_a_refusal_is_counted_and_an_answer_to_nothing_is_an_error():
    wire = Wire()
    wire.box.send(Publish("t", b"", qos=1))
    wire.box.acknowledged(b"\x00\x01\x87\x00")
    assert (wire.reasons, wire.box.refused) == ({"publish-refused": 1}, "not authorized")
    for body in (b"\x00\x01", b"\x00"):
        with pytest.raises(PayloadError):
            wire.box.acknowledged(body)


async def test_what_came_before_a_broken_packet_is_taken():
    ctx = RecordingContext()
    async with scripted() as broker:
        made = mqtt_config({"topic": "x/{device}", "points": {"v": {}}}, url=broker.url).create()
        task = asyncio.create_task(made.run(ctx))
        await ctx.until(lambda: ctx.links)
        broker.send(publish(1) + publish(2) + b"\x36\x06\x00\x01a\x00\x01x")
        with pytest.raises(LinkError, match="QoS 3"):
            await task
    assert len(ctx.frame) == 2
