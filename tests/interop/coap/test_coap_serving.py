"""What the CoAP adapter serves, used by peers that nobody here wrote: libcoap (C), npm's coap (JavaScript), aiocoap."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import aiocoap
import pytest
from aiocoap import resource
from aiocoap.resourcedirectory.client.register import Registerer

from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Point
from tests.adapters.coap.peers import Value, adapter_of, free_port
from tests.support.context import RecordingContext

HERE = Path(__file__).parent
LIBCOAP_CLIENT = shutil.which("coap-client-notls") or shutil.which("coap-client")
NODE = shutil.which("node")
ENVIRONMENT = os.environ | {"NODE_PATH": os.environ.get("NODE_PATH") or str(HERE.parent / "node_modules")}

assert LIBCOAP_CLIENT, "libcoap3-bin is not installed: make interop installs the peers"
assert NODE, "node is not installed"

SERVE = {
    "listen": "127.0.0.1:0",
    "resources": {
        "/any/{device}": {},
        "/raw/{device}": {"payload": "octets", "points": {"t": {"value": "@0 text:5"}}},
    },
    "offer": {
        "/values/{point}": {"points": ["**"], "min_interval": "50ms"},
        "/pack": {"points": ["**"], "min_interval": "50ms"},
    },
    "directory": {"rules": [{"rt": "temperature*", "point": "{name}"}]},
}


@pytest.fixture
def ctx():
    return RecordingContext("site")


class Points:
    def __init__(self, ctx, count=1):
        self.ctx = ctx
        self.ids = [ctx.points.add(Point(name=f"m/p{n:03}", unit="V")) for n in range(count)]
        self.time_ns = 0

    async def set(self, value):
        self.time_ns += 10**9
        count = len(self.ids)
        await self.ctx.emit(Frame.of(self.ids, [self.time_ns] * count, [float(value)] * count, [q.GOOD] * count))


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


@asynccontextmanager
async def process(*command):
    started = await asyncio.create_subprocess_exec(
        *map(str, command), env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def output_of(*command):
    async with process(*command) as started:
        printed, _ = await asyncio.wait_for(started.communicate(), 20)
        return printed.decode()


def libcoap(*options):
    return output_of(LIBCOAP_CLIENT, "-B", "5", *options)


def uri(adapter, path):
    return f"coap://127.0.0.1:{adapter.port}{path}"


async def test_libcoap_reads_values_packs_in_blocks_and_what_there_is(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        await Points(ctx, 100).set(230.5)
        assert await libcoap(uri(adapter, "/values/m/p007")) == "230.5\n"
        printed = await libcoap("-A", "110", uri(adapter, "/values/m/p007"))
        assert json.loads(printed) == [{"n": "m/p007", "u": "V", "v": 230.5, "t": 1}]
        assert len(json.loads(await libcoap(uri(adapter, "/pack")))) == 100
        assert len(json.loads(await libcoap("-b", "64", uri(adapter, "/pack")))) == 100
        assert (await libcoap(uri(adapter, "/.well-known/core?rt=core.rd-lookup*"))).count("<") == 2
        assert "4.04" in await libcoap(uri(adapter, "/values/none"))


async def test_libcoap_observes_a_value(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        points = Points(ctx)
        await points.set(0)
        async with process(LIBCOAP_CLIENT, "-s", "30", "-w", uri(adapter, "/values/m/p000")) as peer:
            for n in range(5):
                async with asyncio.timeout(10):
                    while (line := (await peer.stdout.readline()).strip()) != b"%d" % n:
                        assert not peer.stdout.at_eof(), line
                await points.set(n + 1)
            assert len(adapter._site._observers) == 1
        await points.set(9)  # the peer is gone: its port answers with ICMP, and it is forgotten
        await ctx.until(lambda: len(adapter._site._observers) == 0)


async def test_libcoap_proves_its_address(ctx):
    async with adapter_of(ctx, serve=SERVE | {"echo": "always"}) as adapter:
        await Points(ctx, 20).set(1)
        assert len(json.loads(await libcoap(uri(adapter, "/pack")))) == 20


@pytest.mark.parametrize("options", [(), ("-N",), ("-b", "64")])
async def test_libcoap_pushes(ctx, options):
    payload = '{"t": 21.5' + " " * 300 + "}"
    async with adapter_of(ctx, serve=SERVE) as adapter:
        for method in ("post", "put"):
            await libcoap("-m", method, "-t", "50", *options, "-e", payload, uri(adapter, "/any/d"))
        await libcoap("-m", "post", "-t", "42", *options, "-e", "ready", uri(adapter, "/raw/e"))
        await ctx.until(lambda: values(ctx, "d/t") == [21.5, 21.5] and values(ctx, "e/t"))
    assert ctx.points.states(ctx.points.find("e/t")) == ["ready"]


async def test_libcoap_registers_and_leaves(ctx):
    links = '</s/temp>%3Brt="temperature-c"%3Bobs,</x>'
    async with adapter_of(ctx, serve=SERVE) as adapter:
        rd = uri(adapter, "/rd?ep=c1&lt=600")
        printed = await libcoap("-v", "7", "-m", "post", "-t", "40", "-e", links, rd)
        assert "2.01" in printed
        listed = await libcoap(uri(adapter, "/rd-lookup/res?rt=temperature*"))
        assert listed.count("<coap://127.0.0.1:") == 1
        assert ";obs" in listed
        location = (await libcoap(uri(adapter, "/rd-lookup/ep?ep=c1"))).split(">")[0][1:]
        await libcoap("-m", "delete", uri(adapter, location))
        # libcoap's client has another port each time, which makes no difference: an endpoint is its address
        assert (await libcoap(uri(adapter, "/rd-lookup/ep"))).strip() == ""


async def test_npm_coap_reads_in_blocks_and_observes(ctx):
    async with adapter_of(ctx, serve=SERVE) as adapter:
        points = Points(ctx, 60)
        await points.set(0)
        script = HERE / "coap_observe.js"
        assert len(json.loads(await output_of(NODE, script, adapter.port, "/pack", "once"))) == 60
        async with process(NODE, script, adapter.port, "/values/m/p000", "observe") as peer:
            for n in range(5):
                async with asyncio.timeout(10):
                    while (line := (await peer.stdout.readline()).strip()) != b"%d" % n:
                        assert not peer.stdout.at_eof(), line
                await points.set(n + 1)


async def test_aiocoaps_registrant_registers_is_observed_and_leaves(ctx):
    site = resource.Site()
    temperature = Value(b"20")
    temperature.rt = "temperature-c"
    site.add_resource(["s", "temp"], temperature)
    node = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", free_port()), transports=["udp6"])
    try:
        async with adapter_of(ctx, serve=SERVE) as adapter:
            registerer = Registerer(
                node, rd=f"coap://127.0.0.1:{adapter.port}", lt=600, registration_parameters={"ep": "a1"}
            )
            await ctx.until(lambda: values(ctx, "a1/temp") == [20.0])
            temperature.set(b"21")
            await ctx.until(lambda: values(ctx, "a1/temp") == [20.0, 21.0])
            await registerer.shutdown()
            await ctx.until(lambda: ctx.links[-1] == ("a1", False, "not asked any more"))
    finally:
        await node.shutdown()
