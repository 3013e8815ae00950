import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payloads.formats import Encoding, Format, encoding_of
from adapters.payloads.senml import Record, decode_senml
from gateway.errors import PayloadError

NOW = 1_800_000_000_000_000_000
LABELS = {"bs": -6, "bv": -5, "bu": -4, "bt": -3, "bn": -2, "bver": -1}
LABELS |= {"n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8}


def both(pack):
    """The records of a pack, decoded from JSON and from CBOR, which must agree."""
    numbered = [{LABELS.get(label, label): value for label, value in record.items()} for record in pack]
    from_json = decode_senml(msgspec.json.encode(pack), Encoding.SENML_JSON, NOW)
    assert decode_senml(cbor2.dumps(numbered), Encoding.SENML_CBOR, NOW) == from_json
    return from_json


def test_multiple_measurements_of_the_rfc():  # RFC 8428, 5.1.2 and 5.1.3
    records = both(
        [
            {"bn": "urn:dev:ow:10e2073a0108006:", "bt": 1.276020076001e09, "bu": "A", "bver": 5, "n": "voltage",
             "u": "V", "v": 120.1},
            {"n": "current", "t": -5, "v": 1.2},
            {"n": "current", "v": 1.7},
        ]
    )  # fmt: skip
    assert [(r.name, r.local, r.unit, r.value) for r in records] == [
        ("urn:dev:ow:10e2073a0108006:voltage", "voltage", "V", 120.1),
        ("urn:dev:ow:10e2073a0108006:current", "current", "A", 1.2),
        ("urn:dev:ow:10e2073a0108006:current", "current", "A", 1.7),
    ]
    assert [round(r.time_ns / 1e6) for r in records] == [1276020076001, 1276020071001, 1276020076001]


def test_the_cbor_example_of_the_rfc():  # RFC 8428, section 6
    pack = (
        "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f"
        "6c7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e7406"
        "2302fb3ff4cccccccccccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a300"
        "6763757272656e74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333333333"
    )
    records = decode_senml(bytes.fromhex(pack), Encoding.SENML_CBOR, NOW)
    assert [record.value for record in records] == [120.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    assert {record.unit for record in records} == {"V", "A"}


def test_times_are_relative_below_2_to_the_28th():
    ago, soon, absolute, none = both(
        [{"n": "a", "v": 1, "t": -5.5}, {"n": "b", "v": 1, "t": 0}, {"n": "c", "v": 1, "t": 2**28}, {"n": "d", "v": 1}]
    )
    assert ago.time_ns == NOW - 5_500_000_000
    assert soon.time_ns == NOW
    assert absolute.time_ns == 2**28 * 1_000_000_000
    assert none.time_ns is None


def test_base_fields_hold_until_given_again():
    records = both(
        [
            {"bn": "x/", "bv": 10, "bu": "W", "bs": 100},
            {"n": "p", "v": 1},
            {"n": "q", "v": 2, "s": 5, "u": "VA"},
            {"bn": "y/", "bu": "Cel", "bv": 0, "n": "t", "v": 3},
            {"n": "on", "vb": True},
            {"n": "mode", "vs": "eco"},
        ]
    )
    assert [(r.name, r.value, r.unit) for r in records] == [
        ("x/p", 11.0, "W"),
        ("x/q", 12.0, "VA"),
        ("x/q.sum", 105.0, ""),
        ("y/t", 3.0, "Cel"),
        ("y/on", True, "Cel"),
        ("y/mode", "eco", "Cel"),
    ]


def test_opaque_data_is_a_record_without_a_value():
    assert both([{"n": "open", "vd": "8J-YgA"}]) == [Record("open", "open", None, "", None)]


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ({"n": "a", "v": 1}, "bad-record"),
        ([1], "bad-record"),
        ([{"v": 1}], "bad-record"),
        ([{"n": "-a", "v": 1}], "bad-record"),
        ([{"n": "a b", "v": 1}], "bad-record"),
        ([{"n": "a", "v": "1"}], "bad-record"),
        ([{"n": "a", "v": True}], "bad-record"),
        ([{"n": "a", "vb": 1}], "bad-record"),
        ([{"n": "a", "vs": 1}], "bad-record"),
        ([{"n": "a", "v": 1, "vs": "x"}], "bad-record"),
        ([{"n": "a", "v": 1, "new_": 2}], "bad-record"),
        ([{"bver": 11, "n": "a", "v": 1}], "unsupported-version"),
        ([{"n": "a", "v": 1, "t": 1e300}], "bad-time"),
        ([{"n": "a", "v": 1, "t": -4e9}], "bad-time"),
        ([{"n": "a", "v": None}], "not-a-value"),
    ],
)
def test_a_bad_record_makes_the_pack_bad(pack, reason):
    with pytest.raises(PayloadError) as raised:
        decode_senml(msgspec.json.encode(pack), Encoding.SENML_JSON, NOW)
    assert raised.value.reason == reason


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9\-:./_]{0,20}", fullmatch=True)
value = st.one_of(
    st.fixed_dictionaries({"v": st.floats(allow_nan=False, allow_infinity=False)}),
    st.fixed_dictionaries({"vs": st.text(max_size=20)}),
    st.fixed_dictionaries({"vb": st.booleans()}),
)


