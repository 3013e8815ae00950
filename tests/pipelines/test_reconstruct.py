"""Reconstruction from what was kept: the two rules, their edges, and a plain reference."""

from __future__ import annotations

import math
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reconstruct import RECONSTRUCTION, error, pieces, reconstruct

MIN, MAX = -(1 << 63), (1 << 63) - 1
TIMES = st.one_of(st.integers(0, 20), st.integers(0, 20), st.sampled_from([MIN, -1, MAX]))
VALUES = st.one_of(st.floats(-10, 10), st.sampled_from([math.nan, math.inf, -math.inf, 1.7e308, -1.7e308]))


def told(kind, kept, *at):
    times, values = zip(*kept, strict=True) if kept else ((), ())
    return reconstruct(kind, np.array(times, np.int64), np.array(values, float), np.array(at, np.int64)).tolist()


def plain(kind, kept, time):
    """The same for one time, as the module's text says it."""
    kept = sorted(kept, key=lambda sample: sample[0])
    at = bisect_right([t for t, _ in kept], time)
    if at == 0:
        return math.nan
    t0, v0 = kept[at - 1]
    if kind == "hold" or t0 == time or at == len(kept):
        return v0
    t1, v1 = kept[at]
    if not (math.isfinite(v0) and math.isfinite(v1)):
        return v0
    return v0 + (v1 / 2 - v0 / 2) * ((time - t0) / (t1 - t0)) * 2


def test_a_value_holds_until_the_next():
    assert told("hold", [(10, 1.0), (20, 3.0)], 10, 15, 19, 20, 99) == [1, 1, 1, 3, 3]


def test_a_line_between_neighbours():
    assert told("linear", [(10, 1.0), (20, 3.0)], 10, 15, 19, 20, 99) == [1, 2, pytest.approx(2.8), 3, 3]


@pytest.mark.parametrize("kind", ["hold", "linear"])
def test_nothing_is_known_before_the_first(kind):
    assert np.isnan(told(kind, [(10, 1.0)], 9, MIN)).all()
    assert np.isnan(told(kind, [], 9)).all()


def test_no_line_is_drawn_to_a_missing_value():
    assert told("linear", [(0, 1.0), (10, math.nan), (20, 5.0)], 5, 20) == [1, 5]
    assert np.isnan(told("linear", [(0, 1.0), (10, math.nan), (20, 5.0)], 10, 15)).all()


def test_a_step_at_one_time_ends_one_line_and_begins_another():
    assert told("linear", [(0, 0.0), (10, 10.0), (10, 20.0), (20, 30.0)], 5, 10, 15) == [5, 20, 25]


@given(kind=st.sampled_from(["hold", "linear"]), kept=st.lists(st.tuples(TIMES, VALUES), max_size=12), at=TIMES)
def test_the_same_as_the_plain_rule(kind, kept, at):
    found, expected = told(kind, kept, at)[0], plain(kind, kept, at)
    assert found == pytest.approx(expected, nan_ok=True)


def test_pieces_begin_where_times_go_back():
    assert pieces(np.array([1, 2, 2, 1, 5, 0])).tolist() == [0, 3, 5]
    assert pieces(np.empty(0, np.int64)).tolist() == []


def test_the_error_of_a_series():
    came = np.array([0, 5, 10, 15]), np.array([0.0, 6.0, 10.0, math.inf])
    kept = came[0][[0, 2, 3]], came[1][[0, 2, 3]]
    assert error("linear", came, kept).tolist() == [0, 1, 0, 0]
    assert np.isnan(error("hold", (np.array([0]), np.array([1.0])), (np.array([3]), np.array([1.0])))).all()


def test_at_a_time_of_which_several_were_kept_the_nearest_counts():
    kept = np.array([5, 5, 5, 9]), np.array([1.0, 9.0, 4.0, 4.0])
    came = np.array([5, 5, 5, 5, 7]), np.array([1.0, 9.0, 8.0, math.nan, 4.0])
    found = error("linear", came, kept)
    assert found[[0, 1, 2, 4]].tolist() == [0, 0, 1, 0]
    assert math.isnan(found[3])


def test_every_rule_is_one_of_two():
    assert set(RECONSTRUCTION.values()) == {"hold", "linear"}
