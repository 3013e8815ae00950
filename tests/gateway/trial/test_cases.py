"""Pipeline tests in YAML: what passes, what fails and how it is shown, and what is wrong with the file itself."""

import math
from xml.etree import ElementTree as ET

import pytest

from gateway import quality as q
from gateway.errors import ConfigError
from gateway.trial.cases import config_of, load_cases
from gateway.trial.check import DIFFERENT, MISSING, UNEXPECTED, Outcome, compared, run_cases, told_time
from gateway.trial.junit import junit
from gateway.trial.table import ANY, Cell, TableError, parse_table, shown

S = 1_000_000_000
START_S = 1_767_225_600
CONFIG = """
pipelines:
  quarter: {from: "*/power", steps: [{window: {every: 15m, stats: [count, mean]}}], to: out}
  live: {from: "**", steps: [{limits: {min: 0, max: 300, points: "*/voltage"}}, {deadband: {percent: 1}}], to: out}
uplinks: {out: {type: stdout}}
"""


@pytest.fixture
def outcomes(tmp_path):
    """Runs a file of tests beside the configuration above."""

    def run(text, config=CONFIG):
        (tmp_path / "site.yaml").write_text(config)
        path = tmp_path / "site.test.yaml"
        path.write_text(text)
        return run_cases(load_cases(path, {}))

    return run


def differences(outcome):
    return [(one.what, one.point, one.time, one.expected, one.got) for one in outcome.differences]


def test_a_window_closes_when_its_time_has_passed(outcomes):
    early, late = outcomes("""
tests:
  - &window
    name: the quarter is not over
    pipeline: quarter
    given:
      - samples: |
          time                  m1/power  m1/voltage
          2026-01-01T00:00:10Z  100       230
          +20s                  200       nan!invalid
      - clock: 14m
  - <<: *window
    name: it is
    given:
      - samples: |
          time  m1/power
          +10s  100
          +20s  200
      - clock: 20m
    expect: |
      time  m1/power#count  m1/power#mean
      +15m  2               150
""")
    assert (early.passed, late.passed) == (True, True)


def test_what_differs_is_shown_by_point_and_time(outcomes):
    (outcome,) = outcomes("""
tests:
  - name: wrong in three ways
    pipeline: live
    given:
      - samples: |
          time  point       value
          +1s   m1/voltage  230
          +2s   m1/voltage  400
          +3s   m1/voltage  100
    expect: |
      time    point       value  quality
      +1s     m1/voltage  231    any
      +2.5s   m1/voltage  400    questionable,out-of-range
      +3s     m1/voltage  100    good
""")
    at = "2026-01-01T00:00:0"
    assert differences(outcome) == [
        (DIFFERENT, "m1/voltage", f"{at}1Z", "231 any quality", "230"),
        (UNEXPECTED, "m1/voltage", f"{at}2Z", "(nothing)", "400 questionable,out-of-range"),
        (MISSING, "m1/voltage", f"{at}2.5Z", "400 questionable,out-of-range", "(nothing)"),
    ]
    assert not outcome.passed


def test_facts_of_points_count(outcomes):
    text = """
points: {{"*/voltage": {{unit: V}}}}
tests:
  - name: one percent
    pipeline: live
    points: {{m1/voltage: {{limits: [0, {most}]}}}}
    given: [{{samples: "time m1/voltage\\n+1s 100\\n+2s 101"}}]
    expect: "time m1/voltage\\n+1s 100\\n+2s 101"
"""
    assert outcomes(text.format(most=50))[0].passed
    (wide,) = outcomes(text.format(most=300))
    assert differences(wide) == [(MISSING, "m1/voltage", "2026-01-01T00:00:02Z", "101", "(nothing)")]


def test_all_pipelines_only_some_points_and_a_tolerance(outcomes):
    near, far = outcomes("""
tests:
  - name: near
    tolerance: 0.1
    only: ["*/power", "*#mean"]
    given:
      - samples: "time m1/power m1/voltage\\n0 7.05 1"
      - clock: 1h
    expect: "time m1/power m1/power#mean\\n0 7 -\\n900 - 7.1"
  - name: far
    tolerance: 0.01
    pipeline: live
    given: [samples: "time m1/power\\n0 7.05"]
    expect: "time m1/power\\n0 7"
""")
    assert near.passed, near
    assert [one.what for one in far.differences] == [DIFFERENT]


def test_states_steps_of_the_clock_and_files(outcomes, tmp_path):
    (tmp_path / "morning.csv").write_text("time,m1/power\n2026-01-01T00:00:05Z,300\n")
    passed, failed = outcomes("""
tests:
  - name: a step ends the window
    pipeline: quarter
    given:
      - csv: morning.csv
      - step: 1h
      - samples: "time m1/power\\n+3610s 500"
      - step: -1h
    expect: "time m1/power#count m1/power#mean\\n+15m 1 300\\n+75m 1 500"
  - name: texts
    given: [samples: "time m1/mode\\n+1s on\\n+2s off\\n+3s off\\n+4s 5"]
    expect: "time m1/mode\\n+1s on\\n+2s off\\n+4s maybe"
""")
    assert passed.passed, passed
    assert differences(failed) == [(DIFFERENT, "m1/mode", "2026-01-01T00:00:04Z", "maybe", "5")]


