"""Power factor and unbalance: cases with known answers."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.errors import FieldError
from gateway.units import decode_quantity
from pipelines.operators.power.unbalance import of_phasors, of_triangle
from pipelines.registry import OPERATORS
from tests.pipelines.power.support import Case, of
from tests.support.trials import trials

PQ = {"m1/p": "W", "m1/q": "var", "m2/p": "kW", "m2/q": "var"}


def factor(**options):
    options = {"p": "*/p", "q": "*/q", "set": "{device}/pf", "lateness": "0s", **options}
    return Case("power_factor", options, PQ)


def one(case, *values, suffix=None):
    """The results of values for one time, in the order of the points."""
    names = [case.points.name(i) for i in range(len(values))]
    found = case.feed(*((name, 0, value) for name, value in zip(names, values, strict=True)))
    return {name: v for name, _, v, _ in found} if suffix is None else of(found, suffix)[0][1]


@pytest.mark.parametrize(
    ("p", "q_", "iec", "ieee", "quadrant"),
    [
        (4.0, 3.0, 0.8, -0.8, 1), (-4.0, 3.0, -0.8, 0.8, 2), (-4.0, -3.0, -0.8, -0.8, 3), (4.0, -3.0, 0.8, 0.8, 4),
        (1.0, 0.0, 1.0, 1.0, 1), (0.0, 2.0, 0.0, 0.0, 1),
    ],
)  # fmt: skip
def test_signs_and_quadrants(p, q_, iec, ieee, quadrant):
    assert one(factor(), p, q_) == {"m1/pf": pytest.approx(iec), "m1/pf#quadrant": quadrant}
    assert one(factor(sign="ieee"), p, q_)["m1/pf"] == pytest.approx(ieee)


def test_units_are_brought_together():
    found = one(factor(), 3.0, 4.0, 0.003, 4.0)
    assert found["m1/pf"] == pytest.approx(0.6)
    assert found["m2/pf"] == pytest.approx(0.6)


def test_the_total_of_three_phases_is_no_mean():
    points = {f"m1/{name}{phase}": "W" for name in "pq" for phase in (1, 2, 3)}
    options = {"p": ["*/p1", "*/p2", "*/p3"], "q": ["*/q1", "*/q2", "*/q3"], "lateness": "0s"}
    case = Case("power_factor", options, points)
    found = one(case, 1000.0, 0.0, -100.0, 0.0, 500.0, 175.0, suffix="power_factor")
    assert found == pytest.approx(900 / math.hypot(900, 675))
    assert found == pytest.approx(0.8)


def test_below_a_minimum_there_is_none():
    case = factor(min_apparent=5.0)
    found = case.feed(("m1/p", 0, 3.0), ("m1/q", 0, 3.9), ("m1/p", 1, 3.0), ("m1/q", 1, 4.0))
    assert of(found, "/pf") == [(0, None, q.INVALID), (1, pytest.approx(0.6), 0)]
    assert of(factor().feed(("m1/p", 0, 0.0), ("m1/q", 0, 0.0)), "/pf") == [(0, None, q.INVALID)]


def test_a_missing_input_says_why():
    timeout = q.no_value(q.Reason.TIMEOUT)
    case = factor()
    found = case.feed(("m1/p", 0, 1.0), ("m1/q", 0, timeout, q.INVALID))
    assert of(found, "/pf") == [(0, None, q.INVALID)]
    case = factor()
    case.feed(("m1/p", 0, 1.0), ("m1/q", 0, timeout, q.INVALID), tick=False)
    assert q.reason_codes(case.operator.tick(case.now).value).tolist() == [q.Reason.TIMEOUT] * 2


def test_values_of_different_times_stand_together_up_to_max_gap():
    case = factor(max_gap="2s")
    found = case.feed(("m1/p", 0, 3.0), ("m1/q", 1, 4.0), ("m1/p", 4, 3.0))
    assert [v if v is None else round(v, 6) for _, v, _ in of(found, "/pf")] == [None, 0.6, None]
    exact = factor(max_gap="0s")
    assert exact.feed(("m1/p", 0, 3.0), ("m1/q", 1, 4.0), ("m1/p", 1, 3.0)) == [
        ("m1/pf", 1, pytest.approx(0.6), 0), ("m1/pf#quadrant", 1, 1.0, 0),
    ]  # fmt: skip


def test_inputs_pass_or_are_taken_out():
    for keep, passed in ((True, 3), (False, 1)):
        case = Case("power_factor", {"p": "*/p", "q": "*/q", "keep": keep}, PQ | {"other": ""})
        case.feed(("m1/p", 0, 3.0), ("m1/q", 0, 4.0), ("other", 0, 1.0))
        assert case.operator.counts.samples_out == passed


def unbalance(definition, *values, **options):
    names = [f"m1/u{i}" for i in range(1, 4)] + [f"m1/a{i}" for i in range(1, 4)]
    options = {"of": [f"*/u{i}" for i in range(1, 4)], "definition": definition, "lateness": "0s", **options}
    case = Case("unbalance", options, dict.fromkeys(names, "V"))
    found = case.feed(*((name, 0, value) for name, value in zip(names, values, strict=False)))
    return {name: v for name, _, v, _ in found}


def test_nema_is_the_largest_deviation_by_the_mean():
    """The example of the standard's commentaries: 467, 450, 462 V: mean 459.67, deviation 9.67."""
    assert unbalance("nema", 467.0, 450.0, 462.0) == {
        "m1/unbalance#nema": pytest.approx(100 * (1379 / 3 - 450) / (1379 / 3))
    }
    assert unbalance("nema", 230.0, 230.0, 230.0) == {"m1/unbalance#nema": 0.0}


