"""Payloads in all formats of LwM2M, the object table, and what a client says when it registers."""

from __future__ import annotations

import json
import math
import re
import struct

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.directory.links import Link, parse_links
from adapters.coap.lwm2m import contents, objects
from adapters.coap.lwm2m.contents import Item, parse_path, path_text, read, read_all
from adapters.coap.lwm2m.objects import Type, known_points, resources_of
from adapters.coap.lwm2m.registration import device_name, endpoint_of, offered, terms_of
from adapters.coap.lwm2m.tlv import Tag, encode
from adapters.coap.lwm2m.watch import Watch, point_name
from gateway import quality as q
from gateway.errors import PayloadError
from gateway.point import Kind
from gateway.quality import Reason
from tests.support.malformed import survives

NOW = 1_800_000_000_000_000_000
TEMPERATURE = (3303, 0)
FLOAT = struct.pack(">d", 21.5)
PACK = [{"bn": "/3303/0/", "n": "5700", "v": 21.5, "u": "Cel"}, {"n": "5601", "v": 3.0}]


def value(items, resource):
    return next(item.value for item in items if item.resource == resource)


@pytest.mark.parametrize(
    ("payload", "content_format"),
    [
        (encode(Tag.RESOURCE, 5700, FLOAT), 11542),
        (encode(Tag.RESOURCE, 5700, FLOAT), 1542),
        (encode(Tag.RESOURCE, 5700, FLOAT), None),
        (encode(Tag.OBJECT_INSTANCE, 0, encode(Tag.RESOURCE, 5700, FLOAT)), 11542),
        (cbor2.dumps([{-2: "/3303/0/", 0: "5700", 2: 21.5}]), 112),
        (cbor2.dumps([{0: "/3303/0/5700", 2: 21.5}]), 112),
        (json.dumps(PACK).encode(), 110),
        (b'{"bn":"/3303/0/","e":[{"n":"5700","v":21.5}]}', 11543),
        (b'{"e":[{"n":"5700","v":21.5}]}', 1543),
        (b'{"bn":"/3303/0","e":[{"n":"5700","v":21.5}]}', 11543),
        (b'[{"bn":"/3303/0","n":"5700","v":21.5}]', 110),
    ],
)
def test_one_value_in_every_format(payload, content_format):
    found = read(TEMPERATURE, payload, content_format, NOW)
    assert found[0] == Item(0, 5700, None, 21.5, "Cel", None)


@pytest.mark.parametrize(
    ("path", "payload", "expected"),
    [
        ((3303, 0, 5700), b"21.5", 21.5),
        ((3303, 0, 5700), b" -1e3 ", -1000.0),
        ((3303, 0, 5700), b"warm", Reason.UNPARSABLE),
        ((3303, 0, 5700), b"\xff", Reason.UNPARSABLE),
        ((3303, 0, 5700), b"9" * 5000, Reason.UNPARSABLE),
        ((3, 0, 9), b"87", 87.0),
        ((3, 0, 9), b"8.7", Reason.UNPARSABLE),
        ((3311, 0, 5850), b"1", True),
        ((3311, 0, 5850), b"2", Reason.UNPARSABLE),
    ],
)
def test_a_resource_in_text(path, payload, expected):
    for content_format in (0, None, 1541):
        assert [item.value for item in read(path, payload, content_format, NOW)] == [expected]


def test_a_resource_that_nobody_knows_is_left_out():
    assert read((3303, 0, 9999), b"1", 0, NOW) == []
    assert read(TEMPERATURE, encode(Tag.RESOURCE, 9999, b"1"), 11542, NOW) == []
    assert read(TEMPERATURE, b'[{"n":"/3303/0/9999","v":1}]', 110, NOW) == []


def test_a_value_of_another_type_is_no_value_and_the_others_stay():
    payload = encode(Tag.RESOURCE, 5700, b"abc") + encode(Tag.RESOURCE, 5601, FLOAT)
    found = read(TEMPERATURE, payload, 11542, NOW)
    assert [item.value for item in found] == [Reason.UNPARSABLE, 21.5]
    found = read(TEMPERATURE, b'[{"bn":"/3303/0/","n":"5700","vs":"x"},{"n":"5601","vb":true}]', 110, NOW)
    assert [item.value for item in found] == [Reason.UNPARSABLE, Reason.UNPARSABLE]


def test_times_of_senml_and_of_the_old_json():
    absolute = read(TEMPERATURE, b'[{"bn":"/3303/0/","bt":1700000000,"n":"5700","v":1,"t":-5}]', 110, NOW)
    assert absolute[0].time_ns == 1_699_999_995_000_000_000
    relative = read(TEMPERATURE, b'{"e":[{"n":"5700","v":1,"t":-5}]}', 11543, NOW)
    assert relative[0].time_ns == NOW - 5_000_000_000
    based = read(TEMPERATURE, b'{"bt":1700000000,"e":[{"n":"5700","v":1,"t":2},{"n":"5700","v":2}]}', 11543, NOW)
    assert [item.time_ns for item in based] == [1_700_000_002_000_000_000, 1_700_000_000_000_000_000]


