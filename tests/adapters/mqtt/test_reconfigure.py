"""Other subscriptions on a live session, and sessions that have more than is configured."""

from __future__ import annotations

import asyncio

import pytest

from adapters.mqtt.filters import KEY
from gateway.errors import LinkError
from tests.adapters.mqtt.scripted import publish, scripted
from tests.adapters.mqtt.support import mqtt_config, publisher
from tests.support.context import RecordingContext, running
from tests.support.nats import nats_broker

V = {"v": {}}


@pytest.fixture
async def broker():
    async with nats_broker(ack_wait="2s") as started:
        yield started


def entry(topic: str, **more) -> dict:
    return {"topic": topic, "points": V, **more}


def config(broker, *entries, **options):
    return mqtt_config(*entries, url=getattr(broker, "mqtt_url", None) or broker.url, **options)


async def send(client, topic: str, value: int) -> None:
    await client.publish(topic, f'{{"v": {value}}}', qos=1)


def values(ctx, device: str) -> list[float]:
    point = ctx.points.find(f"{device}/v")
    return [] if point is None else [value for _, value, _ in ctx.samples(f"{device}/v")]


async def test_topics_come_and_go_without_a_new_connection(broker):
    ctx = RecordingContext()
    made = config(broker, entry("a/{device}")).create()
    async with running(made, ctx), publisher(broker.mqtt_port) as device:
        await ctx.until(lambda: ctx.links)
        await send(device, "b/two", 1)
        await send(device, "a/one", 1)
        await ctx.until(lambda: values(ctx, "one") == [1])
        assert await made.reconfigure(config(broker, entry("a/{device}"), entry("b/{device}")))
        await send(device, "b/two", 2)
        await ctx.until(lambda: values(ctx, "two") == [2])
        assert await made.reconfigure(config(broker, entry("b/{device}")))
        await send(device, "a/one", 3)
        await send(device, "b/two", 3)
        await ctx.until(lambda: values(ctx, "two") == [2, 3])
        assert await made.reconfigure(config(broker, entry("b/{device}", device="x-{device}"), max_payload="1KiB"))
        await send(device, "b/two", 4)
        await device.publish("b/two", "x" * 2000, qos=1)
        await ctx.until(lambda: values(ctx, "x-two") == [4] and ctx.stats.reasons["oversize"])
    assert values(ctx, "one") == [1]
    assert len(ctx.links) == 1
    assert set(ctx.stats.reasons) == {"oversize"}


async def test_a_flow_of_qos_1_loses_nothing_while_topics_change_all_the_time(broker):
    """Topics are added and options change; nats-server itself may lose a message when one is given up, so that this
    is shown at mosquitto (tests/interop)."""
    ctx = RecordingContext()
    made = config(broker, entry("a/{device}")).create()
    total = 600

    async def flow(client) -> None:
        for n in range(total):
            await send(client, "a/one", n)

    async with running(made, ctx), publisher(broker.mqtt_port) as device:
        await ctx.until(lambda: ctx.links)
        flowing = asyncio.create_task(flow(device))
        changes = 0
        while not flowing.done():
            first = entry("a/{device}", time="/t" if changes % 2 else "")
            more = [entry(f"more{n}/{{device}}") for n in range(min(changes, 30))]
            assert await made.reconfigure(config(broker, first, *more, max_payload=f"{1 + changes % 2}KiB"))
            changes += 1
            seen = ctx.stats.messages
            await ctx.until(lambda seen=seen: ctx.stats.messages >= seen + 5 or flowing.done())
        await flowing
        await ctx.until(lambda: len(values(ctx, "one")) >= total)
    assert changes > 5
    assert values(ctx, "one") == [float(n) for n in range(total)]
    assert len(ctx.links) == 1
    assert not ctx.stats.reasons


async def test_what_was_under_way_by_a_topic_that_goes_is_still_decoded():
    ctx = RecordingContext()
    async with scripted() as broker:
        made = config(broker, entry("x/{device}")).create()
        async with running(made, ctx):
            await ctx.until(lambda: ctx.links)
            task = asyncio.create_task(made.reconfigure(config(broker, entry("y/{device}"))))
            await ctx.until(lambda: b"\x00\x03y/+" in broker.heard)
            assert b"\x00\x03x/+" not in broker.heard, "first the new ones are there, then the old ones go"
            broker.send(publish(1, b'{"v": 1}'))
            broker.send(b"\x90\x03\x00\x02\x01")
            await ctx.until(lambda: b"\x00\x03x/+" in broker.heard)
            broker.send(publish(2, b'{"v": 2}') + b"\xb0\x02\x00\x03")
            assert await task
            broker.send(publish(3, b'{"v": 3}'))
            await ctx.until(lambda: ctx.stats.reasons["unmatched"])
    assert values(ctx, "d") == [1, 2]


