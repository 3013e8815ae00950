"""Rows: memory with many points, and the time from the start of the process to the first sample in the uplink."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks import gateway, machine, modbus
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row
from tests.support.daemon import Daemon

MOST_MB = 100.0
MOST_S = 1.0
METERS = """
adapters:
  meters:
    type: modbus
    url: tcp://127.0.0.1:{port}
    devices: {{{devices}}}
"""
UPLINK = "uplinks: {{up: {{type: file, path: {path}}}}}\n"
PASS = "pipelines: {live: {from: ['**'], to: [up]}}\n"


async def memory(bench: Bench) -> list[Row]:
    """All points polled once a second; before the first windows close, and when their results are points too."""
    sizes, folder = bench.sizes, bench.folder
    points = sizes.devices * sizes.registers
    modbus.profile(folder / "profiles", "uint16", sizes.registers)
    async with Child("meters", "uint16", sizes.registers) as meters:
        (port,) = await meters.hears("listening")
        config = modbus.adapter(port, folder / "profiles", sizes.devices, "1s") + "max_points: 1000000\n"
        config += gateway.REDUCE.replace("every: 10s", "every: 2s") + UPLINK.format(path=folder / "up")
        async with gateway.running(folder / "daemon", config) as daemon:
            await gateway.settled(daemon, lambda s: s["pipelines"]["windows"]["in"] >= points)
            few = held("memory", daemon, points, MOST_MB)
            await gateway.settled(daemon, lambda s: s["points"] >= 6 * points)
            cpu_s = gateway.cpu_s(daemon)
            await asyncio.sleep(sizes.settle_s)
            cpu_s = gateway.cpu_s(daemon) - cpu_s
            status = await daemon.status()
            gateway.check(status)
            many = held("memory-derived", daemon, status["points"], None)
    few.notes += ", polled each second, with deadband and window"
    many.notes += f", the windows' results included; {100 * cpu_s / sizes.settle_s:.0f} % of a core"
    return [few, many]


def held(name: str, daemon: Daemon, points: int, most: float | None) -> Row:
    """Resident memory of the daemon now."""
    rss, peak = (machine.memory_mb(daemon.process.pid, kind) for kind in ("VmRSS", "VmHWM"))
    return Row(
        name=name,
        measured=rss,
        unit="MB RSS",
        bar=f"aim {most:.0f} MB" if most else "",
        ok=rss <= most if most else None,
        notes=f"{points:,} points (peak {peak:.0f} MB)",
        details={"points": points, "peak_mb": peak},
    )


def first_sample_s(config: Path, out: Path) -> float:
    """From the start of the process until its file uplink holds a sample. Blocks."""
    command = [sys.executable, "-m", "gateway.cli.main", "run", "-c", str(config)]
    with config.with_name("log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while not (out.exists() and out.stat().st_size):
            if process.poll() is not None or time.perf_counter() - began > 30:
                raise RuntimeError(config.with_name("log").read_text())
            time.sleep(0.002)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(15)


async def started(bench: Bench, name: str, adapter: str, bar: float | None, notes: str) -> Row:
    """Starts over fresh state folders."""
    found = []
    for number in range(bench.sizes.starts):
        folder = bench.folder / f"{name}-{number}"
        folder.mkdir()
        out = folder / "up"
        config = f"gateway: g1\nstate: {folder / 'state'}\n" + adapter + PASS + UPLINK.format(path=out)
        (folder / "onpath.yaml").write_text(config)
        found.append(await asyncio.to_thread(first_sample_s, folder / "onpath.yaml", out))
    best = min(found)
    return Row(
        name=name,
        measured=best,
        unit="s to first sample",
        bar=f"aim {bar:g} s" if bar else "",
        ok=best <= bar if bar else None,
        notes=f"{notes}; best of {len(found)}, worst {max(found):.2f} s",
        details={"worst_s": max(found)},
    )


async def start(bench: Bench) -> list[Row]:
    """Twenty meters of a shipped profile; and as many points as the memory row has."""
    sizes = bench.sizes
    modbus.profile(bench.folder / "profiles", "uint16", sizes.registers)
    async with Child("meters", "uint16", max(sizes.registers, 400)) as meters:
        (port,) = await meters.hears("listening")
        devices = ", ".join(f"m{n}: {{unit: {n}, profile: eastron-sdm630}}" for n in range(1, sizes.devices + 1))
        few = METERS.format(port=port, devices=devices)
        many = modbus.adapter(port, bench.folder / "profiles", sizes.devices, "1s")
        points = sizes.devices * sizes.registers
        return [
            await started(bench, "start", few, MOST_S, f"{sizes.devices} meters of a shipped profile to a file"),
            await started(bench, f"start-{points}", many, None, f"{points:,} points to a file"),
        ]
