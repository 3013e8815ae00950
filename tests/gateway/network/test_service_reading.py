"""A service's YAML: what is wrong with it, all at once and where, and what its chain is."""

import json

import pytest

from gateway.errors import ConfigError
from gateway.network.chain import chain_of
from gateway.network.config import Tier
from gateway.network.reading import MAX_TEXT, read_services, service_of

GOOD = """\
service: demand
inputs: {points: "*/power", labels: {kind: house}}
steps:
  - deadband: {epsilon: 0.5%, max_silence: 60s}
  - window: {every: 15m, stats: [count, sum, p95], over: label area, name: "area/{area}/power"}
place: {deadband: [access], window: [aggregation, core]}
intent: {error: 1%, latency: 2m, bytes_per_day: 20MB, priority: 7}
"""


def problems(text):
    with pytest.raises(ConfigError) as raised:
        service_of(text, "s.yaml")
    assert raised.value.exit_code == 78
    return [str(problem) for problem in raised.value.problems]


def test_a_service():
    read = service_of(GOOD)
    assert read.text == GOOD
    assert read.warnings == []
    assert read.config.service == "demand"
    assert read.config.place["window"] == [Tier.AGGREGATION, Tier.CORE]
    assert [stage.kind_name for stage in chain_of(read.config).stages] == [
        "deadband", "window (partial)", "window (merge)", "window (final)",
    ]  # fmt: skip


def test_every_problem_of_a_file_at_once_and_where_it_stands():
    text = GOOD.replace("every:", "evry:").replace("labels:", "labls:").replace("- deadband", "- deadbnd")
    assert problems(text) == [
        's.yaml:2:29: inputs.labls: unknown key; did you mean "labels"?',
        's.yaml:4:5: steps[0].deadbnd: unknown key; did you mean "deadband"?',
        's.yaml:5:14: steps[1].window.evry: unknown key; did you mean "every"?',
    ]


def test_every_problem_of_meaning_at_once():
    text = """\
service: demand
inputs: {points: [], sites: []}
steps:
  - deadband: {epsilon: 0.8%}
  - swinging_door: {epsilon: 0.3%}
  - window: {every: 15m, stats: [count], lateness: 5m, late: next}
  - window: {every: 1h, stats: [count], partial: true}
place: {windoe: [core], deadband: [access, core], window: []}
intent: {error: 1%, latency: 2m}
"""
    more = "more than intent.error, 1%"
    assert problems(text) == [
        "s.yaml:2:18: inputs.points: nothing goes in: name points by a glob, such as '*/power'",
        "s.yaml:2:29: inputs.sites: nothing goes in: leave it out for all sites",
        f"s.yaml:5:30: steps[1].swinging_door.epsilon: the steps up to here may err by 1.1% together, {more}",
        "s.yaml:6:52: steps[2].window.lateness: waits for late samples longer than intent.latency, 120 s",
        "s.yaml:6:62: steps[2].window.late: late samples always correct the result here; leave it out",
        "s.yaml:7:50: steps[3].window.partial: the network cuts windows by itself; leave it out",
        's.yaml:8:17: place.windoe: no step of this service is "windoe"; did you mean "window"?',
        "s.yaml:8:35: place.deadband: names one tier, or neighbouring ones: access, aggregation, core",
        "s.yaml:8:59: place.window: names no tier; leave it out for wherever the step can run",
    ]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("{deadband: [core], window: [access]}", "place.window: comes behind a step that runs further up"),
        ("{expression: [access]}", "place.expression: works on a window's results, which are in the core"),
    ],
)
def test_places_that_cannot_be(place, says):
    behind = '  - expression: {set: "area/both", to: "area/a/power#sum + area/b/power#sum"}\n'
    text = GOOD.replace("place:", f"{behind}place:").replace("{deadband: [access], window: [aggregation, core]}", place)
    (found,) = [problem for problem in problems(text) if "place" in problem]
    assert found.endswith(says)


