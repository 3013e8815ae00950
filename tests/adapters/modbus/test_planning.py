"""What a configuration asks of its bus, computed by hand."""

from __future__ import annotations

import msgspec
import pytest

from adapters.modbus.holes import Holes
from adapters.modbus.learn import Learned
from adapters.modbus.place import Table
from adapters.modbus.planner import Span
from adapters.modbus.planning import Bus, plan_of
from tests.adapters.modbus.peers import device, modbus, point

SERIAL = "rtu:///dev/ttyUSB0?baudrate=9600&parity=E"
CHARACTER_S = 11 / 9600


def floats(n, gap=0, start=0):
    return {f"p{i}": point(f"input:{start + i * (2 + gap)}", "float32") for i in range(n)}


def test_a_read_of_80_registers_at_9600_baud_takes_about_200_ms():
    found = plan_of(modbus(SERIAL, {"m": device(every=1.0, points=floats(40))}), Bus(turnaround_s=0.01))
    (one,) = found.devices
    (read,) = one.reads
    assert (read.table, read.start, read.count, read.needed, read.points) == ("input", 0, 80, 80, 40)
    assert read.time_s == pytest.approx((8 + 165 + 7) * CHARACTER_S + 0.01)
    assert 0.2 < read.time_s < 0.22
    assert (found.estimated, found.requests) == (False, 1)
    assert found.shortest_period_s == found.time_s == one.time_s == read.time_s
    assert found.load == pytest.approx(read.time_s)
    assert found.holds


def test_gaps_are_read_but_not_needed_and_all_devices_count():
    devices = {
        "a": device(1, 0.2, floats(4, gap=3) | {"c": point("coil:5"), "d": point("coil:9")}),
        "b": device(2, 0.1, floats(2) | {"slow": point("holding:0", every=10.0)}),
    }
    found = plan_of(modbus(SERIAL, devices))
    first, second = found.devices
    assert (first.registers, first.registers_needed) == (17, 8)
    assert (first.bits, first.bits_needed) == (5, 2)
    assert [(read.table, read.count, read.every_s) for read in second.reads] == [
        ("input", 4, 0.1),
        ("holding", 1, 10.0),
    ]
    assert found.time_s == pytest.approx(sum(read.time_s for one in found.devices for read in one.reads))
    assert found.load == pytest.approx(first.time_s / 0.2 + second.reads[0].time_s / 0.1 + second.reads[1].time_s / 10)
    assert not plan_of(modbus(SERIAL, {"m": device(every=0.05, points=floats(40))})).holds


def test_pauses_settings_and_ascii_cost_time():
    def time_s(url, **more):
        return plan_of(modbus(url, {"m": device(points=floats(1))}, **more), Bus(turnaround_s=0)).time_s

    plain = time_s(SERIAL)
    assert plain == pytest.approx((8 + 9 + 7) * CHARACTER_S)
    assert time_s("rtu:///dev/ttyUSB0?baudrate=9600") == pytest.approx(plain * 10 / 11), "8N1: ten bits"
    assert time_s(SERIAL, request_delay=0.025) == pytest.approx(plain - 3.5 * CHARACTER_S + 0.025)
    fast = time_s("rtu:///dev/ttyUSB0?baudrate=115200&parity=E")
    assert fast == pytest.approx(17 * 11 / 115200 + 2 * 0.00175), "above 19200 baud the gap is 1.75 ms"
    ascii_s = time_s("ascii:///dev/ttyUSB0?baudrate=9600&parity=E&bytesize=7")
    assert ascii_s == pytest.approx((17 + 19 + 7) * 10 / 9600)


def test_networks_are_estimated_and_a_bus_behind_one_counts_if_told():
    config = modbus("tcp://10.0.0.5:502", {"m": device(points=floats(40))})
    found = plan_of(config, Bus(round_trip_s=0.004))
    assert found.estimated
    assert found.time_s == pytest.approx(0.004)
    behind = plan_of(config, Bus(round_trip_s=0.004, turnaround_s=0, baudrate=9600))
    assert behind.time_s == pytest.approx(0.004 + 180 * CHARACTER_S)
    parallel = modbus("tcp://10.0.0.5:502", {"m": device(points=floats(80))}, pipeline=2)
    assert plan_of(parallel).shortest_period_s == pytest.approx(plan_of(parallel).time_s / 2)


def test_what_was_learned_is_worked_in():
    learned = Learned(1)
    spans = [Span(Table.INPUT, i * 2, 2) for i in range(40)]
    learned.add(spans, Holes({3}, {(Table.INPUT, 6)}, most=50, refused=(8, 52), table=Table.INPUT))
    found = plan_of(modbus(SERIAL, {"m": device(points=floats(40))}), known={1: learned})
    assert [(read.start, read.count) for read in found.devices[0].reads] == [(0, 6), (8, 50), (58, 22)]


def test_a_plan_is_plain_data():
    found = plan_of(modbus(SERIAL, {"m": device(points=floats(2))}))
    assert msgspec.json.decode(msgspec.json.encode(found))["devices"][0]["reads"][0]["count"] == 4
