"""The Sparkplug uplink at mosquitto: a host of npm's mqtt and sparkplug-payload, and onpath itself as the host."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.uplinks.sparkplug.config import SparkplugUplinkConfig
from tests.adapters.mqtt.support import mqtt_config
from tests.gateway.uplinks.sparkplug.scripted import Proxy
from tests.interop.mqtt.mosquitto import mosquitto
from tests.support.context import RecordingContext
from tests.support.context import running as running_adapter
from tests.support.uplink import running, uplink_context

HERE = Path(__file__).parent
NODE_PATH = os.environ.get("NODE_PATH") or str(HERE.parent / "node_modules")
MS = 1_000_000
FREQUENCY, POWER, ENERGY, MODE = range(4)


def points() -> Directory:
    directory = Directory()
    directory.add(Point(name="frequency", unit="Hz"))
    directory.add(Point(name="m1/power", unit="W", limits=(0.0, 5000.0)))
    directory.add(Point(name="m1/energy", kind=Kind.COUNTER, resolution=1.0))
    directory.add(Point(name="m1/mode", kind=Kind.STATE))
    for text in ("off", "on"):
        directory.state(MODE, text)
    return directory


class HostPeer:
    """The process of the host, and what it heard."""

    def __init__(self, process) -> None:
        self._process = process
        self.heard: list[dict] = []

    async def read(self) -> None:
        while line := await self._process.stdout.readline():
            if message := json.loads(line):
                self.heard.append(message)

    def say(self, **command) -> None:
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    @property
    def verbs(self) -> list[str]:
        return [f"{message['verb']} {message['device']}".strip() for message in self.heard]

    def metrics(self, what: str) -> dict[str, dict]:
        """Metrics of the last message of a verb and device."""
        found = [message for message, verb in zip(self.heard, self.verbs, strict=True) if verb == what]
        return {metric["name"]: metric for metric in found[-1]["metrics"]}


def installed() -> str:
    """The path of node."""
    node = shutil.which("node")
    if node is None or not Path(NODE_PATH, "sparkplug-payload").exists():
        pytest.fail("needs node, and sparkplug-payload in tests/interop/node_modules (make interop)")
    return node


@asynccontextmanager
async def host_peer(port: int, host: str = "scada"):
    process = await asyncio.create_subprocess_exec(
        installed(), str(HERE / "host.js"), f"mqtt://127.0.0.1:{port}", host,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "NODE_PATH": NODE_PATH},
    )  # fmt: skip
    peer = HostPeer(process)
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"{}\n"
    task = asyncio.create_task(peer.read())
    try:
        yield peer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def port(tmp_path):
    async with mosquitto(tmp_path) as number:
        yield number


@pytest.fixture
def ctx(tmp_path_factory):
    with uplink_context(tmp_path_factory.mktemp("state"), points()) as context:
        yield context


def config(port: int, **options) -> SparkplugUplinkConfig:
    return SparkplugUplinkConfig(url=f"mqtt://127.0.0.1:{port}", group="Plant1", **options)


def now() -> int:
    return time.time_ns() // MS * MS


@pytest.mark.parametrize("options", [{}, {"alias": False, "datatypes": True}, {"qos": 1}], ids=str)
async def test_births_data_and_deaths(port, ctx, options):
    at = now()
    async with host_peer(port) as host:
        async with running(config(port, **options).create(), ctx):
            ctx.put(Frame.of([FREQUENCY, POWER, ENERGY, MODE], at, [50.01, -12.5, 2.0**53, 1.0]))
            await ctx.until(lambda: {"NDATA", "DDATA m1"} <= set(host.verbs))
            ctx.put(Frame.of([POWER], at + MS, [q.no_value(q.Reason.STALE)], q.INVALID))
            await ctx.until(lambda: host.verbs.count("DDATA m1") == 2)
        await ctx.until(lambda: host.verbs[-1] == "NDEATH")
    assert host.metrics("NBIRTH")["Node Control/Rebirth"]["value"] is False
    assert host.metrics("NBIRTH")["bdSeq"]["value"] == host.metrics("NDEATH")["bdSeq"]["value"] == 0
    power = host.metrics("DBIRTH m1")["power"]
    assert (power["type"], power["properties"]["engUnit"]["value"]) == ("Double", "W")
    assert power["properties"]["Quality"]["type"] == "Int32"
    first = host.heard[host.verbs.index("DDATA m1")]
    assert [(metric["type"], metric["value"], metric["timestamp"]) for metric in first["metrics"]] == [
        ("Double", -12.5, at // MS), ("Int64", 2**53, at // MS), ("String", "on", at // MS),
    ]  # fmt: skip
    assert first["bare"] is not options.get("datatypes", False)
    bad = host.metrics("DDATA m1")["power"]
    assert (bad["value"], bad["properties"]["Quality"]["value"]) == (None, 500)
    numbers = [message["seq"] for message in host.heard if message["verb"] != "NDEATH"]
    births = [n for n, verb in enumerate(host.verbs) if verb == "NBIRTH"]
    assert numbers[births[-1] :] == list(range(len(numbers) - births[-1]))


async def test_a_host_asks_for_births_and_tries_to_write(port, ctx):
    async with host_peer(port) as host, running(config(port).create(), ctx):
        ctx.put(Frame.of([POWER], now(), [1.0]))
        await ctx.until(lambda: "DDATA m1" in host.verbs)
        start = len(host.heard)
        write = {"name": "power", "type": "Double", "value": 1.0}
        host.say(topic="spBv1.0/Plant1/DCMD/test/m1", metrics=[write])
        rebirth = {"name": "Node Control/Rebirth", "type": "Boolean", "value": True}
        host.say(topic="spBv1.0/Plant1/NCMD/test", metrics=[rebirth])
        await ctx.until(lambda: host.verbs[start:] == ["NBIRTH", "DBIRTH m1"] and ctx.stats.refused == 1)
        assert host.metrics("DBIRTH m1")["power"]["value"] == 1.0


async def test_everything_waits_for_the_primary_host(port, ctx):
    task = asyncio.create_task(config(port, host="scada").create().run(ctx))
    seq = ctx.put(Frame.of([POWER], now(), [1.0]))[0].seq
    await ctx.until(lambda: ctx.links)
    assert ctx.acknowledged == []
    async with host_peer(port) as host:
        await ctx.until(lambda: ctx.acknowledged == [seq] and "DDATA m1" in host.verbs)
        host.say(online=False)
        await ctx.until(lambda: host.verbs[-1] == "NDEATH")
        with pytest.raises(LinkError, match="primary host scada is offline"):
            await asyncio.wait_for(task, 5)


@asynccontextmanager
async def onpath_host(port: int):
    ctx = RecordingContext()
    entry = {
        "topic": "spBv1.0/Plant1/#",
        "payload": "sparkplug",
        "sparkplug": {"host": "scada", "device": "{edge}-{device}", "reorder": "1s"},
    }
    async with running_adapter(mqtt_config(entry, url=f"mqtt://127.0.0.1:{port}").create(), ctx):
        await ctx.until(lambda: ctx.links and ctx.links[-1][1])
        yield ctx


async def test_onpath_to_onpath(port, ctx):
    """Values, times, quality, history and staleness arrive at a gateway that is the host."""
    at = now()
    old = at - 60_000 * MS
    with ctx.db:
        ctx.spool.append("out", "p", Frame.of([POWER], old, [7.0]), old)
    ctx.feed.restart(ctx.spool.newest)
    async with onpath_host(port) as host:
        async with running(config(port, host="scada").create(), ctx):
            ctx.put(Frame.of([FREQUENCY, POWER, ENERGY, MODE], at, [50.01, -12.5, 2.0**53, 1.0]))
            ctx.put(Frame.of([POWER], at + MS, [1.0], q.INVALID))
            await host.until(lambda: (at + MS, 1.0, q.INVALID) in host.samples("test-m1/power"))
            assert (old, 7.0, q.HISTORICAL) in host.samples("test-m1/power")
            assert (at, -12.5, q.GOOD) in host.samples("test-m1/power")
            assert (at, 2.0**53, q.GOOD) in host.samples("test-m1/energy")
            assert (at, 50.01, q.GOOD) in host.samples("test/frequency")
            mode = host.points.find("test-m1/mode")
            await host.until(lambda: host.samples("test-m1/mode")[-1][0] == at)
            assert host.points.states(mode)[int(host.samples("test-m1/mode")[-1][1])] == "on"
            assert host.points.point(host.points.find("test-m1/power")).unit == "W"
        await host.until(lambda: host.samples("test/frequency")[-1][2] & q.INVALID)
        assert host.stats.reasons == {}


async def test_onpath_to_onpath_when_the_connection_is_cut(port, ctx):
    cut = Proxy(port)
    async with onpath_host(port) as host, cut.serving() as way:
        task = asyncio.create_task(config(way).create().run(ctx))
        ctx.put(Frame.of([POWER], now(), [1.0]))
        await host.until(lambda: host.samples("test-m1/power") and host.samples("test-m1/power")[-1][1] == 1.0)
        cut.abort()
        with pytest.raises(LinkError):
            await asyncio.wait_for(task, 5)
        await host.until(lambda: host.samples("test-m1/power")[-1][2] & q.INVALID)
        async with running(config(port).create(), ctx):
            ctx.put(Frame.of([POWER], now(), [2.0]))
            await host.until(lambda: host.samples("test-m1/power")[-1][1:] == (2.0, q.GOOD))
