"""Integers in few bits: what goes in comes out, whatever its width, and nothing else does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PayloadError
from gateway.reduction.packing import BLOCK, check, most_bytes, packed, unpacked

SIZES = st.integers(1, 400)


@st.composite
def vectors(draw):
    """Numbers whose width changes from block to block, and with zeros among them."""
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(SIZES)
    widths = np.repeat(dice.integers(0, draw(st.integers(1, 64)), -(-size // 16)), 16)[:size]
    values = dice.integers(-(2**63), 2**63 - 1, size, dtype=np.int64) >> (63 - widths)
    values[dice.random(size) < draw(st.sampled_from([0.0, 0.5, 0.99]))] = 0
    return values.astype("<i8")


@given(vectors())
def test_any_widths_come_out_as_they_went_in(values):
    data = packed(values)
    assert len(data) <= most_bytes(len(values))
    assert unpacked(data, len(values)).tobytes() == values.tobytes()
    assert unpacked(memoryview(b"before" + data)[6:], len(values)).tobytes() == values.tobytes()


@given(st.lists(st.sampled_from([-(2**63), 2**63 - 1, -1, 0, 1, 7, -8, 8, 2**62]), min_size=1, max_size=130))
def test_the_largest_and_the_smallest_come_out_too(values):
    assert unpacked(packed(np.array(values, "<i8")), len(values)).tolist() == values


def test_a_part_of_a_vector_is_read_as_it_lies():
    values = np.arange(-100, 100, dtype="<i8")
    assert unpacked(packed(values[10:90]), 80).tolist() == list(range(-90, -10))
    assert unpacked(packed(values[::2]), 100).tolist() == list(range(-100, 100, 2))


def test_narrow_numbers_are_short_and_zeros_nearly_nothing():
    dice = np.random.default_rng(1)
    assert len(packed(np.zeros(6400, "<i8"))) == 100
    for half_bytes in range(1, 17):
        most = 2 ** (4 * half_bytes - 1)
        values = dice.integers(-most, most - 1, 6400, dtype=np.int64, endpoint=True)
        assert len(packed(values)) <= 100 + 6400 * half_bytes // 2
    assert len(packed(np.full(6400, 2**62))) == most_bytes(6400) == 100 + 8 * 6400


@given(SIZES)
def test_no_vector_takes_much_more_than_its_numbers(size):
    widest, blocks = packed(np.full(size, -(2**63))), -(-size // BLOCK)
    assert len(widest) == most_bytes(size) < blocks + 8 * (size + 8 * blocks)


@given(vectors(), st.data())
def test_other_lengths_and_widths_are_refused(values, data):
    size, good = len(values), packed(values)
    blocks = -(-size // BLOCK)
    at = data.draw(st.integers(0, blocks - 1))
    width = data.draw(st.integers(0, 255).filter(lambda width: width != good[at]))
    wrong = [good + b"\0", good[:-1], good[: blocks - 1], b"", good[:at] + bytes((width,)) + good[at + 1 :]]
    for bad in wrong:
        for read in (check, unpacked):
            with pytest.raises(PayloadError, match="malformed"):
                read(bad, size)


@given(st.binary(max_size=300), SIZES)
def test_any_bytes_are_numbers_or_a_payload_error(data, size):
    try:
        check(data, size)
    except PayloadError:
        with pytest.raises(PayloadError):
            unpacked(data, size)
    else:
        assert len(unpacked(data, size)) == size


def test_what_is_wrong_is_said():
    with pytest.raises(PayloadError, match="3 numbers in 9 bytes, of a width that cannot be"):
        check(bytes((17,)) + bytes(8), 3)
    with pytest.raises(PayloadError, match="3 numbers in 9 bytes, their widths say 5"):
        check(bytes((1,)) + bytes(8), 3)
    with pytest.raises(PayloadError, match="65 numbers in 1 bytes, of a width that cannot be"):
        check(b"\0", 65)


def test_the_layout_is_the_documented_one():
    """Fixed: another version of either side must understand it."""
    values = np.zeros(80, "<i8")  # two blocks of 40
    values[:3] = 1000, -2, 3
    values[40:43] = 1, -1, 2
    values[60] = -3
    narrow = bytes((0x52, 0x01, 0x04)) + bytes(17)
    lowest = bytes((0xD0, 0x03, 0x06)) + bytes(37)
    above = bytes((0x07,)) + bytes(19)
    assert packed(values) == bytes((3, 1)) + narrow + lowest + above
