"""Values by type and quality."""

from __future__ import annotations

import math
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import DataType
from gateway import quality as q
from tests.adapters.mqtt.sparkplug.support import Edge, Listener, metric, names, values


def born(*metrics, **options):
    edge, host = Edge(), Listener(**options)
    rows = host.take(edge.nbirth(*metrics))
    return edge, host, rows


@pytest.mark.parametrize(
    ("datatype", "raw", "value"),
    [
        (DataType.INT8, 0xFFFFFFFF, -1),
        (DataType.INT8, 0xFF, -1),
        (DataType.INT16, 2**32 - 300, -300),
        (DataType.INT32, 2**32 - 1, -1),
        (DataType.INT64, 2**64 - 5, -5),
        (DataType.UINT8, 255, 255),
        (DataType.UINT32, 2**32 - 1, 2**32 - 1),
        (DataType.UINT64, 2**53, 2**53),
        (DataType.DOUBLE, -1.25, -1.25),
        (DataType.BOOLEAN, True, 1),
        (DataType.DATETIME, 1_767_225_600_000, 1_767_225_600_000),
    ],
)
def test_numbers(datatype, raw, value):
    _, host, rows = born(metric("x", raw, datatype))
    assert [(row[2], row[3]) for row in rows] == [(float(value), 0)]
    assert not host.reasons


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_int64(value):
    _, _, rows = born(metric("x", value % 2**64, DataType.INT64))
    exact = float(value) == value
    assert (rows[0][2], rows[0][3]) == (float(value), 0 if exact else q.QUESTIONABLE | q.INACCURATE)


