"""Energy from counters: cases with known answers."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.errors import FieldError
from gateway.point import Kind, Merge, Point
from gateway.units import decode_quantity
from pipelines.operators.power.energy import EnergyConfig
from tests.pipelines.power.support import DOUBTFUL, Case, S, at, of
from tests.support.trials import trials

WRAP_32 = 2**32 * 0.01
HOUR = 3600


def meter(unit="kW.h", resolution=0.01, start=None, **options):
    options = {"rated": "60kW", "lateness": "0s", "max_gap": "1h", **options}
    point = Point(name="m1/energy", unit=unit, kind=Kind.COUNTER, resolution=resolution)
    return Case("energy", options, {"m1/energy": point}, **({} if start is None else {"start": start}))


def deltas(case, *readings):
    return of(case.feed(*(("m1/energy", t, *reading) for t, *reading in readings)), "#delta")


def test_a_delta_is_the_difference_of_two_readings_stamped_with_the_later():
    case = meter()
    found = deltas(case, (0, 1000.0), (900, 1005.5), (1800, 1005.5), (2700, 1010.0))
    assert found == [(900, 5.5, 0), (1800, 0.0, 0), (2700, 4.5, 0)]
    made = case.points.point(case.points.find("m1/energy#delta"))
    assert (made.unit, made.kind, made.merge, made.resolution) == ("kW.h", Kind.GAUGE, Merge.ADD, 0.01)


def test_a_counter_of_32_bits_of_hundredths_wraps():
    case = meter(rollover=WRAP_32)
    found = deltas(case, (0, WRAP_32 - 3.0), (900, 2.0))
    assert found == [(900, pytest.approx(5.0, abs=1e-6), 0)]
    assert case.operator.counts.reasons["wrap"] == 1


def test_what_is_not_possible_in_the_time_is_no_wrap_but_a_reset():
    case = meter(rollover=WRAP_32)
    assert deltas(case, (0, 30_000.0), (900, 2.0)) == [(900, 2.0, DOUBTFUL)]
    assert case.operator.counts.reasons["reset"] == 1
    assert case.operator.counts.reasons["wrap"] == 0


@pytest.mark.parametrize(("seconds", "possible"), [(239.9, False), (240.1, True)])
def test_the_margin_is_half_the_rated_power(seconds, possible):
    """60 kW times 1.5 is 6 kWh in 240 s."""
    case = meter(resolution=None)
    (found,) = deltas(case, (0, 100.0), (seconds, 106.0))
    assert (found[1] == pytest.approx(6.0)) is possible
    assert case.operator.counts.reasons["implausible"] == (not possible)


def test_a_daily_counter_that_is_reset_minutes_after_midnight():
    """The day's yield stands at 24.3 kWh until six minutes past; nothing goes by the clock."""
    midnight = at(2026, 6, 2, zone="Asia/Shanghai")
    case = meter(lifetime=False, start=midnight)
    found = deltas(case, (-600, 24.3), (0, 24.3), (300, 24.3), (360, 0.0), (420, 0.0), (21600, 0.1))
    assert [v for _, v, _ in found] == [0.0, 0.0, 0.0, 0.0, 0.1]
    assert [t for t, _, w in found if w] == [360, 21600]  # the reset, and the gap of the night
    assert case.operator.counts.reasons["reset"] == 1


def test_a_lifetime_zero_of_the_night_is_dropped():
    case = meter()
    frame_out = case.feed(("m1/energy", 0, 812.5), ("m1/energy", 60, 0.0), ("m1/energy", 120, 812.5), tick=False)
    assert frame_out == []
    counts = case.operator.counts
    assert (counts.dropped, counts.reasons["lifetime-zero"], counts.samples_out) == (1, 1, 2)
    assert of(case.tick(0), "#delta") == [(120, 0.0, 0)]
    assert "reset" not in {name for name, n in counts.reasons.items() if n}


def test_a_single_wild_reading_costs_nothing():
    case = meter()
    found = deltas(case, (0, 1000.0), (60, 99_999.0), (120, 1001.0), (180, 1001.5))
    assert found == [(60, None, q.INVALID | q.OUT_OF_RANGE), (120, 1.0, 0), (180, 0.5, 0)]
    case = meter()
    found = deltas(case, (0, 1000.0), (60, 12.0), (120, 1001.0), (180, 1001.5))
    assert [v for _, v, _ in found] == [None, 1.0, 0.5]


def test_a_meter_that_was_exchanged_goes_on_from_where_it_is():
    case = meter()
    found = deltas(case, (0, 1000.0), (60, 55_000.0), (120, 55_000.5), (180, 55_001.0))
    assert [v for _, v, _ in found] == [None, 0.5, 0.5]


