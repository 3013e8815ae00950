"""All operators against the plain reference, and what scale, limits and filter promise in particular."""

from __future__ import annotations

import math
import re
import struct

import msgspec
import msgspec.inspect
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Point
from gateway.units import decode_quantity
from pipelines.registry import OPERATORS
from tests.pipelines import reference
from tests.pipelines.scripts import TAME, WILD, Run, directory, rows, scripts
from tests.support.trials import trials

STATELESS = [(kind, options) for kind in ("scale", "limits", "filter") for options in OPERATORS[kind].EXAMPLES]


def config_of(kind, options):
    return msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def run_reference(kind, options, script):
    """What the reference gives for each part: samples passed, then results of windows (names for points)."""
    points = directory()
    plain = reference.OPERATORS[kind](config_of(kind, options), points)
    now, found = Run(kind, options).now, []
    for samples, pause, step in script:
        passed = [(points.name(p), t, bits(v), quality) for p, t, v, quality in plain.process(samples)]
        now += pause
        results = []
        if kind == "window":
            results = plain.clock_stepped() if step else []
            results += plain.tick(now)
        found.append((passed, results))
    return found, plain


@pytest.mark.parametrize(("kind", "options"), STATELESS)
@settings(max_examples=trials(25), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD)))
def test_the_stateless_ones_do_what_the_reference_does(kind, options, script):
    expected, _ = run_reference(kind, options, script)
    assert Run(kind, options).script(script) == [passed for passed, _ in expected]


def only(kind, options, *samples):
    """The output for samples of m1/voltage (limits 0 to 300) given as (value, quality)."""
    run = Run(kind, options)
    out = run.process([(0, run.now, value, quality) for value, quality in samples])
    return [(value, quality) for value, quality in zip(out.value.tolist(), out.quality.tolist(), strict=True)]


def test_scale_corrects_usable_samples_only():
    found = only("scale", {"factor": 0.5, "offset": -40}, (100.0, q.GOOD), (100.0, q.INVALID), (1.0, q.OLD_DATA))
    assert found == [(10.0, q.GOOD), (100.0, q.INVALID), (-39.5, q.OLD_DATA)]


def test_scale_keeps_the_reason_of_a_missing_value():
    run = Run("scale", {"factor": -3.0, "offset": 1.0})
    out = run.process([(0, 0, q.no_value(q.Reason.TIMEOUT), q.INVALID), (0, 0, q.no_value(q.Reason.STALE), 0)])
    assert q.reason_codes(out.value).tolist() == [q.Reason.TIMEOUT, q.Reason.STALE]


def test_limits_mark_keeps_the_value_and_worsens_the_quality():
    found = only("limits", {}, (300.0, 0), (300.5, 0), (-math.inf, q.OLD_DATA), (-1.0, q.INVALID))
    assert found == [
        (300.0, q.GOOD),
        (300.5, q.QUESTIONABLE | q.OUT_OF_RANGE),
        (-math.inf, q.QUESTIONABLE | q.OUT_OF_RANGE | q.OLD_DATA),
        (-1.0, q.INVALID | q.OUT_OF_RANGE),
    ]


def test_one_limit_given_leaves_the_other_to_the_point():
    assert only("limits", {"min": 100.0}, (99.0, 0), (301.0, 0), (200.0, 0)) == [
        (99.0, q.QUESTIONABLE | q.OUT_OF_RANGE),
        (301.0, q.QUESTIONABLE | q.OUT_OF_RANGE),
        (200.0, q.GOOD),
    ]


def test_limits_drop_counts_the_reason():
    run = Run("limits", {"max": 10.0, "action": "drop"})
    run.process([(0, 0, 11.0, 0), (0, 1, 9.0, 0), (0, 2, math.inf, 0), (0, 3, q.no_value(q.Reason.TIMEOUT), 1)])
    assert run.operator.counts.dropped == 2
    assert run.operator.counts.reasons == {"out-of-range": 2}
    assert run.operator.counts.samples_out == 2


def test_a_usable_nan_becomes_invalid_with_a_reason():
    run = Run("limits", {})
    out = run.process([(0, 0, math.nan, 0), (0, 1, q.no_value(q.Reason.STALE), q.QUESTIONABLE), (1, 2, math.nan, 0)])
    assert q.reason_codes(out.value).tolist() == [q.Reason.NOT_A_NUMBER, q.Reason.STALE, 0]
    assert out.quality.tolist() == [q.INVALID, q.INVALID, q.GOOD]  # the last point has no limits


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300, math.nan])
def test_a_point_without_limits_passes_untouched(value):
    run = Run("limits", {})
    samples = [(1, run.now, value, 0), (4, run.now, value, 0)]
    assert rows(run.process(samples), run.points) == [
        (run.points.name(p), t, bits(v), word) for p, t, v, word in samples
    ]


