"""Sparkplug 3.0 on what births, data, deaths and commands hold, and on the primary host."""

from __future__ import annotations

import pytest

from adapters.payloads.sparkplug.codec import DataType, read
from tests.gateway.uplinks.sparkplug.scripted import Connect, Subscribe
from tests.gateway.uplinks.sparkplug.specification import Statements, metrics, of, sessions

statement = Statements()


# Births


@statement(
    "topics-nbirth-rebirth-metric",
    "payloads-nbirth-rebirth-req",
    "operational-behavior-data-commands-rebirth-name",
    "operational-behavior-data-commands-rebirth-name-aliases",
    "operational-behavior-data-commands-rebirth-datatype",
    "operational-behavior-data-commands-rebirth-value",
)
def _(r):
    for packet in of(r, "NBIRTH"):
        metric = packet.metric("Node Control/Rebirth")
        assert (metric.datatype, read(metric), metric.alias) == (DataType.BOOLEAN, False, None)


@statement(
    "topics-nbirth-metric-reqs",
    "topics-dbirth-metric-reqs",
    "operational-behavior-data-publish-nbirth",
    "operational-behavior-data-publish-dbirth",
)
def _(r):
    for broker in sessions(r):
        named: dict[str, set] = {}
        for packet in broker.published:
            found = {metric.name or metric.alias for metric in packet.payload.metrics}
            if packet.verb.endswith("BIRTH"):
                named[packet.device] = found | {metric.alias for metric in packet.payload.metrics}
            elif packet.verb.endswith("DATA"):
                assert found <= named[packet.device]


@statement(
    "topics-nbirth-metrics",
    "topics-dbirth-metrics",
    "payloads-metric-datatype-req",
    "payloads-metric-datatype-value",
    "payloads-metric-datatype-value-type",
    "operational-behavior-data-publish-nbirth-values",
    "operational-behavior-data-publish-dbirth-values",
)
def _(r):
    for metric in metrics(r, "NBIRTH", "DBIRTH"):
        assert metric.name
        assert DataType(metric.datatype) is not DataType.UNKNOWN
        assert metric.null == (metric.kind == "")
    last = r.first.said("DBIRTH")[-2]
    assert last.values == {"power": 259.0, "energy": 7, "mode": "on", "late": 1.0}
    types = [DataType(metric.datatype) for metric in last.payload.metrics]
    assert types == [DataType.DOUBLE, DataType.INT64, DataType.STRING, DataType.DOUBLE]


@statement("payloads-metric-datatype-not-req")
def _(r):
    assert all(metric.datatype is None for metric in metrics(r, "NDATA", "DDATA"))


@statement("payloads-alias-uniqueness", "payloads-alias-birth-requirement", "payloads-name-requirement")
def _(r):
    births = r.first.published[r.before_rebirth : r.after_rebirth]
    found = [metric for packet in births for metric in packet.payload.metrics]
    aliases = [metric.alias for metric in found if metric.name not in {"bdSeq", "Node Control/Rebirth"}]
    assert None not in aliases
    assert len(set(aliases)) == len(aliases)
    assert all(metric.name for metric in found)


@statement("payloads-alias-data-cmd-requirement")
def _(r):
    data = [packet for packet in r.first.published if packet.verb.endswith("DATA")]
    assert all(m.name is None and m.alias is not None for packet in data for m in packet.payload.metrics)
    plain = [packet for packet in r.second.published if packet.verb != "NDEATH"]
    assert all(m.name and m.alias is None for packet in plain for m in packet.payload.metrics)


@statement(
    "payloads-propertyset-keys-array-size",
    "payloads-propertyset-values-array-size",
    "payloads-metric-propertyvalue-type-type",
    "payloads-metric-propertyvalue-type-value",
    "payloads-metric-propertyvalue-type-req",
)
def _(r):
    for metric in metrics(r, "NBIRTH", "DBIRTH", "NDATA", "DDATA"):  # decoding has counted keys and values
        assert all(DataType(found.datatype) for found in metric.properties.values())
    (power, *_) = r.first.said("DBIRTH")[0].payload.metrics
    facts = {key: read(found) for key, found in power.properties.items() if key.startswith("eng")}
    assert facts == {"engUnit": "W", "engLow": 0.0, "engHigh": 5000.0}


