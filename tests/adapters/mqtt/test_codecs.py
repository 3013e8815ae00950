"""Payloads of every declared codec, through the decoder."""

from __future__ import annotations

import json

import cbor2
import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.mqtt import records
from adapters.mqtt.decode import Decoder
from adapters.mqtt.records import Documents
from gateway import quality as q
from tests.adapters.mqtt.support import batch, mqtt_config
from tests.adapters.mqtt.test_decode import MS, NS, Site
from tests.support.context import RecordingContext
from tests.support.malformed import inputs

PACK = {"json": msgspec.json.encode, "cbor": cbor2.dumps, "msgpack": msgpack.packb}
S = 10**9


def names(rows):
    return [(name, time, value) for name, time, value, word in rows if word == 0]


@pytest.fixture(params=sorted(PACK))
def codec(request):
    return request.param


def test_nested_values_are_found_by_pointer_and_by_path(codec):
    points = {"p": {"value": "$.meas.power[1]"}, "q": {"value": "/meas/q"}, "r": {"value": "meas.r"}, "a.b": {}}
    site = Site({"topic": "x/{device}", "payload": codec, "time": "$.head.ts", "points": points})
    document = {"head": {"ts": MS}, "meas": {"power": [1, 2.5], "q": True, "r": None}, "a.b": 7}
    taken = site.take(("x/m", PACK[codec](document)), ("x/m", PACK[codec]({"meas": {"q": 1}})))
    assert names(taken) == [("m/p", NS, 2.5), ("m/q", NS, 1.0), ("m/a.b", NS, 7.0), ("m/q", 1_000, 1.0)]
    assert [row[3] for row in taken if row[0] == "m/r"] == [q.INVALID]
    assert not site.reasons


