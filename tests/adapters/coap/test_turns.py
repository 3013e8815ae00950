"""Turns at an address and the order of notifications: pure, and compared with a plain model."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.asking.observation import Order
from adapters.coap.asking.turns import NobodyThereError, Turn, Turns


async def test_turns_are_taken_in_order_and_by_one_only():
    turn, inside, order = Turn(), [], []

    async def ask(n):
        await turn.take()
        inside.append(n)
        assert len(inside) == 1
        order.append(n)
        await asyncio.sleep(0)
        inside.remove(n)
        turn.give()

    await asyncio.gather(*(ask(n) for n in range(20)))
    assert order == list(range(20))
    await asyncio.wait_for(turn.take(), 1)


@pytest.mark.parametrize("seed", range(20))
async def test_who_gives_up_waiting_holds_up_nobody(seed):
    """Cancelled at any step: while waiting, just when the turn came, and while having it."""
    chance, turn, served = random.Random(seed), Turn(), []

    async def ask(n):
        await turn.take()
        try:
            await asyncio.sleep(0)
            served.append(n)
        finally:
            turn.give()

    tasks = [asyncio.create_task(ask(n)) for n in range(30)]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == sorted(served)
    await asyncio.wait_for(turn.take(), 1)
    assert not len(turn)


async def test_a_silent_address_ends_the_wait_of_all_others():
    turn = Turn()
    await turn.take()
    waiting = [asyncio.create_task(turn.take()) for _ in range(3)]
    await asyncio.sleep(0)
    turn.nobody_there()
    turn.give()
    assert [type(found) for found in await asyncio.gather(*waiting, return_exceptions=True)] == [NobodyThereError] * 3
    await asyncio.wait_for(turn.take(), 1)  # whoever comes later asks anew


async def test_devices_behind_one_host_and_port_share_a_turn_and_streams_have_none():
    turns = Turns()
    assert turns.of("coap://10.0.0.9") is turns.of("coap://10.0.0.9/")
    assert turns.of("coap://10.0.0.9") is not turns.of("coap://10.0.0.9:61616")
    stream = turns.of("coap+tcp://10.0.0.9")
    for _ in range(3):
        await asyncio.wait_for(stream.take(), 1)


def test_a_notification_is_news_as_the_rfc_has_it():
    """RFC 7641, 3.4: V1 < V2 and V2 - V1 < 2**23, or V1 > V2 and V1 - V2 > 2**23, or T2 > T1 + 128 s."""

    @given(st.lists(st.tuples(st.integers(0, 2**24 - 1), st.floats(0, 300)), min_size=1, max_size=20))
    def compared(arrivals):
        order, now_s = Order(), 0.0
        v1 = t1 = None
        for v2, later_s in arrivals:
            now_s += later_s
            expected = v1 is None or (
                (v1 < v2 and v2 - v1 < 2**23) or (v1 > v2 and v1 - v2 > 2**23) or now_s > t1 + 128
            )
            assert order.is_news(v2, now_s) == expected
            if expected:
                v1, t1 = v2, now_s

    compared()


@given(st.integers(0, 2**24 - 1), st.permutations(range(30)))
def test_overtaken_notifications_are_never_news(start, arrival):
    """Wherever the numbers begin, also across their wrap."""
    order, newest = Order(), -1
    for n in arrival:
        assert order.is_news((start + n) % 2**24, 0.0) == (n > newest)
        newest = max(newest, n)