def test_a_register_that_is_renewed_each_quarter_of_an_hour_is_possible():
    """Read each second, it stands and then jumps by what went through since it last moved."""
    case = meter()
    readings = [(t, 1000.0 + 14 * (t // 900)) for t in range(0, 2000, 10)]
    found = deltas(case, *readings)
    assert sum(v for _, v, _ in found) == pytest.approx(28.0)
    assert case.operator.counts.reasons["implausible"] == 0


def test_a_gap_is_estimated_but_right_in_total():
    case = meter(max_gap="15m")
    assert deltas(case, (0, 1000.0), (901, 1005.0)) == [(901, 5.0, DOUBTFUL)]
    assert case.operator.counts.reasons["estimated"] == 1


def test_unusable_readings_say_nothing():
    case = meter()
    found = deltas(case, (0, 1000.0), (60, math.nan, q.INVALID), (90, 1.0, q.INVALID), (120, 1001.0, q.QUESTIONABLE))
    assert found == [(120, 1.0, q.QUESTIONABLE)]


def test_readings_out_of_order_are_put_right_within_lateness():
    case = meter(lateness="10s", rated="10MW")
    found = case.feed(("m1/energy", 0, 1000.0), ("m1/energy", 5, 1002.0), ("m1/energy", 3, 1001.0)) + case.tick(10)
    assert [(t, v) for t, v, _ in of(found, "#delta")] == [(3, 1.0), (5, 1.0)]


@pytest.mark.parametrize(
    ("unit", "rated", "most"), [("MJ", "1kW", 5.4), ("W.h", "1kW", 1500), ("kvar.h", "1kvar", 1.5)]
)
def test_units_of_energy(unit, rated, most):
    """1 kW times 1.5 in an hour is 1.5 kWh, 5.4 MJ."""
    case = meter(unit=unit, rated=rated, resolution=None)
    found = deltas(case, (0, 1e6), (HOUR, 1e6 + 0.99 * most), (2 * HOUR, 1e6 + 2.1 * most))
    assert [v is None for _, v, _ in found] == [False, True]


def test_points_without_a_unit_of_energy_give_nothing_and_are_counted():
    case = meter(unit="V")
    assert deltas(case, (0, 1.0), (60, 2.0)) == []
    assert case.operator.counts.reasons["no-energy-unit"] == 2
    case = meter(unit="V", rated=100.0)  # units of the counter an hour
    assert deltas(case, (0, 1.0), (60, 2.0)) == [(60, 1.0, 0)]


def test_intervals_share_out_by_time():
    case = meter(every="15m")
    found = deltas(case, (0, 100.0), (600, 101.0), (1200, 103.0), (1800, 104.0), (2000, 104.5))
    assert found == [(900, pytest.approx(2.0), 0), (1800, pytest.approx(2.0), 0)]


def test_the_first_interval_is_partial_and_gaps_are_estimated():
    case = meter(every="15m", max_gap="10m")
    found = deltas(case, (300, 100.0), (900, 102.0), (3600, 105.0))
    assert found == [
        (900, 2.0, DOUBTFUL), *((t, pytest.approx(1.0), DOUBTFUL) for t in (1800, 2700, 3600)),
    ]  # fmt: skip


def test_a_wild_reading_at_the_edge_of_an_interval_costs_nothing():
    case = meter(every="15m")
    found = deltas(case, (0, 100.0), (600, 101.0), (1000, 1e7), (1100, 102.0), (1800, 103.0))
    assert [t for t, _, _ in found] == [900, 1800]
    assert sum(v for _, v, _ in found) == pytest.approx(3.0)
    assert [w for _, _, w in found] == [0, 0]


def test_a_step_of_the_clock_keeps_the_reading_but_not_its_time():
    case = meter()
    deltas(case, (0, 1000.0), (60, 1001.0))
    case.told(case.operator.clock_stepped(-10 * S))
    assert deltas(case, (30, 1002.0), (90, 1003.0)) == [(30, 1.0, DOUBTFUL), (90, 1.0, 0)]


@settings(max_examples=trials(60), deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 600), st.integers(0, 500)), min_size=1, max_size=60),
    start=st.integers(1, 2**32 - 1),
    every=st.sampled_from([None, "1m", "15m"]),
)
def test_nothing_is_lost_or_made_up(steps, start, every):
    """A counter of 32 bits that wraps as it likes: the deltas sum up to what was put in."""
    count, t, readings, total = start, 0, [(0, start * 0.01)], 0
    for seconds, amount in steps:
        amount = min(amount, seconds * 2)  # noqa: PLW2901 - 0.01 kWh in half a second: 72 kW, below 90
        t, count, total = t + seconds, (count + amount) % 2**32, total + amount
        if count:
            readings.append((t, count * 0.01))
    last = readings[-1][0]
    if every:
        end = -(-last // 900) * 900 + 900
        readings.append((end, count * 0.01 or 0.01))
    case = meter(rollover=WRAP_32, every=every, lifetime=True)
    found = deltas(case, *readings)
    if count:
        assert sum(v for _, v, _ in found) == pytest.approx(total * 0.01, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"rated": "60"}, "rated"), ({"rated": "60kWh"}, "rated"), ({"rated": 0.0}, "rated"),
        ({"rated": "0kW"}, "rated"),
        ({"rated": 1.0, "rollover": 0.0}, "rollover"), ({"rated": 1.0, "max_gap": 0}, "max_gap"),
        ({"rated": 1.0, "every": "2d"}, "every"), ({"rated": 1.0, "timezone": "Mars/Olympus"}, "timezone"),
        ({"rated": 1.0, "timezone": "../etc"}, "timezone"), ({"rated": 1.0, "timezone": ""}, "timezone"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(options, field):
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(options, EnergyConfig, dec_hook=decode_quantity)
    assert isinstance(error.value.__cause__, FieldError)
    assert error.value.__cause__.field == (field,)
