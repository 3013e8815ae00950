"""What births define, and how DATA refers to it."""

from __future__ import annotations

import pytest

from adapters.payloads.sparkplug.model import DataType
from gateway import quality as q
from gateway.point import Kind
from tests.adapters.mqtt.sparkplug.support import ARRIVAL, MS, NS, STALE, Edge, Listener, metric, names, values


def test_births_define_points_with_units_limits_and_labels():
    edge, host = Edge("Plant1", "E1"), Listener()
    rows = host.take(
        edge.nbirth(metric("Supply/Voltage", 230.5, properties={"engUnit": "V", "engLow": 0.0, "engHigh": 400.0})),
        edge.dbirth("Pump 7", metric("flow", 1.5, DataType.FLOAT), metric("mode", "auto", DataType.STRING)),
    )
    assert names(rows) == ["Plant1-E1/Supply/Voltage", "Plant1-E1-Pump_7/flow", "Plant1-E1-Pump_7/mode"]
    voltage = host.points.point(host.points.find("Plant1-E1/Supply/Voltage"))
    assert (voltage.unit, voltage.limits, voltage.kind) == ("V", (0.0, 400.0), Kind.GAUGE)
    assert voltage.labels == {"group": "Plant1", "edge": "E1"}
    mode = host.points.find("Plant1-E1-Pump_7/mode")
    assert (host.points.point(mode).kind, host.points.states(mode)) == (Kind.STATE, ["auto"])
    assert host.links == [("Plant1-E1", True, ""), ("Plant1-E1-Pump_7", True, "")]
    assert not host.reasons


def test_a_birth_is_a_finding():
    edge, host = Edge("Plant1", "E1"), Listener()
    host.take(edge.nbirth(metric("a", 1.0)), edge.dbirth("d", metric("b", 1.0)))
    assert [(f.kind, f.identity, f.device, f.offers) for f in host.findings] == [
        ("sparkplug", "Plant1/E1", "Plant1-E1", ("Node Control/Rebirth", "a")),
        ("sparkplug", "Plant1/E1/d", "Plant1-E1-d", ("b",)),
    ]


def test_data_by_alias_and_by_name():
    edge, host = Edge(), Listener()
    host.take(edge.nbirth(metric("a", 1.0, alias=0), metric("b", 2, DataType.UINT16, alias=1), metric("c", 3.0)))
    rows = host.take(
        edge.ndata(
            metric(None, 1.5, None, field="double_value", alias=0, timestamp=MS + 9),
            metric(None, 7, None, field="int_value", alias=1, timestamp=MS + 10),
            metric("c", 4.5, None, field="double_value"),
        )
    )
    assert rows == [
        ("G-E/a", (MS + 9) * NS, 1.5, 0),
        ("G-E/b", (MS + 10) * NS, 7.0, 0),
        ("G-E/c", edge.ms * NS, 4.5, 0),
    ]


def test_data_that_no_birth_has_defined_asks_for_births():
    edge, host = Edge(), Listener()
    host.take(edge.nbirth(metric("a", 1.0, alias=5)))
    assert host.take(edge.ndata(metric("b", 1.0), metric(None, 1.0, None, field="double_value", alias=9))) == []
    assert host.reasons == {"unknown-metric": 2}
    assert [message.topic for message in host.sent()] == ["spBv1.0/G/NCMD/E"]


def test_commands_bdseq_and_transient_metrics_are_no_points():
    edge, host = Edge(), Listener()
    rows = host.take(edge.nbirth(metric("Node Control/Reboot", False, DataType.BOOLEAN), metric("a", 1.0)))
    rows += host.take(edge.dbirth("d", metric("Device Control/Stop", False, DataType.BOOLEAN)))
    rows += host.take(edge.dbirth("e", metric("b", 1.0, is_transient=True), metric("c", 2.0)))
    rows += host.take(edge.ddata("e", metric("b", 1.0)))
    assert names(rows) == ["G-E/a", "G-E-e/c"]
    assert not host.reasons


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Motor Speed", "Motor_Speed"),
        ("a/b/c", "a/b/c"),
        ("a//b", "a/_/b"),
        ("Küche/Temp #1", "K_che/Temp__1"),
        ("v1.2-x_y", "v1.2-x_y"),
    ],
)
def test_metric_names_become_point_names(name, path):
    host = Listener()
    assert names(host.take(Edge().nbirth(metric(name, 1.0)))) == [f"G-E/{path}"]


