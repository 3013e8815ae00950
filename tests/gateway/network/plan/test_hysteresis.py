"""When a better plan is worth a move."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.network.plan.hysteresis import DWELL_S, Hysteresis, Offer


def offer(now_s, running=2_000.0, planned=1_000.0, moves=1, urgent=(), pressed=()):
    return Offer(
        now_s=now_s, every_s=20, running=running, planned=planned, moves=moves,
        urgent=frozenset(urgent), pressed=frozenset(pressed),
    )  # fmt: skip


def test_a_gain_counts_on_the_third_advert_in_a_row_and_then_rests():
    h = Hysteresis()
    assert [h.decides("a", offer(t)) for t in (0, 5, 20, 25, 40)] == [False, False, False, False, True]
    assert not any(h.decides("a", offer(40 + t)) for t in range(20, int(DWELL_S) - 20, 20))
    assert h.decides("a", offer(40 + DWELL_S))


def test_a_gain_that_comes_and_goes_never_counts():
    h = Hysteresis()
    for t in range(0, 2000, 20):
        assert not h.decides("a", offer(t, planned=1_000 if t % 60 else 1_950))


def test_small_gains_are_not_worth_a_move():
    assert not any(Hysteresis().decides("a", offer(t, planned=1_801)) for t in range(0, 200, 20))
    h = Hysteresis()
    assert not any(h.decides("a", offer(t, running=20, planned=10)) for t in range(0, 200, 20)), "a move costs more"


def test_what_is_urgent_moves_at_once_and_once_for_a_reason():
    h = Hysteresis()
    assert h.decides("a", offer(0, planned=3_000, urgent=["parent dead"]))
    assert not h.decides("a", offer(20, urgent=["parent dead"]))
    assert h.decides("a", offer(40, urgent=["parent dead", "operator lost"]))
    assert h.decides("a", offer(60 + DWELL_S, urgent=["parent dead"]))


def test_what_presses_moves_at_once_but_not_within_a_dwell():
    h = Hysteresis()
    assert h.decides("a", offer(0, pressed=["backlog"]))
    assert not h.decides("a", offer(100, pressed=["backlog", "little CPU"]))
    assert h.decides("b", offer(100, pressed=["backlog"]))


def test_a_new_leader_does_not_know_when_each_moved():
    h = Hysteresis(since_s=50.0)
    assert not h.decides("a", offer(100, pressed=["backlog"]))
    assert h.decides("a", offer(50 + DWELL_S, pressed=["backlog"]))


def test_nothing_to_move_is_no_move():
    assert not Hysteresis().decides("a", offer(0, moves=0, urgent=["parent dead"]))


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 5_000), st.booleans()), max_size=200))
def test_no_storm_moves_a_subtree_twice_in_a_dwell(changes):
    h, now_s, moved = Hysteresis(), 0.0, []
    for step_s, planned, pressed in changes:
        now_s += step_s
        if h.decides("a", offer(now_s, planned=planned, pressed=["load"] if pressed else [])):
            moved.append(now_s)
    assert all(b - a >= DWELL_S for a, b in itertools.pairwise(moved))
