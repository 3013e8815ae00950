"""The MQTT adapter at mosquitto, with mosquitto_pub as its devices."""

from __future__ import annotations

import json
import subprocess

import pytest

from adapters.mqtt.config import MqttConfig
from gateway.errors import LinkError
from tests.adapters.mqtt.support import mqtt_config
from tests.interop.mqtt.mosquitto import mosquitto, program, publish
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