def test_names_that_collide_are_counted_and_the_first_stays():
    edge, host = Edge(), Listener()
    rows = host.take(edge.nbirth(metric("a b", 1.0), metric("a_b", 2.0)))
    assert rows == [("G-E/a_b", edge.ms * NS, 1.0, 0)]
    assert host.reasons == {"collision": 1}
    host.take(edge.ndata(metric("a_b", 3.0)))
    assert host.reasons == {"collision": 1}
    assert host.sent() == []


def test_devices_that_collide_are_refused_and_not_asked_again():
    one, other = Edge("G", "a-b"), Edge("G-a", "b")
    host = Listener()
    host.take(one.nbirth(metric("x", 1.0)))
    assert host.take(other.nbirth(metric("x", 2.0)), other.ndata(metric("x", 3.0))) == []
    assert host.reasons == {"collision": 1, "refused": 1}
    assert host.sent() == []


@pytest.mark.parametrize(
    ("template", "node", "device"),
    [
        ("{group}-{edge}-{device}", "G/x", "G-E/x G-E-d/x"),
        ("{edge}.{device}", "E/x", "E/x E.d/x"),
        ("{device}", "E/x", "E/x d/x"),
        ("plant_{device}_{edge}", "plant_E/x", "plant_E/x plant_d_E/x"),
    ],
)
def test_device_names(template, node, device):
    edge, host = Edge(), Listener(device=template)
    rows = host.take(edge.nbirth(metric("x", 1.0)), edge.dbirth("d", metric("x", 1.0)))
    assert " ".join(names(rows)) == device


def test_a_new_birth_defines_anew_and_what_it_leaves_out_is_stale():
    edge, host = Edge(), Listener()
    host.take(edge.nbirth(), edge.dbirth("d", metric("a", 1.0, alias=1), metric("b", 2.0, alias=2)))
    rows = host.take(edge.dbirth("d", metric("b", 3.0, alias=1)))
    assert rows == [("G-E-d/b", edge.ms * NS, 3.0, 0), ("G-E-d/a", host.now, "stale", STALE)]
    assert names(host.take(edge.ddata("d", metric(None, 4.0, None, field="double_value", alias=1)))) == ["G-E-d/b"]


def test_the_number_of_metrics_of_a_node_is_bounded():
    edge, host = Edge(), Listener(max_metrics=5)
    rows = host.take(
        edge.nbirth(metric("a", 1.0)), edge.dbirth("d", metric("b", 1.0), metric("c", 2.0), metric("e", 3.0))
    )
    assert names(rows) == ["G-E/a", "G-E-d/b", "G-E-d/c"]
    assert host.reasons["too-many-metrics"] == 1
    host.take(edge.ddata("d", metric("e", 4.0)))
    assert host.sent() == []  # its birth would not help


def test_the_directory_bounds_points():
    edge, host = Edge(), Listener(limit=1)
    assert names(host.take(edge.nbirth(metric("a", 1.0), metric("b", 1.0)))) == ["G-E/a"]
    host.take(edge.ndata(metric("b", 2.0)))
    assert host.reasons == {"too-many-points": 3}


def test_an_alias_that_stands_twice_is_counted_and_the_first_stays():
    edge, host = Edge(), Listener()
    host.take(edge.nbirth(metric("a", 1.0, alias=1), metric("b", 2.0, alias=1)))
    rows = host.take(edge.ndata(metric(None, 3.0, None, field="double_value", alias=1)))
    assert values(rows) == {"G-E/a": 3.0}
    assert host.reasons == {"alias-twice": 1}


def test_a_retained_birth_is_of_unknown_age_and_asks_for_another():
    edge, host = Edge(), Listener()
    assert host.take(edge.nbirth(metric("a", 1.0)), kept=True) == []
    assert host.reasons == {"retained": 1}
    assert len(host.sent()) == 1


def test_times_come_from_the_metric_the_payload_or_the_arrival():
    edge, host = Edge(), Listener()
    rows = host.take(edge.nbirth(metric("a", 1.0, timestamp=MS - 5), metric("b", 1.0)))
    assert [row[1] for row in rows] == [(MS - 5) * NS, edge.ms * NS]
    rows = host.take(edge.message("NDATA", metric("a", 2.0), timestamp=0))
    assert ARRIVAL < rows[0][1] == host.now
    assert host.take(edge.ndata(metric("a", 2.0, timestamp=2**63))) == []
    assert host.reasons == {"bad-time": 1}


def test_historical_samples_keep_that_flag():
    edge, host = Edge(), Listener()
    host.take(edge.nbirth(metric("a", 1.0)))
    rows = host.take(edge.ndata(metric("a", 2.0, timestamp=MS - 60_000, is_historical=True)))
    assert rows == [("G-E/a", (MS - 60_000) * NS, 2.0, q.HISTORICAL)]
