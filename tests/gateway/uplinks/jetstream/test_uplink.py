"""The NATS uplink against a real nats-server: done at PubAck only, a bounded window, refusals waited out."""

from __future__ import annotations

import asyncio
import json
import signal

import msgpack
import numpy as np
import pytest

from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.units import Duration, Size
from gateway.uplinks.config import Format, NatsUplinkConfig
from gateway.uplinks.nats.config import CreateStream
from gateway.wire.message import FrameDecoder
from tests.support.nats import nats_broker
from tests.support.streams import api, client, seqs, stored
from tests.support.uplink import running


async def test_batches_stand_in_the_stream_in_order_and_leave_the_spool(broker, ctx, sample):
    config = NatsUplinkConfig(url=broker.url, subject="up.{gateway}.{uplink}.{pipeline}")
    sent = [ctx.put(sample(n))[0].seq for n in range(100)]
    async with running(config.create(), ctx):
        sent += [ctx.put(sample(n), "q.r")[0].seq for n in range(100, 300)]
        await ctx.until(lambda: len(ctx.acknowledged) == 300)
    async with client(broker.url) as nc:
        messages = await stored(nc)
        stream = (await api(nc, "STREAM.INFO.onpath"))["config"]
    assert [json.loads(payload)["seq"] for _, _, payload in messages] == sent
    assert {subject for subject, _, _ in messages} == {"up.test.out.p", "up.test.out.q_r"}
    _, headers, payload = messages[4]
    record = json.loads(payload)
    assert headers == {
        "Nats-Msg-Id": f"test/{record['epoch']}/5",
        "gateway": "test",
        "epoch": str(record["epoch"]),
        "seq": "5",
        "Content-Type": "application/json",
        "Nats-Expected-Stream": "onpath",
    }
    assert stream["subjects"] == ["up.*.*.*", "up.*.*.*.directory.*"]
    assert (stream["discard"], stream["duplicate_window"], stream["num_replicas"]) == ("new", 7200 * 10**9, 1)
    assert ctx.spool.gauge("out").rows == 0
    assert ctx.links == [(True, broker.url)]
    assert (ctx.stats.messages, ctx.stats.bytes) == (300, sum(len(payload) for _, _, payload in messages))


async def test_what_is_sent_again_stands_there_once(broker, ctx, sample):
    sent = [ctx.put(sample(n))[0].seq for n in range(50)]
    async with client(broker.url) as nc:
        config = NatsUplinkConfig(url=broker.url)
        for again in (0, 50):
            async with running(config.create(), ctx):
                await ctx.until(lambda again=again: len(ctx.acknowledged) == 50 + again)
            ctx.repeat(0)
        assert await seqs(nc) == sent
    assert ctx.stats.counts["duplicates"] == 50, "a repetition that the stream knows is done all the same"


async def test_frames_come_after_the_directory_that_names_their_points(broker, ctx, sample):
    config = NatsUplinkConfig(url=broker.url, format=Format.FRAME)
    for again in (0, 1):
        async with running(config.create(), ctx):
            for point in (0, 1, 0):
                ctx.put(sample(point, point))
            await ctx.until(lambda again=again: len(ctx.acknowledged) == 3 + 3 * again)
    async with client(broker.url) as nc:
        messages = await stored(nc)
    directories = [n for n, (subject, _, _) in enumerate(messages) if ".directory." in subject]
    assert len(directories) == 1, "of a directory the last message stays, also when the next connection says it again"
    subject, _, directory = messages[directories[0]]
    assert subject == f"onpath.test.p.directory.{msgpack.unpackb(directory, strict_map_key=False)['directory']}"
    decoder = FrameDecoder()
    decoder.decode(msgpack.unpackb(directory, strict_map_key=False))
    batches = [message for n, message in enumerate(messages) if n != directories[0]]
    records = [decoder.decode(msgpack.unpackb(payload, strict_map_key=False)) for _, _, payload in batches]
    assert [record["samples"][0]["point"] for record in records] == ["m1/power", "m2/power", "m1/power"] * 2
    assert batches[0][1]["Content-Type"] == "application/msgpack"


