"""State of charge and transformers: cases with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from pipelines.operators.power.thermal import COOLINGS, ageing, heated, settled
from tests.pipelines.power.support import DOUBTFUL, Case, S, of
from tests.support.trials import trials

HOUR = 3600


def battery(**options):
    options = {"current": "*/i", "capacity": 100, "lateness": "0s", "max_gap": "1h", **options}
    return Case("state_of_charge", options, {"b1/i": "A", "b1/u": "V"})


def charge(case, *rows):
    """Rows (seconds, current[, voltage]); (seconds, percent, quality)."""
    samples = [("b1/i", t, i) for t, i, *_ in rows] + [("b1/u", t, u[0]) for t, _, *u in rows if u]
    return [(t, None if v is None else round(v, 6), w) for t, v, w in of(case.feed(*samples), "/soc")]


def test_charge_is_counted_from_the_beginning():
    """50 A for an hour into 100 Ah are 50 %."""
    found = charge(battery(initial=20.0), (0, 50.0), (HOUR, -25.0), (2 * HOUR, 0.0))
    assert found == [(0, 20.0, DOUBTFUL), (HOUR, 70.0, DOUBTFUL), (2 * HOUR, 45.0, DOUBTFUL)]


def test_charging_has_an_efficiency_and_the_sign_may_be_the_other():
    case = battery(initial=20.0, efficiency=0.9, invert=True)
    assert [v for _, v, _ in charge(case, (0, -50.0), (HOUR, 25.0), (2 * HOUR, 0.0))] == [20.0, 65.0, 40.0]


def test_the_result_stays_within_its_limits():
    case = battery(initial=90.0, max=95.0, min=10.0)
    found = [v for _, v, _ in charge(case, (0, 50.0), (HOUR, -100.0), (2 * HOUR, 10.0), (3 * HOUR, 0.0))]
    assert found == [90.0, 95.0, 10.0, 20.0]


FULL = {"voltage": "*/u", "full_voltage": 57.0, "full_current": 4.0, "empty_voltage": 44.0}


def test_a_full_battery_sets_it_right():
    case = battery(initial=50.0, **FULL)
    found = charge(case, (0, 20.0, 53.0), (1800, 20.0, 57.2), (3600, 3.0, 57.1), (5400, -40.0, 52.0), (7200, 0.0, 50.0))
    assert found == [
        (0, 50.0, DOUBTFUL), (1800, 60.0, DOUBTFUL), (3600, 100.0, 0), (5400, 100.0, 0), (7200, 80.0, 0),
    ]  # fmt: skip


def test_an_empty_battery_sets_it_right():
    case = battery(initial=50.0, **FULL)
    assert charge(case, (0, -20.0, 48.0), (600, -20.0, 43.9))[-1] == (600, 0.0, 0)


def test_without_a_beginning_nothing_is_known_before_it_is_full_or_empty():
    case = battery(**FULL)
    found = charge(case, (0, 20.0, 53.0), (1800, 1.0, 57.2), (3600, -10.0, 56.0))
    assert [(v, w & 3) for _, v, w in found] == [(None, q.INVALID), (100.0, 0), (100.0, 0)]


def test_over_a_gap_nothing_is_counted_and_the_result_is_in_doubt():
    case = battery(max_gap="10m", **FULL)
    found = charge(case, (0, 1.0, 57.0), (600, -60.0, 53.0), (1300, -60.0, 53.0), (1900, 0.0, 53.0))
    assert [(v, w) for _, v, w in found] == [
        (100.0, 0), (100.0, 0), (100.0, DOUBTFUL), (90.0, DOUBTFUL),
    ]  # fmt: skip


def test_a_step_of_the_clock_keeps_the_charge():
    case = battery(initial=50.0)
    charge(case, (0, 10.0), (HOUR, 10.0))
    case.told(case.operator.clock_stepped(-S))
    assert charge(case, (100, 10.0), (100 + HOUR, 10.0)) == [(100, 60.0, DOUBTFUL), (100 + HOUR, 70.0, DOUBTFUL)]


def transformer(units=None, **options):
    options = {"p": "*/p", "q": "*/q", "rated": "630kVA", "lateness": "0s", **options}
    return Case("transformer_load", options, units or {"t1/p": "kW", "t1/q": "kvar", "t1/ambient": "Cel"})


def test_the_load_is_apparent_power_against_the_rating():
    found = transformer().feed(("t1/p", 0, 504.0), ("t1/q", 0, 378.0))
    assert found == [("t1/load", 0, pytest.approx(100.0), 0)]


def test_points_without_a_unit_of_power_give_no_load():
    case = transformer({"t1/p": "", "t1/q": ""})
    assert case.feed(("t1/p", 0, 504.0), ("t1/q", 0, 378.0)) == [("t1/load", 0, None, q.INVALID)]
    assert case.operator.counts.reasons["no-power-unit"] == 1
    case = transformer({"t1/p": "", "t1/q": ""}, rated=630.0)
    assert of(case.feed(("t1/p", 0, 504.0), ("t1/q", 0, 378.0)), "/load")[0][1] == pytest.approx(100.0)


def constant(load, hours, **options):
    """A load that is constant from the beginning, told each minute; the results of the last row by suffix."""
    case = transformer(ambient="20", **options)
    found = []
    for start in range(0, hours * 60, 100):
        rows = [(t * 60, 630.0 * load) for t in range(start, min(start + 100, hours * 60 + 1))]
        found = case.feed(*(("t1/p", t, v) for t, v in rows), *(("t1/q", t, 0.0) for t, _ in rows)) or found
    end = max(t for _, t, *_ in found)
    return {n.partition("/load")[2]: (v, w) for n, t, v, w in found if t == end}


def test_at_the_rating_and_20_degrees_a_distribution_transformer_ages_as_it_should():
    """55 K and 23 K over 20 degrees are 98 degrees: a relative ageing of 1 (IEC 60076-7)."""
    last = constant(1.0, 10)
    assert last["#top_oil"] == (pytest.approx(75.0), 0)
    assert last["#hot_spot"] == (pytest.approx(98.0), 0)
    assert last["#ageing"] == (pytest.approx(1.0), 0)
    assert last["#life_used"] == (pytest.approx(9 + 59 / 60), 0)


def test_six_degrees_more_double_the_ageing_and_upgraded_paper_stands_more():
    assert constant(1.0, 10, hot_spot_rise=29.0)["#ageing"][0] == pytest.approx(2.0)
    assert constant(1.0, 10, hot_spot_rise=35.0, upgraded=True)["#ageing"][0] == pytest.approx(1.0)


def test_temperatures_are_questionable_until_the_beginning_is_forgotten():
    assert constant(1.0, 8)["#hot_spot"][1] == DOUBTFUL
    assert constant(1.0, 8)[""][1] == 0


@pytest.mark.parametrize("kind", COOLINGS)
@pytest.mark.parametrize("pace", [60, 600, 7200])
def test_a_step_of_the_load_follows_the_exponential_equations(kind, pace):
    """The closed form of IEC 60076-7 (f1, f2): exact at any pace."""
    m = COOLINGS[kind]
    time = np.arange(0, 36000 + pace, pace, np.float64)
    group = np.zeros(len(time), np.int32)
    low, high = (settled(m, np.full(len(time), k), np.full(len(time), 20.0)) for k in (0.4, 1.3))
    found = heated(m, group, np.append(0.0, np.diff(time)), high, low)
    f1 = 1 - np.exp(-time / (m.k11 * m.oil_s))
    f2 = m.k21 * (1 - np.exp(-time / (m.k22 * m.winding_s))) - (m.k21 - 1) * (1 - np.exp(-time * m.k22 / m.oil_s))
    assert found.top == pytest.approx(low.top + (high.top - low.top) * f1)
    gradient = [m.hot_spot_k * k**m.y for k in (0.4, 1.3)]
    assert found.h1 - found.h2 == pytest.approx(gradient[0] + (gradient[1] - gradient[0]) * f2)


def test_the_difference_equations_of_the_guide_come_to_the_same():
    """Euler steps of a minute, as the guide has them, with a load and an ambient that wander."""
    m = COOLINGS["onaf"]
    chance = np.random.default_rng(1)
    n = 3000
    load, ambient = (
        0.8 + 0.5 * np.sin(np.arange(n) / 200) + chance.normal(0, 0.02, n),
        15 + 10 * np.sin(np.arange(n) / 700),
    )
    ends = settled(m, load, ambient)
    found = heated(m, np.zeros(n, np.int32), np.append(0.0, np.full(n - 1, 60.0)), ends, ends)
    top, h1, h2, spots = ends.top[0], ends.h1[0], ends.h2[0], []
    for k in range(n):
        if k:
            top += 60 / (m.k11 * m.oil_s) * (ends.top[k] - top)
            h1 += 60 / (m.k22 * m.winding_s) * (ends.h1[k] - h1)
            h2 += 60 / (m.oil_s / m.k22) * (ends.h2[k] - h2)
        spots.append(top + h1 - h2)
    assert np.abs(found.hot_spot - np.array(spots)).max() < 0.5


@settings(max_examples=trials(50), deadline=None)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=50), st.floats(1, 1e5))
def test_temperatures_stay_between_those_where_they_settle(loads, pace):
    m = COOLINGS["distribution"]
    n = len(loads)
    ends = settled(m, np.array(loads), np.full(n, 20.0))
    found = heated(m, np.zeros(n, np.int32), np.append(0.0, np.full(n - 1, pace)), ends, ends)
    assert ends.top.min() - 1e-9 <= found.top.min()
    assert found.top.max() <= ends.top.max() + 1e-9
    assert np.isfinite(ageing(found.hot_spot, upgraded=True)).all()


def test_an_ambient_point_counts_and_a_gap_is_questionable():
    case = transformer(ambient="*/ambient", max_gap="1h")
    rows = [t * 60 for t in range(601)]
    found = case.feed(*(x for t in rows for x in (("t1/p", t, 630.0), ("t1/q", t, 0.0), ("t1/ambient", t, 30.0))))
    assert of(found, "#hot_spot")[-1] == (36000, pytest.approx(108.0), 0)
    later = case.feed(("t1/p", 38000, 630.0), ("t1/q", 38000, 0.0))
    assert of(later, "#hot_spot") == [(38000, pytest.approx(108.0), DOUBTFUL)]
    assert math.isclose(of(later, "#life_used")[0][1], 2 ** (10 / 6) * 38000 / 3600, rel_tol=1e-9)