@pytest.mark.parametrize("options", [{"client_id": "other"}, {"keepalive": "20s"}, {"username": "u"}])
async def test_other_options_need_a_new_connection(broker, options):
    ctx = RecordingContext()
    made = config(broker, entry("a/{device}")).create()
    async with running(made, ctx):
        await ctx.until(lambda: ctx.links)
        assert not await made.reconfigure(config(broker, entry("a/{device}"), **options))
    assert not await made.reconfigure(config(broker, entry("b/{device}"))), "there is no connection"


async def test_a_broker_that_refuses_or_goes_during_a_change():
    ctx = RecordingContext()
    async with scripted() as broker:
        made = config(broker, entry("x/{device}")).create()
        async with running(made, ctx):
            await ctx.until(lambda: ctx.links)
            task = asyncio.create_task(made.reconfigure(config(broker, entry("y/{device}"))))
            await ctx.until(lambda: b"\x00\x03y/+" in broker.heard)
            broker.send(b"\x90\x03\x00\x02\x80")
            assert not await task
        run = asyncio.create_task(made.run(ctx))
        await ctx.until(lambda: len(ctx.links) == 2)
        task = asyncio.create_task(made.reconfigure(config(broker, entry("z/{device}"))))
        await ctx.until(lambda: b"\x00\x03z/+" in broker.heard)
        broker.drop()
        assert not await task
        with pytest.raises(LinkError):
            await run


async def test_a_kept_session_gives_up_topics_that_are_not_configured_any_more(broker):
    ctx = RecordingContext()
    async with publisher(broker.mqtt_port) as device:
        async with running(config(broker, entry("a/{device}"), entry("b/{device}")).create(), ctx):
            await ctx.until(lambda: ctx.links)
        await send(device, "b/two", 1)
        async with running(config(broker, entry("a/{device}")).create(), ctx):
            await ctx.until(lambda: len(ctx.links) == 2)
            await send(device, "b/two", 2)
            await send(device, "a/one", 2)
            await ctx.until(lambda: values(ctx, "one") == [2])
        # What came before it was given up may still arrive; what comes after does not
        assert ctx.stats.reasons["unmatched"] <= 1
        before = ctx.stats.messages
        async with running(config(broker, entry("a/{device}")).create(), ctx):
            await ctx.until(lambda: len(ctx.links) == 3)
            await send(device, "b/two", 3)
            await send(device, "a/one", 3)
            await ctx.until(lambda: values(ctx, "one") == [2, 3])
    assert ctx.stats.messages == before + 1
    assert ctx.memory[KEY] == b'{"session":"onpath-test-a at %s","filters":["a/+"]}' % broker.mqtt_url.encode()


async def test_only_what_this_session_had_is_given_up():
    ctx = RecordingContext()
    ctx.remember(KEY, b'{"session":"somebody else","filters":["old/#"]}')
    async with scripted(connack=b"\x20\x02\x01\x00") as broker:
        async with running(config(broker, entry("x/{device}")).create(), ctx):
            await ctx.until(lambda: ctx.links)
        assert b"old/#" not in broker.heard
        ctx.remember(KEY, b"not what we wrote")
        async with running(config(broker, entry("x/{device}")).create(), ctx):
            await ctx.until(lambda: len(ctx.links) == 2)


async def test_retained_messages_that_are_not_wanted(broker):
    entries = [entry("t/{device}"), entry("n/{device}", retained="new"), entry("i/{device}", retained="ignore")]
    ctx = RecordingContext()
    made = config(broker, *entries).create()
    async with publisher(broker.mqtt_port) as device:
        for topic in ("t/take", "n/new", "i/ignore"):
            await device.publish(topic, '{"v": 1}', qos=1, retain=True)
        async with running(made, ctx):
            await ctx.until(lambda: values(ctx, "take") == [1] and values(ctx, "new") == [1])
        async with running(made, ctx):
            await ctx.until(lambda: len(values(ctx, "take")) == 2)
            for topic in ("n/new", "i/ignore"):
                await send(device, topic, 5)
            await ctx.until(lambda: values(ctx, "ignore") == [5] and 5 in values(ctx, "new"))
    assert values(ctx, "new") == [1, 5]
    assert not ctx.stats.reasons


async def test_several_brokers_at_once():
    first, second = RecordingContext("one"), RecordingContext("two")
    async with nats_broker() as here, nats_broker() as there:
        made = [config(one, entry("a/{device}")).create() for one in (here, there)]
        async with running(made[0], first), running(made[1], second):
            await first.until(lambda: first.links and second.links)
            async with publisher(here.mqtt_port) as device:
                await send(device, "a/one", 1)
            async with publisher(there.mqtt_port) as device:
                await send(device, "a/one", 2)
            await first.until(lambda: first.frames and second.frames)
    assert (values(first, "one"), values(second, "one")) == ([1], [2])
