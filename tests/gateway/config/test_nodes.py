"""YAML text to nodes: places, bounds, and what scalars mean."""

from __future__ import annotations

import math

import pytest
import yaml

from gateway.config import compose
from gateway.config.nodes import Mapping, Mark, Scalar, Sequence, path_text, resolve

HERE = Mark("f.yaml", 1, 1)


@pytest.fixture(params=["C", "Python"], autouse=True)
def loader(request, monkeypatch):
    """Every test runs with libyaml and with the pure Python parser."""
    chosen = yaml.SafeLoader if request.param == "Python" else yaml.CSafeLoader
    monkeypatch.setattr(compose, "_LOADER", chosen)


def tree(text: str) -> Mapping:
    root, problems = compose.parse(text, "f.yaml")
    assert problems == []
    return root


def errors(text: str) -> list[str]:
    return [str(problem) for problem in compose.parse(text, "f.yaml")[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("17", 17), ("-5", -5), ("+5", 5), ("0x1F", 31), ("0o17", 15),
        ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-2", -0.015), ("00.5", 0.5),
        (".inf", math.inf), ("-.INF", -math.inf),
        ("true", True), ("False", False), ("TRUE", True),
        ("", None), ("~", None), ("null", None), ("Null", None),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("No", "No"), ("y", "y"),
        ("12:30", "12:30"), ("190:20:30", "190:20:30"), ("0123", "0123"), ("-08", "-08"),
        ("1_000", "1_000"), ("0b101", "0b101"), ("2026-01-31", "2026-01-31"), ("+", "+"), (".", "."),
        ("1e999", "1e999"), ("9" * 41, 1e41), ("tRuE", "tRuE"), ("+0x1F", "+0x1F"), ("=", "="), ("5 ", "5 "),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text, value):
    found = resolve(Scalar(HERE, text))
    assert found == pytest.approx(value) if isinstance(value, float) else found == value
    assert type(found) is type(value)


def test_a_quoted_scalar_is_text_and_nan_is_a_number():
    assert resolve(Scalar(HERE, "5", plain=False)) == "5"
    assert resolve(Scalar(HERE, "", plain=False)) == ""
    assert math.isnan(resolve(Scalar(HERE, ".nan")))


def test_marks_are_those_of_keys_and_values_counted_in_characters():
    root = tree("é: &a x\nb:\n  - 'q'\n  -   {c: 1}\nd:\n")
    assert root.entries["é"].key == Mark("f.yaml", 1, 1)
    assert root.entries["é"].value == Scalar(Mark("f.yaml", 1, 4), "x")
    items = root.entries["b"].value
    assert isinstance(items, Sequence)
    assert items.items[0] == Scalar(Mark("f.yaml", 3, 5), "q", plain=False)
    assert items.items[1].mark == Mark("f.yaml", 4, 7)
    assert root.entries["d"].value == Scalar(Mark("f.yaml", 5, 3), "")


def test_keys_stay_the_text_as_written():
    root = tree("on: 1\nyes: 2\n5: 3\n0x10: 4\nnull: 5\n12:30: 6\n'off': 7\n")
    assert list(root.entries) == ["on", "yes", "5", "0x10", "null", "12:30", "off"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n", "--- # x\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(text):
    assert tree(text).entries == {}


def test_merge_keys_prefer_the_mapping_itself_then_the_first_base():
    root = tree("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\nd:\n  <<: *a\n  x: 4\n")
    c = root.entries["c"].value
    assert {key: entry.value.text for key, entry in c.entries.items()} == {"x": "1", "y": "3", "z": "2"}
    assert c.entries["z"].key == Mark("f.yaml", 2, 14)
    assert root.entries["d"].value.entries["x"].value.text == "4"


def test_a_quoted_merge_key_is_a_key():
    assert list(tree("'<<': 1\n").entries) == ["<<"]


def test_explicit_scalar_tags_decide():
    root = tree("a: !!str 5\nb: !!int '5'\nc: ! 5\nd: !!map {}\ne: !!seq []\n")
    assert [resolve(root.entries[key].value) for key in "abc"] == ["5", 5, "5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "f.yaml:2:1: a: defined twice; also defined at f.yaml:1:1"),
        ("x:\n  - {a: 1, 'a': 2}\n", "f.yaml:2:12: x[0].a: defined twice; also defined at f.yaml:2:6"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document; one file holds one document"),
        ("- a\n", "f.yaml:1:1: expected a mapping of keys such as adapters:, got a list"),
        ("just text\n", "f.yaml:1:1: expected a mapping of keys such as adapters:, got text"),
        ("a: *b\n", "f.yaml:1:4: alias *b has no anchor &b before it"),
        ("a: &a [*a]\n", "f.yaml:1:8: alias *a refers to itself"),
        ("a: !foo 1\n", "f.yaml:1:4: tag !foo is not supported"),
        ("a: !!set {x}\n", "f.yaml:1:4: tag !!set is not supported"),
        ("a: !!binary aGk=\n", "f.yaml:1:4: tag !!binary is not supported"),
        ("? [a]\n: 1\n", "f.yaml:1:3: a key must be text, not a list"),
        ("a:\n  <<: 5\n", "f.yaml:2:7: << takes a mapping or a list of mappings, not an integer"),
        ("a: b\nc: \x07\n", "f.yaml:2:4: character U+0007 is not allowed"),
    ],
)
def test_errors_have_places(text, message):
    assert errors(text) == [message]


def test_syntax_errors_have_places():
    (message,) = errors("a: 1\nb: [1, 2\nc: 3\n")
    assert message.startswith("f.yaml:3:")
    assert "that begins on line 2" in message


def test_a_bare_variable_in_braces_is_explained():
    (message,) = errors("a: {b: ${X}}\n")
    assert message.startswith("f.yaml:1:9: ")
    assert message.endswith('inside { } and [ ] write "${...}" in quotes')


def test_doubled_keys_before_a_syntax_error_are_still_told():
    assert len(errors("a: 1\na: 2\nb: ]\n")) == 2


def test_nesting_is_bounded():
    def nested(levels: int) -> str:
        return "a: " + "[" * levels + "]" * levels

    assert tree(nested(100))
    assert errors(nested(101)) == ["f.yaml:1:104: nested more than 100 levels deep"]
    assert len(errors("a: " + "[" * 100_000)) == 1


def test_nesting_through_aliases_is_bounded():
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))
    (message,) = errors(text)
    assert "nested more than 100 levels deep" in message


def test_aliases_count_as_often_as_they_stand():
    text = "a: &a [" + "x," * 1000 + "]\nb: [" + "*a," * 150 + "]\n"
    (message,) = errors(text)
    assert "more than 100000 values" in message
    assert tree(text.replace("*a," * 150, "*a," * 90))


def test_paths_read_like_yaml():
    path = ("pipelines", "quarter-hour", "steps", 0, "limits", "points", 12)
    assert path_text(path) == "pipelines.quarter-hour.steps[0].limits.points[12]"
    assert path_text(("adapters", "a.b", "x y", "")) == 'adapters."a.b"."x y".""'
    assert path_text(()) == ""