def test_an_error_in_another_unit_is_not_judged():
    assert service_of(GOOD.replace("error: 1%", "error: 0.2")).config.intent.error == 0.2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff", "is not UTF-8"),
        (b"[1]", "expected a mapping"),
        (b"", "required key is missing"),
        (b"service: a\nservice: b\ninputs: {points: x}\n", "defined twice"),
        (b"a: " + b"x" * MAX_TEXT, "larger than 256 KiB"),
        (b"service: a\ninputs: {points: x}\nsteps: [{nothing: 1}]\n", "steps[0].nothing: unknown key"),
        (b"service: a b\ninputs: {points: x}\n", "is not a name"),
        (b"service: a\ninputs: {points: x}\nintent: {error: -1}\n", "intent.error"),
        (b"service: a\ninputs: {points: x}\nintent: {priority: 11}\n", "must be at most 10"),
    ],
)
def test_texts_that_are_no_service(data, says):
    assert any(says in problem for problem in problems(data))


def test_services_of_a_folder_and_of_one_name(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("demand", "other"))
    assert [read.config.service for read in read_services([tmp_path])] == ["demand", "other"]
    (tmp_path / "b.yaml").write_text(GOOD)
    with pytest.raises(ConfigError, match=r"b.yaml:1:1: service: demand is also in .*a.yaml"):
        read_services([tmp_path])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_services([tmp_path / "none.yaml"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no \*.yaml"):
        read_services([tmp_path / "empty"])


def test_check_prints_the_chain(onpath, tmp_path):
    file = tmp_path / "demand.yaml"
    file.write_text(GOOD)
    code, out, err = onpath("service", "check", file)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{file}: demand ok (2 steps in 4 stages)"
    assert lines[2].split()[:4] == ["1", "deadband", "access", "only"]
    assert "aggregation or core" in lines[3]
    assert "results are given in the core" in lines[5]
    assert any("count, sum: the same bits" in line and "p95: within 1 %" in line for line in lines)
    assert any("deadband 0.5% at most; asked for: 1%" in line for line in lines)


def test_check_for_machines(onpath, tmp_path):
    file = tmp_path / "demand.yaml"
    file.write_text(GOOD)
    code, out, _ = onpath("service", "check", file, "--json")
    told = json.loads(out)
    assert (code, told["ok"], told["problems"]) == (0, True, [])
    (service,) = told["services"]
    assert [stage["kind"] for stage in service["stages"]] == ["step", "partial", "merge", "final"]
    assert service["stages"][3]["tiers"] == ["core"]
    assert service["intent"] == {"error": "1%", "latency_s": 120.0, "bytes_per_day": 20_000_000, "priority": 7}


def test_check_of_a_bad_file(onpath, tmp_path):
    file = tmp_path / "demand.yaml"
    file.write_text(GOOD.replace("every", "evry"))
    code, out, err = onpath("service", "check", file)
    assert (code, out) == (78, "")
    assert err.splitlines()[0] == f'{file}:5:14: steps[1].window.evry: unknown key; did you mean "every"?'
    code, out, _ = onpath("service", "check", file, "--json")
    assert (code, json.loads(out)["problems"][0]["line"]) == (78, 5)


@pytest.mark.parametrize(
    ("points", "step", "told"),
    [
        (
            "'*/power'",
            "limits: {points: '*/power', min: 0}",
            'steps[0].limits.points: no point of the inputs fits "*/power"',
        ),
        (
            "'*/u?'",
            "outage: {of: ['*/u1', '*/u2'], nominal: 230}",
            'steps[0].outage.of: no point of the inputs fits "*/u1"',
        ),
        ("'*/power'", "select: {keep: [power]}", '"**/power" does'),
        ("'*/power'", "limits: {points: '*/*/power', min: 0}", None),
        ("'*/power'", "limits: {points: '**/power', min: 0}", None),
        ("'**'", "limits: {points: '*/power', min: 0}", None),
        (
            "'*/power'",
            "window: {every: 1m, stats: [mean], over: all, name: p}\n  - limits: {points: 'p#mean', min: 0}",
            None,
        ),
    ],
)
def test_a_glob_that_no_name_can_fit_is_told(points, step, told):
    text = f"service: a\ninputs: {{points: {points}}}\nsteps:\n  - {step}\n"
    warnings = [str(one) for one in service_of(text).warnings if "<node>/<point>" in str(one)]
    assert bool(warnings) == (told is not None)
    assert told is None or told in warnings[0]
