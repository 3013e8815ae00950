"""The feed over a real spool: each row once and in order, unless rewound; nothing skipped, nothing done again."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from gateway.frame import Frame
from gateway.store.config import SpoolConfig
from gateway.store.spool import Spool
from gateway.uplinks import feed as feeds
from gateway.uplinks.feed import MAX_FRESH, READ, Feed
from tests.support.build import directory_of
from tests.support.uplink import uplink_context


def sample(n: int = 0) -> Frame:
    return Frame.of([0], n, [float(n)])


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path, directory_of("a")) as context:
        yield context


async def take(ctx, n: int) -> list[int]:
    async with asyncio.timeout(5):
        return [(await ctx.next()).seq for _ in range(n)]


def commit(ctx, n: int) -> list[int]:
    with ctx.db:
        batches = [batch for i in range(n) for batch in ctx.spool.append("out", "p", sample(i), 0)]
    ctx.feed.offer(batches)
    return [batch.seq for batch in batches]


async def test_more_rows_than_memory_holds(ctx):
    seqs = commit(ctx, 10)
    assert await take(ctx, 3) == seqs[:3]
    seqs += commit(ctx, 2 * MAX_FRESH)
    seqs += commit(ctx, MAX_FRESH)
    assert len(ctx.feed._fresh) <= MAX_FRESH
    assert await take(ctx, len(seqs) - 3) == seqs[3:]
    assert ctx.feed.ready() is None
    more = commit(ctx, 2)
    assert await take(ctx, 2) == more


async def test_what_an_earlier_process_left_comes_first(tmp_path):
    with uplink_context(tmp_path, directory_of("a")) as before:
        left = commit(before, READ + 3)
    with uplink_context(tmp_path, directory_of("a")) as ctx:
        fresh = commit(ctx, 2)
        assert await take(ctx, READ + 5) == left + fresh


async def test_next_waits_and_is_woken_by_an_offer(ctx):
    waiting = asyncio.create_task(ctx.next())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    (seq,) = commit(ctx, 1)
    assert (await asyncio.wait_for(waiting, 5)).seq == seq


async def test_rewind_begins_with_the_first_that_was_not_done(ctx):
    seqs = commit(ctx, 5)
    await take(ctx, 4)
    ctx.feed.done(seqs[0])
    ctx.feed.done(seqs[2])
    ctx.feed.rewind()
    assert await take(ctx, 3) == [seqs[1], seqs[3], seqs[4]]


async def test_done_rows_that_are_still_in_the_spool_do_not_come_again(tmp_path):
    """The row leaves the spool with a later commit; until then only the feed knows."""
    with uplink_context(tmp_path, directory_of("a")) as ctx:
        ctx.feed = Feed(ctx._read, lambda _seq: None, 0)
        seqs = commit(ctx, 4)
        await take(ctx, 3)
        ctx.feed.done(seqs[1])
        ctx.feed.done(seqs[2])
        ctx.feed.rewind()
        assert await take(ctx, 1) == seqs[:1]
        ctx.feed.done(seqs[0])
        assert await take(ctx, 1) == seqs[3:]
        ctx.feed.done(seqs[3])
        assert not ctx.feed._gone


async def test_a_window_that_is_never_empty_does_not_pile_up_memory(ctx):
    seqs = commit(ctx, 200)
    await take(ctx, 200)
    for first, second in zip(seqs[1::2], seqs[0::2], strict=True):
        ctx.feed.done(first)
        ctx.feed.done(second)
        assert len(ctx.feed._gone) <= 1


async def test_a_rewind_reads_again_what_waited_in_memory(ctx):
    """So that the spool can say that it has waited for long."""
    with ctx.db:
        batches = ctx.spool.append("out", "p", sample(), 0)
    ctx.feed.offer(batches)
    assert not batches[0].historical
    ctx.feed.rewind()
    assert (await ctx.next()).historical


@pytest.mark.parametrize("order", ["forget first", "offer first"])
async def test_what_was_given_up_is_not_handed_out(ctx, order):
    first = commit(ctx, 3)
    with ctx.db:
        batches = [*ctx.spool.append("out", "p", sample(), 0), *ctx.spool.append("out", "p", sample(), 0)]
        ctx.spool._give_up("out", [*first, batches[0].seq], "spool-full")
    told = [lambda: ctx.feed.forget(batches[0].seq), lambda: ctx.feed.offer(batches)]
    for tell in told if order == "forget first" else reversed(told):
        tell()
    assert await take(ctx, 1) == [batches[1].seq]


async def test_drained_waits_for_the_last_acknowledgement(ctx):
    await asyncio.wait_for(ctx.feed.drained(), 5)
    seqs = commit(ctx, 2)
    drained = asyncio.create_task(ctx.feed.drained())
    await take(ctx, 2)
    ctx.feed.done(seqs[1])
    await asyncio.sleep(0.01)
    assert not drained.done()
    ctx.feed.done(seqs[0])
    await asyncio.wait_for(drained, 5)


async def test_drained_ends_when_the_rest_was_given_up(ctx):
    seqs = commit(ctx, 2)
    drained = asyncio.create_task(ctx.feed.drained())
    await asyncio.sleep(0)
    ctx.feed.forget(seqs[-1])
    await asyncio.wait_for(drained, 5)


async def test_drained_ends_when_the_spool_turns_out_to_be_empty(tmp_path):
    with uplink_context(tmp_path, directory_of("a")) as ctx:
        ctx.feed = Feed(ctx._read, ctx._delivered, 41)  # rows of other uplinks
        drained = asyncio.create_task(ctx.feed.drained())
        waiting = asyncio.create_task(ctx.next())
        await asyncio.wait_for(drained, 5)
        waiting.cancel()


async def test_restart_with_a_store_that_begins_anew(tmp_path, ctx):
    commit(ctx, 5)
    await take(ctx, 5)
    with uplink_context(tmp_path / "new", directory_of("a")) as fresh:
        ctx.db, ctx.spool = fresh.db, fresh.spool
        ctx.feed.restart(0)
        assert await take(ctx, len(commit(ctx, 3))) == [1, 2, 3]


async def test_restart_finds_what_recovery_spooled(ctx):
    seqs = commit(ctx, 2)
    await take(ctx, 1)
    with ctx.db:
        recovered = ctx.spool.append("out", "p", sample(), 0)[0].seq
    ctx.feed.restart(ctx.spool.newest)
    assert await take(ctx, 3) == [*seqs, recovered]


class Schedule:
    """Commits, their words, reads, acknowledgements, rewinds and given-up rows in any order."""

    def __init__(self, db, seed):
        self.chance = random.Random(seed)
        self.db = db
        self.spool = Spool(db, SpoolConfig())
        self.delivered: list[int] = []
        self.words: list = []
        """What the loop has not heard of the commits yet, in order."""
        self.committed: list[int] = []
        self.given_up: set[int] = set()
        self.forgotten = 0
        self.open: list[int] = []
        self.done: set[int] = set()
        self.last = 0
        self.task = None
        self.gate = asyncio.Event()
        self.feed = Feed(self.read, self.delivered.append, 0)

    async def play(self, steps):
        ways = [self.commit, self.give_up, self.hear, self.next, self.ready, self.read_ends]
        ways += [self.acknowledge, self.delivered_leave, self.link_lost]
        weights = [4, 0.3, 6, 4, 4, 4, 12, 1.5, 1]
        for way in self.chance.choices(ways, weights, k=steps):
            await way()
        await self.finish()

    async def read(self, after, limit):
        rows = self.spool.read("out", after, limit, 0)
        await self.gate.wait()
        return rows

    async def turn(self):
        for _ in range(6):
            await asyncio.sleep(0)
        if self.task and self.task.done():
            self.handed(self.task.result())
            self.task = None

    def handed(self, batch):
        seq = batch.seq
        assert seq > self.last, "out of order or twice"
        assert seq not in self.done, "done before"
        assert seq > self.forgotten, "given up before"
        skipped = {s for s in self.committed if s < seq} - self.done - self.given_up - set(self.open)
        assert not skipped
        self.last = seq
        self.open.append(seq)

    async def commit(self):
        n, others = self.chance.randint(1, 6), self.chance.random() < 0.5
        with self.db:
            if others:
                self.spool.append("other", "p", sample(), 0)
            batches = [batch for _ in range(n) for batch in self.spool.append("out", "p", sample(), 0)]
        self.committed += [batch.seq for batch in batches]
        self.words.append(lambda: self.feed.offer(batches))

    async def give_up(self):
        n = self.chance.randint(1, 10)
        seqs = [batch.seq for batch in self.spool.read("out", 0, n, 0)]
        if not seqs:
            return
        with self.db:
            self.spool._give_up("out", seqs, "spool-full")
        self.given_up |= set(seqs)

        def forget():
            self.feed.forget(seqs[-1])
            self.forgotten = max(self.forgotten, seqs[-1])

        self.words.append(forget)

    async def hear(self, n=1):
        for word in self.words[:n]:
            word()
        del self.words[:n]
        await self.turn()

    async def next(self):
        if self.task is None:
            self.task = asyncio.create_task(self.feed.next())
        await self.turn()

    async def ready(self):
        n = self.chance.randint(0, 6) if self.task is None else 0
        while n and (batch := self.feed.ready()) is not None:
            self.handed(batch)
            n -= 1

    async def read_ends(self):
        (self.gate.clear if self.gate.is_set() else self.gate.set)()
        await self.turn()

    async def acknowledge(self):
        if not self.open:
            return
        seq = self.chance.choice(self.open[:4])
        self.open.remove(seq)
        self.done.add(seq)
        self.feed.done(seq)
        assert self.delivered[-1] == seq

    async def delivered_leave(self):
        with self.db:
            self.spool.remove([("out", seq) for seq in self.delivered])
        self.delivered.clear()

    async def link_lost(self):
        """The supervisor ends the run, then the feed begins again."""
        await self.cancel()
        self.feed.rewind()
        self.last = self.open[0] - 1 if self.open else self.last
        self.open.clear()

    async def cancel(self):
        if self.task:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
            self.task = None

    async def finish(self):
        """When all is heard and read, every row was handed out, is done or was given up."""
        await self.hear(len(self.words) or 1)
        self.gate.set()
        for _ in range(len(self.committed) + 1):
            await self.next()
        assert set(self.committed) == set(self.open) | self.done | self.given_up
        await self.cancel()


@pytest.mark.parametrize("seed", range(50))
async def test_any_schedule(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(feeds, "MAX_FRESH", 7)
    monkeypatch.setattr(feeds, "READ", 3)
    with uplink_context(tmp_path, directory_of("a")) as ctx:
        schedule = Schedule(ctx.db, seed)
        await schedule.play(400)
        assert len(schedule.done) > 10
