"""Swinging door and piecewise linear: against the reference, the bound on every sample, the promises one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Kind, Point
from pipelines.bounds import Bound
from pipelines.reconstruct import error
from tests.pipelines.reducing import agree, errors
from tests.pipelines.scripts import NEAR, POINTS, START_NS, TAME, WILD, Run, S, directory, operator, scripts
from tests.support.trials import trials

SILENCE = {"swinging_door": "max_silence", "piecewise_linear": "max_delay"}
BOUNDS = [{"absolute": 0.5}, {"absolute": 0.0}, {"percent": 1.0}, {"epsilon": "20%"}, {"epsilon": 1e307}]
both = pytest.mark.parametrize("kind", SILENCE)
# Few values and whole seconds, so that samples do lie on lines.
TIDY = st.tuples(
    st.integers(0, 5),
    st.integers(0, 12).map(lambda s: START_NS + s * S),
    st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan, math.inf, q.no_value(q.Reason.TIMEOUT), 1e300]),
    st.sampled_from([0, 0, 0, q.HISTORICAL, q.QUESTIONABLE]),
)


@both
@pytest.mark.parametrize("many_lanes", [1, 3, 1000])
@pytest.mark.parametrize("options", BOUNDS)
@settings(max_examples=trials(25), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD, TIDY)), silence=st.sampled_from(["2s", "10m"]))
def test_sends_what_the_reference_sends(kind, options, many_lanes, script, silence):
    agree(kind, {**options, SILENCE[kind]: silence}, script, many_lanes)


def tolerance(point, options, values):
    """The bound at each sample, in the point's unit."""
    config = operator("swinging_door", options, directory())
    about = POINTS[point]
    if about.kind is Kind.STATE:
        return np.zeros(len(values))
    if config.bound.absolute is not None:
        return np.full(len(values), config.bound.absolute)
    span = math.inf if about.limits is None else about.limits[1] - about.limits[0]
    share = config.bound.percent / 100
    return np.full(len(values), share * span) if span < math.inf else share * np.abs(values)


def assert_within(kind, options, script):
    for point, values, distance in errors(kind, options, script):
        finite = np.isfinite(values)
        assert not np.isfinite(distance[np.isnan(values)]).any()
        assert (distance[np.isinf(values)] == 0).all()
        largest = np.abs(values[finite]).max(initial=0.0)
        bound = tolerance(point, options, values[finite])
        # Where the bound is not far above the rounding of a double, that comes on top; see the operators' text.
        rounding = np.where(largest * 2.0**-30 < bound, 0.0, largest * 2.0**-50 + 1e-300)
        assert (distance[finite] <= bound + rounding).all()


@both
@pytest.mark.parametrize("options", BOUNDS[:4])
@settings(max_examples=trials(60), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD, TIDY)))
def test_every_sample_lies_within_the_bound_of_the_reconstruction(kind, options, script):
    assert_within(kind, options, script)


@both
@pytest.mark.parametrize("options", BOUNDS[:4])
@settings(max_examples=trials(40), deadline=None)
@given(
    values=st.lists(st.one_of(st.floats(-5, 5), st.floats(0, 1)), min_size=2, max_size=200),
    gaps=st.lists(st.integers(1, 3 * S), min_size=1, max_size=9),
)
def test_also_along_one_long_series(kind, options, values, gaps):
    times = (START_NS + np.cumsum(np.resize(gaps, len(values)))).tolist()
    assert_within(kind, options, [([(1, t, v, 0) for t, v in zip(times, values, strict=True)], 0, False)])


@both
@settings(max_examples=trials(60), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, TIDY, st.tuples(st.just(3), NEAR, st.just(1.0), st.just(0)))))
def test_a_state_is_never_between_two_values(kind, script):
    run = Run(kind, {"absolute": 2.0})
    for samples, pause, step in script:
        run.part(samples, pause, step)
    run.part([], 0, step=True)
    came = [np.float64(v).tobytes() for samples, _, _ in script for p, _, v, _ in samples if p == 3]
    kept = [v.tobytes() for out in run.outputs for v in out.value[out.point == 3]]
    assert [v for v, _ in itertools.groupby(came)] == [v for v, _ in itertools.groupby(kept)]


def sent(kind, options, values, *, words=None, times=None, point=0, flush=False):
    """Which of these come out, as (index of the time, value), all in one frame."""
    run = Run(kind, options)
    times = times or [run.now + at * S for at in range(len(values))]
    out = run.process(list(zip([point] * len(values), times, values, words or [0] * len(values), strict=True)))
    parts = [out, run.operator.clock_stepped(0)] if flush else [out]
    return [(times.index(t), v) for part in parts for t, v in zip(part.time.tolist(), part.value.tolist(), strict=True)]


@both
def test_a_straight_line_is_its_two_ends(kind):
    ramp = [float(v) for v in range(100)]
    assert sent(kind, {"absolute": 0.1}, ramp) == [(0, 0.0)]
    assert sent(kind, {"absolute": 0.1}, ramp, flush=True) == [(0, 0.0), (99, 99.0)]
    assert sent(kind, {"absolute": 0.1}, [*ramp, 0.0]) == [(0, 0.0), (99, 99.0)]


def test_the_naive_cone_would_send_a_point_that_breaks_the_bound():
    # The cone of the first three stays open at the fourth, but the line to it leaves the third by 1.2.
    values = [0.0, 0.0, 2.0, 0.9, 9.0]
    assert (4, 9.0) not in sent("swinging_door", {"absolute": 1.0}, values)
    kept = sent("swinging_door", {"absolute": 1.0}, values, flush=True)
    times, series = np.arange(5), np.array(values)
    index = np.array([at for at, _ in kept])
    assert error("linear", (times, series), (index, np.array([v for _, v in kept]))).max() <= 1.0


