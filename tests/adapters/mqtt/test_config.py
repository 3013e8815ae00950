from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from adapters.mqtt.config import MqttConfig, address
from gateway.errors import FieldError
from gateway.units import decode_quantity
from tests.adapters.mqtt.support import mqtt_config

JSON = {"topic": "site/{device}/t"}


def test_defaults():
    config = mqtt_config(JSON)
    assert config.version == "3.1.1"
    assert config.subscribe[0].qos == 1
    assert not config.session.clean
    assert config.max_payload == 256 * 1024


def test_devices_are_those_named_without_a_part_of_the_topic():
    config = mqtt_config(JSON, {"topic": "a/b", "device": "roof"}, {"topic": "x/{y}", "device": "x-{y}"})
    assert config.devices_named() == ("roof",)


@pytest.mark.parametrize(
    ("entry", "field", "why"),
    [
        ({"topic": "a/b"}, "device", "no {device} part"),
        ({"topic": "a/{area}", "device": "{place}"}, "device", "no part {place}"),
        ({"topic": "a/{area}", "device": "x y"}, "device", "letters"),
        ({"topic": "a/#/{device}"}, "topic", "last level"),
        ({"topic": "a/{device}", "qos": 2}, "qos", "QoS 2"),
        ({"topic": "a/{device}/{point}"}, "topic", "{point}"),
        ({"topic": "a/{device}", "payload": "text"}, "points", "one value"),
        ({"topic": "{device}/{point}", "payload": "text", "time": "ts"}, "time", "no time"),
        ({"topic": "{device}", "time": "/a~2"}, "time", "~"),
    ],
)
def test_a_wrong_subscription_is_refused_at_its_field(entry, field, why):
    with pytest.raises(FieldError) as caught:
        mqtt_config(entry)
    assert caught.value.field[0] == field
    assert why in str(caught.value)


BYTES = {"topic": "{device}", "payload": "bytes"}
CSV = {"topic": "{device}", "payload": "csv", "columns": ["ts", "v"]}


@pytest.mark.parametrize(
    ("entry", "field", "why"),
    [
        ({**JSON, "columns": ["a"]}, ("columns",), "other payloads than json"),
        ({**JSON, "length": 4}, ("length",), "other payloads than json"),
        ({**JSON, "device_from": "id"}, ("device_from",), "{device} part already"),
        ({"topic": "x", "device_from": "id", "device": "y"}, ("device",), "leaves out"),
        ({**JSON, "point_from": "n"}, ("value_from",), "go together"),
        ({**JSON, "records": "$.a[*].b"}, ("records",), "is not a path"),
        ({**JSON, "time": "t[*]"}, ("time",), "columns"),
        ({**JSON, "time": "t[*]", "points": {"v": {}}}, ("points", "v", "value"), "end in [*]"),
        ({**JSON, "points": {"v": {"value": "v[*]"}}}, ("points", "v", "value"), "end in [*]"),
        ({**JSON, "points": {"v": {"at": 1}}}, ("points", "v"), "payload: bytes"),
        ({**JSON, "labels": {"x": "{y}"}}, ("labels", "x"), "no part {y}"),
        ({**JSON, "labels": {"x": "prop:"}}, ("labels", "x"), "prop:NAME"),
        (BYTES, ("points",), "say where they are"),
        ({**BYTES, "points": {"v": {}}}, ("points", "v", "at"), "at: 0"),
        ({**BYTES, "points": {"v": {"at": 0}}}, ("points", "v", "as"), "is not a type"),
        ({**BYTES, "points": {"v": {"value": "@0 uint8", "scale": 2}}}, ("points", "v", "value"), "either"),
        ({**BYTES, "points": {"v": {"value": "0"}}}, ("points", "v", "value"), "not a field"),
        ({**BYTES, "points": {"v": {"at": 0, "as": "uint16"}}, "length": 1}, ("length",), "behind the end"),
        ({**BYTES, "points": {"v": {"at": 0, "as": "uint16"}}, "time": "ts"}, ("time",), "not a field"),
        ({**CSV, "columns": []}, ("columns",), "in their order"),
        ({**CSV, "columns": ["v", "v"]}, ("columns",), "twice"),
        ({**CSV, "time": "t"}, ("time",), "no column 't'"),
        ({**CSV, "points": {"w": {}}}, ("points", "w"), "no column 'w'"),
        ({**CSV, "decimal": ","}, ("separator",), "decimal sign"),
        ({"topic": "{device}", "payload": "senml", "device_from": "n"}, ("device_from",), "already"),
        ({"topic": "x", "payload": "senml", "device_from": "n"}, ("device_from",), "bn"),
        ({"topic": "x/{device}", "payload": "senml", "time": "t"}, ("time",), "itself"),
        ({"topic": "homeassistant/{x}/#", "payload": "home-assistant"}, ("topic",), "homeassistant/#"),
        ({"topic": "homeassistant/#", "payload": "home-assistant", "device": "{x}"}, ("device",), "{x}"),
        ({"topic": "ha/#", "payload": "home-assistant", "points": {"v": {}}}, ("points",), "themselves"),
    ],
)
def test_what_does_not_go_together_is_refused_at_its_field(entry, field, why):
    with pytest.raises(FieldError) as caught:
        mqtt_config(entry)
    assert caught.value.field == field
    assert why in str(caught.value)


