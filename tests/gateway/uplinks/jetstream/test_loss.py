"""What the hub loses comes again: killed, set back to an older copy of its disk, its stream deleted or made anew."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest

from gateway.errors import LinkError
from gateway.supervisor import LinkState, supervise
from gateway.units import Duration
from gateway.uplinks.config import NatsUplinkConfig
from tests.support.nats import nats_broker
from tests.support.streams import api, client, seqs
from tests.support.uplink import running


async def delivered(config, ctx, count: int) -> None:
    """One run, until so many are done."""
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) >= count)


async def test_a_store_set_back_to_an_older_copy_gets_everything_again(broker, ctx, sample, tmp_path, caplog):
    """kill -9, and the folder as it was after 40 of 100 batches: as if the rest had never been synced."""
    config = NatsUplinkConfig(url=broker.url)
    sent = [ctx.put(sample(n))[0].seq for n in range(40)]
    await delivered(config, ctx, 40)
    await broker.stop()
    shutil.copytree(broker.store, tmp_path / "copy")
    await broker.start()
    sent += [ctx.put(sample(n))[0].seq for n in range(60)]
    await delivered(config, ctx, 100)
    broker.kill()
    shutil.rmtree(broker.store)
    shutil.copytree(tmp_path / "copy", broker.store)
    await broker.start()
    async with client(broker.url) as nc:
        assert await seqs(nc) == sent[:40]
        await delivered(config, ctx, 200)
        assert sorted(await seqs(nc)) == sent, "all of them, none twice"
        assert ctx.stats.counts["replays"] == 1
        assert "has lost messages: it ends at 40, and had 100" in caplog.text
        sent += [ctx.put(sample(n))[0].seq for n in range(5)]
        await delivered(config, ctx, 205)
        assert sorted(await seqs(nc)) == sent
    assert ctx.stats.counts["replays"] == 1, "once: the next connection finds what it left"


async def test_somebody_elses_messages_in_our_place_do_not_hide_it(broker, ctx, sample, tmp_path, caplog):
    """After the power cut another gateway is quicker, so that the stream is as long as before."""
    config = NatsUplinkConfig(url=broker.url)
    sent = [ctx.put(sample(n))[0].seq for n in range(10)]
    await delivered(config, ctx, 10)
    await broker.stop()
    shutil.copytree(broker.store, tmp_path / "copy")
    await broker.start()
    sent += [ctx.put(sample(n))[0].seq for n in range(10)]
    await delivered(config, ctx, 20)
    broker.kill()
    shutil.rmtree(broker.store)
    shutil.copytree(tmp_path / "copy", broker.store)
    await broker.start()
    async with client(broker.url) as nc:
        for n in range(50):
            await nc.jetstream().publish("onpath.other.p", b"{}", headers={"Nats-Msg-Id": f"other/1/{n}"})
        await delivered(config, ctx, 40)
        assert sorted(await seqs(nc)) == sent
    assert "message 20 is another one now" in caplog.text


@pytest.mark.parametrize("anew", [False, True])
async def test_a_stream_that_was_deleted_is_filled_again(broker, ctx, sample, anew):
    config = NatsUplinkConfig(url=broker.url)
    sent = [ctx.put(sample(n))[0].seq for n in range(20)]
    await delivered(config, ctx, 20)
    async with client(broker.url) as nc:
        await api(nc, "STREAM.DELETE.onpath")
        if anew:
            await api(nc, "STREAM.CREATE.onpath", name="onpath", subjects=["onpath.>"])
        await delivered(config, ctx, 40)
        assert sorted(await seqs(nc)) == sent


async def test_a_stream_that_is_deleted_under_way_is_noticed_at_the_next_batch(broker, ctx, sample):
    config = NatsUplinkConfig(url=broker.url)
    sent = [ctx.put(sample(n))[0].seq for n in range(20)]
    task = asyncio.create_task(config.create().run(ctx))
    await ctx.until(lambda: len(ctx.acknowledged) == 20)
    async with client(broker.url) as nc:
        await api(nc, "STREAM.DELETE.onpath")
        sent += (ctx.put(sample(20))[0].seq,)
        with pytest.raises(LinkError, match=r"no stream takes onpath\.test\.p"):
            await asyncio.wait_for(task, 5)
        await delivered(config, ctx, 41)
        assert sorted(await seqs(nc)) == sent


async def test_nor_does_a_stream_that_was_made_anew_under_way_go_unnoticed(broker, ctx, sample):
    config = NatsUplinkConfig(url=broker.url, in_flight=4)
    sent = [ctx.put(sample(n))[0].seq for n in range(20)]
    task = asyncio.create_task(config.create().run(ctx))
    await ctx.until(lambda: len(ctx.acknowledged) == 20)
    async with client(broker.url) as nc:
        await api(nc, "STREAM.DELETE.onpath")
        await api(nc, "STREAM.CREATE.onpath", name="onpath", subjects=["onpath.>"])
        sent += (ctx.put(sample(20))[0].seq,)
        with pytest.raises(LinkError, match="goes back from 20 to 1"):
            await asyncio.wait_for(task, 5)
        await delivered(config, ctx, 41)
        assert sorted(await seqs(nc)) == sent


async def test_what_limits_remove_is_not_lost(broker, ctx, sample):
    """The stream keeps the newest five; nothing is sent again because of the others."""
    async with client(broker.url) as nc:
        await api(nc, "STREAM.CREATE.onpath", name="onpath", subjects=["onpath.>"], max_msgs=5, discard="old")
        for n in range(20):
            ctx.put(sample(n))
        await delivered(NatsUplinkConfig(url=broker.url), ctx, 20)
        await api(nc, "STREAM.PURGE.onpath")
        ctx.put(sample(20))
        await delivered(NatsUplinkConfig(url=broker.url), ctx, 21)
    assert "replays" not in ctx.stats.counts
    assert len(ctx.acknowledged) == 21


async def test_without_anything_kept_the_loss_is_told(broker, ctx, sample, caplog):
    config = NatsUplinkConfig(url=broker.url, keep=Duration(0))
    ctx.put(sample(1))
    await delivered(config, ctx, 1)
    async with client(broker.url) as nc:
        await api(nc, "STREAM.DELETE.onpath")
    async with running(config.create(), ctx):
        await ctx.until(lambda: ctx.stats.counts["replays"] == 1)
    assert "nothing is kept to be sent again (keep)" in caplog.text


@pytest.mark.alone
async def test_a_hub_that_is_killed_and_comes_back_acknowledges_within_two_seconds(broker, ctx, sample):
    """Down for three seconds, so that pauses between attempts have grown; batches keep coming."""
    config = NatsUplinkConfig(url=broker.url)

    async def run() -> None:
        ctx.feed.rewind()
        await config.create().run(ctx)

    link = LinkState("uplink", lambda _: None)
    running_ = asyncio.create_task(supervise("uplink", run, link, config.reconnect))
    waits = []
    sent: list[int] = []
    try:
        for _ in range(2):
            sent.extend(ctx.put(sample(len(sent)))[0].seq for _ in range(50))
            await ctx.until(lambda: len(set(ctx.acknowledged)) > len(sent) // 2)
            broker.kill()
            for _ in range(25):
                sent.append(ctx.put(sample(len(sent)))[0].seq)
                await asyncio.sleep(0.1)
            before = len(ctx.acknowledged)
            await broker.start()
            began = time.monotonic()
            await ctx.until(lambda before=before: len(ctx.acknowledged) > before)
            waits.append(time.monotonic() - began)
            await ctx.until(lambda: set(ctx.acknowledged) == set(sent))
    finally:
        running_.cancel()
        await asyncio.gather(running_, return_exceptions=True)
    async with client(broker.url) as nc:
        assert sorted(await seqs(nc)) == sent, "0 lost, 0 twice"
    print("first acknowledgement after", [round(wait, 2) for wait in waits], "s")
    assert max(waits) < 2


async def test_a_store_that_lost_its_end_while_the_gateway_was_away_too(tmp_path, ctx, sample):
    """What is remembered of the stream outlives the gateway's own restart (here: another run with its memory)."""
    async with nats_broker(tmp_path / "hub") as hub:
        config = NatsUplinkConfig(url=hub.url)
        sent = [ctx.put(sample(n))[0].seq for n in range(10)]
        await delivered(config, ctx, 10)
        await hub.stop()
        shutil.rmtree(hub.store)
        await hub.start()
        await delivered(config, ctx, 20)
        async with client(hub.url) as nc:
            assert sorted(await seqs(nc)) == sent


async def test_what_is_kept_stays_while_the_link_is_down(ctx, sample):
    """A hub that is away for longer than ``keep`` may come back without what it had acknowledged just before."""
    for n in range(3):
        ctx.put(sample(n))
    for _ in range(3):
        ctx.done(await ctx.next())
    tomorrow = time.time_ns() + 86_400 * 10**9
    with ctx.db:
        ctx.spool.away.add("out")
        assert ctx.spool.expire(tomorrow) == 0
        ctx.spool.away.discard("out")
        assert ctx.spool.expire(tomorrow) == 3