def test_an_array_of_records_with_a_time_each(codec):
    points = {"v": {"value": "volt"}, "mode": {"kind": "state"}}
    site = Site({"topic": "x/{device}", "payload": codec, "records": "$.values[*]", "time": "t", "points": points})
    first = {"values": [{"t": 1000, "volt": 1}, {"t": 2000.5, "volt": 2.5, "mode": "auto"}], "other": [1]}
    second = {"values": [{"t": "2026-01-01T00:00:00.123Z", "volt": "3"}, {"volt": 4}]}
    third = {"values": [{"t": 3000, "volt": 5}]}
    taken = site.take(*((f"x/m{i}", PACK[codec](d)) for i, d in enumerate((first, second, {"values": []}, third))))
    assert names(taken) == [
        ("m0/v", 1000 * S, 1.0), ("m0/v", 2000 * S + S // 2, 2.5), ("m0/mode", 2000 * S + S // 2, 0.0),
        ("m1/v", NS, 3.0), ("m1/v", 1_000, 4.0), ("m3/v", 3000 * S, 5.0),
    ]  # fmt: skip
    assert not site.reasons


def test_bad_records_cost_only_themselves_and_a_message_without_them_is_refused_once(codec):
    site = Site({"topic": "x/{device}", "payload": codec, "records": "values", "time": "t", "points": {"v": {}}})
    wrong = [{"t": "x", "v": 1}, {"t": -1, "v": 2}, 7, {"t": 5000, "v": 3}]
    sent = ({"values": wrong}, {"values": 1}, {"other": []}, [1], {"values": [{"t": 6000, "v": 4}]})
    taken = site.take(*(("x/m", PACK[codec](document)) for document in sent))
    assert names(taken) == [("m/v", 5000 * S, 3.0), ("m/v", 6000 * S, 4.0)]
    assert site.reasons == {"bad-time": 2, "bad-record": 1, "not-records": 1, "missing": 2}


def test_records_that_name_their_device_and_their_point(codec):
    site = Site(
        {
            "topic": "plant/{area}", "payload": codec, "device": "{area}-{device}", "records": "$.data[*]",
            "device_from": "id", "point_from": "n", "value_from": "v", "time": "$.ts",
            "points": {"power": {"unit": "W"}, "mode": {"kind": "state"}},
        }
    )  # fmt: skip
    data = [
        {"id": "m1", "n": "power", "v": 5}, {"id": 17, "n": "power", "v": 6}, {"id": "m1", "n": "else", "v": 7},
        {"id": "a b", "n": "power", "v": 8}, {"n": "power", "v": 9}, {"id": "m1", "n": "mode", "v": "off"},
        {"id": "m1", "n": "power"},
    ]  # fmt: skip
    taken = site.take(("plant/west", PACK[codec]({"ts": MS, "data": data})))
    assert names(taken) == [("west-m1/power", NS, 5.0), ("west-17/power", NS, 6.0), ("west-m1/mode", NS, 0.0)]
    assert q.reason_codes(np.array([taken[-1][2]])).tolist() == [q.Reason.MISSING]
    assert site.points.point(site.points.find("west-17/power")).unit == "W"
    assert site.reasons == {"bad-name": 1, "missing": 1}


def test_a_payload_in_columns(codec):
    points = {"v": {"value": "$.v[*]"}, "w": {"value": "w[*]"}}
    site = Site({"topic": "x/{device}", "payload": codec, "time": "ts[*]", "points": points})
    sent = [
        {"ts": [1000, 2000], "v": [1, 2], "w": [3.5, None]}, {"ts": [3000], "v": [4]}, {"ts": [1, 2], "v": [1]},
        {"v": [1]}, {"ts": 1, "v": [1]}, {"ts": [], "v": []},
    ]  # fmt: skip
    taken = site.take(*(("x/m", PACK[codec](document)) for document in sent))
    assert names(taken) == [
        ("m/v", 1000 * S, 1.0), ("m/w", 1000 * S, 3.5), ("m/v", 2000 * S, 2.0), ("m/v", 3000 * S, 4.0),
    ]  # fmt: skip
    assert site.reasons == {"uneven-columns": 2, "missing": 1}


def test_members_become_points_as_they_appear_under_a_device_that_the_payload_names(codec):
    site = Site({"topic": "all", "payload": codec, "device_from": "id", "time": "ts"})
    taken = site.take(("all", PACK[codec]({"id": "s1", "ts": MS, "t": 1, "on": True, "deep": {"x": 1}, "m": "a"})))
    assert names(taken) == [("s1/t", NS, 1.0), ("s1/on", NS, 1.0), ("s1/m", NS, 0.0)]
    assert site.points.find("s1/id") is None


def test_msgpack_that_json_has_no_words_for():
    site = Site({"topic": "x/{device}", "payload": "msgpack", "time": "t", "points": {"1": {}, "f": {}, "b": {}}})
    stamp = msgpack.Timestamp(1000, 5_000)
    taken = site.take(("x/m", msgpack.packb({1: 2, "t": stamp, "f": float("inf"), "b": b"x"})))
    assert names(taken) == [("m/1", 1000 * S + 5_000, 2.0)]
    assert [row[3] for row in taken[1:]] == [q.INVALID] * 2


@given(st.data())
def test_the_struct_types_and_the_general_way_give_the_same(data):
    kind = data.draw(st.sampled_from(["json", "msgpack"]))
    value = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**62), 2**62), st.sampled_from(["1.5", "x", [1], {"p": 2}])
    )
    item = st.fixed_dictionaries({}, optional={"a": value, "s": value, "t": st.one_of(st.integers(-5, 2**62), value)})
    records = st.one_of(st.lists(st.one_of(item, st.just(3)), max_size=4), value)
    documents = data.draw(st.lists(st.one_of(st.fixed_dictionaries({}, optional={"r": records}), value), max_size=5))
    points = {"a": {}, "s": {"kind": "state"}, "p": {"value": "/a/p"}}
    for more in ({"time": "t"}, {}):
        options = {"topic": "x/{device}", "payload": kind, "records": "r[*]", "points": points, **more}
        fast, slow = Site(options), Site(options)
        slow.decoder._plans[0][1]._fast = {False: None, True: None}
        made = batch(*((f"x/d{i % 2}", PACK[kind](document)) for i, document in enumerate(documents)))
        assert fast.decoder.frame(made) == slow.decoder.frame(made)
        assert fast.reasons == slow.reasons


