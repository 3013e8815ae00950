"""The options of the LwM2M server: what is taken, and how what is not is refused."""

from __future__ import annotations

import msgspec
import pytest

from adapters.coap.lwm2m.objects import OBJECTS
from adapters.coap.lwm2m.options import Lwm2mOptions
from gateway.units import decode_quantity
from tests.adapters.coap.peers import configured


def options(**given):
    return msgspec.convert(given, Lwm2mOptions, dec_hook=decode_quantity)


def test_all_known_objects_and_all_endpoints_unless_said_otherwise():
    found = options()
    assert found.objects == tuple(OBJECTS)
    assert found.globs == ("*",)
    assert options(endpoints=["a*", "b"]).globs == ("a*", "b")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"objects": []}, "no object"),
        ({"objects": [0]}, "0 is not an object to observe"),
        ({"objects": [65_535]}, "is not an object"),
        ({"endpoints": ""}, "no endpoint"),
        ({"device": "park"}, "holds {ep}"),
        ({"device": "{ep}/x"}, "holds {ep}"),
        ({"min_period": "1500ms"}, "whole seconds"),
        ({"max_period": "2d"}, "at most 1d"),
        ({"min_period": "2m", "max_period": "1m"}, "must not be below"),
        ({"awake": 0}, "more than 0"),
        ({"timeout": 0}, "more than 0"),
        ({"lifetime_max": 0}, "between 1s"),
        ({"max_endpoints": 0}, "between 1"),
        ({"accept": "xml"}, "xml"),
        ({"objets": [3]}, "objets"),
    ],
)
def test_what_is_wrong_is_said(given, said):
    with pytest.raises(msgspec.ValidationError, match=said):
        options(**given)


def test_devices_appear_where_clients_register():
    config = configured(serve={"listen": "127.0.0.1:0", "lwm2m": {}})
    assert config.devices_appear()
    assert config.devices_named() == ()
