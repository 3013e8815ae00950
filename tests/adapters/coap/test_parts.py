"""The parts that need no socket: blocks, the outbox, schedules."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.asking.client import Backoff, Schedule
from adapters.coap.outbox import Outbox
from adapters.coap.points import Row
from adapters.coap.serving.blocks import Assembly, Block, BusyError, IncompleteError, TooLargeError
from adapters.coap.serving.routes import compile_routes, find
from tests.adapters.coap.peers import configured


def blocks_of(body, size):
    """The blocks of a body with their places."""
    starts = range(0, max(len(body), 1), size)
    return [(Block(at, size, more=at + size < len(body)), body[at : at + size]) for at in starts]


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4), st.sampled_from([16, 32, 64]), st.randoms())
def test_bodies_in_blocks_come_together_however_they_interleave(bodies, size, chance):
    assembly = Assembly(max_body=1000)
    waiting = {key: blocks_of(body, size) for key, body in enumerate(bodies)}
    whole = {}
    while waiting:
        key = chance.choice(list(waiting))
        block, payload = waiting[key].pop(0)
        found = assembly.feed(key, block, payload, 0.0)
        assert (found is None) == bool(waiting[key])
        if found is not None:
            whole[key] = found
            del waiting[key]
    assert whole == dict(enumerate(bodies))
    assert not len(assembly)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.booleans(), st.binary(max_size=20)), max_size=60))
def test_no_order_of_blocks_breaks_the_bounds(blocks):
    assembly = Assembly(max_body=100, max_bodies=2)
    for key, number, more, payload in blocks:
        try:
            found = assembly.feed(key, Block(number * 16, 16, more=more), payload, 0.0)
        except (TooLargeError, IncompleteError, BusyError):
            found = None
        assert found is None or len(found) <= 100
        assert len(assembly) <= 2


def test_a_body_is_refused_when_it_is_known_to_be_too_large():
    assembly = Assembly(max_body=32)
    with pytest.raises(TooLargeError):
        assembly.feed("a", Block(0, 16, more=True, announced=33), bytes(16), 0.0)
    assembly.feed("b", Block(0, 16, more=True), bytes(16), 0.0)
    assembly.feed("b", Block(16, 16, more=True), bytes(16), 0.0)
    with pytest.raises(TooLargeError):
        assembly.feed("b", Block(32, 16, more=True), bytes(16), 0.0)
    assert not len(assembly)


def test_an_abandoned_body_is_forgotten_and_too_many_are_refused():
    assembly = Assembly(max_body=100, max_bodies=1)
    assembly.feed("a", Block(0, 16, more=True), bytes(16), 0.0)
    with pytest.raises(BusyError):
        assembly.feed("b", Block(0, 16, more=True), bytes(16), 4.0)
    assert assembly.feed("b", Block(0, 16, more=True), bytes(16), 5.0) is None  # who waits long gives way
    with pytest.raises(IncompleteError):
        assembly.feed("a", Block(16, 16, more=False), bytes(3), 5.0)
    assert len(assembly) == 1
    assembly.feed("c", Block(0, 16, more=False), bytes(3), 65.0)
    assert len(assembly) == 0


async def test_a_full_outbox_drops_the_oldest_and_counts(ctx):
    outbox = Outbox(ctx, limit=8)
    for n in range(20):
        outbox.add(Row(n, float(n), 0), n)
        assert len(outbox) <= 8
    await outbox.flush()
    assert ctx.frame.point.tolist() == list(range(12, 20))
    assert ctx.stats.reasons["overrun"] == 12
    await outbox.flush()
    assert len(ctx.frames) == 1


async def test_the_outbox_collects_a_moment_in_one_frame(ctx):
    outbox = Outbox(ctx)
    task = asyncio.create_task(outbox.run())
    for n in range(100):
        outbox.add(Row(n, float(n), 0), n)
    await ctx.until(lambda: ctx.frames)
    task.cancel()
    assert [len(frame) for frame in ctx.frames] == [100]


@given(st.floats(0.01, 100), st.lists(st.floats(0, 1000), min_size=1, max_size=50))
def test_deadlines_stay_on_the_grid_and_none_is_in_the_past(every, delays):
    schedule, now = Schedule(every, 5.0), 5.0
    for delay in delays:
        now += delay
        due = schedule.next_s(now)
        assert now - 1e-9 <= due <= now + every * 1.001
        periods = (due - 5.0) / every
        assert periods == pytest.approx(round(periods), abs=1e-6)
        now = due


def test_missed_deadlines_are_counted_once():
    schedule = Schedule(1.0, 0.0)
    assert schedule.next_s(0.5) == 1.0
    assert schedule.next_s(4.5) == 5.0
    assert schedule.missed == 3


def test_waits_grow_to_a_cap_and_start_again():
    backoff = Backoff(1.0, 8.0)
    waits = [backoff.next_s() for _ in range(10)]
    for wait, most in zip(waits, [1, 2, 4, 8, 8, 8, 8, 8, 8, 8], strict=True):
        assert most / 2 <= wait <= most
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_paths_without_names_are_tried_first():
    for order in itertools.permutations(["/a/b", "/{device}/b", "/{device}/{point}"]):
        resources = {path: {"device": "fixed"} if path == "/a/b" else {} for path in order}
        config = configured(serve={"listen": "127.0.0.1:0", "resources": resources})
        routes = compile_routes(config.serve.resources)
        assert find(routes, ("a", "b")).device == "fixed"
        assert find(routes, ("x", "b")).point == ""
        assert find(routes, ("x", "y")).point == "y"
        assert find(routes, ("x",)) is None
