"""The real daemon in the benchmarks: its configuration, its counters, and what it must not have lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.benchmarks import machine, traffic
from tests.support.daemon import Daemon, daemon

WINDOW = "window: {every: 10s, stats: [count, mean, min, max, last], lateness: 1s}"
DEADBAND = "deadband: {percent: 0.2, max_silence: 60s}"

MQTT = """
adapters:
  bus:
    type: mqtt
    url: mqtt://127.0.0.1:{port}
    client_id: {client}
    linger: {linger}
    subscribe:
      - {{topic: "{topic}", time: ts, qos: {qos}, points: {points}}}
"""
UPLINK = """
uplinks:
  up: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", topic: "up/{{pipeline}}", time: {time}}}
"""
REDUCE = f"""
pipelines:
  live: {{from: ["**"], steps: [{{limits: {{}}}}, {{{DEADBAND}}}], to: [up]}}
  windows: {{from: ["**"], steps: [{{{WINDOW}}}], to: [up]}}
"""
PASS = """
pipelines:
  live: {from: ["**"], steps: [], to: [up]}
"""


def mqtt(port: int, qos: int, client: str, linger: str = "5ms") -> str:
    """The adapter for the traffic of :mod:`tests.benchmarks.traffic`."""
    return MQTT.format(port=port, client=client, topic=traffic.TOPIC, qos=qos, points=traffic.POINTS, linger=linger)


def uplink(port: int, time: str = "rfc3339") -> str:
    """An MQTT uplink to the same broker."""
    return UPLINK.format(port=port, time=time)


@contextlib.asynccontextmanager
async def running(folder: Path, config: str) -> AsyncIterator[Daemon]:
    """The daemon over a fresh folder, every adapter connected; stopped in order in the end."""
    await asyncio.to_thread(folder.mkdir)
    async with daemon(folder, config) as process:
        await process.until(lambda s: all(a["link"] == "up" for a in s["adapters"].values()))
        yield process
        await asyncio.to_thread(process.stop)


async def settled(process: Daemon, condition: Callable[[dict], bool], timeout_s: float = 120.0) -> dict:
    """Wait until ``condition`` holds, asking ten times a second: a question costs the daemon a millisecond."""
    async with asyncio.timeout(timeout_s):
        while True:
            status = await process.status()
            if condition(status):
                return status
            await asyncio.sleep(0.1)


def cpu_s(process: Daemon) -> float:
    """User and system time of the daemon so far."""
    return machine.cpu_s(process.process.pid)


def through(status: dict, messages: int, samples: int, pipeline: str = "live") -> bool:
    """Whether so much was taken, processed, sent and acknowledged."""
    up = status["uplinks"]["up"]
    taken = sum(adapter["messages"] for adapter in status["adapters"].values())
    done = status["pipelines"][pipeline]["in"] >= samples
    return taken >= messages and done and not up["spool"]["rows"] and up["messages"] == up["acknowledged"]


def check(status: dict, samples: int | None = None) -> None:
    """Nothing may be lost or unexplained.

    Raises:
        RuntimeError: something was; the figures mean nothing then.
    """
    wrong = []
    for name, adapter in status["adapters"].items():
        if adapter["errors"]:
            wrong.append(f"adapter {name}: {adapter['reasons']}")
    for name, row in status["pipelines"].items():
        explained = row["out"] + row["filtered"] + row["aggregated"] + row["dropped"] + row["queued"]
        if row["in"] + row["derived"] != explained or row["dropped"]:
            wrong.append(f"pipeline {name}: {row}")
        if samples is not None and row["in"] != samples:
            wrong.append(f"pipeline {name}: {row['in']} samples of {samples}")
    lost = status["store"]["lost_samples"] + sum(up["spool"]["lost"] for up in status["uplinks"].values())
    if lost:
        wrong.append(f"{lost} samples lost")
    if wrong:
        raise RuntimeError("; ".join(wrong))
