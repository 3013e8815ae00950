"""Holes and shorter reads are found once, by few requests, and known after a restart."""

from __future__ import annotations

import math

import pytest

from adapters.modbus.holes import BUDGET, Holes, find_holes
from adapters.modbus.learn import Learned
from adapters.modbus.place import Table
from adapters.modbus.planner import Limits, Span, plan
from gateway.quality import Reason
from tests.adapters.modbus.peers import Peer, device, frame, good, modbus, point
from tests.adapters.modbus.test_misbehaviour import reasons_of, values_of
from tests.support.context import RecordingContext, running

REFUSE = {
    "exception 2": lambda t, u, p: [frame(t, u, bytes([p[0] | 0x80, 2]))],
    "exception 3": lambda t, u, p: [frame(t, u, bytes([p[0] | 0x80, 3]))],
    "silence": lambda t, u, p: [],
    "a short answer": lambda t, u, p: [frame(t, u, good(p[:3] + b"\0\x0a"))],
}


def short_reads(longest, how="exception 2"):
    """A peer that answers at most ``longest`` addresses."""

    def script(transaction, unit, pdu):
        count = int.from_bytes(pdu[3:5], "big")
        return [frame(transaction, unit, good(pdu))] if count <= longest else REFUSE[how](transaction, unit, pdu)

    return script


def asked(peer):
    """(function, address, count) of each request so far."""
    return [(p[0], int.from_bytes(p[1:3], "big"), int.from_bytes(p[3:5], "big")) for _, p in peer.requests]


def points(n, table="input", step=1):
    return {f"p{i}": point(f"{table}:{i * step}") for i in range(n)}


@pytest.mark.parametrize("how", REFUSE)
async def test_a_device_that_bears_50_registers_is_read_by_50_from_then_on(how):
    async with Peer(short_reads(50, how)) as peer:
        ctx = RecordingContext()
        options = {"m": device(every=0.02, points=points(120))}
        async with running(modbus(peer.url, options, timeout=0.04).create(), ctx):
            await ctx.until(lambda: values_of(ctx, "m/p119") and values_of(ctx, "m/p0"))
            n = len(peer.requests)
            await ctx.until(lambda: len(peer.requests) >= n + 7)
            steady = [read[1:] for read in asked(peer)[n : n + 6]]
        first = len(asked(peer)[:n])
    assert sorted(set(steady)) == [(0, 50), (50, 50), (100, 20)], "the fewest reads there can be"
    assert first <= 3 * math.ceil(math.log2(120)) + 12
    assert all({s[1] for s in ctx.samples(f"m/p{i}") if s[2] == 0} == {float(i)} for i in range(120))


async def restarted(peer, options, memory, cycles=2, **more):
    """The requests of a new process that has the memory of an earlier one."""
    ctx, n = RecordingContext(), len(peer.requests)
    ctx.memory = memory
    async with running(modbus(peer.url, options, **more).create(), ctx):
        await ctx.until(lambda: len(ctx.frames) >= cycles)
    return asked(peer)[n:], ctx


@pytest.mark.parametrize("how", ["exception 3", "silence"])
async def test_what_was_learned_outlives_a_restart(how):
    async with Peer(short_reads(50, how)) as peer:
        options = {"m": device(every=0.02, points=points(120))}
        ctx = RecordingContext()
        async with running(modbus(peer.url, options, timeout=0.04).create(), ctx):
            await ctx.until(lambda: values_of(ctx, "m/p119"))
        assert list(ctx.memory) == ["learned/1/input"], "by unit and table"
        reads, after = await restarted(peer, options, dict(ctx.memory), timeout=0.04)
        assert {count for _, _, count in reads} == {50, 20}
        assert not after.stats.reasons

        changed = {"m": device(every=0.02, points=points(119))}
        reads, _ = await restarted(peer, changed, dict(ctx.memory), 1, timeout=0.04)
        assert reads[0] == (4, 0, 119), "another configuration: learn again"

        other = {"m": device(2, every=0.02, points=points(120))}
        reads, _ = await restarted(peer, other, dict(ctx.memory), 1, timeout=0.04)
        assert reads[0] == (4, 0, 120), "another unit"

        broken = {"learned/1/input": b"\x00not what we wrote"}
        reads, _ = await restarted(peer, options, broken, 1, timeout=0.04)
        assert reads[0] == (4, 0, 120)


async def test_holes_outlive_a_restart_and_their_points_stay_bad():
    missing = {7, 23, 24}

    def script(transaction, unit, pdu):
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        hole = missing & set(range(address, address + count))
        return [frame(transaction, unit, bytes([pdu[0] | 0x80, 2]) if hole else good(pdu))]

    async with Peer(script) as peer:
        options = {"m": device(every=0.02, points=points(40, "holding"))}
        ctx = RecordingContext()
        async with running(modbus(peer.url, options).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 3)
        spent = ctx.stats.reasons["illegal-data-address"]
        assert spent <= BUDGET
        reads, after = await restarted(peer, options, dict(ctx.memory), 3)
    assert {read[1:] for read in reads} == {(0, 7), (8, 15), (25, 15)}
    assert not after.stats.reasons
    for i in range(40):
        reason = Reason.ILLEGAL_DATA_ADDRESS if i in missing else Reason.NONE
        assert set(reasons_of(after, f"m/p{i}")) == {reason}


