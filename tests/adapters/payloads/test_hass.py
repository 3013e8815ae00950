import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payloads.hass import is_config, read_config, slug
from adapters.payloads.hass_template import Template, parse_template, render
from adapters.payloads.hass_units import ucum
from gateway.errors import PayloadError
from gateway.point import Kind
from tests.support.malformed import survives

SENSOR = {
    "~": "tele/a1", "name": "Power", "stat_t": "~/SENSOR", "unit_of_meas": "W",
    "dev_cla": "power", "stat_cla": "measurement",
    "val_tpl": "{{ value_json['ENERGY'].Power | round(1) }}", "exp_aft": 300, "uniq_id": "a1_power",
    "avty": [{"t": "~/LWT", "pl_avail": "Online", "pl_not_avail": "Offline"}],
    "dev": {"ids": ["a1"], "name": "Kitchen plug", "mf": "Tasmota", "mdl": "Plug", "sa": "kitchen"},
}  # fmt: skip
DEVICE = {
    "dev": {"ids": "ea334450945afc", "name": "Kitchen", "mf": "Bla electronics", "mdl": "xya"},
    "o": {"name": "bla2mqtt", "sw": "2.1"},
    "cmps": {
        "t": {"p": "sensor", "device_class": "temperature", "unit_of_measurement": "°C",
              "value_template": "{{ value_json.temperature}}", "unique_id": "temp01ae_t"},
        "h": {"p": "sensor", "unit_of_measurement": "%", "value_template": "{{ value_json.humidity}}"},
        "relay": {"p": "switch", "state_topic": "s/relay"},
        "gone": {"p": "sensor"},
        "restart": {"p": "button", "command_topic": "x"},
        "odd": {"p": "sensor", "value_template": "{% if value %}1{% endif %}"},
    },
    "state_topic": "sensorBedroom/state", "qos": 2,
}  # fmt: skip


def read(rest, message):
    return read_config(rest, json.dumps(message).encode())


def test_an_entity_with_short_keys_and_a_base_topic():
    device = read("sensor/a1_ENERGY_Power/config", SENSOR)
    (entity,) = device.entities
    assert (device.id, device.name, device.identity) == ("a1", "Kitchen_plug", "Tasmota Plug a1")
    assert device.labels == {"name": "Kitchen plug", "model": "Plug", "area": "kitchen"}
    assert (entity.point, entity.unit, entity.kind, entity.topic) == ("ENERGY_Power", "W", Kind.GAUGE, "tele/a1/SENSOR")
    assert entity.template == Template(("ENERGY", "Power"), (("round", 1.0),))
    assert entity.expires_s == 300
    assert [(a.topic, a.online, a.offline) for a in entity.availability] == [("tele/a1/LWT", "Online", "Offline")]


def test_a_device_with_its_components():
    device = read("device/0AFFD2/bla/config", DEVICE)
    assert [(e.point, e.unit, e.topic) for e in device.entities] == [
        ("t", "Cel", "sensorBedroom/state"), ("h", "%", "sensorBedroom/state"), ("switch.relay", "", "s/relay"),
    ]  # fmt: skip
    assert device.entities[2].words == {"OFF": 0.0, "ON": 1.0}
    assert device.left_out == ["button restart"]
    assert [error.reason for error in device.refused] == ["template"]


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"state_class": "total_increasing"}, Kind.COUNTER), ({"state_class": "total"}, Kind.GAUGE),
        ({"device_class": "enum", "options": ["a"]}, Kind.STATE), ({"unit_of_measurement": "V"}, Kind.GAUGE),
        ({}, None),
    ],
)  # fmt: skip
def test_what_kind_of_a_point_an_entity_is(more, kind):
    assert read("sensor/n/o/config", {"state_topic": "a", **more}).entities[0].kind is kind


@pytest.mark.parametrize("topic", ["a/+/b", "#", "$SYS/x", "", 7.5, None, "a\0"])
def test_a_configuration_cannot_ask_for_more_than_a_topic(topic):
    device = read("sensor/n/o/config", {"state_topic": topic})
    assert [error.reason for error in device.refused] == ["bad-config"]


