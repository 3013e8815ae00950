"""Sparkplug 3.0 on topics, the session, the order and the numbers of messages."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from adapters.payloads.sparkplug.codec import DataType, read
from tests.gateway.uplinks.sparkplug.scenario import MS
from tests.gateway.uplinks.sparkplug.scripted import Connect, Disconnect, Publish, Subscribe
from tests.gateway.uplinks.sparkplug.specification import Statements, everything, metrics, of, sessions

statement = Statements()


# Ids and topics


@statement("topic-structure", "topic-structure-namespace-a")
def _(r):
    for packet in everything(r):
        assert re.fullmatch(r"spBv1\.0/[^/]+/[ND](BIRTH|DATA|DEATH)/[^/]+(/[^/]+)?", packet.topic)


@statement(
    "topic-structure-namespace-valid-group-id",
    "topic-structure-namespace-valid-edge-node-id",
    "topic-structure-namespace-valid-device-id",
    "intro-group-id-chars",
    "intro-edge-node-id-chars",
    "intro-device-id-chars",
)
def _(r):
    assert not any(set(packet.topic) & set("+#") for packet in everything(r))


@statement("topic-structure-namespace-device-id-associated-message-types")
def _(r):
    assert all((packet.verb[0] == "D") == bool(packet.device) for packet in everything(r))


def topic(verb: str, device: str = ""):
    def check(r):
        for packet in r.first.said(verb):
            assert packet.topic == f"spBv1.0/Plant 1/{verb}/test-7" + (f"/{packet.device}" if device else "")
        assert {packet.device for packet in r.first.said(verb)} <= ({"m1", "m2"} if device else {""})
        assert r.first.said(verb)

    return check


statement("topics-nbirth-topic", "message-flow-edge-node-birth-publish-nbirth-topic")(topic("NBIRTH"))
statement("topics-ndata-topic")(topic("NDATA"))
statement("topics-ndeath-topic")(topic("NDEATH"))
statement(
    "topics-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-topic",
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic",
)(topic("DBIRTH", "device"))
statement("topics-ddata-topic")(topic("DDATA", "device"))
statement("topics-ddeath-topic")(topic("DDEATH", "device"))


# Quality of service and retaining


def flags(verb: str):
    def check(r):
        assert {(packet.qos, packet.retain) for packet in of(r, verb)} == {(0, False)}

    return check


statement(
    "topics-nbirth-mqtt",
    "payloads-nbirth-qos",
    "payloads-nbirth-retain",
    "message-flow-edge-node-birth-publish-nbirth-qos",
    "message-flow-edge-node-birth-publish-nbirth-retained",
)(flags("NBIRTH"))
statement(
    "topics-dbirth-mqtt",
    "payloads-dbirth-qos",
    "payloads-dbirth-retain",
    "message-flow-device-birth-publish-dbirth-qos",
    "message-flow-device-birth-publish-dbirth-retained",
)(flags("DBIRTH"))
statement("topics-ndata-mqtt", "payloads-ndata-qos", "payloads-ndata-retain")(flags("NDATA"))
statement("topics-ddata-mqtt", "payloads-ddata-qos", "payloads-ddata-retain")(flags("DDATA"))
statement("topics-ddeath-mqtt")(flags("DDEATH"))


# The session


@statement("principles-persistence-clean-session-311")
def _(r):
    assert {(packet.version, packet.clean) for broker in sessions(r) for packet in broker.of(Connect)} == {(4, True)}


@statement(
    "payloads-ndeath-will-message",
    "payloads-ndeath-will-message-qos",
    "payloads-ndeath-will-message-retain",
    "message-flow-edge-node-birth-publish-will-message",
    "message-flow-edge-node-birth-publish-will-message-topic",
    "message-flow-edge-node-birth-publish-will-message-payload",
    "message-flow-edge-node-birth-publish-will-message-qos",
    "message-flow-edge-node-birth-publish-will-message-will-retained",
)
def _(r):
    (connect,) = r.first.of(Connect)
    assert connect.will_topic == "spBv1.0/Plant 1/NDEATH/test-7"
    assert (connect.will_qos, connect.will_retain) == (1, False)
    assert [metric.name for metric in connect.will.metrics] == ["bdSeq"]


@statement(
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq",
    "topics-nbirth-bdseq-increment",
    "payloads-nbirth-bdseq",
)
def _(r):
    numbers = [connect.will.metrics[0] for broker in (r.first, r.second) for connect in broker.of(Connect)]
    assert [read(metric) for metric in numbers] == [0, 1]
    assert {metric.datatype for metric in numbers} == {DataType.INT64}
    assert [read(connect.will.metrics[0]) for connect in r.waited.of(Connect)] == [0, 1]


@statement(
    "topics-nbirth-bdseq-included",
    "topics-nbirth-bdseq-matching",
    "payloads-nbirth-bdseq-repeat",
    "payloads-ndeath-bdseq",
    "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq",
    "operational-behavior-data-commands-rebirth-action-3",
)
def _(r):
    for broker in sessions(r):
        bdseq = None
        for packet in broker.packets:
            if isinstance(packet, Connect):
                bdseq = read(packet.will.metrics[0])
            elif isinstance(packet, Publish) and packet.verb in {"NBIRTH", "NDEATH"}:
                assert packet.values["bdSeq"] == bdseq
                assert packet.metric("bdSeq").datatype == DataType.INT64


@statement("message-flow-edge-node-ncmd-subscribe", "message-flow-device-dcmd-subscribe")
def _(r):
    (subscribe,) = r.first.of(Subscribe)
    assert ("spBv1.0/Plant 1/NCMD/test-7", 1) in subscribe.topics
    assert ("spBv1.0/Plant 1/DCMD/test-7/+", 1) in subscribe.topics
    assert r.first.packets.index(subscribe) < r.first.packets.index(r.first.published[0])


@statement(
    "principles-birth-certificates-order",
    "message-flow-edge-node-birth-publish-connect",
    "message-flow-device-birth-publish-nbirth-wait",
    "payloads-dbirth-order",
    "payloads-ndata-order",
    "payloads-ddata-order",
)
def _(r):
    for broker in sessions(r):
        assert isinstance(broker.packets[0], Connect)
        born: set[str] = set()
        verbs = broker.verbs
        assert verbs[0] == "NBIRTH"
        for packet in broker.published:
            if packet.verb == "NBIRTH":
                born = {""}
            elif packet.verb == "DBIRTH":
                assert "" in born
                born.add(packet.device)
            elif packet.verb == "DDEATH":
                born.discard(packet.device)
            elif packet.verb in {"NDATA", "DDATA"}:
                assert packet.device in born
    again = r.first.verbs[r.before_rebirth : r.after_rebirth]
    assert again == ["NBIRTH", "DBIRTH", "DBIRTH"]


@statement(
    "operational-behavior-edge-node-intentional-disconnect-ndeath",
    "operational-behavior-edge-node-intentional-disconnect-packet",
    "payloads-ndeath-will-message-publisher",
    "payloads-ndeath-will-message-publisher-disconnect-mqtt311",
)
def _(r):
    for broker in sessions(r):
        ends = [at for at, packet in enumerate(broker.packets) if isinstance(packet, Disconnect)]
        assert ends
        for at in ends:
            assert broker.packets[at - 1].verb == "NDEATH"


@statement("topics-ndeath-payload", "topics-ndeath-seq", "payloads-ndeath-seq")
def _(r):
    deaths = [packet.payload for packet in of(r, "NDEATH")]
    deaths += [connect.will for broker in sessions(r) for connect in broker.of(Connect)]
    for payload in deaths:
        assert payload.seq is None
        assert [metric.name for metric in payload.metrics] == ["bdSeq"]


# Sequence numbers and times


@statement(
    "topics-nbirth-seq-num",
    "payloads-nbirth-seq",
    "payloads-sequence-num-zero-nbirth",
    "message-flow-edge-node-birth-publish-nbirth-payload-seq",
)
def _(r):
    assert {packet.payload.seq for packet in of(r, "NBIRTH")} == {0}


@statement(
    "payloads-sequence-num-always-included",
    "payloads-sequence-num-incrementing",
    "topics-ndata-seq-num",
    "topics-dbirth-seq",
    "topics-ddata-seq-num",
    "topics-ddeath-seq-num",
    "payloads-dbirth-seq",
    "payloads-dbirth-seq-inc",
    "payloads-ndata-seq",
    "payloads-ndata-seq-inc",
    "payloads-ddata-seq",
    "payloads-ddata-seq-inc",
    "payloads-ddeath-seq",
    "payloads-ddeath-seq-inc",
    "payloads-ddeath-seq-number",
    "message-flow-device-birth-publish-dbirth-payload-seq",
)
def _(r):
    for broker in sessions(r):
        numbers = [(packet.verb, packet.payload.seq) for packet in broker.published if packet.verb != "NDEATH"]
        for (_, before), (verb, seq) in pairwise(numbers):
            assert seq == (0 if verb == "NBIRTH" else (before + 1) % 256)
    assert 255 in [packet.payload.seq for packet in r.first.published]


@statement(
    "topics-nbirth-timestamp",
    "topics-ndata-timestamp",
    "topics-dbirth-timestamp",
    "topics-ddata-timestamp",
    "payloads-timestamp-in-UTC",
    "payloads-nbirth-timestamp",
    "payloads-dbirth-timestamp",
    "payloads-ndata-timestamp",
    "payloads-ddata-timestamp",
    "payloads-ddeath-timestamp",
)
def _(r):
    for packet in everything(r):
        assert 0 <= packet.payload.timestamp - r.start_ns // MS < 600_000


@statement("payloads-name-birth-data-requirement", "payloads-metric-timestamp-in-UTC")
def _(r):
    for metric in metrics(r, "NBIRTH", "DBIRTH", "NDATA", "DDATA"):
        assert abs(metric.timestamp - r.start_ns // MS) < 600_000


@pytest.mark.parametrize("name", statement.ids)
def test_statement(recorded, name):
    statement.check(name, recorded)
