"""The CoAP adapter against libcoap (C) and npm's coap (JavaScript), in both directions.

Needs Debian's libcoap3-bin, and node with the packages of tests/interop/package.json.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import quality as q
from gateway.point import Kind
from gateway.quality import Reason, reason_codes
from tests.adapters.coap.peers import adapter_of, free_port
from tests.support.context import RecordingContext

HERE = Path(__file__).parent
LIBCOAP_SERVER = shutil.which("coap-server-notls") or shutil.which("coap-server")
LIBCOAP_CLIENT = shutil.which("coap-client-notls") or shutil.which("coap-client")
NODE = shutil.which("node")
NODE_PATH = os.environ.get("NODE_PATH") or str(HERE.parent / "node_modules")
ENVIRONMENT = os.environ | {"NODE_PATH": NODE_PATH}

assert LIBCOAP_SERVER, "libcoap3-bin is not installed: make interop installs the peers"
assert LIBCOAP_CLIENT, "libcoap3-bin is not installed: make interop installs the peers"
assert NODE, "node is not installed"

PUSHED = {
    "/push/{device}": {"points": {"temperature": {"value": "/t"}}},
    "/v/{device}/{point}": {},
    "/any/{device}": {},
}


@pytest.fixture
def ctx():
    return RecordingContext("sensors")


@asynccontextmanager
async def started(*command, ready=None):
    """A peer's process, killed by its handle at the end; ready when it has printed ``ready``."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        if ready is not None:
            async with asyncio.timeout(10):
                while ready not in await process.stdout.readline():
                    assert not process.stdout.at_eof(), "the peer ended"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def output_of(*command):
    """What a peer's client prints."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 20)
    return printed.decode()


async def coap_client(method, port, path, payload, *options):
    """libcoap's client, printing the response (also its code, by its verbosity)."""
    uri = f"coap://127.0.0.1:{port}{path}"
    return await output_of(LIBCOAP_CLIENT, "-m", method, "-B", "5", "-v", "7", *options, "-e", payload, uri)


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


def device(port, **options):
    return {"url": f"coap://127.0.0.1:{port}", "timeout": "3s"} | options


async def test_libcoaps_server_is_observed_and_polled(ctx):
    port = free_port()
    devices = {
        "c1": device(
            port,
            every="200ms",
            observe={
                "clock": {"path": "/time", "payload": "text"},
                "ticks": {"path": "/time?ticks", "kind": "counter"},
                "temp": "/temp",
            },
            poll={"now": "/time?ticks", "none": "/nothing"},
        )
    }
    async with started(LIBCOAP_SERVER, "-A", "127.0.0.1", "-p", port, "-d", "10"):
        await coap_client("put", port, "/temp", "20.5", "-t", "text/plain")
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(values(ctx, "c1/ticks")) > 3, 15)
            await ctx.until(lambda: len(values(ctx, "c1/clock")) > 3 and len(values(ctx, "c1/now")) > 3)
            await ctx.until(lambda: values(ctx, "c1/temp") == [20.5])
            await coap_client("put", port, "/temp", "21.5", "-t", "text/plain")
            await ctx.until(lambda: values(ctx, "c1/temp") == [20.5, 21.5])
    ticks = values(ctx, "c1/ticks")
    assert ticks == sorted(ticks)
    assert len(set(ticks)) > 2
    assert ctx.points.point(ctx.points.find("c1/clock")).kind is Kind.STATE
    none = ctx.frame.value[ctx.frame.point == ctx.points.find("c1/none")]
    assert set(reason_codes(none).tolist()) == {Reason.NOT_FOUND}


async def test_an_observation_of_libcoaps_server_survives_its_restart(ctx):
    port = free_port()
    server = (LIBCOAP_SERVER, "-A", "127.0.0.1", "-p", port)
    devices = {"c1": device(port, observe={"ticks": "/time?ticks"}, refresh="500ms", timeout="500ms")}
    async with adapter_of(ctx, devices=devices):
        async with started(*server):
            await ctx.until(lambda: len(values(ctx, "c1/ticks")) > 1)
        await ctx.until(lambda: ctx.links[-1][:2] == ("c1", False))
        seen = len(values(ctx, "c1/ticks"))
        async with started(*server):
            await ctx.until(lambda: len(values(ctx, "c1/ticks")) > seen + 2, 20)
    assert ctx.links[-1] == ("c1", True, "")


