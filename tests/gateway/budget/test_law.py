"""The law, the estimate of what a link carries, and the ladder: pure, by hand-made periods."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.batch import Batch
from gateway.budget.bursts import Bursts
from gateway.budget.capacity import NEWS_PERIODS, PATIENCE, Capacity, Seen
from gateway.budget.ladder import DOWN, UP, Ladder
from gateway.budget.law import CLIP, SPARE_AFTER, Law, target_of
from gateway.budget.meter import Meter, Rows
from gateway.budget.payload import Payload
from gateway.frame import Frame

RATES = st.floats(0, 1e9, allow_nan=False)


def test_the_target_leaves_room_and_drains_what_waits():
    assert target_of(100.0, 0.0, 10.0) == 85.0
    assert target_of(100.0, 400.0, 10.0) == 45.0
    assert target_of(100.0, 1e9, 10.0) == 5.0
    assert target_of(math.inf, 1e9, 10.0) == math.inf


def test_too_much_is_answered_fast_and_room_is_taken_slowly():
    law = Law()
    law.range(0.0, 3.0)
    law.step(85.0 * math.e, 100.0, 0.0, 10.0)
    assert law.s == pytest.approx(0.6)
    law.step(85.0 / math.e, 100.0, 0.0, 10.0)
    assert law.s == pytest.approx(0.48)
    law.step(1e9, 100.0, 0.0, 10.0)
    assert law.s == pytest.approx(0.48 + 0.6 * CLIP[1])
    law.step(0.0, 100.0, 0.0, 10.0)
    assert law.s == pytest.approx(0.48 + 0.9 - 0.12)


def test_much_room_is_taken_faster_after_a_while_and_only_if_nothing_waits():
    def steps(made, waiting):
        law = Law()
        law.range(0.0, 5.0)
        law.s = 5.0
        before = [law.s] + [0.0] * 5
        for at in range(5):
            law.step(made, 100.0, waiting, 10.0)
            before[at + 1] = law.s
        return [round(a - b, 3) for a, b in itertools.pairwise(before)]

    assert steps(20.0, 0.0) == [0.12] * (SPARE_AFTER - 1) + [0.3] * (6 - SPARE_AFTER)
    assert max(steps(20.0, 200.0)) <= 0.12
    assert max(steps(60.0, 0.0)) < 0.12


def test_a_link_with_nothing_left_wants_the_widest_bounds():
    law = Law()
    law.range(0.0, 2.0)
    for _ in range(5):
        law.step(10.0, 0.0, 0.0, 10.0)
    assert law.s == 2.0
    assert law.at_end


@given(st.lists(st.tuples(RATES, RATES, RATES), max_size=50), st.floats(-3, 0), st.floats(0, 5))
def test_the_state_never_leaves_its_range(periods, low, high):
    law = Law()
    law.range(low, high)
    for made, carried, waiting in periods:
        widening = law.step(made, carried, waiting, 10.0)
        assert math.exp(low) - 1e-12 <= widening <= math.exp(high) + 1e-9
        assert low <= law.s <= high


def busy(rate, lowest=1e9):
    return Seen(seconds=5.0, acknowledged=5 * rate, rows=50, lowest=lowest, quickest_s=0.01, first=99.0)


def calm(rate):
    return Seen(seconds=5.0, acknowledged=5 * rate, rows=50, lowest=0.0, quickest_s=0.01)


def test_an_idle_link_tells_nothing_about_what_it_carries():
    found = Capacity()
    for _ in range(100):
        assert found.look(calm(100.0), wanting=True) == math.inf


def test_a_backlog_through_all_of_a_period_measures_the_link():
    found = Capacity()
    assert found.look(busy(100.0), wanting=False) == 100.0
    assert found.look(busy(40.0), wanting=False) == 40.0  # much less is believed at once
    assert found.look(busy(48.0), wanting=False) == 44.0  # else half of it


def test_what_waits_for_the_own_bandwidth_tells_nothing():
    found = Capacity()
    for _ in range(20):
        found.look(Seen(seconds=5.0, acknowledged=0.0, rows=0, lowest=1e6, quickest_s=0.01), wanting=True)
    assert found.known == math.inf


def test_a_long_way_is_no_backlog():
    found = Capacity()
    seen = Seen(seconds=5.0, acknowledged=500.0, rows=50, lowest=90.0, quickest_s=0.9, first=10.0)
    assert found.look(seen, wanting=True) == math.inf


def test_long_rows_on_a_slow_link_are_measured_over_several_periods():
    found = Capacity()
    found.look(busy(100.0), wanting=True)
    nothing = Seen(seconds=5.0, acknowledged=0.0, rows=0, lowest=1e6, quickest_s=0.01, first=900.0)
    one = Seen(seconds=5.0, acknowledged=300.0, rows=1, lowest=1e6, quickest_s=0.01, first=900.0)
    assert [found.look(seen, wanting=True) for seen in (nothing, one, nothing)] == [100.0] * 3
    assert found.look(one, wanting=True) == pytest.approx(30.0)


def test_a_link_that_got_better_is_found_by_probing_and_one_that_did_not_is_left_in_peace_longer():
    found, better = Capacity(), Capacity()
    for one in (found, better):
        one.look(busy(100.0), wanting=True)
        for _ in range(PATIENCE + 2):
            one.look(calm(85.0), wanting=True)
        assert one.probing
        assert one.known == 150.0
    found.look(Seen(seconds=5.0, acknowledged=500.0, rows=9, lowest=0.0, standing=90.0, quickest_s=0.01), wanting=True)
    assert (found.probing, found.known) == (False, 100.0)
    for _ in range(PATIENCE + 2):
        found.look(calm(85.0), wanting=True)
    assert not found.probing  # twice the patience
    for _ in range(2):
        better.look(calm(130.0), wanting=True)
    assert better.known == 600.0
    assert better.look(busy(500.0), wanting=True) == 500.0


def bursts(way, rate, *sizes, periods=6):
    """A burst a period with rows of these sizes."""
    found = Bursts()
    said = math.inf
    for at in range(periods):
        sent, points = 0.0, []
        for size in sizes[at % len(sizes)] if isinstance(sizes[0], tuple) else sizes:
            sent += size
            points.append((float(at), sent, way + sent / rate))
        said = found.learn(points)
    return said


def test_rows_behind_each_other_tell_the_rate_however_long_the_way():
    assert bursts(0.9, 100.0, 50.0, 80.0) == pytest.approx(100)
    assert bursts(0.0, 700.0, 500.0, 300.0, 400.0) == pytest.approx(700)


def test_rows_that_go_alone_tell_it_if_they_differ():
    assert bursts(0.9, 100.0, (50.0,), (90.0,)) == pytest.approx(100)
    assert bursts(0.9, 100.0, (50.0,), (50.0,)) == math.inf
    assert bursts(0.0, 1e6, 50.0, 80.0) == math.inf  # too soon to tell: many links let a little through at once
    assert Bursts().learn([]) == math.inf


def test_bursts_show_a_link_that_got_better_without_a_probe_and_are_not_believed_after_they_misled():
    found = Capacity()
    found.look(busy(100.0), wanting=True)
    fast = [(0.0, 300.0, 0.5), (0.0, 600.0, 1.0)]

    def shows(*points):
        return Seen(seconds=5.0, acknowledged=400.0, rows=4, lowest=0.0, quickest_s=0.01, points=points)

    for _ in range(9):
        found.look(shows(*fast, (1.0, 300.0, 0.5), (1.0, 600.0, 1.0)), wanting=True)
    assert found.known == pytest.approx(600, rel=0.01)
    assert not found.probing
    assert found.look(busy(100.0), wanting=True) == 100.0  # it was no better, it only lets some through at once
    for _ in range(5):
        found.look(shows(*fast), wanting=True)
    assert found.known == 100.0


def test_quick_acknowledgements_are_news_that_shorten_the_wait_but_only_once():
    def quick(acknowledged=300.0, standing=0.0):
        return Seen(
            seconds=5.0, acknowledged=acknowledged, rows=3, lowest=0.0, standing=standing, quickest_s=0.01,
            points=((0.0, 100.0, 0.1),),
        )  # fmt: skip

    found = Capacity()
    found.look(busy(100.0), wanting=True)
    said = [found.look(quick(), wanting=True) for _ in range(NEWS_PERIODS)]
    assert said == [100.0] * (NEWS_PERIODS - 1) + [1000.0]  # as they let expect
    nothing = Seen(seconds=5.0, acknowledged=0.0, rows=0, lowest=0.0, quickest_s=0.01)
    assert [found.look(nothing, wanting=True) for _ in range(NEWS_PERIODS)] == [1000.0] * NEWS_PERIODS
    found.look(quick(4500.0), wanting=True)
    assert found.look(quick(4500.0), wanting=True) == 1500.0  # it is used, and they let expect no more
    found = Capacity()
    found.look(busy(100.0), wanting=True)
    for _ in range(NEWS_PERIODS):
        found.look(quick(), wanting=True)
    assert found.look(quick(standing=100.0), wanting=True) == 100.0  # a backlog: it only lets a little through at once
    for _ in range(PATIENCE):
        assert found.look(quick(), wanting=True) == 100.0


def batch(seq, size):
    return Batch(seq, "p", 0, Frame.of([0], [0], [0.0]), block=bytes(size))


def test_rows_that_come_while_the_link_is_busy_belong_to_the_burst():
    """At 100 bytes a second, in a second each but the first; the last comes when the link may have been idle."""
    meter = Meter()
    handed, acknowledged = (0.0, 1.0, 1.5, 2.5, 3.95), (0.02, 2.0, 3.0, 4.0, 5.0)
    rows = [batch(seq, 100 if seq else 2) for seq in range(len(handed))]
    moments = [(at, 0, row) for at, row in zip(handed, rows, strict=True)]
    moments += [(at, 1, row) for at, row in zip(acknowledged, rows, strict=True)]
    for at, done, row in sorted(moments, key=lambda one: one[:2]):
        (meter.acknowledged if done else meter.handed)(row, at)
    points = [(began, size.size, seconds) for began, size, seconds in meter.take(Rows()).points]
    assert points == [(0.0, 2, 0.02), (1.0, 100, 1.0), (1.0, 200, 2.0), (1.0, 300, 3.0)]


def test_what_is_measured_in_a_backlog_is_exact_however_few_rows_there_are():
    """Three rows of 300 bytes at 100 bytes a second, in periods of four seconds: one or two are through in each."""
    meter, capacity = Meter(), Capacity()
    rows = [batch(seq, 300) for seq in range(12)]
    meter.made(rows)
    for row in rows:
        meter.handed(row, 0.0)
    said = []
    for period in range(1, 8):
        for row in rows:
            if period * 4 - 4 < 3 * (row.seq + 1) <= period * 4:
                meter.acknowledged(row, 3.0 * (row.seq + 1))
        left = Rows(300 * (12 - period * 4 // 3), 12 - period * 4 // 3)
        counted = meter.take(left)
        said.append(counted.served.size / counted.served_s if counted.served_s else math.inf)
        seen = Seen(
            seconds=4.0, acknowledged=counted.acknowledged.size, rows=counted.acknowledged.rows,
            lowest=counted.lowest.size, quickest_s=0.1, first=counted.first, served=counted.served.size,
            served_s=counted.served_s,
        )  # fmt: skip
        capacity.look(seen, wanting=True)
    assert {rate for rate in said if not math.isinf(rate)} == {100.0}
    assert capacity.known == pytest.approx(100.0)


def test_nobody_probes_who_wants_no_more():
    found = Capacity()
    found.look(busy(100.0), wanting=False)
    for _ in range(3 * PATIENCE):
        found.look(calm(50.0), wanting=False)
    assert found.known == 100.0


def test_while_the_own_bandwidth_is_the_limit_the_link_is_none():
    found = Capacity()
    assert found.look(busy(96.0), wanting=True, own_limit=100.0) == math.inf
    assert found.look(busy(50.0), wanting=True, own_limit=100.0) == 50.0


def test_the_ladder_goes_up_after_three_periods_at_the_end_and_back_when_there_is_room():
    ladder = Ladder()
    ups = [ladder.look(2, at_end=True, made=100.0, target=50.0) for _ in range(2 * UP + 3)]
    assert ups == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert ladder.height == 2
    assert not any(ladder.look(2, at_end=False, made=20.0, target=60.0) for _ in range(20))
    downs = [ladder.look(2, at_end=False, made=20.0, target=200.0) for _ in range(2 * DOWN)]
    assert downs.count(-1) == 2
    assert downs.index(-1) == DOWN - 1
    assert ladder.height == 0


def test_a_rung_that_is_needed_again_soon_is_taken_back_later():
    ladder = Ladder()

    def back_after():
        for _ in range(UP):
            ladder.look(1, at_end=True, made=100.0, target=50.0)
        assert ladder.height == 1
        return next(n for n in range(1, 500) if ladder.look(1, at_end=False, made=20.0, target=500.0))

    assert [back_after() for _ in range(4)] == [DOWN, 2 * DOWN, 4 * DOWN, 8 * DOWN]


def test_payload_is_learnt_as_bytes_and_heads():
    payload = Payload()
    for size, rows in ((1000, 5), (400, 20), (9000, 8), (50, 1)):
        payload.learn(size, rows, size + 95 * rows)
    assert payload.of(500, 3) == pytest.approx(500 + 3 * 95)
    payload = Payload()
    for _ in range(3):
        payload.learn(100, 1, 3000)  # JSON, always alike: nothing tells heads from bytes
    assert payload.of(200, 2) == pytest.approx(6000)
    payload.learn(0, 0, 10)
    assert payload.of(200, 2) == pytest.approx(6000)
