from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from adapters.mqtt.config import MqttConfig
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