def test_something_has_to_be_subscribed_to():
    with pytest.raises(FieldError, match="name a topic"):
        MqttConfig(url="mqtt://x")
    assert MqttConfig(url="mqtt://x", discover=["site/#"]).subscribe == []


def test_a_wrong_pointer_is_refused_at_its_point():
    with pytest.raises(FieldError) as caught:
        mqtt_config({**JSON, "points": {"v": {"value": "/a~b"}}})
    assert caught.value.field == ("points", "v", "value")
    with pytest.raises(FieldError) as caught:
        mqtt_config({"topic": "{device}", "payload": "text", "points": {"v": {"value": "x"}}})
    assert caught.value.field == ("points", "v", "value")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "http://x"}, "url"),
        ({"url": "mqtt://"}, "url"),
        ({"url": "mqtt://x:0"}, "url"),
        ({"url": "mqtt://x:99999"}, "url"),
        ({"url": "mqtt://u:p@x"}, "url"),
        ({"url": "mqtt://x/path"}, "url"),
        ({"url": "mqtt://x?a=b"}, "url"),
        ({"url": "ws://u:p@x/mqtt"}, "url"),
        ({"url": "ws://x/mqtt#f"}, "url"),
        ({"url": "ws://x/mqtt", "ca": "c"}, "ca"),
        ({"url": "wss://x", "ca": ""}, "ca"),
        ({"url": "mqtts://x", "key": "k"}, "key"),
        ({"state_topic": "a/+"}, "state_topic"),
        ({"state_topic": "a/{uplink}"}, "state_topic"),
        ({"state_topic": "a/{"}, "state_topic"),
        ({"linger": "2s"}, "linger"),
        ({"receive_maximum": 10}, "receive_maximum"),
        ({"topic_alias_maximum": 10}, "topic_alias_maximum"),
        ({"url": "mqtts://x", "cert": "c"}, "cert"),
        ({"ca": "c"}, "ca"),
        ({"keepalive": 0}, "keepalive"),
        ({"timeout": 0}, "timeout"),
        ({"max_payload": 0}, "max_payload"),
        ({"password": "x"}, "password"),
    ],
)
def test_wrong_options_are_refused_at_their_field(options, field):
    with pytest.raises(FieldError) as caught:
        mqtt_config(JSON, **options)
    assert caught.value.field == (field,)


def test_what_needs_mqtt_5_says_so():
    for entry in ({**JSON, "share": "g"}, {**JSON, "labels": {"line": "prop:line"}}):
        with pytest.raises(FieldError, match='version: "5"') as caught:
            mqtt_config(JSON, {**entry, "topic": "b/{device}"})
        assert caught.value.field[:2] == ("subscribe", 1)
        mqtt_config(entry, version="5", receive_maximum=10, topic_alias_maximum=10)
    with pytest.raises(FieldError, match="topic and share"):
        mqtt_config({"topic": "$share/g/{device}"})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://h", ("h", 1883, False, "", "h")),
        ("mqtts://[::1]", ("::1", 8883, True, "", "[::1]")),
        ("ws://h:9001", ("h", 9001, False, "/mqtt", "h:9001")),
        ("wss://h/a/b?token=x", ("h", 443, True, "/a/b?token=x", "h")),
    ],
)
def test_where_a_broker_is(url, expected):
    mqtt_config(JSON, url=url)
    assert address(url) == expected


def test_two_subscriptions_to_the_same_topics_are_refused():
    with pytest.raises(FieldError, match="same topics") as caught:
        mqtt_config({"topic": "a/{device}"}, {"topic": "a/{x}", "device": "{x}"})
    assert caught.value.field == ("subscribe", 1, "topic")


def test_types_and_unknown_keys_are_refused():
    for options in ({"version": "4"}, {"subscribe": []}, {"qos": 1}):
        data = {"type": "mqtt", "url": "mqtt://x", "subscribe": [JSON], **options}
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(data, MqttConfig, dec_hook=decode_quantity)


def test_options_load_without_the_protocol_library():
    code = "import sys, adapters.mqtt.config; sys.exit('gmqtt' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
