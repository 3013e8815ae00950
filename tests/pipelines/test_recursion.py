"""anomaly and change_point: against the plain reference, lanes against the walk, and what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.errors import FieldError
from pipelines.operators.ahead.anomaly import MAX_SCORE, AnomalyConfig
from pipelines.operators.ahead.change_point import ChangePointConfig
from pipelines.registry import OPERATORS
from tests.pipelines import reference_ahead
from tests.pipelines.scripts import TAME, WILD, Run, S, directory, rows, scripts
from tests.pipelines.test_operators import bits, config_of
from tests.support.trials import trials

CASES = [(kind, options) for kind in ("anomaly", "change_point") for options in OPERATORS[kind].EXAMPLES]


def of_points(samples):
    """Samples by the name of their point, in their order."""
    found = {}
    for name, *rest in samples:
        found.setdefault(name, []).append(tuple(rest))
    return found


@pytest.mark.parametrize("many_lanes", [1, 3, 1000])
@pytest.mark.parametrize(("kind", "options"), CASES)
@settings(max_examples=trials(20), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD), steps=st.just(False)))
def test_gives_what_the_reference_gives(kind, options, many_lanes, script):
    points = directory()
    run, plain = Run(kind, options, points), reference_ahead.OPERATORS[kind](config_of(kind, options), points)
    (run.operator.scores if kind == "anomaly" else run.operator.sums).many_lanes = many_lanes
    for samples, _, _ in script:
        found = rows(run.process(samples), points)
        named = [(points.name(p) if type(p) is int else p, t, bits(v), w) for p, t, v, w in plain.process(samples)]
        assert of_points(found) == of_points(named)
    assert run.operator.counts.dropped == plain.dropped


def fed(run, values, quality=q.GOOD):
    """Values of m1/power, a second apart; what comes out as (suffix, second, value, quality)."""
    out = run.process([(1, run.now + n * S, v, quality) for n, v in enumerate(values)])
    start, run.now = run.now, run.now + len(values) * S
    names = [run.points.name(p).removeprefix("m1/power") for p in out.point.tolist()]
    return list(zip(names, ((out.time - start) // S).tolist(), out.value.tolist(), out.quality.tolist(), strict=True))


def noise(count, seed=3):
    return np.random.default_rng(seed).normal(100, 2, count).tolist()


@pytest.mark.parametrize("method", ["ewma", "gaussian"])
def test_a_spike_is_scored_and_marked(method):
    run = Run("anomaly", {"method": method, "grace": 50, "threshold": 5.0})
    fed(run, noise(200))
    out = fed(run, [101.0, 130.0, 100.0])
    scores = {at: value for suffix, at, value, _ in out if suffix == "#score"}
    assert scores[0] < 3
    assert scores[1] > 8
    assert [(at, word) for suffix, at, _, word in out if not suffix] == [
        (0, q.GOOD),
        (1, q.QUESTIONABLE | q.INCONSISTENT),
        (2, q.GOOD),
    ]


def test_the_score_of_normal_noise_is_that_of_the_normal_distribution():
    run = Run("anomaly", {"method": "gaussian", "grace": 100})
    out = fed(run, noise(5000))
    scores = np.array([value for suffix, _, value, _ in out if suffix == "#score"])
    assert len(scores) == 4900
    assert abs(np.mean(scores > 1) - 0.317) < 0.02
    assert abs(np.mean(scores > 2) - 0.0455) < 0.01


def test_nothing_is_said_within_the_grace_or_of_what_has_no_value():
    run = Run("anomaly", {"grace": 3})
    assert [row[0] for row in fed(run, [1.0, 2.0, 3.0])] == [""] * 3
    assert [row[0] for row in fed(run, [math.nan, math.inf])] == [""] * 2
    assert [row[0] for row in fed(run, [4.0], q.INVALID)] == [""]
    assert [row[0] for row in fed(run, [4.0], q.QUESTIONABLE)] == ["", "#score"]


def test_a_change_after_a_constant_has_the_greatest_score():
    run = Run("anomaly", {"grace": 5, "threshold": 10.0, "report": "above"})
    assert fed(run, [7.0] * 20 + [7.5])[-1] == ("#score", 20, MAX_SCORE, q.GOOD)


def test_what_a_resolution_makes_is_no_anomaly():
    run = Run("anomaly", {"grace": 5})
    out = run.process([(2, run.now + n * S, 1.0 if n < 20 else 1.01, 0) for n in range(21)])
    assert out.value[-1] == pytest.approx(12**0.5)


@pytest.mark.parametrize("method", ["cusum", "page_hinkley"])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_small_shift_is_found_that_no_single_sample_shows(method, direction):
    run = Run("change_point", {"method": method, "threshold": 8.0})
    assert all(row[0] == "" for row in fed(run, noise(60)))
    shifted = [value + direction * 3.0 for value in noise(60, 5)]
    found = [(at, value) for suffix, at, value, _ in fed(run, shifted) if suffix == "#change"]
    assert found[0][1] == direction
    assert 2 <= found[0][0] < 40


def test_behind_a_change_the_new_level_is_learned():
    run = Run("change_point", {"scale": "unit", "drift": 1.0, "threshold": 10.0, "grace": 5, "action": "mark"})
    out = fed(run, [50.0] * 10 + [60.0] * 30 + [50.0] * 10)
    assert [(at, value) for suffix, at, value, _ in out if suffix] == [(11, 1.0), (41, -1.0)]
    assert {word for suffix, at, _, word in out if not suffix and at in {11, 41}} == {q.QUESTIONABLE | q.INCONSISTENT}


def test_page_hinkley_follows_a_slow_drift():
    drifting = [100 + n * 0.001 + value for n, value in enumerate(np.random.default_rng(1).normal(0, 1, 2000))]
    counts = {}
    for method in ("cusum", "page_hinkley"):
        run = Run("change_point", {"method": method, "threshold": 30.0, "grace": 200})
        counts[method] = sum(1 for row in fed(run, drifting) if row[0])
    assert counts["page_hinkley"] <= counts["cusum"]
    assert counts["cusum"] > 0


@pytest.mark.parametrize(
    ("config", "options", "field"),
    [
        (AnomalyConfig, {"alpha": 1.0}, "alpha"),
        (AnomalyConfig, {"grace": 1}, "grace"),
        (AnomalyConfig, {"report": "above"}, "report"),
        (AnomalyConfig, {"threshold": math.inf}, "threshold"),
        (ChangePointConfig, {"drift": -1.0}, "drift"),
        (ChangePointConfig, {"threshold": 0.0}, "threshold"),
        (ChangePointConfig, {"grace": 0}, "grace"),
    ],
)
def test_nonsense_is_refused(config, options, field):
    with pytest.raises(FieldError) as caught:
        config(**options)
    assert caught.value.field == (field,)
