"""expression and join: what they promise in particular."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Point
from gateway.quality import Reason, no_value
from pipelines.runner import Pipeline
from tests.pipelines.scripts import Run, S, directory
from tests.pipelines.shaping import config_of, labelled

T0 = 1_790_000_000 * S


def feed(run, *samples, tick_at):
    """Samples (name, seconds, value[, quality]), then a tick; the results as (name, seconds, value, quality)."""
    passed = run.process(
        [(run.points.find(name), T0 + round(t * S), v, *(more or [0])) for name, t, v, *more in samples]
    )
    out = run._count(0, run.operator.tick, T0 + round(tick_at * S))
    return [
        (run.points.name(i), (t - T0) / S, v, word)
        for i, t, v, word in zip(*(c.tolist() for c in (out.point, out.time, out.value, out.quality)), strict=True)
    ], passed


def test_an_expression_for_each_device():
    run = Run("expression", {"set": "*/s", "to": "sqrt(*/voltage^2 + */power^2)", "unit": "V.A"}, labelled())
    samples = [("m1/voltage", 1, 3.0), ("m1/power", 1, 4.0), ("m2/voltage", 1, 6.0), ("m2/power", 1, 8.0, q.OLD_DATA)]
    assert feed(run, *samples, tick_at=1)[0] == []
    found, _ = feed(run, tick_at=7)
    assert found == [("m1/s", 1.0, 5.0, 0), ("m2/s", 1.0, 10.0, q.OLD_DATA)]
    assert run.points.point(run.points.find("m1/s")).unit == "V.A"
    counts = run.operator.counts
    assert (counts.aggregated, counts.queued, counts.derived, counts.samples_out) == (4, 0, 6, 0)


def test_a_result_has_the_labels_that_its_inputs_share():
    points = Directory()
    points.add(Point(name="m1/p", labels={"area": "north", "phase": "L1"}))
    points.add(Point(name="m1/q", labels={"area": "north", "phase": "L2"}))
    run = Run("expression", {"set": "m1/s", "to": "m1/p + m1/q"}, points)
    feed(run, ("m1/p", 1, 1.0), ("m1/q", 1, 1.0), tick_at=1)
    feed(run, tick_at=9)
    assert points.point(points.find("m1/s")).labels == {"area": "north"}


def test_inputs_pass_as_well_unless_they_are_consumed():
    for keep, n in ((True, 3), (False, 1)):
        run = Run("expression", {"set": "x/s", "to": "m1/power + m1/voltage", "keep": keep})
        _, passed = feed(run, ("m1/power", 1, 1.0), ("m1/voltage", 1, 1.0), ("m2/power", 1, 1.0), tick_at=1)
        assert len(passed) == n


@pytest.mark.parametrize(
    ("formula", "inputs", "reason", "quality"),
    [
        ("m1/power / m1/voltage", (1.0, 0.0), None, q.QUESTIONABLE | q.OVERFLOW),
        ("sqrt(m1/power) + m1/voltage", (-1.0, 0.0), Reason.NOT_A_NUMBER, q.INVALID),
        ("m1/power + m1/voltage", (no_value(Reason.TIMEOUT), 0.0), Reason.TIMEOUT, q.INVALID),
        ("if(1, m1/power, m1/voltage)", (0.0, math.nan), Reason.NO_VALID_SAMPLES, q.INVALID),
    ],
)
def test_a_result_without_a_value_says_why(formula, inputs, reason, quality):
    run = Run("expression", {"set": "x/s", "to": formula})
    feed(run, ("m1/power", 1, inputs[0]), ("m1/voltage", 1, inputs[1]), tick_at=1)
    [(_, _, value, word)], _ = feed(run, tick_at=9)
    assert word == quality
    assert math.isinf(value) if reason is None else q.reason_codes(np.array([value]))[0] == reason


def test_an_invalid_input_is_no_value_whatever_number_it_carries():
    run = Run("expression", {"set": "x/s", "to": "m1/power + 1"})
    feed(run, ("m1/power", 1, 5.0, q.INVALID | q.FAILURE), tick_at=1)
    [(_, _, value, word)], _ = feed(run, tick_at=9)
    assert math.isnan(value)
    assert word == q.INVALID | q.FAILURE


def test_what_comes_late_is_counted_and_passes():
    run = Run("expression", {"set": "x/s", "to": "m1/power + 1", "lateness": "1s"})
    feed(run, ("m1/power", 10, 5.0), tick_at=10)
    feed(run, tick_at=20)
    _, passed = feed(run, ("m1/power", 3, 5.0), tick_at=20)
    assert len(passed) == 1
    assert run.operator.counts.reasons == {"late": 1}
    consuming = Run("expression", {"set": "x/s", "to": "m1/power + 1", "lateness": "1s", "keep": False})
    feed(consuming, ("m1/power", 10, 5.0), tick_at=10)
    feed(consuming, tick_at=20)
    feed(consuming, ("m1/power", 3, 5.0), tick_at=20)
    assert (consuming.operator.counts.dropped, consuming.operator.counts.aggregated) == (1, 1)


def test_shared_inputs_do_not_wait_for_devices_that_never_come():
    run = Run("expression", {"set": "*/s", "to": "*/power + m1/energy", "align": "last", "max_gap": "60s"})
    for second in range(1, 30):  # m2/power is known, but has no samples
        feed(run, ("m1/energy", second, 1.0), ("m1/power", second, 2.0), tick_at=second)
    feed(run, tick_at=60)
    assert run.operator.counts.queued == 0


def test_a_grid_has_all_inputs_and_ends_with_them():
    run = Run("join", {"inputs": ["*/voltage", "*/power"], "every": "1s", "max_gap": "2s", "lateness": "0s"})
    first, _ = feed(run, ("m1/voltage", 0.5, 7.0), ("m1/power", 1.5, 9.0), tick_at=0)
    found = first + feed(run, tick_at=100)[0]
    told_ = [(name, t, None if math.isnan(v) else v) for name, t, v, _ in found]
    assert told_ == [
        ("m1/voltage#1s", 1.0, 7.0), ("m1/power#1s", 1.0, None),
        ("m1/voltage#1s", 2.0, 7.0), ("m1/power#1s", 2.0, 9.0),
        ("m1/voltage#1s", 3.0, None), ("m1/power#1s", 3.0, 9.0),
    ]  # fmt: skip
    assert feed(run, tick_at=100_000)[0] == []


def test_only_complete_rows():
    options = {"inputs": ["*/voltage", "*/power"], "every": "1s", "max_gap": "2s", "lateness": "0s", "complete": True}
    run = Run("join", options)
    feed(run, ("m1/voltage", 0.5, 7.0), ("m1/power", 1.5, 9.0), tick_at=0)
    assert [(name, t) for name, t, *_ in feed(run, tick_at=100)[0]] == [("m1/voltage#1s", 2.0), ("m1/power#1s", 2.0)]


def test_a_long_silence_costs_no_rows():
    run = Run("join", {"inputs": ["*/voltage"], "every": "1ms", "max_gap": "1s", "lateness": "0s"})
    feed(run, ("m1/voltage", 1, 7.0), tick_at=1)
    found, _ = feed(run, ("m1/voltage", 80_000, 7.0), tick_at=80_000)
    assert len(found) == 1001  # a second behind the first, and the time of the last


def test_states_come_out_of_a_grid_with_their_texts():
    points = directory()
    points.state(3, "off")
    points.state(3, "on")
    run = Run("join", {"inputs": ["m2/state"], "every": "1s", "lateness": "0s"}, points)
    feed(run, ("m2/state", 0.5, 1.0), tick_at=0)
    found, _ = feed(run, tick_at=1)
    assert [(name, v) for name, _, v, _ in found] == [("m2/state#1s", 1.0)]
    assert points.states(points.find("m2/state#1s")) == ["off", "on"]


def test_joined_points_meet_in_an_expression():
    points = directory()
    steps = [
        ("join", {"inputs": ["*/power", "*/voltage"], "every": "1s", "how": "linear", "max_gap": "3s"}),
        ("expression", {"set": "*/i", "to": "*/power#1s / */voltage#1s", "unit": "A", "keep": False}),
    ]
    pipeline = Pipeline("p", ["**"], [(kind, config_of(kind, options)) for kind, options in steps], points)
    times = T0 + np.arange(20) * S // 2
    pipeline.process(Frame.of([1] * 20, times, np.arange(20) * 100.0))
    pipeline.process(Frame.of([0] * 20, times + S // 3, np.full(20, 100.0)))
    out = [pipeline.tick(T0 + n * S) for n in range(40)]
    rows = [(t, v) for frame in out for t, v in zip(frame.time.tolist(), frame.value.tolist(), strict=True)]
    good = [((t - T0) // S, v) for t, v in rows if not math.isnan(v)]
    assert good == [(n, pytest.approx(2.0 * n)) for n in range(1, 10)]
