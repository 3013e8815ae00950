"""Rows: many Modbus devices as fast as they answer, beside a bare pymodbus loop over the same reads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import gateway
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row, costs

MOST = 1.5
ALONE = 1.3
A_READ = {"uint16": 125, "float32": 124}
"""Registers a read: what the protocol allows, a float32 whole."""
UPLINK = """
uplinks:
  up: {{type: file, format: frame, path: {path}}}
"""


def profile(folder: Path, kind: str, registers: int) -> None:
    """A register map with a value for each register (uint16) or for two (float32)."""
    width, scale = (1, ", scale: 0.1") if kind == "uint16" else (2, "")
    points = [
        f"  r{at}: {{at: holding:{at}, as: {kind}{scale}, unit: V, limits: [0, 300]}}"
        for at in range(0, registers - width + 1, width)
    ]
    folder.mkdir(exist_ok=True)
    text = f"title: bench\nsource: made up\nmax_registers: {A_READ[kind]}\npoints:\n" + "\n".join(points) + "\n"
    (folder / "bench.yaml").write_text(text)


def adapter(port: int, profiles: Path, devices: int, every: str) -> str:
    """The adapter for all devices behind one endpoint."""
    units = [f"      m{n}: {{unit: {n}, profile: bench, every: {every}}}" for n in range(1, devices + 1)]
    head = f"adapters:\n  meters:\n    type: modbus\n    url: tcp://127.0.0.1:{port}\n    profiles: {profiles}\n"
    return head + "    devices:\n" + "\n".join(units) + "\n"


async def served(meters: Child) -> int:
    """Registers that the meters have sent."""
    meters.tell("?")
    (count,) = await meters.hears("served")
    return int(count)


async def rate(meters: Child, cpu_s: Callable[[], float], seconds: float) -> tuple[float, float]:
    """CPU of a client in ns a register, and registers a second."""
    clock = asyncio.get_running_loop().time
    cpu, count, began = cpu_s(), await served(meters), clock()
    await asyncio.sleep(seconds)
    cpu, count, taken = cpu_s() - cpu, await served(meters) - count, clock() - began
    if not count:
        raise RuntimeError("the meters were not read")
    return 1e9 * cpu / count, count / taken


async def bare(meters: Child, port: int, devices: int, registers: int, kind: str, seconds: float):
    async with Child("poller", port, devices, registers, A_READ[kind]) as client:
        await client.hears("polling")
        found = await rate(meters, lambda: client.cpu_s, seconds)
        client.tell("stop")
    return found


async def alone(meters: Child, port: int, devices: int, profiles: Path, seconds: float):
    async with Child("adapter_poller", port, devices, profiles) as client:
        await client.hears("polling")
        found = await rate(meters, lambda: client.cpu_s, seconds)
        client.tell("stop")
    return found


async def gatewayed(folder: Path, meters: Child, port: int, devices: int, profiles: Path, seconds: float):
    config = adapter(port, profiles, devices, "1ms") + gateway.REDUCE + UPLINK.format(path=folder / "up")
    async with gateway.running(folder, config) as daemon:
        await gateway.settled(daemon, lambda s: len(s["adapters"]["meters"]["devices"]) == devices)
        found = await rate(meters, lambda: gateway.cpu_s(daemon), seconds)
        status = await daemon.status()
        gateway.check(status)
    return *found, status["pipelines"]["live"]


async def compared(bench: Bench, kind: str) -> list[Row]:
    """The daemon, the adapter alone and the bare client in turn, against the same meters."""
    sizes = bench.sizes
    registers = sizes.registers // A_READ[kind] * A_READ[kind] or sizes.registers
    profile(bench.folder / kind, kind, registers)
    ours, plain, single = [], [], []
    async with Child("meters", kind, registers) as meters:
        (port,) = await meters.hears("listening")
        for number in range(sizes.modbus_rounds):
            plain.append(await bare(meters, int(port), sizes.devices, registers, kind, sizes.modbus_s))
            single.append(await alone(meters, int(port), sizes.devices, bench.folder / kind, sizes.modbus_s))
            folder = bench.folder / f"{kind}-{number}"
            ours.append(await gatewayed(folder, meters, int(port), sizes.devices, bench.folder / kind, sizes.modbus_s))
    best = min(ours, key=lambda run: run[0])
    live = best[2]
    kept = live["out"] / max(1, live["in"])
    adapter_only = costs(
        f"modbus-adapter-{kind}",
        [run[0] for run in single],
        [run[0] for run in plain],
        "ns/register",
        ALONE,
        notes="decoded into columns, nothing behind it",
    )
    whole = costs(
        f"modbus-{kind}",
        [run[0] for run in ours],
        [run[0] for run in plain],
        "ns/register",
        MOST,
        notes=f"{best[1] / 1e6:.2f} M registers/s (bare {plain[0][1] / 1e6:.2f}), {A_READ[kind]} a read, "
        f"a value {'each' if kind == 'uint16' else 'in two'}; {100 * kept:.1f} % of the samples go up",
        details={
            "registers_per_s": round(best[1]),
            "bare_registers_per_s": round(plain[0][1]),
            "samples": live["in"],
            "kept": round(kept, 4),
        },
    )
    return [whole, adapter_only]


async def rows(bench: Bench) -> list[Row]:
    """A value a register, the heavier case, and a value in two, which meters do."""
    return [row for kind in A_READ for row in await compared(bench, kind)]
