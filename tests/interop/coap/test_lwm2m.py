"""The LwM2M server against npm's coap-node, a client of LwM2M 1.0 (TLV). Needs node with the packages beside."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import quality as q
from gateway.quality import Reason, reason_codes
from tests.adapters.coap.peers import adapter_of
from tests.support.context import RecordingContext

HERE = Path(__file__).parent
NODE = shutil.which("node")
ENVIRONMENT = os.environ | {"NODE_PATH": os.environ.get("NODE_PATH") or str(HERE.parent / "node_modules")}

assert NODE, "node is not installed"


@pytest.fixture
def ctx():
    return RecordingContext("park")


class CoapNode:
    """The client's process; it is told what to do by lines."""

    def __init__(self, process) -> None:
        self.process = process

    async def tell(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")
        await self.process.stdin.drain()

    async def until(self, line: str) -> None:
        """Wait until it has printed a line."""
        async with asyncio.timeout(15):
            while (printed := (await self.process.stdout.readline()).decode().strip()) != line:
                assert not self.process.stdout.at_eof(), "the client ended"
                assert not printed.startswith("error"), printed


@asynccontextmanager
async def coap_node(port, endpoint, lifetime=600):
    process = await asyncio.create_subprocess_exec(
        NODE,
        str(HERE / "lwm2m_client.js"),
        str(port),
        endpoint,
        str(lifetime),
        env=ENVIRONMENT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield CoapNode(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def good(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


@pytest.mark.parametrize("accept", ["auto", "json"])
async def test_coap_node_registers_is_observed_and_leaves(ctx, accept):
    serve = {"listen": "127.0.0.1:0", "lwm2m": {"accept": accept}}
    async with adapter_of(ctx, serve=serve) as adapter, coap_node(adapter.port, "urn:dev:n1") as client:
        await client.until("registered 2.01")
        await ctx.until(lambda: good(ctx, "urn-dev-n1/temperature") == [21.5], 20)
        await ctx.until(lambda: good(ctx, "urn-dev-n1/energy") == [12.5])
        await client.tell("set 3303 0 5700 22.5")
        await ctx.until(lambda: good(ctx, "urn-dev-n1/temperature")[-1] == 22.5)
        await client.tell("update 700")
        await client.until("updated 2.04")  # it comes from a port where it does not listen
        await ctx.until(lambda: good(ctx, "urn-dev-n1/temperature")[-2:] == [22.5, 22.5], 20)
        await client.tell("set 3303 0 5700 23.5")
        await ctx.until(lambda: good(ctx, "urn-dev-n1/temperature")[-1] == 23.5)
        assert set(good(ctx, "urn-dev-n1/power")) == {1500.0}
        assert set(good(ctx, "urn-dev-n1/supply_voltage")) == {100.0}
        await ctx.until(lambda: ctx.stats.devices["urn-dev-n1"]["observed"] == 3)
        await client.tell("leave")
        await client.until("left 2.02")
        await ctx.until(lambda: ctx.links[-1] == ("urn-dev-n1", False, "de-registered"))
        point = ctx.points.find("urn-dev-n1/temperature")
        await ctx.until(lambda: Reason.LINK_DOWN in reason_codes(ctx.frame.value[ctx.frame.point == point]))
    assert not ctx.rejected


async def test_coap_node_is_missed_when_it_is_killed(ctx):
    serve = {"listen": "127.0.0.1:0", "lwm2m": {}}
    async with adapter_of(ctx, serve=serve) as adapter:
        async with coap_node(adapter.port, "n1", lifetime=3) as client:
            await client.until("registered 2.01")
            await ctx.until(lambda: good(ctx, "n1/temperature") == [21.5], 20)
        await ctx.until(lambda: ctx.links[-1][:2] == ("n1", False), 20)
        await ctx.until(lambda: len(adapter._lwm2m) == 0, 20)
