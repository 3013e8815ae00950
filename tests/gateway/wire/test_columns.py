"""The column codec: bit for bit, and any bytes give a frame or a named error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, by_point
from gateway.quality import Reason, no_value
from gateway.wire import columns, integers
from gateway.wire.integers import Reader
from tests.support.wire_vectors import vectors

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.floats(width=64),
    st.floats(width=32),
    st.integers(-(2**63), 2**63).map(float),
    st.integers(-(10**6), 10**6).map(lambda n: n / 100),
    st.integers(-(10**6), 10**6).map(lambda n: float(np.float32(n / 1000))),
    st.sampled_from([0.0, -0.0, no_value(Reason.TIMEOUT), float("inf"), 2.0**53, 2.0**63]),
)
TIMES = st.one_of(INT64, st.sampled_from([0, 1000, 2000]))
POINTS = st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1))
SAMPLES = st.lists(st.tuples(POINTS, TIMES, VALUES, st.integers(0, 0xFFFF)), max_size=60)


def frame_of(rows) -> Frame:
    return Frame.of(*map(list, zip(*rows, strict=True))) if rows else EMPTY


def grouped(frame: Frame) -> Frame:
    return frame.take(by_point(frame.point))


@given(SAMPLES)
def test_round_trip_keeps_every_bit_and_the_order_within_points(rows):
    frame = frame_of(rows)
    assert columns.decode(columns.encode(frame)) == grouped(frame)


@given(SAMPLES)
def test_plain_frames_round_trip(rows):
    frame = frame_of(rows)
    assert columns.unpack(columns.pack(frame, plain_below=1000)) == grouped(frame)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32), st.sampled_from([0, 1, 3, 9]))
def test_many_points_of_many_kinds_round_trip(points, times, seed, digits):
    chance = np.random.default_rng(seed)
    size = (times, points)
    kinds = chance.integers(0, 4, points)
    value = np.round(np.cumsum(chance.normal(0, 10, size), axis=0), digits)
    value[:, kinds == 1] = value[:, kinds == 1].astype(np.float32)
    value[:, kinds == 2] = chance.normal(0, 1, (times, np.count_nonzero(kinds == 2)))
    value[chance.random(size) < 0.05] = no_value(Reason.MISSING)
    ids = np.tile(np.sort(chance.choice(1000, points, replace=False)).astype(np.int32), times)
    stamps = np.repeat(np.cumsum(chance.integers(0, 10**9, times)), points)
    frame = Frame.of(ids, stamps, value.ravel()).take(chance.random(times * points) < chance.choice([0.5, 0.99, 1.1]))
    assert columns.decode(columns.encode(frame)) == grouped(frame)


@given(st.lists(INT64, min_size=1, max_size=200))
def test_integer_columns_round_trip(numbers):
    assert back(numbers) == numbers


@given(st.lists(st.integers(0, 100), min_size=3, max_size=200), st.sampled_from([1, 1000, 900_000_000_000, 2**50]))
def test_regular_columns_round_trip(numbers, step):
    assert back([number * step for number in numbers]) == [number * step for number in numbers]


def back(numbers: list[int]) -> list[int]:
    out = bytearray(b"x")
    integers.write(out, np.array(numbers, np.int64))
    reader = Reader(out, 1)
    found = reader.column(len(numbers)).tolist()
    assert reader.left == 0
    return found


@given(st.binary(max_size=300))
def test_any_bytes_give_a_frame_or_a_named_error(raw):
    for read in (columns.decode, columns.unpack):
        try:
            assert isinstance(read(raw), Frame)
        except PayloadError as error:
            assert error.reason


@given(SAMPLES, st.data())
def test_every_flipped_bit_is_found(rows, data):
    raw = bytearray(columns.encode(frame_of(rows)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PayloadError):
        columns.decode(bytes(raw))


@given(SAMPLES, st.data())
def test_changed_columns_never_raise_anything_else(rows, data):
    raw = bytearray(columns.pack(frame_of(rows), plain_below=data.draw(st.sampled_from([0, 100]))))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        columns.unpack(bytes(raw))
    except PayloadError as error:
        assert error.reason


def test_times_that_points_share_cost_nothing():
    uneven = 1_769_860_800_000_000_000 + np.cumsum(np.arange(50) ** 3)
    one = Frame.of([0] * 50, uneven, np.zeros(50))
    many = Frame.of(np.repeat(np.arange(40, dtype=np.int32), 50), np.tile(uneven, 40), np.zeros(2000))
    assert len(columns.pack(many)) <= len(columns.pack(one)) + 10
    assert columns.decode(columns.encode(many)) == many


def test_a_missing_value_costs_itself_only():
    value = np.round(np.cumsum(np.random.default_rng(1).normal(0, 3, 400)), 1)
    whole = len(columns.encode(Frame.of([0] * 400, 0, value)))
    value[200] = no_value(Reason.TIMEOUT)
    assert len(columns.encode(Frame.of([0] * 400, 0, value))) < whole + 40


def test_a_day_of_quarter_hours_is_small():
    n = 96
    time = 1_610_409_600_000_000_000 + np.arange(n) * 900_000_000_000
    value = np.round(500 + 400 * np.sin(np.arange(n) / 9), 1)
    frame = Frame.of(np.zeros(n, np.int32), time, value)
    assert len(columns.encode(frame)) < 2.0 * n


def test_the_bound_on_samples_holds_before_anything_is_made_of_them():
    frame = Frame.of([0] * 5000, 0, np.zeros(5000))
    raw = columns.encode(frame)
    assert len(raw) < 40
    assert len(columns.decode(raw, most=5000)) == 5000
    with pytest.raises(PayloadError, match="at most 4999"):
        columns.decode(raw, most=4999)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "bad-envelope"),
        (b"\x01\x00", "bad-envelope"),
        (b"\x02\x00", "damaged"),
        (b"\x28\xb5\x2f\xfd", "bad-envelope"),
        (b"\x03\x00 of the future", "bad-version"),
    ],
)
def test_not_an_envelope(raw, reason):
    with pytest.raises(PayloadError) as caught:
        columns.decode(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize("packed", [b"\x03\x00\x00", b"\x7f"])
def test_columns_of_a_newer_version(packed):
    with pytest.raises(PayloadError, match="bad-version: a frame of version"):
        columns.unpack(packed)


def test_the_vectors_show_every_form_and_width():
    """Of integer columns, and each way to hold values; so that other decoders are tested with them all."""
    seen: set[int] = set()
    original = integers.Reader.column

    def column(self, n):
        seen.add(self._raw[self._at])
        return original(self, n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integers.Reader, "column", column)
        from tests.support.wire_vectors import read_all

        for stream, _ in vectors().values():
            read_all(stream)
    assert {head & 3 for head in seen} == {0, 1, 2, 3}
    assert {head >> 2 & 7 for head in seen} == {0, 1, 2, 3, 4, 5}
    assert any(head & 32 for head in seen)
