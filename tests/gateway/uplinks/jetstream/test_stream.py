"""The stream is looked at, or created as it was asked for; how often the server syncs is said."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import FieldError, LinkError
from gateway.units import Duration, Size
from gateway.uplinks.config import NatsUplinkConfig
from gateway.uplinks.nats.config import CreateStream
from gateway.uplinks.nats.subjects import all_subjects, covers, subject_for
from tests.support.nats import nats_broker
from tests.support.streams import api, client, seqs
from tests.support.uplink import running


async def refusal(config, ctx) -> str:
    with pytest.raises(LinkError) as caught:
        await asyncio.wait_for(config.create().run(ctx), 10)
    return str(caught.value)


async def test_no_stream_and_none_is_to_be_created(broker, ctx):
    said = await refusal(NatsUplinkConfig(url=broker.url, create_stream=False), ctx)
    assert said == "there is no stream onpath, and create is false; make it, or let it be created"


async def test_a_new_stream_is_as_it_was_asked_for(broker, ctx, sample):
    wish = CreateStream(
        subjects=("a.>", "onpath.>"),
        max_age=Duration(3600),
        max_bytes=Size(10**8),
        discard="old",
        duplicate_window=Duration(600),
        storage="memory",
    )
    config = NatsUplinkConfig(url=broker.url, stream="up", create_stream=wish)
    ctx.put(sample(1))
    async with running(config.create(), ctx):
        await ctx.until(lambda: ctx.acknowledged)
    async with client(broker.url) as nc:
        made = (await api(nc, "STREAM.INFO.up"))["config"]
    assert made["subjects"] == ["a.>", "onpath.>"]
    assert (made["max_age"], made["max_bytes"], made["duplicate_window"]) == (3600 * 10**9, 10**8, 600 * 10**9)
    assert (made["discard"], made["storage"]) == ("old", "memory")
    assert "in memory" in ctx.stats.facts["stream"]
    assert "drops old messages without a word" in ctx.stats.facts["stream"]


async def test_a_stream_that_is_another_is_left_as_it_is_and_said_once(broker, ctx, sample, caplog):
    async with client(broker.url) as nc:
        await api(nc, "STREAM.CREATE.onpath", name="onpath", subjects=["onpath.>"], duplicate_window=60 * 10**9)
        config = NatsUplinkConfig(url=broker.url, create_stream=CreateStream(max_bytes=Size(10**6)))
        for n in range(2):
            ctx.put(sample(n))
            async with running(config.create(), ctx):
                await ctx.until(lambda n=n: len(ctx.acknowledged) == n + 1)
        assert (await api(nc, "STREAM.INFO.onpath"))["config"]["duplicate_window"] == 60 * 10**9
    assert caplog.text.count("stream onpath has duplicate_window 60s, not 7200s; it is left as it is") == 1
    assert "stream onpath has max_bytes -1, not 1000000" in ctx.stats.facts["stream"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subjects": ["other.>"]}, "stream onpath takes other.>, not onpath.test.any"),
        ({"subjects": ["onpath.>"], "no_ack": True}, "stream onpath acknowledges nothing (no_ack)"),
    ],
)
async def test_a_stream_that_is_not_for_us(broker, ctx, options, said):
    async with client(broker.url) as nc:
        await api(nc, "STREAM.CREATE.onpath", name="onpath", **options)
    assert await refusal(NatsUplinkConfig(url=broker.url), ctx) == said


async def test_another_stream_has_the_subject(broker, ctx):
    async with client(broker.url) as nc:
        await api(nc, "STREAM.CREATE.first", name="first", subjects=["onpath.>"])
    said = await refusal(NatsUplinkConfig(url=broker.url), ctx)
    assert said.startswith("stream onpath cannot be created: subjects overlap")


async def test_no_stream_is_named(broker, ctx, sample):
    """Whichever takes the subject; nothing is asked of the API, so that a login needs no right to it."""
    async with client(broker.url) as nc:
        await api(nc, "STREAM.CREATE.any", name="any", subjects=["onpath.>"])
        ctx.put(sample(1))
        async with running(NatsUplinkConfig(url=broker.url, stream="").create(), ctx):
            await ctx.until(lambda: ctx.acknowledged)
        assert await seqs(nc, "any") == [1]


async def test_without_jetstream(tmp_path, ctx):
    accounts = "accounts { plain { users: [{ user: u, password: p }] } }\nno_auth_user: u"
    async with nats_broker(tmp_path / "b", extra=accounts, mqtt=False) as broker:
        said = await refusal(NatsUplinkConfig(url=broker.url), ctx)
    assert "JetStream" in said
    assert "not" in said


@pytest.mark.parametrize(("sync", "fact"), [("always", "always"), ('"1m"', "every 60 s")])
async def test_how_often_the_server_syncs_is_known_by_its_monitor(tmp_path, ctx, caplog, sync, fact):
    async with nats_broker(tmp_path / "b", jetstream=f"sync_interval: {sync}", extra='http: "127.0.0.1:-1"') as broker:
        config = NatsUplinkConfig(url=broker.url, monitor=broker.monitor)
        for _ in range(2):
            ctx.links.clear()
            async with running(config.create(), ctx):
                await ctx.until(lambda: ctx.links)
    assert ctx.stats.facts["synced"] == fact
    assert caplog.text.count("may come before the data are on its disk") == (sync != "always")


@pytest.mark.parametrize("monitor", ["", "http://127.0.0.1:1"])
async def test_or_unknown(broker, ctx, monitor):
    async with running(NatsUplinkConfig(url=broker.url, monitor=monitor).create(), ctx):
        await ctx.until(lambda: ctx.links)
    assert ctx.stats.facts["synced"].startswith("unknown (")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"url": "http://h"}, "url"),
        ({"url": "nats://"}, "url"),
        ({"url": "nats://u:p@h"}, "url"),
        ({"url": "nats://h:0"}, "url"),
        ({"url": "nats://h/x"}, "url"),
        ({"url": []}, "url"),
        ({"url": ["nats://h", "tls://h"]}, "url"),
        ({"subject": "a b"}, "subject"),
        ({"subject": "a..b"}, "subject"),
        ({"subject": "a.*"}, "subject"),
        ({"subject": "a.>"}, "subject"),
        ({"subject": "$JS.x"}, "subject"),
        ({"subject": "a.{site}"}, "subject"),
        ({"subject": "a.{gateway"}, "subject"),
        ({"stream": "a.b"}, "stream"),
        ({"stream": "", "create_stream": CreateStream()}, "stream"),
        ({"password": "p"}, "password"),
        ({"username": "u", "token": "t"}, "token"),
        ({"creds": "a", "nkey": "b"}, "nkey"),
        ({"nkey": ""}, "nkey"),
        ({"ca": "a.pem"}, "ca"),
        ({"url": "tls://h", "cert": "a.pem"}, "cert"),
        ({"timeout": Duration(0)}, "timeout"),
        ({"reconnect": Duration(0)}, "reconnect"),
        ({"monitor": "h:8222"}, "monitor"),
        ({"inbox": "a b"}, "inbox"),
    ],
)
def test_options_that_make_no_link(options, field):
    with pytest.raises(FieldError) as caught:
        NatsUplinkConfig(**({"url": "nats://h"} | options))
    assert caught.value.field == (field,)


def test_subjects():
    assert subject_for("a.{gateway}.{pipeline}", "site.7", "p", "u") == "a.site_7.p"
    assert all_subjects("a.x-{gateway}.{pipeline}") == ["a.*.*", "a.*.*.directory.*"]
    assert covers("a.>", "a.b.c")
    assert covers("a.*.c", "a.b.c")
    assert covers(">", "a")
    assert not covers("a.>", "a")
    assert not covers("a.*", "a.b.c")
    assert not covers("a.b", "a")
