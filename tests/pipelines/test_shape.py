"""The operators that shape a stream: against plain Python, and what each promises in particular."""

from __future__ import annotations

import itertools
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.point import Kind, Point
from gateway.quality import Reason, no_value
from pipelines.registry import OPERATORS
from tests.pipelines import reference_shape
from tests.pipelines.reference import reason as reason_of
from tests.pipelines.scripts import TAME, WILD, Run, directory, scripts
from tests.pipelines.shaping import config_of, labelled
from tests.support.trials import trials

ONE_TO_ONE = [
    *(
        (kind, options)
        for kind in ("bits", "rename", "label", "select", "split")
        for options in OPERATORS[kind].EXAMPLES
    ),
    ("convert", {"to": ["mV", "J"]}),
    ("convert", {"to": "kW", "assume": "MW", "as": "x/{name}"}),
    ("rename", {"names": {"*/voltage": "all/voltage", "m1/*": "{point}/{device}/{1}"}}),
    ("rename", {"names": {"*/state": "m1/voltage"}, "regex": {".*/(v.*)": "m2/state"}}),
    ("split", {"by": "area"}),
]
JOINS = [
    *(("expression", options) for options in OPERATORS["expression"].EXAMPLES),
    ("expression", {"set": "m1/x", "to": "m1/voltage / m1/power * m1/voltage", "align": "last", "max_gap": "2s"}),
    ("expression", {"set": "*/y", "to": "*/power + m1/voltage", "keep": False, "lateness": "0s"}),
    *(("join", options) for options in OPERATORS["join"].EXAMPLES),
    ("join", {"inputs": ["*/voltage"], "every": "2s", "how": "linear", "max_gap": "20s", "lateness": "1s"}),
]


def told(value):
    """A value to compare: NaNs by their reason, and 0.0 as -0.0."""
    if isinstance(value, str):
        return value
    return ("none", reason_of(value)) if math.isnan(value) else struct.pack("<d", value + 0.0)


def seen(frame, points):
    names = [points.name(i) for i in frame.point.tolist()]
    columns = (frame.time.tolist(), map(told, frame.value.tolist()), frame.quality.tolist())
    return list(zip(names, *columns, strict=True))


def plain(kind, options, points):
    return reference_shape.OPERATORS[kind](config_of(kind, options), points)


def text_of(points, name, code):
    """The text of a state, or the NaN that stands for none."""
    return code if math.isnan(code) else points.states(points.find(name))[int(code)]


@pytest.mark.parametrize(("kind", "options"), ONE_TO_ONE)
@settings(max_examples=trials(25), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD)))
def test_gives_what_the_reference_gives(kind, options, script):
    run = Run(kind, options, labelled())
    oracle = plain(kind, options, labelled())
    for samples, *rest in script:
        passed = oracle.process(samples)
        name = oracle.points.name if kind == "select" else lambda p: p
        name = directory().name if kind == "label" else name
        wanted = [(name(p), t, told(v), word) for p, t, v, word in passed]
        found = seen(run.part(samples, *rest), run.points)
        order = {"key": lambda row: row[0]} if kind == "bits" else {}
        assert sorted(found, **order) == sorted(wanted, **order) if order else found == wanted
    reasons = run.operator.counts.reasons
    if kind == "rename":
        assert (reasons["name-collision"], run.operator.counts.dropped) == (oracle.collided, oracle.dropped)
    if kind == "convert":
        assert reasons["unit-unknown"] + reasons["unit-incompatible"] == oracle.skipped


@pytest.mark.parametrize("options", OPERATORS["enum"].EXAMPLES)
@settings(max_examples=trials(25), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD)))
def test_enum_gives_what_the_reference_gives(options, script):
    run, oracle = Run("enum", options), plain("enum", options, directory())
    for samples, *rest in script:
        wanted = [(name, t, told(v), word) for name, t, v, word in oracle.process(samples)]
        out = run.part(samples, *rest)
        names = [run.points.name(i) for i in out.point.tolist()]
        texts = [told(text_of(run.points, *pair)) for pair in zip(names, out.value.tolist(), strict=True)]
        assert list(zip(names, out.time.tolist(), texts, out.quality.tolist(), strict=True)) == wanted
    assert run.operator.counts.reasons["unknown-state"] == oracle.dropped


@pytest.mark.parametrize(("kind", "options"), JOINS)
@settings(max_examples=trials(40), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, TAME, WILD)))
def test_joins_give_what_the_reference_gives(kind, options, script):
    run, oracle = Run(kind, options), plain(kind, options, directory())
    now = run.now
    for samples, pause, step in script:
        wanted = [(name, t, told(v), word) for name, t, v, word in oracle.process(samples)]
        now += pause
        results = oracle.clock_stepped() if step else []
        results += oracle.tick(now)
        wanted += [(name, t, told(v), word) for name, t, v, word in results]
        found = seen(run.part(samples, pause, step), run.points)
        assert sorted(found, key=lambda row: row[0]) == sorted(wanted, key=lambda row: row[0])
    assert run.operator.counts.reasons["late"] == oracle.rows.late


# scale


def values(kind, options, *given_, points=None):
    """Values and qualities for samples of m1/voltage given as values or (value, quality)."""
    run = Run(kind, options, points)
    pairs = [one if isinstance(one, tuple) else (one, 0) for one in given_]
    out = run.process([(0, run.now + at, value, word) for at, (value, word) in enumerate(pairs)])
    return list(zip(out.value.tolist(), out.quality.tolist(), strict=True))


TABLE = [[4, 0], [12, 55], [20, 100]]
BEYOND = q.QUESTIONABLE | q.OUT_OF_RANGE