@given(st.lists(st.tuples(names, value, st.integers(2**28, 2**33 - 1)), min_size=1, max_size=8), names)
def test_any_pack_resolves_to_what_was_put_in(items, base):
    pack = [{"n": name, "t": time, **found} for name, found, time in items]
    pack[0]["bn"] = base
    assert both(pack) == [
        Record(base + name, name, next(iter(found.values())), "", time * 1_000_000_000) for name, found, time in items
    ]


@given(st.binary(max_size=300), st.sampled_from([Encoding.SENML_JSON, Encoding.SENML_CBOR]))
def test_any_bytes_are_records_or_a_named_error(payload, encoding):
    try:
        records = decode_senml(payload, encoding, NOW)
    except PayloadError as error:
        assert error.reason
    else:
        assert all(isinstance(record, Record) for record in records)


ITEM = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from(list(LABELS.values())), ITEM)))
def test_any_fields_are_records_or_a_named_error(pack):
    try:
        records = decode_senml(cbor2.dumps(pack), Encoding.SENML_CBOR, NOW)
    except PayloadError as error:
        assert error.reason
    else:
        for record in records:
            assert record.time_ns is None or 0 <= record.time_ns < 2**63
            assert record.value is None or isinstance(record.value, (bool, str, float))


@pytest.mark.parametrize(
    ("wanted", "number", "payload", "encoding"),
    [
        (Format.AUTO, 0, b"", Encoding.TEXT),
        (Format.AUTO, 50, b"", Encoding.JSON),
        (Format.AUTO, 60, b"", Encoding.CBOR),
        (Format.AUTO, 111, b"", Encoding.SENML_JSON),
        (Format.AUTO, 112, b"", Encoding.SENML_CBOR),
        (Format.AUTO, None, b"", Encoding.UNKNOWN),
        (Format.JSON, 0, b"", Encoding.JSON),
        (Format.SENML, 50, b"", Encoding.SENML_JSON),
        (Format.SENML, 60, b"", Encoding.SENML_CBOR),
        (Format.SENML, None, b"[", Encoding.SENML_JSON),
        (Format.SENML, None, b"\x81", Encoding.SENML_CBOR),
        (Format.SENML, 0, b"\x9f", Encoding.SENML_CBOR),
    ],
)
def test_what_a_payload_is_decoded_as(wanted, number, payload, encoding):
    assert encoding_of(wanted, number, payload) is encoding


@pytest.mark.parametrize("number", [43, 114, 310, 65000])
def test_a_content_format_that_is_not_known_is_named(number):
    with pytest.raises(PayloadError, match="unsupported-format"):
        encoding_of(Format.AUTO, number, b"1")
