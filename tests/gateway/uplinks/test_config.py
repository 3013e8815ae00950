"""What uplink options refuse."""

import pytest

from gateway.errors import FieldError
from gateway.units import Duration
from gateway.uplinks.config import (
    UPLINKS,
    FileUplinkConfig,
    HttpUplinkConfig,
    KafkaUplinkConfig,
    MqttUplinkConfig,
    NatsUplinkConfig,
    StdoutUplinkConfig,
    WebhookUplinkConfig,
)
from gateway.uplinks.sparkplug.config import SparkplugUplinkConfig

URL = "mqtt://127.0.0.1:1883"


@pytest.mark.parametrize("url", ["mqtt://h", "mqtts://h:8883", "mqtt://h:1883/", "mqtt://[::1]:1883"])
def test_urls_of_brokers(url):
    assert MqttUplinkConfig(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:1883",
        "http://h",
        "mqtt://",
        "mqtt://h:0",
        "mqtt://h:99999",
        "mqtt://h:x",
        "mqtt://h/topic",
        "mqtt://[::1",
        "mqtt://u:p@h",
    ],
)
def test_urls_that_are_none(url):
    with pytest.raises(FieldError) as caught:
        MqttUplinkConfig(url=url)
    assert caught.value.field == ("url",)


@pytest.mark.parametrize("topic", ["{", "}", "x/{}", "x/{0}", "x/{site}", "x/{gateway.name}", "x/{gateway[0]}"])
def test_topics_that_name_what_there_is_not(topic):
    with pytest.raises(FieldError) as caught:
        MqttUplinkConfig(url=URL, topic=topic)
    assert caught.value.field == ("topic",)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"cert": "a.pem"}, "cert"),
        ({"key": "a.pem"}, "key"),
        ({"timeout": Duration(0)}, "timeout"),
        ({"keepalive": Duration(0)}, "keepalive"),
    ],
)
def test_options_that_make_no_link(options, field):
    with pytest.raises(FieldError) as caught:
        MqttUplinkConfig(url=URL, **options)
    assert caught.value.field == (field,)


def test_every_uplink_of_the_list_can_be_made():
    examples = [
        MqttUplinkConfig(url=URL),
        NatsUplinkConfig(url="nats://127.0.0.1"),
        SparkplugUplinkConfig(url=URL, group="G"),
        HttpUplinkConfig(url="http://127.0.0.1/in"),
        KafkaUplinkConfig(servers=["127.0.0.1:9092"]),
        FileUplinkConfig(path="x"),
        StdoutUplinkConfig(),
        WebhookUplinkConfig(url="http://127.0.0.1/in"),
    ]
    assert [type(example) for example in examples] == list(UPLINKS)
    assert len({type(example.create()) for example in examples}) == len(UPLINKS)
