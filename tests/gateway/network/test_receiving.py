"""The adapter of a node's children over a carrier: nothing stays in the stream that is taken or cannot be read."""

from __future__ import annotations

import contextlib

from gateway.batch import record_id
from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import CarrierConfig
from gateway.network.links.config import ChildrenConfig
from gateway.units import Duration
from tests.adapters.frame.support import Gateway
from tests.support.context import RecordingContext, running


@contextlib.asynccontextmanager
async def children(folder, **options):
    """A carrier, and what makes a new adapter at it."""
    way = CarrierConfig(url=f"local:{folder / 'network'}")
    carrier = LocalCarrier(way.path)
    await carrier.open()
    config = ChildrenConfig(carrier=way, node="agg", topics=["up/agg/**"], **options)
    try:
        yield carrier, config
    finally:
        await carrier.close()


async def send(carrier, gateway, batch, again="", *, announced=True):
    messages = gateway.messages(batch)
    for topic, payload, _ in messages[:-1]:
        if announced:
            await carrier.put("directories", topic.rpartition("/")[2], payload)
    record = record_id(gateway.name, batch.epoch, batch.seq)
    await carrier.publish(f"up/agg/{gateway.name}/{gateway.pipeline}", messages[-1][1], f"{record}{again}")


async def left(carrier):
    """Messages that are still in the stream."""
    found = await carrier._read(lambda tables: tables.read("up/agg/**", 0))
    return len(found.messages)


async def emptied(ctx, carrier):
    for _ in range(400):
        if not await left(carrier):
            return
        with contextlib.suppress(TimeoutError):
            await ctx.until(lambda: False, 0.05)
    raise AssertionError(f"{await left(carrier)} messages stay; {dict(ctx.stats.reasons)}")


async def test_a_backlog_with_repetitions_that_a_new_parent_finds_is_taken_and_purged(tmp_path):
    """More than may wait for a directory; and the same payload twice, each of which has a number of its own."""
    async with children(tmp_path) as (carrier, config):
        gateway = Gateway(pipeline="@total@1.0")
        for number in range(1100):
            batch = gateway.batch(1)
            await send(carrier, gateway, batch)
            if number % 100 == 0:
                await send(carrier, gateway, batch, "/again")
        ctx = RecordingContext()
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.stats.samples == 1100, 10)
            await emptied(ctx, carrier)
        assert not ctx.rejected


async def test_what_nobody_can_read_is_counted_and_does_not_stay_in_the_stream(tmp_path):
    async with children(tmp_path, patience=Duration(0.5)) as (carrier, config):
        lost, gateway = Gateway("g2", points=5, pipeline="@total@1.0"), Gateway("g1", pipeline="@total@1.0")
        await send(carrier, lost, lost.batch(), announced=False)
        await send(carrier, gateway, gateway.batch(20))
        ctx, told = RecordingContext(), []
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.rejected and ctx.stats.samples == 20, 10)
            await emptied(ctx, carrier)
            told = [reason for reason, *_ in ctx.rejected]
        assert told == ["unknown-directory"]
