"""Whole sessions of an edge node against the scripted broker, recorded once for all tests of the specification."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from adapters.payloads.sparkplug.codec import DataType, Payload, make_metric
from gateway import quality
from gateway.directory import Directory
from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.store.config import SpoolConfig
from gateway.uplinks.sparkplug.config import SparkplugUplinkConfig
from tests.gateway.uplinks.sparkplug.scripted import Broker, Connect, Disconnect, scripted_broker
from tests.support.uplink import RecordingUplinkContext, running, uplink_context

MS = 1_000_000
NODE, M1, ENERGY, MODE, M2, LATE = range(6)


def points() -> Directory:
    directory = Directory()
    directory.add(Point(name="frequency", unit="Hz"))
    directory.add(Point(name="m1/power", unit="W", limits=(0.0, 5000.0)))
    directory.add(Point(name="m1/energy", kind=Kind.COUNTER, resolution=1.0, unit="kW.h"))
    directory.add(Point(name="m1/mode", kind=Kind.STATE))
    directory.add(Point(name="m2/power", unit="W"))
    directory.state(MODE, "off")
    directory.state(MODE, "on")
    return directory


def rebirth() -> Payload:
    return Payload(timestamp=1, metrics=(make_metric("Node Control/Rebirth", DataType.BOOLEAN, True),))


def gone(point: int, at: int, reason=quality.Reason.LINK_DOWN) -> Frame:
    return Frame.of([point], at, [quality.no_value(reason)], quality.INVALID)


@dataclass
class Recorded:
    """What the broker saw of each session."""

    first: Broker
    second: Broker
    waited: Broker
    start_ns: int
    before_rebirth: int = 0
    after_rebirth: int = 0
    alone: int = 0


async def _send(ctx: RecordingUplinkContext, frame: Frame) -> None:
    seq = ctx.put(frame)[0].seq
    await ctx.until(lambda: seq in ctx.acknowledged)


async def _first(ctx, broker: Broker, recorded: Recorded) -> None:
    t = recorded.start_ns
    config = SparkplugUplinkConfig(url=broker.url, group="Plant 1", node="{gateway}-7")
    async with running(config.create(), ctx):
        await _send(ctx, Frame.of([NODE, M1, ENERGY, MODE, M2], t, [50.0, 100.5, 7.0, 1.0, 5.0]))
        await _send(ctx, Frame.of([M1, M1, M2], [t + 2 * MS, t + MS, t + MS], [2.0, 1.0, 3.0], [3, 0, 0]))
        await _send(ctx, Frame.of([M1], t + 3 * MS, [9.0], quality.INVALID))
        await _send(ctx, Frame.of([M1], t + 4 * MS, [10.0]))
        await _send(ctx, Frame.of([M1], t - 50 * MS, [1.0]))  # late
        await _send(ctx, gone(M2, t + 5 * MS))
        await ctx.until(lambda: "DDEATH" in broker.verbs)
        await _send(ctx, gone(M2, t + 6 * MS))
        await _send(ctx, Frame.of([M2], t + 7 * MS, [6.0]))
        for n in range(260):
            await _send(ctx, Frame.of([M1], t + (10 + n) * MS, [n]))
        ctx.directory.add(Point(name="m1/late"))
        await _send(ctx, Frame.of([LATE], t + 300 * MS, [1.0]))
        recorded.before_rebirth = len(broker.published)
        broker.tell("spBv1.0/Plant 1/NCMD/test-7", rebirth())
        await ctx.until(lambda: broker.verbs[recorded.before_rebirth :].count("DBIRTH") == 2)
        recorded.after_rebirth = len(broker.published)
        await _send(ctx, Frame.of([NODE], t + 301 * MS, [51.0]))
        recorded.alone = len(broker.published)
        for topic in ("NCMD/test-7", "DCMD/test-7/m1"):
            write = make_metric("power", DataType.DOUBLE, 1.0)
            broker.tell(f"spBv1.0/Plant 1/{topic}", Payload(timestamp=1, metrics=(write,)))
        await ctx.until(lambda: ctx.stats.refused == 2)
    await ctx.until(lambda: broker.of(Disconnect))


async def _second(ctx, broker: Broker) -> None:
    config = SparkplugUplinkConfig(url=broker.url, group="Plant 1", node="{gateway}-7", alias=False)
    async with running(config.create(), ctx):
        await _send(ctx, Frame.of([M1], time.time_ns(), [1.0]))
    await ctx.until(lambda: broker.of(Disconnect))


STATE = "spBv1.0/STATE/scada"


def state(*, online: bool, timestamp: int) -> bytes:
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


async def _waited(ctx, broker: Broker) -> None:
    """The primary host: offline (retained), then another one, then online; then an old offline, then a new one."""
    broker.retained[STATE] = state(online=False, timestamp=100)
    seq = ctx.put(Frame.of([M1], time.time_ns(), [1.0]))[0].seq
    config = SparkplugUplinkConfig(url=broker.url, group="Plant 1", host="scada")
    task = asyncio.create_task(config.create().run(ctx))
    await ctx.until(lambda: ctx.links)
    for _ in range(2):
        broker.tell("spBv1.0/STATE/other", state(online=True, timestamp=200))
        broker.tell(STATE, state(online=True, timestamp=99))
        broker.tell(STATE, b"ONLINE")
    await ctx.until(lambda: ctx.stats.refused == 4)  # a foreign topic, and what is not JSON
    assert broker.published == []
    broker.tell(STATE, state(online=True, timestamp=100))
    await ctx.until(lambda: seq in ctx.acknowledged)
    broker.tell(STATE, state(online=False, timestamp=99))
    await _send(ctx, Frame.of([M1], time.time_ns(), [2.0]))
    broker.tell(STATE, state(online=False, timestamp=101))
    with pytest.raises(LinkError, match="primary host scada is offline"):
        await asyncio.wait_for(task, 5)
    await ctx.until(lambda: broker.of(Disconnect))
    broker.retained[STATE] = state(online=True, timestamp=102)
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(broker.of(Connect)) == 2 and broker.verbs[-1] == "DBIRTH")


async def record() -> Recorded:
    with tempfile.TemporaryDirectory() as folder:
        recorded = Recorded(Broker(), Broker(), Broker(), time.time_ns() // MS * MS - 1000 * MS)
        with uplink_context(Path(folder) / "a", points(), SpoolConfig()) as ctx:
            async with scripted_broker() as recorded.first:
                await _first(ctx, recorded.first, recorded)
            async with scripted_broker() as recorded.second:
                await _second(ctx, recorded.second)
        with uplink_context(Path(folder) / "b", points()) as ctx:
            async with scripted_broker() as recorded.waited:
                await _waited(ctx, recorded.waited)
        return recorded