def test_integers_that_a_float_cannot_hold_are_inaccurate():
    _, _, rows = born(metric("x", 2**53 + 1, DataType.UINT64), metric("y", 2**53 + 2, DataType.UINT64))
    assert [(row[2], row[3]) for row in rows] == [(2.0**53, q.QUESTIONABLE | q.INACCURATE), (2.0**53 + 2, 0)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("properties", [{}, {"Quality": 0}])
def test_floats_that_are_no_numbers(value, properties):
    edge, host, _ = born(metric("x", 1.0))
    rows = host.take(edge.ndata(metric("x", value, properties=properties)))
    assert [(row[2], row[3]) for row in rows] == [("not-a-number", q.INVALID)]


def test_null_is_a_missing_value():
    _, _, rows = born(
        metric("x", None, DataType.DOUBLE, is_null=True), metric("y", None, DataType.STRING, is_null=True)
    )
    assert [row[2:] for row in rows] == [("missing", q.INVALID)] * 2


def test_a_value_beside_null_is_no_value():
    _, _, rows = born(metric("x", 5.0, is_null=True))
    assert rows[0][2:] == ("missing", q.INVALID)


@pytest.mark.parametrize(
    ("code", "word"),
    [(192, q.GOOD), (0, q.INVALID), (500, q.QUESTIONABLE | q.OLD_DATA), (77, q.QUESTIONABLE)],
)
def test_tck_id_payloads_propertyset_quality_value_value(code, word):
    edge, host, _ = born(metric("x", 1.0))
    rows = host.take(edge.ndata(metric("x", 2.0, properties={"Quality": code})))
    assert rows[0][2:] == (2.0, word)
    assert host.reasons == ({"bad-quality": 1} if code == 77 else {})
    assert host.take(edge.ndata(metric("x", 2.0)))[0][3] == q.GOOD  # said of one value, not of the metric


def test_null_of_stale_quality_is_stale():
    edge, host, _ = born(metric("x", 1.0))
    rows = host.take(edge.ndata(metric("x", None, None, is_null=True, properties={"Quality": 500})))
    assert rows[0][2:] == ("stale", q.INVALID | q.OLD_DATA)


def test_quality_and_history_together():
    edge, host, _ = born(metric("x", 1.0))
    rows = host.take(edge.ndata(metric("x", 2.0, is_historical=True, properties={"Quality": 0})))
    assert rows[0][2:] == (2.0, q.INVALID | q.HISTORICAL)


def test_tck_id_payloads_propertyset_keys_array_size():
    wrong = metric("x", 1.0, properties={"engUnit": "V"})
    wrong.properties.keys.append("Quality")
    _, host, rows = born(wrong)
    assert rows[0][2:] == (1.0, q.GOOD)
    assert host.reasons["bad-propertyset"] == 2  # what it defines, and its quality


def test_a_text_where_a_number_should_be():
    edge, host, _ = born(metric("x", 1.0), metric("s", "on", DataType.STRING))
    rows = host.take(edge.ndata(metric("x", "seven", None, field="string_value"), metric("s", 1, DataType.UINT8)))
    assert [row[2:] for row in rows] == [("unparsable", q.INVALID)]
    assert host.reasons == {"type-mismatch": 2}


def test_a_number_in_a_wider_field():
    edge, host, _ = born(metric("x", 1, DataType.UINT32), metric("y", 1.0, DataType.FLOAT))
    rows = host.take(edge.ndata(metric("x", 7, None, field="long_value"), metric("y", 2.5, None, field="double_value")))
    assert [row[2] for row in rows] == [7.0, 2.5]


def test_texts_are_states_and_bounded():
    edge, host, _ = born(metric("s", "on", DataType.STRING))
    rows = host.take(edge.ndata(metric("s", "off", DataType.STRING)), edge.ndata(metric("s", "on", DataType.STRING)))
    assert [row[2] for row in rows] == [1.0, 0.0]
    assert host.take(edge.ndata(metric("s", "x" * 257, DataType.STRING))) == []
    for number in range(1100):
        host.take(edge.ndata(metric("s", str(number), DataType.STRING)))
    assert host.reasons == {"long-text": 1, "too-many-states": 1100 - 1022}


def test_arrays_are_points_of_their_elements():
    edge, host, rows = born(metric("a", b"\x01\x00\x00\x00\xff\xff\xff\xff", DataType.INT32_ARRAY))
    assert values(rows) == {"G-E/a/0": 1.0, "G-E/a/1": -1.0}
    rows = host.take(edge.ndata(metric("a", b"\x02\x00\x00\x00" * 3, None, field="bytes_value")))
    assert values(rows) == {"G-E/a/0": 2.0, "G-E/a/1": 2.0, "G-E/a/2": 2.0}
    rows = host.take(edge.ndata(metric("a", b"\x05\x00\x00\x00", None, field="bytes_value")))
    assert values(rows) == {"G-E/a/0": 5.0, "G-E/a/1": "missing", "G-E/a/2": "missing"}
    assert values(host.take(edge.ndata(metric("a", None, None, is_null=True)))) == dict.fromkeys(
        ["G-E/a/0", "G-E/a/1", "G-E/a/2"], "missing"
    )
    assert not host.reasons


def test_arrays_of_booleans_and_texts():
    booleans = (10).to_bytes(4, "little") + b"\xa0\x40"
    _, host, rows = born(
        metric("b", booleans, DataType.BOOLEAN_ARRAY), metric("s", b"on\0off\0", DataType.STRING_ARRAY)
    )
    found = values(rows)
    assert [found[f"G-E/b/{n}"] for n in range(10)] == [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    assert host.points.states(host.points.find("G-E/s/1")) == ["off"]
    assert not host.reasons


def test_arrays_are_bounded():
    edge, host, rows = born(
        metric("a", bytes(8193), DataType.UINT8_ARRAY), metric("b", bytes(1025), DataType.UINT8_ARRAY)
    )
    assert len(rows) == 1024
    assert host.reasons == {"long-array": 2}
    host.take(edge.ndata(metric("a", b"123", DataType.INT16_ARRAY), metric("a", 5.0)))
    assert host.reasons["type-mismatch"] == 1


def test_datasets_are_counted_and_left_out():
    table = pb.DataSet(num_of_columns=1, columns=["a"], types=[DataType.DOUBLE])
    edge, host, rows = born(metric("t", table, DataType.DATASET), metric("x", 1.0))
    assert names(rows) == ["G-E/x"]
    host.take(edge.ndata(metric("t", table, None, field="dataset_value")))
    assert host.reasons == {"dataset": 2}


def test_what_is_no_measurement_is_left_out():
    _, host, rows = born(metric("b", b"123", DataType.BYTES), metric("u", "x", DataType.UUID, field="string_value"))
    assert rows == []
    assert not host.reasons


@pytest.mark.parametrize("datatype", [0, 35, 2**31])
def test_an_unknown_type_is_counted_and_the_rest_is_taken(datatype):
    _, host, rows = born(metric("x", b"1", datatype), metric("y", 1.0))
    assert names(rows) == ["G-E/y"]
    assert host.reasons == {"unknown-datatype": 1}


def test_a_birth_without_types_is_read_by_its_fields():
    _, _, rows = born(metric("x", 1.5, None, field="double_value"), metric("s", "a", None, field="string_value"))
    assert values(rows) == {"G-E/x": 1.5, "G-E/s": 0.0}


def motor(*members, definition=False, ref="Motor"):
    made = pb.Template(is_definition=definition, template_ref="" if definition else ref)
    made.metrics.extend(members)
    return made


def test_templates_are_flattened_and_their_definitions_give_the_facts():
    definition = motor(
        metric("speed", None, DataType.INT32, properties={"engUnit": "min-1"}),
        metric("mode", None, DataType.STRING),
        definition=True,
    )
    edge, host, rows = born(
        metric("Motor", definition, DataType.TEMPLATE),
        metric(
            "m1",
            motor(metric("speed", 1500, DataType.INT32), metric("mode", "run", DataType.STRING)),
            DataType.TEMPLATE,
        ),
    )
    assert values(rows) == {"G-E/m1/speed": 1500.0, "G-E/m1/mode": 0.0}
    assert host.points.point(host.points.find("G-E/m1/speed")).unit == "min-1"
    rows = host.take(
        edge.ndata(
            metric("m1", motor(metric("speed", 2**32 - 5, None, field="int_value")), None, field="template_value")
        )
    )
    assert values(rows) == {"G-E/m1/speed": -5.0}
    rows = host.take(
        edge.dbirth("d", metric("m2", motor(metric("speed", 7, None, field="int_value")), DataType.TEMPLATE))
    )
    assert values(rows) == {"G-E-d/m2/speed": 7.0}
    assert not host.reasons


def test_templates_in_templates_down_to_a_bound():
    inner = metric("x", 1.0)
    for level in range(12):
        inner = metric(f"t{level}", motor(inner), DataType.TEMPLATE)
    _, host, rows = born(
        inner, metric("t", motor(metric("u", motor(metric("x", 2.0)), DataType.TEMPLATE)), DataType.TEMPLATE)
    )
    assert values(rows) == {"G-E/t/u/x": 2.0}
    assert host.reasons["too-deep"] == 1


def test_a_template_hands_its_quality_and_time_to_its_members():
    edge, host, _ = born(metric("m", motor(metric("x", 1.0)), DataType.TEMPLATE))
    said = metric(
        "m", motor(metric("x", 2.0)), DataType.TEMPLATE, timestamp=5, is_historical=True, properties={"Quality": 0}
    )
    assert host.take(edge.ndata(said)) == [("G-E/m/x", 5_000_000, 2.0, q.INVALID | q.HISTORICAL)]
    rows = host.take(edge.ndata(metric("m", None, DataType.TEMPLATE, is_null=True)))
    assert values(rows) == {"G-E/m/x": "missing"}


@pytest.mark.parametrize("wbits", [15, 31])
def test_compressed_payloads(wbits):
    edge, host, _ = born(metric("x", 1.0))
    topic, plain = edge.ndata(metric("x", 2.0))
    packer = zlib.compressobj(wbits=wbits)
    body = packer.compress(plain) + packer.flush()
    packed = pb.Payload(uuid="SPBV1.0_COMPRESSED", body=body).SerializeToString()
    assert values(host.take((topic, packed))) == {"G-E/x": 2.0}


def test_a_compressed_payload_is_unpacked_to_a_bound_only():
    edge, host, _ = born(metric("x", 1.0))
    bomb = zlib.compress(bytes(64 * 2**20), 9)
    packed = pb.Payload(uuid="SPBV1.0_COMPRESSED", body=bomb).SerializeToString()
    cut = pb.Payload(uuid="SPBV1.0_COMPRESSED", body=zlib.compress(b"12345")[:-4]).SerializeToString()
    assert host.take((edge.topic("NDATA"), packed), (edge.topic("NDATA"), cut), (edge.topic("NDATA"), b"\xff")) == []
    assert host.reasons == {"too-large": 1, "unparsable": 2}