def test_tests_do_not_see_one_another(outcomes):
    one = """  - name: first is news
    pipeline: live
    given: [samples: "time a\\n+1s 5"]
    expect: "time a\\n+1s 5"
"""
    assert all(outcome.passed for outcome in outcomes("tests:\n" + one * 3))


def test_what_cannot_be_read_fails_the_test(outcomes, tmp_path):
    (tmp_path / "bad.csv").write_text("time,a\nnoon,1\n")
    (missing,) = outcomes("tests: [{name: t, given: [{csv: nowhere.csv}]}]")
    assert missing.error.endswith("nowhere.csv: No such file or directory")
    (bad,) = outcomes("tests: [{name: t, given: [{csv: bad.csv}]}]")
    assert "bad.csv:2:1: 'noon' is not a time" in bad.error
    assert not bad.passed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tests: []", "site.test.yaml:1:8: tests: must not be empty"),
        ("tests: [{name: a}]", "tests[0].given: required key is missing"),
        ("tests: [{name: a, given: [], expct: x}]", 'unknown key; did you mean "expect"?'),
        ("tests: [{name: a, given: [], pipeline: quartr}]", 'no pipeline is named "quartr" (known: quarter, live)'),
        ("tests: [{name: a, given: [{}]}]", "needs exactly one of samples, csv, clock and step"),
        ("tests: [{name: a, given: [{step: soon}]}]", "step: 'soon' is not a duration"),
        ("tests: [{name: a, given: [], start: now}]", "start: bad-time"),
        ("tests: [{name: a, given: [], expect: 'x y'}]", "the first line names the columns"),
        ("tests:\n- name: a\n  given: []\n  expect: |\n    time a\n    +1s 1 2", ":6:11: tests[0].expect: 3"),
        ("tests: [{name: a, given: [{samples: 'time a\n\n  0 1!any'}]}]", 'the quality "any" can only be expected'),
    ],
)  # fmt: skip
def test_mistakes_in_the_file(outcomes, text, message):
    with pytest.raises(ConfigError) as caught:
        outcomes(text)
    assert message in str(caught.value)


def test_mistakes_in_the_configuration(outcomes):
    with pytest.raises(ConfigError, match=r"site\.yaml:1:13: pipelines\.p: nothing goes in"):
        outcomes("tests: [{name: a, given: []}]", "pipelines: {p: {steps: [], to: []}}")
    env = "env: {OUT: out}\ntests: [{name: a, given: []}]"
    assert outcomes(env, CONFIG.replace("to: out", 'to: "${OUT:?missing}"'))[0].passed


def test_which_configuration_belongs_to_a_test(tmp_path):
    path = tmp_path / "site.test.yaml"
    assert config_of(path, None) == tmp_path
    assert config_of(path, "../other.yaml") == tmp_path / "../other.yaml"
    (tmp_path / "site.yaml").touch()
    assert config_of(path, None) == tmp_path / "site.yaml"


def test_tables():
    wide = parse_table("time a b\n# remark\n0 1 nan!invalid,failure\n+1m - on\n", START_S * S)
    assert wide[0] == Cell("a", 0, 1.0, 0)
    assert (wide[1].point, wide[1].quality) == ("b", q.INVALID | q.FAILURE)
    assert math.isnan(wide[1].value)
    assert wide[2:] == [Cell("b", (START_S + 60) * S, "on", 0)]
    long = parse_table("time point value quality\n5 a 1 any\n", 0)
    assert long == [Cell("a", 5 * S, 1.0, None)]
    assert parse_table("", 0) == parse_table("\n# nothing\n", 0) == []
    for text, line in (("when a", 0), ("time", 0), ("time a\n0 1 2", 1), ("time a\nnoon 1", 1), ("time a\n0 1!bad", 1)):
        with pytest.raises(TableError) as caught:
            parse_table(text, 0)
        assert caught.value.line == line
    assert ANY in shown(1.5, None)
    assert shown(math.nan, q.INVALID) == "nan invalid"
    assert told_time(1_500_000_000) == "1970-01-01T00:00:01.5Z"


def test_samples_of_one_time_go_together_in_turn():
    def cell(value):
        return Cell("a", 5, value, 0)

    assert compared([cell(1.0), cell(2.0)], [cell(1.0), cell(2.0)], 0, ["**"]) == []
    found = compared([cell(1.0), cell(2.0)], [cell(1.0)], 0, ["**"])
    assert [one.what for one in found] == [MISSING]
    assert compared([cell(1.0)], [], 0, ["b"]) == []
    assert compared([cell(math.inf)], [cell(math.inf)], 0, ["**"]) == []


def test_junit():
    differing = Outcome("f", "<b>", compared([Cell("a", 5, 1.0, 0)], [], 0, ["**"]), "", 0.5)
    root = ET.fromstring(junit([Outcome("f", "a"), differing, Outcome("g", "c", [], "no file")]))
    first, second = root.findall("testsuite")
    assert (first.attrib["tests"], first.attrib["failures"], first.attrib["errors"]) == ("2", "1", "0")
    assert second.attrib["errors"] == "1"
    assert first.find("testcase/failure").text == "missing: a 1970-01-01T00:00:00.000000005Z: expected 1, got (nothing)"
