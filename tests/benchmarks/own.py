"""Rows: what it costs to be scraped, and to watch points for alerts."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from statistics import median

import msgspec
import numpy as np

from gateway.directory import Directory
from gateway.frame import Frame
from gateway.own.prometheus import render
from gateway.point import Point
from gateway.units import Duration
from pipelines.base import Operator
from pipelines.operators.judge.alert import AlertStepConfig
from pipelines.registry import OPERATORS
from tests.benchmarks.rows import Bench, Row, costs
from tests.support.inside import inside

DEVICES = 1_000
POINTS = 10_000
S = 10**9
EVERY_S = 15.0
"""How often Prometheus scrapes unless it is told otherwise."""
CONFIG = """
adapters: {{bus: {{type: mqtt, url: "mqtt://127.0.0.1:9", subscribe: [{{topic: "a/{{device}}"}}]}}}}
pipelines: {{live: {{from: "**", steps: [{{limits: {{}}}}, {{deadband: {{percent: 1}}}}], to: [out]}}}}
uplinks: {{out: {{type: file, path: {0}/out}}}}
"""


async def rows(bench: Bench) -> list[Row]:
    """A scrape of many devices, and an alert on many points."""
    return [await _scrape(bench), _alert(bench)]


async def _scrape(bench: Bench) -> Row:
    """Beside what `onpath status --json` takes of the same gateway."""
    async with inside(bench.folder, CONFIG.format(bench.folder)) as daemon:
        points = [daemon.directory.add(Point(name=f"d{n % DEVICES}/p{n}")) for n in range(POINTS)]
        await daemon.intake.emit(Frame.of(points, time.time_ns(), np.zeros(POINTS)), "bus")
        facts = {"link": "up", "stale": False, "missed": 3, "period_asked_s": 1.0, "period_achieved_s": 1.0}
        daemon.adapters["bus"].stats.devices.update({f"d{n}": dict(facts) for n in range(DEVICES)})
        body, _ = await render(daemon)

        async def status() -> None:
            json.dumps(await daemon.status())

        async def scrape() -> None:
            await render(daemon)

        count = max(5, bench.sizes.rounds)
        ours = [await _cpu_ms(scrape) for _ in range(count)]
        bare = [await _cpu_ms(status) for _ in range(count)]
    series = sum(not line.startswith(b"#") for line in body.splitlines())
    share = median(ours) / 1000 / EVERY_S
    note = f"{series:,} series, {len(body):,} bytes; every {EVERY_S:g} s that is {100 * share:.2f} % of a core"
    details = {"series": series, "bytes": len(body)}
    return costs("metrics-scrape", ours, bare, "ms CPU", None, notes=note, details=details)


async def _cpu_ms(call: Callable[[], Awaitable[None]]) -> float:
    began = time.process_time()
    await call()
    return 1000 * (time.process_time() - began)


def _alert(bench: Bench) -> Row:
    """A rule that watches all points, beside a step that checks their limits."""
    directory = Directory(POINTS)
    for n in range(POINTS):
        directory.add(Point(name=f"m{n}/v", limits=(0.0, 300.0)))
    chance = np.random.default_rng(1)
    ids = np.arange(POINTS, dtype=np.int32)
    frames = [Frame.of(ids, 10**18 + n * 10**9, chance.normal(230, 5, POINTS)) for n in range(20)]
    rule = AlertStepConfig(rule="r", above=250.0, hysteresis=2.0, for_=Duration(10), clear_after=Duration(10))
    ours, bare = [], []
    for _ in range(max(5, bench.sizes.rounds)):
        ours.append(_ns_a_sample(rule.create(directory), frames))
        bare.append(_ns_a_sample(msgspec.convert({}, OPERATORS["limits"]).create(directory), frames))
    return costs("alert-step", ours, bare, "ns/sample", None, notes=f"frames of {POINTS:,} points, one sample each")


def _ns_a_sample(operator: Operator, frames: list[Frame]) -> float:
    operator.process(frames[0])
    operator.tick(S)
    began = time.process_time_ns()
    for number, frame in enumerate(frames[1:], 2):
        operator.process(frame)
        operator.tick(number * S)
    return (time.process_time_ns() - began) / (POINTS * (len(frames) - 1))
