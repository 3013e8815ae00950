"""Nodes to typed structs: every type that a config struct may use, and every error at once."""

from __future__ import annotations

import enum
import math
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, UnsetType

from gateway.config.compose import parse
from gateway.config.convert import MAX_SUGGESTIONS, convert
from gateway.config.expand import Expander
from gateway.errors import FieldError
from gateway.units import Duration, Size


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"
    TEN = "10"


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    from_: int = msgspec.field(default=0, name="from")
    to: int = 10

    def __post_init__(self) -> None:
        if self.from_ > self.to:
            raise FieldError("from_", "from lies behind to")
        if self.to == 13:
            raise ValueError("no thirteen")


class Cat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="cat"):
    lives: int


class Dog(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="dog"):
    name: str = ""


class Everything(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: str = ""
    short: Annotated[str, msgspec.Meta(min_length=2, max_length=3)] = "ab"
    pattern: Annotated[str, msgspec.Meta(pattern="^a")] = "a"
    flag: bool = False
    number: float = 0.0
    part: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    count: Annotated[int, msgspec.Meta(ge=0, le=100, multiple_of=5)] = 0
    colour: Colour = Colour.RED
    mode: Literal["a", "b", 5] | None = "a"
    every: Duration = Duration(1)
    size: Size = Size(1)
    maybe: Duration | None = None
    unset: Inner | UnsetType = UNSET
    inner: Inner = Inner()
    pair: tuple[float, float] | None = None
    many: tuple[int, ...] = ()
    names: set[str] = set()
    table: dict[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")], Inner] = {}
    by_number: dict[int, str] = {}
    full: Annotated[dict[str, int], msgspec.Meta(min_length=1, max_length=2)] = {}
    globs: str | list[str] = ""
    mixed: int | float | bool | str | None = None
    source: str | Inner | list[int] | None = None
    pet: Cat | Dog | None = None
    anything: Any = None


def converted(text: str, env: dict[str, str] | None = None):
    root, problems = parse(text, "f")
    expander = Expander(env or {})
    root = expander.mapping(root)
    value, wrong = convert(Everything, root)
    return value, [str(p) for p in problems + expander.problems + wrong]


def good(text: str, env: dict[str, str] | None = None) -> Everything:
    value, problems = converted(text, env)
    assert problems == []
    return value


def problem(text: str, env: dict[str, str] | None = None) -> str:
    value, problems = converted(text, env)
    assert value is None
    (only,) = problems
    return only


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("text: abc", "text", "abc"),
        ("text: 5", "text", "5"),
        ("text: 3.10", "text", "3.10"),
        ("text: 0x10", "text", "0x10"),
        ("text: true", "text", "true"),
        ("text: on", "text", "on"),
        ("text: 12:30", "text", "12:30"),
        ("text: ''", "text", ""),
        ("flag: true", "flag", True),
        ("number: 5", "number", 5.0),
        ("number: -1e3", "number", -1000.0),
        ("number: .inf", "number", math.inf),
        ("count: 0x0A", "count", 10),
        ("colour: green", "colour", Colour.GREEN),
        ("colour: 10", "colour", Colour.TEN),
        ("mode: 5", "mode", 5),
        ("mode: null", "mode", None),
        ("every: 1h30m", "every", Duration(5400)),
        ("every: 0", "every", Duration(0)),
        ("size: 64KiB", "size", Size(65536)),
        ("maybe: 5s", "maybe", Duration(5)),
        ("maybe:", "maybe", None),
        ("unset: {from: 1}", "unset", Inner(from_=1)),
        ("unset:", "unset", Inner()),
        ("inner:", "inner", Inner()),
        ("pair: [1, 2.5]", "pair", (1.0, 2.5)),
        ("many: [1, 2, 3]", "many", (1, 2, 3)),
        ("many:", "many", ()),
        ("names: [a, b, a]", "names", {"a", "b"}),
        ("table: {a: {to: 1}, b: }", "table", {"a": Inner(to=1), "b": Inner()}),
        ("by_number: {1: a, 0x10: b, '2': c}", "by_number", {1: "a", 16: "b", 2: "c"}),
        ("globs: a", "globs", "a"),
        ("globs: [a, b]", "globs", ["a", "b"]),
        ("mixed: 5", "mixed", 5),
        ("mixed: 5.5", "mixed", 5.5),
        ("mixed: '5'", "mixed", "5"),
        ("mixed: true", "mixed", True),
        ("mixed: ~", "mixed", None),
        ("source: x", "source", "x"),
        ("source: {from: 2}", "source", Inner(from_=2)),
        ("source: [1]", "source", [1]),
        ("source:", "source", None),
        ("pet: {type: cat, lives: 9}", "pet", Cat(lives=9)),
        ("pet: {name: rex, type: dog}", "pet", Dog(name="rex")),
        ("anything: {a: [1, x, null], on: 'y'}", "anything", {"a": [1, "x", None], "on": "y"}),
    ],
)
def test_values(text, field, value):
    found = getattr(good(text), field)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text: [a]", "f:1:7: text: expected text, got a list"),
        ("text:", "f:1:6: text: expected text, got nothing"),
        ("short: a", "f:1:8: short: shorter than 2 characters"),
        ("short: ''", "f:1:8: short: must not be empty"),
        ("short: abcd", "f:1:8: short: longer than 3 characters"),
        ("pattern: ba", 'f:1:10: pattern: "ba" does not match ^a'),
        ("flag: 1", "f:1:7: flag: expected true or false, got 1"),
        ("flag: Yes", 'f:1:7: flag: expected true or false, got "Yes"; write true'),
        ("number: true", "f:1:9: number: expected a number, got true"),
        ("number: '5'", 'f:1:9: number: expected a number, got "5"; take the quotes off'),
        ("number: .nan", "f:1:9: number: not a number"),
        ("part: 0", "f:1:7: part: must be above 0, got 0"),
        ("part: 1", "f:1:7: part: must be below 1, got 1"),
        ("count: -5", "f:1:8: count: must be at least 0, got -5"),
        ("count: 105", "f:1:8: count: must be at most 100, got 105"),
        ("count: 7", "f:1:8: count: must be a multiple of 5, got 7"),
        ("count: 5.0", "f:1:8: count: expected an integer, got 5.0"),
        ("colour: grean", 'f:1:9: colour: "grean" is unknown; did you mean "green"?'),
        ("colour: {}", "f:1:9: colour: expected one of red, green, 10, got a mapping"),
        ("mode: 6", "f:1:7: mode: 6 is unknown (known: 5, a, b)"),
        ("every: 5", "f:1:8: every: 5 needs a unit, such as 5s"),
        ("every: 5 s 3", None),
        ("every: true", "f:1:8: every: expected a duration such as 5s, got true"),
        ("every: 300000000w", 'f:1:8: every: "300000000w" is too long'),
        ("every: " + "9" * 400 + "s", None),
        ("size: 9999999TiB", 'f:1:7: size: "9999999TiB" is too large'),
        ("size: " + "9" * 400 + "B", None),
        ("inner: {form: 1}", 'f:1:9: inner.form: unknown key; did you mean "from"?'),
        ("inner: {xyz: 1}", "f:1:9: inner.xyz: unknown key (known: from, to)"),
        ("inner: {from: 5, to: 1}", "f:1:15: inner.from: from lies behind to"),
        ("inner: {to: -1}", "f:1:1: inner.from: from lies behind to"),
        ("inner: {to: 13}", "f:1:1: inner: no thirteen"),
        ("pair: [1]", "f:1:7: pair: expected a list of 2 values, got 1"),
        ("pair: [1, x]", 'f:1:11: pair[1]: expected a number, got "x"'),
        ("many: 5", "f:1:7: many: expected a list, got 5"),
        ("table: {A: {}}", 'f:1:9: table.A: "A" does not match ^[a-z]+$'),
        ("by_number: {x: a}", 'f:1:13: by_number.x: expected an integer, got "x"'),
        ("full: {}", "f:1:7: full: must not be empty"),
        ("full: {a: 1, b: 2, c: 3}", "f:1:7: full: expected at most 2 entries"),
        ("globs: {a: b}", "f:1:8: globs: expected text or a list, got a mapping"),
        ("mixed: []", "f:1:8: mixed: expected an integer or a number or true or false or text, got a list"),
        ("pet: cat", 'f:1:6: pet: expected a mapping, got "cat"'),
        ("pet: {lives: 9}", "f:1:1: pet.type: required key is missing (known: cat, dog)"),
        ("pet: {type: cow}", 'f:1:13: pet.type: "cow" is unknown (known: cat, dog)'),
        ("pet: {type: }", "f:1:13: pet.type: expected one of cat, dog, got nothing"),
        ("pet: {type: cat}", "f:1:1: pet.lives: required key is missing"),
        ("pet: {type: dog, nam: x}", 'f:1:18: pet.nam: unknown key; did you mean "name"?'),
    ],
)
def test_errors(text, message):
    found = problem(text)
    if message is not None:
        assert found == message


