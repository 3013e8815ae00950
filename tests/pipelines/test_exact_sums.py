"""Sums without rounding, against fractions, in any order and however they are spread."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.operators.aggregate import double_double as dd
from pipelines.operators.aggregate.exact_sums import INFINITE, ExactSums, Slice, variance
from tests.support.trials import trials

ANY = st.floats(allow_nan=False, allow_infinity=False)
SOME = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.1, 2.0**-23 * (1 + 2.0**-50), 1e16, -1e16, 5e-324, 1e300]))
MANY = st.lists(st.tuples(st.integers(0, 2), st.one_of(SOME, ANY)), max_size=40)


def sums(samples, resolution=0.0, *, squares=True):
    found = ExactSums(squares=squares)
    for window, value in samples:
        found.add(np.array([window]), np.array([value]), np.array([found.step(resolution)]))
    return found


def total(samples, window):
    return sum((Fraction(value) for own, value in samples if own == window), Fraction(0))


@settings(max_examples=trials(300), deadline=None)
@given(MANY)
def test_a_sum_is_the_nearest_float_of_the_exact_one(samples):
    """But for a hair: the sum is rounded out of twice the precision of a float64."""
    tame = [(window, value) for window, value in samples if abs(value) < 1e305]
    found = sums(tame, squares=False)
    high, _ = found.totals(found.tally, 3)[0]
    for window, value in enumerate(high.tolist()):
        exact = total(tame, window)
        half = Fraction(math.ulp(value)) / 2
        assert abs(Fraction(value) - exact) <= half * (1 + Fraction(1, 1 << 40))


@settings(max_examples=trials(200), deadline=None)
@given(MANY, st.integers(1, 5), st.randoms(use_true_random=False), st.sampled_from([0.0, 0.01]))
def test_slices_add_up_in_any_order_and_grouping(samples, many, random, resolution):
    whole = sums(samples, resolution)
    shuffled = samples[:]
    random.shuffle(shuffled)
    joined = ExactSums(squares=True)
    for at in range(many):
        part = sums(shuffled[at::many], resolution)
        for one, windows, values in part.slices(part.tally):
            joined.add_slices(windows, one, values)
    for ours, theirs in zip(whole.totals(whole.tally, 3), joined.totals(joined.tally, 3), strict=True):
        assert np.array_equal(np.array(ours).view(np.int64), np.array(theirs).view(np.int64))


@settings(max_examples=trials(100), deadline=None)
@given(st.lists(st.floats(-500, 500).map(lambda v: v + 1000), min_size=1, max_size=40))
def test_variance_against_fractions(values):
    found = sums([(0, value) for value in values])
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    wanted = float(sum((x - mean) ** 2 for x in exact) / len(exact))
    [ours] = variance(*found.totals(found.tally, 1), np.array([float(len(values))]))
    assert ours == pytest.approx(wanted, rel=1e-14, abs=1e-24)


def test_what_a_float64_cannot_hold_is_carried_into_the_next_slice():
    found = sums([])
    one = Slice(square=False, step=0.0, number=0)
    for _ in range(3):
        found.add_slices(np.array([0]), one, np.array([2.0**52]))
    slices = {s.number: values[0] for s, _, values in found.slices(found.tally)}
    assert slices == {0: 0.0, 1: 3 * 2.0**26}
    assert found.totals(found.tally, 1)[0][0][0] == 3 * 2.0**52


def test_infinities_are_counted():
    found = sums([(0, math.inf), (0, 1.0), (1, -math.inf), (2, math.inf), (2, -math.inf)])
    assert {s.number for s, *_ in found.slices(found.tally)} >= {INFINITE, -INFINITE}
    high, _ = found.totals(found.tally, 3)[0]
    assert high[0] == math.inf
    assert high[1] == -math.inf
    assert math.isnan(high[2])


def test_more_steps_than_can_be_kept_apart_are_added_as_they_are():
    found = ExactSums(squares=False)
    for n in range(1500):
        step = (n + 1) / 8
        found.add(np.array([0]), np.array([step]), np.array([found.step(step)]))
    assert found.totals(found.tally, 1)[0][0][0] == sum((n + 1) / 8 for n in range(1500))


@given(st.floats(-1e100, 1e100), st.floats(-1e100, 1e100))
def test_error_free_transformations(a, b):
    x, y = np.array([a]), np.array([b])
    high, low = dd.two_sum(x, y)
    assert Fraction(high[0]) + Fraction(low[0]) == Fraction(a) + Fraction(b)
    if abs(a * b) > 1e-280 or a * b == 0 == a + b:
        high, low = dd.two_product(x, y)
        assert Fraction(high[0]) + Fraction(low[0]) == Fraction(a) * Fraction(b)
        assert high[0] == a * b