def test_a_senml_pack_in_both_forms():
    pack = [{"bn": "urn:dev:x1:", "bt": 1.0e9, "n": "t", "u": "Cel", "v": 21.5}, {"n": "on", "vb": True, "t": 1}]
    packed = cbor2.dumps([{-2: "urn:dev:x1:", -3: 1.0e9, 0: "t", 1: "Cel", 2: 21.5}, {0: "on", 4: True, 6: 1}])
    for payload in (msgspec.json.encode(pack), packed):
        site = Site(
            {"topic": "x/{device}", "payload": "senml"}, {"topic": "y", "payload": "senml", "device_from": "bn"}
        )
        expected = [("t", 10**18, 21.5), ("on", 10**18 + S, 1.0)]
        assert names(site.take(("x/m", payload))) == [(f"m/{n}", *rest) for n, *rest in expected]
        assert names(site.take(("y", payload))) == [(f"urn-dev-x1/{n}", *rest) for n, *rest in expected]
        assert site.points.point(site.points.find("m/t")).unit == "Cel"
    site = Site({"topic": "x/{device}", "payload": "senml", "points": {"warm": {"value": "t"}}})
    assert names(site.take(("x/m", msgspec.json.encode(pack)), ("x/m", b'[{"n":"z","v":1}]'))) == [
        ("m/warm", 10**18, 21.5)
    ]
    assert site.reasons == {"missing": 1}


def test_lines_of_values():
    site = Site({"topic": "x/{device}", "payload": "csv", "columns": ["ts", "voltage", "-", "mode"], "time": "ts"})
    taken = site.take(("x/m", f'{MS},230.5,skip,auto\r\n{MS + 1},,skip,"a,b"\n'), ("x/m", "1,2"), ("x/m", "\n"))
    assert names(taken) == [
        ("m/voltage", NS, 230.5), ("m/mode", NS, 0.0), ("m/mode", NS + 1_000_000, 1.0),
    ]  # fmt: skip
    assert [row[3] for row in taken if row[0] == "m/voltage"] == [0, q.INVALID]
    assert site.reasons == {"wrong-columns": 1, "empty": 1}


def test_lines_with_a_decimal_comma_and_columns_under_other_names():
    points = {"u": {"value": "U in V", "unit": "V"}, "n": {}}
    site = Site(
        {
            "topic": "all", "payload": "csv", "columns": ["id", "U in V", "n"], "separator": ";", "decimal": ",",
            "device_from": "id", "points": points,
        }
    )  # fmt: skip
    taken = site.take(("all", "m1;230,5;7\nm2;1.5;1.234,5"))
    assert names(taken) == [("m1/u", 1_000, 230.5), ("m1/n", 1_000, 7.0)]
    assert len(taken) == 4
    assert not site.reasons


CELL = st.one_of(
    st.integers(-5, 2**62),
    st.integers(9_100_000_000, 9_300_000_000),  # where nanoseconds end to fit 64 bits
    st.floats(width=32),
    st.sampled_from(["", "x", " 1", "1e9", "-", "+1", "1_0", "nan"]),
)


@example([[[0, 0]], [[9_200_000_000, 0, 0]]])
@example([[[0, 0]], [[9_223_372_037, 0, 0]]])
@given(st.lists(st.lists(st.lists(CELL, min_size=2, max_size=4), min_size=1, max_size=2), min_size=1, max_size=6))
def test_lines_of_numbers_in_one_go_are_what_they_are_one_by_one(messages):
    options = {"topic": "x/{device}", "payload": "csv", "columns": ["t", "-", "a"], "points": {"a": {}}}
    sent = [(f"x/d{i % 2}", "\n".join(",".join(map(str, line)) for line in lines)) for i, lines in enumerate(messages)]
    for more in ({"time": "t"}, {}):
        fast, slow = Site({**options, **more}), Site({**options, **more})
        slow.decoder._plans[0][1]._table = lambda _: None
        assert fast.decoder.frame(batch(*sent, retained=[0])) == slow.decoder.frame(batch(*sent, retained=[0]))
        assert fast.reasons == slow.reasons
        for message in sent:
            assert fast.decoder.frame(batch(message)) == slow.decoder.frame(batch(message))


