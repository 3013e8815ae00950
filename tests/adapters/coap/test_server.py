import asyncio
import socket

import aiocoap
import cbor2
import pytest
import uvloop

from gateway import quality as q
from gateway.errors import LinkError, StoreError
from gateway.point import Kind
from tests.adapters.coap.peers import adapter_of, configured, pushing
from tests.support.context import RecordingContext

PUSH = {"/push/{device}": {"points": {"temperature": {"value": "/t", "unit": "Cel"}, "rh": {}}, "time": "/at"}}


def serve(resources=PUSH, **options):
    return {"serve": {"listen": "127.0.0.1:0", "resources": resources} | options}


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


async def test_a_push_is_stored_and_answered(ctx):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        payload = b'{"t": 21.5, "rh": 40, "at": 1700000000}'
        assert (await push("/push/s9", payload, 50)).code == aiocoap.CHANGED
        assert (await push("/push/s9", b'{"rh": 41}', 50, aiocoap.PUT)).code == aiocoap.BAD_REQUEST  # no time
        assert (await push("/push/s8", b'{"rh": 41, "at": "2023-11-14T22:13:20Z"}')).code == aiocoap.CHANGED
    assert ctx.samples("s9/temperature") == [(1_700_000_000 * 10**9, 21.5, q.GOOD)]
    assert ctx.samples("s9/rh") == [(1_700_000_000 * 10**9, 40.0, q.GOOD)]
    assert values(ctx, "s8/rh") == [41.0]
    assert ctx.points.find("s8/temperature") is None
    assert ctx.points.point(ctx.points.find("s9/temperature")).unit == "Cel"
    assert ("s9", True, "") in ctx.links
    assert len(ctx.frames[0]) == 2  # one push, one frame


async def test_the_answer_waits_for_the_disk():
    ctx = RecordingContext(hold=True)
    async with adapter_of(ctx, **serve({"/v/{device}/{point}": {}})) as adapter, pushing(adapter.port) as push:
        answer = asyncio.create_task(push("/v/s9/t", b"1"))
        await ctx.until(lambda: ctx.receipts)
        await ctx.receipts[0].asked.wait()
        # longer than the 0.1 s after which aiocoap acknowledges empty and will answer apart
        done, _ = await asyncio.wait({answer}, timeout=0.15)
        assert not done
        ctx.receipts[0].position.set_result(17)
        assert (await answer).code == aiocoap.CHANGED
    assert values(ctx, "s9/t") == [1.0]


async def test_what_will_not_be_durable_is_not_acknowledged():
    ctx = RecordingContext(hold=True)
    async with adapter_of(ctx, **serve({"/v/{device}/{point}": {}})) as adapter, pushing(adapter.port) as push:
        answer = asyncio.create_task(push("/v/s9/t", b"1"))
        await ctx.until(lambda: ctx.receipts)
        ctx.receipts[0].position.set_exception(StoreError("disk full"))
        response = await answer
    assert response.code == aiocoap.SERVICE_UNAVAILABLE
    assert b"disk full" in response.payload
    assert response.opt.max_age == 5
    assert ctx.stats.reasons["not-durable"] == 1


async def test_a_push_that_wants_no_confirmation_is_stored_too(ctx):
    async with adapter_of(ctx, **serve({"/v/{device}/{point}": {}})) as adapter, pushing(adapter.port) as push:
        response = await push("/v/s9/t", b"2.5", transport_tuning=aiocoap.Unreliable)
    assert response.code == aiocoap.CHANGED
    assert response.mtype is aiocoap.NON
    assert values(ctx, "s9/t") == [2.5]