@pytest.mark.parametrize(
    ("path", "payload", "content_format", "reason"),
    [
        (TEMPERATURE, b"21", 0, "unsupported-format"),
        (TEMPERATURE, b"", 42, "unsupported-format"),
        (TEMPERATURE, b'[{"n":"/3304/0/5700","v":1}]', 110, "bad-path"),
        (TEMPERATURE, b'[{"n":"/3303/1/5700","v":1}]', 110, "bad-path"),
        (TEMPERATURE, b'[{"n":"/99999/0/5700","v":1}]', 110, "bad-path"),
        (TEMPERATURE, b'[{"n":"//","v":1}]', 110, "bad-record"),
        (TEMPERATURE, b'{"e":[{"n":"x","v":1}]}', 11543, "bad-path"),
        (TEMPERATURE, b'{"e":[{"n":5700,"v":1}]}', 11543, "bad-record"),
        (TEMPERATURE, b'{"e":{}}', 11543, "bad-record"),
        (TEMPERATURE, b'{"bt":"x","e":[{"n":"5700","v":1}]}', 11543, "bad-time"),
        (TEMPERATURE, b'{"bt":1e30,"e":[{"n":"5700","v":1}]}', 11543, "bad-time"),
        (TEMPERATURE, b"[" * 100_000, 11543, "too-deep"),
        (TEMPERATURE, b"[" * 100_000, 110, "too-deep"),
        (TEMPERATURE, b"\x81" * 100_000, 112, "unparsable"),
        (TEMPERATURE, encode(Tag.OBJECT_INSTANCE, 1, encode(Tag.RESOURCE, 5700, FLOAT)), 11542, "bad-path"),
        ((3, 0, 7), encode(Tag.RESOURCE, 9, b"\x01"), 11542, "bad-path"),
    ],
)
def test_what_is_wrong_is_named(path, payload, content_format, reason):
    with pytest.raises(PayloadError) as caught:
        read(path, payload, content_format, NOW)
    assert caught.value.reason == reason


@pytest.mark.parametrize("content_format", [None, 0, 110, 112, 11542, 11543])
def test_malformed_payloads_give_values_or_a_named_error(content_format):
    old = b'{"bn":"/3303/0/","bt":1700000000,"e":[{"n":"5700","v":21.5,"t":1},{"n":"5701","sv":"Cel"}]}'
    tlv = encode(Tag.MULTIPLE, 7, encode(Tag.RESOURCE_INSTANCE, 0, b"\x0e\xd8")) + encode(Tag.RESOURCE, 5700, FLOAT)
    seeds = [tlv, cbor2.dumps([{-2: "/3303/0/", 0: "5700", 2: 21.5, 6: 3}]), json.dumps(PACK).encode(), old, b"21.5"]
    for path in (TEMPERATURE, (3, 0, 7)):
        survives(lambda data, path=path: read(path, data, content_format, NOW), seeds, 2000)
    survives(lambda data: read_all(data, content_format, NOW), seeds, 2000)


@given(st.binary(max_size=200), st.sampled_from([None, 0, 110, 112, 11542, 11543]))
def test_any_bytes_give_values_or_a_named_error(payload, content_format):
    try:
        found = read((3, 0), payload, content_format, NOW)
    except PayloadError as error:
        assert error.reason
    else:
        assert all(isinstance(item, Item) for item in found)


@given(st.lists(st.integers(0, 65_535), min_size=1, max_size=4).map(tuple))
def test_paths(path):
    assert parse_path(path_text(path)) == path


def test_several_objects_in_one_pack():
    pack = [{"bn": "/3303/1/", "n": "5700", "v": 20.0}, {"bn": "/3/0/", "n": "9", "v": 50}, {"n": "7/1", "v": 3}]
    found = read_all(json.dumps(pack).encode(), 110, NOW)
    assert {path: [(item.resource, item.nth, item.value) for item in items] for path, items in found.items()} == {
        (3303, 1): [(5700, None, 20.0)],
        (3, 0): [(9, None, 50.0), (7, 1, 3.0)],
    }
    with pytest.raises(PayloadError, match="unsupported-format"):
        read_all(b"", 11542, NOW)


# the table of objects


