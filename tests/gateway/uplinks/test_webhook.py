"""The uplink webhook against a real server: each note once, in order, as the service wants it; nothing for ever."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from urllib.parse import parse_qs

import numpy as np
import pytest
from aiohttp import web

from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import FieldError, LinkError
from gateway.frame import Frame, concat
from gateway.point import Kind, Point
from gateway.units import Duration, Rate
from gateway.uplinks.http_config import HttpAuth
from gateway.uplinks.webhook_config import Severity, Style, WebhookUplinkConfig
from pipelines.operators.judge.alert_told import Told
from tests.adapters.mqtt.certificates import Authority
from tests.gateway.uplinks.http_server import http_server
from tests.support.uplink import running, uplink_context

T0 = 1_790_000_000_000_000_000
FAST = Rate(1000)


@pytest.fixture
def directory():
    points = Directory()
    points.add(Point(name="m1/voltage", unit="V"))
    points.add(Point(name="m1/door", kind=Kind.STATE))
    points.state(1, "closed")
    points.state(1, "open")
    return points


@pytest.fixture
def ctx(tmp_path, directory):
    with uplink_context(tmp_path / "state", directory) as context:
        yield context


def told(directory, level, value, *, rule="high", at=0, point=0, quality=0, severity=2):
    maker = Told(rule, "{point} is {value} {unit} at {gateway}", severity, directory)
    columns = np.array([point], np.int32), np.array([T0 + at * 10**9])
    return maker.samples(*columns, np.array([float(level)]), np.array([value]), np.array([quality], np.uint16))


def bodies(server):
    return [json.loads(took.body) for took in server.accepted]


async def test_one_note_for_each_change(ctx, directory):
    ctx.put(concat([told(directory, 2, 253.5), told(directory, 0, 248, at=1), told(directory, 2, 254, at=2)]))
    door = told(directory, 3, 1.0, rule="door", point=1, severity=3)
    gone = told(directory, 2, q.no_value(q.Reason.TIMEOUT), rule="gone", at=3, quality=q.INVALID)
    async with http_server() as server:
        config = WebhookUplinkConfig(url=server.url + "/{gateway}?u={uplink}", rate=FAST, auth=HttpAuth(bearer="t"))
        async with running(config.create(), ctx):
            ctx.put(door)
            ctx.put(gone)
            await ctx.until(lambda: len(ctx.acknowledged) == 3)
    found = bodies(server)
    assert [body["state"] for body in found] == ["raised", "cleared", "raised", "raised", "raised"]
    assert found[0] == {
        "id": "test/77/1/0", "gateway": "test", "kind": "alert", "rule": "high", "point": "m1/voltage",
        "severity": "warning", "state": "raised", "time_ms": T0 // 10**6, "value": 253.5, "unit": "V",
        "text": "m1/voltage is 253.5 V at test", "message": "[raised] warning: m1/voltage is 253.5 V at test (test)",
    }  # fmt: skip
    assert (found[3]["value"], found[3]["severity"]) == ("open", "critical")
    assert (found[4]["value"], found[4]["text"]) == (None, "m1/voltage is without a value (timeout) at test")
    first = server.took[0]
    assert (first.path, first.query, first.method) == ("/test", "u=out", "POST")
    assert first.headers["Authorization"] == "Bearer t"
    assert first.headers["Idempotency-Key"] == "test/77/1/0"
    assert first.headers["Content-Type"] == "application/json; charset=utf-8"
    assert len({took.headers["Idempotency-Key"] for took in server.took}) == 5
    assert ctx.links[0][0] is True
    assert ctx.stats.messages == 5


async def test_least_severity_and_clears(ctx, directory):
    ctx.put(concat([told(directory, 2, 1.0), told(directory, 3, 2.0, at=1, severity=3)]))
    ctx.put(told(directory, 0, 3.0, at=2, severity=3))
    async with http_server() as server:
        config = WebhookUplinkConfig(url=server.url, severity=Severity.CRITICAL, cleared=False, rate=FAST)
        async with running(config.create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 2)
    assert [body["value"] for body in bodies(server)] == [2.0]


async def test_samples_of_any_pipeline_and_losses(ctx, directory):
    ctx.put(Frame.of([0, 1], T0, [230.25, 1.0], [0, q.QUESTIONABLE]), "live")
    ctx.lose(Frame.of([0], T0, [1.0]), "live")
    async with (
        http_server() as server,
        running(WebhookUplinkConfig(url=server.url, rate=FAST).create(), ctx),
    ):
        await ctx.until(lambda: len(server.accepted) == 3)
    first, second, third = bodies(server)
    assert first["text"] == "m1/voltage is 230.25 V"
    assert (second["kind"], second["value"], second["quality"]) == ("sample", "open", "questionable")
    assert (third["kind"], third["count"]) == ("loss", 1)


STYLES = {
    Style.SLACK: lambda body: body["text"],
    Style.TEAMS: lambda body: body["attachments"][0]["content"]["body"][0]["text"],
    Style.FEISHU: lambda body: body["content"]["text"],
    Style.DINGTALK: lambda body: body["text"]["content"],
    Style.WECOM: lambda body: body["text"]["content"],
}


@pytest.mark.parametrize("style", STYLES)
async def test_styles(ctx, directory, style):
    ctx.put(told(directory, 2, 253.5))
    async with http_server() as server:
        config = WebhookUplinkConfig(url=server.url, style=style, message="{severity}! {text}", rate=FAST)
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
    (body,) = bodies(server)
    assert STYLES[style](body) == "warning! m1/voltage is 253.5 V at test"


async def test_a_body_of_ones_own(ctx, directory):
    ctx.put(told(directory, 2, 253.5))
    own = {"routing_key": "k", "payload": {"summary": "{message}", "severity": "{severity}", "n": 5, "x": ["{value}"]}}
    async with http_server() as server:
        config = WebhookUplinkConfig(url=server.url, body=own, message="{rule}", headers={"X-A": "b"}, method="PUT")
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
    expected = {"summary": "high", "severity": "warning", "n": 5, "x": ["253.5"]}
    assert bodies(server) == [{"routing_key": "k", "payload": expected}]
    assert (server.took[0].method, server.took[0].headers["X-A"]) == ("PUT", "b")


async def test_signatures_of_robots(ctx, directory):
    ctx.put(told(directory, 2, 253.5))
    ctx.put(told(directory, 0, 253.5, at=1))
    async with http_server() as server:
        for style in (Style.DINGTALK, Style.FEISHU):
            config = WebhookUplinkConfig(url=server.url + "/send?access_token=t", style=style, secret="SEC", rate=FAST)
            seen = len(server.accepted)
            ctx.feed.rewind()
            async with running(config.create(), ctx):
                await ctx.until(lambda seen=seen: len(server.accepted) > seen)
                await ctx.until(lambda: len(ctx.acknowledged) >= 1)
    query = parse_qs(server.took[0].query)
    stamp = query["timestamp"][0]
    digest = hmac.new(b"SEC", f"{stamp}\nSEC".encode(), hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(digest).decode()]
    assert query["access_token"] == ["t"]


async def test_the_signature_of_feishu_is_in_the_body(ctx, directory):
    ctx.put(told(directory, 2, 253.5))
    async with (
        http_server() as server,
        running(WebhookUplinkConfig(url=server.url, style=Style.FEISHU, secret="SEC").create(), ctx),
    ):
        await ctx.until(lambda: ctx.acknowledged)
    (body,) = bodies(server)
    digest = hmac.new(f"{body['timestamp']}\nSEC".encode(), b"", hashlib.sha256).digest()
    assert body["sign"] == base64.b64encode(digest).decode()


async def test_a_server_that_fails_gets_everything_in_the_end_and_nothing_twice(ctx, directory):
    ctx.put(concat([told(directory, 2, float(n), at=n) for n in range(6)]))
    answers = iter([204, 204, 500, 204, 503, 204, 204, 204])
    async with http_server(lambda _: next(answers)) as server:
        config = WebhookUplinkConfig(url=server.url, rate=FAST)
        for _ in range(2):
            ctx.feed.rewind()
            with pytest.raises(LinkError, match="HTTP 50"):
                async with asyncio.timeout(10):
                    await config.create().run(ctx)
        ups = sum(up for up, _ in ctx.links)
        assert ctx.stats.facts["failed"].startswith("HTTP 503")
        async with running(config.create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
    assert [body["value"] for body in bodies(server)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert "failed" not in ctx.stats.facts
    assert ups >= 1


@pytest.mark.parametrize("status", [400, 405, 410, 413, 422])
async def test_what_is_refused_is_counted_and_left_out(ctx, directory, status):
    ctx.put(concat([told(directory, 2, 1.0), told(directory, 2, 2.0, at=1)]))
    async with (
        http_server(lambda took: status if b'"value": 1.0' in took.body else None) as server,
        running(WebhookUplinkConfig(url=server.url, rate=FAST).create(), ctx),
    ):
        await ctx.until(lambda: ctx.acknowledged)
    assert len(server.took) == 2
    assert [body["value"] for body in bodies(server)] == [2.0]
    assert ctx.stats.counts["notes_refused"] == 1


@pytest.mark.parametrize("status", [301, 401, 403, 404, 500])
async def test_what_a_person_can_mend_waits(ctx, directory, status):
    ctx.put(told(directory, 2, 1.0))
    async with http_server(lambda _: status) as server:
        with pytest.raises(LinkError, match=f"HTTP {status}"):
            async with asyncio.timeout(10):
                await WebhookUplinkConfig(url=server.url + "/very-secret").create().run(ctx)
    assert ctx.acknowledged == []
    assert ctx.spool.gauge("out").rows == 1
    assert not any("very-secret" in detail for _, detail in ctx.links)


async def test_retry_after_is_obeyed(ctx, directory):
    ctx.put(told(directory, 2, 1.0))
    times = []

    def script(_):
        times.append(asyncio.get_running_loop().time())
        return web.Response(status=429, headers={"Retry-After": "1"}) if len(times) == 1 else None

    async with (
        http_server(script) as server,
        running(WebhookUplinkConfig(url=server.url, rate=FAST).create(), ctx),
    ):
        await ctx.until(lambda: ctx.acknowledged)
    assert times[1] - times[0] >= 1.0
    assert (False, "HTTP 429; asked to wait 1 s") in ctx.links
    assert ctx.links[-1][0] is True


@pytest.mark.parametrize(
    ("style", "answer", "count"),
    [
        (Style.FEISHU, {"code": 19001, "msg": "param invalid"}, 1),
        (Style.DINGTALK, {"errcode": 310000, "errmsg": "keywords not in content"}, 1),
        (Style.WECOM, {"errcode": 93000, "errmsg": "invalid webhook url"}, 1),
        (Style.DINGTALK, {"errcode": 0, "errmsg": "ok"}, 0),
        (Style.SLACK, {"code": 7}, 0),
    ],
)
async def test_services_that_refuse_with_200(ctx, directory, style, answer, count):
    ctx.put(told(directory, 2, 1.0))
    async with (
        http_server(lambda _: web.json_response(answer)) as server,
        running(WebhookUplinkConfig(url=server.url, style=style).create(), ctx),
    ):
        await ctx.until(lambda: ctx.acknowledged)
    assert ctx.stats.counts["notes_refused"] == count
    assert len(server.took) == 1


async def test_a_service_that_says_later_with_200(ctx, directory, monkeypatch):
    monkeypatch.setattr("gateway.uplinks.webhook._LATER_S", 0.2)
    ctx.put(told(directory, 2, 1.0))
    answers = iter([{"errcode": 130101, "errmsg": "send too fast"}, {"errcode": 0}])
    async with (
        http_server(lambda _: web.json_response(next(answers))) as server,
        running(WebhookUplinkConfig(url=server.url, style=Style.DINGTALK, rate=FAST).create(), ctx),
    ):
        await ctx.until(lambda: ctx.acknowledged)
    assert len(server.took) == 2
    assert ctx.stats.counts["notes_refused"] == 0


async def test_the_rate_is_bounded(ctx, directory):
    ctx.put(concat([told(directory, 2, float(n), at=n) for n in range(6)]))
    loop = asyncio.get_running_loop()
    async with http_server() as server:
        began = loop.time()
        async with running(WebhookUplinkConfig(url=server.url, rate=Rate(10)).create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
    assert loop.time() - began >= 0.5
    assert len(server.took) == 6


async def test_no_answer_in_time_and_nobody_there(ctx, directory):
    ctx.put(told(directory, 2, 1.0))
    hang = asyncio.Event()

    async def never(_):
        await hang.wait()

    async with http_server(never) as server:
        with pytest.raises(LinkError, match="no answer in time"):
            async with asyncio.timeout(10):
                await WebhookUplinkConfig(url=server.url, timeout=Duration(0.2)).create().run(ctx)
        hang.set()
    with pytest.raises(LinkError, match=r"http://127\.0\.0\.1"):
        async with asyncio.timeout(10):
            await WebhookUplinkConfig(url=server.url).create().run(ctx)


async def test_tls(ctx, directory, tmp_path):
    authority, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    ctx.put(told(directory, 2, 1.0))
    async with http_server(tls=authority.server(*authority.issue("server"))) as server:
        with pytest.raises(LinkError, match="certificate is refused"):
            async with asyncio.timeout(10):
                await WebhookUplinkConfig(url=server.url, ca=str(other.file)).create().run(ctx)
        async with running(WebhookUplinkConfig(url=server.url, ca=str(authority.file)).create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://x/{point}"}, "url"),
        ({"message": "{nonsense}"}, "message"),
        ({"body": {"a": [{"b": "{nonsense}"}]}}, "body"),
        ({"secret": "s"}, "secret"),
        ({"rate": Rate(0)}, "rate"),
        ({"timeout": Duration(0)}, "timeout"),
        ({"headers": {"Content-Type": "x"}}, "headers"),
        ({"ca": "x"}, "ca"),
    ],
)
def test_bad_options(options, field):
    with pytest.raises(FieldError) as raised:
        WebhookUplinkConfig(**({"url": "http://x"} | options))
    assert raised.value.field[0] == field