async def test_groups_of_a_device_share_what_one_has_learned():
    async with Peer(short_reads(30)) as peer:
        mixed = points(60)
        mixed |= {f"slow{i}": point(f"input:{100 + i}", every=0.08) for i in range(60)}
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(every=0.03, points=mixed)}).create(), ctx):
            await ctx.until(lambda: values_of(ctx, "m/slow59") and values_of(ctx, "m/p59"))
        refused = [read for read in asked(peer) if read[2] > 30]
    assert {read[1] >= 100 for read in refused} == {False}, "the slow group never asked for more than 30"


async def test_a_silent_register_spoils_its_block_only_until_it_is_found():
    def script(transaction, unit, pdu):
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        return [] if address <= 5 < address + count else [frame(transaction, unit, good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        options = {"m": device(every=0.02, points=points(10))}
        async with running(modbus(peer.url, options, timeout=0.03).create(), ctx):
            await ctx.until(lambda: values_of(ctx, "m/p9"))
    assert values_of(ctx, "m/p4") == {4.0}
    assert not values_of(ctx, "m/p5")


async def test_a_device_that_falls_silent_in_a_search_teaches_nothing():
    asked_so_far = 0

    def script(transaction, unit, pdu):
        nonlocal asked_so_far
        asked_so_far += 1
        count = int.from_bytes(pdu[3:5], "big")
        return [frame(transaction, unit, good(pdu))] if count == 1 and asked_so_far < 6 else []

    async with Peer(script) as peer:
        ctx = RecordingContext()
        options = {"m": device(every=0.01, points=points(10))}
        async with running(modbus(peer.url, options, timeout=0.01).create(), ctx):
            await ctx.until(lambda: len(peer.requests) > 9)
    assert not ctx.memory


async def test_a_longer_read_is_tried_again_and_learned_anew(monkeypatch):
    monkeypatch.setattr("adapters.modbus.group.RECHECK_S", 0.05)
    monkeypatch.setattr("adapters.modbus.group.RELEARN_S", 0.05)
    longest = 20

    def script(transaction, unit, pdu):
        return short_reads(longest)(transaction, unit, pdu)

    async with Peer(script) as peer:
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(every=0.02, points=points(100))}).create(), ctx):
            await ctx.until(lambda: values_of(ctx, "m/p99"))
            longest = 125
            await ctx.until(lambda: (4, 0, 100) in asked(peer)[-3:])
    assert reasons_of(ctx, "m/p99")[-1] is Reason.NONE


@pytest.mark.parametrize(("limit", "gap"), [(50, 3), (7, 2), (2, 0), (99, 9)])
async def test_the_length_is_found_exactly_also_between_values(limit, gap):
    spans = [Span(Table.HOLDING, i * (gap + 2), 2) for i in range(40)]
    alive = [span for span in spans if span.end <= 125]
    count = 0

    async def readable(read):
        nonlocal count
        count += 1
        return read.count <= limit

    (read,) = plan(alive, Limits(125, 10))
    holes = await find_holes(alive, read, readable)
    assert count <= BUDGET
    reads = plan(alive, Limits(125, 10, holes.cuts, {Table.HOLDING: holes.most}))
    assert len(reads) == len(plan(alive, Limits(limit, 10)))
    assert all(one.count <= limit for one in reads)


def test_memory_is_kept_by_unit_and_table_and_needs_the_same_configuration():
    kept = {}
    learned = Learned(3, "config", kept.get, kept.__setitem__)
    spans = [Span(Table.COIL, 0, 1), Span(Table.HOLDING, 9, 2)]
    learned.add(spans, Holes({1}, {(Table.HOLDING, 9)}, table=Table.HOLDING))
    learned.add(spans, Holes(most=64, refused=(0, 80), table=Table.COIL))
    assert sorted(kept) == ["learned/3/coil", "learned/3/holding"]
    again = Learned(3, "config", kept.get, kept.__setitem__)
    assert again.dead(spans) == {1}
    assert again.limits(Limits()).most == {Table.COIL: 64}
    assert list(again.limits(Limits()).cuts) == [(Table.HOLDING, 9)]
    for unit, config in ((4, "config"), (3, "other")):
        fresh = Learned(unit, config, kept.get)
        assert not fresh.dead(spans)
        assert not fresh.limits(Limits()).most
    again.forget(Table.COIL)
    assert not Learned(3, "config", kept.get).limits(Limits()).most


async def test_bits_have_a_length_of_their_own():
    async with Peer(short_reads(100)) as peer:
        ctx = RecordingContext()
        mixed = points(300, "coil") | {"r": point("holding:0")}
        async with running(modbus(peer.url, {"m": device(every=0.02, points=mixed)}).create(), ctx):
            await ctx.until(lambda: values_of(ctx, "m/p299"))
            n = len(peer.requests)
            await ctx.until(lambda: len(peer.requests) >= n + 8)
    assert {read for read in asked(peer)[n:] if read[0] == 1} == {(1, 0, 100), (1, 100, 100), (1, 200, 100)}
