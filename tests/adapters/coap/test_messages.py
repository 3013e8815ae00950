"""The message layer: repetitions, Message IDs that begin anew, resets, and bounds."""

import asyncio

import aiocoap
import pytest
from aiocoap.numbers.types import ACK, CON, NON, RST

from adapters.coap import messages
from adapters.coap.messages import few_options, is_busy
from gateway import quality as q
from tests.adapters.coap.peers import adapter_of
from tests.adapters.coap.raw import empty, packet, raw_peer

SERVE = {"listen": "127.0.0.1:0", "resources": {"/v/{device}/{point}": {}}}


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


def layer(adapter):
    return adapter._server.request_interfaces[0].token_interface


async def test_a_repetition_is_answered_again_and_taken_once(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        with raw_peer(adapter.port) as peer:
            first = await peer.ask(packet("/v/d/t", b"1", mid=7))
            again = await peer.ask(packet("/v/d/t", b"1", mid=7))
            assert (first.code, first.mtype, first.mid) == (aiocoap.CHANGED, ACK, 7)
            assert (again.code, again.mtype, again.mid, again.token) == (aiocoap.CHANGED, ACK, 7, b"t")
        with raw_peer(adapter.port) as other:  # the same Message ID from elsewhere is another message
            assert (await other.ask(packet("/v/d/t", b"1", mid=7))).code == aiocoap.CHANGED
    assert values(ctx, "d/t") == [1.0, 1.0]


async def test_a_message_id_that_begins_anew_with_other_content_is_a_new_message(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        with raw_peer(adapter.port) as peer:
            for n in range(3):
                assert (await peer.ask(packet("/v/d/t", b"%d" % n, mid=0))).code == aiocoap.CHANGED
            assert (await peer.ask(packet("/v/d/t", b"2", mid=0, token=b"u"))).token == b"u"
    assert values(ctx, "d/t") == [0.0, 1.0, 2.0, 2.0]


async def test_a_repetition_that_nobody_confirms_is_not_answered(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        with raw_peer(adapter.port) as peer:
            data = packet("/v/d/t", b"1", mid=7, mtype=NON)
            assert (await peer.ask(data)).mtype is NON
            peer.send(data)
            assert (await peer.ask(packet("/v/d/t", b"2", mid=8, mtype=NON))).code == aiocoap.CHANGED
            assert not peer.heard()
    assert values(ctx, "d/t") == [1.0, 2.0]


async def test_what_is_remembered_of_peers_is_bounded(ctx, monkeypatch):
    monkeypatch.setattr(messages, "MAX_RECENT", 50)
    async with adapter_of(ctx, serve=SERVE) as adapter:
        with raw_peer(adapter.port) as peer:
            for mid in range(200):
                await peer.ask(packet("/v/d/t", b"1", mid=mid))
            assert len(layer(adapter)._recent) == 50
            assert len(layer(adapter)._recent_messages) == 0
            await peer.ask(packet("/v/d/t", b"1", mid=199))
            assert len(values(ctx, "d/t")) == 200
            assert ctx.stats.repeated == 0
            await peer.ask(packet("/v/d/t", b"1", mid=0))  # forgotten here, but durable since the start
            assert len(values(ctx, "d/t")) == 200
            assert ctx.stats.repeated == 1


async def test_a_reset_of_any_notification_ends_the_observation(ctx):
    offer = {"/values/{point}": {"points": ["**"], "min_interval": "50ms"}}
    async with adapter_of(ctx, serve=SERVE | {"offer": offer}) as adapter:
        with raw_peer(adapter.port) as device, raw_peer(adapter.port) as peer:
            await device.ask(packet("/v/d/t", b"1", mid=1))
            for mtype in (NON, CON):
                first = await peer.ask(packet("/values/d/t", code=aiocoap.GET, mtype=mtype, observe=0, mid=20 + mtype))
                assert first.opt.observe is not None
                assert len(adapter._site._observers) == 1
                await device.ask(packet("/v/d/t", b"%d" % (5 + mtype), mid=30 + mtype))
                told = await peer.receive()
                assert told.mtype is mtype
                assert told.payload == b"%d" % (5 + mtype)
                peer.send(empty(RST, told.mid))
                await ctx.until(lambda: len(adapter._site._observers) == 0)
                assert not is_busy(adapter._server, adapter._server and next(iter(layer(adapter)._recent))[0])


@pytest.mark.parametrize(
    ("options", "fits"),
    [(b"", True), (b"\x10" * 64, True), (b"\x10" * 65, False), (b"\x11\xff" * 64, True), (b"\xd0\x01" * 65, False),
     (b"\x1d\x00" + b"x" * 13, True), (b"\x1e\xff\xff", True), (b"\x1d", True), (b"\xff" * 9000, True)],
)  # fmt: skip
def test_options_are_counted_before_they_are_read(options, fits):
    assert few_options(bytes([0x41, 1, 0, 1, 0x74]) + options) is fits


def test_nothing_has_no_options():
    assert few_options(b"")


async def test_a_datagram_full_of_options_costs_little(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        with raw_peer(adapter.port) as peer:
            began_s = asyncio.get_running_loop().time()
            peer.send(bytes([0x40, 2, 0, 9]) + b"\xb1v" + b"\x01d" * 30_000)
            assert (await peer.ask(packet("/v/d/t", b"1"))).code == aiocoap.CHANGED
            assert asyncio.get_running_loop().time() - began_s < 5.0
    assert ctx.stats.reasons["malformed"] == 1
