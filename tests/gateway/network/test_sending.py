"""The uplink of a node over a carrier: what was sent to a parent that is gone stops nothing, and goes nowhere else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from adapters.frame.ledger import Record
from adapters.frame.receipts import receipts
from adapters.frame.records import Reader, UnknownDirectoryError
from gateway.directory import Directory
from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import CarrierConfig
from gateway.network.links import sending
from gateway.network.links.config import ParentConfig
from gateway.point import Point
from gateway.tasks import ended
from gateway.units import Duration
from gateway.uplinks.pace import Window
from tests.support.uplink import running, uplink_context

START_NS = 1_700_000_000_000_000_000


class Parent:
    """Takes what is for it, and says so unless it is silent."""

    def __init__(self, carrier, name):
        self.carrier, self.name = carrier, name
        self.seqs = []
        self.silent = False

    async def run(self):
        reader = Reader()
        async for messages in self.carrier.consume(f"up/{self.name}/**"):
            done = []
            for message in messages:
                while True:
                    try:
                        batch = reader.read(message.payload).batch
                        break
                    except UnknownDirectoryError as error:
                        reader.learn((await self.carrier.get("directories", error.name)).value)
                self.seqs.append(batch.seq)
                done.append((message.subject, Record("test", batch.epoch, batch.seq)))
            for subject, payload in receipts(done, "/"):
                if not self.silent:
                    await self.carrier.tell(subject, payload)


@contextlib.asynccontextmanager
async def alive(carrier, name):
    parent = Parent(carrier, name)
    task = asyncio.create_task(parent.run())
    try:
        yield parent
    finally:
        await ended(task)


@contextlib.asynccontextmanager
async def child(folder, receipt_timeout=30.0):
    """A carrier, the child's side of an uplink, and what makes one to a parent."""
    way = CarrierConfig(url=f"local:{folder / 'network'}")
    carrier = LocalCarrier(way.path)
    await carrier.open()
    directory = Directory()
    directory.add(Point(name="h1/m1/power"))
    (folder / "store").mkdir()

    def to(parent):
        return ParentConfig(
            carrier=way, node="test", to=parent, receipt_timeout=Duration(receipt_timeout)
        ).create()  # fmt: skip

    try:
        with uplink_context(folder / "store", directory) as ctx:
            ctx.feed.gate.window = Window()
            yield carrier, ctx, to
    finally:
        await carrier.close()


def put(ctx, rows):
    for _ in range(rows):
        ctx.put(Frame.of([0], START_NS + ctx.newest, [1.0]), "@total@1.0")


async def live(ctx, rows):
    """Rows that are made while the uplink runs."""
    await ctx.until(lambda: any(up for up, _ in ctx.links))
    await asyncio.sleep(0.1)
    put(ctx, rows)


async def stored(carrier, name):
    return len((await carrier._read(lambda tables: tables.read(f"up/{name}/**", 0))).messages)


async def until_stored(carrier, name, rows):
    async with asyncio.timeout(10):
        while await stored(carrier, name) < rows:  # noqa: ASYNC110  another thread writes them
            await asyncio.sleep(0.02)


async def test_a_parent_that_died_keeps_back_only_what_it_may_have(tmp_path):
    async with child(tmp_path) as (carrier, ctx, to):
        async with running(to("a"), ctx):
            await live(ctx, 240)
            await until_stored(carrier, "a", 240)
            put(ctx, 260)
            await asyncio.sleep(0.3)  # it has stopped: nobody confirms
        sent = await stored(carrier, "a")
        assert sent < 400
        put(ctx, 100)
        async with alive(carrier, "b") as b, running(to("b"), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 600 - sent)
            put(ctx, 50)
            await ctx.until(lambda: len(ctx.acknowledged) == 650 - sent)
            async with alive(carrier, "a") as a:  # back again
                await ctx.until(lambda: len(ctx.acknowledged) == 650)
        assert set(a.seqs).isdisjoint(b.seqs)
        assert set(a.seqs) | set(b.seqs) == set(range(1, 651))


