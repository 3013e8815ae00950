"""rename, split, label, select: names and labels of points, and the options of all that shape a stream."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Kind, Point
from pipelines.runner import Pipeline
from tests.pipelines.scripts import POINTS, START_NS, Run, directory
from tests.pipelines.shaping import config_of, labelled


def names_of(kind, options, points, ids):
    run = Run(kind, options, points)
    out = run.process([(i, 1, 1.0, 0) for i in ids])
    return [points.name(i) for i in out.point.tolist()], run


def test_rename_by_globs_and_regular_expressions():
    options = {
        "names": {"*/power": "{1}/p", "**/voltage": "{label.area}/{1}-u"},
        "regex": {"(m.)/(.)(.*)": "site/{1}.{2}"},
    }
    names, _ = names_of("rename", options, labelled(), range(6))
    assert names == ["north/m1-u", "m1/p", "site/m1.e", "site/m2.s", "south/m2-u", "m2/p"]


def test_two_points_never_come_out_under_one_name():
    names, run = names_of("rename", {"names": {"*/voltage": "u"}}, directory(), [4, 0, 4, 0])
    assert names == ["u", "m1/voltage", "u", "m1/voltage"]
    assert run.operator.counts.reasons == {"name-collision": 2}


def test_what_has_no_free_name_left_is_dropped():
    options = {"names": {"m1/voltage": "m2/power", "m2/voltage": "m1/voltage", "m1/power": "m1/voltage"}}
    names, run = names_of("rename", options, directory(), [4, 0, 5, 1])
    assert names == ["m1/voltage", "m2/power", "m1/power"]
    assert run.operator.counts.dropped == 1


def test_a_renamed_state_keeps_its_texts_whatever_numbers_they_have():
    points = directory()
    for text in ("off", "on"):
        points.state(3, text)
    other = points.make(Point(name="x", kind=Kind.STATE))
    points.state(other, "on")
    run = Run("rename", {"names": {"m2/state": "x"}}, points)
    out = run.process([(3, 1, 0.0, 0), (3, 2, 1.0, 0)])
    assert [points.states(other)[int(code)] for code in out.value] == ["off", "on"]
    points.state(3, "fault")
    assert points.states(other)[int(run.process([(3, 3, 2.0, 0)]).value[0])] == "fault"


def test_split_follows_the_label():
    points = labelled()
    names, run = names_of("split", {"by": "area"}, points, range(3))
    assert names == ["north/m1/voltage", "no_rth_1/m1/power", "m1/energy"]
    points.add(msgspec.structs.replace(points.point(0), labels={"area": "west"}))
    assert points.name(int(run.process([(0, 2, 1.0, 0)]).point[0])) == "west/m1/voltage"


def test_a_label_that_changed_while_the_gateway_was_down_counts_after_it():
    points = labelled()
    _, run = names_of("split", {"by": "area"}, points, range(3))
    state = run.operator.snapshot()
    points.add(msgspec.structs.replace(points.point(0), labels={"area": "west"}))
    other = Run("split", {"by": "area"}, points)
    other.operator.restore(state)
    assert points.name(int(other.process([(0, 2, 1.0, 0)]).point[0])) == "west/m1/voltage"


def test_label_sets_select_and_split_go_by():
    points = directory()
    steps = [
        ("label", {"set": {"area": "a-{1}", "what": "{point}"}, "glob": "m?/*"}),
        ("select", {"labels": {"what": ["volt*", "power"]}}),
        ("split", {"by": "area"}),
    ]
    pipeline = Pipeline("p", ["**"], [(kind, config_of(kind, options)) for kind, options in steps], points)
    out = pipeline.process(Frame.of(range(6), START_NS, np.ones(6)))
    assert [points.name(i) for i in out.point] == [f"a-{name[1]}/{name}" for name in
                                                   ("m1/voltage", "m1/power", "m2/voltage", "m2/power")]  # fmt: skip
    assert points.point(0).labels == {"area": "a-1", "what": "voltage"}


def test_labels_are_set_again_when_an_adapter_declares_the_point_anew():
    points = directory()
    run = Run("label", {"set": {"area": "north"}}, points)
    run.process([(0, 1, 1.0, 0)])
    points.add(POINTS[0])
    assert points.point(0).labels == {}
    run.process([(1, 1, 1.0, 0)])
    assert points.point(0).labels == {"area": "north"}


def test_two_steps_that_disagree_about_a_label_come_to_an_end():
    points = directory()
    runs = [Run("label", {"set": {"area": area}}, points) for area in ("north", "south")]
    for _ in range(50):
        for run in runs:
            run.process([(0, 1, 1.0, 0)])
    edition = points.edition
    for run in runs:
        run.process([(0, 1, 1.0, 0)])
    assert points.edition == edition < 50


@pytest.mark.parametrize(
    ("kind", "options", "field", "part"),
    [
        ("scale", {"factor": 2.0, "polynomial": [1, 2]}, (), "either"),
        ("scale", {"table": [[1, 2]]}, ("table",), "2 to 1000"),
        ("scale", {"table": [[1, 2], [1, 3]]}, ("table", 1), "have to grow"),
        ("scale", {"table": [[1, 2], [math.inf, 3]]}, ("table", 1), "finite"),
        ("scale", {"table": [[0, 0], [5e-324, 3]]}, ("table", 1), "steep"),
        ("scale", {"polynomial": [1]}, ("polynomial",), "2 to 16"),
        ("scale", {"polynomial": [1, 0]}, ("polynomial",), "not be 0"),
        ("scale", {"polynomial": [math.nan, 1]}, ("polynomial", 0), "finite"),
        ("scale", {"beyond": "extend"}, ("beyond",), "table"),
        ("enum", {"map": {}}, ("map",), "needs 1"),
        ("enum", {"map": {1 << 60: "x"}}, ("map", str(1 << 60)), "2^53"),
        ("bits", {"fields": {}}, ("fields",), "needs 1"),
        ("bits", {"fields": {"a": 53}}, ("fields", "a"), "0 to 52"),
        ("bits", {"fields": {"a": [4, 3]}}, ("fields", "a"), "grows"),
        ("convert", {"to": "kWh"}, ("to",), "did you mean kW.h"),
        ("convert", {"to": ["kW.h", "J"]}, ("to",), "same dimension"),
        ("convert", {"to": "kW", "assume": "V"}, ("assume",), "dimension"),
        ("convert", {"to": "kW", "as": "{name}"}, ("as_",), "another name"),
        ("convert", {"to": "kW", "as": "{nam}"}, ("as_",), "did you mean {name}"),
        ("rename", {}, (), "at least one"),
        ("rename", {"names": {"*/p": "{2}"}}, ("names", "*/p"), "only 1"),
        ("rename", {"names": {"p": "{1}"}}, ("names", "p"), "none"),
        ("rename", {"names": {"p": "a b"}}, ("names", "p"), "may not have"),
        ("rename", {"names": {"p": "a{"}}, ("names", "p"), "brace"),
        ("rename", {"regex": {"(": "x"}}, ("regex", "("), "no regular expression"),
        ("rename", {"regex": {"a" * 300: "x"}}, ("regex", "a" * 300), "200"),
        ("rename", {"regex": {"a": ""}}, ("regex", "a"), "empty"),
        ("label", {"set": {}}, ("set",), "at least one"),
        ("label", {"set": {"a": "{1}"}, "glob": "a", "regex": "b"}, ("regex",), "not both"),
        ("label", {"set": {"a": "{3}"}, "glob": "*/*"}, ("set", "a"), "only 2"),
        ("label", {"set": {"a": "b"}, "regex": "("}, ("regex",), "no regular"),
        ("select", {}, (), "at least one"),
        ("split", {"by": ""}, ("by",), "empty"),
        ("split", {"by": "a", "as": "{name}"}, ("as_",), "{label}"),
        ("expression", {"set": "s", "to": "1 +"}, ("to",), "the formula ends"),
        ("expression", {"set": "s", "to": "*/p"}, ("set",), "a * for each of the 1"),
        ("expression", {"set": "*/s", "to": "m1/p"}, ("set",), "no *"),
        ("expression", {"set": "*/p", "to": "*/p + 1"}, ("set",), "own inputs"),
        ("expression", {"set": "*/s", "to": "*/p + */*/q"}, ("to",), "as many *"),
        ("expression", {"set": "x//y", "to": "m1/p"}, ("set",), "no point's name"),
        ("expression", {"set": "s", "to": "m1/p", "align": "last"}, ("max_gap",), "needed"),
        ("expression", {"set": "s", "to": "m1/p", "max_gap": "1s"}, ("max_gap",), "only there"),
        ("expression", {"set": "s", "to": "m1/p", "lateness": "8d"}, ("lateness",), "7d"),
        ("join", {"inputs": [], "every": "1s"}, ("inputs",), "1 to 64"),
        ("join", {"inputs": ["a/b", "a/b"], "every": "1s"}, ("inputs",), "different"),
        ("join", {"inputs": ["*/b", "a/b"], "every": "1s"}, ("inputs",), "as many *"),
        ("join", {"inputs": ["**"], "every": "1s"}, ("inputs",), "no point's name"),
        ("join", {"inputs": ["a/b"], "every": "1us"}, ("every",), "1ms"),
        ("join", {"inputs": ["a/b"], "every": "1ms", "max_gap": "1h"}, ("max_gap",), "10,000"),
        ("join", {"inputs": ["a/b"], "every": "1s", "how": "linear", "max_gap": "0s"}, ("max_gap",), "longer"),
    ],
)
def test_options_that_make_no_sense_are_refused_where_they_stand(kind, options, field, part):
    with pytest.raises((FieldError, msgspec.ValidationError)) as caught:
        config_of(kind, options)
    cause = caught.value if isinstance(caught.value, FieldError) else caught.value.__cause__
    assert isinstance(cause, FieldError)
    assert cause.field == field
    assert part in str(cause)
