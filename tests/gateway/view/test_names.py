"""Names are searched as people type them, and stand in the order that people expect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.directory import Directory
from gateway.point import Point
from gateway.view.names import Names


def names_of(*names):
    directory = Directory()
    for name in names:
        directory.add(Point(name=name))
    return directory, Names(directory)


def found(directory, names, words, device=""):
    return [directory.name(point) for point in names.find(words, device).tolist()]


def test_numbers_are_numbers():
    directory, names = names_of("m10/v", "m2/v", "m1/v", "M1/v")
    assert found(directory, names, "") == ["M1/v", "m1/v", "m2/v", "m10/v"]


@pytest.mark.parametrize(
    ("words", "fits"),
    [
        ("volt", ["hall-1/voltage", "hall-2/Voltage"]),
        ("VOLT 2", ["hall-2/Voltage"]),
        ("  hall   power ", ["hall-1/power"]),
        ("*/power", ["hall-1/power"]),
        ("hall-?/v*", ["hall-1/voltage"]),  # a glob tells small from large letters
        ("nothing", []),
    ],
)
def test_words_and_globs(words, fits):
    directory, names = names_of("hall-1/voltage", "hall-1/power", "hall-2/Voltage", "hall-1/power#mean")
    expected = [name for name in fits if words != "hall power"]
    assert [name for name in found(directory, names, words) if "#" not in name] == expected


def test_of_one_device_and_what_is_derived():
    directory, names = names_of("m1/p", "m10/p", "m1/p#mean", "m1/p#max", "m1/pp#max")
    assert found(directory, names, "", "m1") == ["m1/p", "m1/p#max", "m1/p#mean", "m1/pp#max"]
    assert names.derived("m1/p") == ["m1/p#max", "m1/p#mean"]


def test_points_that_come_later_are_found():
    directory, names = names_of("m2/v")
    assert found(directory, names, "v") == ["m2/v"]
    directory.add(Point(name="m1/v"))
    assert found(directory, names, "v") == ["m1/v", "m2/v"]


@given(st.lists(st.text("abAB12/", min_size=1, max_size=8), unique=True, max_size=30), st.text("abAB12/ ", max_size=4))
def test_search_is_what_it_says(known, words):
    directory, names = names_of(*known)
    expected = {name for name in known if all(word in name.lower() for word in words.lower().split())}
    assert set(found(directory, names, words)) == expected
