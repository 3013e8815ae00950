"""The codec of Sparkplug B payloads: round trips, the fields of each type, bounds, and bytes that mean harm."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payloads.sparkplug import codec
from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.codec import (
    DataSet,
    DataType,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Template,
    Typed,
    decode,
    encode,
    make_metric,
    make_property,
    quality_code,
    read,
)
from gateway.errors import PayloadError
from tests.support.malformed import survives

SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
UNSIGNED = {DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64, DataType.DATETIME: 64}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ARRAY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
FLOAT32 = st.floats(width=32, allow_nan=False)


def integers(datatype):
    if datatype in SIGNED:
        half = 1 << (SIGNED[datatype] - 1)
        return st.integers(-half, half - 1)
    return st.integers(0, (1 << UNSIGNED[datatype]) - 1)


SCALARS: dict[DataType, st.SearchStrategy] = {
    **{datatype: integers(datatype) for datatype in [*SIGNED, *UNSIGNED]},
    DataType.FLOAT: FLOAT32,
    DataType.DOUBLE: st.floats(allow_nan=False),
    DataType.BOOLEAN: st.booleans(),
    DataType.STRING: TEXT,
    DataType.TEXT: TEXT,
    DataType.UUID: TEXT,
}
VALUES: dict[DataType, st.SearchStrategy] = {
    **SCALARS,
    DataType.BYTES: st.binary(max_size=20),
    DataType.FILE: st.binary(max_size=20),
    DataType.INT8_ARRAY: st.lists(integers(DataType.INT8)),
    DataType.INT16_ARRAY: st.lists(integers(DataType.INT16)),
    DataType.INT32_ARRAY: st.lists(integers(DataType.INT32)),
    DataType.INT64_ARRAY: st.lists(integers(DataType.INT64)),
    DataType.UINT8_ARRAY: st.lists(integers(DataType.UINT8)),
    DataType.UINT16_ARRAY: st.lists(integers(DataType.UINT16)),
    DataType.UINT32_ARRAY: st.lists(integers(DataType.UINT32)),
    DataType.UINT64_ARRAY: st.lists(integers(DataType.UINT64)),
    DataType.FLOAT_ARRAY: st.lists(FLOAT32),
    DataType.DOUBLE_ARRAY: st.lists(st.floats(allow_nan=False)),
    DataType.BOOLEAN_ARRAY: st.lists(st.booleans()),
    DataType.STRING_ARRAY: st.lists(ARRAY_TEXT),
    DataType.DATETIME_ARRAY: st.lists(integers(DataType.INT64)),
}


def typed_values(table):
    return st.sampled_from(sorted(table)).flatmap(lambda datatype: st.tuples(st.just(datatype), table[datatype]))


properties = st.dictionaries(
    TEXT,
    typed_values(SCALARS).map(lambda pair: make_property(*pair))
    | st.just(make_property(DataType.INT32, None))
    | st.dictionaries(TEXT, st.just(make_property(DataType.INT32, 192)), max_size=2).map(
        lambda inner: make_property(DataType.PROPERTY_SET, inner)
    ),
    max_size=3,
)


@st.composite
def metrics(draw):
    datatype, value = draw(typed_values(VALUES))
    return make_metric(
        draw(st.none() | TEXT),
        datatype,
        draw(st.sampled_from([value, None])),
        alias=draw(st.none() | st.integers(0, 2**64 - 1)),
        timestamp=draw(st.none() | st.integers(0, 2**64 - 1)),
        historical=draw(st.booleans()),
        transient=draw(st.booleans()),
        properties=draw(properties),
        metadata=draw(st.none() | st.just(MetaData(content_type="text/plain", size=3))),
    )


@given(st.lists(metrics(), max_size=5), st.none() | st.integers(0, 255))
def test_a_payload_comes_back_as_it_was(found, seq):
    payload = Payload(timestamp=1_700_000_000_000, metrics=tuple(found), seq=seq)
    assert decode(encode(payload)) == payload


@given(typed_values(VALUES))
def test_a_value_comes_back_as_it_was(pair):
    datatype, value = pair
    (metric,) = decode(encode(Payload(metrics=(make_metric("m", datatype, value),)))).metrics
    assert read(metric) == value
    bare = Metric(kind=metric.kind, raw=metric.raw)
    assert read(bare, datatype) == value, "a DATA message leaves the type to the birth"


def test_templates_and_datasets_come_back():
    table = DataSet(
        ("time", "value"),
        (DataType.DATETIME, DataType.INT8),
        ((Typed(DataType.DATETIME, "long_value", 5), Typed(DataType.INT8, "", None, null=True)),),
    )
    template = Template(
        metrics=(make_metric("t", DataType.DATASET, table),),
        parameters=(Parameter(name="p", datatype=DataType.INT8, kind="int_value", raw=2**32 - 1),),
        version="1",
        ref="Motor",
    )
    payload = Payload(metrics=(make_metric("x", DataType.TEMPLATE, template),), uuid="u", body=b"b")
    assert decode(encode(payload)) == payload
    assert read(template.parameters[0]) == -1


@pytest.mark.parametrize(
    ("datatype", "kind", "raw", "value"),
    [
        (DataType.INT8, "int_value", 0xFFFF_FF80, -128),
        (DataType.INT8, "int_value", 0x80, -128),
        (DataType.INT8, "int_value", 0x7F, 127),
        (DataType.INT16, "long_value", 2**64 - 1, -1),
        (DataType.INT32, "int_value", 0x8000_0000, -(2**31)),
        (DataType.INT64, "long_value", 2**63, -(2**63)),
        (DataType.INT64, "int_value", 7, 7),
        (DataType.UINT32, "long_value", 2**32 - 1, 2**32 - 1),
        (DataType.DOUBLE, "float_value", 0.5, 0.5),
        (DataType.FLOAT, "double_value", 0.5, 0.5),
        # The examples of section 6.4.17
        (DataType.BOOLEAN_ARRAY, "bytes_value", b"\x0c\0\0\0\x34\xd0", [c == "1" for c in "001101001101"]),
        (DataType.STRING_ARRAY, "bytes_value", b"ABC\0hello\0", ["ABC", "hello"]),
        (DataType.INT16_ARRAY, "bytes_value", b"\x00\x80\xff\x7f", [-32768, 32767]),
    ],
)
def test_fields_as_others_write_them(datatype, kind, raw, value):
    assert read(Typed(datatype, kind, raw)) == value


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (Typed(None, "int_value", 1), "no-datatype"),
        (Typed(0, "int_value", 1), "unknown-datatype"),
        (Typed(99, "int_value", 1), "unknown-datatype"),
        (Typed(DataType.INT8, "string_value", "1"), "type-mismatch"),
        (Typed(DataType.DOUBLE, "int_value", 1), "type-mismatch"),
        (Typed(DataType.BOOLEAN, "int_value", 1), "type-mismatch"),
        (Typed(DataType.STRING, "bytes_value", b"x"), "type-mismatch"),
        (Typed(DataType.INT8, "int_value", 0x1FF), "out-of-range"),
        (Typed(DataType.UINT8, "int_value", 256), "out-of-range"),
        (Typed(DataType.INT16, "int_value", 0x8000_0000), "out-of-range"),
        (Typed(DataType.INT16_ARRAY, "bytes_value", b"x"), "bad-array"),
        (Typed(DataType.STRING_ARRAY, "bytes_value", b"x"), "bad-array"),
        (Typed(DataType.STRING_ARRAY, "bytes_value", b"\xff\0"), "bad-array"),
        (Typed(DataType.BOOLEAN_ARRAY, "bytes_value", b"\xff\xff\xff\xff\0"), "bad-array"),
        (Typed(DataType.BOOLEAN_ARRAY, "bytes_value", b"\1"), "bad-array"),
    ],
)
def test_what_is_no_value_of_its_type_is_named(typed, reason):
    with pytest.raises(PayloadError) as error:
        read(typed)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("datatype", "value", "reason"),
    [
        (DataType.INT8, 128, "out-of-range"),
        (DataType.UINT8, -1, "out-of-range"),
        (DataType.INT8, "x", "type-mismatch"),
        (DataType.BOOLEAN, 1, "type-mismatch"),
        (DataType.UNKNOWN, 1, "type-mismatch"),
        (DataType.DOUBLE, "x", "type-mismatch"),
        (DataType.UINT8_ARRAY, [256], "type-mismatch"),
    ],
)
def test_what_a_type_cannot_hold_is_not_written(datatype, value, reason):
    with pytest.raises(PayloadError) as error:
        make_metric("m", datatype, value)
    assert error.value.reason == reason


def test_what_no_field_can_hold_is_not_encoded():
    for metric in (Metric(name="\ud800"), Metric(alias=-1), Metric(kind="int_value", raw=2**32), Metric(kind="x")):
        with pytest.raises(PayloadError, match="unencodable"):
            encode(Payload(metrics=(metric,)))


def test_null_is_no_value():
    metric = make_metric("m", DataType.DOUBLE, None)
    assert (metric.null, metric.kind, read(metric)) == (True, "", None)


def test_a_nan_stays_a_nan():
    (metric,) = decode(encode(Payload(metrics=(make_metric("m", DataType.DOUBLE, math.nan),)))).metrics
    assert math.isnan(read(metric))


def test_the_quality_of_a_metric():
    assert quality_code(Metric(name="m")) == 192
    assert quality_code(Metric(properties={"Quality": make_property(DataType.INT32, 500)})) == 500
    assert quality_code(Metric(properties={"Quality": Property(None, "int_value", 0)})) == 0
    with pytest.raises(PayloadError):
        quality_code(Metric(properties={"Quality": make_property(DataType.STRING, "bad")}))


def refused(payload: bytes) -> str:
    with pytest.raises(PayloadError) as error:
        decode(payload)
    return error.value.reason


def chain(levels: int, tags: list[bytes], inner: bytes = b"") -> bytes:
    """Messages within each other, each behind a tag: the tags in turn, the outermost first."""
    parts, total = [], len(inner)
    for at in reversed(range(levels)):
        size, length = total, b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        parts.append(tags[at % len(tags)] + length + bytes([size]))
        total += len(parts[-1])
    return b"".join(reversed(parts)) + inner


def test_bounds():
    assert refused(bytes(codec.MAX_BYTES + 1)) == "too-large"
    assert refused(b"\x12\x00" * (codec.MAX_ITEMS + 1)) == "too-many-metrics"
    row = b"\x22" + bytes([8]) + b"\x0a\x00" * 4
    dataset = b"\x08\x04" + b"\x12\x00" * 4 + b"\x18\x01" * 4 + row * 10
    metric = chain(2, [b"\x12", b"\x8a\x01"], dataset)
    assert len(decode(metric, max_items=100).metrics) == 1
    with pytest.raises(PayloadError, match="too-many"):
        decode(metric, max_items=50)


METRIC, TEMPLATE, PROPERTIES, VALUE, SET = b"\x12", b"\x92\x01", b"\x4a", b"\x12", b"\x4a"
"""Tags: a metric of a payload or template, its template, its property set, a value of that, the set in it."""


def test_nesting():
    template = pb.Payload()
    found = template.metrics.add()
    for _ in range(codec.MAX_DEPTH):
        found = found.template_value.metrics.add()
    assert decode(template.SerializeToString()).metrics
    found.template_value.metrics.add()
    assert refused(template.SerializeToString()) == "too-deep"


def test_a_hundred_thousand_levels_are_refused():
    assert decode(chain(4, [METRIC, TEMPLATE])).metrics
    assert refused(chain(100_000, [METRIC, TEMPLATE])) == "unparsable"
    assert refused(chain(2, [METRIC, PROPERTIES], chain(100_000, [VALUE, SET]))) == "unparsable"
    assert refused(METRIC + b"\x13" * 100_000) == "unparsable", "groups"


def test_lists_that_do_not_fit_are_named():
    keys = pb.Payload()
    keys.metrics.add().properties.keys.append("k")
    assert refused(keys.SerializeToString()) == "bad-propertyset"
    columns = pb.Payload()
    columns.metrics.add().dataset_value.columns.append("c")
    assert refused(columns.SerializeToString()) == "bad-dataset"
    cells = pb.Payload()
    cells.metrics.add().dataset_value.rows.add().elements.add()
    assert refused(cells.SerializeToString()) == "bad-dataset"
    assert refused(b"\x12\x03\x0a\x01\xff") == "unparsable", "a name that is not UTF-8"


def test_unknown_fields_are_passed_over():
    assert decode(b"\x18\x07" + b"\x3a\x02hi").seq == 7


def seeds() -> list[bytes]:
    everything = [
        make_metric(
            datatype.name,
            datatype,
            {DataType.BOOLEAN: True}.get(datatype, 1.5 if datatype in {DataType.FLOAT, DataType.DOUBLE} else 1)
            if datatype < DataType.STRING
            else None,
            alias=datatype,
            timestamp=1,
            properties={"Quality": make_property(DataType.INT32, 0)},
        )
        for datatype in DataType
        if datatype
    ]
    arrays = [
        Metric(name="a", datatype=datatype, kind="bytes_value", raw=struct.pack("<IQ", 12, 5))
        for datatype in DataType
        if datatype > DataType.PROPERTY_SET_LIST
    ]
    table = DataSet(("a",), (DataType.INT8,), ((Typed(DataType.INT8, "int_value", 1),),))
    inner = make_metric("t", DataType.DATASET, table)
    template = make_metric("u", DataType.TEMPLATE, Template(metrics=(inner,), parameters=(Parameter(name="p"),)))
    return [
        encode(Payload(timestamp=1, seq=0, metrics=tuple(everything))),
        encode(Payload(timestamp=1, seq=255, metrics=tuple(arrays))),
        encode(Payload(metrics=(template,), uuid="u", body=b"b")),
    ]


def test_malformed_payloads_give_values_or_a_named_error():
    def decode_and_read(data: bytes) -> None:
        for metric in decode(data).metrics:
            read(metric)

    assert survives(decode_and_read, seeds()) > 1000
