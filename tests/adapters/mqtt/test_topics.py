from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.topics import fill, names_in, parse

LEVEL = st.text(st.characters(exclude_characters="/+#{}\0", exclude_categories=["Cs"]), max_size=8)


def test_named_parts_are_single_levels():
    pattern = parse("site/{device}/telemetry")
    assert pattern.filter == "site/+/telemetry"
    assert pattern.names == ("device",)
    assert pattern.match("site/m1/telemetry") == {"device": "m1"}
    assert pattern.match("site/m1/x/telemetry") is None
    assert pattern.match("site/m1/telemetry/x") is None
    assert pattern.match("site//telemetry") == {"device": ""}


def test_several_parts_and_wildcards():
    pattern = parse("plant/{area}/+/{device}/{point}/#")
    assert pattern.filter == "plant/+/+/+/+/#"
    expected = {"area": "a", "device": "d", "point": "p"}
    assert pattern.match("plant/a/x/d/p/more/and/more") == expected
    assert pattern.match("plant/a/x/d/p") == expected
    assert pattern.match("plant/a/x/d") is None


def test_a_last_hash_takes_all():
    assert parse("#").match("a/b/c") == {}
    assert parse("a/#").match("a") == {}
    assert parse("a/#").match("ab") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("a/#/b", "last level"),
        ("a/b+", "alone"),
        ("a/b#", "alone"),
        ("a/x-{device}", "whole level"),
        ("a/{1x}", "whole level"),
        ("a/{d}/{d}", "twice"),
        ("$share/g/a", "shared"),
        ("a\0", "NUL"),
        ("a" * 65_536, "65,535"),
    ],
)
def test_what_is_no_pattern_is_refused(text, why):
    with pytest.raises(ValueError, match=why):
        parse(text)


def test_templates():
    assert names_in("{area}-{device}") == ["area", "device"]
    assert fill("{area}-{device}", {"area": "a", "device": "{x}"}) == "a-{x}"


@given(st.lists(LEVEL, min_size=1, max_size=6))
def test_a_topic_without_wildcards_matches_itself_only(levels):
    topic = "/".join(levels)
    if not topic or topic.startswith("$share/"):
        return
    pattern = parse(topic)
    assert pattern.filter == topic
    assert pattern.match(topic) == {}
    assert pattern.match(topic + "x") is None


@given(st.lists(LEVEL, min_size=1, max_size=5))
def test_named_parts_give_the_levels_back(levels):
    pattern = parse("/".join(["root", *(f"{{n{i}}}" for i in range(len(levels)))]))
    found = pattern.match("/".join(["root", *levels]))
    assert list(found.values()) == levels
