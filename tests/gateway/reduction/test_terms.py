"""Numbers as scaled integers: exact, bounded, and refused before anything overflows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.reduction.terms import ReductionError, Terms

TERMS = Terms("j", 8, 3, scale=20, magnitude=10)


@given(st.lists(st.lists(st.floats(-1023, 1023), min_size=3, max_size=3), min_size=8, max_size=8), st.randoms())
def test_any_order_of_adding_gives_the_same_bits(vectors, dice):
    scaled = [TERMS.scaled(vector) for vector in vectors]
    total = TERMS.real(np.sum(scaled, axis=0))
    for _ in range(3):
        dice.shuffle(scaled)
        left, right = sum(scaled[:3]), sum(scaled[3:])
        assert TERMS.real(right + left).tobytes() == total.tobytes()
    assert np.abs(total - np.sum(vectors, axis=0)).max() <= 8 * 2.0**-21 + 1e-9


@given(st.integers(-62, 62), st.integers(-62, 62), st.integers(1, 4096))
def test_what_is_let_in_cannot_overflow(scale, magnitude, workers):
    terms = Terms("j", workers, 1, scale=scale, magnitude=magnitude)
    try:
        terms.check()
    except ReductionError as error:
        assert scale + magnitude + np.ceil(np.log2(workers)) > 62, error
        return
    largest = int(terms.scaled([np.nextafter(2.0**magnitude, 0)])[0])
    assert workers * largest <= terms.most(workers) < 2**63


def test_too_many_bits_are_refused_in_numbers():
    with pytest.raises(ReductionError, match=r"scale 40 \+ magnitude 20 \+ log2 of 8 workers = 63 bits"):
        Terms("j", 8, 1, scale=40, magnitude=20).check()
    Terms("j", 4, 1, scale=40, magnitude=20).check()


@pytest.mark.parametrize("wrong", [1024.0, -1024.0, np.inf, -np.inf, np.nan])
def test_a_number_that_is_too_large_is_named(wrong):
    with pytest.raises(ReductionError, match=rf"number 1 is {wrong}, not below 2\*\*10"):
        TERMS.scaled([1.0, wrong, 2.0])


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ReductionError, match="4 numbers; the job's vectors have 3"):
        TERMS.scaled([1, 2, 3, 4])


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        (Terms("", 1, 1), "1 to 64 letters"),
        (Terms("a b", 1, 1), "1 to 64 letters"),
        (Terms("j", 0, 1), "0 workers"),
        (Terms("j", 5000, 1), "5000 workers"),
        (Terms("j", 1, 0), "at least one number"),
        (Terms("j", 1, 1, slot=0), "at least one number"),
        (Terms("j", 1, 1, scale=63, magnitude=-10), "between -62 and 62"),
        (Terms("j", 1, 1, rate=float("nan")), "a rate of nan"),
    ],
)
def test_terms_that_cannot_be(terms, why):
    with pytest.raises(ReductionError, match=why):
        terms.check()


def test_slots_cover_the_vector():
    terms = Terms("j", 1, 10, slot=4)
    assert terms.slots == 3
    assert [terms.size(slot) for slot in range(3)] == [4, 4, 2]
    assert [at for slot in range(3) for at in range(10)[terms.span(slot)]] == list(range(10))
