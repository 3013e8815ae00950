"""The adapter at a real broker: nats-server, which speaks MQTT 3.1.1."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway import quality as q
from gateway.errors import LinkError
from tests.adapters.mqtt.support import mqtt_config, publisher
from tests.support.context import RecordingContext, running
from tests.support.nats import nats_broker

METER = {
    "topic": "site/{device}/telemetry",
    "time": "ts",
    "points": {"voltage": {"unit": "V"}, "power": {"value": "/meas/p"}},
}
MS = 1_767_225_600_123


@pytest.fixture
async def broker():
    # nats-server sends again after this time, not when a client returns
    async with nats_broker(ack_wait="2s") as running_broker:
        yield running_broker


def adapter(broker, *entries, **options):
    return mqtt_config(*(entries or [METER]), url=broker.mqtt_url, **{"version": "3.1.1", **options}).create()


def telemetry(n: int = 0) -> str:
    return json.dumps({"ts": MS + n, "voltage": 230 + n, "meas": {"p": n}})


def up(ctx):
    return bool(ctx.links) and ctx.links[-1][1]


@pytest.mark.parametrize("qos", [0, 1])
async def test_telemetry_arrives_as_samples(broker, qos):
    ctx = RecordingContext()
    async with running(adapter(broker, {**METER, "qos": qos}), ctx), publisher(broker.mqtt_port) as device:
        await ctx.until(lambda: up(ctx))
        for n in range(20):
            await device.publish(f"site/m{n % 2}/telemetry", telemetry(n), qos=qos)
        await ctx.until(lambda: len(ctx.frame) == 40)
    for parity in (0, 1):
        mine = range(parity, 20, 2)
        expected = [((MS + n) * 1_000_000, 230.0 + n, 0) for n in mine]
        assert ctx.samples(f"m{parity}/voltage") == expected
        assert [value for _, value, _ in ctx.samples(f"m{parity}/power")] == [float(n) for n in mine]
    assert ctx.points.point(ctx.points.find("m0/voltage")).unit == "V"
    assert ctx.stats.devices == {"m0": {}, "m1": {}}
    assert (ctx.stats.messages, ctx.stats.errors) == (20, 0)


async def test_wildcards_make_points_as_they_appear_up_to_the_bound(broker):
    ctx = RecordingContext(limit=5)
    entry = {"topic": "plant/{area}/{device}/{point}", "payload": "text", "device": "{area}-{device}"}
    async with running(adapter(broker, entry), ctx), publisher(broker.mqtt_port) as device:
        await ctx.until(lambda: up(ctx))
        for n in range(8):
            await device.publish(f"plant/west/d{n}/t", str(n), qos=1)
        await ctx.until(lambda: ctx.stats.messages == 8)
    assert [ctx.points.name(i) for i in range(len(ctx.points))] == [f"west-d{n}/t" for n in range(5)]
    assert ctx.stats.reasons == {"too-many-points": 3}


async def test_what_is_not_acknowledged_comes_again_and_what_is_does_not(broker):
    first = RecordingContext(hold=True)
    made = adapter(broker)
    async with publisher(broker.mqtt_port) as device:
        async with running(made, first):
            await first.until(lambda: up(first))
            for n in range(6):
                await device.publish("site/m1/telemetry", telemetry(n), qos=1)
                await first.until(lambda n=n: len(first.frame) == 2 * (n + 1))
            assert len(first.receipts) == 6
            for receipt in first.receipts[:3]:
                receipt.position.set_result(1)
            await first.until(first.receipts[3].asked.is_set)
        second = RecordingContext()
        async with running(made, second):
            await second.until(lambda: len(second.samples("m1/power")) >= 3)
            await device.publish("site/m1/telemetry", telemetry(99), qos=1)
            await second.until(lambda: second.samples("m1/power")[-1][1] == 99.0)
        assert [value for _, value, _ in second.samples("m1/power")] == [3.0, 4.0, 5.0, 99.0]
        third = RecordingContext()
        async with running(made, third):
            await device.publish("site/m1/telemetry", telemetry(7), qos=1)
            await third.until(lambda: third.frames)
        assert [value for _, value, _ in third.samples("m1/power")] == [7.0]


async def test_a_persistent_session_gets_what_was_sent_meanwhile(broker):
    ctx = RecordingContext()
    made = adapter(broker)
    async with publisher(broker.mqtt_port) as device:
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
        for n in range(50):
            await device.publish("site/m1/telemetry", telemetry(n), qos=1)
        assert not ctx.frames
        async with running(made, ctx):
            await ctx.until(lambda: len(ctx.frame) == 100 and len(ctx.links) == 2)
    # nats-server may still have written the first one to the connection that was about to close
    assert sorted(value for _, value, _ in ctx.samples("m1/power")) == [float(n) for n in range(50)]
    assert [link[2] for link in ctx.links if link[1]] == ["new session", "session resumed"]


async def test_a_clean_session_does_not(broker):
    ctx = RecordingContext()
    made = adapter(broker, session={"clean": True})
    async with publisher(broker.mqtt_port) as device:
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
        await device.publish("site/m1/telemetry", telemetry(1), qos=1)
        async with running(made, ctx):
            await ctx.until(lambda: len(ctx.links) == 2)
            await device.publish("site/m1/telemetry", telemetry(2), qos=1)
            await ctx.until(lambda: ctx.frames)
    assert [value for _, value, _ in ctx.samples("m1/power")] == [2.0]


async def test_bad_messages_are_counted_and_block_nothing(broker):
    """More of them than the broker lets be in flight; telegraf#13476 stands still then."""
    ctx = RecordingContext()
    async with running(adapter(broker, max_payload="1KiB"), ctx), publisher(broker.mqtt_port) as device:
        await ctx.until(lambda: up(ctx))
        async with asyncio.TaskGroup() as group:
            for n in range(1200):
                bad = b"\xff{" if n % 2 else b"x" * 2000
                group.create_task(device.publish("site/m1/telemetry", bad, qos=1))
        await device.publish("site/m1/telemetry", telemetry(5), qos=1)
        await ctx.until(lambda: ctx.frames)
    assert ctx.stats.reasons == {"unparsable": 600, "oversize": 600}
    assert ctx.samples("m1/power") == [((MS + 5) * 1_000_000, 5.0, 0)]
    assert ctx.stats.messages == 1201


