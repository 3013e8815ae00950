"""What a reload finds different."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.reload import Difference, compare
from tests.support.build import config_of

BASE = """
gateway: g
state: /tmp/s
adapters:
  meters:
    type: modbus
    url: tcp://127.0.0.1:502
    devices: {m1: {unit: 1, every: 1s, points: {v: {at: "holding:0", as: uint16}}}}
  bus: {type: mqtt, url: "mqtt://127.0.0.1:1883", subscribe: [{topic: "site/{device}/t", payload: json}]}
pipelines:
  all: {from: "**", steps: [{deadband: {percent: 1}}], to: [out]}
uplinks:
  out: {type: stdout}
"""
TABLES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), max_size=6)


@given(TABLES, TABLES)
def test_stopping_and_starting_leads_from_the_old_to_the_new(old, new):
    found = Difference.between(old, new)
    running = {name: value for name, value in old.items() if name not in found.stop}
    assert set(running).isdisjoint(found.start)
    assert running | {name: new[name] for name in found.start} == new
    assert bool(found) == (old != new)
    untouched = {name for name in old if name in new and old[name] == new[name]}
    assert untouched.isdisjoint({*found.stop, *found.start})


def test_the_same_file_changes_nothing():
    changes = compare(config_of(BASE), config_of(BASE))
    assert str(changes) == "nothing changed"
    assert not any((changes.adapters, changes.pipelines, changes.uplinks))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("every: 1s", "every: 2s", "adapters: changed meters"),
        ("percent: 1", "percent: 2", "pipelines: changed all"),
        ("type: stdout", "type: file, path: /tmp/x", "uplinks: changed out"),
        ("uplinks:", "uplinks:\n  more: {type: stdout}", "uplinks: added more"),
        ("  bus:", "  other:", "adapters: added other; adapters: removed bus"),
    ],
)
def test_only_what_changed_is_named(old, new, told):
    changes = compare(config_of(BASE), config_of(BASE.replace(old, new, 1)))
    assert str(changes) == told
    named = {
        (section, name) for section, kinds in changes.as_dict().items() for names in kinds.values() for name in names
    }
    assert len(named) == told.count(";") + 1


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("gateway: g", "gateway: h", "gateway"),
        ("/tmp/s", "/tmp/t", "state"),
        ("uplinks:", "store: {commit: 1s}\nuplinks:", "store"),
    ],
)
def test_what_holds_for_the_life_of_the_process_is_refused(old, new, key):
    with pytest.raises(ConfigError, match="restart") as caught:
        compare(config_of(BASE), config_of(BASE.replace(old, new, 1)))
    assert [problem.path for problem in caught.value.problems] == [key]
