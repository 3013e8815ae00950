"""Which steps may be moved, how far, and what the configuration refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gateway.budget.config import AdaptConfig, Rung
from gateway.budget.ladder import Stage
from gateway.budget.limits import Limit
from gateway.budget.stages import stages_before
from gateway.budget.steps import steps_before
from gateway.config.expand import Expander
from gateway.config.hidden import hidden
from gateway.config.load import load_texts
from gateway.directory import Directory
from gateway.errors import ConfigError
from gateway.frame import Frame
from gateway.graph import Graph
from gateway.point import Kind, Point
from pipelines.bounds import Bound

HEAD = """
adapters: {bus: {type: mqtt, url: "mqtt://h", subscribe: [{topic: "a/{device}"}]}}
"""


def loaded(text):
    return load_texts({Path("a.yaml"): (HEAD + text).encode()}, Expander({})).config


def found(text, uplink="up"):
    config = loaded(text)
    graph = Graph(config.effective, Directory())
    steps = steps_before(graph, uplink, config.uplinks[uplink].adapt)
    return config, graph, steps


def trend(adapt):
    """A site with one step that moves."""
    return f"""
pipelines: {{trend: {{from: "**", steps: [{{deadband: {{epsilon: 1%}}}}], to: up}}}}
uplinks: {{up: {{type: stdout, adapt: {adapt}}}}}
"""


SITE = """
pipelines:
  raw: {from: "**", steps: [{deadband: {epsilon: 0.1}}], to: [trend]}
  trend: {steps: [{swinging_door: {epsilon: 1%}}], to: [up]}
  watched: {from: "**", steps: [{deadband: {epsilon: 1}}], to: [up]}
  averaged: {from: "**", steps: [{deadband: {epsilon: 1}}, {window: {every: 1m}}], to: [up]}
  feeding: {from: "**", steps: [{deadband: {epsilon: 1}}], to: [up, hourly]}
  hourly: {steps: [{window: {every: 1h}}], to: [other]}
  bills: {from: "**", steps: [{deadband: {epsilon: 1}}], to: [up]}
  tried: {from: "**", steps: [{deadband: {epsilon: 1, dry_run: true}}], to: [up]}
  exact: {from: "**", steps: [{deadband: {absolute: 0}}, {round: {}}], to: [up]}
  far: {from: "**", steps: [{deadband: {epsilon: 1}}], to: [other]}
alerts: {high: {of: [watched], points: "**", above: 5}}
uplinks:
  up: {type: mqtt, url: "mqtt://h", format: frame, priority: [trend], adapt: {max: 8x, thin: 20x, protect: [bills]}}
  other: {type: stdout}
"""


def test_steps_before_an_uplink_move_unless_somebody_computes_on_what_they_let_through():
    config, graph, steps = found(SITE)
    assert {step.name for step in steps.movable} == {"trend/swinging_door", "raw/deadband"}
    assert dict(steps.left) == {
        "watched/deadband": "alert.high judges what it lets through",
        "averaged/deadband": "averaged/window computes on what it lets through",
        "feeding/deadband": "hourly/window computes on what it lets through",
        "bills/deadband": "protected",
        "exact/deadband": "its bound is 0, or follows from the points",
        "exact/round": "its bound is 0, or follows from the points",
    }
    stages = stages_before(graph, "up", config.uplinks["up"], steps)
    assert stages == [Stage(Rung.CODEC), Stage(Rung.THIN, ("raw",)), Stage(Rung.THIN, ("trend",))]


def test_a_bound_goes_to_its_ends_and_never_beyond_them():
    _, _, steps = found(SITE)
    step = next(step for step in steps.movable if step.pipeline == "raw")
    assert step.wish(0.0, thinned=False) == Bound(absolute=0.1)
    assert step.wish(1.0, thinned=False) == Bound(absolute=pytest.approx(0.1 * math.e))
    assert step.wish(50.0, thinned=False) == Bound(absolute=0.8)
    assert step.wish(50.0, thinned=True) == Bound(absolute=2.0)
    assert step.wish(step.high.s - 1e-16, thinned=False).absolute <= 0.8


@pytest.mark.parametrize(
    ("steps", "most"),
    [
        ("{}", "10%"),
        ("{trend: {max: 4%}}", "4%"),
        ("{trend/deadband: {max: 3%}}", "3%"),
        ("{trend/0: {max: 2x}}", "2%"),
    ],
)
def test_limits_by_pipeline_and_step(steps, most):
    _, _, steps = found(trend(f"{{steps: {steps}}}"))
    assert str(steps.movable[0].high.bound) == most


@pytest.mark.parametrize(
    ("adapt", "why"),
    [("{max: 0.5}", "not of one kind"), ("{max: 0.5%}", "does not lie between"), ("{min: 2x}", "does not lie between")],
)
def test_a_limit_that_cannot_hold_leaves_the_step_alone(adapt, why):
    _, _, steps = found(trend(adapt))
    assert not steps.movable
    assert why in steps.left[0][1]


@pytest.mark.parametrize(
    ("adapt", "told"),
    [
        ("{max: wide}", "no limit of a bound"),
        ("{max: 0x}", "above 0"),
        ("{min: 0}", "above 0"),
        ("{every: 50ms}", "between 200ms"),
        ("{every: 20s}", "at least every"),
        ("{summary: 10ms}", "between 1s"),
        ("{protect: [trned]}", 'did you mean "trend"'),
        ("{steps: {trned: {max: 2x}}}", 'no pipeline is named "trned"'),
        ("{steps: {trend/window: {max: 2x}}}", 'has no step "window"'),
        ("{steps: {trend: {max: two}}}", "no limit of a bound"),
        ("{rungs: [codec, codec]}", "twice"),
    ],
)
def test_what_cannot_be_is_refused(adapt, told):
    with pytest.raises(ConfigError) as raised:
        loaded(trend(adapt))
    assert told in str(raised.value)


def test_a_summary_begins_where_the_pipeline_does():
    text = """
