from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.decode import MAX_TOPICS, Decoder
from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import concat
from tests.adapters.mqtt.support import batch, mqtt_config

MS = 1_767_225_600_123
NS = MS * 1_000_000


class Site:
    """A decoder with a real directory."""

    def __init__(self, *subscribe, limit=1000, **options):
        self.points = Directory(limit)
        self.reasons = Counter()
        self.decoder = Decoder(mqtt_config(*subscribe, **options), self.points, self.reasons)

    def take(self, *messages, **options):
        """(point, time, value, quality) of each sample."""
        return self.rows(self.decoder.frame(batch(*messages, **options)))

    def rows(self, frame):
        assert (frame.point.dtype, frame.time.dtype) == (np.int32, np.int64)
        assert (frame.value.dtype, frame.quality.dtype) == (np.float64, np.uint16)
        columns = (frame.point, frame.time, frame.value, frame.quality)
        return [(self.points.name(p), t, v, w) for p, t, v, w in zip(*(c.tolist() for c in columns), strict=True)]


def timed(ts=MS, **values) -> str:
    return json.dumps({"ts": ts, **values})


METER = {
    "topic": "site/{device}/t",
    "time": "ts",
    "points": {"voltage": {"unit": "V"}, "power": {"unit": "W", "value": "/meas/p"}},
}


def test_declared_points_of_several_devices_in_one_frame():
    site = Site(METER)
    taken = site.take(
        ("site/m1/t", timed(voltage=230.5, meas={"p": 10, "x": 1}, other=[1])),
        ("site/m2/t", timed(voltage=231, ts=MS // 1000)),
        ("site/m1/t", '{"meas": {"p": true}, "voltage": null}'),
    )
    assert [row[:2] for row in taken] == [
        ("m1/voltage", NS),
        ("m1/power", NS),
        ("m2/voltage", MS // 1000 * 10**9),
        ("m1/voltage", 1_000),
        ("m1/power", 1_000),
    ]
    assert [row[2] for row in taken[:3]] == [230.5, 10.0, 231.0]
    assert taken[4][2:] == (1.0, 0)
    assert taken[3][3] == q.INVALID
    assert q.reason_codes(np.array([taken[3][2]])).tolist() == [q.Reason.MISSING]
    assert site.points.point(site.points.find("m1/power")).unit == "W"
    assert not site.reasons


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1767225600", 1_767_225_600 * 10**9),
        ("1767225600.25", 1_767_225_600_250_000_000),
        ("1767225600123", NS),
        ("1767225600123456", 1_767_225_600_123_456_000),
        ("1767225600123456789", 1_767_225_600_123_456_789),
        ('"2026-01-01T00:00:00.123Z"', NS),
        ("null", 1_000),
    ],
)
def test_source_times(text, ns):
    site = Site({**METER, "points": {"voltage": {}}})
    for _ in range(3):  # the first message may change the way that the next are read
        message = ("site/m1/t", f'{{"ts": {text}, "voltage": 1}}')
        assert site.take(message, message) == [("m1/voltage", ns, 1.0, 0)] * 2
    assert not site.reasons


@pytest.mark.parametrize("text", ['"yesterday"', "-1", "true", "1e300", "9" * 30, "[]", '""', "9223372036854775807000"])
def test_a_time_that_is_none_rejects_its_message_only(text):
    site = Site({**METER, "points": {"voltage": {}}})
    good = ("site/m1/t", timed(voltage=1))
    taken = site.take(good, ("site/m1/t", f'{{"ts": {text}, "voltage": 2}}'), good)
    assert taken == [("m1/voltage", NS, 1.0, 0)] * 2
    assert site.reasons == {"bad-time": 1}


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[1]", b"12", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"voltage": 1} x', b"NaN"]
)
@pytest.mark.parametrize("points", [METER["points"], {}])
def test_bad_messages_are_counted_and_cost_only_themselves(payload, points):
    site = Site({**METER, "points": points})
    good = ("site/m1/t", timed(voltage=1))
    taken = site.take(good, ("site/m1/t", payload), good, ("site/m2/t", payload), good)
    assert taken == [("m1/voltage", NS, 1.0, 0)] * 3
    assert site.reasons == {"unparsable": 2}


def test_texts_are_states_where_that_is_declared():
    site = Site({**METER, "points": {"mode": {"kind": "state"}, "v": {}}})
    send = ["auto", "manual", "auto"]
    taken = site.take(*(("site/m1/t", json.dumps({"mode": mode, "v": 1})) for mode in send))
    assert [row[2] for row in taken if row[0] == "m1/mode"] == [0.0, 1.0, 0.0]
    assert site.points.states(site.points.find("m1/mode")) == ["auto", "manual"]


