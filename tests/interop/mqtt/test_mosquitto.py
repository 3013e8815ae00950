"""The MQTT adapter at mosquitto, with mosquitto_pub as its devices."""

from __future__ import annotations

import asyncio
import json
import subprocess

import msgspec
import pytest

from adapters.mqtt.config import MqttConfig
from adapters.mqtt.publish import Publish
from gateway.errors import LinkError
from tests.adapters.mqtt.certificates import Authority
from tests.adapters.mqtt.support import mqtt_config
from tests.interop.mqtt.mosquitto import free_port, mosquitto, program, publish
from tests.support.context import RecordingContext, running

MS = 1_767_225_600_000
METER = {
    "topic": "site/{device}/telemetry",
    "time": "ts",
    "points": {"voltage": {"unit": "V"}, "power": {"value": "/meas/p"}},
}
BOTH = pytest.mark.parametrize("version", ["3.1.1", "5"])


def config(port: int, version: str, entry: dict = METER, scheme: str = "mqtt", **options) -> MqttConfig:
    return mqtt_config(entry, url=f"{scheme}://127.0.0.1:{port}", version=version, **options)


def configs(port: int, version: str, *entries: dict) -> MqttConfig:
    return mqtt_config(*entries, url=f"mqtt://127.0.0.1:{port}", version=version)


def lines(count: int, start: int = 0) -> list[str]:
    wanted = range(start, start + count)
    return [json.dumps({"ts": MS + n, "voltage": 230.5, "meas": {"p": n}}) for n in wanted]


def up(ctx) -> bool:
    return bool(ctx.links) and ctx.links[-1][1]


def powers(ctx, device: str) -> list[float]:
    return [value for _, value, _ in ctx.samples(f"{device}/power")]


@BOTH
@pytest.mark.parametrize("qos", [0, 1])
async def test_telemetry(tmp_path, version, qos):
    ctx = RecordingContext()
    async with mosquitto(tmp_path) as port, running(config(port, version, {**METER, "qos": qos}).create(), ctx):
        await ctx.until(lambda: up(ctx))
        for device in ("m1", "m2"):
            await publish(port, f"site/{device}/telemetry", *lines(200), qos=qos)
        await ctx.until(lambda: len(ctx.frame) == 800)
    for device in ("m1", "m2"):
        assert powers(ctx, device) == [float(n) for n in range(200)]
        assert [at for at, _, _ in ctx.samples(f"{device}/voltage")] == [(MS + n) * 10**6 for n in range(200)]
    assert (ctx.stats.messages, ctx.stats.errors) == (400, 0)


@BOTH
async def test_a_device_that_speaks_the_other_version_with_properties(tmp_path, version):
    ctx = RecordingContext()
    properties = ("-V", "5", "-D", "publish", "user-property", "site", "west")
    properties += ("-D", "publish", "content-type", "application/json")
    async with mosquitto(tmp_path) as port, running(config(port, version).create(), ctx):
        await ctx.until(lambda: up(ctx))
        await publish(port, "site/m1/telemetry", *lines(5), options=properties)
        await ctx.until(lambda: len(ctx.frame) == 10)
    assert powers(ctx, "m1") == [0.0, 1.0, 2.0, 3.0, 4.0]


@BOTH
async def test_a_persistent_session_brings_what_was_sent_meanwhile_and_what_was_not_acknowledged(tmp_path, version):
    first, second = RecordingContext(hold=True), RecordingContext()
    async with mosquitto(tmp_path) as port:
        made = config(port, version).create()
        async with running(made, first):
            await first.until(lambda: up(first))
            await publish(port, "site/m1/telemetry", *lines(3))
            await first.until(lambda: len(first.frame) == 6)
        await publish(port, "site/m1/telemetry", *lines(30, start=3))
        async with running(made, second):
            await second.until(lambda: len(second.frame) == 66 and up(second))
        assert second.links[0] == ("", True, "session resumed")
        assert powers(second, "m1") == [float(n) for n in range(33)]
        third = RecordingContext()
        async with running(made, third):
            await third.until(lambda: up(third))
            await publish(port, "site/m1/telemetry", *lines(1, start=99))
            await third.until(lambda: third.frames)
        assert powers(third, "m1") == [99.0]


@BOTH
async def test_a_session_that_is_not_kept(tmp_path, version):
    ctx = RecordingContext()
    async with mosquitto(tmp_path) as port:
        made = config(port, version, session={"clean": True}).create()
        for _ in range(2):
            async with running(made, ctx):
                seen = len(ctx.links)
                await ctx.until(lambda seen=seen: len(ctx.links) > seen)
            await publish(port, "site/m1/telemetry", *lines(1))
    assert not ctx.frames
    assert {link[2] for link in ctx.links} == {"new session"}


