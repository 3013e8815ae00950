"""Topics that no subscription takes: what is proposed for them."""

from __future__ import annotations

import json

import cbor2
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.decode import Decoder
from adapters.mqtt.finder import MAX_SHAPES, QUIET_TICKS
from adapters.payloads.infer import Guess, infer
from gateway.errors import FieldError
from tests.adapters.mqtt.support import batch, mqtt_config
from tests.adapters.mqtt.test_codecs import CASES
from tests.support.context import RecordingContext
from tests.support.malformed import survives

TS = 1_767_225_600_123


def found(*messages, discover=("site/#",)):
    """What is found, and the context."""
    ctx = RecordingContext("bus")
    config = mqtt_config({"topic": "site/{device}/known", "points": {"v": {}}}, discover=list(discover))
    decoder = Decoder(config, ctx.points, ctx.stats.reasons, ctx)
    assert decoder.asks() == [(text, 0) for text in discover]
    for message in messages:
        assert len(decoder.frame(batch(message))) == 0
    for _ in range(QUIET_TICKS + 1):
        decoder.tick(0)
    return ctx


def entries(ctx):
    return [one.config["adapters"]["bus"]["subscribe"][0] if one.config else None for one in ctx.findings]


def test_topics_of_one_shape_are_one_subscription():
    payload = json.dumps({"ts": TS, "voltage": 230.5, "mode": "auto"})
    ctx = found(("site/m1/t", payload), ("site/m2/t", payload), ("site/m3/t", payload))
    (finding,) = ctx.findings
    assert (finding.kind, finding.device) == ("mqtt-topic", "m1")
    assert finding.address == "mqtt://127.0.0.1:1883/site/{device}/t"
    assert finding.offers == ("json", "voltage", "mode")
    assert entries(ctx) == [{"topic": "site/{device}/t", "payload": "json", "time": "ts"}]
    assert not ctx.stats.reasons


def test_plain_values_have_a_point_in_their_topic():
    sent = [(f"site/m{device}/{point}", "21.5") for device in range(3) for point in ("t", "h")]
    assert entries(found(*sent)) == [{"topic": "site/{device}/{point}", "payload": "text"}]
    assert entries(found(("site/m1/t", "5"), ("site/m1/h", "5"))) == [
        {"topic": "site/m1/{point}", "payload": "text", "device": "m1"}
    ]
    assert entries(found(("site/m1/t", "5"))) == [
        {"topic": "site/m1/t", "payload": "text", "device": "m1", "points": {"t": {}}}
    ]


def test_what_differs_in_more_than_one_level_or_in_content_is_told_apart():
    ctx = found(("site/a/x", '{"v": 1}'), ("site/b/y", '{"v": 1}'), ("site/a/z", '{"w": 1}'))
    assert [entry["topic"] for entry in entries(ctx)] == ["site/a/x", "site/b/y", "site/a/z"]
    assert [entry["device"] for entry in entries(ctx)] == ["a", "b", "a"]


def test_only_what_is_looked_for_and_not_known_is_told():
    ctx = found(("site/m1/known", "{}"), ("other/m1", "5"), ("site/m1/empty", b""), ("spBv1.0/g/NDATA/e", b"\x08\x01"))
    assert ctx.findings == []
    assert ctx.stats.reasons == {"unmatched": 2}


def test_what_cannot_be_said_has_no_subscription():
    ctx = found(("site/m1/raw", b"\x01\xff\xfe"), ("site/{x}/t", "5"))
    assert entries(ctx) == [None, None]


def test_shapes_are_bounded():
    ctx = found(*((f"site/{n}/x/{n}", json.dumps({f"k{n}": n})) for n in range(MAX_SHAPES + 50)))
    assert len(ctx.findings) == MAX_SHAPES


@pytest.mark.parametrize(("options", "seed"), CASES)
def test_what_is_proposed_can_be_loaded_and_read(options, seed):
    ctx = found(("site/m1/t", seed))
    (entry,) = entries(ctx)
    if entry is None:
        assert options["payload"] == "bytes"
        return
    decoder = Decoder(mqtt_config(entry), ctx.points, ctx.stats.reasons)
    assert len(decoder.frame(batch(("site/m1/t", seed))))
    assert not ctx.stats.reasons


@pytest.mark.parametrize(
    ("payload", "guess"),
    [
        (b"21.5", Guess("text", {}, ("a value",))), (b" on ", Guess("text", {}, ("text on",))), (b"", None),
        (b'{"a": {"b": 1}}', Guess("json", {"points": {"a-b": {"value": "/a/b"}}}, ("a.b",))),
        (cbor2.dumps({"v": 1}), Guess("cbor", {}, ("v",))), (msgpack.packb({"v": 1}), Guess("msgpack", {}, ("v",))),
        (b'[{"v": 1}]', Guess("json", {"records": "$[*]"}, ("v",))),
        (b'[{"n": "t", "v": 1}]', Guess("senml", {}, ("t",))),
        (b"2;2,5", Guess("csv", {"columns": ["c1", "c2"], "separator": ";", "decimal": ","}, ("c1", "c2"))),
        (b"1767225600,5", Guess("csv", {"columns": ["c1", "c2"], "time": "c1"}, ("c1", "c2"))),
        (b"\x01\xff", Guess("bytes", {}, ("2 bytes",))),
    ],
)  # fmt: skip
def test_guesses(payload, guess):
    assert infer(payload) == guess


@given(st.binary(max_size=100))
def test_any_payload_is_guessed_at(payload):
    found = infer(payload)
    assert found is None or found.payload in {"json", "cbor", "msgpack", "senml", "csv", "text", "bytes"}


def test_malformed_payloads_are_guessed_at():
    survives(infer, [seed for _, seed in CASES])


@pytest.mark.parametrize(
    ("filters", "why"), [(["a/#/b"], "last level"), (["{x}/#"], "named parts"), (["x/+"], "already")]
)
def test_a_filter_that_finds_nothing_is_refused(filters, why):
    with pytest.raises(FieldError, match=why) as raised:
        mqtt_config({"topic": "x/{device}"}, discover=filters)
    assert raised.value.field == ("discover", 0)
