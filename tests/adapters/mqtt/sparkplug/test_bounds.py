"""Bounds on what a host keeps."""

from __future__ import annotations

from adapters.mqtt.sparkplug import host as hosts
from adapters.mqtt.sparkplug import node as nodes
from tests.adapters.mqtt.sparkplug.support import Edge, Listener, metric


def test_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr(hosts, "MAX_HELD", 500)
    edge, host = Edge(), Listener(reorder=60.0)
    host.take(edge.nbirth(metric("n", 1.0)))
    edge.ndata()
    rows = host.take(*[edge.ndata(metric("n", float(number))) for number in range(60)])
    assert rows
    assert host.reasons["sequence-gap"] >= 1


def test_the_number_of_nodes_is_bounded(monkeypatch):
    monkeypatch.setattr(hosts, "MAX_NODES", 2)
    host = Listener()
    for name in "abc":
        host.take(Edge("G", name).nbirth(metric("n", 1.0)))
    assert host.reasons == {"too-many-nodes": 1}


def test_the_number_of_devices_is_bounded(monkeypatch):
    monkeypatch.setattr(nodes, "MAX_DEVICES", 2)
    edge, host = Edge(), Listener()
    host.take(edge.nbirth())
    for name in "abcd":
        host.take(edge.dbirth(name, metric("n", 1.0)), edge.ddata(name, metric("n", 2.0)))
    assert host.reasons["too-many-devices"] == 2
    assert host.sent() == []