@BOTH
async def test_bad_messages_beyond_the_window_block_nothing(tmp_path, version):
    """mosquitto lets 20 messages be in flight."""
    ctx = RecordingContext()
    async with mosquitto(tmp_path) as port, running(config(port, version, max_payload="1KiB").create(), ctx):
        await ctx.until(lambda: up(ctx))
        await publish(port, "site/m1/telemetry", *["{oops", "x" * 5000] * 50, *lines(1, start=7))
        await ctx.until(lambda: ctx.frames)
    assert ctx.stats.reasons == {"unparsable": 50, "oversize": 50}
    assert powers(ctx, "m1") == [7.0]


@pytest.fixture
def password_file(tmp_path):
    file = tmp_path / "passwords"
    subprocess.run([program("mosquitto_passwd"), "-b", "-c", str(file), "gw", "secret"], check=True)
    return file


@BOTH
async def test_a_login(tmp_path, password_file, version):
    async with mosquitto(tmp_path, f"allow_anonymous false\npassword_file {password_file}") as port:
        ctx = RecordingContext()
        async with running(config(port, version, username="gw", password="secret").create(), ctx):
            await ctx.until(lambda: up(ctx))
        for login in ({}, {"username": "gw", "password": "x"}):
            with pytest.raises(LinkError, match=r"(?i)not authori|user name or password"):
                await config(port, version, **login).create().run(RecordingContext())


async def flow(port: int, total: int) -> None:
    for start in range(0, total, 50):
        await publish(port, "site/m1/telemetry", *lines(50, start=start))


@BOTH
async def test_a_flow_of_qos_1_loses_nothing_while_topics_come_and_go(tmp_path, version):
    ctx, total = RecordingContext(), 3000
    async with mosquitto(tmp_path, "allow_anonymous true\nmax_queued_messages 0") as port:
        made = config(port, version).create()
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            flowing = asyncio.create_task(flow(port, total))
            changes = 0
            while not flowing.done():
                more = [{"topic": f"x{changes % 3}/{{device}}"}, {"topic": f"y{changes % 2}/{{device}}/z"}]
                entries = (METER, *more) if changes % 4 else (METER,)
                assert await made.reconfigure(configs(port, version, *entries))
                changes += 1
                seen = ctx.stats.messages
                await ctx.until(lambda seen=seen: ctx.stats.messages > seen or flowing.done())
            await flowing
            await ctx.until(lambda: len(powers(ctx, "m1")) >= total)
    assert changes > 5
    assert powers(ctx, "m1") == [float(n) for n in range(total)]
    assert len(ctx.links) == 1
    assert not ctx.stats.reasons


async def test_members_of_a_group_share_the_messages(tmp_path):
    first, second = RecordingContext("one"), RecordingContext("two")
    async with mosquitto(tmp_path) as port:
        made = [config(port, "5", {**METER, "share": "gateways"}).create() for _ in range(2)]
        async with running(made[0], first), running(made[1], second):
            await first.until(lambda: up(first) and up(second))
            await publish(port, "site/m1/telemetry", *lines(200))
            await first.until(lambda: first.stats.messages + second.stats.messages == 200)
    both = powers(first, "m1") + powers(second, "m1")
    assert sorted(both) == [float(n) for n in range(200)]
    assert first.frames
    assert second.frames


@BOTH
async def test_retained_messages(tmp_path, version):
    ctx = RecordingContext()
    entries = [{**METER, "topic": f"{kind}/{{device}}", "retained": kind} for kind in ("take", "new", "ignore")]
    async with mosquitto(tmp_path) as port:
        for kind in ("take", "new", "ignore"):
            await publish(port, f"{kind}/{kind}", *lines(1), options=("-r",))
        made = configs(port, version, *entries).create()
        async with running(made, ctx):
            await ctx.until(lambda: len(ctx.frame) == 4)
        async with running(made, ctx):
            await ctx.until(lambda: len(ctx.frame) == 6 and len(ctx.links) == 2)
            for kind in ("new", "ignore"):
                await publish(port, f"{kind}/{kind}", *lines(1, start=5))
            await ctx.until(lambda: len(ctx.frame) == 10)
    assert powers(ctx, "take") == [0.0, 0.0]
    assert powers(ctx, "new") == [0.0, 5.0]
    assert powers(ctx, "ignore") == [5.0]


async def test_the_broker_sends_no_more_than_we_allow(tmp_path):
    ctx = RecordingContext(hold=True)
    async with mosquitto(tmp_path) as port:
        made = config(port, "5", receive_maximum=3).create()
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            await publish(port, "site/m1/telemetry", *lines(50))
            await ctx.until(lambda: ctx.stats.messages == 3)
            # The broker answers a probe behind all that it has sent
            await asyncio.gather(*(publish(port, "other", "x") for _ in range(2)))
            assert ctx.stats.messages == 3