def test_filter_keeps_what_satisfies_every_condition():
    run = Run("filter", {"keep": "m1/*", "drop": "**/energy", "above": 1.0, "below": 5.0, "quality": "usable"})
    samples = [
        (0, 0, 3.0, q.GOOD),
        (0, 1, 1.0, q.GOOD),
        (0, 2, 5.0, q.GOOD),
        (0, 3, 3.0, q.INVALID),
        (0, 4, 3.0, q.QUESTIONABLE),
        (2, 5, 3.0, q.GOOD),
        (3, 6, 3.0, q.GOOD),
        (0, 7, math.nan, q.GOOD),
    ]
    assert run.process(samples).time.tolist() == [0, 4]
    assert run.operator.counts.filtered == 6


def test_filter_sees_points_that_appear_later():
    run = Run("filter", {"keep": "m9/*"})
    run.process([(0, 0, 1.0, 0)])
    new = run.points.add(Point(name="m9/voltage"))
    assert run.process([(new, 1, 1.0, 0), (0, 1, 1.0, 0)]).point.tolist() == [new]


@pytest.mark.parametrize(
    ("kind", "options", "field", "part"),
    [
        ("scale", {"factor": 0.0}, ("factor",), "other than 0"),
        ("scale", {"factor": math.inf}, ("factor",), "finite"),
        ("scale", {"offset": math.nan}, ("offset",), "finite"),
        ("limits", {"min": 3.0, "max": 2.0}, ("min",), "above max (2)"),
        ("limits", {"max": math.nan}, ("max",), "number"),
        ("filter", {}, (), "at least one"),
        ("filter", {"quality": "any"}, (), "at least one"),
        ("filter", {"above": 5.0, "below": 5.0}, ("above",), "nothing passes"),
        ("filter", {"below": math.nan}, ("below",), "number"),
        ("deadband", {}, (), "exactly one"),
        ("deadband", {"absolute": 1.0, "percent": 1.0}, (), "exactly one"),
        ("deadband", {"absolute": -1.0}, ("absolute",), "0 or more"),
        ("deadband", {"percent": math.inf}, ("percent",), "finite"),
        ("deadband", {"absolute": 1.0, "max_silence": "0s"}, ("max_silence",), "longer than 0"),
        ("window", {"every": "1us"}, ("every",), "1ms"),
        ("window", {"stats": []}, ("stats",), "at least one"),
        ("window", {"stats": ["mean", "maen"]}, ("stats", 1), 'did you mean "mean"'),
        ("window", {"stats": ["p100"]}, ("stats", 0), "unknown"),
        ("window", {"stats": ["p95", "p95"]}, ("stats", 1), "twice"),
        ("window", {"every": "1s", "expect": "2s"}, ("expect",), "as long as every"),
    ],
)
def test_options_that_make_no_sense_are_refused_where_they_stand(kind, options, field, part):
    with pytest.raises((FieldError, msgspec.ValidationError)) as caught:
        config_of(kind, options)
    cause = caught.value if isinstance(caught.value, FieldError) else caught.value.__cause__
    assert isinstance(cause, FieldError)
    assert cause.field == field
    assert part in str(cause)


def test_a_json_schema_knows_the_statistics():
    fields = {field.name: field for field in msgspec.inspect.type_info(OPERATORS["window"]).fields}
    pattern = fields["stats"].type.item_type.extra_json_schema["pattern"]
    for name in ("count", "p5", "p50", "p99.9", "p0.1", "first"):
        assert re.match(pattern, name), name
    for name in ("p0", "p05", "p100", "p9.50", "counts", "P95", "p"):
        assert not re.match(pattern, name), name


def test_numpy_raises_on_warnings_in_these_tests():
    with pytest.raises(RuntimeWarning):
        np.array([1e308]) * 10


def test_limits_of_a_point_that_changed_hold_at_once():
    known = Directory()
    known.add(Point(name="p", limits=(0.0, 10.0)))
    operator = OPERATORS["limits"]().create(known)
    inside = Frame.of([0], 1, [9.0])
    assert operator.process(inside).quality.tolist() == [0]
    known.add(Point(name="p", limits=(0.0, 5.0)))
    assert operator.process(inside).quality.tolist() != [0]