def test_raw_bytes_of_several_devices_in_one_frame():
    points = {
        "voltage": {"at": 4, "as": "uint16", "scale": 0.1, "unit": "V"},
        "phase": {"value": "@6 int16 little x2 *0.01"},
        "mode": {"at": 10, "as": "text:4", "kind": "state"},
        "serial": {"at": 10, "as": "text:4"},
    }
    site = Site({"topic": "x/{device}", "payload": "bytes", "time": "@0 uint32", "points": points, "length": 16})
    payload = (1000).to_bytes(4, "big") + b"\x09\x01\x64\x00\x9c\xff" + b"run\0" + b"\0\0"
    taken = site.take(("x/m1", payload), ("x/m2", payload[:-1]), ("x/m2", payload[:10] + b"12\0\0\0\0"))
    at = 1000 * S
    assert names(taken) == [
        ("m1/voltage", at, 230.5), ("m1/phase.0", at, 1.0), ("m1/phase.1", at, -1.0), ("m1/mode", at, 0.0),
        ("m2/voltage", at, 230.5), ("m2/phase.0", at, 1.0), ("m2/phase.1", at, -1.0), ("m2/mode", at, 0.0),
        ("m2/serial", at, 12.0),
    ]  # fmt: skip
    assert site.points.point(site.points.find("m2/voltage")).unit == "V"
    assert site.reasons == {"wrong-length": 1}


def test_labels_come_from_the_topic_and_from_user_properties():
    labels = {"area": "{area}", "site": "north", "line": "prop:line"}
    site = Site(
        {"topic": "{area}/{device}/j", "labels": labels, "points": {"v": {"labels": {"site": "own"}}, "w": {}}},
        {"topic": "{area}/{device}/t", "payload": "text", "labels": labels, "points": {"v": {}}},
        {"topic": "{area}/{device}/d", "labels": labels},
        version="5",
    )

    def told(*lines, kind="j", name="v"):
        made = batch(*[(f"west/{kind}/{kind}", "7" if kind == "t" else '{"v": 7}')] * len(lines))
        made.properties = [line and b"\x26\x00\x04line" + len(line).to_bytes(2, "big") + line for line in lines]
        assert len(site.decoder.frame(made)) == len(lines)
        return dict(site.points.point(site.points.find(f"{kind}/{name}")).labels)

    assert told(b"") == {"area": "west", "site": "own"}
    assert told(b"one", b"", name="w") == {"area": "west", "site": "north", "line": "one"}
    assert told(b"two", b"three") == {"area": "west", "site": "own", "line": "three"}
    for kind in "td":
        assert told(b"one", kind=kind)["line"] == "one"
        before = len(site.points)
        assert told(b"two", kind=kind) == {"area": "west", "site": "north", "line": "two"}
        assert len(site.points) == before


def test_what_cannot_be_used_is_kept_with_its_topic_and_reason():
    ctx = RecordingContext()
    subscribe = [
        {"topic": "j/{device}", "points": {"v": {}}, "time": "t"},
        {"topic": "c/{device}", "payload": "cbor"},
        {"topic": "b/{device}", "payload": "bytes", "points": {"v": {"at": 0, "as": "uint8"}}},
        {"topic": "t/{device}", "payload": "text", "points": {"v": {}}},
    ]
    decoder = Decoder(mqtt_config(*subscribe), ctx.points, ctx.stats.reasons, ctx)
    sent = [
        ("j/m", b"{"), ("j/m", b'{"t": "x", "v": 1}'), ("j/m", b'{"t": -5, "v": 1}'), ("c/m", b"\xff"),
        ("b/m", b"12"), ("t/m", b""), ("else", b"1"), ("j/a b", b"{}"),
    ]  # fmt: skip
    assert len(decoder.frame(batch(*sent))) == 0
    reasons = [
        "unparsable",
        "bad-time",
        "bad-time",
        "unparsable",
        "wrong-length",
        "unparsable",
        "unmatched",
        "bad-name",
    ]
    wanted = {(reason, topic, payload) for reason, (topic, payload) in zip(reasons, sent, strict=True)}
    assert {row[:3] for row in ctx.rejected} == wanted
    assert ctx.stats.reasons == {"unparsable": 3, "bad-time": 2, "wrong-length": 1, "unmatched": 1, "bad-name": 1}


NESTED = {"json": [b"[", b'{"r":'], "msgpack": [b"\x91", b"\x81\xa1r"], "cbor": [b"\x81", b"\xa1\x61r"]}


