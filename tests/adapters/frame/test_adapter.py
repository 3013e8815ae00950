"""The adapter against real brokers: doubles, order of directories, receipts, discovery, what cannot be used."""

import asyncio

import numpy as np
import pytest

from adapters.frame.adapter import FrameAdapter
from adapters.frame.config import FrameConfig
from gateway import quality as q
from gateway.batch import Loss
from gateway.errors import LinkError, StoreError
from gateway.point import Kind, Merge, Point
from gateway.units import Duration
from tests.adapters.frame.support import START_NS, Gateway, Receipts, send, sender, url
from tests.support.context import RecordingContext, running
from tests.support.malformed import inputs
from tests.support.nats import nats_broker

WAYS = ("mqtt", "nats")


def adapter_at(broker, way, **options) -> FrameAdapter:
    return FrameAdapter(FrameConfig(url=url(broker, way), topics=["onpath/+/+"], **options))


async def up(ctx) -> None:
    await ctx.until(lambda: ("", True) in [(device, up) for device, up, _ in ctx.links])


@pytest.mark.parametrize("way", WAYS)
async def test_samples_come_with_names_facts_quality_and_history(way):
    ctx, gateway = RecordingContext(), Gateway()
    state = gateway.directory.add(Point(name="m0/mode", kind=Kind.STATE, labels={"floor": "2"}))
    gateway.directory.add(Point(name="m9/total", unit="kW.h", kind=Kind.COUNTER, limits=(0, 9e9), merge=Merge.ADD))
    codes = [gateway.directory.state(state, text) for text in ("off", "auto")]
    async with nats_broker() as broker, sender(broker, way) as to, running(adapter_at(broker, way), ctx):
        await up(ctx)
        own = ctx.points.add(Point(name="g1/m0/mode", kind=Kind.STATE))
        ctx.points.state(own, "auto")  # so that the numbers of the texts differ from the child's
        batch = gateway.batch(40)
        await send(to, gateway, batch)
        late = gateway.batch(historical=True)
        late.frame.point[:] = state
        late.frame.value[:] = np.resize(codes, len(late.frame))
        late.frame.value[0] = q.no_value(q.Reason.TIMEOUT)
        late.frame.quality[:] = q.QUESTIONABLE
        late.frame.quality[0] = q.INVALID
        await send(to, gateway, late)
        await ctx.until(lambda: ctx.stats.samples == 60)
    first = ctx.frame.take(slice(0, 40))
    assert np.array_equal(first.value, batch.frame.value)
    assert np.array_equal(first.time, batch.frame.time)
    names = [ctx.points.name(point) for point in first.point.tolist()]
    assert names == [f"g1/{gateway.directory.name(point)}" for point in batch.frame.point.tolist()]
    known = ctx.points.point(ctx.points.find("g1/m0/power"))
    assert (known.unit, known.resolution, known.labels) == ("W", 0.5, {"gateway": "g1"})
    second = ctx.frame.take(slice(40, 60))
    assert ctx.points.point(own).labels == {"floor": "2", "gateway": "g1"}
    texts = ctx.points.states(own)
    assert [texts[int(v)] for v in second.value[1:5].tolist()] == ["auto", "off", "auto", "off"]
    assert q.reason_codes(second.value[:1])[0] == q.Reason.TIMEOUT
    assert second.quality.tolist()[:2] == [q.INVALID | q.HISTORICAL, q.QUESTIONABLE | q.HISTORICAL]
    assert ctx.stats.devices["g1"]["batches"] == 2
    assert ("g1", True, "") in ctx.links


