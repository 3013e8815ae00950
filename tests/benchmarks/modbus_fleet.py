"""Row: a thousand devices, each with a connection of its own, once a second, from one process."""

from __future__ import annotations

import asyncio

from tests.benchmarks import gateway
from tests.benchmarks.child import Child
from tests.benchmarks.modbus import UPLINK, profile
from tests.benchmarks.rows import Bench, Row

REGISTERS = 20
WITHIN = 0.02
"""How far a mean period may be off, as part of it."""


def adapters(port: int, profiles: object, count: int) -> str:
    """One adapter a device."""
    head = f"type: modbus, url: 'tcp://127.0.0.1:{port}', profiles: {profiles}"
    lines = [
        f"  e{n}: {{{head}, devices: {{m{n}: {{unit: {n % 247 + 1}, profile: bench, every: 1s}}}}}}"
        for n in range(count)
    ]
    return "adapters:\n" + "\n".join(lines) + "\n"


def shown(status: dict) -> list[dict]:
    """What ``status`` says of each device."""
    return [device for adapter in status["adapters"].values() for device in adapter["devices"].values()]


async def rows(bench: Bench) -> list[Row]:
    """All periods held, and the CPU that it takes."""
    sizes, folder = bench.sizes, bench.folder / "fleet"
    profile(bench.folder / "profiles", "uint16", REGISTERS)
    async with Child("meters", "uint16", REGISTERS) as meters:
        (port,) = await meters.hears("listening")
        config = adapters(int(port), bench.folder / "profiles", sizes.fleet)
        config += gateway.REDUCE + UPLINK.format(path=bench.folder / "up")
        async with gateway.running(folder, config) as daemon:
            before = await gateway.settled(daemon, lambda s: all(one.get("period_achieved_s") for one in shown(s)))
            cpu, clock = gateway.cpu_s(daemon), asyncio.get_running_loop().time
            began = clock()
            await asyncio.sleep(sizes.fleet_s)
            cpu, took = gateway.cpu_s(daemon) - cpu, clock() - began
            status = await daemon.status()
            gateway.check(status)
    return [judged(before, status, sizes.fleet, cpu / took, took)]


def judged(before: dict, status: dict, fleet: int, cores: float, took: float) -> Row:
    """The row of a measurement that took ``took`` seconds."""
    missed = sum(one["missed"] for one in shown(status)) - sum(one["missed"] for one in shown(before))
    off = max(abs(one["period_achieved_s"] / one["period_asked_s"] - 1) for one in shown(status))
    answers = sum(a["messages"] for a in status["adapters"].values())
    answers -= sum(a["messages"] for a in before["adapters"].values())
    return Row(
        name="modbus-fleet",
        measured=100 * cores,
        unit="% of a core",
        bar="all periods held",
        ok=not missed and off <= WITHIN,
        notes=f"{fleet} devices, {REGISTERS} registers each, 1 s; {answers / took:.0f} answers/s, {missed} missed, "
        f"worst mean period {100 * off:.2f} % off",
        details={"devices": fleet, "missed": missed, "off": round(off, 5), "answers_per_s": round(answers / took, 1)},
    )