@pytest.mark.parametrize(
    ("method", "path", "payload", "content_format", "stored"),
    [
        ("post", "/push/d", '{"t": 21.5}', "50", {"d/temperature": 21.5}),
        ("put", "/v/d/hum", "40.5", "0", {"d/hum": 40.5}),
        ("put", "/any/d", '[{"n":"a","v":1},{"n":"b","v":2}]', "110", {"d/a": 1.0, "d/b": 2.0}),
        ("post", "/push/d", '{"t": 1' + " " * 3000 + "}", "50", {"d/temperature": 1.0}),
    ],
)
async def test_libcoaps_client_pushes(ctx, method, path, payload, content_format, stored):
    async with adapter_of(ctx, serve={"listen": "127.0.0.1:0", "resources": PUSHED}) as adapter:
        printed = await coap_client(method, adapter.port, path, payload, "-t", content_format)
    assert "2.04" in printed
    assert {ctx.points.name(p): v for p, v in zip(ctx.frame.point, ctx.frame.value, strict=True)} == stored


async def test_libcoaps_client_waits_for_the_disk_and_hears_why_not():
    ctx = RecordingContext(hold=True)
    async with adapter_of(ctx, serve={"listen": "127.0.0.1:0", "resources": PUSHED}) as adapter:
        answer = asyncio.create_task(coap_client("post", adapter.port, "/v/d/t", "1"))
        await ctx.until(lambda: ctx.receipts)
        done, _ = await asyncio.wait({answer}, timeout=0.15)
        assert not done
        ctx.receipts[0].position.set_result(1)
        assert "2.04" in await answer
        assert "4.00" in await coap_client("post", adapter.port, "/push/d", "{", "-t", "50")
        assert "4.04" in await coap_client("post", adapter.port, "/nope", "1")
        listed = await output_of(LIBCOAP_CLIENT, f"coap://127.0.0.1:{adapter.port}/.well-known/core")
        assert "</push/{device}>" in listed


async def test_npm_coaps_server_is_observed_and_polled(ctx):
    port = free_port()
    devices = {
        "j1": device(
            port, every="100ms", observe={"temp": "/temp"}, poll={"all": {"path": "/pack", "payload": "senml"}}
        )
    }
    async with (
        started(NODE, HERE / "coap_device.js", port, 50, ready=b"listening"),
        adapter_of(ctx, devices=devices),
    ):
        await ctx.until(lambda: len(values(ctx, "j1/temp")) > 10 and len(values(ctx, "j1/hum")) > 2)
    temperatures = values(ctx, "j1/temp")
    assert temperatures == [20.0 + n for n in range(len(temperatures))]
    assert ctx.points.states(ctx.points.find("j1/mode")) == ["eco"]
    assert ctx.points.point(ctx.points.find("j1/hum")).unit == "%RH"


async def test_an_observation_of_npm_coap_survives_its_restart(ctx):
    port = free_port()
    script = HERE / "coap_device.js"
    async with adapter_of(ctx, devices={"j1": device(port, observe={"temp": "/temp"}, timeout="500ms")}):
        async with started(NODE, script, port, 50, ready=b"listening"):
            await ctx.until(lambda: len(values(ctx, "j1/temp")) > 2)
        await ctx.until(lambda: ctx.links[-1][:2] == ("j1", False))
        seen = len(values(ctx, "j1/temp"))
        async with started(NODE, script, port, 50, ready=b"listening"):
            await ctx.until(lambda: len(values(ctx, "j1/temp")) > seen + 5, 20)


@pytest.mark.parametrize(
    ("path", "content_format", "payload", "code", "stored"),
    [
        ("/push/d", "application/json", '{"t": 21.5}', "2.04", {"d/temperature": 21.5}),
        ("/v/d/hum", "text/plain", "40.5", "2.04", {"d/hum": 40.5}),
        ("/v/d/hum", "", "true", "2.04", {"d/hum": 1.0}),
        ("/push/d", "application/json", '{"t": ', "4.00", {}),
        ("/any/d", "application/senml+json", '[{"n":"a","v":1}]', "2.04", {"d/a": 1.0}),
    ],
)
async def test_npm_coaps_client_pushes(ctx, path, content_format, payload, code, stored):
    async with adapter_of(ctx, serve={"listen": "127.0.0.1:0", "resources": PUSHED}) as adapter:
        printed = await output_of(NODE, HERE / "coap_push.js", adapter.port, path, content_format, payload)
    assert printed.startswith(code)
    assert {ctx.points.name(p): v for p, v in zip(ctx.frame.point, ctx.frame.value, strict=True)} == stored
