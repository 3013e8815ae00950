"""The breaker, the deadlines and the search for holes, on clocks and devices of paper."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.breaker import LONGEST_S, TRIES, Breaker
from adapters.modbus.group import Device, Group, stagger
from adapters.modbus.holes import Holes, find_holes
from adapters.modbus.layout import Layout
from adapters.modbus.place import Table, ValueType
from adapters.modbus.planner import Limits, Span, plan


def group(n=3, period_s=1.0, limits=None):
    device = Device("m", 1, Breaker(1.0))
    layouts = [Layout(Table.HOLDING, i, 1, ValueType.UINT16) for i in range(n)]
    return Group(device, period_s, layouts, range(10, 10 + n), limits or Limits())


def test_a_unit_is_suspended_after_three_silent_requests_and_probed_ever_more_slowly():
    breaker, now, gaps = Breaker(1.0), 0.0, []
    for _ in range(TRIES):
        assert breaker.may_ask(now)
        breaker.silent(now)
    for _ in range(8):
        probe = now
        while not breaker.may_ask(probe):
            probe += 0.5
        gaps.append(probe - now)
        now = probe
        breaker.silent(now)
    assert gaps == [5, 10, 20, 40, 60, 60, 60, 60]
    assert max(gaps) == LONGEST_S
    breaker.answered()
    assert breaker.may_ask(now)
    breaker.silent(now)
    breaker.silent(now)
    assert breaker.may_ask(now), "three in a row, not in all"


@given(st.floats(0.001, 100), st.lists(st.floats(0, 500), max_size=30))
def test_deadlines_stay_on_their_grid_and_every_one_is_met_or_counted(period_s, pauses):
    one = group(period_s=period_s)
    one.due = now = 1000.0
    for met, pause in enumerate(pauses, 1):
        now = max(now, one.due) + pause
        one.advance(now)
        slots = (one.due - 1000.0) / period_s
        assert abs(slots - round(slots)) < 1e-6 * max(1.0, slots)
        assert round(slots) == met + one.device.missed
        assert now - 1e-6 <= one.due <= now + period_s * (1 + 1e-9)


def test_the_start_is_staggered_within_a_second():
    groups = [group(period_s=900.0) for _ in range(10)]
    stagger(groups, 50.0)
    assert [round(one.due, 3) for one in groups] == [50 + i / 10 for i in range(10)]


@given(
    st.lists(st.booleans(), min_size=1, max_size=125),
    st.integers(1, 125),
)
async def test_after_a_search_every_read_works_and_nothing_there_is_given_up(there, longest):
    spans = [Span(Table.INPUT, i, 1) for i in range(len(there))]
    asked = 0

    def works(read):
        inside = there[read.address : read.address + read.count]
        return all(inside) and read.count <= longest

    async def readable(read):
        nonlocal asked
        asked += 1
        return works(read)

    known = Holes()
    for _ in range(200):
        alive = [i for i in range(len(spans)) if i not in known.dead]
        reads = plan([spans[i] for i in alive], Limits(125, 10, known.cuts, {Table.INPUT: known.most}))
        failed = [read for read in reads if not works(read)]
        if not failed:
            break
        first = failed[0]
        first = type(first)(first.table, first.address, first.count, tuple(alive[i] for i in first.members))
        before = asked
        holes = await find_holes(spans, first, readable)
        assert holes, "each search finds something"
        assert asked - before <= 32
        known.dead |= holes.dead
        known.cuts |= holes.cuts
        known.most = holes.most or known.most
    else:
        raise AssertionError("the search does not end")
    assert known.most in {0, longest}
    assert known.dead == {i for i, value in enumerate(there) if not value}


def test_a_group_plans_around_holes_and_keeps_all_its_points():
    one = group(5)
    assert [block.read.count for block in one.plan.blocks] == [5]
    one.learn(Holes({2}, {(Table.HOLDING, 2)}), now=100.0)
    assert [(b.read.address, b.read.count) for b in one.plan.blocks] == [(0, 2), (3, 2)]
    assert one.plan.ids.tolist() == [10, 11, 13, 14, 12]
    assert one.plan.dead == slice(4, 5)
    assert one.recheck(100.0) is None
    assert one.recheck(161.0).pdu.hex() == "0300020001"
    assert one.recheck(162.0) is None
    one.forget()
    assert [block.read.count for block in one.plan.blocks] == [5]
    assert one.plan.ids.dtype == np.int32
