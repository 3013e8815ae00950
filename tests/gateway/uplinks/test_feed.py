"""The feed over a real spool: live rows first, each row once unless rewound, each lane in order, nothing skipped."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from gateway.frame import Frame
from gateway.store.config import Queue, SpoolConfig
from gateway.store.spool import Spool
from gateway.uplinks import feed as feeds
from gateway.uplinks.feed import MAX_FRESH, READ, Feed
from gateway.uplinks.gate import Gate
from gateway.uplinks.options import BacklogConfig, UplinkConfig
from tests.support.build import directory_of
from tests.support.uplink import uplink_context

WIDE = BacklogConfig(in_flight=1000)


def sample(n: int = 0) -> Frame:
    return Frame.of([0], n, [float(n)])


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path, directory_of("a")) as context:
        yield context


async def take(ctx, n: int) -> list[int]:
    async with asyncio.timeout(5):
        return [(await ctx.next()).seq for _ in range(n)]


def commit(ctx, n: int, now_ns: int = 0) -> list[int]:
    with ctx.db:
        batches = [batch for i in range(n) for batch in ctx.spool.append("out", "p", sample(i), now_ns)]
    ctx.feed.offer(batches)
    return [batch.seq for batch in batches]


async def listening(ctx) -> None:
    """Somebody takes rows, and there are none."""
    assert ctx.feed.ready() is None
    await asyncio.sleep(0)


async def test_what_was_there_before_comes_in_order(ctx):
    seqs = commit(ctx, 3 * READ)
    assert await take(ctx, 3 * READ) == seqs
    assert ctx.feed.ready() is None


async def test_what_is_live_goes_before_the_backlog(ctx):
    waited = commit(ctx, 10)
    assert await take(ctx, 3) == waited[:3]
    live = commit(ctx, 2)
    assert await take(ctx, 9) == [*live, *waited[3:]]


async def test_what_an_earlier_process_left_comes_behind_what_is_live(tmp_path):
    with uplink_context(tmp_path, directory_of("a")) as before:
        left = commit(before, READ + 3)
    with uplink_context(tmp_path, directory_of("a")) as ctx:
        await listening(ctx)
        fresh = commit(ctx, 2)
        assert await take(ctx, READ + 5) == fresh + left


async def test_more_live_rows_than_memory_holds_become_the_backlog(ctx):
    await listening(ctx)
    seqs = commit(ctx, MAX_FRESH)
    assert await take(ctx, 3) == seqs[:3]
    seqs += commit(ctx, MAX_FRESH)
    assert len(ctx.feed._lanes[0].live) <= MAX_FRESH
    assert ctx.feed.behind
    got = await take(ctx, len(seqs) - 3)
    assert sorted(got) == seqs[3:]
    waited = [seq for seq in got if seq <= ctx.feed._lanes[0].known]
    assert waited == sorted(waited)
    more = commit(ctx, 2)
    assert await take(ctx, 2) == more


async def test_live_rows_are_not_read_from_the_spool(ctx):
    await listening(ctx)
    seqs = commit(ctx, 5)
    with ctx.db:
        ctx.spool.remove([("out", seq) for seq in seqs])
    assert await take(ctx, 5) == seqs


async def test_what_is_overtaken_is_historical_and_what_is_in_order_is_not(ctx):
    now = ctx.feed._now_ns()
    first = commit(ctx, 3, now)
    assert [(await ctx.next()).historical for _ in range(2)] == [False, False]
    live = commit(ctx, 1, now)
    batch = await ctx.next()
    assert (batch.seq, batch.historical) == (live[0], False)
    batch = await ctx.next()
    assert (batch.seq, batch.historical) == (first[2], True)


async def test_after_a_short_cut_what_comes_again_is_as_live_as_before(ctx):
    now = ctx.feed._now_ns()
    seqs = commit(ctx, 4, now)
    await take(ctx, 4)
    ctx.feed.done(seqs[0])
    ctx.feed.done(seqs[2])
    ctx.feed.rewind()
    again = [await ctx.next(), await ctx.next()]
    assert [(batch.seq, batch.historical) for batch in again] == [(seqs[1], True), (seqs[3], False)]


async def test_next_waits_and_is_woken_by_an_offer(ctx):
    waiting = asyncio.create_task(ctx.next())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    (seq,) = commit(ctx, 1)
    async with asyncio.timeout(5):
        assert (await waiting).seq == seq


async def test_rewind_begins_with_the_first_that_was_not_done(ctx):
    seqs = commit(ctx, 5)
    await take(ctx, 4)
    ctx.feed.done(seqs[0])
    ctx.feed.done(seqs[2])
    ctx.feed.rewind()
    assert await take(ctx, 3) == [seqs[1], seqs[3], seqs[4]]


async def test_done_rows_that_are_still_in_the_spool_do_not_come_again(ctx):
    """The row leaves the spool with a later commit; until then only the feed knows."""
    ctx.feed = Feed(ctx._read, lambda _seq: None, 0, gate=Gate(UplinkConfig(backlog=WIDE)))
    seqs = commit(ctx, 4)
    await take(ctx, 3)
    ctx.feed.done(seqs[1])
    ctx.feed.done(seqs[2])
    ctx.feed.rewind()
    assert await take(ctx, 2) == [seqs[0], seqs[3]]
    with ctx.db:
        ctx.spool.remove([("out", seq) for seq in seqs[1:3]])
    ctx.feed.removed(seqs[1:3])
    assert not ctx.feed._gone


async def test_the_backlog_keeps_to_its_window_and_what_is_live_does_not(ctx):
    ctx.feed = Feed(ctx._read, ctx._delivered, 0, gate=Gate(UplinkConfig(backlog=BacklogConfig(in_flight=2))))
    seqs = commit(ctx, 5)
    assert await take(ctx, 2) == seqs[:2]
    waiting = asyncio.create_task(ctx.next())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    live = commit(ctx, 3)
    async with asyncio.timeout(5):
        assert (await waiting).seq == live[0]
    assert await take(ctx, 2) == live[1:]
    ctx.feed.done(seqs[0])
    assert await take(ctx, 1) == [seqs[2]]


async def test_more_important_pipelines_go_first_in_both_lanes(tmp_path):
    with uplink_context(tmp_path, directory_of("a")) as ctx:

        async def read(after, limit, rank):
            return ctx.spool.read("out", after, limit, 0, ["alarms"] if rank == 0 else ["meters"])

        ctx.feed = Feed(
            read, ctx._delivered, 0, gate=Gate(UplinkConfig(backlog=WIDE)),
            rank_of=lambda name: 0 if name == "alarms" else 1, ranks=2,
        )  # fmt: skip

        def put(*names):
            with ctx.db:
                batches = [batch for name in names for batch in ctx.spool.append("out", name, sample(), 0)]
            ctx.feed.offer(batches)
            return [batch.seq for batch in batches]

        old = put("meters", "alarms", "meters", "alarms")
        await take(ctx, 1)  # the first read
        fresh = put("meters", "alarms")
        assert await take(ctx, 5) == [fresh[1], fresh[0], old[3], old[0], old[2]]


async def test_repeat_hands_out_what_is_kept(ctx):
    ctx.spool.queues["out"] = Queue(keep_ns=3600 * 10**9)
    seqs = commit(ctx, 6)
    await take(ctx, 5)
    for seq in seqs[:4]:
        ctx.feed.done(seq)
    assert ctx.spool.gauge("out").rows == 2
    ctx.repeat(seqs[1])
    assert await take(ctx, 3) == [seqs[2], seqs[3], seqs[5]], "the one in flight is not handed out twice"
    ctx.feed.rewind()
    assert await take(ctx, 4) == seqs[2:]


@pytest.mark.parametrize("live", [False, True])
async def test_what_was_given_up_is_not_handed_out(ctx, live):
    if live:
        await listening(ctx)
    first = commit(ctx, 5)
    if not live:
        await take(ctx, 1)
    with ctx.db:
        ctx.spool.give_up("out", first[1:4], "spool-full")
    ctx.feed.forget(first[1:4])
    rest = [first[4]] if not live else [first[0], first[4]]
    assert await take(ctx, len(rest)) == rest
    assert ctx.feed.ready() is None


async def test_drained_waits_for_the_last_acknowledgement(ctx):
    async with asyncio.timeout(5):
        await ctx.feed.drained()
    seqs = commit(ctx, 2)
    drained = asyncio.create_task(ctx.feed.drained())
    await take(ctx, 2)
    ctx.feed.done(seqs[1])
    await asyncio.sleep(0.01)
    assert not drained.done()
    ctx.feed.done(seqs[0])
    async with asyncio.timeout(5):
        await drained


async def test_drained_ends_when_the_rest_was_given_up(ctx):
    await listening(ctx)
    seqs = commit(ctx, 2)
    drained = asyncio.create_task(ctx.feed.drained())
    await asyncio.sleep(0)
    ctx.feed.forget(seqs)
    async with asyncio.timeout(5):
        await drained


async def test_drained_ends_when_the_spool_turns_out_to_be_empty(ctx):
    ctx.feed = Feed(ctx._read, ctx._delivered, 41)  # rows of other uplinks
    drained = asyncio.create_task(ctx.feed.drained())
    waiting = asyncio.create_task(ctx.next())
    async with asyncio.timeout(5):
        await drained
    waiting.cancel()


async def test_an_error_of_a_read_comes_to_who_waits_and_the_next_read_works(ctx):
    seqs = commit(ctx, 2)
    answers = [OSError("no disk"), None]

    async def read(after, limit, rank):
        if (error := answers.pop(0)) is not None:
            raise error
        return await ctx._read(after, limit, rank)

    ctx.feed = Feed(read, ctx._delivered, seqs[-1], gate=Gate(UplinkConfig(backlog=WIDE)))
    with pytest.raises(OSError, match="no disk"):
        await take(ctx, 1)
    assert await take(ctx, 2) == seqs


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
    """Commits, their words, reads, acknowledgements, rewinds, repetitions and given-up rows in any order."""

    def __init__(self, db, seed):
        self.chance = random.Random(seed)
        self.db = db
        self.spool = Spool(db, SpoolConfig(), queues={"out": Queue(keep_ns=10**18)})
        self.spool.load()
        self.delivered: list[int] = []
        self.words: list = []
        """What the loop has not heard of the commits yet, in order."""
        self.committed: dict[int, int] = {}
        """Rank by seq."""
        self.given_up: set[int] = set()
        self.heard_gone: set[int] = set()
        self.open: set[int] = set()
        self.done: set[int] = set()
        self.last: dict = {}
        """Seq handed out last, by rank and lane."""
        self.in_time: dict[int, int] = {}
        self.task = None
        self.gate = asyncio.Event()
        self.feed = Feed(
            self.read, self.delivered.append, 0, gate=Gate(UplinkConfig(backlog=WIDE)),
            rank_of="pq".index, ranks=2, now_ns=lambda: 0,
        )  # fmt: skip

    async def play(self, steps):
        ways = {
            self.commit: 4, self.give_up: 0.3, self.hear: 6, self.next: 4, self.ready: 4, self.read_ends: 4,
            self.acknowledge: 12, self.delivered_leave: 1.5, self.link_lost: 1, self.repeat: 0.2,
        }  # fmt: skip
        for way in self.chance.choices(list(ways), list(ways.values()), k=steps):
            await way()
        await self.finish()

    async def read(self, after, limit, rank):
        rows = self.spool.read("out", after, limit, 0, "pq"[rank])
        await self.gate.wait()
        return rows

    async def turn(self):
        for _ in range(6):
            await asyncio.sleep(0)
        if self.task and self.task.done():
            self.handed(self.task.result())
            self.task = None

    def handed(self, batch):
        seq, rank = batch.seq, self.committed[batch.seq]
        assert seq not in self.open, "twice"
        assert seq not in self.done, "done before"
        assert seq not in self.heard_gone, "given up before"
        backlog = self.feed._open[seq].backlog
        assert seq > self.last.get((rank, backlog), 0), "out of order in its lane"
        self.last[rank, backlog] = seq
        if not batch.historical:
            assert seq > self.in_time.get(rank, 0), "late and not flagged"
            self.in_time[rank] = seq
        self.open.add(seq)

    async def commit(self):
        n, others = self.chance.randint(1, 6), self.chance.random() < 0.5
        with self.db:
            if others:
                self.spool.append("other", "p", sample(), 0)
            batches = [b for _ in range(n) for b in self.spool.append("out", self.chance.choice("pq"), sample(), 0)]
        self.committed |= {batch.seq: "pq".index(batch.pipeline) for batch in batches}
        self.words.append(lambda: self.feed.offer(batches))

    async def give_up(self):
        rows = [batch.seq for batch in self.spool.read("out", 0, 30, 0)]
        seqs = self.chance.sample(rows, min(len(rows), self.chance.randint(1, 10)))
        with self.db:
            self.spool.give_up("out", seqs, "spool-full")
        self.given_up |= set(seqs)

        def forget():
            self.feed.forget(seqs)
            self.heard_gone.update(seqs)

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
        seq = self.chance.choice(sorted(self.open)[:4])
        self.open.remove(seq)
        self.done.add(seq)
        self.feed.done(seq)
        assert self.delivered[-1] == seq

    async def delivered_leave(self):
        seqs, self.delivered[:] = list(self.delivered), []
        with self.db:
            self.spool.deliver([("out", seq) for seq in seqs], 0)
        self.words.append(lambda: self.feed.removed(seqs))

    async def link_lost(self):
        """The supervisor ends the run, then the feed begins again."""
        await self.cancel()
        self.feed.rewind()
        self.begin_again()
        self.open.clear()

    def begin_again(self):
        self.last.clear()
        settled = [seq for seq in self.done if self.committed[seq] == 0], [s for s in self.done if self.committed[s]]
        self.in_time = {rank: min(self.in_time.get(rank, 0), max(seqs, default=0)) for rank, seqs in enumerate(settled)}

    async def repeat(self):
        """With a commit of its own, whose words are heard at once with all before them."""
        await self.delivered_leave()
        after = self.chance.choice([0, *self.committed])
        with self.db:
            self.spool.repeat("out", after)
        await self.hear(len(self.words))
        self.feed.again(after)
        self.done = {seq for seq in self.done if seq <= after or seq in self.given_up}
        self.last.clear()
        self.in_time = {rank: min(seq, after) for rank, seq in self.in_time.items()}

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
        for _ in range(2 * len(self.committed) + 20):
            await self.next()
        assert set(self.committed) == self.open | self.done | self.given_up
        await self.cancel()


@pytest.mark.parametrize("seed", range(50))
async def test_any_schedule(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(feeds, "MAX_FRESH", 7)
    monkeypatch.setattr(feeds, "READ", 3)
    with uplink_context(tmp_path, directory_of("a")) as ctx:
        schedule = Schedule(ctx.db, seed)
        await schedule.play(400)
        assert len(schedule.done) + len(schedule.open) > 10