pipelines:
  limited: {from: "m/**", steps: [{limits: {max: 5}}, {deadband: {epsilon: 1}}], to: [up]}
  fed: {steps: [{deadband: {epsilon: 1}}], to: [up]}
  feeder: {from: "n/**", to: [fed]}
  coarse: {steps: [{deadband: {epsilon: 2}}], to: [up]}
  reduced: {from: "o/**", steps: [{deadband: {epsilon: 1}}], to: [coarse]}
  whole: {from: "**", to: [up]}
uplinks: {up: {type: stdout, adapt: {summary: 30s}}}
"""
    config = loaded(text)
    assert list(hidden(config)) == ["summary.limited", "summary.fed"]
    kinds = [step.operator[0] for step in hidden(config)["summary.limited"].steps]
    assert kinds == ["limits", "window", "valve"]
    assert hidden(config)["summary.limited"].steps[1].operator[1].every == 30
    assert config.effective["feeder"].targets == ("fed", "summary.fed")
    with pytest.raises(ConfigError, match="taken by a summary"):
        loaded(text.replace("  whole:", "  summary.fed:"))


@pytest.mark.parametrize(
    ("step", "narrow"),
    [
        ("{deadband: {epsilon: 1}}", [1.5]),
        ("{deadband: {epsilon: 10%}}", [1.5]),
        ("{swinging_door: {epsilon: 0.001}}", [1.5]),
        ("{piecewise_linear: {epsilon: 0.001}}", [1.5]),
        ("{round: {step: 0.5}}", [1.5]),
    ],
)
def test_counters_keep_the_configured_bound(step, narrow):
    """A wider one that is set while the pipeline runs rules gauges only."""
    text = f"""
pipelines: {{trend: {{from: "**", steps: [{step}], to: up}}}}
uplinks: {{up: {{type: stdout}}}}
"""
    points = Directory()
    for name, kind in (("m/energy", Kind.COUNTER), ("m/power", Kind.GAUGE)):
        points.add(Point(name=name, kind=kind, limits=(0.0, 10.0)))
    graph = Graph(loaded(text).effective, points)
    step = graph.pipelines["trend"].steps[0]
    base = step.configured
    wide = Bound(absolute=5.0) if base.percent is None else Bound(percent=80.0)
    graph.rebound("trend", step.key, wide)
    got = {0: [], 1: []}
    for second, value in enumerate([0.0, 1.5, 0.0, 1.5]):
        outputs = graph.process(Frame.of([0, 1], [second * 10**9] * 2, [value] * 2))
        for _, _, frame in outputs:
            for point, out in zip(frame.point.tolist(), frame.value.tolist(), strict=True):
                got[point].append(out)
    assert set(narrow) <= set(got[0])
    assert 1.5 not in got[1]


def test_limits_are_read_and_compared():
    assert Limit.parse(" 2.5 x ").of(Bound(absolute=3.0)) == 2.5
    assert Limit.parse("5%").of(Bound(percent=0.5)) == 10
    assert Limit.parse(0.5).of(Bound(percent=0.5)) is None
    assert AdaptConfig().rungs == [Rung.CODEC, Rung.THIN, Rung.SUMMARISE]