@pytest.mark.parametrize(
    ("path", "payload", "content_format", "stored"),
    [
        ("/v/d/t", b"23.5", 0, {"d/t": 23.5}),
        ("/v/d/t", b"true", None, {"d/t": 1.0}),
        ("/v/d/t", b"5", 50, {"d/t": 5.0}),
        ("/v/d/t", cbor2.dumps(5.5), 60, {"d/t": 5.5}),
        ("/v/d/t", b'[{"n":"x","v":1}]', 110, {"d/t": 1.0}),
        ("/v/d/t", b'{"t": 3, "u": 4}', 50, {"d/t": 3.0}),
        ("/any/d", b'{"a": 1, "b": false, "c": {"x": 1}}', 50, {"d/a": 1.0, "d/b": 0.0}),
        ("/any/d", cbor2.dumps({"a": 1, 2: 3}), 60, {"d/a": 1.0, "d/2": 3.0}),
        ("/any/d", b'[{"bn":"d:","n":"x","v":1},{"n":"y","v":2}]', 110, {"d/x": 1.0, "d/y": 2.0}),
        ("/any/d", cbor2.dumps([{-2: "d:", 0: "x", 2: 1}]), 112, {"d/x": 1.0}),
        ("/any/d", b'[{"n":"x/y","s":7}]', 110, {"d/x/y.sum": 7.0}),
        ("/full/d", b'[{"bn":"/3303/0/","n":"5700","v":1}]', 110, None),
        ("/full/d", b'[{"bn":"3303/0/","n":"5700","v":1},{"bn":"3304/0/","n":"5700","v":2}]', 110,
         {"d/3303/0/5700": 1.0, "d/3304/0/5700": 2.0}),
        ("/named/d", b'[{"n":"x","v":1},{"n":"temp","v":2}]', 110, {"d/t": 2.0}),
        ("/named/d", b'[{"n":"x","v":1}]', 110, None),
        ("/boiler", b'{"p": 1.5}', 50, {"b1/p": 1.5}),
    ],
)  # fmt: skip
async def test_payloads(ctx, path, payload, content_format, stored):
    resources = {
        "/v/{device}/{point}": {},
        "/any/{device}": {},
        "/full/{device}": {"base_names": True},
        "/named/{device}": {"points": {"t": {"value": "temp"}, "q": {}}},
        "/boiler": {"device": "b1", "points": {"p": {}, "q": {}}},
    }
    async with adapter_of(ctx, **serve(resources)) as adapter, pushing(adapter.port) as push:
        response = await push(path, payload, content_format)
    found = {ctx.points.name(point): value for point, value in zip(ctx.frame.point, ctx.frame.value, strict=True)}
    assert found == (stored or {})
    assert response.code == (aiocoap.CHANGED if stored else aiocoap.BAD_REQUEST)


async def test_texts_are_states(ctx):
    async with adapter_of(ctx, **serve({"/v/{device}/{point}": {}})) as adapter, pushing(adapter.port) as push:
        for payload in (b"idle", b"busy", b"idle"):
            assert (await push("/v/d/mode", payload, 0)).code == aiocoap.CHANGED
    point = ctx.points.find("d/mode")
    assert values(ctx, "d/mode") == [0.0, 1.0, 0.0]
    assert ctx.points.point(point).kind is Kind.STATE
    assert ctx.points.states(point) == ["idle", "busy"]


@pytest.mark.parametrize(
    ("path", "payload", "content_format", "code", "says"),
    [
        ("/push/s9", b"{", 50, aiocoap.BAD_REQUEST, b"unparsable"),
        ("/push/s9", b"", 50, aiocoap.BAD_REQUEST, b"unparsable"),
        ("/push/s9", b"[" * 1000, 50, aiocoap.BAD_REQUEST, b"too-deep"),
        ("/push/s9", b"\x81" * 1000, 60, aiocoap.BAD_REQUEST, b"nesting"),
        ("/push/s9", b"1", 0, aiocoap.BAD_REQUEST, b"no-place"),
        ("/push/s9", b"1", 50, aiocoap.BAD_REQUEST, b"no-place"),
        ("/push/s9", b"{}", 50, aiocoap.BAD_REQUEST, b"missing"),
        ("/push/s9", b'{"t": [], "at": 1}', 50, aiocoap.BAD_REQUEST, b"not-a-value"),
        ("/push/s9", b'{"t": 1, "at": "soon"}', 50, aiocoap.BAD_REQUEST, b"bad-time"),
        ("/push/s9", b"x", 42, aiocoap.UNSUPPORTED_CONTENT_FORMAT, b"42"),
        ("/push/a%20b", b"{}", 50, aiocoap.NOT_FOUND, b"no such path"),
        ("/push/s9/more", b"{}", 50, aiocoap.NOT_FOUND, b"no such path"),
        ("/", b"{}", 50, aiocoap.NOT_FOUND, b"no such path"),
        ("/listed/s9/other", b"1", 0, aiocoap.NOT_FOUND, b"no such path"),
        ("/any/s9", b'{"a/b": 1}', 50, aiocoap.BAD_REQUEST, b"bad-name"),
        ("/any/s9", b'{"a": {}}', 50, aiocoap.BAD_REQUEST, b"no-values"),
        ("/any/s9", b"[]", 110, aiocoap.BAD_REQUEST, b"no-values"),
        ("/any/s9", b'[{"bn":"a:","n":"x","v":1},{"bn":"b:","n":"x","v":2}]', 110, aiocoap.BAD_REQUEST,
         b"several-base-names"),
    ],
)  # fmt: skip
async def test_what_cannot_be_taken_is_answered_with_the_reason(ctx, path, payload, content_format, code, says):
    resources = PUSH | {"/any/{device}": {}, "/listed/{device}/{point}": {"points": {"t": {}}}}
    async with adapter_of(ctx, **serve(resources)) as adapter, pushing(adapter.port) as push:
        response = await push(path, payload, content_format)
        assert (await push("/listed/s9/t", b"1", 0)).code == aiocoap.CHANGED  # and it goes on
    assert response.code == code
    assert says in response.payload
    assert len(ctx.frames) == 1


