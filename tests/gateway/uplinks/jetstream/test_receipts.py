"""End to end: a batch is done when a receiver has said so, not when the stream has it."""

from __future__ import annotations

import asyncio
import json

import msgpack
import pytest

from gateway.batch import Batch
from gateway.frame import Frame
from gateway.units import Duration
from gateway.uplinks.config import NatsUplinkConfig
from gateway.uplinks.receipts import LONGEST_S, MOST, Receipts
from tests.support.streams import client, seqs, stored
from tests.support.uplink import running


def receipt(gateway: str, epoch: int, *done: int) -> bytes:
    return msgpack.packb({"onpath": 1, "receipt": True, "gateway": gateway, "epoch": epoch, "done": list(done)})


def batch(seq: int, epoch: int = 7) -> Batch:
    return Batch(seq, "p", 0, Frame.of([0], seq, [1.0]), epoch=epoch)


async def test_done_is_what_the_receiver_confirms(broker, ctx, sample):
    config = NatsUplinkConfig(url=broker.url, receipts="receiver")
    async with client(broker.url) as nc:
        seen = await nc.subscribe("onpath.*.*")
        async with running(config.create(), ctx):
            ctx.put(sample(1))
            ctx.put(sample(2), "q")
            got = [await seen.next_msg(timeout=5) for _ in range(2)]
            await asyncio.sleep(0.1)
            assert await seqs(nc) == [1, 2]
            assert not ctx.acknowledged, "the stream has them, and that is not enough"
            first, second = (json.loads(message.data) for message in got)
            await nc.publish(f"{got[0].subject}.receipt", receipt("other", first["epoch"], 1, 2))
            await nc.publish(f"{got[0].subject}.receipt", receipt("test", first["epoch"] + 1, 1, 2))
            await nc.publish(f"{got[0].subject}.receipt", b"\xc1 nonsense")
            await nc.publish(f"{got[1].subject}.receipt", receipt("test", second["epoch"], 2, 2, 99))
            await ctx.until(lambda: ctx.acknowledged == [2])
            await nc.publish(f"{got[0].subject}.receipt", receipt("test", first["epoch"], 1))
            await ctx.until(lambda: ctx.acknowledged == [2, 1])
        assert await seqs(nc) == [1, 2]
    assert ctx.stats.counts["bad-receipts"] == 1


async def test_what_nobody_confirms_is_sent_again(broker, ctx, sample):
    """Under an id of its own each time: the stream would keep a double to itself, and the receiver hear of nothing."""
    config = NatsUplinkConfig(url=broker.url, receipts="receiver", receipt_timeout=Duration(0.05))
    async with client(broker.url) as nc, running(config.create(), ctx):
        ctx.put(sample(1))
        await ctx.until(lambda: ctx.stats.counts["unconfirmed"] >= 2)
        messages = [headers for _, headers, _ in await stored(nc)]
        assert len(messages) >= 2
        assert {headers["seq"] for headers in messages} == {"1"}
        assert len({headers["Nats-Msg-Id"] for headers in messages}) == len(messages)
        assert not ctx.acknowledged


async def test_a_receiver_that_is_away_stops_the_uplink_at_a_bound(broker, ctx, sample):
    config = NatsUplinkConfig(url=broker.url, receipts="receiver", in_flight=1000)
    for n in range(MOST + 50):
        ctx.put(sample(n))
    async with client(broker.url) as nc, running(config.create(), ctx):
        await ctx.until(lambda: ctx.stats.messages == MOST)
        await asyncio.sleep(0.05)
        assert ctx.stats.messages == MOST
        ours = ctx.handed
        epoch = (await nc.jetstream().get_msg("onpath", seq=1)).headers["epoch"]
        await nc.publish("onpath.test.p.receipt", receipt("test", int(epoch), *ours[:60]))
        await ctx.until(lambda: len(ctx.acknowledged) == 60 and ctx.stats.messages == MOST + 50)


def test_the_wait_doubles_up_to_an_hour():
    done: list[Batch] = []
    receipts = Receipts("g", 60.0, done.append)
    now, waits = 0.0, []
    for _ in range(10):
        receipts.sent(batch(1), now)
        begun = now
        while not receipts.overdue(now):
            now += 10
        waits.append(now - begun)
    assert waits == [60, 120, 240, 480, 960, 1920, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S]
    assert receipts.take(receipt("g", 7, 1))
    assert [one.seq for one in done] == [1]
    assert not receipts.overdue(now * 2)
    assert receipts.take(receipt("g", 7, 1)), "doubles are confirmed again, and change nothing"
    assert len(done) == 1


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x93\x01\x02\x03",
        msgpack.packb({"onpath": 2, "receipt": True, "gateway": "g", "epoch": 7, "done": [1]}),
        msgpack.packb({"onpath": 1, "receipt": False, "gateway": "g", "epoch": 7, "done": [1]}),
        msgpack.packb({"onpath": 1, "receipt": True, "gateway": "g", "epoch": 7, "done": ["1"]}),
        msgpack.packb({"onpath": 1, "receipt": True, "gateway": "g", "epoch": 7}),
        receipt("g", 7, *range(1001)),
    ],
)
def test_what_is_no_receipt(message):
    done: list[Batch] = []
    receipts = Receipts("g", 60.0, done.append)
    receipts.sent(batch(1), 0.0)
    assert not receipts.take(message)
    assert not done
