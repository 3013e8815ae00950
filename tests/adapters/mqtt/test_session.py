"""The adapter against a broker that misbehaves on cue."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from adapters.mqtt import session as session_module
from gateway.errors import LinkError, StoreError
from tests.adapters.mqtt.scripted import puback, publish, scripted
from tests.adapters.mqtt.support import mqtt_config
from tests.support.context import RecordingContext, running

ENTRY = {"topic": "x/{device}", "points": {"v": {}}}


def adapter(broker, *entries, **options):
    options = {"version": "3.1.1", "timeout": "2s", **options}
    return mqtt_config(*(entries or [ENTRY]), url=broker.url, **options).create()


def up(ctx):
    return bool(ctx.links) and ctx.links[-1][1]


async def failure(made, ctx) -> str:
    with pytest.raises(LinkError) as caught:
        async with asyncio.timeout(10):
            await made.run(ctx)
    assert ctx.links[-1][:2] == ("", False)
    return str(caught.value)


async def test_messages_are_acknowledged_in_order_when_they_are_durable():
    ctx = RecordingContext(hold=True)
    async with scripted() as broker, running(adapter(broker), ctx):
        await ctx.until(lambda: up(ctx))
        for n in (1, 2, 3):
            broker.send(publish(2 * n) + publish(2 * n + 1))
            await ctx.until(lambda n=n: len(ctx.receipts) == n)
        ctx.receipts[1].position.set_result(7)
        ctx.receipts[2].position.set_result(8)
        await ctx.receipts[0].asked.wait()
        assert broker.heard == b""
        ctx.receipts[0].position.set_result(6)
        await ctx.until(lambda: len(broker.heard) == 24)
        assert broker.heard == puback(2, 3, 4, 5, 6, 7)


async def test_what_gives_no_sample_is_acknowledged_in_its_turn():
    ctx = RecordingContext(hold=True)
    async with scripted() as broker, running(adapter(broker), ctx):
        await ctx.until(lambda: up(ctx))
        broker.send(publish(1))
        await ctx.until(lambda: ctx.receipts)
        broker.send(publish(2, b"bad"))
        await ctx.until(lambda: ctx.stats.reasons["unparsable"])
        assert broker.heard == b""
        ctx.receipts[0].position.set_result(1)
        await ctx.until(lambda: broker.heard == puback(1, 2))
    assert ctx.stats.messages == 2


async def test_what_the_store_refuses_is_not_acknowledged_and_the_link_is_given_up():
    ctx = RecordingContext(hold=True)
    async with scripted() as broker:
        task = asyncio.create_task(adapter(broker).run(ctx))
        await ctx.until(lambda: up(ctx))
        broker.send(publish(1))
        await ctx.until(lambda: ctx.receipts)
        ctx.receipts[0].position.set_exception(StoreError("disk full"))
        with pytest.raises(LinkError, match="disk full"):
            await task
        await broker.ended.wait()
        assert broker.heard == b"\xe0\x00"


async def test_ids_of_a_lost_connection_are_not_acknowledged_on_the_next():
    ctx = RecordingContext(hold=True)
    async with scripted() as broker:
        made = adapter(broker)
        task = asyncio.create_task(made.run(ctx))
        await ctx.until(lambda: up(ctx))
        broker.send(publish(1))
        await ctx.until(lambda: ctx.receipts)
        broker.drop()
        with pytest.raises(LinkError):
            await task
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            ctx.receipts[0].position.set_result(1)
            ctx.hold = False
            broker.send(publish(9))
            await ctx.until(lambda: broker.heard)
            assert broker.heard == puback(9)


async def test_a_stop_brings_to_disk_and_acknowledges_what_has_come():
    ctx = RecordingContext()
    async with scripted() as broker:
        async with running(adapter(broker), ctx):
            await ctx.until(lambda: up(ctx))
            broker.send(b"".join(publish(n) for n in range(1, 200)))
            await ctx.until(lambda: ctx.frames)
        await broker.ended.wait()
        acknowledged = (len(broker.heard) - 2) // 4
        assert broker.heard == puback(*range(1, acknowledged + 1)) + b"\xe0\x00"
        assert acknowledged == len(ctx.frame) > 0


async def test_a_stop_does_not_wait_for_a_disk_that_does_not_answer():
    ctx = RecordingContext(hold=True)
    async with scripted() as broker:
        async with running(adapter(broker), ctx):
            await ctx.until(lambda: up(ctx))
            broker.send(publish(1))
            await ctx.until(lambda: ctx.receipts)
            before = time.monotonic()
        assert time.monotonic() - before < 2
        await broker.ended.wait()
        assert broker.heard == b"\xe0\x00"


async def test_the_socket_is_not_read_while_the_gateway_is_full(monkeypatch):
    monkeypatch.setattr(session_module, "MAX_MESSAGES", 100)
    full = asyncio.Event()

    class Full(RecordingContext):
        async def emit(self, frame, tokens=None):
            await full.wait()
            return await super().emit(frame)

    ctx = Full()
    async with scripted() as broker:
        made = adapter(broker, {"topic": "x/{device}", "points": {"v": {}}, "qos": 0})
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            message = b"\x30\x7d\x00\x03x/d" + b'{"v": 1}'.ljust(120)
            total = 200_000
            broker.send(message * total)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.15):
                    await broker._writer.drain()
            assert ctx.stats.messages < 10_000
            assert broker._writer.transport.get_write_buffer_size() > 1_000_000
            full.set()
            await ctx.until(lambda: len(ctx.frame) == total, 20)
            assert max(map(len, ctx.frames)) < 10_000


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"\xe0\x00", "disconnected"),
        (b"\x34\x06\x00\x01a\x00\x01x", "QoS 2"),
        (b"\x30\xff\xff\xff\xff\x01", "malformed"),
        (b"\x40\x02\x00\x01", "unexpected packet"),
    ],
)
async def test_a_broker_that_breaks_the_protocol_loses_the_link(said, why):
    ctx = RecordingContext()
    async with scripted() as broker:
        task = asyncio.create_task(failure(adapter(broker), ctx))
        await ctx.until(lambda: up(ctx))
        broker.send(said)
        assert why in await task


async def test_a_lost_link_says_so_after_all_that_came_was_taken():
    ctx = RecordingContext()
    async with scripted() as broker:
        task = asyncio.create_task(failure(adapter(broker), ctx))
        await ctx.until(lambda: up(ctx))
        broker.send(b"".join(publish(n) for n in range(1, 50)))
        await asyncio.sleep(0)
        broker._writer.close()
        assert "closed the connection" in await task
    assert len(ctx.frame) == 49


async def test_a_refused_subscription_names_the_topic():
    async with scripted(suback=b"\x90\x04\x00\x01\x01\x80") as broker:
        made = adapter(broker, ENTRY, {"topic": "secret/{device}"})
        assert "refused to subscribe to secret/+ (unspecified error)" in await failure(made, RecordingContext())
    async with scripted(suback=b"\x90\x03\x00\x01\x01") as broker:
        made = adapter(broker, ENTRY, {"topic": "secret/{device}"})
        assert "1 of 2" in await failure(made, RecordingContext())


async def test_a_refused_login_says_why():
    async with scripted(connack=b"\x20\x02\x00\x05") as broker:
        assert "not authorised" in await failure(adapter(broker), RecordingContext())
    async with scripted(connack=b"\x20\x02\x00\x01") as broker:
        assert 'version: "3.1.1"' in await failure(adapter(broker, version="5"), RecordingContext())


@pytest.mark.parametrize("silent", [{"connack": b"\0"}, {"suback": b""}])
async def test_a_broker_that_does_not_answer_is_given_up(silent):
    async with scripted(**silent) as broker:
        assert "no answer" in await failure(adapter(broker, timeout="100ms"), RecordingContext())


async def test_a_broker_that_falls_silent_is_probed_and_given_up():
    ctx = RecordingContext()
    async with scripted() as broker:
        said = await failure(adapter(broker, keepalive="1s"), ctx)
        assert "silent for 2s" in said
        assert broker.heard.startswith(b"\xc0\x00\xc0\x00")


async def test_nobody_listens():
    async with scripted() as broker:
        made = adapter(broker)
    assert "127.0.0.1" in await failure(made, RecordingContext())


@pytest.mark.parametrize("cancel_after_ms", [0, 1, 2, 5, 10, 20])
async def test_a_stop_at_any_moment_leaves_nothing_open(cancel_after_ms):
    ctx = RecordingContext()
    async with scripted() as broker:
        task = asyncio.create_task(adapter(broker).run(ctx))
        await asyncio.sleep(cancel_after_ms / 1000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not [other for other in asyncio.all_tasks() if other.get_name().startswith("a: ")]
        await asyncio.sleep(0.05)  # the scripted side may not have taken the connection yet
    gc.collect()  # a transport left open would warn here