async def test_a_batch_that_is_too_large_is_given_up_with_a_word_and_the_rest_goes_on(tmp_path, ctx, caplog):
    async with nats_broker(tmp_path / "small", extra="max_payload: 4096") as small:
        large = Frame.of(np.zeros(200, np.int32), np.arange(200) * 10**6, np.arange(200) / 4)
        for frame in (Frame.of([0], 1, [1.5]), large, Frame.of([0], 2, [2.5])):
            ctx.put(frame)
        async with running(NatsUplinkConfig(url=small.url).create(), ctx):
            await ctx.until(lambda: ctx.spool.gauge("out").rows <= 1 and {1, 3} <= set(ctx.acknowledged))
    assert ctx.stats.counts["too-large"] == 1
    assert "batch 2 of pipeline p has" in caplog.text
    assert 2 not in ctx.acknowledged


async def test_a_stream_takes_no_message_beyond_its_own_limit_either(broker, ctx):
    async with client(broker.url) as nc:
        await api(nc, "STREAM.CREATE.onpath", name="onpath", subjects=["onpath.>"], max_msg_size=2000)
        ctx.put(Frame.of(np.zeros(200, np.int32), np.arange(200) * 10**6, np.arange(200) / 4))
        ctx.put(Frame.of([0], 2, [2.5]))
        async with running(NatsUplinkConfig(url=broker.url).create(), ctx):
            await ctx.until(lambda: 2 in ctx.acknowledged)
        assert await seqs(nc) == [2]
    assert ctx.stats.counts["too-large"] == 1


async def test_a_full_stream_is_waited_for_and_nothing_is_lost(broker, ctx, sample):
    """The stream refuses (PubAck with an error); room is made; everything arrives once."""
    config = NatsUplinkConfig(url=broker.url, create_stream=CreateStream(max_bytes=Size(20_000)), in_flight=8)
    sent = [ctx.put(sample(n))[0].seq for n in range(200)]
    async with client(broker.url) as nc:
        async with running(config.create(), ctx) as task:
            await ctx.until(lambda: ctx.stats.counts["refused"] > 0)
            first = await seqs(nc)
            assert 0 < len(first) < 200
            assert not ctx.links[-1][0]
            assert "maximum bytes exceeded" in ctx.links[-1][1]
            before = ctx.stats.messages
            await asyncio.sleep(0.3)
            assert ctx.stats.messages - before <= 3, "it is tried now and then, not all the time"
            wider = (await api(nc, "STREAM.INFO.onpath"))["config"] | {"max_bytes": 10**7}
            await api(nc, "STREAM.UPDATE.onpath", **wider)
            await ctx.until(lambda: len(ctx.acknowledged) == 200, 20)
            assert ctx.links[-1] == (True, broker.url)
            assert not task.done(), "all on one connection"
        assert sorted(await seqs(nc)) == sent


async def test_no_more_than_the_window_is_in_flight(broker, ctx, sample):
    config = NatsUplinkConfig(url=broker.url, in_flight=3, timeout=Duration(1))
    task = asyncio.create_task(config.create().run(ctx))
    await ctx.until(lambda: ctx.links)
    broker.signal(signal.SIGSTOP)
    try:
        for n in range(20):
            ctx.put(sample(n))
        await ctx.until(lambda: ctx.stats.messages == 3)
        with pytest.raises(LinkError, match=r"no acknowledgement of onpath\.test\.p within 1 s"):
            await asyncio.wait_for(task, 10)
    finally:
        broker.signal(signal.SIGCONT)
    assert ctx.stats.messages == 3
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 20)
    async with client(broker.url) as nc:
        assert await seqs(nc) == list(range(1, 21))


async def test_a_silent_server_is_noticed_on_an_idle_link(broker, ctx):
    config = NatsUplinkConfig(url=broker.url, keepalive=Duration(0.2))
    task = asyncio.create_task(config.create().run(ctx))
    await ctx.until(lambda: ctx.links)
    broker.signal(signal.SIGSTOP)
    try:
        with pytest.raises(LinkError, match="stale"):
            await asyncio.wait_for(task, 10)
    finally:
        broker.signal(signal.SIGCONT)
