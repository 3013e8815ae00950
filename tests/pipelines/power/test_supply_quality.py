"""Sags, swells, interruptions, and EN 50160: cases with known answers."""

from __future__ import annotations

import math

import pytest

from gateway import quality as q
from gateway.point import Kind
from tests.pipelines.power.support import DOUBTFUL, Case, at, of

U = "m1/voltage"
TEN = 600


def supply(start=None, **options):
    options = {"nominal": 230, "lateness": "0s", **options}
    return Case("supply_quality", options, {U: "V"}, **({} if start is None else {"start": start}))


def events(case, *samples):
    return [(n.partition("#")[2], t, v, w) for n, t, v, w in case.feed(*((U, t, *v) for t, *v in samples))]


def test_a_sag_has_its_depth_and_its_duration():
    found = events(supply(), (0, 230.0), (0.2, 200.0), (0.4, 150.0), (0.6, 205.0), (0.8, 229.0))
    assert found == [("sag", 0.8, 150.0, 0), ("sag_duration", 0.8, pytest.approx(0.6), 0)]


def test_an_event_ends_behind_the_hysteresis_only():
    """207 V is the threshold, 211.6 V where it ends."""
    found = events(supply(), (0, 230.0), (1, 206.9), (2, 207.1), (3, 211.5), (4, 206.0), (5, 211.7))
    assert found == [("sag", 5, 206.0, 0), ("sag_duration", 5, pytest.approx(4.0), 0)]


def test_a_sag_below_5_percent_is_an_interruption():
    found = events(supply(), (0, 230.0), (1, 100.0), (2, 3.0), (4, 230.0))
    assert found == [("interruption", 4, 3.0, 0), ("interruption_duration", 4, pytest.approx(3.0), 0)]


def test_a_swell():
    found = events(supply(), (0, 230.0), (1, 254.0), (2, 260.0), (3, 249.0), (4, 248.0))
    assert found == [("swell", 4, 260.0, 0), ("swell_duration", 4, pytest.approx(3.0), 0)]


def test_an_event_across_a_silence_is_questionable():
    found = events(supply(), (0, 100.0), (2, math.nan, q.INVALID), (8, 230.0))
    assert found == [("sag", 8, 100.0, DOUBTFUL), ("sag_duration", 8, pytest.approx(8.0), DOUBTFUL)]


def test_an_event_lasts_from_tick_to_tick():
    case = supply()
    assert events(case, (0, 230.0), (1, 200.0)) == []
    assert events(case, (2, 180.0)) == []
    assert events(case, (3, 230.0)) == [("sag", 3, 180.0, 0), ("sag_duration", 3, pytest.approx(2.0), 0)]
    assert events(case, (4, 230.0)) == []


def test_the_ten_minute_value_is_a_root_mean_square():
    case = supply(start=at(2026, 6, 1, 12))
    out = case.series(U, range(0, 601, 2), [220.0 if t % 4 else 240.0 for t in range(0, 601, 2)])
    assert of(out, "#u10")[0] == (600, pytest.approx(math.sqrt((220**2 + 240**2) / 2)), 0)


def a_day(values, *, start):
    """Ten-minute values of a day, each by samples 5 s apart, and the first of the next."""
    case = supply(start=start, period="day")
    out = []
    for at_block, value in enumerate([*values, 230.0, 230.0]):
        samples = [(U, at_block * TEN + t, value) for t in range(0, TEN, 5)]
        out += case.feed(*samples)
    return case, out


@pytest.mark.parametrize(
    ("off", "value", "within", "compliant"),
    [(7, 200.0, 137 / 144, 1.0), (8, 200.0, 136 / 144, 0.0), (1, 190.0, 143 / 144, 0.0), (7, 208.0, 1.0, 1.0)],
)
def test_95_percent_of_the_ten_minute_values_lie_within_10_percent(off, value, within, compliant):
    """Of a day's 144: 7 off are 95.1 %, 8 are 94.4 %; one below -15 % is too much, whatever the others are."""
    start = at(2026, 6, 1)
    case, out = a_day([value] * off + [230.0] * (144 - off), start=start)
    assert of(out, "#within") == [(86400, pytest.approx(within), 0)]
    assert of(out, "#compliant") == [(86400, compliant, 0)]
    assert case.points.point(case.points.find(f"{U}#compliant")).kind is Kind.STATE


def test_ten_minutes_with_an_interruption_do_not_count():
    case = supply(start=at(2026, 6, 1), period="day", coverage=0.0)
    out = []
    for block, value in enumerate([230.0, 5.0, 230.0, *[230.0] * 143]):
        out += case.feed(*((U, block * TEN + t, value) for t in range(0, TEN, 5)))
    assert of(out, "#within") == [(86400, 1.0, 0)]


def test_a_period_with_few_values_is_questionable():
    case = supply(start=at(2026, 6, 1, 20), period="day")
    out = case.series(U, range(0, 5 * 3600, 5), [230.0] * 3600)
    assert of(out, "#within") == [(4 * 3600, 1.0, DOUBTFUL)]


def test_weeks_are_those_of_the_local_clock():
    """Monday 2026-06-08 begins at 16:00 UTC of Sunday in Shanghai."""
    case = supply(start=at(2026, 6, 7, 15), timezone="Asia/Shanghai")
    out = case.series(U, range(0, 2 * 3600, 5), [230.0] * 1440)
    assert [t for t, *_ in of(out, "#within")] == [3600]
