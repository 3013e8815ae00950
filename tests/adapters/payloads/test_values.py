import math

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payloads.documents import decode_cbor, decode_json
from adapters.payloads.text import decode_number, decode_text
from adapters.payloads.values import to_value
from gateway.errors import PayloadError


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"23.5", 23.5), (b" 23.5\r\n", 23.5), (b"-1", -1.0), (b"+.5e3", 500.0), (b"7.", 7.0), (b"1e-400", 0.0),
        (b"true", True), (b"False", False), (b"on", "on"), (b"OFF", "OFF"), ("läuft".encode(), "läuft"),
        (b"1_000", "1_000"), (b"0x10", "0x10"), (b"infinity", "infinity"), (b"inf", math.inf),
    ],
)  # fmt: skip
def test_text_is_a_number_a_boolean_or_a_state(payload, value):
    found = decode_text(payload)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number_without_a_value():
    assert math.isnan(decode_text(b"nan"))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"), (b" \n", "empty"), (b"\xff", "not-text"), (b"a\x00b", "not-text"),
        (b"1e999", "out-of-range"), (b"x" * 257, "too-long"), (b"9" * 399, "out-of-range"),
    ],
)  # fmt: skip
def test_bad_text_says_why(payload, reason):
    with pytest.raises(PayloadError) as raised:
        decode_text(payload)
    assert raised.value.reason == reason


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_as_text_json_and_cbor(value):
    assert decode_text(repr(value).encode()) == value
    assert decode_number(repr(value).encode()) == value
    assert to_value(decode_json(msgspec.json.encode(value))) == value
    assert to_value(decode_cbor(cbor2.dumps(value))) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_named_error(payload):
    for decode in (decode_text, decode_json, decode_cbor):
        try:
            found = decode(payload)
        except PayloadError as error:
            assert error.reason
        else:
            try:
                assert isinstance(to_value(found), (float, bool, str))
            except PayloadError as error:
                assert error.reason in {"not-a-value", "out-of-range", "too-long"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON.filter(lambda document: "inf" not in repr(document)))
def test_documents_survive_json_and_cbor(document):
    assert decode_json(msgspec.json.encode(document)) == document
    assert decode_cbor(cbor2.dumps(document)) == document


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_hundred_thousand_nested_json_containers_are_refused(opening):
    with pytest.raises(PayloadError, match="too-deep"):
        decode_json(opening * 100_000)


@pytest.mark.parametrize("opening", [b"\x81", b"\xa1\x00", b"\x9f", b"\xc1", b"\xc4\x82\x00", b"\xd9\xd9\xf7"])
def test_a_hundred_thousand_nested_cbor_items_are_refused(opening):
    with pytest.raises(PayloadError, match="unparsable"):
        decode_cbor(opening * 100_000)


@pytest.mark.parametrize(
    "payload",
    [
        "9b7fffffffffffffff", "5a7fffffff", "d81c81d81d00", "c249010000000000000000", "d823612e", "c0603a",
        "c482" + "1b7fffffffffffffff" + "01", "0102", "d9010280", "d90100" + "80", "",
    ],
)  # fmt: skip
def test_cbor_that_lies_or_builds_what_is_not_data_is_refused(payload):
    with pytest.raises(PayloadError, match="unparsable"):
        decode_cbor(bytes.fromhex(payload))


def test_a_decimal_fraction_is_a_number():
    assert to_value(decode_cbor(bytes.fromhex("c48221196ab3"))) == 273.15


@pytest.mark.parametrize("found", [None, [], {}, b"x", object()])
def test_what_is_no_value_is_named(found):
    with pytest.raises(PayloadError, match="not-a-value"):
        to_value(found)


def test_an_integer_beyond_floats_is_named():
    with pytest.raises(PayloadError, match="out-of-range"):
        to_value(10**400)
