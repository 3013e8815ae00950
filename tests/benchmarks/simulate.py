"""Rows: ``onpath simulate`` over a million samples beside pandas reading the same CSV, each a command of its own.

CPU (user and system) of the whole process, start included, both in turn and both compiled, as pip leaves what it
installs (where Python may not write what it compiles, it would compile ours again at each start, and only ours). The
configuration has two pipelines: limits and a deadband, and a window with five statistics; sizes, totals and
reconstruction errors of all points are measured on the way. The note says what reading and simulating alone cost in
this process, against ``pandas.read_csv`` alone.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gateway.config import load_checked
from gateway.trial.facts import Facts
from gateway.trial.files import opened
from gateway.trial.simulate import Simulation
from tests.benchmarks.rows import Bench, Row, costs, shown

START_S = 1_790_000_000
CONFIG = """
pipelines:
  live: {from: "**", steps: [{limits: {min: 0, max: 300}}, {deadband: {percent: 0.2, max_silence: 60s}}], to: out}
  load: {from: "**", steps: [{window: {every: 15m, stats: [count, sum, mean, min, max]}}], to: out}
uplinks: {out: {type: stdout}}
"""


def wide(path: Path, samples: int, points: int) -> None:
    """A row a second, a column for each point."""
    values = voltages(samples // points, points)
    with path.open("w") as file:
        file.write(",".join(["time", *(f"m{point}/voltage" for point in range(points))]) + "\n")
        for at, row in enumerate(values.tolist()):
            file.write(",".join([str(START_S + at), *map(str, row)]) + "\n")


def long(path: Path, samples: int, points: int) -> None:
    """A line a sample."""
    values = voltages(samples // points, points)
    with path.open("w") as file:
        file.write("time,point,value,quality\n")
        for at, row in enumerate(values.tolist()):
            file.writelines(f"{START_S + at},m{point}/voltage,{value},good\n" for point, value in enumerate(row))


def voltages(rows: int, points: int) -> np.ndarray:
    """Voltages that wander slowly under a noise, with two decimals, [rows, points]."""
    chance = np.random.default_rng(1)
    wandering = np.cumsum(chance.normal(0, 0.02, (rows, points)), 0)
    return np.round(230 + wandering + chance.normal(0, 0.05, (rows, points)), 2)


OURS = ("-m", "gateway.cli.main", "simulate")
FILES: dict[str, tuple[Callable[[Path, int, int], None], int]] = {
    "simulate-wide-1000": (wide, 1000),
    "simulate-wide-20": (wide, 20),
    "simulate-long-1000": (long, 1000),
    "simulate-long-20": (long, 20),
}


async def rows(bench: Bench) -> list[Row]:
    """One row for each form of the file."""
    config = bench.folder / "site.yaml"
    config.write_text(CONFIG)
    return [await row(name, bench, config, *form) for name, form in FILES.items()]


async def row(name: str, bench: Bench, config: Path, write: Callable[[Path, int, int], None], points: int) -> Row:
    path = bench.folder / f"{name}.csv"
    write(path, bench.sizes.simulated, points)
    simulate = (*OURS, str(config), "-i", str(path), "--json")
    read = ("-c", f"import pandas; pandas.read_csv({str(path)!r})")
    compiled = bench.folder / "compiled"
    ours, pandas = [], []
    if not compiled.exists():
        compiled.mkdir()
        await asyncio.to_thread(command, compiled, *simulate)
        await asyncio.to_thread(command, compiled, *read)
    for _ in range(bench.sizes.rounds):
        ours.append(await asyncio.to_thread(command, compiled, *simulate))
        pandas.append(await asyncio.to_thread(command, compiled, *read))
    inside, bare = await asyncio.to_thread(in_process, config, path, bench.sizes.rounds)
    note = (
        f"in one process, started: {shown([min(inside)])} s to {shown([min(bare)])} s ({min(inside) / min(bare):.1f}x)"
    )
    return costs(name, ours, pandas, "CPU s", 2, notes=note, details={"samples": bench.sizes.simulated})


def command(compiled: Path, *arguments: str) -> float:
    """CPU seconds of a Python command.

    Args:
        compiled: where Python keeps modules that it has compiled, if it may not do so beside them.
        arguments: of the interpreter.

    Raises:
        RuntimeError: it failed.
    """
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    if sys.dont_write_bytecode:
        env["PYTHONPYCACHEPREFIX"] = str(compiled)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=said, env=env)
        # Waited for by hand: only so does the kernel tell what this child has used.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            raise RuntimeError(said.read().decode(errors="replace"))
    return used.ru_utime + used.ru_stime


def in_process(config: Path, path: Path, rounds: int) -> tuple[list[float], list[float]]:
    """CPU seconds of simulating and of ``pandas.read_csv``, without the start of either."""
    import pandas as pd

    loaded = load_checked(config, {}).config
    ours, bare = [], []
    for _ in range(rounds):
        began = time.process_time()
        simulation = Simulation(loaded, Facts(loaded), pictured=[])
        with opened(path, simulation.names) as source:
            result = simulation.run(source)
        ours.append(time.process_time() - began)
        began = time.process_time()
        pd.read_csv(path)
        bare.append(time.process_time() - began)
        if result["above_bound"] or not all(
            total["kept"] for total in result["pipelines"]["load"]["steps"][0]["totals"]
        ):
            raise RuntimeError("a bound was broken, or totals were lost")
    return ours, bare