@statement("payloads-propertyset-quality-value-type", "payloads-propertyset-quality-value-value")
def _(r):
    codes = []
    for metric in metrics(r, "NBIRTH", "DBIRTH", "NDATA", "DDATA"):
        if said := metric.properties.get("Quality"):
            assert (said.datatype, said.kind) == (DataType.INT32, "int_value")
            codes.append(read(said))
    assert set(codes) <= {0, 192, 500}


# Data, deaths and commands


@statement("topics-ndata-payload", "topics-ddata-payload", "operational-behavior-data-publish-dbirth-change")
def _(r):
    values = [packet.values.get(17) for packet in r.first.said("DDATA") if packet.device == "m1"]
    assert values[-261:-1] == [float(n) for n in range(260)]


@statement(
    "operational-behavior-data-publish-nbirth-order",
    "operational-behavior-data-publish-dbirth-order",
)
def _(r):
    for broker in sessions(r):
        shown: dict[tuple[str, object], int] = {}
        names: dict[object, str] = {}
        for packet in broker.published:
            for metric in packet.payload.metrics:
                if metric.historical or packet.verb == "NDEATH":
                    continue
                if metric.name and metric.alias:
                    names[metric.alias] = metric.name
                key = packet.device, metric.name or names[metric.alias]
                assert metric.timestamp >= shown.get(key, 0)
                shown[key] = metric.timestamp
    assert [m.historical for packet in r.first.said("DDATA") for m in packet.payload.metrics].count(True) == 1


@statement("operational-behavior-device-ddeath")
def _(r):
    (death,) = r.first.said("DDEATH")
    assert death.device == "m2"
    mine = [packet.verb for packet in r.first.published if packet.device == "m2"]
    at = mine.index("DDEATH")
    assert mine[at - 1 : at + 3] == ["DDATA", "DDEATH", "DBIRTH", "DDATA"]


@statement(
    "operational-behavior-data-commands-rebirth-action-1",
    "operational-behavior-data-commands-rebirth-action-2",
)
def _(r):
    assert r.first.verbs[r.before_rebirth : r.after_rebirth + 1] == ["NBIRTH", "DBIRTH", "DBIRTH", "NDATA"]


# The primary host


@statement(
    "message-flow-edge-node-birth-publish-phid-wait",
    "message-flow-edge-node-birth-publish-phid-wait-id",
    "message-flow-edge-node-birth-publish-phid-wait-online",
    "message-flow-edge-node-birth-publish-phid-wait-timestamp",
    "operational-behavior-edge-node-birth-sequence-wait",
    "operational-behavior-primary-application-state-with-multiple-servers-state-subs",
)
def _(r):
    # The scenario asserts that nothing was published before: after offline, another host, an old one, no JSON
    assert ("spBv1.0/STATE/scada", 1) in r.waited.of(Subscribe)[0].topics
    assert r.waited.verbs[:3] == ["NBIRTH", "DBIRTH", "DDATA"]


@statement(
    "message-flow-edge-node-birth-publish-phid-offline",
    "operational-behavior-edge-node-termination-host-offline",
    "operational-behavior-edge-node-termination-host-offline-reconnect",
    "operational-behavior-edge-node-termination-host-offline-timestamp",
)
def _(r):
    # An old offline came between the two DDATA
    assert r.waited.verbs == ["NBIRTH", "DBIRTH", "DDATA", "DDATA", "NDEATH", "NBIRTH", "DBIRTH", "NDEATH"]
    assert len(r.waited.of(Connect)) == 2


@statement(
    "message-flow-edge-node-birth-publish-nbirth-payload",
    "message-flow-device-birth-publish-dbirth-payload",
)
def _(r):
    assert all(packet.payload for packet in of(r, "NBIRTH", "DBIRTH"))


@pytest.mark.parametrize("name", statement.ids)
def test_statement(recorded, name):
    statement.check(name, recorded)
