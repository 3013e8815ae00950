"""Row: 30 units behind one gateway, five of them dead: how well the periods of the other 25 are held."""

from __future__ import annotations

import asyncio

import numpy as np

from adapters.modbus.config import ModbusConfig, ModbusDevice, ModbusPoint
from gateway.quality import Reason, reason_codes
from gateway.units import Duration
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row
from tests.support.context import RecordingContext, running

MOST = 1.1
FLOOR_MS = 1.0
"""Of the period, what a loop on a shared machine does by itself is no jitter of the schedule."""
UNITS = range(1, 31)
DEAD = (3, 4, 11, 20, 30)
ALIVE = tuple(unit for unit in UNITS if unit not in DEAD)


def config(port: int, period_s: float) -> ModbusConfig:
    points = {f"p{i}": ModbusPoint(at=f"holding:{i}") for i in range(20)}
    devices = {f"m{unit}": ModbusDevice(unit=unit, every=Duration(period_s), points=points) for unit in UNITS}
    return ModbusConfig(url=f"tcp://127.0.0.1:{port}", timeout=Duration(period_s), devices=devices)


def suspended(ctx: RecordingContext, unit: int) -> bool:
    last = ctx.samples(f"m{unit}/p0")[-1:]
    return bool(last) and reason_codes(np.array([last[0][1]]))[0] == Reason.UNIT_SUSPENDED


async def jitter_ms(dead: tuple[int, ...], period_s: float, seconds: float) -> tuple[float, int, float]:
    """The 99th percentile of how far periods of live units are off, those missed, and the CPU's share of one core."""
    async with Child("modbus_units", *dead) as units:
        (port,) = await units.hears("listening")
        ctx = RecordingContext(limit=100_000)
        async with running(config(int(port), period_s).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= len(UNITS) and all(suspended(ctx, unit) for unit in dead), 120)
            before = [ctx.stats.devices[f"m{unit}"]["missed"] for unit in ALIVE]
            ctx.frames.clear()
            clock = asyncio.get_running_loop().time
            began = clock()
            await asyncio.sleep(seconds)
            took = clock() - began
        missed = sum(ctx.stats.devices[f"m{unit}"]["missed"] for unit in ALIVE) - sum(before)
    times = [[time for time, _, _ in ctx.samples(f"m{unit}/p0")] for unit in ALIVE]
    off = np.concatenate([np.diff(one) / 1e9 - period_s for one in times])
    held = sum(map(len, times)) / (len(ALIVE) * took / period_s)
    return float(np.quantile(np.abs(off), 0.99)) * 1e3, missed, held


async def rows(bench: Bench) -> list[Row]:
    """The same units with and without the dead."""
    seconds = bench.sizes.jitter_s
    period_s = min(1.0, seconds / 8)
    clean, _, _ = await jitter_ms((), period_s, seconds)
    found, missed, held = await jitter_ms(DEAD, period_s, seconds)
    reference = max(clean, FLOOR_MS)
    return [
        Row(
            name="modbus-isolation",
            measured=found,
            reference=clean,
            unit="ms p99 jitter",
            ratio=max(found, FLOOR_MS) / reference,
            bar=f"at most {MOST:g}x (1 ms counts as none)",
            ok=max(found, FLOOR_MS) <= MOST * reference and not missed,
            notes=f"{len(ALIVE)} of {len(UNITS)} units alive, {period_s:g} s; {missed} missed, {100 * held:.1f} % held",
            details={"missed": missed, "held": round(held, 4), "units": len(UNITS), "dead": len(DEAD)},
        )
    ]