async def test_only_post_and_put_are_taken(ctx):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        for code in (aiocoap.GET, aiocoap.DELETE, aiocoap.FETCH):
            assert (await push("/push/s9", code=code)).code == aiocoap.METHOD_NOT_ALLOWED
    assert not ctx.frames


async def test_the_well_known_core_lists_what_is_served(ctx):
    resources = PUSH | {"/boiler": {"device": "b1"}}
    async with adapter_of(ctx, **serve(resources)) as adapter, pushing(adapter.port) as push:
        response = await push("/.well-known/core", code=aiocoap.GET)
    assert response.code == aiocoap.CONTENT
    assert b"</push/{device}>" in response.payload
    assert b"</boiler>" in response.payload


async def test_large_pushes_come_in_blocks_and_too_large_ones_are_refused(ctx):
    served = serve({"/v/{device}": {}}, max_payload="4KiB")
    async with adapter_of(ctx, **served) as adapter, pushing(adapter.port) as push:
        fits = b'{"t": 1' + b" " * 3000 + b"}"
        assert (await push("/v/d", fits, 50)).code == aiocoap.CHANGED
        response = await push("/v/d", fits + b" " * 2000, 50)
        assert response.code == aiocoap.REQUEST_ENTITY_TOO_LARGE
        assert response.opt.size1 == 4096
    assert values(ctx, "d/t") == [1.0]
    assert ctx.stats.reasons["too-large"] == 1


async def test_a_block_without_its_beginning_is_incomplete(ctx):
    async with adapter_of(ctx, **serve({"/v/{device}": {}})) as adapter:
        client = await aiocoap.Context.create_client_context(transports=["udp6"])
        message = aiocoap.Message(code=aiocoap.POST, uri=f"coap://127.0.0.1:{adapter.port}/v/d", payload=b"x")
        message.opt.block1 = (3, False, 4)
        response = await client.request(message, handle_blockwise=False).response
        await client.shutdown()
    assert response.code == aiocoap.REQUEST_ENTITY_INCOMPLETE


async def test_points_beyond_the_bound_are_refused():
    ctx = RecordingContext(limit=2)
    async with adapter_of(ctx, **serve({"/any/{device}": {}})) as adapter, pushing(adapter.port) as push:
        assert (await push("/any/d", b'{"a": 1, "b": 2}', 50)).code == aiocoap.CHANGED
        assert (await push("/any/d", b'{"a": 1, "c": 2}', 50)).code == aiocoap.FORBIDDEN
        assert (await push("/any/d", b'{"a": 3}', 50)).code == aiocoap.CHANGED
    assert values(ctx, "d/a") == [1.0, 3.0]
    assert ctx.stats.reasons["too-many-points"] == 1


async def test_a_taken_port_is_a_link_error(ctx):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        options = serve(listen=f"127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(LinkError, match="cannot listen"):
            await configured(**options).create().run(ctx)


async def test_two_adapters_cannot_share_a_port(ctx):
    async with adapter_of(ctx, **serve()) as adapter:
        second = configured(**serve(listen=f"127.0.0.1:{adapter.port}")).create()
        with pytest.raises(LinkError, match="cannot listen"):
            await second.run(ctx)


@pytest.mark.parametrize(("listen", "host"), [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "[::1]"), ("[::]:0", "127.0.0.1")])
async def test_any_address_of_both_kinds_can_be_listened_on(ctx, listen, host):
    served = serve({"/v/{device}/{point}": {}}, listen=listen)
    async with adapter_of(ctx, **served) as adapter, pushing(adapter.port, host) as push:
        assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED


def test_it_works_the_same_under_uvloop():
    async def main():
        ctx = RecordingContext(hold=True)
        served = serve({"/v/{device}/{point}": {}})
        async with adapter_of(ctx, **served) as adapter, pushing(adapter.port) as push:
            answers = [asyncio.create_task(push(f"/v/d/p{n}", b"1")) for n in range(5)]
            for n in range(5):
                await ctx.until(lambda n=n: len(ctx.receipts) > n)
                ctx.receipts[n].position.set_result(n)
            assert {(await answer).code for answer in answers} == {aiocoap.CHANGED}

    uvloop.run(main())


async def test_it_stops_cleanly_while_a_push_waits():
    ctx = RecordingContext(hold=True)
    adapter = configured(**serve({"/v/{device}/{point}": {}})).create()
    task = asyncio.create_task(adapter.run(ctx))
    await ctx.until(lambda: ctx.links)
    async with pushing(adapter.port) as push:
        answer = asyncio.create_task(push("/v/s9/t", b"1"))
        await ctx.until(lambda: ctx.receipts)
        task.cancel()
        await asyncio.wait({task})
        answer.cancel()
        await asyncio.wait({answer})
    assert task.cancelled()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", adapter.port))  # the port is free