def test_a_table_meets_its_points_and_is_a_line_between_them():
    assert values("scale", {"table": TABLE}, 4, 8, 12, 16, 20) == [
        (0, 0),
        (27.5, 0),
        (55, 0),
        (77.5, 0),
        (100, 0),
    ]


@pytest.mark.parametrize(
    ("beyond", "wanted"),
    [
        ("clamp", [(0.0, BEYOND), (100.0, BEYOND), (100.0, BEYOND)]),
        ("extend", [(-27.5, BEYOND), (145.0, BEYOND), (math.inf, BEYOND)]),
    ],
)
def test_values_beyond_a_table_are_marked(beyond, wanted):
    assert values("scale", {"table": TABLE, "beyond": beyond}, 0, 28, math.inf) == wanted


def test_values_beyond_a_table_may_be_none_at_all():
    found = values("scale", {"table": TABLE, "beyond": "invalid"}, 0, 4)
    assert math.isnan(found[0][0])
    assert found[0][1] == q.INVALID | q.OUT_OF_RANGE
    assert found[1] == (0.0, 0)


def test_a_polynomial():
    assert values("scale", {"polynomial": [1, 2, 3]}, 2, (5, q.INVALID)) == [(17, 0), (5, q.INVALID)]


# enum and bits


def test_enum_makes_a_state_with_texts_and_leaves_the_number_its_point():
    run = Run("enum", {"map": {0: "off", 1: "on"}})
    out = run.process([(0, 1, 1.0, 0), (0, 2, 0.0, 0), (0, 3, 7.0, q.OLD_DATA)])
    point = run.points.point(int(out.point[0]))
    assert (point.name, point.kind, point.unit) == ("m1/voltage#state", Kind.STATE, "")
    assert run.points.states(int(out.point[0])) == ["off", "on"]
    assert out.value[:2].tolist() == [1.0, 0.0]
    assert q.reason_codes(out.value).tolist() == [0, 0, Reason.NOT_FOUND]
    assert out.quality.tolist() == [0, 0, q.INVALID | q.OLD_DATA]
    assert run.points.point(0).kind is Kind.GAUGE


def test_enum_goes_on_with_the_texts_that_a_state_has():
    points = directory()
    old = points.make(Point(name="m1/voltage#state", kind=Kind.STATE))
    points.state(old, "on")
    run = Run("enum", {"map": {0: "off", 1: "on"}}, points)
    out = run.process([(0, 1, 1.0, 0), (0, 2, 0.0, 0)])
    assert out.point.tolist() == [old, old]
    assert [points.states(old)[int(code)] for code in out.value] == ["on", "off"]


def test_bits_of_words():
    run = Run("bits", {"fields": {"alarm": 3, "mode": [4, 6]}})
    out = run.process(
        [(0, 1, float(0b101_1000), 0), (0, 2, -1.0, 0), (0, 3, 1.5, 0), (0, 4, no_value(Reason.TIMEOUT), 1)]
    )
    assert [run.points.name(i) for i in out.point[:2]] == ["m1/voltage#alarm", "m1/voltage#mode"]
    assert out.value[:4].tolist() == [1.0, 5.0, 1.0, 7.0]
    assert q.reason_codes(out.value[4:]).tolist() == [Reason.NOT_A_NUMBER] * 2 + [Reason.TIMEOUT] * 2
    assert run.points.point(int(out.point[0])).kind is Kind.STATE
    assert (run.operator.counts.aggregated, run.operator.counts.derived) == (4, 8)


# convert


def converted(unit, to, value, **facts):
    points = Directory()
    points.add(Point(name="p/x", unit=unit, **facts))
    run = Run("convert", {"to": to}, points)
    out = run.process([(0, 1, value, 0)])
    return out.value[0], points.point(int(out.point[0]))


def test_convert_gives_a_point_with_the_unit_limits_and_steps():
    value, point = converted("W.h", "kW.h", 1234.0, limits=(0.0, 1e6), resolution=10.0, kind=Kind.COUNTER)
    assert value == 1.234
    assert (point.name, point.unit, point.limits) == ("p/x#kW.h", "kW.h", (0.0, 1000.0))
    assert (point.resolution, point.kind) == (0.01, Kind.COUNTER)


def test_a_temperature_has_a_zero():
    value, point = converted("[degF]", "Cel", 212.0, limits=(32.0, 212.0), resolution=1.0)
    assert value == pytest.approx(100.0, abs=1e-12)
    assert point.limits == pytest.approx((0.0, 100.0), abs=1e-12)
    assert point.resolution is None


@pytest.mark.parametrize(
    ("unit", "reason"), [("", "unit-unknown"), ("furlongs", "unit-unknown"), ("V", "unit-incompatible")]
)
def test_what_cannot_be_converted_passes_and_is_counted(unit, reason):
    points = Directory()
    points.add(Point(name="p/x", unit=unit))
    run = Run("convert", {"to": "kW.h"}, points)
    assert run.process([(0, 1, 5.0, 0)]).value.tolist() == [5.0]
    assert run.operator.counts.reasons == {reason: 1}


def test_a_unit_that_changes_is_seen_at_once():
    points = Directory()
    points.add(Point(name="p/x", unit="W"))
    run = Run("convert", {"to": "kW"}, points)
    assert run.process([(0, 1, 5.0, 0)]).value.tolist() == [0.005]
    points.add(Point(name="p/x", unit="MW"))
    assert run.process([(0, 1, 5.0, 0)]).value.tolist() == [5000.0]


def test_every_example_pair_is_compared():
    assert {kind for kind, _ in itertools.chain(ONE_TO_ONE, JOINS)} | {"enum"} == set(reference_shape.OPERATORS)
