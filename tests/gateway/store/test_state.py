"""Snapshots as bytes: round trip of everything an operator may hold, and damage that is found."""

import math

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway.errors import PayloadError
from gateway.store import state

DTYPES = st.sampled_from(["bool", "int8", "int32", "int64", "uint16", "uint64", "float32", "float64", ">i4"])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.binary(max_size=5)
)
STATES = st.dictionaries(
    st.one_of(st.text(max_size=5), st.integers(-(2**63), 2**63)),
    st.recursive(
        st.one_of(PLAIN, ARRAYS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_size=5,
)


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(STATES)
def test_round_trip(found):
    assert same(state.decode(state.encode(found)), found)


def test_arrays_come_back_fresh_and_writable():
    original = np.arange(6.0).reshape(2, 3)[:, ::2]
    back = state.decode(state.encode({"a": original}))["a"]
    back[0, 0] = 99
    assert original[0, 0] == 0
    assert back.flags.writeable


def test_numpy_scalars_and_reasons_in_nans():
    back = state.decode(state.encode({"n": np.int64(5), "f": np.float32(0.5), "b": np.bool_(1), "nan": math.nan}))
    assert (back["n"], back["f"], back["b"]) == (5, 0.5, True)
    assert math.isnan(back["nan"])


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array(["text"]), np.array([object()]), 1j])
def test_what_a_snapshot_cannot_hold(value):
    with pytest.raises(TypeError, match="a snapshot cannot hold"):
        state.encode({"x": value})


@given(STATES, st.data())
def test_damage_is_found(found, data):
    raw = bytearray(state.encode(found))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        decoded = state.decode(bytes(raw))
    except PayloadError:
        return
    assert same(decoded, found)


@given(st.binary(max_size=100), st.binary(max_size=30), st.integers(-128, 127))
def test_any_bytes_give_a_state_or_a_named_error(raw, body, code):
    extension = msgpack.packb(msgpack.ExtType(code % 128, body))
    for block in (raw, zstandard.compress(raw), zstandard.compress(extension)):
        try:
            state.decode(block)
        except PayloadError as error:
            assert error.reason == "bad-state"


def headed(*head, body: bytes = b"\0" * 8) -> bytes:
    """An array's bytes, with any head."""
    packed = msgpack.packb(head)
    return bytes((len(packed),)) + packed + body


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x00", b"\x05abc", headed("<f8", [3], body=b"\0" * 23), headed("|O", [1]), headed("<f8", "x"),
        headed(",", [1]), headed("f8,f8", [1]), headed(5, [1]), headed("<f8"), headed("<f8", [2**62]), headed(),
    ],
)  # fmt: skip
def test_arrays_that_are_none(body):
    with pytest.raises(PayloadError, match="bad-state"):
        state.decode(zstandard.compress(msgpack.packb(msgpack.ExtType(1, body))))


def test_a_size_beyond_the_bound_is_refused_before_anything_is_allocated():
    huge = zstandard.ZstdCompressor().compressobj(size=2**60)
    with pytest.raises(PayloadError, match="size"):
        state.decode(huge.compress(b"x") + huge.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