@pytest.mark.parametrize("way", WAYS)
async def test_doubles_are_confirmed_and_not_taken(way):
    ctx, gateway, heard = RecordingContext(), Gateway(), Receipts()
    async with nats_broker() as broker, sender(broker, way) as to, heard.heard(broker, way):
        async with running(adapter_at(broker, way, receipts=True), ctx):
            await up(ctx)
            batches = [gateway.batch(5) for _ in range(3)]
            for batch in batches:
                await send(to, gateway, batch)
            await ctx.until(lambda: heard.done == set(gateway.records))
            heard.done.clear()
            await send(to, gateway, batches[1], again=True)
            await ctx.until(lambda: heard.done == {("g1", 77, batches[1].seq)})
        # A new life: what was remembered and what the tokens say is known
        again = RecordingContext()
        again.memory, again.folder = ctx.memory, ctx.folder
        async with running(adapter_at(broker, way, receipts=True), again):
            await up(again)
            await send(to, gateway, batches[0], again=True)
            await send(to, gateway, gateway.batch(7))
            await again.until(lambda: again.stats.samples == 7)
    assert ctx.stats.samples == 15
    assert ctx.stats.repeated == 1
    assert again.stats.repeated == 1


async def test_tokens_know_what_the_memory_does_not():
    ctx, gateway = RecordingContext(), Gateway()
    async with nats_broker() as broker, sender(broker, "mqtt") as to:
        async with running(adapter_at(broker, "mqtt"), ctx):
            await up(ctx)
            batch = gateway.batch(5)
            await send(to, gateway, batch)
            await ctx.until(lambda: ctx.stats.samples == 5)
        killed = RecordingContext()  # what was remembered in the last second is lost, what was committed is not
        killed.recent = ctx.recent
        async with running(adapter_at(broker, "mqtt"), killed):
            await up(killed)
            await send(to, gateway, batch, again=True)
            await killed.until(lambda: killed.stats.repeated == 1)
        assert killed.stats.samples == 0


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_acknowledged_or_confirmed_before_it_is_durable(way):
    ctx, gateway, heard = RecordingContext(hold=True), Gateway(), Receipts()
    async with nats_broker(ack_wait="2s") as broker, sender(broker, way) as to, heard.heard(broker, way):
        with pytest.raises(LinkError, match="full"):  # noqa: PT012 - the adapter ends with the block that runs it
            async with running(adapter_at(broker, way, receipts=True, ack_wait=Duration(2)), ctx) as task:
                await up(ctx)
                await send(to, gateway, gateway.batch(5))
                await ctx.until(lambda: len(ctx.receipts) == 1 and ctx.receipts[0].asked.is_set())
                ctx.recent = type(ctx.recent)({})  # the store refuses it, with its tokens
                ctx.receipts[0].position.set_exception(StoreError("full"))
                await asyncio.wait((task,), timeout=10)
        assert not heard.done
        ctx.hold = False
        again = RecordingContext()
        again.memory, again.folder = ctx.memory, ctx.folder
        async with running(adapter_at(broker, way, receipts=True, ack_wait=Duration(2)), again):
            await again.until(lambda: again.stats.samples == 5)
            await again.until(lambda: heard.done == set(gateway.records))
    assert again.stats.repeated == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_batch_waits_for_its_directory(way):
    ctx, gateway = RecordingContext(), Gateway()
    async with nats_broker() as broker, sender(broker, way) as to, running(adapter_at(broker, way), ctx):
        await up(ctx)
        batch = gateway.batch(5)
        *directories, message = gateway.messages(batch)
        await to.send(*message)
        await ctx.until(lambda: ctx.stats.messages == 1)
        await asyncio.sleep(0.05)
        assert not ctx.frames
        for one in directories:
            await to.send(*one)
        await ctx.until(lambda: ctx.stats.samples == 5)
        # A second adapter, which begins behind it, finds the directory where it is kept
        ctx2 = RecordingContext("b")
        async with running(adapter_at(broker, way), ctx2):
            await up(ctx2)
            await send(to, gateway, gateway.batch(6))
            await ctx2.until(lambda: ctx2.stats.samples >= 6)
    assert not ctx.rejected