async def test_user_properties_become_labels(tmp_path):
    ctx = RecordingContext()
    entry = {**METER, "labels": {"line": "prop:line"}}
    properties = ("-V", "5", "-D", "publish", "user-property", "line", "west-4")
    async with mosquitto(tmp_path) as port, running(config(port, "5", entry).create(), ctx):
        await ctx.until(lambda: up(ctx))
        await publish(port, "site/m1/telemetry", *lines(3), options=properties)
        await ctx.until(lambda: len(ctx.frame) == 6)
    point = ctx.points.point(ctx.points.find("m1/power"))
    assert point.labels == {"line": "west-4"}


async def test_the_state_of_the_gateway(tmp_path):
    """A killed connection leaves the will, an orderly end the gateway's own word."""
    ctx = RecordingContext("bus")
    async with mosquitto(tmp_path) as port:
        made = config(port, "5", state_topic="st/{gateway}/{adapter}").create()
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            assert (await retained(port, "st/test/bus"))["state"] == "online"
        assert (await retained(port, "st/test/bus"))["why"] == "stopped"
        task = asyncio.create_task(made.run(ctx))
        await ctx.until(lambda: up(ctx) and len(ctx.links) == 2)
        made._link._session._transport.abort()
        with pytest.raises(LinkError):
            await task
        assert (await retained(port, "st/test/bus", wait_for="link lost"))["state"] == "offline"


async def retained(port: int, topic: str, *, wait_for: str = "") -> dict:
    """What the broker keeps for a topic."""
    command = [program("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-C", "1"]
    async with asyncio.timeout(10):
        while True:
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            said, _ = await process.communicate()
            if wait_for in said.decode():
                return json.loads(said)


@BOTH
async def test_over_websockets(tmp_path, version):
    ctx, web = RecordingContext(), free_port()
    listener = f"allow_anonymous true\nlistener {web} 127.0.0.1\nprotocol websockets"
    async with mosquitto(tmp_path, listener) as port:
        made = msgspec.structs.replace(config(port, version), url=f"ws://127.0.0.1:{web}/mqtt").create()
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            await publish(port, "site/m1/telemetry", *lines(500))
            await ctx.until(lambda: len(ctx.frame) == 1000)
    assert powers(ctx, "m1") == [float(n) for n in range(500)]


@BOTH
async def test_certificates_on_both_sides_and_rights_by_name(tmp_path, version):
    """The certificate's name is the user's; what it may not read does not come."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("broker")
    own = authority.issue("feeder-7")
    rights = tmp_path / "acl"
    rights.write_text("user feeder-7\ntopic read site/m1/#\ntopic readwrite st/#\nuser device\ntopic write #\n")
    options = f"allow_anonymous false\ncafile {authority.file}\ncertfile {cert}\nkeyfile {key}\n"
    options += f"require_certificate true\nuse_identity_as_username true\nacl_file {rights}"
    device = authority.issue("device")
    as_device = ("--cafile", str(authority.file), "--cert", str(device[0]), "--key", str(device[1]))
    files = {"ca": str(authority.file), "cert": str(own[0]), "key": str(own[1])}
    ctx = RecordingContext()
    async with mosquitto(tmp_path, options) as port:
        made = config(port, version, scheme="mqtts", state_topic="st/a", **files).create()
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            await publish(port, "site/m2/telemetry", *lines(10), options=as_device)
            await publish(port, "site/m1/telemetry", *lines(10), options=as_device)
            await ctx.until(lambda: len(ctx.frame) == 20)
        assert ctx.points.find("m2/power") is None
        with pytest.raises(LinkError, match=r"certificate required|may want a client certificate"):
            await config(port, version, scheme="mqtts", ca=files["ca"]).create().run(RecordingContext())


async def test_what_may_not_be_published_is_counted(tmp_path):
    rights = tmp_path / "acl"
    rights.write_text("topic read #\ntopic write st/will\n")
    ctx = RecordingContext()
    async with mosquitto(tmp_path, f"allow_anonymous true\nacl_file {rights}") as port:
        made = config(port, "5").create()
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            made._link._session.publish([Publish("not/ours", b"x", qos=1), Publish("st/will", b"x", qos=1)])
            await ctx.until(lambda: ctx.stats.reasons["publish-refused"])
    assert ctx.stats.reasons == {"publish-refused": 1}


@pytest.fixture
def certificate(tmp_path):
    """A broker's own certificate and key."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=broker"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@BOTH
async def test_tls(tmp_path, certificate, version):
    cert, key = certificate
    ctx = RecordingContext()
    async with mosquitto(tmp_path, f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}") as port:
        made = config(port, version, scheme="mqtts", ca=str(cert)).create()
        async with running(made, ctx):
            await ctx.until(lambda: up(ctx))
            await publish(port, "site/m1/telemetry", *lines(50), options=("--cafile", str(cert)))
            await ctx.until(lambda: len(ctx.frame) == 100)
        with pytest.raises(LinkError, match="certificate"):
            await config(port, version, scheme="mqtts").create().run(RecordingContext())
    assert powers(ctx, "m1") == [float(n) for n in range(50)]
