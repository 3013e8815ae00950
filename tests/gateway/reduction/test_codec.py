"""Messages: what goes in comes out, whatever it is cut into, and nothing else does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PayloadError
from gateway.reduction import codec
from gateway.reduction.codec import Hello, Kind, Need, Part, Result
from gateway.reduction.terms import Terms

NUMBERS = st.integers(0, 2**32 - 1)
BITMAPS = st.integers(0, 2**70 - 1) | st.just(2**4096 - 1)
VALUES = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20).map(lambda some: np.array(some, "<i8").tobytes())
PARTS = st.builds(Part, NUMBERS, NUMBERS, st.booleans(), BITMAPS, VALUES)
RESULTS = st.builds(Result, NUMBERS, NUMBERS, VALUES)
NEEDS = st.builds(Need, NUMBERS, NUMBERS, BITMAPS, BITMAPS)
NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=64)
TERMS = st.builds(
    Terms, NAMES, NUMBERS, st.integers(0, 2**64 - 1), NUMBERS, st.integers(-62, 62), st.integers(-62, 62),
    st.booleans(), st.floats(allow_nan=False), NUMBERS, st.booleans(),
)  # fmt: skip
HELLOS = st.builds(Hello, TERMS, st.none() | NUMBERS, st.integers(0, 255))
NONCE = bytes(range(16))
WRITERS = {Part: codec.part, Result: codec.result, Need: codec.need}


def whole(data):
    kind, start, end = codec.split(data, 0, 10**6)
    assert end == len(data)
    return kind, data[start:end]


@given(PARTS | RESULTS | NEEDS)
def test_messages_come_out_as_they_went_in(message):
    assert codec.read(*whole(WRITERS[type(message)](message))) == message


@given(HELLOS, st.text(max_size=40))
def test_who_joins_proves_that_he_has_the_token(who, token):
    kind, body = whole(codec.hello(who, token, NONCE))
    assert kind is Kind.HELLO
    assert codec.read_hello(body, token, NONCE) == who
    for wrong, nonce in ((token + "x", NONCE), (token, bytes(16))):
        with pytest.raises(PayloadError, match="token"):
            codec.read_hello(body, wrong, nonce)


@given(HELLOS, st.data())
def test_no_bit_of_a_hello_can_be_changed(who, data):
    _, body = whole(codec.hello(who, "secret", NONCE))
    at = data.draw(st.integers(0, len(body) * 8 - 1))
    changed = bytearray(body)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(PayloadError):
        codec.read_hello(bytes(changed), "secret", NONCE)


@given(PARTS | RESULTS | NEEDS)
def test_a_message_that_is_cut_is_not_whole(message):
    data = WRITERS[type(message)](message)
    for end in {0, 1, 4, 5, len(data) // 2, len(data) - 1}:
        assert codec.split(data[:end], 0, 10**6) is None


@given(st.sampled_from(Kind), st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_payload_error(kind, body):
    for read in (lambda: codec.read(kind, body), lambda: codec.read_hello(body, "", NONCE)):
        try:
            read()
        except PayloadError:
            continue


def test_what_is_too_long_is_refused_before_it_came():
    head = codec.head(Kind.PART, 10**6)
    with pytest.raises(PayloadError, match="1000001 bytes, 1000 is the most"):
        codec.split(head, 0, 1000)
    with pytest.raises(PayloadError, match="oversize"):
        codec.read_head(head, 1000)
    with pytest.raises(PayloadError, match="oversize"):
        codec.read_head(bytes(5), 1000)
    with pytest.raises(PayloadError, match="kind 99"):
        codec.split(b"\x01\0\0\0\x63", 0, 1000)


def test_a_node_of_another_version_is_told_apart():
    _, body = whole(codec.challenge(NONCE))
    assert codec.read_challenge(body) == NONCE
    with pytest.raises(PayloadError, match="version 1, this is 2"):
        codec.read_challenge(b"\x01" + NONCE)
    with pytest.raises(PayloadError, match="no challenge"):
        codec.read_challenge(NONCE)


def test_the_layout_is_the_documented_one():
    """Fixed: another version of either side must understand it."""
    sums = codec.values(np.array([1, -1], "<i8"), packed=False)
    assert codec.part(Part(7, 2, True, 0b101, sums)).hex() == (
        "1d000000070700000002000000010100050100000000000000ffffffffffffffff"
    )
    assert codec.result(Result(7, 2, sums)).hex() == "190000000807000000020000000100000000000000ffffffffffffffff"
    assert codec.need(Need(7, codec.ALL, 0b11, 0b1)).hex() == "0d0000000907000000ffffffff01000301"


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=100), st.booleans())
def test_sums_come_out_as_they_went_in(sums, packed):
    terms = Terms("j", 1, len(sums), packed=packed)
    data = codec.values(np.array(sums, "<i8"), packed=packed)
    assert codec.read_values(data, len(sums), packed=packed).tolist() == sums
    whole = codec.part(Part(1, 0, True, 1, data))
    assert codec.split(whole, 0, codec.most_bytes(terms)) is not None
    with pytest.raises(PayloadError, match=f"{len(sums)} numbers in {len(data) + 8} bytes"):
        codec.read_values(bytes(data) + bytes(8), len(sums), packed=packed)


def test_flags_that_are_unknown_are_refused():
    body = bytearray(whole(codec.hello(Hello(Terms("j", 1, 1), 0, 0), "", NONCE))[1][32:])
    body[26] |= 4
    with pytest.raises(PayloadError, match="flags 6"):
        codec.read_hello(codec.proof("", NONCE, bytes(body)) + bytes(body), "", NONCE)