async def test_after_a_kill_what_may_have_gone_out_goes_to_the_old_parent_and_stops_nothing(tmp_path):
    async with child(tmp_path) as (carrier, ctx, to):
        async with running(to("a"), ctx):
            await live(ctx, 60)
            await until_stored(carrier, "a", 60)
            kept = dict(ctx.memory)
        ctx.memory = kept  # what it says at its end was never said
        async with alive(carrier, "b") as b, running(to("b"), ctx):
            ctx.links.clear()
            await live(ctx, 40)
            await ctx.until(lambda: len(ctx.acknowledged) == 40)
            async with alive(carrier, "a") as a:
                await ctx.until(lambda: len(ctx.acknowledged) == 100)
        assert set(a.seqs) == set(range(1, 61))
        assert set(b.seqs) == set(range(61, 101))


async def test_a_place_is_known_as_long_as_a_row_waits_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "MOST_ROUTES", 4)
    async with child(tmp_path) as (carrier, ctx, to):
        put(ctx, 1)
        async with running(to("a"), ctx):
            await until_stored(carrier, "a", 1)
        for turn in range(8):
            async with alive(carrier, "bc"[turn % 2]), running(to("bc"[turn % 2]), ctx):
                put(ctx, 1)
                await ctx.until(lambda turn=turn: len(ctx.acknowledged) == turn + 1)
        async with alive(carrier, "b") as b, running(to("b"), ctx):
            await asyncio.sleep(0.3)
            assert 1 not in b.seqs, "it may be with a"
            async with alive(carrier, "a"):
                await ctx.until(lambda: 1 in ctx.acknowledged)


async def test_receipts_that_were_lost_with_the_link_do_not_stop_it(tmp_path, monkeypatch):
    async with child(tmp_path) as (carrier, ctx, to), alive(carrier, "a") as a:
        a.silent = True
        async with running(to("a"), ctx):
            await live(ctx, 200)
            await until_stored(carrier, "a", 200)
            put(ctx, 60)
            await until_stored(carrier, "a", 256)
            await asyncio.sleep(0.7)
            a.silent = False
            with monkeypatch.context() as patch:
                patch.setattr(LocalCarrier, "up", False)
                await asyncio.sleep(1.2)
            await ctx.until(lambda: len(ctx.acknowledged) == 260)


async def test_what_went_out_before_a_short_connection_goes_nowhere_else(tmp_path):
    async with child(tmp_path) as (carrier, ctx, to), alive(carrier, "a") as a, alive(carrier, "b") as b:
        a.silent = True
        async with running(to("a"), ctx):
            await live(ctx, 6)
            await ctx.until(lambda: len(a.seqs) == 6)
        sent = set(a.seqs)
        async with running(to("a"), ctx):  # ends while most of it waits to go out once more
            await ctx.until(lambda: len(a.seqs) > 6)
        assert len(a.seqs) < 12
        async with running(to("b"), ctx):
            await live(ctx, 2)
            await ctx.until(lambda: len(b.seqs) >= 2)
            await asyncio.sleep(0.5)
        assert not sent & set(b.seqs)


async def test_a_former_parent_whose_receipts_were_lost_is_asked_again_ever_less_often(tmp_path, monkeypatch):
    monkeypatch.setattr(sending, "FORMER_FIRST_S", 0.3)
    async with child(tmp_path) as (carrier, ctx, to), alive(carrier, "a") as a, alive(carrier, "b"):
        a.silent = True
        async with running(to("a"), ctx):
            await live(ctx, 6)
            await ctx.until(lambda: len(a.seqs) == 6)
        for turn in range(2):  # the supervisor's part
            ctx.feed.rewind()
            with pytest.raises(LinkError, match="former parents"):
                await asyncio.wait_for(to("b").run(ctx), 10)
            assert ctx.stats.counts[sending.ASKED] == turn + 1
        assert not ctx.acknowledged
        a.silent = False
        async with running(to("b"), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 6)
        assert ctx.stats.counts[sending.ASKED] == 0