def test_a_text_for_a_number_is_read_as_a_number_or_is_invalid_and_keeps_its_place():
    site = Site({**METER, "points": {"v": {}}})
    sent = ['{"v": 1}', '{"v": "2.5"}', '{"v": "n/a"}', '{"v": {}}', '{"v": 3}']
    taken = site.take(*(("site/m1/t", payload) for payload in sent))
    assert [row[2] for row in taken if row[3] == 0] == [1.0, 2.5, 3.0]
    assert [row[3] for row in taken] == [0, 0, q.INVALID, q.INVALID, 0]
    codes = q.reason_codes(np.array([row[2] for row in taken]))
    assert codes.tolist() == [0, 0, q.Reason.NOT_A_NUMBER, q.Reason.NOT_A_NUMBER, 0]


def test_json_without_points_is_taken_as_it_appears():
    site = Site({"topic": "a/{device}", "time": "ts"})
    payload = {"ts": MS, "t": 21.5, "on": True, "mode": "auto", "none": None, "deep": {"x": 1}, "bad name": 1}
    assert site.take(("a/s1", json.dumps(payload)), ("a/s1", '{"t": null, "mode": "off"}'))[:3] == [
        ("s1/t", NS, 21.5, 0),
        ("s1/on", NS, 1.0, 0),
        ("s1/mode", NS, 0.0, 0),
    ]
    assert site.reasons == {"bad-name": 1}
    assert site.points.find("s1/none") is None
    taken = site.take(("a/s1", '{"t": "warm", "mode": "off"}'), at=7)
    assert [row[3] for row in taken] == [q.INVALID, 0]
    assert taken[1] == ("s1/mode", 7, 1.0, 0)


def test_points_appear_up_to_the_bound_and_the_rest_goes_on():
    site = Site({"topic": "a/{device}"}, limit=3)
    taken = site.take(("a/s1", '{"a": 1, "b": 2}'), ("a/s2", '{"a": 3, "b": 4}'), ("a/s1", '{"a": 5}'))
    assert [row[0] for row in taken] == ["s1/a", "s1/b", "s2/a", "s1/a"]
    assert site.reasons == {"too-many-points": 1}
    site = Site(METER, {"topic": "b/{device}/{point}", "payload": "text"}, limit=3)
    message = '{"voltage": 1, "meas": {"p": 2}}'
    taken = site.take(("site/m1/t", message), ("site/m2/t", message), ("b/x/y", "1"), ("site/m1/t", message))
    assert sorted(row[0] for row in taken) == [
        "m1/power",
        "m1/power",
        "m1/voltage",
        "m1/voltage",
        "m2/voltage",
    ]
    assert site.reasons == {"too-many-points": 2}


def test_plain_values_with_names_from_the_topic():
    site = Site({"topic": "plant/{area}/{device}/{point}", "payload": "text", "device": "{area}-{device}"})
    sent = {"t": "21.5", "n": " +3e2 ", "on": "true", "mode": "auto", "half": ".5", "int": "7"}
    taken = site.take(*((f"plant/west/d1/{name}", value) for name, value in sent.items()))
    assert taken == [
        ("west-d1/t", 1_000, 21.5, 0),
        ("west-d1/n", 1_000, 300.0, 0),
        ("west-d1/on", 1_000, 1.0, 0),
        ("west-d1/mode", 1_000, 0.0, 0),
        ("west-d1/half", 1_000, 0.5, 0),
        ("west-d1/int", 1_000, 7.0, 0),
    ]
    taken = site.take(("plant/west/d1/t", "unavailable"), ("plant/west/d1/mode", "off"))
    assert [row[3] for row in taken] == [q.INVALID, 0]
    assert taken[1][2] == 1.0


def test_bad_plain_values_are_counted():
    site = Site({"topic": "{device}/{point}", "payload": "text"})
    site.take(("d/mode", "auto"))
    assert site.take(("d/mode", b"\xff"), ("d/mode", b""), ("d/mode", "x" * 300)) == []
    assert site.reasons == {"unparsable": 2, "long-text": 1}


def test_a_declared_plain_value():
    points = {"t": {"unit": "Cel"}}
    site = Site({"topic": "x/{device}", "payload": "text", "points": points})
    assert site.take(("x/a", "1"), ("x/b", "2")) == [("a/t", 1_000, 1.0, 0), ("b/t", 1_000, 2.0, 0)]
    site = Site({"topic": "{device}/{point}", "payload": "text", "points": points})
    assert site.take(("a/t", "1"), ("a/other", "2")) == [("a/t", 1_000, 1.0, 0)]
    assert not site.reasons


