"""The HTTP uplink against a real server that misbehaves on cue: done at 2xx only, nothing lost, nothing in a loop."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from email.utils import formatdate
from itertools import count

import pytest
from aiohttp import web

from gateway.config import load_checked
from gateway.errors import ConfigError, FieldError, LinkError
from gateway.frame import Frame
from gateway.units import Duration, Size
from gateway.uplinks import http as uplinks_http
from gateway.uplinks.compress import Compress
from gateway.uplinks.http_answer import retry_after_s
from gateway.uplinks.http_config import HttpAuth, HttpFormat, HttpUplinkConfig, JoinOptions, Refused
from gateway.wire.message import FrameDecoder
from gateway.wire.stream import messages
from tests.adapters.mqtt.certificates import Authority
from tests.gateway.uplinks.http_server import http_server
from tests.support.build import directory_of
from tests.support.uplink import running, uplink_context


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory_of("m1/power", "m2/power")) as context:
        yield context


def sample(n: int, point: int = 0) -> Frame:
    return Frame.of([point], n * 1_000_000, [n + 0.5])


def put(ctx, n: int) -> list[int]:
    return [ctx.put(sample(i))[0].seq for i in range(n)]


async def until_link_error(config, ctx, match: str) -> None:
    with pytest.raises(LinkError, match=match):
        async with asyncio.timeout(10):
            await config.create().run(ctx)


def one_by_one(**options) -> JoinOptions:
    return JoinOptions(max=1, **options)


async def test_batches_arrive_and_leave_the_spool_at_2xx(ctx):
    async with http_server() as server:
        config = HttpUplinkConfig(
            url=server.url + "/in/{gateway}/{pipeline}?u={uplink}",
            headers={"X-Site": "north"},
            auth=HttpAuth(bearer="secret"),
        )
        seqs = put(ctx, 100)
        async with running(config.create(), ctx):
            seqs += [ctx.put(sample(n), "q")[0].seq for n in range(100)]
            await ctx.until(lambda: len(ctx.acknowledged) == 200)
    assert sorted(server.seqs) == sorted(ctx.acknowledged) == seqs
    assert {(took.path, took.query) for took in server.took} == {("/in/test/p", "u=out"), ("/in/test/q", "u=out")}
    first = server.took[0]
    assert first.headers["Content-Type"] == "application/x-ndjson"
    assert (first.headers["X-Site"], first.headers["Authorization"]) == ("north", "Bearer secret")
    assert max(len(took.records) for took in server.took) == 16
    assert first.records[0]["samples"][0]["value"] == 0.5
    assert ctx.spool.gauge("out").rows == 0
    assert ctx.stats.messages == 200
    assert ctx.stats.bytes == sum(len(took.body) for took in server.took)
    assert (True, config.url) in ctx.links


async def test_connections_are_kept(ctx):
    async with http_server() as server:
        config = HttpUplinkConfig(url=server.url, batch=one_by_one(), in_flight=2)
        put(ctx, 50)
        async with running(config.create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 50)
    assert len(server.took) == 50
    assert len({took.peer for took in server.took}) <= 2


async def test_no_more_than_the_window_is_in_flight(ctx):
    go = asyncio.Event()

    async def wait():
        await go.wait()

    async with http_server(lambda _: wait()) as server:
        put(ctx, 10)
        async with running(HttpUplinkConfig(url=server.url, batch=one_by_one(), in_flight=3).create(), ctx):
            await ctx.until(lambda: len(server.took) == 3)
            await asyncio.sleep(0.05)  # nothing more may come
            assert len(server.took) == 3
            assert not ctx.acknowledged
            go.set()
            await ctx.until(lambda: len(ctx.acknowledged) == 10)


async def test_the_key_is_the_record_id_and_tells_joined_content_apart(ctx):
    async with http_server() as server:
        (alone,) = put(ctx, 1)
        async with running(HttpUplinkConfig(url=server.url).create(), ctx):
            await ctx.until(lambda: ctx.acknowledged == [alone])
        joined = put(ctx, 3)
        async with running(HttpUplinkConfig(url=server.url).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 4)
    keys = [took.headers["Idempotency-Key"] for took in server.took]
    assert keys[0] == f"test/77/{alone}"
    assert keys[1].startswith(f"test/77/{joined[0]}..{joined[-1]}/")
    assert len(keys) == 2


async def test_joined_batches_stay_below_the_size(ctx):
    async with http_server() as server:
        put(ctx, 40)
        config = HttpUplinkConfig(url=server.url, batch=JoinOptions(max=20, size=Size(1000)))
        async with running(config.create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 40)
    assert all(len(took.body) <= 1000 for took in server.took)
    assert max(len(took.records) for took in server.took) > 2


@pytest.mark.parametrize("how", [Compress.GZIP, Compress.ZSTD])
async def test_compression(ctx, how):
    async with http_server() as server:
        seqs = put(ctx, 20)
        async with running(HttpUplinkConfig(url=server.url, compress=how).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 20)
    assert server.took[0].headers["Content-Encoding"] == how.value
    assert sorted(server.seqs) == seqs
    assert ctx.stats.bytes < sum(len(took.body) for took in server.took)


async def test_frames_come_after_the_directory_that_names_their_points(ctx):
    async with (
        http_server() as server,
        running(HttpUplinkConfig(url=server.url, format=HttpFormat.FRAME).create(), ctx),
    ):
        for n in range(5):
            ctx.put(sample(n, n % 2))
        ctx.lose(sample(9))
        await ctx.until(lambda: len(ctx.acknowledged) == 6)
    decoder = FrameDecoder()
    records = [decoder.decode(message) for took in server.took for message in messages(io.BytesIO(took.body))]
    assert records[0] is None
    assert records.count(None) == 1
    assert [record["seq"] for record in records[1:]] == sorted(ctx.acknowledged)
    assert records[-1]["loss"]["count"] == 1
    assert "/directory/" in server.took[0].headers["Idempotency-Key"]


async def test_basic_login_and_put(ctx):
    async with http_server() as server:
        put(ctx, 1)
        config = HttpUplinkConfig(url=server.url, method="PUT", auth=HttpAuth(basic="me:se:cret"))
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
    assert server.took[0].method == "PUT"
    assert base64.b64decode(server.took[0].headers["Authorization"].removeprefix("Basic ")) == b"me:se:cret"


@pytest.mark.parametrize("status", [408, 500, 502, 503, 401, 403, 404, 429, 405])
async def test_a_status_about_the_link_is_a_link_that_is_down(ctx, status):
    async with http_server(lambda _: web.Response(status=status, text="sorry")) as server:
        (seq,) = put(ctx, 1)
        await until_link_error(HttpUplinkConfig(url=server.url), ctx, f"HTTP {status}: sorry")
        assert not ctx.acknowledged
        server.script = None
        async with running(HttpUplinkConfig(url=server.url).create(), ctx):
            await ctx.until(lambda: ctx.acknowledged == [seq])
    assert server.seqs == [seq]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("dated", [False, True])
async def test_retry_after_is_waited_for(ctx, status, dated):
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    def script(_):
        asked.append(loop.time())
        if len(asked) > 1:
            return None
        after = formatdate(time.time() + 2, usegmt=True) if dated else "1"
        return web.Response(status=status, headers={"Retry-After": after}, text="busy")

    async with http_server(script) as server:
        seqs = put(ctx, 3)
        async with running(HttpUplinkConfig(url=server.url).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 3)
    assert asked[1] - asked[0] >= 0.95
    assert server.seqs == seqs
    (down, said) = next(link for link in ctx.links if not link[0])
    assert not down
    assert f"HTTP {status}: busy; asked to wait" in said
    assert ctx.links[-1][0]


async def test_nothing_else_is_sent_while_the_server_wants_to_be_left_alone(ctx):
    async with http_server(lambda _: web.Response(status=503, headers={"Retry-After": "600"})) as server:
        put(ctx, 10)
        async with running(HttpUplinkConfig(url=server.url, batch=one_by_one(), in_flight=2).create(), ctx):
            await ctx.until(lambda: server.took and ctx.links)
            await asyncio.sleep(0.1)
            assert len(server.took) <= 2
    assert not ctx.acknowledged


async def test_too_much_at_once_is_halved_and_remembered(ctx):
    def script(took):
        return 413 if len(took.body) > 600 else None

    async with http_server(script) as server:
        seqs = put(ctx, 64)
        async with running(HttpUplinkConfig(url=server.url, in_flight=1).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 64)
    assert sorted(server.seqs) == seqs
    refused = len(server.took) - len(server.accepted)
    assert 0 < refused <= 4, "learned, not found out anew for each request"


async def test_the_batch_at_fault_is_found_and_held_while_the_others_pass(ctx, monkeypatch):
    monkeypatch.setattr(uplinks_http, "HOLD_FIRST_S", 0.05)
    poison = 7
    willing = False

    def script(took):
        return web.Response(status=400, text="not this one") if poison in took.seqs and not willing else None

    async with http_server(script) as server:
        seqs = put(ctx, 32)
        async with running(HttpUplinkConfig(url=server.url).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 31)
            await ctx.until(lambda: sum(took.seqs == [poison] for took in server.took) >= 3)
            assert poison not in ctx.acknowledged
            willing = True
            await ctx.until(lambda: len(ctx.acknowledged) == 32)
    assert sorted(server.seqs) == seqs
    assert ctx.stats.counts["batches_refused"] == 1


async def test_a_link_that_holds_nothing_but_refused_batches_is_down(ctx):
    async with http_server(lambda _: web.Response(status=422, text="no")) as server:
        put(ctx, 4)
        async with running(HttpUplinkConfig(url=server.url, in_flight=2, batch=one_by_one()).create(), ctx):
            await ctx.until(lambda: ctx.links and not ctx.links[-1][0])
    assert "refused" in ctx.links[-1][1]
    assert not ctx.acknowledged
    assert len(server.took) == 2


async def test_a_refused_batch_is_dropped_with_a_marker_if_policy_says_so(ctx):
    def script(took):
        return web.Response(status=400, text="no") if any(record["samples"] for record in took.records) else None

    async with http_server(script) as server:
        seqs = put(ctx, 3)
        async with running(HttpUplinkConfig(url=server.url, refused=Refused.DROP).create(), ctx):
            await ctx.until(lambda: sorted(batch.seq for batch, _ in ctx.given_up) == seqs)
    assert {reason for _, reason in ctx.given_up} == {"refused"}
    assert not server.accepted
    assert ctx.stats.counts["batches_refused"] == 3


async def test_a_refused_marker_does_not_go_round_for_ever(ctx):
    async with http_server(lambda _: 400) as server:
        ctx.lose(sample(1))
        async with running(HttpUplinkConfig(url=server.url, refused=Refused.DROP).create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
    assert len(server.took) == 1
    assert not ctx.given_up


async def test_an_answer_that_is_cut_is_none(ctx):
    cut = True

    async def half(request):
        response = web.StreamResponse(status=200, headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.close()
        return response

    async with http_server(lambda _: half if cut else None) as server:
        seqs = put(ctx, 3)
        await until_link_error(HttpUplinkConfig(url=server.url), ctx, server.url)
        assert not ctx.acknowledged
        cut = False
        async with running(HttpUplinkConfig(url=server.url).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 3)
    assert server.seqs == seqs


async def test_a_connection_closed_between_two_requests_costs_nothing(ctx):
    async def close(_request):
        return web.Response(status=204, headers={"Connection": "close"})

    async with http_server(lambda _: close) as server:
        put(ctx, 20)
        async with running(HttpUplinkConfig(url=server.url, batch=one_by_one()).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 20)
    assert len(server.took) == 20
    assert len({took.peer for took in server.took}) == 20


async def test_a_server_that_is_slow_is_a_link_that_is_down(ctx):
    async with http_server(lambda _: asyncio.sleep(5)) as server:
        put(ctx, 1)
        await until_link_error(HttpUplinkConfig(url=server.url, timeout=Duration(0.2)), ctx, server.url)
    assert not ctx.acknowledged


async def test_a_server_that_goes_and_returns(ctx):
    numbers = count()
    async with http_server(lambda _: 500 if next(numbers) == 10 else None) as server:
        config = HttpUplinkConfig(url=server.url, batch=one_by_one())
        seqs = put(ctx, 60)
        await until_link_error(config, ctx, "HTTP 500")
    await until_link_error(config, ctx, server.url)
    async with http_server(port=server.port) as again, running(config.create(), ctx):
        await ctx.until(lambda: sorted(ctx.acknowledged) == seqs)
    assert set(server.seqs) | set(again.seqs) == set(seqs)


async def test_redirects_are_not_followed(ctx):
    async with http_server() as other:

        def script(_):
            return web.Response(status=308, headers={"Location": other.url})

        async with http_server(script) as server:
            put(ctx, 1)
            await until_link_error(HttpUplinkConfig(url=server.url), ctx, f"redirects to {other.url}")
    assert not other.took


async def test_a_huge_answer_is_not_read_to_its_end(ctx):
    async with http_server(lambda _: web.Response(body=b"x" * 10_000_000)) as server:
        seqs = put(ctx, 2)
        async with running(HttpUplinkConfig(url=server.url).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 2)
    assert server.seqs == seqs


async def test_through_a_proxy(ctx):
    async with http_server() as proxy:
        put(ctx, 1)
        config = HttpUplinkConfig(url="http://far.example/in", proxy=proxy.url)
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
    assert proxy.took[0].headers["Host"] == "far.example"


async def test_tls_with_the_gateways_own_certificate(ctx, tmp_path):
    authority = Authority(tmp_path)
    mine = authority.issue("gateway")
    async with http_server(tls=authority.server(*authority.issue("server"), clients=True)) as server:
        seqs = put(ctx, 5)
        await until_link_error(HttpUplinkConfig(url=server.url), ctx, "the server's certificate is refused")
        config = HttpUplinkConfig(url=server.url, ca=str(authority.file), cert=str(mine[0]), key=str(mine[1]))
        async with running(config.create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 5)
    assert server.seqs == seqs


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_certificates_that_cannot_be_used_fail_closed(tmp_path, ctx, content):
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_text(content)
    put(ctx, 1)
    await until_link_error(HttpUplinkConfig(url="https://127.0.0.1:1", ca=str(ca)), ctx, "ca .*")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://{gateway}/x"}, "url"),
        ({"url": "http://me:secret@x"}, "url"),
        ({"url": "http://x/{nothing}"}, "url"),
        ({"url": "http://x", "ca": "ca.pem"}, "ca"),
        ({"url": "https://x", "cert": "c.pem"}, "cert"),
        ({"url": "http://x", "timeout": Duration(0)}, "timeout"),
        ({"url": "http://x", "headers": {"bad name": "x"}}, "headers"),
        ({"url": "http://x", "headers": {"X": "a\nb"}}, "headers"),
        ({"url": "http://x", "headers": {"Idempotency-Key": "x"}}, "headers"),
        ({"url": "http://x", "headers": {"authorization": "x"}, "auth": HttpAuth(bearer="x")}, "headers"),
        ({"url": "http://x", "proxy": "socks://x"}, "proxy"),
    ],
)
def test_options_that_make_no_sense(options, field):
    with pytest.raises(FieldError) as caught:
        HttpUplinkConfig(**options)
    assert caught.value.field[0] == field


def test_a_login_is_one_of_two():
    for wrong in ({}, {"bearer": "x", "basic": "a:b"}, {"basic": "ab"}, {"bearer": "a\nb"}):
        with pytest.raises(FieldError):
            HttpAuth(**wrong)


def test_secrets_come_from_credentials(tmp_path):
    (tmp_path / "token").write_text("s3cr3t\n")
    file = tmp_path / "onpath.yaml"
    text = 'uplinks:\n  out: {type: http, url: "https://x/{pipeline}", auth: {bearer: "${credential:token}"}}\n'
    file.write_text(text)
    config = load_checked(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).config
    assert config.uplinks["out"].auth.bearer == "s3cr3t"
    file.write_text(text.replace("bearer", "barer"))
    with pytest.raises(ConfigError, match="did you mean") as caught:
        load_checked(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "s3cr3t" not in str(caught.value)


def test_retry_after_in_both_forms():
    assert retry_after_s("120") == 120
    assert retry_after_s(formatdate(time.time() + 60, usegmt=True)) == pytest.approx(60, abs=2)
    assert retry_after_s(formatdate(0, usegmt=True)) == 0
    for nonsense in (None, "soon", "", "-5", "1e9", "²"):
        assert retry_after_s(nonsense) is None


def test_partial_writes_of_all_three_versions_are_counted():
    texts = {
        '{"error":"partial write: field type conflict: input field \\"v\\" dropped=3"}': 3,
        '{"code":"invalid","message":"partial write: points beyond retention policy dropped=2"}': 2,
        json.dumps({"error": "partial write of line protocol occurred", "data": [{"line_number": 1}] * 4}): 4,
        "partial write: unable to parse 'x': missing fields\nunable to parse 'y' dropped=0": 2,
        "partial write": 1,
    }
    for text, bad in texts.items():
        assert uplinks_http._bad_lines(text) == bad
