"""Report by exception: against the reference, and the promises one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Point
from tests.pipelines import reference, reference_reduce
from tests.pipelines.scripts import START_NS, TAME, WILD, Run, S, frame_of, scripts
from tests.pipelines.test_operators import config_of, run_reference
from tests.support.trials import trials

OPTIONS = [
    {"absolute": 0.5},
    {"absolute": 0.0},
    {"percent": 1.0, "max_silence": "3s"},
    {"percent": 150.0},
]


@pytest.mark.parametrize("many_lanes", [1, 3, 1000])
@pytest.mark.parametrize("options", OPTIONS)
@settings(max_examples=trials(30), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD)))
def test_passes_what_the_reference_passes(options, many_lanes, script):
    run = Run("deadband", options)
    run.operator.many_lanes = many_lanes
    assert run.script(script) == [passed for passed, _ in run_reference("deadband", options, script)[0]]


@pytest.mark.parametrize("options", OPTIONS)
def test_large_frames_of_many_points_and_long_runs(options):
    chance = np.random.default_rng(5)
    run = Run("deadband", options)
    ids = [run.points.add(Point(name=f"x{i}/v", limits=(0, 300) if i % 2 else None)) for i in range(200)]
    parts = []
    for _ in range(3):
        # A few points come hundreds of times, most of them a few times.
        index = np.minimum(chance.geometric(0.02, 3000), 199)
        values = 230 + np.round(chance.normal(0, 2, 3000), 1)
        values[chance.random(3000) < 0.01] = np.nan
        words = np.where(chance.random(3000) < 0.05, q.QUESTIONABLE, 0)
        times = START_NS + chance.integers(0, 20 * S, 3000)
        parts.append(
            list(zip(np.array(ids)[index].tolist(), times.tolist(), values.tolist(), words.tolist(), strict=True))
        )
    plain = reference.Deadband(config_of("deadband", options), run.points)
    for part in parts:
        expected = frame_of(plain.process(part))
        assert run.process(part) == expected
        assert 0 < len(expected) < len(part)


@pytest.mark.parametrize("options", [*OPTIONS, {"percent": 1.0, "percent_of": "value", "max_silence": "3s"}])
@settings(max_examples=trials(40), deadline=None)
@given(shape=st.tuples(st.integers(2, 5), st.integers(2, 9)), data=st.data())
def test_frames_in_which_all_points_have_as_many_samples(options, shape, data):
    """They are decided row by row, as a matrix; times may go back, and values be none."""
    rows, points = shape
    run = Run("deadband", options)
    run.operator.many_lanes = 2
    ids = [run.points.add(Point(name=f"x{i}/v", limits=(0, 300) if i % 2 else None)) for i in range(points)]
    plain = reference_reduce.OPERATORS["deadband"](config_of("deadband", options), run.points)
    value = st.sampled_from([0.0, 1.0, 1.004, 2.5, 2.6, math.nan, math.inf, q.no_value(q.Reason.TIMEOUT)])
    sample = st.tuples(st.integers(0, 9), value, st.sampled_from([0, 0, 0, q.HISTORICAL, q.INVALID]))
    for _ in range(3):
        drawn = data.draw(st.lists(sample, min_size=rows * points, max_size=rows * points))
        part = [(ids[at // rows], START_NS + t * S, v, word) for at, (t, v, word) in enumerate(drawn)]
        run.operator._busy = True
        assert run.process(part) == frame_of(plain.process(part))


def sent(options, *values, point=0, words=None, times=None):
    """Which of these values pass, all in one frame."""
    run = Run("deadband", options)
    n = len(values)
    times = times or [run.now + i for i in range(n)]
    frame = Frame.of([point] * n, times, values, words or [0] * n)
    return [times.index(time) for time in run.operator.process(frame).time.tolist()]


def test_compares_with_the_last_value_sent_so_that_a_slow_ramp_reports():
    assert sent({"absolute": 1.0}, *np.arange(0, 5, 0.5).tolist()) == [0, 3, 6, 9]


def test_a_change_of_exactly_the_band_is_suppressed():
    assert sent({"absolute": 1.0}, 1.0, 2.0, 2.5) == [0, 2]


def test_percent_is_of_the_range_of_the_point():
    assert sent({"percent": 1.0}, 100.0, 103.0, 103.5) == [0, 2]  # 1 % of 300


def test_percent_is_of_the_value_sent_where_there_is_no_range():
    assert sent({"percent": 10.0}, 100.0, 110.0, 111.0, 100.0, 99.0, point=1) == [0, 2, 4]
    assert sent({"percent": 10.0}, 0.0, 1e-9, point=1) == [0, 1]


def test_a_state_passes_on_every_change():
    assert sent({"absolute": 10.0}, 1.0, 1.0, 2.0, 2.0, 1.0, point=3) == [0, 2, 4]


def test_a_quality_change_passes_but_not_the_historical_bit():
    words = [0, q.HISTORICAL, q.OLD_DATA, q.OLD_DATA | q.HISTORICAL, 0]
    assert sent({"absolute": 1.0}, *[5.0] * 5, words=words) == [0, 2, 4]


@pytest.mark.parametrize("many_lanes", [1, 1000])
def test_max_silence_goes_by_source_time(many_lanes):
    times = [START_NS + s * S for s in (0, 59, 60, 61, 119, 120, 50)]
    times[4] = START_NS + 120 * S - 1  # a nanosecond too early
    run = Run("deadband", {"absolute": 1.0, "max_silence": "60s"})
    run.operator.many_lanes = many_lanes
    passed = run.process([(0, time, 5.0, 0) for time in times]).time.tolist()
    assert passed == [times[0], times[2], times[5]]


def test_a_silent_device_produces_nothing():
    run = Run("deadband", {"absolute": 1.0, "max_silence": "1s"})
    run.process([(0, run.now, 1.0, 0)])
    assert len(run.part([], 3600 * S, step=False)) == 0


def test_times_further_apart_than_int64_reaches():
    times = [-(1 << 63), (1 << 63) - 1, -(1 << 63)]
    assert sent({"absolute": 1.0, "max_silence": "60s"}, 5.0, 5.0, times=times[:2]) == [0, 1]
    run = Run("deadband", {"absolute": 1.0, "max_silence": "60s"})
    assert len(run.process([(0, time, 5.0, 0) for time in times])) == 2


def test_a_missing_value_is_reported_once_for_each_reason():
    lost, down = q.no_value(q.Reason.TIMEOUT), q.no_value(q.Reason.LINK_DOWN)
    found = sent({"absolute": 1.0}, 5.0, lost, lost, down, down, 5.0, words=[0, 1, 1, 1, 1, 0])
    assert found == [0, 1, 3, 5]


def test_nothing_is_stuck_behind_an_infinity():
    for options in OPTIONS:
        assert sent(options, math.inf, math.inf, 5.0, -math.inf, point=1) == [0, 2, 3]
        assert sent(options, 1.7e308, -1.7e308, point=1) == [0, 1]
