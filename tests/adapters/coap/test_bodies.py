"""Bodies in blocks: what strangers can make the server hold."""

import random

import aiocoap
import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.serving.blocks import MAX_BODIES, Assembly, Block, BusyError, IncompleteError, TooLargeError
from gateway import quality as q
from tests.adapters.coap.peers import adapter_of, configured, pushing
from tests.adapters.coap.raw import packet, raw_peer

SERVE = {"listen": "127.0.0.1:0", "resources": {"/any/{device}": {}}, "max_payload": "64KiB"}


def begin(mid, number=0, payload=bytes(1024), size1=None):
    return packet("/any/d", payload, mid=mid, block1=(number, True, 6), size1=size1)


async def test_a_flood_of_transfers_that_nobody_ends_is_bounded_and_lets_others_through(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        assembly = adapter._site._bodies.assembly
        answers = set()
        for n in range(200):  # as if each came from an address of its own
            with raw_peer(adapter.port) as stranger:
                answers.add(str((await stranger.ask(begin(n, size1=60_000))).code))
                answers.add(str((await stranger.ask(begin(n + 1000, 1))).code))
        assert answers == {"2.31 Continue", "5.03 Service Unavailable", "4.08 Request Entity Incomplete"}
        assert len(assembly) == MAX_BODIES
        assert assembly.held <= MAX_BODIES * 2048  # what came, not what was announced
        for key, body in list(assembly._bodies.items()):  # five seconds later
            assembly._bodies[key] = body._replace(deadline_s=body.deadline_s - 5)
        async with pushing(adapter.port) as push:
            assert (await push("/any/d", b'{"t": 1' + b" " * 5000 + b"}", 50)).code == aiocoap.CHANGED
    assert [value for _, value, word in ctx.samples("d/t") if word == q.GOOD] == [1.0]
    assert ctx.stats.reasons["busy"] > 100


async def test_what_is_announced_as_too_large_is_refused_at_once(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        with raw_peer(adapter.port) as peer:
            answer = await peer.ask(begin(1, size1=65_537))
            assert (answer.code, answer.opt.size1) == (aiocoap.REQUEST_ENTITY_TOO_LARGE, 65_536)
            assert (await peer.ask(begin(2, size1=2**32 - 1))).code == aiocoap.REQUEST_ENTITY_TOO_LARGE
        assert len(adapter._site._bodies.assembly) == 0
    assert [reason for reason, where, _, _ in ctx.rejected] == ["too-large", "too-large"]
    assert ctx.rejected[0][1] == "/any/d"


async def test_a_lie_about_the_size_is_found_out(ctx):
    async with adapter_of(ctx, serve=SERVE | {"max_payload": "4KiB"}) as adapter:
        with raw_peer(adapter.port) as peer:
            codes = [str((await peer.ask(begin(n, n, size1=100))).code)[:4] for n in range(6)]
        assert codes == ["2.31"] * 4 + ["4.13", "4.08"]
        assert adapter._site._bodies.assembly.held == 0


async def test_two_transfers_of_one_peer_to_different_queries_do_not_mix(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        with raw_peer(adapter.port) as peer:
            for mid, query in ((1, "a"), (2, "b")):
                first = packet("/any/d", b'{"x": 1,        ', mid=mid, query=[query], block1=(0, True, 0))
                assert str((await peer.ask(first)).code) == "2.31 Continue"
            last = packet("/any/d", b'"y": 2}', mid=3, query=["a"], block1=(1, False, 0), content_format=50)
            assert (await peer.ask(last)).code == aiocoap.CHANGED
            assert len(adapter._site._bodies.assembly) == 1


async def test_rejected_pushes_are_kept_for_looking_at(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter, pushing(adapter.port) as push:
        await push("/any/d", b"{", 50)
        await push("/any/d", b"\x01", 42)
    assert [(reason, where, payload) for reason, where, payload, _ in ctx.rejected] == [
        ("unparsable", "/any/d", b"{"), ("unsupported-format", "/any/d", b"\x01"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [
        (50, b'{"t": 1.5}'),
        (60, cbor2.dumps({"t": 1.5})),
        (110, b'[{"n":"t","v":1.5}]'),
        (112, cbor2.dumps([{0: "t", 2: 1.5}])),
        (None, b'{"t": 1.5}'),
    ],
)
@pytest.mark.parametrize("reliable", [True, False])
@pytest.mark.parametrize("code", [aiocoap.POST, aiocoap.PUT])
async def test_all_formats_with_and_without_confirmation(ctx, content_format, payload, reliable, code):
    tuning = aiocoap.Reliable if reliable else aiocoap.Unreliable
    async with adapter_of(ctx, serve=SERVE) as adapter, pushing(adapter.port) as push:
        response = await push("/any/d", payload, content_format, code, transport_tuning=tuning)
    assert response.code == aiocoap.CHANGED
    assert [value for _, value, word in ctx.samples("d/t") if word == q.GOOD] == [1.5]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 40), st.booleans()), max_size=60))
def test_the_books_of_the_assembly_are_right(blocks):
    """Whatever comes, no more is held than allowed, and what is held is counted."""
    assembly = Assembly(max_body=64, max_bodies=3, max_bytes=150)
    now_s = 0.0
    for key, number, length, more in blocks:
        now_s += random.Random(number).random()
        try:
            body = assembly.feed(key, Block(number * 16, 16, more=more), bytes(length), now_s)
        except (TooLargeError, IncompleteError, BusyError):
            body = None
        assert body is None or len(body) <= 64
        assert len(assembly) <= 3
        assert assembly.held == sum(len(entry.content) for entry in assembly._bodies.values()) <= 150


def test_a_body_over_tcp_may_come_in_large_blocks():
    assembly = Assembly(max_body=10_000)
    assert assembly.feed("a", Block(0, 1024, more=True, bert=True), bytes(3072), 0.0) is None
    assert assembly.feed("a", Block(3072, 1024, more=False, bert=True), b"x", 0.0) == bytes(3072) + b"x"
    with pytest.raises(IncompleteError):
        assembly.feed("a", Block(0, 1024, more=True, bert=True), b"", 0.0)


LAYOUT = {
    "/raw/{device}": {
        "payload": "octets",
        "points": {
            "temperature": {"value": "@0 int16 little *0.1", "unit": "Cel"},
            "alarm": {"value": "@2 uint8 bits 3"},
            "mode": {"value": "@3 text:4"},
            "phase": {"value": "@7 uint8 x2", "unit": "A"},
        },
    },
    "/any/{device}": {"points": {"t": {"value": "@0 uint8"}, "u": {}}},
    "/one/{device}/{point}": {"points": {"a": {"value": "@0 uint8"}, "b": {"value": "@1 uint8"}}},
}


async def test_raw_bytes_are_read_by_their_layout(ctx):
    serve = {"listen": "127.0.0.1:0", "resources": LAYOUT}
    async with adapter_of(ctx, serve=serve) as adapter, pushing(adapter.port) as push:
        assert (await push("/raw/d", b"\xff\xff\x08eco\x00\x05\x06")).code == aiocoap.CHANGED
        assert (await push("/any/e", b"\x07", 42)).code == aiocoap.CHANGED
        assert (await push("/any/e", b'{"u": 5}', 50)).code == aiocoap.CHANGED
        assert (await push("/one/f/b", b"\x01\x02", 42)).code == aiocoap.CHANGED
        answer = await push("/raw/d", b"\xff", 42)
        assert (answer.code, answer.payload) == (aiocoap.BAD_REQUEST, b"wrong-length: 1 bytes instead of 9")
        listed = (await push("/.well-known/core?href=/raw*", code=aiocoap.GET)).payload
        assert listed == b'</raw/{device}>;rt="onpath.push";ct="0 50 60 110 112 42"'
    found = {ctx.points.name(point): value for point, value in zip(ctx.frame.point, ctx.frame.value, strict=True)}
    assert found == {"d/temperature": -0.1, "d/alarm": 1.0, "d/mode": 0.0, "e/t": 7.0, "e/u": 5.0, "f/b": 2.0,
                     "d/phase.0": 5.0, "d/phase.1": 6.0}  # fmt: skip
    assert ctx.points.point(ctx.points.find("d/phase.1")).unit == "A"
    assert ctx.points.states(ctx.points.find("d/mode")) == ["eco"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"points": {"t": {}}}, "a field of raw bytes"),
        ({}, "do not name"),
        ({"points": {"t": {"value": "@0 uint8"}}, "time": "/t"}, "stamped when"),
        ({"points": {"t": {"value": "@0 what"}}}, "not a type"),
        ({"points": {"t": {"value": "@0"}}}, "not a field"),
    ],
)
def test_layouts_that_make_no_sense(options, says):
    with pytest.raises(Exception, match=says):
        configured(serve={"resources": {"/raw/{device}": {"payload": "octets"} | options}})
