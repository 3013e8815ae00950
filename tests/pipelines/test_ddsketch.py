"""The sketch alone: its error bound, and that order and grouping do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.operators.aggregate.ddsketch import ACCURACY, LARGEST, SMALLEST, Bins, quantiles
from pipelines.operators.reduce.tally import Tally
from tests.support.trials import trials

SIZES = st.floats(SMALLEST, LARGEST)
NUMBERS = st.one_of(SIZES, SIZES.map(lambda x: -x), st.just(0.0), st.floats(-100, 100))
BINS = Bins()


def sketch(samples, bins=BINS):
    """Of (window, value)."""
    tally = Tally(bins.bits)
    tally.count(np.array([number for number, _ in samples]), bins.of(np.array([value for _, value in samples])))
    return tally


@pytest.mark.parametrize("accuracy", [0.0001, 0.001, ACCURACY, 0.05, 0.2])
@settings(max_examples=trials(30))
@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_a_bin_stands_for_its_values_within_the_bound(accuracy, numbers):
    bins, values = Bins(accuracy), np.array(numbers)
    found = bins.values(bins.of(values))
    tiny = np.abs(values) < SMALLEST
    assert (found[tiny] == 0).all()
    assert (np.abs(found - values)[~tiny] <= accuracy * np.abs(values)[~tiny] * (1 + 1e-9)).all()


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=50))
def test_bins_are_in_the_order_of_values_whatever_they_are(numbers):
    bins = BINS.of(np.sort(np.array(numbers)))
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < 1 << BINS.bits
    assert BINS.bits == 13


@pytest.mark.parametrize("accuracy", [0.001, ACCURACY, 0.1])
@settings(deadline=None, max_examples=trials(50))
@given(
    st.lists(st.tuples(st.integers(0, 3), NUMBERS), min_size=1, max_size=80),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_quantiles_are_those_of_the_sorted_values_and_order_does_not_matter(accuracy, samples, fractions, random):
    bins, shuffled = Bins(accuracy), Tally(Bins(accuracy).bits)
    mixed = samples[:]
    random.shuffle(mixed)
    for number, value in mixed:
        shuffled.count(np.array([number]), bins.of(np.array([value])))
    windows = np.arange(4)
    found = quantiles(sketch(samples, bins), bins, windows, tuple(fractions))
    for column, fraction in zip(found, fractions, strict=True):
        for window in range(4):
            values = sorted(value for number, value in samples if number == window)
            exact = values[int(fraction * (len(values) - 1))] if values else 0.0
            assert abs(column[window] - exact) <= accuracy * abs(exact) * (1 + 1e-9) + SMALLEST
    assert np.array_equal(found, quantiles(shuffled, bins, windows, tuple(fractions)))


def test_forgetting_and_renumbering():
    tally = sketch([(number, value) for number, value in enumerate([1.0, 2.0, 3.0, 4.0, 5.0])])
    tally.renumber(np.array([-1, 0, -1, 1, 2]))
    assert np.allclose(quantiles(tally, BINS, np.arange(3), (0.5,))[0], [2, 4, 5], rtol=0.01)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 255), st.integers(-1000, 1000)), max_size=60),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=8, unique=True),
)
def test_gathering_adds_what_goes_to_one_row(entries, wanted):
    tally = Tally(8)
    for window, number, weight in entries:
        tally.count(np.array([window]), np.array([number]), np.array([weight]))
    wanted.sort(key=lambda pair: pair[1])
    found = tally.gathered(np.array([w for w, _ in wanted], np.intp), np.array([r for _, r in wanted], np.intp))
    expected = {}
    for window, row in wanted:
        for own, number, weight in entries:
            if own == window:
                expected[row, number] = expected.get((row, number), 0) + weight
    assert {(w, n): c for w, n, c in zip(*map(np.ndarray.tolist, found.entries()), strict=True)} == expected


def test_many_samples_are_kept_as_few_counts():
    tally = Tally(BINS.bits)
    chance = np.random.default_rng(2)
    for _ in range(100):
        tally.count(np.zeros(1000, np.int64), BINS.of(chance.normal(230, 5, 1000)))
    state = tally.snapshot()
    assert len(state["keys"]) < 50
    assert state["counts"].sum() == 100_000
    assert tally.nbytes < 50 * 16
