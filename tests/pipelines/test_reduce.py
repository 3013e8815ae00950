"""Dedup, round, sample, throttle, narrowband, and the deadband's later options: the promises one by one, and all
operators that reduce against the plain reference.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Kind
from pipelines.bounds import Bound
from tests.pipelines.reducing import OFTEN, agree, errors
from tests.pipelines.scripts import NUMBERS, POINTS, START_NS, TAME, WILD, Run, S, operator, scripts
from tests.pipelines.test_operators import config_of
from tests.support.trials import trials

LANES = ("deadband", "dedup", "throttle", "narrowband")
CASES = [
    ("deadband", {"percent": 2.0, "percent_of": "value"}),
    ("deadband", {"absolute": 0.5, "previous": True}),
    ("deadband", {"percent": 1.0, "previous": True, "max_silence": "2s", "percent_of": "value"}),
    ("dedup", {}),
    ("dedup", {"window": "2s"}),
    ("round", {}),
    ("round", {"step": 0.1}),
    ("round", {"step": 3.0}),
    ("round", {"epsilon": 0.3}),
    ("round", {"epsilon": "0.5%"}),
    ("sample", {"nth": 1}),
    ("sample", {"nth": 3}),
    ("sample", {"every": "2s"}),
    ("sample", {"every": "2s", "keep": "last"}),
    ("throttle", {"interval": "2s"}),
    ("throttle", {"interval": "1s", "flush": False}),
    ("rate_limit", {"rate": 1.0}),
    ("rate_limit", {"rate": 0.3, "rule": "drop_oldest"}),
    ("rate_limit", {"rate": 2.5, "burst": 3, "rule": "drop_newest"}),
    ("rate_limit", {"rate": 2.0, "per": "pipeline"}),
    ("rate_limit", {"rate": 0.7, "burst": 4, "rule": "drop_oldest", "per": "pipeline"}),
    ("rate_limit", {"rate": 2.0, "rule": "drop_newest", "per": "pipeline"}),
    ("narrowband", {"sigmas": 1.0, "span": 4, "warmup": 2}),
    ("narrowband", {"sigmas": 2.0, "span": 10, "warmup": 3, "floor": 0.4, "keep": "inside"}),
]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(CASES)])
@settings(max_examples=trials(60), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD, OFTEN)), many_lanes=st.sampled_from([1, 3, 1000]))
def test_passes_what_the_reference_passes(kind, options, script, many_lanes):
    agree(kind, options, script, many_lanes if kind in LANES else None)


def sent(kind, options, values, *, words=None, times=None, point=0):
    """Indices of the samples that pass at once, all given in one frame."""
    run = Run(kind, options)
    times = times or [run.now + at * S for at in range(len(values))]
    out = run.process(list(zip([point] * len(values), times, values, words or [0] * len(values), strict=True)))
    return [times.index(time) for time in out.time.tolist()]


# deadband


def test_the_sample_before_a_step_is_sent_too():
    assert sent("deadband", {"absolute": 1.0, "previous": True}, [0.0, 0.1, 0.2, 5.0, 5.1, 9.0, 0.0]) == [
        0,
        2,
        3,
        4,
        5,
        6,
    ]


def test_a_long_silence_is_no_step():
    options = {"absolute": 1.0, "previous": True, "max_silence": "3s"}
    assert sent("deadband", options, [0.0] * 8 + [5.0]) == [0, 3, 6, 7, 8]


def test_what_is_held_before_a_step_is_queued_and_let_go_with_the_clock():
    run = Run("deadband", {"absolute": 1.0, "previous": True})
    run.part([(0, START_NS, 0.0, 0), (0, START_NS + S, 0.1, 0), (0, START_NS + 2 * S, 0.2, 0)], 0, step=False)
    assert (run.operator.counts.queued, run.operator.counts.filtered) == (1, 1)
    assert len(run.part([], 0, step=True)) == 0
    assert (run.operator.counts.queued, run.operator.counts.filtered) == (0, 2)


def test_percent_of_the_value_though_there_is_a_range():
    assert sent("deadband", {"percent": 10.0, "percent_of": "value"}, [10.0, 10.9, 11.1, 12.5]) == [0, 2, 3]
    assert sent("deadband", {"percent": 10.0}, [10.0, 10.9, 11.1, 12.5]) == [0]


HELD_BOUNDS = [{"absolute": 0.5}, {"percent": 1.0, "percent_of": "value", "previous": True}, {"epsilon": "2%"}]


@pytest.mark.parametrize("options", HELD_BOUNDS)
@settings(max_examples=trials(60), deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=60), gap=st.integers(1, 3 * S))
def test_every_sample_lies_within_the_band_of_what_holds(options, values, gap):
    script = [([(0, START_NS + at * gap, v, 0) for at, v in enumerate(values)], 0, False)]
    bound = operator("deadband", options, Run("deadband", options).points).bound
    for _, came, distance in errors("deadband", options, script):
        if bound.absolute is not None:
            width = bound.absolute
        elif "percent_of" in options:  # of the value sent, which is within a hundredth of this one
            width = bound.percent / 100 * np.abs(came) / (1 - bound.percent / 100)
        else:
            width = bound.percent / 100 * 300
        assert (distance <= width + 1e-12).all()


# dedup


def test_equal_samples_are_left_out_until_the_window_is_over():
    lost = q.no_value(q.Reason.TIMEOUT)
    values = [1.0, 1.0, 1.0, 2.0, lost, lost, 1.0, 1.0]
    assert sent("dedup", {}, values, words=[0, 0, 0, 0, 1, 1, 0, q.HISTORICAL]) == [0, 3, 4, 6]
    assert sent("dedup", {"window": "2s"}, [1.0] * 5) == [0, 2, 4]


def test_dedup_loses_nothing():
    run = Run("dedup", {})
    assert run.operator.bound is None
    with pytest.raises(NotImplementedError):
        run.operator.set_bound(Bound(absolute=1.0))


# round


def rounded(options, *values, point=0, words=0):
    run = Run("round", options)
    return run.operator.process(Frame.of([point] * len(values), START_NS, values, words)).value.tolist()


def test_halves_go_to_the_even_step():
    assert rounded({"step": 0.5}, 0.25, 0.75, 1.25, -0.25, -0.75) == [0.0, 1.0, 1.0, 0.0, -1.0]
    assert math.copysign(1, rounded({"step": 0.5}, -0.25)[0]) == 1


def test_decimal_steps_give_short_numbers():
    values = np.random.default_rng(1).uniform(-300, 300, 500)
    assert all(repr(v) == repr(round(v, 1)) for v in rounded({"step": 0.1}, *values))
    assert rounded({}, 1.2345, 7.005, point=2) == [1.23, 7.0]


def test_a_point_without_resolution_a_state_and_invalid_samples_are_left_alone():
    assert rounded({}, 1.2345, point=1) == [1.2345]
    assert POINTS[3].kind is Kind.STATE
    assert rounded({"step": 0.5}, 1.2, point=3) == [1.2]
    assert rounded({"step": 0.5}, 1.2, words=q.INVALID) == [1.2]
    assert rounded({"step": 0.5}, 1.2, words=q.QUESTIONABLE) == [1.0]


def test_percent_rounds_to_significant_digits_where_there_is_no_range():
    assert rounded({"epsilon": "1%"}, 123456.0, 0.0123456, -98.76, 0.0, point=1) == [123000.0, 0.0123, -99.0, 0.0]
    assert rounded({"epsilon": "1%"}, 123.4) == [126.0]  # steps of 6 in a range of 300


@settings(max_examples=trials(200), deadline=None)
@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    options=st.sampled_from([{"step": 0.1}, {"step": 7.0}, {"epsilon": 0.001}, {"epsilon": "0.5%"}, {"epsilon": "3%"}]),
    point=st.sampled_from([0, 1]),
)
def test_no_value_changes_by_more_than_the_bound(value, options, point):
    bound = Run("round", options).operator.bound
    share = (bound.percent or 0.0) / 100
    width = (bound.absolute or 0.0) + share * (300 if point == 0 else abs(value))
    distance = abs(rounded(options, value, point=point)[0] - value)
    assert distance <= width + abs(value) * 2.0**-51


def test_the_bound_follows_the_resolution_of_the_points_seen():
    run = Run("round", {})
    run.process([(2, START_NS, 1.0, 0)])
    assert run.operator.bound == Bound(absolute=0.005)
    run.process([(4, START_NS, 1.0, 0)])
    assert run.moved().operator.bound == Bound(absolute=0.25)
    run.operator.set_bound(Bound(absolute=1.0))
    assert run.process([(4, START_NS, 1.7, 0)]).value.tolist() == [2.0]
    assert run.moved().operator.bound == Bound(absolute=1.0)


# sample and throttle


def test_every_nth():
    assert sent("sample", {"nth": 3}, [0.0] * 8) == [0, 3, 6]


def test_first_and_last_of_each_interval():
    times = [60 * S + at * S // 2 for at in range(9)]
    values = [float(at) for at in range(9)]
    assert sent("sample", {"every": "2s"}, values, times=times) == [0, 4, 8]
    assert sent("sample", {"every": "2s", "keep": "last"}, values, times=times) == [3, 7]


def test_the_last_of_an_interval_is_let_go_when_the_point_is_silent():
    run = Run("sample", {"every": "2s", "keep": "last"})
    run.part([(0, START_NS, 1.0, 0)], S, step=False)
    assert run.operator.counts.queued == 1
    assert len(run.part([(0, START_NS + 1, 2.0, 0)], S, step=False)) == 0  # its wait begins anew
    assert len(run.part([], 2 * S - 1, step=False)) == 0
    assert run.part([], 1, step=False).value.tolist() == [2.0]
    assert run.operator.counts.queued == 0


def test_a_throttled_point_keeps_its_distance_and_its_final_value():
    run = Run("throttle", {"interval": "2s"})
    values = [(0, START_NS + at * S // 2, float(at), 0) for at in range(10)]
    assert run.part(values, 0, step=False).value.tolist() == [0.0, 4.0, 8.0]
    assert run.operator.counts.queued == 1
    assert len(run.part([], 2 * S - 1, step=False)) == 0
    assert run.part([], 1, step=False).value.tolist() == [9.0]
    assert len(run.part([], 3600 * S, step=False)) == 0
    assert run.process([(0, START_NS + 6 * S, 1.0, 0)]).value.tolist() == []  # 1.5 s after the one let go
    assert run.process([(0, START_NS + 7 * S, 1.0, 0)]).value.tolist() == [1.0]


def test_a_clock_that_was_wrong_does_not_silence_a_point():
    times = [START_NS, START_NS + 10**17, START_NS + S, START_NS + 2 * S, -(1 << 63), (1 << 63) - 1]
    assert sent("throttle", {"interval": "2s"}, [1.0] * 6, times=times) == [0, 1, 2, 4, 5]


# narrowband


def test_outliers_pass_or_all_others():
    values = [*np.random.default_rng(1).normal(10, 1, 200).tolist(), 30.0, 10.0]
    options = {"sigmas": 5.0, "span": 50, "warmup": 20}
    assert sent("narrowband", options, values) == [*range(20), 200]
    assert sent("narrowband", {**options, "keep": "inside"}, values) == [*range(200), 201]


def test_a_point_that_moved_is_learned_anew():
    values = [*([1.0, 1.1] * 20), *([50.0, 50.1] * 20)]
    passed = sent("narrowband", {"sigmas": 4.0, "span": 20, "warmup": 10}, values)
    assert passed == [*range(10), *range(40, 59)]


def test_a_floor_for_points_that_hardly_move():
    values = [5.0] * 10 + [5.01, 5.2]
    assert sent("narrowband", {"warmup": 5}, values) == [0, 1, 2, 3, 4, 10, 11]
    assert sent("narrowband", {"warmup": 5, "floor": 0.1}, values) == [0, 1, 2, 3, 4, 11]


# options


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("swinging_door", {"absolute": 1.0, "max_silence": "0s"}, "max_silence"),
        ("piecewise_linear", {"absolute": 1.0, "max_delay": "0s"}, "max_delay"),
        ("piecewise_linear", {}, ()),
        ("dedup", {"window": "0s"}, "window"),
        ("round", {"step": 1.0, "epsilon": 0.5}, "epsilon"),
        ("round", {"step": 1e300}, "step"),
        ("round", {"epsilon": "much"}, "epsilon"),
        ("sample", {}, ()),
        ("sample", {"nth": 2, "every": "1s"}, ()),
        ("sample", {"nth": 2, "keep": "last"}, "keep"),
        ("sample", {"every": "0s"}, "every"),
        ("throttle", {"interval": "0s"}, "interval"),
        ("rate_limit", {"rate": 0.0}, "rate"),
        ("rate_limit", {"rate": 1.0, "burst": 0}, "burst"),
        ("top_k", {"every": "1us"}, "every"),
        ("narrowband", {"sigmas": 0.0}, "sigmas"),
        ("narrowband", {"floor": math.inf}, "floor"),
    ],
)
def test_nonsense_is_refused(kind, options, field):
    with pytest.raises((FieldError, msgspec.ValidationError)) as caught:
        config_of(kind, options)
    cause = caught.value if isinstance(caught.value, FieldError) else caught.value.__cause__
    assert isinstance(cause, FieldError)
    assert cause.field == (field if isinstance(field, tuple) else (field,))
