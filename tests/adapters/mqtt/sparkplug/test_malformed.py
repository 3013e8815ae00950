"""Payloads that are almost right, at a host with a session at work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.sparkplug.columns import Columns
from adapters.mqtt.sparkplug.requests import Certificate
from adapters.mqtt.sparkplug.where import parse_topic
from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import DataType
from gateway.errors import PayloadError
from tests.adapters.mqtt.sparkplug.support import Edge, Listener, metric
from tests.adapters.mqtt.sparkplug.test_values import motor
from tests.support.malformed import survives

RICH = [
    metric("v", 1.5, alias=1, properties={"engUnit": "V", "engLow": 0.0, "engHigh": 9.0, "Quality": 192}),
    metric("i", 2**32 - 7, DataType.INT32, alias=2),
    metric("u", 2**64 - 1, DataType.UINT64, alias=3),
    metric("s", "auto", DataType.STRING, alias=4),
    metric("a", bytes(16), DataType.FLOAT_ARRAY, alias=5),
    metric("b", b"\x03\x00\x00\x00\xa0", DataType.BOOLEAN_ARRAY),
    metric("t", b"on\0off\0", DataType.STRING_ARRAY),
    metric("M", motor(metric("x", None, DataType.INT8), definition=True), DataType.TEMPLATE),
    metric("m", motor(metric("x", 5, DataType.INT8), ref="M"), DataType.TEMPLATE),
    metric("z", None, DataType.DOUBLE, is_null=True),
    metric("d", pb.DataSet(num_of_columns=1, columns=["c"], types=[10]), DataType.DATASET),
]


def seeds(edge):
    births = [edge.nbirth(*RICH)[1], edge.dbirth("d", *RICH)[1]]
    return [
        *births,
        edge.ndata(*RICH)[1],
        edge.ndata(metric(None, 3.5, None, field="double_value", alias=1))[1],
        edge.ndeath()[1],
    ]


def fed(verbs, device=""):
    """Takes each payload by all topics; samples must fit together."""
    edge, host = Edge(), Listener(limit=2_000, max_metrics=500)
    topics = [parse_topic(edge.topic(verb, device)) for verb in verbs]

    def take(payload):
        columns = Columns()
        host.now += 1_000_000_000
        for where in topics:
            try:
                host.host.take(where, payload, host.now, columns)
            finally:
                host.rows(columns)
        host.host.tick(host.now, columns)
        host.rows(columns)
        host.sent()

    return take, host


def test_mutated_births_data_and_deaths_of_a_node():
    take, host = fed(["NBIRTH", "NDATA", "NDEATH"])
    refused = survives(take, seeds(Edge()))
    assert refused > 100
    assert host.reasons


def test_mutated_births_and_data_of_a_device():
    take, host = fed(["DBIRTH", "DDATA", "DDEATH"], "d")
    host.take(Edge().nbirth())
    assert survives(take, seeds(Edge()), 3_000) > 30


@given(st.binary(max_size=300))
def test_any_bytes(payload):
    take, _ = fed(["NBIRTH", "NDATA"])
    try:
        take(payload)
    except PayloadError as error:
        assert error.reason in {"unparsable", "too-large"}


@given(st.text(max_size=60))
def test_any_topic(topic):
    try:
        where = parse_topic(topic)
    except PayloadError as error:
        assert error.reason == "bad-topic"
    else:
        assert topic.startswith("spBv1.0/")
        assert where.edge or where.host


def test_mutated_states():
    certificate = Certificate("h")
    certificate.will(0)
    certificate.birth()
    assert survives(certificate.heard, [b'{"online": true, "timestamp": 1767225600000}'], 2_000) > 100


def test_templates_nested_without_end_are_refused():
    deep = b""
    for _ in range(100_000 // 8):
        deep = b"\x92\x01" + varint(len(deep) + 2 + len(varint(len(deep)))) + b"\x12" + varint(len(deep)) + deep
        if len(deep) > 200_000:
            break
    host = Listener()
    payload = b"\x18\x00\x12" + varint(len(deep)) + deep
    assert host.take(("spBv1.0/G/NBIRTH/E", payload)) == []
    assert host.reasons == {"unparsable": 1}


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def test_a_payload_of_nothing_but_metrics_is_bounded():
    edge, host = Edge(), Listener()
    host.take(edge.nbirth(metric("n", 1.0)))
    many = b"\x08\x01\x18\x01" + b"\x12\x00" * 60_000
    assert host.take((edge.topic("NDATA"), many)) == []
    assert host.reasons == {"too-many-metrics": 1}
