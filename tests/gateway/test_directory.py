"""The directory: ids that stay, derived points, texts of states, and what comes back from disk."""

import threading

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.directory import MAX_STATES, Directory
from gateway.errors import TooManyPointsError
from gateway.merge import RULES
from gateway.point import Kind, Merge, Point
from tests.support.build import directory_of

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 9), st.sampled_from(["V", "W"])),
        st.tuples(st.just("derive"), st.integers(0, 9), st.sampled_from(["#mean", "#sum"])),
        st.tuples(st.just("state"), st.integers(0, 9), st.sampled_from(["on", "off", "\u00fc"])),
        st.tuples(st.just("save"), st.just(0), st.just("")),
    ),
    max_size=40,
)


def act(directory: Directory, rows: dict[int, bytes], kind: str, number: int, text: str) -> None:
    if kind == "add":
        directory.add(Point(name=f"m/{number}", unit=text))
    elif kind == "save":
        rows.update(directory.changes())
    elif number < len(directory) and kind == "derive":
        directory.derive(np.array([number, number], np.int32), text)
    elif number < len(directory):
        directory.state(number, text)


def told(directory: Directory):
    return [(directory.point(i), directory.states(i)) for i in range(len(directory))]


@given(ACTIONS)
def test_what_was_written_comes_back_with_the_same_ids(actions):
    directory, rows = Directory(), {}
    for action in actions:
        act(directory, rows, *action)
    rows.update(directory.changes())
    assert directory.changes() == []
    again = Directory()
    again.load(sorted(rows.items()))
    assert told(again) == told(directory)
    assert again.changes() == []
    for i in range(len(directory)):
        assert again.find(directory.name(i)) == i
        for code, text in enumerate(directory.states(i) or []):
            assert again.state(i, text) == code


def test_an_id_stays_when_the_facts_change():
    directory = directory_of("a", "b")
    assert directory.add(Point(name="a", unit="V")) == 0
    assert directory.point(0).unit == "V"
    assert [i for i, _ in directory.changes()] == [0, 1]
    directory.add(Point(name="a", unit="V"))
    assert directory.changes() == []
    assert directory.find("c") is None


def test_the_bound_holds_for_new_points_and_not_for_known_or_derived_ones():
    directory = Directory(2)
    for name in "ab":
        directory.add(Point(name=name))
    with pytest.raises(TooManyPointsError, match="not taken: c"):
        directory.add(Point(name="c"))
    assert directory.add(Point(name="a", unit="V")) == 0
    assert directory.name(int(directory.derive(np.array([1], np.int32), "#mean")[0])) == "b#mean"
    assert len(directory) == 3


def test_derived_points_take_over_what_they_are_not_told():
    directory = Directory()
    directory.add(Point(name="p", unit="W", limits=(0, 9), resolution=0.1, kind=Kind.GAUGE, merge=Merge.MAX))
    base = np.array([0, 0], np.int32)
    (mean, again), (count, _) = directory.derive(base, "#mean"), directory.derive(base, "#n", unit="1", merge=Merge.ADD)
    assert mean == again
    assert directory.point(mean) == Point(name="p#mean", unit="W", limits=(0, 9), resolution=0.1, merge=Merge.MAX)
    assert (directory.point(count).unit, directory.point(count).merge) == ("1", Merge.ADD)
    assert [RULES[code] for code in directory.merge_rules()] == [Merge.MAX, Merge.MAX, Merge.ADD]


def test_derive_finds_points_that_appear_later():
    directory = directory_of("a")
    first = directory.derive(np.array([0], np.int32), "#x")
    late = directory.add(Point(name="z"))
    assert directory.derive(np.array([0, late, 0], np.int32), "#x").tolist() == [first[0], late + 1, first[0]]


def test_states_are_numbered_in_order_and_bounded():
    directory = directory_of("door")
    assert [directory.state(0, text) for text in ("open", "shut", "open")] == [0.0, 1.0, 0.0]
    assert directory.states(0) == ["open", "shut"]
    for number in range(MAX_STATES - 2):
        directory.state(0, str(number))
    with pytest.raises(TooManyPointsError, match="door"):
        directory.state(0, "one more")
    assert directory.state(0, "shut") == 1.0
    assert directory_of("x").states(0) is None


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_damaged_row_costs_its_point_and_its_id_is_not_given_again(damaged):
    rows = directory_of("a", "b", "c").changes()
    rows[damaged] = (damaged, rows[damaged][1][:-3])
    directory = Directory()
    directory.load(rows)
    lost, *_ = {"a", "b", "c"} - {directory.name(i) for i in range(len(directory))}
    assert directory.find(lost) is None
    assert directory.add(Point(name=lost)) == 3
    assert [directory.find(name) for name in "abc" if name != lost] == [i for i in range(3) if i != damaged]


@given(st.data())
def test_any_flipped_bit_in_a_row_leaves_a_directory(data):
    rows = directory_of("a/power", "b/power", unit="W", limits=(0.0, 5.0)).changes()
    raw = bytearray(rows[0][1])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    directory = Directory()
    directory.load([(0, bytes(raw)), rows[1]])
    assert directory.find("b/power") == 1
    directory.changes()


def test_a_missing_row_keeps_its_id_taken():
    directory = Directory()
    directory.load([row for row in directory_of("a", "b", "c").changes() if row[0] != 1])
    assert [directory.name(i) for i in range(3)] == ["a", "?1", "c"]
    assert directory.add(Point(name="b")) == 3


def test_rewrite_hands_out_everything_again():
    directory = directory_of("a", "b")
    first = directory.changes()
    directory.rewrite()
    assert directory.changes() == first


def test_two_threads_never_give_one_id_to_two_names():
    directory = Directory()
    bases = np.arange(50, dtype=np.int32)
    for number in range(50):
        directory.add(Point(name=f"base/{number}"))

    def derive() -> None:
        for number in range(20):
            directory.derive(bases, f"#{number}")

    thread = threading.Thread(target=derive)
    thread.start()
    for number in range(1000):
        directory.add(Point(name=f"new/{number}"))
    thread.join()
    names = [directory.name(i) for i in range(len(directory))]
    assert len(set(names)) == len(names) == 50 + 50 * 20 + 1000
    assert all(directory.find(name) == i for i, name in enumerate(names))


def test_rows_are_readable_without_us():
    ((_, raw),) = directory_of("m/p", unit="W").changes()
    assert msgspec.msgpack.decode(raw)["point"] | {"name": "m/p", "unit": "W"} == msgspec.msgpack.decode(raw)["point"]
