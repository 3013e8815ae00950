"""Globs over point names against a naive matcher, and what a point's options refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import FieldError
from gateway.point import Kind, Merge, Point, PointOptions, compile_glob

NAMES = st.text(alphabet="ab/#", max_size=8)
SEGMENT = st.text(alphabet="ab#*?", min_size=1, max_size=3).filter(lambda text: "**" not in text)
PATTERNS = st.lists(st.one_of(SEGMENT, st.just("**")), min_size=1, max_size=4).map("/".join)


def naive(pattern: list[str], name: list[str]) -> bool:
    """Segment by segment: ``**`` stands for any number of them, in the middle or at the ends."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return naive(pattern[1:], name) or bool(name and naive(pattern, name[1:]))
    return bool(name) and within(pattern[0], name[0]) and naive(pattern[1:], name[1:])


def within(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return within(pattern[1:], text) or bool(text and text[0] != "#" and within(pattern, text[1:]))
    if not text:
        return False
    fits = text[0] != "#" if pattern[0] == "?" else text[0] == pattern[0]
    return fits and within(pattern[1:], text[1:])


@given(PATTERNS, NAMES.filter(bool))
def test_globs_match_as_the_naive_matcher(pattern, name):
    assert bool(compile_glob(pattern).match(name)) == naive(pattern.split("/"), name.split("/"))


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*/power", "m1/power", True),
        ("*/power", "m1/power#mean", False),
        ("*/power#*", "m1/power#mean", True),
        ("*/power", "a/m1/power", False),
        ("**/power", "power", True),
        ("**/power", "a/m1/power", True),
        ("m1/**", "m1", True),
        ("m1/**", "m1/power#mean", True),
        ("m1/**", "m10/power", False),
        ("**", "", True),
        ("**", "a\nb/c#d", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("m?/v", "m1/v", True),
        ("m?/v", "m/v", False),
        ("m.1", "mx1", False),
        ("m1", "m1\n", False),
    ],
)
def test_what_the_documentation_promises(pattern, name, fits):
    assert bool(compile_glob(pattern).match(name)) is fits


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0)])
def test_limits_that_leave_no_room_are_refused(limits):
    with pytest.raises(FieldError) as caught:
        PointOptions(limits=limits)
    assert caught.value.field == ("limits",)


def test_a_point_takes_all_options_over():
    options = PointOptions(unit="W", kind=Kind.COUNTER, limits=(0, 9), resolution=0.1, merge=Merge.ADD)
    point = Point.of("m1/power", options)
    assert point.name == "m1/power"
    assert all(getattr(point, field) == getattr(options, field) for field in PointOptions.__struct_fields__)