async def test_kept_messages_are_taken(broker):
    ctx = RecordingContext()
    async with publisher(broker.mqtt_port) as device:
        await device.publish("site/m1/telemetry", telemetry(1), qos=1, retain=True)
        await device.publish("site/m2/telemetry", '{"voltage": 1}', qos=1, retain=True)
        async with running(adapter(broker), ctx):
            await ctx.until(lambda: len(ctx.frame) == 3)
    assert ctx.samples("m1/voltage") == [((MS + 1) * 1_000_000, 231.0, 0)]
    assert [word for _, _, word in ctx.samples("m2/voltage")] == [q.QUESTIONABLE | q.OLD_DATA]


async def test_a_broker_that_goes_loses_the_link_and_one_that_returns_has_the_session(broker):
    ctx = RecordingContext()
    made = adapter(broker)
    task = asyncio.create_task(made.run(ctx))
    await ctx.until(lambda: up(ctx))
    await broker.stop()
    with pytest.raises(LinkError):
        await task
    assert [link[1] for link in ctx.links] == [True, False]
    with pytest.raises(LinkError):
        await made.run(ctx)
    await broker.start()
    async with publisher(broker.mqtt_port) as device:
        await device.publish("site/m1/telemetry", telemetry(3), qos=1)
        async with running(made, ctx):
            await ctx.until(lambda: ctx.frames and up(ctx))
    assert ctx.links[-1] == ("", True, "session resumed")


async def test_a_broker_without_mqtt_5_is_told_apart(broker):
    with pytest.raises(LinkError, match=r"3\.1\.1"):
        await adapter(broker, version="5").run(RecordingContext())


async def test_the_default_client_id_stays_the_same(broker):
    """A second connection with it takes the place of the first, which the broker closes."""
    first, second = RecordingContext("bus"), RecordingContext("bus")
    task = asyncio.create_task(adapter(broker).run(first))
    await first.until(lambda: up(first))
    async with running(adapter(broker), second):
        with pytest.raises(LinkError):
            await task
        await second.until(lambda: up(second))
        assert second.links[0][2] == "session resumed"