def test_a_swinging_door_sends_samples_as_they_came():
    chance = np.random.default_rng(2)
    values = np.cumsum(chance.normal(0, 1, 300)).tolist()
    kept = sent("swinging_door", {"absolute": 1.5}, values)
    assert 10 < len(kept) < 150
    assert all(value == values[at] for at, value in kept)


def test_piecewise_linear_needs_fewer_samples_where_there_is_noise():
    chance = np.random.default_rng(3)
    values = (100 * np.sin(np.arange(3000) / 300) + chance.normal(0, 0.3, 3000)).tolist()
    door, lines = (len(sent(kind, {"absolute": 1.0}, values)) for kind in ("swinging_door", "piecewise_linear"))
    assert lines < 0.75 * door < 0.1 * len(values)


@both
def test_another_quality_ends_a_line_but_not_the_historical_bit(kind):
    words = [0, 0, q.HISTORICAL, q.OLD_DATA, q.OLD_DATA, q.OLD_DATA]
    assert sent(kind, {"absolute": 1.0}, [5.0] * 6, words=words) == [(0, 5.0), (2, 5.0), (3, 5.0)]


@both
def test_a_missing_value_ends_a_line_and_equal_ones_are_a_line(kind):
    lost = q.no_value(q.Reason.TIMEOUT)
    found = sent(kind, {"absolute": 1.0}, [1.0, 1.0, lost, lost, lost, 2.0], words=[0, 0, 1, 1, 1, 0])
    assert [at for at, _ in found] == [0, 1, 2, 4, 5]


@both
def test_a_time_that_goes_back_ends_a_line(kind):
    times = [START_NS + s * S for s in (0, 1, 2, 1, 5)]
    run = Run(kind, {"absolute": 1.0})
    out = run.process([(0, time, 1.0, 0) for time in times])
    assert out.time.tolist() == [times[0], times[2], times[3]]


@both
@pytest.mark.parametrize("many_lanes", [1, 1000])
def test_a_line_lasts_no_longer_than_allowed(kind, many_lanes):
    run = Run(kind, {"absolute": 1.0, SILENCE[kind]: "60s"})
    run.operator.many_lanes = many_lanes
    times = [START_NS + s * S for s in (0, 59, 60, 61, 119, 120)]
    times[4] = START_NS + 120 * S - 1  # a nanosecond too early
    assert run.process([(0, time, 5.0, 0) for time in times]).time.tolist() == [times[0], times[2], times[5]]
    assert run.operator.counts.queued == 0


@both
def test_what_is_held_is_let_go_on_the_clock_of_ticks(kind):
    run = Run(kind, {"absolute": 1.0, SILENCE[kind]: "60s"})
    run.part([(0, START_NS, 5.0, 0), (0, START_NS + S, 5.5, 0)], 0, step=False)
    assert run.operator.counts.queued == 1
    assert len(run.part([], 60 * S - 1, step=False)) == 0
    out = run.part([], 1, step=False)
    assert (out.time.tolist(), out.value.tolist()) == ([START_NS + S], [5.5])
    assert run.operator.counts.queued == 0
    assert len(run.part([], 3600 * S, step=False)) == 0


@both
def test_the_bound_can_be_changed_and_is_part_of_the_snapshot(kind):
    run = Run(kind, {"absolute": 0.1})
    assert run.operator.bound == Bound(absolute=0.1)
    run.process([(0, START_NS, 5.0, 0), (0, START_NS + S, 5.0, 0)])
    run.operator.set_bound(Bound(percent=1.0))  # of 300
    assert len(run.process([(0, START_NS + s * S, 5.0 + s % 2, 0) for s in range(2, 50)])) <= 1
    run = run.moved()
    assert run.operator.bound == Bound(percent=1.0)
    assert len(run.process([(0, START_NS + s * S, 5.0 + s % 2, 0) for s in range(50, 90)])) == 0
    run.operator.set_bound(Bound(absolute=0.1))
    assert len(run.process([(0, START_NS + s * S, 5.0 + s % 2, 0) for s in range(90, 95)])) >= 3


@both
def test_many_points_with_runs_of_all_lengths(kind):
    chance = np.random.default_rng(5)
    options = {"percent": 0.4, SILENCE[kind]: "60s"}
    columns, plain = Run(kind, options), Run(kind, options)
    plain.operator.many_lanes = 1 << 40
    for run in (columns, plain):
        for i in range(200):
            run.points.add(Point(name=f"x{i}/v", limits=(0, 300) if i % 2 else None))
    for part in range(4):
        ids = 6 + np.minimum(chance.geometric(0.02, 3000), 199)
        values = 230 + np.round(chance.normal(0, 1, 3000), 1)
        values[chance.random(3000) < 0.01] = np.nan
        times = START_NS + part * 100 * S + np.sort(chance.integers(0, 100 * S, 3000))
        frame = Frame.of(ids, times, values, np.where(chance.random(3000) < 0.02, q.QUESTIONABLE, 0))
        first, second = (run.operator.process(frame) for run in (columns, plain))
        for point in range(6, 206):
            assert first.take(first.point == point) == second.take(second.point == point)
        assert 0 < len(first) < len(frame)
    assert columns.operator.counts.as_dict() == plain.operator.counts.as_dict()
