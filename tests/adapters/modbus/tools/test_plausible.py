"""What a device shows, judged; and the roles that points have."""

from __future__ import annotations

import math

import pytest

from adapters.modbus.tools.plausible import Shown, Verdict, check_points, check_relations
from adapters.modbus.tools.roles import Quantity, role_of
from gateway import quality as q
from gateway.point import Kind
from gateway.quality import Reason
from tests.adapters.modbus.peers import point


def p(unit="", **more):
    return point("holding:0", unit=unit, **more)


POINTS = {f"{name}_l{i}": p(unit) for name, unit in
          [("voltage", "V"), ("current", "A"), ("power", "W"), ("reactive_power", "V.A{reactive}"),
           ("apparent_power", "V.A"), ("power_factor", "1")] for i in (1, 2, 3)} | {
    "power": p("kW"), "frequency": p("Hz"), "voltage_ll": p("V"),
}  # fmt: skip
VALUES = {
    **dict.fromkeys(("voltage_l1", "voltage_l2", "voltage_l3"), 230.0),
    **dict.fromkeys(("current_l1", "current_l2", "current_l3"), 10.0),
    **dict.fromkeys(("power_l1", "power_l2", "power_l3"), 2300 * 0.8),
    **dict.fromkeys(("reactive_power_l1", "reactive_power_l2", "reactive_power_l3"), 2300 * 0.6),
    **dict.fromkeys(("apparent_power_l1", "apparent_power_l2", "apparent_power_l3"), 2300.0),
    **dict.fromkeys(("power_factor_l1", "power_factor_l2", "power_factor_l3"), 0.8),
    "power": 5.52, "frequency": 50.01, "voltage_ll": 398.4,
}  # fmt: skip


def verdicts(values):
    return {check.name: check for check in check_relations(POINTS, values)}


def test_a_true_meter_passes():
    checks = verdicts(VALUES)
    assert {check.verdict for check in checks.values()} == {Verdict.OK}
    assert len(checks) == 1 + 3 + 3 + 1 + 1, "sum, products, triangles, line voltage, direction"


@pytest.mark.parametrize(
    ("changed", "name", "verdict", "why"),
    [
        ({"power": 5520.0}, "sum of power: power", "failed", "1000 times more"),
        ({"power_l1": 1.84}, "U x I x PF = P: power_l1", "failed", "1000 times less"),
        ({"power_factor_l2": 0.7}, "U x I x PF = P: power_l2", "suspicious", "U x I x PF is 1610, P says 1840"),
        ({"apparent_power_l3": 1000.0}, "P^2 + Q^2 = S^2: apparent_power_l3", "suspicious", "S says 1000"),
        ({"voltage_ll": 230.0}, "line voltage: voltage_ll", "suspicious", "expected 398.4"),
        ({"power_l3": -1840.0}, "direction of phases", "suspicious", "phase 3 flows against the others"),
        ({"power_l1": -1840.0, "power_l2": -1840.0}, "direction of phases", "suspicious", "phase 3"),
    ],
)
def test_relations_that_do_not_hold(changed, name, verdict, why):
    check = verdicts(VALUES | changed)[name]
    assert check.verdict == verdict
    assert why in check.why


@pytest.mark.parametrize(
    ("options", "samples", "verdict", "why"),
    [
        ({"unit": "V"}, [Shown(230.0)], "ok", ""),
        ({"unit": "V"}, [Shown(0.0)], "suspicious", "no voltage"),
        ({"unit": "V", "limits": (0.0, 500.0)}, [Shown(23040.0)], "failed", "not within 0 to 500 V"),
        ({"unit": "Hz"}, [Shown(50.2)], "ok", ""),
        ({"unit": "Hz"}, [Shown(53.0)], "suspicious", "not near 50 or 60"),
        ({"unit": "Hz"}, [Shown(5000.0)], "failed", "not near 50 or 60"),
        ({"unit": "V"}, [], "failed", "no sample"),
        ({"unit": "V"}, [Shown(math.nan, q.INVALID, Reason.ILLEGAL_DATA_ADDRESS)], "failed", "exception 2"),
        ({"unit": "V"}, [Shown(math.nan, q.INVALID, Reason.TIMEOUT)], "failed", "timeout"),
        ({"unit": "V"}, [Shown(math.nan, q.INVALID, Reason.NOT_IMPLEMENTED)], "suspicious", "does not have this"),
        ({"unit": "kW.h", "kind": Kind.COUNTER}, [Shown(5.0), Shown(5.1)], "ok", ""),
        ({"unit": "kW.h", "kind": Kind.COUNTER}, [Shown(5.0), Shown(4.0)], "failed", "fell from 5 to 4"),
        ({"unit": "kW.h", "kind": Kind.COUNTER}, [Shown(-5.0)], "failed", "below zero"),
        ({"texts": {"off": 0, "on": 1}}, [Shown(0.0, text="on")], "ok", ""),
        ({"texts": {"off": 0, "on": 1}}, [Shown(2.0, text="7")], "suspicious", "none of the states"),
    ],
)
def test_points_by_themselves(options, samples, verdict, why):
    (check,) = check_points({"x": p(**options)}, {"x": samples})
    assert check.verdict == verdict
    assert why in check.why


def test_a_power_factor_beyond_one():
    (check,) = check_points({"power_factor": p("1")}, {"power_factor": [Shown(1.2)]})
    assert check.verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("name", "unit", "quantity", "phase", "plain"),
    [
        ("voltage_l1", "V", Quantity.VOLTAGE, 1, True),
        ("voltage_l1_l2", "V", Quantity.LINE_VOLTAGE, 0, True),
        ("voltage_ll", "V", Quantity.LINE_VOLTAGE, 0, True),
        ("power_l3", "kW", Quantity.POWER, 3, True),
        ("power_demand_max", "W", Quantity.POWER, 0, False),
        ("reactive_power", "V.A{reactive}", Quantity.REACTIVE, 0, True),
        ("power_factor_l2", "1", Quantity.FACTOR, 2, True),
        ("current_n", "A", Quantity.CURRENT, 0, False),
        ("energy_import", "kW.h", Quantity.ENERGY, 0, False),
        ("cabinet", "Cel", Quantity.TEMPERATURE, 0, True),
        ("something", "", Quantity.OTHER, 0, True),
    ],
)
def test_roles(name, unit, quantity, phase, plain):
    role = role_of(name, p(unit))
    assert (role.quantity, role.phase, role.plain) == (quantity, phase, plain)
    assert role.factor == (1000.0 if unit.startswith("k") else 1.0)
