"""The Sparkplug host at mosquitto and at nats-server, with npm sparkplug-client as the edge node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import quality as q
from tests.adapters.mqtt.support import mqtt_config, publisher
from tests.interop.mqtt.mosquitto import mosquitto
from tests.support.context import RecordingContext, running
from tests.support.nats import nats_broker

HERE = Path(__file__).parent
NODE_PATH = os.environ.get("NODE_PATH") or str(HERE.parent / "node_modules")
STALE = q.INVALID | q.OLD_DATA
ENTRY = {
    "topic": "spBv1.0/+/+/+/#",
    "payload": "sparkplug",
    "sparkplug": {"host": "onpath-1", "device": "{edge}-{device}", "reorder": "1s"},
}
BIRTHS = {
    "": [{"name": "Supply/Voltage", "type": "Float", "value": 230.5, "alias": 1, "properties": {
        "engUnit": {"type": "String", "value": "V"}, "engLow": {"type": "Double", "value": 0},
        "engHigh": {"type": "Double", "value": 400}}}],
    "pump": [
        {"name": "flow", "type": "Double", "value": 1.25, "alias": 10},
        {"name": "count", "type": "UInt32", "value": 4_000_000_000},
        {"name": "total", "type": "UInt64", "value": 7},
        {"name": "level", "type": "Int32", "value": -7},
        {"name": "mode", "type": "String", "value": "auto"},
        {"name": "on", "type": "Boolean", "value": True},
        {"name": "none", "type": "Double", "value": None},
        {"name": "motor", "type": "Template", "value": {"isDefinition": False, "templateRef": "Motor", "metrics": [
            {"name": "speed", "type": "Int32", "value": 1500}]}},
        {"name": "table", "type": "DataSet", "value": {
            "numOfColumns": 1, "columns": ["a"], "types": ["Double"], "rows": [[1.5]]}},
    ],
}  # fmt: skip


@asynccontextmanager
async def some_broker(name: str, folder: Path):
    """The port of mosquitto or nats-server."""
    if name == "mosquitto":
        async with mosquitto(folder) as port:
            yield port
    else:
        async with nats_broker(folder) as broker:
            yield broker.mqtt_port


@pytest.fixture(params=["mosquitto", "nats"])
async def port(request, tmp_path):
    async with some_broker(request.param, tmp_path) as number:
        yield number


class Edge:
    """The process of an edge node."""

    def __init__(self, process):
        self.process = process

    async def born(self):
        assert await asyncio.wait_for(self.process.stdout.readline(), 20) == b"born\n"

    def say(self, **command):
        self.process.stdin.write(json.dumps(command).encode() + b"\n")


def installed() -> str:
    """The path of node."""
    node = shutil.which("node")
    if node is None or not Path(NODE_PATH, "sparkplug-client").exists():
        pytest.fail("needs node, and sparkplug-client in tests/interop/node_modules (make interop)")
    return node


@asynccontextmanager
async def edge_node(port: int):
    """An edge node that is connected and born."""
    process = await asyncio.create_subprocess_exec(
        installed(), str(HERE / "sparkplug_edge.js"), f"mqtt://127.0.0.1:{port}", json.dumps(BIRTHS),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "NODE_PATH": NODE_PATH},
    )  # fmt: skip
    try:
        edge = Edge(process)
        await edge.born()
        yield edge
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def edge_node_long_since(port: int):
    """An edge node whose births the broker has passed on before."""
    async with publisher(port) as watcher:
        await watcher.subscribe("spBv1.0/+/DBIRTH/#")
        async with edge_node(port) as edge:
            await asyncio.wait_for(anext(aiter(watcher.messages)), 20)
            yield edge


def host(port: int, **options):
    return mqtt_config(ENTRY, url=f"mqtt://127.0.0.1:{port}", **options).create()


def up(ctx) -> bool:
    return bool(ctx.links) and ctx.links[-1][1]


def latest(ctx, name: str):
    """(value, quality) of the last sample."""
    found = ctx.samples(name)
    return found[-1][1:] if found else None


async def test_births_and_data(port):
    ctx = RecordingContext()
    async with running(host(port), ctx):
        await ctx.until(lambda: up(ctx))
        async with edge_node(port) as edge:
            await ctx.until(lambda: latest(ctx, "E1-pump/motor/speed"), 20)
            assert latest(ctx, "E1/Supply/Voltage") == (230.5, 0)
            assert latest(ctx, "E1-pump/flow") == (1.25, 0)
            assert latest(ctx, "E1-pump/count") == (4e9, 0)
            assert latest(ctx, "E1-pump/total") == (7.0, 0)
            assert latest(ctx, "E1-pump/level") == (-7.0, 0)
            assert latest(ctx, "E1-pump/on") == (1.0, 0)
            assert latest(ctx, "E1-pump/none")[1] == q.INVALID
            assert latest(ctx, "E1-pump/motor/speed") == (1500.0, 0)
            voltage = ctx.points.point(ctx.points.find("E1/Supply/Voltage"))
            assert (voltage.unit, voltage.limits) == ("V", (0.0, 400.0))
            for number in range(300):
                edge.say(device="pump", metrics=[{"alias": 10, "type": "Double", "value": number + 0.5}])
            edge.say(metrics=[{"name": "Supply/Voltage", "type": "Float", "value": 231.5}], compress=True)
            await ctx.until(lambda: latest(ctx, "E1/Supply/Voltage") == (231.5, 0), 20)
            assert [value for _, value, _ in ctx.samples("E1-pump/flow")] == [1.25, *(n + 0.5 for n in range(300))]
            edge.say(device="pump", death=True)
            await ctx.until(lambda: latest(ctx, "E1-pump/flow")[1] == STALE)
            assert latest(ctx, "E1/Supply/Voltage") == (231.5, 0)
    assert ctx.stats.reasons == {"dataset": 1}
    assert [finding.identity for finding in ctx.findings] == ["Plant1/E1", "Plant1/E1/pump"]


async def test_an_edge_node_that_is_killed_is_stale(port):
    ctx = RecordingContext()
    async with running(host(port), ctx):
        await ctx.until(lambda: up(ctx))
        async with edge_node(port) as edge:
            await ctx.until(lambda: latest(ctx, "E1-pump/flow") == (1.25, 0), 20)
            edge.process.kill()
            await ctx.until(lambda: latest(ctx, "E1-pump/flow")[1] == STALE, 30)
        assert latest(ctx, "E1/Supply/Voltage")[1] == STALE
        assert ("E1", False, "the edge node died") in ctx.links
        async with edge_node(port):
            await ctx.until(lambda: latest(ctx, "E1-pump/flow") == (1.25, 0), 20)
    assert set(ctx.stats.reasons) <= {"dataset"}


async def test_an_edge_node_that_is_there_before_the_host_is_asked_for_its_births(port):
    ctx = RecordingContext()
    async with edge_node_long_since(port) as edge, running(host(port), ctx):
        await ctx.until(lambda: up(ctx))
        edge.say(device="pump", metrics=[{"alias": 10, "type": "Double", "value": 9.5}])
        await edge.born()
        await ctx.until(lambda: latest(ctx, "E1-pump/flow") == (1.25, 0), 20)
        edge.say(device="pump", metrics=[{"alias": 10, "type": "Double", "value": 10.5}])
        await ctx.until(lambda: latest(ctx, "E1-pump/flow") == (10.5, 0), 20)
    assert ctx.stats.reasons == {"before-birth": 1, "dataset": 1}


async def test_a_host_that_returns_asks_the_nodes_that_it_knows(port):
    ctx = RecordingContext()
    async with edge_node_long_since(port) as edge:
        for _ in range(2):
            async with running(host(port), ctx):
                seen = len(ctx.frame)
                await ctx.until(lambda: up(ctx))
                edge.say(device="pump", metrics=[{"alias": 10, "type": "Double", "value": 9.5}])
                await edge.born()
                await ctx.until(lambda seen=seen: len(ctx.frame) > seen, 20)