def test_names_that_cannot_be_and_topics_of_nobody_are_counted():
    site = Site(METER)
    message = '{"voltage": 1}'
    site.take(("site/a b/t", message), ("site//t", message), ("else", message), ("else", message))
    assert site.reasons == {"bad-name": 2, "unmatched": 2}
    made = batch(("site/x/t", message))
    made.topics = [b"site/\xff/t"]
    assert len(site.decoder.frame(made)) == 0
    assert site.reasons["bad-name"] == 3


def test_the_first_pattern_that_fits_takes_the_message():
    site = Site({"topic": "a/special", "device": "s"}, {"topic": "a/{device}"})
    taken = site.take(("a/x", '{"v": 1}'), ("a/special", '{"v": 2}'), ("a/x", '{"v": 3}'))
    assert sorted(taken) == [("s/v", 1_000, 2.0, 0), ("x/v", 1_000, 1.0, 0), ("x/v", 1_000, 3.0, 0)]


@pytest.mark.parametrize("points", [METER["points"], {}])
def test_a_kept_message_without_a_time_of_its_own_is_old(points):
    site = Site({**METER, "points": points})
    taken = site.take(
        ("site/m1/t", '{"voltage": 1}'),
        ("site/m1/t", '{"voltage": 2}'),
        ("site/m1/t", timed(voltage=3)),
        retained=[1, 2],
    )
    assert [row[3] for row in taken] == [0, q.QUESTIONABLE | q.OLD_DATA, 0]


def test_arrival_times_are_those_of_each_read_of_the_socket():
    site = Site(METER)
    made = batch(*[("site/m1/t", '{"voltage": 1}')] * 5)
    made.marks = [(2, 10), (3, 20), (5, 30)]
    assert site.decoder.frame(made).time.tolist() == [10, 10, 20, 30, 30]


def test_topics_without_end_do_not_fill_the_memory():
    site = Site(METER)
    for start in range(0, MAX_TOPICS + 10_000, 10_000):
        site.take(*((f"other/{n}", "{}") for n in range(start, start + 10_000)))
    assert len(site.decoder._known) <= MAX_TOPICS
    assert site.take(("site/m1/t", '{"voltage": 1}')) == [("m1/voltage", 1_000, 1.0, 0)]


NUMBER = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
TIME = st.one_of(
    st.integers(0, 2**63 - 1),
    st.floats(0, 1e12),
    st.sampled_from(["2026-01-01T00:00:00Z", "x", None, True, -5, 2**70]),
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, st.text(max_size=5), st.sampled_from(["1.5", "true"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("pqab"), inner)),
    max_leaves=6,
)
OBJECT = st.fixed_dictionaries(
    {},
    optional={
        "a": VALUE,
        "b": VALUE,
        "s": VALUE,
        "c": st.one_of(st.dictionaries(st.sampled_from("pq"), VALUE), VALUE),
        "t": TIME,
    },
)
POINTS = {
    "a": {},
    "b": {"value": "/b"},
    "s": {"kind": "state"},
    "p": {"value": "/c/p"},
    "q": {"value": "/c/q"},
}


@given(st.lists(st.one_of(OBJECT, VALUE), min_size=1, max_size=8), st.booleans())
def test_the_fast_way_and_the_general_way_give_the_same(documents, timed):
    options = {"topic": "x/{device}", "points": POINTS, "time": "t" if timed else ""}
    fast, slow = Site(options), Site(options)
    plan = slow.decoder._plans[0][1]
    plan._fast = {False: None, True: None}
    assert None not in fast.decoder._plans[0][1]._fast.values()
    messages = [(f"x/d{i % 2}", msgspec.json.encode(document)) for i, document in enumerate(documents)]
    one, other = (site.decoder.frame(batch(*messages)) for site in (fast, slow))
    assert one == other
    assert fast.reasons == slow.reasons
    again = concat([fast.decoder.frame(batch(message)) for message in messages])
    assert again == one


@given(st.lists(st.tuples(st.sampled_from(["x/d", "y/d", "z/d/p", "z/d/q"]), st.binary(max_size=30)), max_size=8))
def test_any_payload_gives_samples_or_a_counted_reason(messages):
    site = Site(
        {"topic": "x/{device}", "points": {"a": {}}, "time": "t"},
        {"topic": "y/{device}"},
        {"topic": "z/{device}/{point}", "payload": "text"},
    )
    taken = site.take(*messages)
    objects = 0
    for _, payload in messages:
        with suppress(ValueError, RecursionError):
            objects += isinstance(msgspec.json.decode(payload), dict)
    assert len(taken) + sum(site.reasons.values()) + objects >= len(messages)
    assert all(math.isfinite(value) or word & q.VALIDITY == q.INVALID for _, _, value, word in taken)