@pytest.mark.parametrize("more", [{}, {"points": {"v": {}}}, {"points": {"v": {}}, "records": "r"}])
def test_a_hundred_thousand_containers_are_refused(codec, more):
    site = Site({"topic": "x/{device}", "payload": codec, **more})
    for opening in NESTED[codec]:
        assert site.take(("x/m", opening * 100_000)) == []
    assert sum(site.reasons.values()) == 2


DOCUMENT = {
    "id": "m1",
    "t": MS,
    "v": 1.5,
    "s": "auto",
    "r": [{"t": MS, "v": 2, "s": None}, {"v": "3"}],
    "c": {"p": [1, 2]},
}
BYTES = {
    "payload": "bytes",
    "time": "@0 uint64",
    "points": {"v": {"value": "@8 float32"}, "s": {"value": "@12 text:4"}},
}
SHAPES = [
    {"device": "d"},
    {"device_from": "id", "time": "t"},
    {"device": "d", "time": "t", "points": {"v": {}, "s": {"kind": "state"}, "p": {"value": "c.p[0]"}}},
    {"device": "d", "records": "r[*]", "time": "t", "points": {"v": {}, "s": {"kind": "state"}}},
    {"device": "d", "records": "r[*]", "time": "$.t"},
]
CASES = [({"payload": kind, **shape}, PACK[kind](DOCUMENT)) for kind in sorted(PACK) for shape in SHAPES] + [
    ({"payload": "csv", "device": "d", "columns": ["t", "v", "s"], "time": "t"}, b'1767225600,1.5,"a b"\n1,2,3\n'),
    ({"payload": "csv", "device": "d", "columns": ["t", "v"], "time": "t", "points": {"v": {}}}, b"1767225600,1.5"),
    ({"payload": "senml", "device_from": "bn"}, b'[{"bn":"a:","n":"t","v":1.5,"bt":1e9},{"n":"u","vs":"x","s":3}]'),
    ({"payload": "senml", "device": "d"}, cbor2.dumps([{-2: "a:", 0: "t", 2: 1.5, -3: 1e9}, {0: "u", 3: "x"}])),
    ({"payload": "text", "device": "d", "points": {"v": {}}}, b"21.5"),
    ({"device": "d", **BYTES}, bytes(range(16))),
]


@pytest.mark.parametrize(("options", "seed"), CASES, ids=[f"{o['payload']}-{i}" for i, (o, _) in enumerate(CASES)])
def test_malformed_payloads_are_values_or_counted(options, seed):
    ctx = RecordingContext(limit=500)
    ctx.reject = lambda reason, *_: ctx.stats.reasons.update([reason])
    decoder = Decoder(mqtt_config({"topic": "x", **options}), ctx.points, ctx.stats.reasons, ctx)
    good = decoder.frame(batch(("x", seed)))
    assert len(good)
    assert not ctx.stats.reasons
    sent = list(inputs([seed]))
    for start in range(0, len(sent), 100):
        frame = decoder.frame(batch(*(("x", payload) for payload in sent[start : start + 100])))
        assert (np.isfinite(frame.value) | (frame.quality & q.VALIDITY == q.INVALID)).all()
        assert (frame.time >= 0).all()
    refused = ctx.stats.reasons.copy()
    assert refused
    assert len(decoder.frame(batch(("x", seed)))) >= len(good)  # a null is a sample once its point is known
    assert ctx.stats.reasons == refused
    plan = decoder._plans[0][1]
    if isinstance(plan, Documents):
        assert len(plan._rows) == 1
        assert plan._entries <= 2 * 500  # devices and points, of which the directory has taken 500


def test_what_is_remembered_of_devices_in_payloads_is_bounded(monkeypatch):
    monkeypatch.setattr(records, "MAX_ENTRIES", 50)
    site = Site({"topic": "x", "device_from": "id"}, limit=100)
    for n in range(200):
        site.take(("x", json.dumps({"id": f"d{n % 60}", "v": n, "w": n, f"k{n}": 1, "bad name": 1})))
        assert site.decoder._plans[0][1]._entries <= 60
    assert site.reasons["bad-name"] == 200
    assert site.reasons["too-many-points"]
    assert site.take(("x", '{"id": "d1", "v": 7}')) == [("d1/v", 1_000, 7.0, 0)]