def test_the_two_definitions_differ_and_the_names_say_so():
    assert unbalance("v2/v1", 467.0, 450.0, 462.0)["m1/unbalance#v2v1"] == pytest.approx(2.16, abs=0.05)
    assert unbalance("v2/v1", 400.0, 400.0, 400.0) == {"m1/unbalance#v2v1": 0.0}


def test_three_values_without_a_triangle_have_no_result():
    assert unbalance("v2/v1", 400.0, 100.0, 100.0) == {"m1/unbalance#v2v1": None}
    assert unbalance("v2/v1", 0.0, 0.0, 0.0) == {"m1/unbalance#v2v1": None}
    assert unbalance("nema", 1.0, 2.0, 1.0, min=100) == {"m1/unbalance#nema": None}


def test_phasors_in_reverse_order_are_all_negative_sequence():
    options = {"angles": [f"*/a{i}" for i in range(1, 4)]}
    right = unbalance("v2/v1", 230.0, 230.0, 230.0, 0.0, -120.0, 120.0, **options)
    assert right["m1/unbalance#v2v1"] == pytest.approx(0.0, abs=1e-9)
    # One phase lost: both sequences are two thirds and one third
    lost = unbalance("v2/v1", 230.0, 230.0, 0.0, 0.0, -120.0, 120.0, **options)
    assert lost["m1/unbalance#v2v1"] == pytest.approx(50.0)


@settings(max_examples=trials(200), deadline=None)
@given(
    sizes=st.lists(st.floats(200, 260), min_size=3, max_size=3),
    off=st.lists(st.floats(-15, 15), min_size=3, max_size=3),
)
def test_the_triangle_of_line_voltages_gives_what_phasors_give(sizes, off):
    """CIGRE's formula is exact: the zero sequence is in no voltage between lines."""
    angles = np.array([0.0, -120.0, 120.0]) + off
    phases = np.array(sizes) * np.exp(1j * np.radians(angles))
    lines = np.abs(phases - np.roll(phases, -1))
    assert of_triangle(lines[None])[0] == pytest.approx(of_phasors(np.array([sizes]), angles[None])[0], abs=1e-7)


@settings(max_examples=trials(100), deadline=None)
@given(st.floats(1e-9, 0.3))
def test_small_unbalance_keeps_its_digits(part):
    """Of positive sequence 1 and negative sequence ``part``, whatever its angle."""
    turn = np.exp(2j * np.pi / 3)
    phases = np.array([1, turn**2, turn]) + part * np.array([1, turn, turn**2])
    lines = np.abs(phases - np.roll(phases, -1))
    assert of_triangle(lines[None])[0] == pytest.approx(part, rel=1e-5, abs=1e-14)


@pytest.mark.parametrize(
    ("kind", "options", "field", "text"),
    [
        ("power_factor", {"p": ["*/a", "*/b"], "q": "*/c"}, "q", "one for each"),
        ("power_factor", {"p": "*/a", "q": "*/c", "set": "pf"}, "set", "{device}/pf"),
        ("power_factor", {"p": "m/a", "q": "m/c"}, "set", "write a name"),
        ("power_factor", {"p": "m/a", "q": "m/c", "set": "a b"}, "set", "no name"),
        ("power_factor", {"p": "m/a", "q": "m/c", "set": "a//b"}, "set", "no name"),
        ("power_factor", {"p": "m/a", "q": "m/c", "set": "p", "min_apparent": -1.0}, "min_apparent", "0 or more"),
        ("unbalance", {"of": ["a", "b", "c"], "definition": "nema", "angles": ["d", "e", "f"]}, "angles", "nema"),
        ("outage", {"of": ["*/a"], "nominal": 230.0, "threshold": 1.0}, "threshold", "between"),
        ("line_loss", {"head": "*/a", "children": "*/b", "set": "x"}, "head", "one point"),
        ("line_loss", {"head": "a", "children": "*/b", "set": "{device}/x"}, "set", "write a name"),
        ("state_of_charge", {"current": "*/i", "capacity": 1.0}, "initial", "nothing is ever told"),
        ("state_of_charge", {"current": "*/i", "capacity": 0.0, "initial": 1.0}, "capacity", "greater"),
        ("state_of_charge", {"current": "*/i", "capacity": 1.0, "full_voltage": 5.0}, "voltage", "needed"),
        ("transformer_load", {"p": "*/p", "rated": 1.0}, "apparent", "both p and q"),
        ("transformer_load", {"apparent": "*/s", "rated": "630"}, "rated", "630kVA"),
        ("transformer_load", {"apparent": "*/s", "rated": 1.0, "loss_ratio": 0.0}, "loss_ratio", "greater"),
        ("thd", {"rate": 1234.5}, "rate", "12800"), ("thd", {"rate": 3200.0}, "highest", "31 orders"),
        ("thd", {"rate": 6400.0, "orders": [1]}, "orders", "from 2"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(kind, options, field, text):
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)
    assert isinstance(error.value.__cause__, FieldError)
    assert error.value.__cause__.field[0] == field
    assert text in str(error.value)