def test_the_points_of_the_table_have_names_of_their_own():
    names = [resource.name for _, _, resource in known_points()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_energies_are_counters_and_texts_are_no_points():
    for _, _, resource in known_points():
        assert (resource.kind is Kind.COUNTER) == (".h" in resource.unit)
        assert resource.type is not Type.TEXT


def test_the_three_phase_meter_as_the_registry_has_it():
    meter = resources_of(10_242)
    assert sorted(meter) == list(range(51))
    assert meter[4][:3] == ("voltage_l1", Type.FLOAT, "V")
    assert meter[15].name == "current_l2"
    assert meter[31].name == "power_factor_l3"
    assert meter[34][:3] == ("total_active_power", Type.FLOAT, "kW")
    assert meter[40].name == "total_cos_phi"
    assert meter[41] == objects.Resource("total_active_energy", Type.FLOAT, "kW.h", Kind.COUNTER)
    assert (meter[49].name, meter[50].name) == ("frequency", "current_n")


def test_an_object_that_is_not_in_the_table_has_what_ipso_reuses():
    assert resources_of(3311)[5850].name == "o3311_on"
    assert resources_of(3311)[5701].name == ""


# from items to samples


def samples(watch, *parts):
    payload = b"".join(encode(Tag.RESOURCE, at, content) for at, content in parts)
    return watch.samples(read(watch.path, payload, 11542, NOW))


def test_the_unit_is_the_devices_and_stays():
    watch = Watch((3303, 1))
    assert samples(watch, (5700, FLOAT))[0][:4:3] == ("temperature.1", "Cel")
    assert samples(watch, (5700, FLOAT), (5701, b"[degF]"))[0].unit == "[degF]"
    assert samples(watch, (5700, FLOAT))[0].unit == "[degF]"
    assert samples(watch, (5700, FLOAT), (5701, "°C".encode()))[0].unit == "Cel"


def test_the_time_of_measurement_is_taken_once_the_devices_clock_is_set():
    watch = Watch(TEMPERATURE)
    told = samples(watch, (5700, FLOAT), (5518, (1_700_000_000).to_bytes(4)), (6050, struct.pack(">f", 0.5)))
    assert told[0].time_ns == 1_700_000_000_500_000_000
    for unset in (0, 5000):
        assert samples(watch, (5700, FLOAT), (5518, unset.to_bytes(4)))[0].time_ns is None
    assert samples(watch, (5700, FLOAT), (5518, (2**62).to_bytes(8)))[0].time_ns is None
    assert samples(watch, (5700, FLOAT), (5518, b"abc"))[0].time_ns is None


@pytest.mark.parametrize(("told", "flags"), [(0, 0), (1, q.INVALID), (2, q.QUESTIONABLE), (3, q.QUESTIONABLE), (4, 0)])
def test_the_devices_own_judgement_becomes_quality(told, flags):
    assert samples(Watch(TEMPERATURE), (5700, FLOAT), (6042, bytes([told])))[0].flags == flags


def test_point_names():
    assert point_name("supply_voltage", 0, 0) == "supply_voltage"
    assert point_name("supply_voltage", 0, 1) == "supply_voltage-1"
    assert point_name("temperature", 2, None) == "temperature.2"


# registrations


def test_what_is_offered():
    links = parse_links(
        b'</>;rt="oma.lwm2m";ct=11543,</1/0>,</3/0>,</3303>;ver=1.1,</3303/0>,</3303/0>,</x>,</3303/0/1>'
    )
    assert offered(links) == ("", ((1, 0), (3, 0), (3303, 0)))
    links = [Link("/lwm2m", (("rt", "oma.lwm2m"),)), Link("/lwm2m/3303/7"), Link("/3303/8")]
    assert offered(links) == ("/lwm2m", ((3303, 7),))


@given(st.lists(st.builds(Link, st.text(max_size=30))))
def test_any_targets_are_objects_or_passed_over(links):
    _, found = offered(links)
    assert all(0 <= part < 65_536 for path in found for part in path)


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ({"lt": "60", "lwm2m": "1.0", "b": "U"}, (60, "1.0", False)),
        ({"lt": "60", "lwm2m": "1.0", "b": "UQ"}, (60, "1.0", True)),
        ({"lwm2m": "1.1", "b": "U", "Q": ""}, (None, "1.1", True)),
        ({"lwm2m": "1.1", "Q": ""}, (None, "1.1", True)),
        ({"lwm2m": "1.0.0"}, (None, "1.0.0", None)),
        ({}, (None, None, None)),
        ({"b": "UQS", "sms": "491"}, (None, None, True)),
    ],
)
def test_the_terms_of_a_registration(query, terms):
    assert terms_of(query) == terms


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"lt": "-1"}, "bad-registration"),
        ({"lt": "9" * 11}, "bad-registration"),
        ({"lt": "٣"}, "bad-registration"),
        ({"lwm2m": "2.0"}, "unsupported-version"),
        ({"lwm2m": ""}, "unsupported-version"),
        ({"b": "S"}, "bad-registration"),
        ({"b": "U" * 20}, "bad-registration"),
    ],
)
def test_terms_that_are_refused(query, reason):
    with pytest.raises(PayloadError) as caught:
        terms_of(query)
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "a\x00"])
def test_names_that_are_refused(name):
    with pytest.raises(PayloadError, match="bad-registration"):
        endpoint_of({"ep": name})


def test_a_device_is_named_by_its_endpoint():
    assert device_name("{ep}", "urn:dev:os:0023C7-1") == "urn-dev-os-0023C7-1"
    assert device_name("park-{ep}", "ä/#7") == "park----7"
    with pytest.raises(PayloadError, match="too long"):
        device_name("{ep}", "x" * 129)


def test_infinities_are_passed_on_for_the_point_to_judge():
    found = read(TEMPERATURE, encode(Tag.RESOURCE, 5700, struct.pack(">d", math.inf)), 11542, NOW)
    assert value(found, 5700) == math.inf
    assert contents.TLV == 11_542
