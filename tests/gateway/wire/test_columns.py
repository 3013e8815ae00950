"""The column codec: bit for bit, and any bytes give a frame or a named error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, by_point
from gateway.quality import Reason, no_value
from gateway.wire import columns, integers

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.floats(width=64),
    st.floats(width=32),
    st.integers(-(2**53), 2**53).map(float),
    st.integers(-(10**6), 10**6).map(lambda n: n / 100),
    st.sampled_from([0.0, -0.0, no_value(Reason.TIMEOUT), float("inf")]),
)
SAMPLES = st.lists(st.tuples(st.integers(0, 70_000), INT64, VALUES, st.integers(0, 0xFFFF)), max_size=60)


def frame_of(rows) -> Frame:
    return Frame.of(*map(list, zip(*rows, strict=True))) if rows else EMPTY


@given(SAMPLES)
def test_round_trip_keeps_every_bit_and_the_order_within_points(rows):
    frame = frame_of(rows)
    assert columns.decode(columns.encode(frame)) == frame.take(by_point(frame.point))


@given(SAMPLES)
def test_plain_frames_round_trip(rows):
    frame = frame_of(rows)
    assert columns.unpack(columns.pack(frame, plain_below=1000)) == frame.take(by_point(frame.point))


@given(st.lists(INT64, min_size=1, max_size=200))
def test_integer_columns_round_trip(numbers):
    column = np.array(numbers, np.int64)
    assert integers.decode(integers.encode(column), len(column)).tolist() == numbers


@given(st.lists(st.integers(0, 100), min_size=3, max_size=200), st.sampled_from([1, 1000, 900_000_000_000]))
def test_regular_columns_round_trip(numbers, step):
    column = np.array(numbers, np.int64) * step
    assert integers.decode(integers.encode(column), len(column)).tolist() == column.tolist()


@given(st.binary(max_size=300))
def test_any_bytes_give_a_frame_or_a_named_error(raw):
    for read in (columns.decode, columns.unpack):
        try:
            assert isinstance(read(raw), Frame)
        except PayloadError as error:
            assert error.reason


@given(SAMPLES, st.data())
def test_damaged_bytes_are_found(rows, data):
    raw = bytearray(columns.encode(frame_of(rows)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = columns.decode(bytes(raw))
    except PayloadError:
        return
    # zstd may ignore a bit of its own header; then nothing may have changed
    frame = frame_of(rows)
    assert decoded == frame.take(by_point(frame.point))


@given(SAMPLES, st.data())
def test_changed_maps_never_raise_anything_else(rows, data):
    raw = bytearray(columns.pack(frame_of(rows), plain_below=data.draw(st.sampled_from([0, 100]))))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        columns.unpack(bytes(raw))
    except PayloadError as error:
        assert error.reason


def test_a_day_of_quarter_hours_is_small():
    n = 96
    time = 1_610_409_600_000_000_000 + np.arange(n) * 900_000_000_000
    value = np.round(500 + 400 * np.sin(np.arange(n) / 9), 1)
    frame = Frame.of(np.zeros(n, np.int32), time, value)
    assert len(columns.encode(frame)) < 3.0 * n


@pytest.mark.parametrize("raw", [b"", b"\x28\xb5\x2f\xfd", b"\x80", b"\x81\xa1v\x02"])
def test_not_a_frame(raw):
    with pytest.raises(PayloadError, match="bad-frame"):
        columns.decode(raw)
