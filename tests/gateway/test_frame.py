"""Frames: columns of one length, equality by bits, grouping."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import EMPTY, Frame, by_point, concat, group_starts
from gateway.quality import Reason, no_value

IDS = st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**31 - 1)), max_size=60)


def test_scalars_fill_and_dtypes_are_fixed():
    frame = Frame.of([1, 2], 5, [1, True], 3)
    assert [column.dtype for column in (frame.point, frame.time, frame.value, frame.quality)] == [
        np.int32, np.int64, np.float64, np.uint16,
    ]  # fmt: skip
    assert frame.time.tolist() == [5, 5]
    assert frame.quality.tolist() == [3, 3]
    assert frame.nbytes == sum(c.nbytes for c in (frame.point, frame.time, frame.value, frame.quality))


@pytest.mark.parametrize("columns", [([1], [1, 2], [1.0]), ([1], 1, []), ([1, 2], 1, [1.0, 2.0], [0])])
def test_columns_of_different_length_are_refused(columns):
    with pytest.raises(ValueError, match="differ in length"):
        Frame.of(*columns)


def test_equality_is_bit_for_bit():
    def one(value, **more):
        return Frame.of([1], 1, [value], **more)

    assert one(no_value(Reason.TIMEOUT)) == one(no_value(Reason.TIMEOUT))
    assert one(no_value(Reason.TIMEOUT)) != one(math.nan)
    assert one(0.0) != one(-0.0)
    assert one(1.0) != one(1.0, quality=1)
    assert one(1.0) != "frame"
    with pytest.raises(TypeError):
        hash(one(1.0))


def test_take_and_replace_leave_the_original_alone():
    frame = Frame.of([1, 2, 3], [7, 8, 9], [1.0, 2.0, 3.0], [0, 1, 2])
    assert frame.take(np.array([2, 0])) == Frame.of([3, 1], [9, 7], [3.0, 1.0], [2, 0])
    assert frame.take(frame.value > 1) == frame.take(slice(1, 3))
    changed = frame.replace(value=frame.value * 2)
    assert changed.value.tolist() == [2, 4, 6]
    assert changed.point is frame.point
    assert frame.value.tolist() == [1, 2, 3]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5))
def test_concat_keeps_all_in_order(parts):
    frames = [Frame.of(part, 1, [float(p) for p in part]) for part in parts]
    assert concat(frames).point.tolist() == [p for part in parts for p in part]


def test_concat_of_one_costs_nothing_and_of_none_is_empty():
    frame = Frame.of([1], 1, [1.0])
    assert concat([EMPTY, frame, EMPTY]) is frame
    assert concat([]) is EMPTY


@given(IDS)
def test_by_point_is_the_stable_order(ids):
    order = by_point(np.array(ids, np.int32))
    assert order.tolist() == sorted(range(len(ids)), key=ids.__getitem__)


@given(st.lists(st.integers(-3, 3), max_size=40))
def test_group_starts_are_where_keys_change(keys):
    keys.sort()
    expected = [at for at, key in enumerate(keys) if at == 0 or keys[at - 1] != key]
    assert group_starts(np.array(keys, np.int64)).tolist() == expected