def test_every_error_is_collected_and_no_struct_is_made_of_wrong_parts():
    value, problems = converted("flag: 1\ninner: {from: x, to: 13}\ntable:\n  a: {to: 13}\n  b: {from: []}\nzz: 1\n")
    assert value is None
    assert problems == [
        "f:1:7: flag: expected true or false, got 1",
        'f:2:15: inner.from: expected an integer, got "x"',
        "f:4:3: table.a: no thirteen",
        "f:5:13: table.b.from: expected an integer, got a list",
        "f:6:1: zz: unknown key",
    ]


@pytest.mark.parametrize("quote", ["", '"'])
def test_expanded_leaves_stand_for_what_they_read_as(quote):
    env = {"N": "5", "T": "true", "D": "5s", "C": "green"}
    text = "".join(
        f"{key}: {quote}${{{name}}}{quote}\n"
        for key, name in {"count": "N", "flag": "T", "every": "D", "colour": "C", "text": "N"}.items()
    )
    value = good(text, env)
    assert (value.count, value.flag, value.every, value.colour) == (5, True, Duration(5), Colour.GREEN)
    assert value.text == "5"
    assert good(f"text: {quote}${{E}}{quote}", {"E": ""}).text == ""


def test_a_leaf_that_failed_to_expand_is_told_once():
    value, problems = converted("count: ${N}\ninner: ${M}\n")
    assert value is None
    assert problems == [
        "f:1:8: count: $N is not set; set it, or write ${N:-default}",
        "f:2:8: inner: $M is not set; set it, or write ${M:-default}",
    ]


def test_more_errors_than_anyone_reads_cost_no_suggestions():
    _, problems = converted("".join(f"flagg{n}: 1\n" for n in range(MAX_SUGGESTIONS + 100)))
    assert len(problems) == MAX_SUGGESTIONS + 100
    assert "did you mean" in problems[0]
    assert "did you mean" not in problems[-1]
