"""The sketch alone: its error bound, and that order and grouping do not matter."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.operators.ddsketch import ACCURACY, LARGEST, SMALLEST, Sketches, bins_of, values_of

SIZES = st.floats(SMALLEST, LARGEST)
NUMBERS = st.one_of(SIZES, SIZES.map(lambda x: -x), st.just(0.0), st.floats(-100, 100))


@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_a_bin_stands_for_its_values_within_the_bound(numbers):
    values = np.array(numbers)
    found = values_of(bins_of(values))
    tiny = np.abs(values) < SMALLEST
    assert (found[tiny] == 0).all()
    assert (np.abs(found - values)[~tiny] <= ACCURACY * np.abs(values)[~tiny] * (1 + 1e-9)).all()


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=50))
def test_bins_are_in_the_order_of_values_whatever_they_are(numbers):
    bins = bins_of(np.sort(np.array(numbers)))
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < 1 << 13


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), NUMBERS), min_size=1, max_size=80),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
def test_quantiles_are_those_of_the_sorted_values_and_order_does_not_matter(samples, fractions, random):
    straight, shuffled = Sketches(), Sketches()
    straight.add(*columns(samples))
    mixed = samples[:]
    random.shuffle(mixed)
    for one in mixed:
        shuffled.add(*columns([one]))
    windows = np.arange(4)
    found = straight.quantiles(windows, fractions)
    for column, fraction in zip(found, fractions, strict=True):
        for window in range(4):
            values = sorted(value for number, value in samples if number == window)
            exact = values[int(fraction * (len(values) - 1))] if values else 0.0
            assert abs(column[window] - exact) <= ACCURACY * abs(exact) * (1 + 1e-9) + SMALLEST
    assert np.array_equal(found, shuffled.quantiles(windows, fractions))


def columns(samples):
    return np.array([number for number, _ in samples]), np.array([value for _, value in samples])


def test_forgetting_and_renumbering():
    sketches = Sketches()
    sketches.add(np.arange(5), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    sketches.renumber(np.array([-1, 0, -1, 1, 2]))
    assert np.allclose(sketches.quantiles(np.arange(3), [0.5])[0], [2, 4, 5], rtol=0.01)


def test_many_samples_are_kept_as_few_counts():
    sketches = Sketches()
    chance = np.random.default_rng(2)
    for _ in range(100):
        sketches.add(np.zeros(1000, np.int64), chance.normal(230, 5, 1000))
    state = sketches.snapshot()
    assert len(state["keys"]) < 50
    assert state["counts"].sum() == 100_000
