"""The pipelines that nobody wrote, and what is refused around them."""

from __future__ import annotations

import pytest

from gateway.config import load_checked
from gateway.config.hidden import hidden, is_hidden
from gateway.errors import ConfigError
from gateway.reload import compare

HEAD = """
adapters: {bus: {type: mqtt, url: "mqtt://h", subscribe: [{topic: "a/{device}"}]}}
uplinks: {out: {type: stdout}}
"""


def loaded(tmp_path, text, *more):
    for number, part in enumerate((HEAD + text, *more)):
        (tmp_path / f"{number}.yaml").write_text(part)
    return load_checked(tmp_path, {})


def problems(tmp_path, text):
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, text)
    return [f"{problem.path}: {problem.message}" for problem in raised.value.problems]


def test_an_alert_and_a_heartbeat_are_pipelines(tmp_path):
    text = """
pipelines: {all: {from: "**", to: out}, mean: {from: "**", to: [out]}}
alerts:
  high: {points: "*/v", above: 5, to: [out]}
  mean: {points: ["**#mean", "*/x"], of: [mean], below: 5, for: 1m}
heartbeat: {to: [out], also: ["onpath/clock/*"]}
"""
    config = loaded(tmp_path, text).config
    found = hidden(config)
    assert list(found) == ["alert.high", "alert.mean", "heartbeat"]
    assert (found["alert.high"].globs, found["alert.high"].targets) == (("*/v",), ("out",))
    assert (found["alert.mean"].globs, found["alert.mean"].targets) == ((), ())
    assert found["heartbeat"].globs == ("onpath/health", "onpath/version", "onpath/uptime", "onpath/clock/*")
    assert config.effective["mean"].targets == ("out", "alert.mean")
    assert config.effective["all"] == config.pipelines["all"]
    assert config.pipelines["mean"].targets == ("out",)
    assert [is_hidden(name, config) for name in config.effective] == [False, False, True, True, True]
    kind, step = found["alert.mean"].steps[0].operator
    assert (kind, step.rule, step.watch, step.for_) == ("alert", "mean", ("**#mean", "*/x"), 60)
    assert step.text == "{point} is {value} {unit} (below 5, for 60 s)"


def test_alerts_of_several_files_are_joined(tmp_path):
    one = "alerts: {a: {points: '**', above: 1}}"
    config = loaded(tmp_path, one, "alerts: {b: {points: '**', invalid: true}}").config
    assert list(config.alerts) == ["a", "b"]
    changed = loaded(tmp_path, one, "alerts: {b: {points: '**', suspect: true}, c: {points: x/y, absent: 1s}}").config
    changes = compare(config, changed)
    assert (changes.alerts.added, changes.alerts.changed) == (("c",), ("b",))
    assert str(changes) == "alerts: added c; alerts: changed b"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("alerts: {a: {points: '**', above: 1, to: [ouut]}}", 'alerts.a.to[0]: no uplink is named "ouut"; did you'),
        ("alerts: {a: {points: '**', above: 1, of: [x]}}", 'alerts.a.of[0]: no pipeline is named "x"'),
        ("alerts: {a: {points: '**', above: 1, to: [out, out]}}", 'alerts.a.to[1]: "out" is named twice'),
        ("alerts: {a: {points: '**'}}", "alerts.a: says when: one of above, below, equals, differs, absent"),
        ("alerts: {a: {points: [], above: 1}}", "alerts.a.points: names no point"),
        ("alerts: {a: {points: '**', invalid: true, hysteresis: 1}}", "alerts.a.hysteresis: belongs to above or below"),
        ("alerts: {a: {points: '**', absent: 0s}}", "alerts.a.absent: must be longer than 0"),
        ("alerts: {a: {points: '**', above: 1, for: 400d}}", "alerts.a.for: must be at most a year"),
        ("pipelines: {alert.x: {from: '**', to: out}}", 'pipelines."alert.x": the name is taken by alerts'),
        ("heartbeat: {to: [out]}\npipelines: {heartbeat: {from: '**', to: out}}", "pipelines.heartbeat: the name is"),
        ("heartbeat: {to: [x]}", 'heartbeat.to[0]: no uplink is named "x"'),
        ("heartbeat: {to: []}", "heartbeat.to: names no uplink"),
        ("heartbeat: {to: [out], also: ['m1/*']}", "heartbeat.also[0]: 'm1/*' does not begin with onpath/"),
        ("heartbeat: {to: [out], every: 10ms}", "heartbeat.every: must be between 1 s and a day"),
        ("metrics: {every: 2d}", "metrics.every: must be between 1 s and a day"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, text, problem):
    (found,) = problems(tmp_path, text)
    assert found.startswith(problem)


@pytest.mark.parametrize("name", ["onpath", "alert"])
def test_names_of_points_that_are_no_devices(tmp_path, name):
    text = (
        f"adapters: {{m: {{type: modbus, url: 'tcp://h', devices: {{{name}: {{points: {{v: {{at: 'input:0'}}}}}}}}}}}}"
    )
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"adapters.m.devices.{name}: the name is taken"):
        load_checked(tmp_path, {})


def test_globs_that_fit_nothing_and_what_feeds_an_alert_only(tmp_path):
    text = """
adapters: {m: {type: modbus, url: "tcp://h", devices: {m1: {points: {v: {at: "input:0"}}}}}}
pipelines: {mean: {from: "m1/*", steps: [{window: {every: 1m, stats: [mean]}}]}, own: {from: "onpath/**", to: out}}
alerts: {a: {points: "m2/*", above: 1, of: [mean]}, b: {points: ["m1/*", "m2/*"], above: 1}}
uplinks: {out: {type: stdout}}
"""
    (tmp_path / "a.yaml").write_text(text)
    (warning,) = load_checked(tmp_path, {}).warnings
    assert (warning.path, warning.message[:23]) == ("alerts.b.points[1]", '"m2/*" matches no point')
