"""Keys in the configuration: what is wrong is said when it is read, and no secret is in what is said."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.options.credentials import Algorithm, OscoreOptions, PskOptions, secret_bytes
from gateway.errors import FieldError
from tests.adapters.coap.oscore_peers import KEY, SECRET
from tests.adapters.coap.peers import configured

PSK = {"identity": "gw", "key": "text:secretPSK"}
POLL = {"poll": {"t": "/t"}}


def oscore(**options):
    return {"oscore": KEY | options}


def device(url="coap://10.0.0.9", security="k"):
    return {"url": url, "security": security} | POLL


def test_secrets_are_hex_base64_or_text():
    assert secret_bytes("00ff") == b"\0\xff"
    assert secret_bytes("AP/+") == b"\0\xff\xfe"
    assert secret_bytes("text:00ff") == b"00ff"
    assert secret_bytes("") == b""


@given(text=st.text(max_size=40))
def test_any_text_is_a_secret_or_an_error_without_it(text):
    try:
        secret_bytes(text)
    except ValueError as error:
        assert len(text) < 4 or text not in str(error)


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"secret": "xyz!"}, "secret", "neither hex nor base64"),
        ({"secret": "0102"}, "secret", "2 bytes; 16 to 64"),
        ({"salt": "??"}, "salt", "neither hex nor base64"),
        ({"sender": "1"}, "sender", 'two digits a byte, in quotes: "01"'),
        ({"recipient": "0x"}, "recipient", "is not hex"),
        ({"recipient": "01"}, "recipient", "the same as sender"),
        ({"sender": "00" * 8}, "sender", "at most 7 bytes with AES-CCM-16-64-128"),
        ({"sender": "00" * 7, "algorithm": "A128GCM"}, "sender", "at most 6 bytes"),
        ({"sender": "0000", "algorithm": "AES-CCM-64-64-128"}, "sender", "at most 1 byte"),
        ({"id_context": "00" * 65}, "id_context", "at most 64 bytes"),
        ({"window": 0}, "window", "between 1 and 1024"),
    ],
)
def test_a_bad_context_says_what_is_expected(options, field, message):
    given_options = KEY | options
    given_options["algorithm"] = Algorithm(given_options.get("algorithm", "AES-CCM-16-64-128"))
    with pytest.raises(FieldError, match=message) as caught:
        OscoreOptions(**given_options)
    assert caught.value.field == (field,)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"identity": ""}, "identity", "1 to 128 bytes"),
        ({"identity": "a\0b"}, "identity", "none of them zero"),
        ({"identity": "x" * 129}, "identity", "1 to 128 bytes"),
        ({"key": "secretPSK"}, "key", 'write the characters themselves as "text:'),
        ({"key": "0102"}, "key", "2 bytes; 8 to 64"),
    ],
)
def test_a_bad_psk_says_what_is_expected(options, field, message):
    with pytest.raises(FieldError, match=message) as caught:
        PskOptions(**PSK | options)
    assert caught.value.field == (field,)
    assert "secretPSK" not in str(caught.value)


def test_secrets_are_not_shown():
    shown = f"{configured(security={'k': oscore(), 'p': {'psk': PSK}}, devices={'d': device()})!r}"
    assert "'01'" in shown
    assert SECRET not in shown
    assert "secretPSK" not in shown


SERVED = {"/p/{device}": {"security": ["k"]}}


@pytest.mark.parametrize(
    ("security", "options", "message"),
    [
        ({"k": {}}, {"devices": {"d": device()}}, 'one of the two: "oscore" or "psk"'),
        ({"k": oscore() | {"psk": PSK}}, {"devices": {"d": device()}}, "one of the two"),
        ({"k": oscore() | {"device": "a b"}}, {"devices": {"d": device()}}, "letters, digits"),
        ({"plant": oscore()}, {"devices": {"d": device(security="plnat")}}, "did you mean 'plant'"),
        ({}, {"devices": {"d": device("coaps://h", "")}}, "coaps:// needs a key"),
        ({"k": oscore()}, {"devices": {"d": device("coaps://h")}}, "goes with coap://"),
        ({"k": {"psk": PSK}}, {"devices": {"d": device()}}, "write coaps://"),
        (
            {"k": oscore(), "l": oscore(recipient="09")},
            {"devices": {"d": device()}},
            "the same secret, salt and sender as k",
        ),
        ({"k": oscore()}, {"devices": {"d": device(), "e": device("coap://other")}}, "an OSCORE key of its own"),
        ({}, {"serve": {"resources": SERVED}}, "there is no key 'k'"),
        ({"k": {"psk": PSK}}, {"serve": {"resources": SERVED}}, "give serve.secure_listen"),
        (
            {"k": oscore(), "l": oscore(sender="05")},
            {"serve": {"resources": SERVED, "security": ["l"]}},
            "l and k have the same recipient",
        ),
        (
            {"k": {"psk": PSK}, "l": {"psk": PSK}},
            {"serve": {"resources": SERVED, "secure_listen": "0.0.0.0:5684", "security": ["l"]}},
            "l and k have the same identity",
        ),
        ({"k": oscore()}, {"serve": {"resources": SERVED, "secure_listen": "0.0.0.0:5684"}}, "nobody could come in"),
        ({"k": oscore()}, {"serve": {"resources": SERVED, "secure_listen": "5684"}}, "is not an address"),
    ],
)
def test_what_cannot_work_together_is_refused(security, options, message):
    with pytest.raises(msgspec.ValidationError, match=message) as caught:
        configured(security=security, **options)
    assert SECRET not in str(caught.value)


def test_what_works_together_is_taken():
    config = configured(
        security={"k": oscore(), "l": oscore(sender="07", recipient="08"), "p": {"psk": PSK, "device": "e"}},
        devices={"d": device(), "also-d": device(), "e": device("coaps://10.0.0.10", "p")},
        serve={"resources": SERVED, "secure_listen": "[::]:0", "security": ["l", "p"]},
    )
    assert config.security["p"].device == "e"