def test_keys_of_a_wrong_type_are_as_if_they_were_not_there():
    keys = (
        "device_class",
        "unit_of_measurement",
        "name",
        "device",
        "expire_after",
        "min",
        "state_class",
        "availability",
    )
    wrong = {key: {"a": [1]} for key in keys} | {"state_topic": "a", "options": 7, "payload_on": []}
    for component in ("sensor", "binary_sensor", "number"):
        message = wrong if component != "sensor" else {**wrong, "availability": 5}
        assert len(read(f"{component}/n/o/config", message).entities) == (component == "sensor")


def test_what_is_a_topic_of_a_configuration():
    assert is_config("sensor/x/config")
    assert is_config("sensor/n/x/config")
    assert not is_config("sensor/n/x/state")
    assert not is_config("sensor/n/m/x/config")
    assert not is_config("status")


@pytest.mark.parametrize(
    ("text", "payload", "value"),
    [
        ("", "21.5", "21.5"), ("{{ value }}", " 21.5 ", "21.5"), ("{{value|float}}", "21.5", 21.5),
        ("{{ value_json.a.b }}", {"a": {"b": 1}}, 1), ("{{ value_json['a b'][0] }}", {"a b": [5]}, 5),
        ('{{- value_json["a"] | int -}}', {"a": 5.7}, 5.0), ("{{ value_json.a | round(1) }}", {"a": 1.26}, 1.3),
        ("{{ value_json.a | float(0) | round }}", {"a": "x"}, 0),
        ("{{ value_json.a | is_defined }}", {"a": True}, True),
        ("{{ value_json }}", 7, 7), ("{{ value | int(-1) }}", "x", -1.0),
    ],
)  # fmt: skip
def test_templates_that_pick_a_value(text, payload, value):
    document = None if isinstance(payload, str) else payload
    assert render(parse_template(text), payload if isinstance(payload, str) else "", document) == value


@pytest.mark.parametrize(
    "text",
    [
        "{{ value_json.a / 10 }}", "{% set x = 1 %}{{ x }}", "{{ value_json.a }}{{ value }}",
        "{{ value.split() }}", "x",
        "{{ states('sensor.x') }}", "{{ value_json.a if value_json.a else 0 }}", "{{ value_json.a | timestamp }}",
        "{{ value_json.__class__.__mro__() }}", "{{ value_json['a' }}", "{{ " + "value_json" + ".a" * 9999 + " }}",
    ],
)  # fmt: skip
def test_templates_that_do_more_are_refused(text):
    with pytest.raises(PayloadError) as raised:
        parse_template(text)
    assert raised.value.reason == "template"


@given(st.text(max_size=60))
def test_any_template_is_one_or_refused(text):
    try:
        assert isinstance(parse_template(text), Template)
    except PayloadError as error:
        assert error.reason == "template"


def test_units_are_ucum_or_annotations():
    assert [ucum(unit) for unit in ("°C", "kWh", "%", "m³/h", "", "beats", "µg/m³")] == [
        "Cel", "kW.h", "%", "m3/h", "", "{beats}", "ug/m3",
    ]  # fmt: skip


@given(st.text(max_size=300))
def test_a_slug_is_part_of_a_name_or_nothing(text):
    made = slug(text)
    assert len(made) <= 128
    assert all(char.isascii() and (char.isalnum() or char in "._-") for char in made)


def test_malformed_configurations_are_read_or_refused():
    seeds = [json.dumps(one).encode() for one in (SENSOR, DEVICE)]
    assert survives(lambda payload: read_config("device/n/o/config", payload), seeds)
    assert survives(lambda payload: read_config("sensor/n/o/config", payload), seeds)
    assert survives(
        lambda text: parse_template(text.decode(errors="replace")), [b"{{ value_json['a'].b[0] | round(1) }}"]
    )
    with pytest.raises(PayloadError):
        read_config("sensor/o/config", b'{"dev":' * 100_000)
