"""The TLV codec: the examples of the standard, round trips, and whatever else may come."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.lwm2m import tlv
from adapters.coap.lwm2m.tlv import Entry, Tag, decode, encode
from gateway.errors import PayloadError
from tests.support.malformed import survives

# OMA-TS-LightweightM2M-V1_0_2, 6.4.3.1: a read of /3/0, whose device is "Open Mobile Alliance"
DEVICE = bytes.fromhex(
    "c800144f70656e204d6f62696c6520416c6c69616e6365"
    "c801164c69676874776569676874204d324d20436c69656e74"
    "c80209333435303030313233"
    "c303312e30"
    "8606410001410105"
    "8807084200 0ed8 4201 1388".replace(" ", "")
    + "87084100 7d 42010384".replace(" ", "")
    + "c10964"
    "c10a0f"
    "830b410000"
    "c40d5182428f"
    "c60e2b30323a3030"
    "c11055"
)

identifiers = st.integers(0, 65_535)
values = st.one_of(st.binary(max_size=12), st.binary(min_size=250, max_size=300))
plain = st.tuples(identifiers, values).map(lambda it: ([Entry(None, it[0], None, it[1])], encode(Tag.RESOURCE, *it)))


@st.composite
def multiples(draw):
    resource, parts = draw(identifiers), draw(st.lists(st.tuples(identifiers, values), max_size=4))
    inner = b"".join(encode(Tag.RESOURCE_INSTANCE, at, value) for at, value in parts)
    return [Entry(None, resource, at, value) for at, value in parts], encode(Tag.MULTIPLE, resource, inner)


resources = st.lists(plain | multiples(), max_size=6).map(
    lambda parts: ([entry for entries, _ in parts for entry in entries], b"".join(data for _, data in parts))
)


@st.composite
def instances(draw):
    number, (entries, data) = draw(identifiers), draw(resources)
    return [entry._replace(instance=number) for entry in entries], encode(Tag.OBJECT_INSTANCE, number, data)


def test_the_standards_example_is_read():
    found = {(entry.resource, entry.nth): entry.value for entry in decode(DEVICE)}
    assert found[0, None] == b"Open Mobile Alliance"
    assert [tlv.integer(found[6, at]) for at in (0, 1)] == [1, 5]
    assert [tlv.integer(found[7, at]) for at in (0, 1)] == [3800, 5000]
    assert [tlv.integer(found[8, at]) for at in (0, 1)] == [125, 900]
    assert tlv.integer(found[9, None]) == 100
    assert tlv.integer(found[11, 0]) == 0
    assert tlv.integer(found[13, None]) == 1_367_491_215
    assert tlv.text(found[14, None]) == "+02:00"


@given(st.lists(plain | multiples() | instances(), max_size=5))
def test_what_is_encoded_is_decoded(parts):
    expected = [entry for entries, _ in parts for entry in entries]
    assert decode(b"".join(data for _, data in parts)) == expected


@pytest.mark.parametrize(
    ("length", "head"), [(0, 0xC0), (7, 0xC7), (8, 0xC8), (255, 0xC8), (256, 0xD0), (65_535, 0xD0), (65_536, 0xD8)]
)
def test_lengths_are_written_in_the_shortest_form(length, head):
    data = encode(Tag.RESOURCE, 1, bytes(length))
    assert data[0] == head
    assert decode(data) == [Entry(None, 1, None, bytes(length))]


def test_an_identifier_beyond_a_byte_takes_two():
    assert encode(Tag.RESOURCE, 5700, b"\x01").hex() == "e1164401"
    assert decode(bytes.fromhex("e1164401")) == [Entry(None, 5700, None, b"\x01")]
    with pytest.raises(ValueError, match="is no TLV"):
        encode(Tag.RESOURCE, 65_536, b"")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xc8", "unparsable"),
        (b"\xc8\x00\x05abc", "unparsable"),
        (b"\xd8\x00\xff\xff\xff", "unparsable"),
        (encode(Tag.OBJECT_INSTANCE, 0, encode(Tag.OBJECT_INSTANCE, 0, b"")), "bad-nesting"),
        (encode(Tag.OBJECT_INSTANCE, 0, encode(Tag.RESOURCE_INSTANCE, 0, b"")), "bad-nesting"),
        (encode(Tag.MULTIPLE, 0, encode(Tag.MULTIPLE, 0, b"")), "bad-nesting"),
        (encode(Tag.MULTIPLE, 0, encode(Tag.RESOURCE, 0, b"")), "bad-nesting"),
        (b"\xc0\x00" * 4097, "too-many-values"),
    ],
)
def test_what_is_wrong_is_named(payload, reason):
    with pytest.raises(PayloadError) as caught:
        decode(payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize("tag", [Tag.OBJECT_INSTANCE, Tag.MULTIPLE])
def test_deep_nesting_is_refused_at_its_second_level(tag):
    payload = bytes([tag << 6 | 0x18, 0, 0xFF, 0xFF, 0xFF]) * 100_000
    with pytest.raises(PayloadError):
        decode(payload)
    deep = b""
    for _ in range(200):
        deep = encode(tag, 0, deep)
    with pytest.raises(PayloadError, match="bad-nesting"):
        decode(deep)


def test_malformed_payloads_give_values_or_a_named_error():
    seeds = [DEVICE, encode(Tag.OBJECT_INSTANCE, 300, DEVICE), encode(Tag.RESOURCE, 5700, struct.pack(">d", 21.5)), b""]
    assert survives(decode, seeds)


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_of_all_widths(number):
    for width in (1, 2, 4, 8):
        if -(1 << (8 * width - 1)) <= number < 1 << (8 * width - 1):
            assert tlv.integer(number.to_bytes(width, signed=True)) == number


@given(st.floats(width=32), st.floats())
def test_floats_are_taken_bit_by_bit(short, long):
    for form, number in ((">f", short), (">d", long)):
        found = tlv.floating(struct.pack(form, number))
        assert found == number or (math.isnan(found) and math.isnan(number))


@pytest.mark.parametrize(
    ("decoder", "value", "reason"),
    [
        (tlv.integer, b"", "bad-length"),
        (tlv.integer, b"123", "bad-length"),
        (tlv.floating, b"12", "bad-length"),
        (tlv.boolean, b"", "bad-length"),
        (tlv.boolean, b"\x02", "bad-value"),
        (tlv.text, b"\xff", "unparsable"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_named(decoder, value, reason):
    with pytest.raises(PayloadError) as caught:
        decoder(value)
    assert caught.value.reason == reason


def test_booleans():
    assert tlv.boolean(b"\x01") is True
    assert tlv.boolean(b"\x00") is False
