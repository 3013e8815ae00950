import msgspec
import pytest

from adapters.coap.config import CoapConfig
from gateway.errors import FieldError
from gateway.units import decode_quantity

URL = "coap://127.0.0.1"


def convert(**options):
    return msgspec.convert({"type": "coap", **options}, CoapConfig, dec_hook=decode_quantity)


def device(**options):
    return convert(devices={"s1": {"url": URL, "observe": {"t": "/t"}} | options})


def served(pattern, **options):
    return convert(serve={"listen": "127.0.0.1:0", "resources": {pattern: options}})


@pytest.mark.parametrize(
    "url",
    [
        URL, URL + "/", "coap://10.0.0.9:5683", "coap://[fe80::1]", "coap://[::1]:61616", "coap://sensor-1.local",
        "coap+tcp://10.0.0.9", "coap+tcp://[::1]:61616",
    ],
)  # fmt: skip
def test_addresses_that_are_taken(url):
    assert device(url=url).devices["s1"].url == url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("coaps+tcp://10.0.0.9", "is not there"), ("coap+ws://10.0.0.9", "is not there"), ("", "not a CoAP address"),
        ("http://10.0.0.9", "not a CoAP address"), ("coap://", "not a CoAP address"), ("coap://h:99999", "range"),
        ("coap://h/temp", "paths belong"), ("coap://h?x=1", "paths belong"), ("coap://u@h", "paths belong"),
        ("coap://h:0", "not a CoAP address"), ("coap://[::1", "Invalid IPv6"),
    ],
)  # fmt: skip
def test_addresses_that_are_refused(url, says):
    with pytest.raises((FieldError, msgspec.ValidationError), match=says):
        device(url=url)


@pytest.mark.parametrize(
    "options",
    [
        {"observe": {}}, {"every": "0s"}, {"timeout": 0}, {"refresh": 0}, {"ack_timeout": 0},
        {"max_retransmit": -1}, {"max_retransmit": 21}, {"max_payload": 0}, {"max_payload": "17MiB"},
        {"observe": {"t": "temp"}},
        {"observe": {"t": "/a b"}}, {"observe": {"t": {"path": ""}}}, {"observe": {"a/b": "/t"}},
        {"poll": {"t": "/t"}}, {"observe": {"t": {"path": "/t", "value": "/~"}}}, {"evry": "5s"},
        {"observe": {"t": {"path": "/t", "payload": "xml"}}}, {"observe": {"t": {"path": "/t", "limits": [2, 1]}}},
    ],
)  # fmt: skip
def test_device_options_that_are_refused(options):
    with pytest.raises((FieldError, msgspec.ValidationError)):
        device(**options)


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("/push/{device}", {}), ("/{device}/{point}", {}), ("/boiler", {"device": "boiler"}),
        ("/t/{device}", {"payload": "text", "points": {"t": {}}}), ("/v/{device}/{point}", {"payload": "text"}),
    ],
)  # fmt: skip
def test_patterns_that_are_taken(pattern, options):
    assert pattern in served(pattern, **options).serve.resources


@pytest.mark.parametrize(
    ("pattern", "options"),
    [
        ("push/{device}", {}), ("/push", {}), ("/push/{device}", {"device": "d"}), ("/push/{device}/{device}", {}),
        ("/push/{thing}", {}), ("/push/x{device}", {}), ("/push//{device}", {}), ("/t/{device}", {"payload": "text"}),
        ("/push", {"device": "a/b"}), ("/push/{device}", {"time": "~"}), ("/push/{device}/", {}),
        ("/push/{device}/{point}", {"payload": "senml"}),
    ],
)  # fmt: skip
def test_patterns_that_are_refused(pattern, options):
    with pytest.raises((FieldError, msgspec.ValidationError)):
        served(pattern, **options)


@pytest.mark.parametrize("listen", ["5683", "0.0.0.0", "::1:5683", "0.0.0.0:70000", "a b:1", "[::1]"])
def test_addresses_to_listen_on_that_are_refused(listen):
    with pytest.raises((FieldError, msgspec.ValidationError), match="not an address"):
        convert(serve={"listen": listen, "resources": {"/p/{device}": {}}})


def test_an_adapter_with_nothing_to_do_is_refused():
    with pytest.raises((FieldError, msgspec.ValidationError), match="nothing to do"):
        convert()


def test_devices_named_are_those_that_the_options_name():
    config = convert(
        devices={"s1": {"url": URL, "observe": {"t": "/t"}}},
        serve={"resources": {"/boiler": {"device": "boiler"}, "/push/{device}": {}}},
    )
    assert config.devices_named() == ("s1", "boiler")
