"""Demand and interval means: cases with known answers."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.errors import FieldError
from gateway.units import decode_quantity
from pipelines.registry import OPERATORS
from tests.pipelines.power.support import DOUBTFUL, Case, at, of
from tests.pipelines.scripts import START_NS, Run, S, rows
from tests.support.trials import trials

P = "m1/power"
QUARTER = 900


def mean(**options):
    return Case("interval_mean", {"every": "5m", "lateness": "0s", **options}, {P: "W"})


def demand(start=None, **options):
    return Case("demand", {"lateness": "0s", **options}, {P: "W"}, **({} if start is None else {"start": start}))


def test_an_interval_of_samples_at_most_5_s_apart_is_their_mean():
    case = mean()
    out = case.series(P, range(0, 303, 3), [100.0 if t < 150 else 200.0 for t in range(0, 303, 3)])
    assert of(out, "#mean")[0] == (300, pytest.approx(150.0), 0)
    assert of(out, "#coverage")[0] == (300, pytest.approx(1.0), 0)


def test_what_lies_behind_a_sample_is_known_for_5_s_only():
    case = mean()
    out = case.series(P, [0, 10, 20], [100.0, 200.0, 600.0])
    assert of(out, "#mean") == [(300, pytest.approx(300.0), DOUBTFUL)]
    assert of(out, "#coverage") == [(300, pytest.approx(15 / 300), DOUBTFUL)]


def test_means_weigh_by_time_and_values_hold_across_the_end_of_an_interval():
    case = mean(max_gap="4m", coverage=0.0)
    out = case.series(P, [0, 240, 420], [100.0, 200.0, 0.0])
    assert of(out, "#mean")[0] == (300, pytest.approx((240 * 100 + 60 * 200) / 300), 0)
    assert of(out, "#mean")[1] == (600, pytest.approx(120 * 200 / 300), 0)


def test_an_unusable_sample_ends_the_one_before_and_shows():
    case = mean(max_gap="5m")
    out = case.feed((P, 0, 100.0), (P, 100, math.nan, q.INVALID | q.FAILURE), (P, 200, 400.0), (P, 300, 400.0))
    assert of(out, "#mean") == [(300, pytest.approx(250.0), DOUBTFUL | q.FAILURE)]
    assert of(out, "#coverage") == [(300, pytest.approx(2 / 3), DOUBTFUL | q.FAILURE)]


def test_an_interval_of_unusable_samples_is_invalid_and_one_of_none_gives_none():
    case = mean()
    out = case.feed((P, 10, math.nan, q.INVALID)) + case.tick(3600)
    assert of(out, "#mean") == [(300, None, q.INVALID | q.INACCURATE)]
    assert of(out, "#coverage") == [(300, 0.0, DOUBTFUL)]


def test_root_mean_squares():
    case = mean(of="rms")
    out = case.series(P, range(0, 301, 5), [3.0 if t % 10 else 4.0 for t in range(0, 301, 5)])
    assert of(out, "#mean")[0][1] == pytest.approx(math.sqrt(12.5))


def test_fixed_blocks_follow_the_local_clock():
    """In Kathmandu, 5:45 off, blocks of half an hour begin at a quarter past in UTC."""
    for zone, first in (("UTC", QUARTER), ("Asia/Kathmandu", 2 * QUARTER)):
        case = demand(block="30m", max_gap="1m", timezone=zone)
        out = case.series(P, range(0, 4500, 30), [5.0] * 150)
        assert of(out, "#demand")[0][0] == first, zone


def test_the_first_block_is_partial_and_no_maximum():
    case = demand()
    times = range(600, 3601, 30)
    out = case.series(
        P, times, [900.0 if t < 900 else 100.0 if t < 1800 else 300.0 if t < 2700 else 200 for t in times]
    )
    assert of(out, "#demand")[:4] == [
        (900, pytest.approx(900.0), DOUBTFUL), (1800, pytest.approx(100.0), 0),
        (2700, pytest.approx(300.0), 0), (3600, pytest.approx(200.0), 0),
    ]  # fmt: skip
    assert [(t, v) for t, v, _ in of(out, "#demand_max")] == [
        (1800, pytest.approx(100.0)),
        (2700, pytest.approx(300.0)),
    ]


def test_the_maximum_begins_anew_with_the_local_month():
    """Berlin's May ends at 22:00 UTC; its time is that of the block's end."""
    start = at(2026, 6, 1, zone="Europe/Berlin")
    times = range(-1800, 1801, 30)
    values = [300.0 if t < -900 else 200.0 if t < 0 else 50.0 if t < 900 else 60.0 for t in times]
    assert [t for t, *_ in of(demand(start=start).series(P, times, values), "#demand_max")] == [-900]
    case = demand(start=start, timezone="Europe/Berlin")
    out = case.series(P, times, values)
    assert [(t, round(v)) for t, v, _ in of(out, "#demand_max")] == [(-900, 300), (900, 50), (1800, 60)]


def test_a_rolling_demand_is_told_after_each_part_over_the_whole_block():
    case = demand(method="rolling", block="15m", update="5m")
    values = [100.0, 200.0, 600.0, 100.0]
    times = range(0, 1201, 20)
    out = case.series(P, times, [values[min(t // 300, 3)] for t in times])
    told = of(out, "#demand")
    assert [(t, round(v, 6), w) for t, v, w in told[:4]] == [
        (300, 100.0, DOUBTFUL), (600, 150.0, DOUBTFUL), (900, 300.0, 0), (1200, 300.0, 0),
    ]  # fmt: skip
    assert [(t, round(v, 6)) for t, v, _ in of(out, "#demand_max")] == [(900, 300.0)]


@pytest.mark.parametrize(("block", "update"), [("15m", 15), ("30m", 60)])
def test_a_sliding_demand_is_told_every_15_s_or_minute(block, update):
    case = demand(method="sliding", block=block)
    out = case.series(P, range(0, 3700, 5), [float(t) for t in range(0, 3700, 5)])
    told = of(out, "#demand")
    assert [t for t, *_ in told[:3]] == [update, 2 * update, 3 * update]
    length = 900 if block == "15m" else 1800
    by_time = {t: v for t, v, _ in told}
    assert by_time[3600] == pytest.approx(3600 - length / 2 - 2.5)  # a ramp that holds for 5 s


def test_consumed_samples_wait_and_are_then_aggregated():
    case = demand(keep=False, lateness="10s")
    case.feed((P, 0, 1.0), (P, 5, 1.0))
    assert (case.operator.counts.queued, case.operator.counts.samples_out) == (2, 0)
    case.tick(60)
    assert (case.operator.counts.queued, case.operator.counts.aggregated) == (0, 2)
    case.feed((P, 3, 1.0))
    assert case.operator.counts.reasons["late"] == 1


ORDERED = [
    ("interval_mean", {"every": "7s", "max_gap": "3s", "lateness": "0s"}),
    ("demand", {"block": "10s", "max_gap": "4s", "method": "sliding", "update": "1s", "lateness": "0s"}),
    ("supply_quality", {"nominal": 230.0, "lateness": "0s"}),
    ("energy", {"rated": 1e5, "lateness": "0s", "every": "7s"}),
    ("energy", {"rated": 1e5, "lateness": "0s", "rollover": 400.0}),
]


@pytest.mark.parametrize(("kind", "options"), ORDERED)
@settings(max_examples=trials(40), deadline=None)
@given(
    samples=st.lists(st.tuples(st.integers(1, 4 * S), st.floats(1, 400) | st.just(math.nan)), max_size=40),
    ticks=st.sets(st.integers(0, 39)),
)
def test_when_ticks_come_changes_nothing(kind, options, samples, ticks):
    """The same bits, whether the samples are settled one by one or all at once."""
    found = []
    for chosen in (set(), ticks):
        run, t, out = Run(kind, options), START_NS, []
        for at_sample, (pause, value) in enumerate(samples):
            t += pause
            run.process([(0, t, value, 0)])
            if at_sample in chosen:
                out += rows(run._count(0, run.operator.tick, START_NS), run.points)
        for now in (START_NS, START_NS + 3600 * S):
            out += rows(run._count(0, run.operator.tick, now), run.points)
        found.append(sorted(out))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("demand", {"block": "7m"}, "block"), ("demand", {"update": "5m"}, "update"),
        ("demand", {"method": "rolling", "update": "4m"}, "update"), ("demand", {"max_gap": "1h"}, "max_gap"),
        ("demand", {"coverage": 1.5}, "coverage"), ("demand", {"timezone": "X"}, "timezone"),
        ("interval_mean", {"every": "2h"}, "every"), ("interval_mean", {"max_gap": "6m"}, "max_gap"),
        ("supply_quality", {"nominal": 0.0}, "nominal"), ("supply_quality", {"nominal": 1.0, "sag": 1.2}, "sag"),
        ("supply_quality", {"nominal": 1.0, "hysteresis": 0.2}, "hysteresis"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(kind, options, field):
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)
    assert isinstance(error.value.__cause__, FieldError)
    assert error.value.__cause__.field == (field,)
