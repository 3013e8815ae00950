"""Which filters a broker is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.config import MqttConfig
from adapters.mqtt.filters import _covers, wanted
from adapters.mqtt.subscribe import Retained, Subscribe
from adapters.mqtt.topics import parse


def config(*entries):
    return MqttConfig(url="mqtt://h", subscribe=[Subscribe(device="d", **entry) for entry in entries])


def asked(*entries, asks=()):
    return {text: one.qos for text, one in wanted(config(*entries), asks).items()}


def test_what_a_wider_filter_takes_is_left_to_it_with_its_qos():
    assert asked({"topic": "a/#", "qos": 0}, {"topic": "a/b", "qos": 1}, {"topic": "c"}) == {"a/#": 1, "c": 1}


def test_a_filter_to_look_for_unknown_topics_takes_the_place_of_the_others():
    assert asked({"topic": "a/+"}, {"topic": "b"}, asks=[("#", 0)]) == {"#": 1}


def test_topics_that_devices_named_are_asked_for_because_of_retained_values():
    assert asked({"topic": "a/#"}, asks=[("a/state", 0)]) == {"a/#": 1, "a/state": 0}


def test_other_handling_of_retained_messages_keeps_both():
    assert set(asked({"topic": "a/#"}, {"topic": "a/b", "retained": Retained.IGNORE})) == {"a/#", "a/b"}


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("#", "a/b", True),
        ("a/#", "a", True),
        ("a/+", "a/b", True),
        ("a/+", "a/#", False),
        ("a/+", "a", False),
        ("a/b", "a/+", False),
        ("#", "$SYS/x", False),
        ("+/+", "a/b/c", False),
        ("$share/g/#", "a", False),
        ("#", "$share/g/a", False),
    ],
)
def test_covers(wide, narrow, covered):
    assert _covers(wide, narrow) is covered


LEVELS = st.lists(st.sampled_from(["a", "b", "+"]), min_size=1, max_size=3)
FILTERS = st.builds(lambda levels, more: "/".join(levels + ["#"] * more), LEVELS, st.booleans())
TOPICS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)


@given(wide=FILTERS, narrow=FILTERS, topic=TOPICS)
def test_whoever_covers_takes_all(wide, narrow, topic):
    if _covers(wide, narrow) and parse(narrow).match(topic) is not None:
        assert parse(wide).match(topic) is not None