async def test_a_batch_whose_directory_never_comes_is_given_back():
    ctx, gateway = RecordingContext(), Gateway()
    async with (
        nats_broker(ack_wait="1s") as broker,
        sender(broker, "mqtt") as to,
        running(adapter_at(broker, "mqtt", patience=Duration(0.3)), ctx),
    ):
        await up(ctx)
        *directories, message = gateway.messages(gateway.batch(5))
        await to.send(*message)
        await ctx.until(lambda: ctx.stats.reasons["unknown-directory"] >= 1)
        for one in directories:
            await to.send(*one)
        await ctx.until(lambda: ctx.stats.samples == 5)


async def test_losses_of_a_child_go_on_as_samples_that_add_up():
    ctx, gateway = RecordingContext(), Gateway()
    async with nats_broker() as broker, sender(broker, "mqtt") as to, running(adapter_at(broker, "mqtt"), ctx):
        await up(ctx)
        for count in (100, 23):
            await send(to, gateway, gateway.batch(loss=Loss(START_NS, START_NS + 9, count, "spool-full", 1, 1)))
        await ctx.until(lambda: ctx.stats.samples == 2)
    assert [value for _, value, _ in ctx.samples("g1/onpath/lost/spool-full")] == [100.0, 23.0]
    point = ctx.points.point(ctx.points.find("g1/onpath/lost/spool-full"))
    assert point.merge is Merge.ADD
    assert ctx.stats.devices["g1"]["lost"] == {"spool-full": 123}


async def test_only_children_that_are_wanted_are_taken_and_others_are_found():
    ctx, wanted, other = RecordingContext(), Gateway("g1"), Gateway("h2", form="json")
    async with nats_broker() as broker, sender(broker, "mqtt") as to:
        adapter = adapter_at(broker, "mqtt", children=["g*"])
        async with running(adapter, ctx):
            await up(ctx)
            await send(to, other, other.batch(3))
            await send(to, wanted, wanted.batch(4))
            await ctx.until(lambda: ctx.stats.samples == 4 and len(ctx.findings) == 2)
            found = {finding.device: finding for finding in ctx.findings}
            assert (found["g1"].taken, found["h2"].taken) == (True, False)
            assert found["h2"].kind == "gateway"
            assert found["h2"].config == {"adapters": {"a": {"children": ["h2"]}}}
            assert ctx.stats.reasons == {"unknown-gateway": 1}
            config = FrameConfig(url=broker.mqtt_url, topics=["onpath/+/+"], children=["g*", "h2"])
            assert await adapter.reconfigure(config)
            await send(to, other, other.batch(3))
            await ctx.until(lambda: ctx.stats.samples == 7)
    assert {name for name in map(ctx.points.name, ctx.frame.point.tolist()) if name.startswith("h2/")}


async def test_messages_that_cannot_be_used_are_counted_and_stop_nothing():
    ctx, gateway, json = RecordingContext(), Gateway(), Gateway("g2", form="json")
    seeds = [payload for one in (gateway, json) for _, payload, _ in one.messages(one.batch(6))]
    lost = Loss(START_NS, START_NS, 5, "spool-age", 1, 2)
    seeds += [payload for one in (gateway, json) for _, payload, _ in one.messages(one.batch(loss=lost))]
    broken = list(inputs(seeds, 10_000))[len(seeds) :]
    async with nats_broker() as broker, sender(broker, "nats") as to, running(adapter_at(broker, "nats"), ctx):
        await up(ctx)
        for start in range(0, len(broken), 500):
            part = broken[start : start + 500]
            await asyncio.gather(*(to.js.publish("onpath.x.live", one) for one in part))
        await ctx.until(lambda: ctx.stats.messages >= len(broken), 60)
        before = ctx.stats.samples
        await send(to, gateway, gateway.batch(11), again=True)
        await ctx.until(lambda: ctx.stats.samples >= before + 11)
    assert sum(ctx.stats.reasons.values()) > 5_000, ctx.stats.reasons
    assert all(reason for reason, *_ in ctx.rejected)
