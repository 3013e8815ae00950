"""Finding readable addresses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.tools.ranges import Ranges, find_ranges


def device(readable, whole=(), longest=125):
    """Answers like a device with these addresses; pairs in ``whole`` cannot be cut."""
    asked = []

    async def ask(start, count):
        asked.append((start, count))
        block = range(start, start + count)
        cut = any((low in block) != (low + 1 in block) for low in whole)
        return count <= longest and all(at in readable for at in block) and not cut

    ask.asked = asked
    return ask


@given(st.sets(st.integers(0, 100)), st.integers(0, 40), st.integers(0, 70))
async def test_what_can_be_read_is_found_exactly(readable, first, size):
    last = first + size
    found = await find_ranges(device(readable), first, last, block=16)
    covered = {at for low, high in found.readable for at in range(low, high + 1)}
    assert covered == readable & set(range(first, last + 1))
    assert all(high + 1 < low for (_, high), (low, _) in zip(found.readable, found.readable[1:], strict=False))


@given(st.lists(st.integers(0, 60).map(lambda at: 2 * at), unique=True), st.integers(0, 1))
async def test_values_that_are_only_given_out_whole(pairs, shift):
    lows = {at + shift for at in pairs}
    readable = {at for low in lows for at in (low, low + 1)}
    found = await find_ranges(device(readable, lows), 0, 127)
    covered = {at for low, high in found.readable for at in range(low, high + 1)}
    if shift == 0:
        assert covered == readable
    elif len(lows) > 1 and covered:
        assert covered == readable, "odd pairs are asked for once anything answered"


async def test_a_short_limit_is_seen_and_costs_little():
    ask = device(set(range(256)), longest=30)
    assert await find_ranges(ask, 0, 255) == Ranges(((0, 255),), 16, ())
    assert len(ask.asked) < 40


async def test_an_empty_table_costs_two_requests_an_address_at_most():
    ask = device(set())
    assert await find_ranges(ask, 0, 127) == Ranges((), 0, ())
    assert len(ask.asked) < 256
