"""Forecasts: against the plain reference, and the promises one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import concat
from gateway.units import Duration
from pipelines.operators.ahead.forecast import ForecastConfig, told
from tests.pipelines.reference_ahead import Forecast
from tests.pipelines.scripts import NUMBERS, START_NS, TAME, WILD, Run, S, directory, scripts
from tests.pipelines.test_operators import config_of
from tests.support.trials import trials

T0 = 1_790_000_000 * S  # a multiple of 10 s
SHORT = {"season": "4s", "step": "1s", "horizon": ["1s", "6s"], "lateness": "500ms"}
OPTIONS = [
    SHORT,
    {"season": "2s", "step": "1s", "horizon": ["2s", "3s"], "lateness": "0s", "stamp": "made", "errors": ["wape"]},
    {**SHORT, "season": "3s", "method": "holt_winters", "alpha": 0.5, "beta": 0.25, "gamma": 0.5},
    {**SHORT, "season": "2s", "method": "holt_winters", "beta": 0.5, "grid": "last", "keep": False},
]
LONG = st.tuples(st.integers(0, 5), st.integers(0, 40 * S).map(lambda ns: START_NS + ns), NUMBERS, st.just(0))


@pytest.mark.parametrize("options", OPTIONS)
@settings(max_examples=trials(60), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, LONG, WILD)))
def test_gives_what_the_reference_gives(options, script):
    points = directory()
    run, plain = Run("forecast", options, points), Forecast(config_of("forecast", options), points)
    now = run.now
    for samples, pause, step in script:
        out = run.part(samples, pause, step)
        passed = plain.process(samples)
        now += pause
        made = (plain.clock_stepped() if step else []) + plain.tick(now)
        wanted = [(points.name(p), t, v, word) for p, t, v, word in passed] + made
        assert of_points(columns(out, points)) == of_points(wanted)
    assert run.operator.counts.reasons["late"] == plain.window.late
    assert run.operator.counts.reasons["early"] == plain.window.dropped["early"]


def columns(frame, points):
    names = [points.name(point) for point in frame.point.tolist()]
    return list(zip(names, frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True))


def of_points(samples):
    """Samples by the name of their point, in their order; sums may differ in the last bits."""
    found = {}
    for name, time, value, word in samples:
        found.setdefault(name, []).append((time, pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), word))
    return found


def fed(run, values, start=0, word=q.GOOD):
    """One value of m1/power in the middle of each step of a second from ``start`` on, None for none; what was made."""
    samples = [(1, T0 + (start + n) * S + S // 2, v, word) for n, v in enumerate(values) if v is not None]
    run.process(samples)
    end = T0 + (start + len(values)) * S
    out = concat([run._count(0, run.operator.tick, end + later) for later in (0, 2 * S)])
    return [
        (name.removeprefix("m1/power#forecast."), (time - T0) / S, value, word)
        for name, time, value, word in columns(out, run.points)
        if "#" in name
    ]


def only(made, name):
    return {time: value for found, time, value, _ in made if found == name}


def test_seasonal_naive_says_what_was_a_season_before_and_how_wrong_that_is():
    run = Run("forecast", {"season": "3s", "step": "1s", "horizon": ["1s"], "lateness": "0s"})
    made = fed(run, [10.0, 20.0, 30.0, 11.0, 19.0, 33.0, 10.0])
    assert only(made, "1s") == {4: 10, 5: 20, 6: 30, 7: 11, 8: 19}  # stamped with the end of the step it is for
    # The errors are |11-10|, |19-20|, |33-30|, |10-11|: told with the step that showed them, over the last three
    assert only(made, "1s.mae") == pytest.approx({4: 1, 5: 1, 6: 5 / 3, 7: 5 / 3})
    assert only(made, "1s.wape") == pytest.approx({4: 1 / 11, 5: 2 / 30, 6: 5 / 63, 7: 5 / 62})


def test_a_forecast_may_carry_the_time_at_which_it_was_made():
    run = Run("forecast", {**SHORT, "stamp": "made", "horizon": ["2s"], "season": "2s", "errors": []})
    assert only(fed(run, [1.0, 2.0, 3.0]), "2s") == {1: 1, 2: 2, 3: 3}


def pattern(n, level=100.0, trend=0.0):
    return level + trend * n + 20 * math.sin(2 * math.pi * n / 96)


def long_run(method, **options):
    run = Run("forecast", {"method": method, "season": "96s", "step": "1s", "horizon": ["4s", "96s"], **options})
    run.operator.tick(T0)
    return run


def test_holt_winters_finds_level_trend_and_season():
    run = long_run("holt_winters", alpha=0.3, beta=0.05, gamma=0.1)
    made = fed(run, [pattern(n, trend=0.05) for n in range(96 * 12)])
    errors = only(made, "4s.mae")
    assert errors[max(errors)] < 0.1
    ahead = only(made, "96s")
    last = max(ahead)
    assert ahead[last] == pytest.approx(pattern(last - 1, trend=0.05), abs=0.3)


def test_holt_winters_beats_the_naive_one_on_noise_with_a_trend():
    noise = np.random.default_rng(4).normal(0, 3, 96 * 10)
    series = [pattern(n, trend=0.05) + noise[n] for n in range(96 * 10)]
    found = {}
    for method in ("seasonal_naive", "holt_winters"):
        errors = only(fed(long_run(method), series), "4s.wape")
        found[method] = errors[max(errors)]
    assert found["holt_winters"] < 0.75 * found["seasonal_naive"]


def test_no_forecast_before_the_first_season_is_complete():
    run = Run("forecast", {**SHORT, "method": "holt_winters", "horizon": ["1s"]})
    assert only(fed(run, [1.0, 2.0, 3.0]), "1s") == {}
    assert only(fed(run, [2.0], start=3), "1s") == pytest.approx({5: 1.0})


def test_gaps_are_bridged_and_said():
    run = Run("forecast", {"season": "3s", "step": "1s", "horizon": ["1s"], "lateness": "0s", "errors": []})
    made = fed(run, [1.0, 2.0, 3.0, None, 5.0, 6.0])
    assert made[-1] == ("1s", 7, 1.0, q.QUESTIONABLE | q.OLD_DATA)
    assert fed(run, [None] * 3, start=6) == []  # a silent point forecasts nothing


def test_after_a_season_of_silence_a_point_begins_anew():
    run = Run("forecast", {"season": "3s", "step": "1s", "horizon": ["1s"], "lateness": "0s"})
    fed(run, [1.0, 2.0, 3.0, 4.0])
    assert fed(run, [9.0, 9.0, 9.0], start=20) == [("1s", 24, 9.0, q.GOOD)]


def test_the_quality_is_that_of_what_went_in():
    run = Run("forecast", {"season": "2s", "step": "1s", "horizon": ["1s"], "lateness": "0s", "errors": []})
    assert fed(run, [1.0, 2.0], word=q.QUESTIONABLE | q.TEST)[0][3] == q.QUESTIONABLE | q.TEST
    assert only(fed(run, [7.0, 8.0], start=2, word=q.INVALID), "1s") == {}


def test_a_small_step_of_the_clock_costs_no_history():
    run = Run("forecast", {"season": "3s", "step": "1s", "horizon": ["1s"], "lateness": "0s", "errors": []})
    fed(run, [1.0, 2.0, 3.0, 4.0, 5.0])
    run._count(0, run.operator.clock_stepped, -2 * S)
    assert only(fed(run, [40.0, 50.0, 6.0], start=3), "1s") == {7: 4.0}


def test_states_and_late_samples_only_pass():
    run = Run("forecast", SHORT)
    assert len(run.process([(3, T0, 1.0, 0)])) == 1
    assert run.operator.counts.queued == 0
    fed(run, [1.0, 2.0, 3.0])
    assert len(run.process([(1, T0, 7.0, 0)])) == 1
    assert run.operator.counts.reasons == {"late": 1}


def test_one_row_or_many_give_the_same_bits():
    """Sums over a long season may not depend on how many points are summed side by side."""
    series = np.random.default_rng(8).normal(50, 9, (96 * 3, 6))
    together = by_name(long_series(series, (0, 1, 2, 4, 5)))
    for point in (0, 1, 5):
        alone = by_name(long_series(series, (point,)))
        assert len(alone) == 6
        assert all(together[name] == samples for name, samples in alone.items())


def long_series(series, points):
    run = long_run("holt_winters")
    for n in range(len(series)):
        run.process([(point, T0 + n * S, series[n, point], 0) for point in points])
    return columns(run._count(0, run.operator.tick, T0 + 400 * S), run.points)


def by_name(samples):
    found = {}
    for name, *rest in samples:
        found.setdefault(name, []).append(rest)
    return found


@pytest.mark.parametrize(
    ("text", "name"), [("1h", "1h"), ("1d", "24h"), ("90m", "90m"), ("15m", "15m"), ("1500ms", "1500ms"), ("60s", "1m")]
)
def test_horizons_in_names(text, name):
    assert told(Duration.parse(text)) == name


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"step": Duration(0)}, ("step",)),
        ({"season": Duration(1000)}, ("season",)),
        ({"season": Duration(900)}, ("season",)),
        ({"horizon": ()}, ("horizon",)),
        ({"horizon": (Duration(900), Duration(1000))}, ("horizon", 1)),
        ({"horizon": (Duration(900), Duration(900))}, ("horizon",)),
        ({"alpha": 1.5}, ("alpha",)),
        ({"step": Duration(1), "horizon": (Duration(1),)}, ("step",)),
        ({"lateness": Duration(8 * 86_400)}, ("lateness",)),
    ],
)
def test_nonsense_is_refused(options, field):
    with pytest.raises(FieldError) as caught:
        ForecastConfig(**options)
    assert caught.value.field == field
