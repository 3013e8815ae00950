"""Does an uplink with ``adapt:`` keep to what its link carries: 100, 50, 20, 10 and 80 % of the bytes it needs?

The simulation of :mod:`tests.benchmarks.budget_simulation`, with a virtual clock: twenty-four minutes take seconds.
Once what the link carries is told it (``bandwidth``), once it has to find out by itself. The law and the estimate were
made with sites that have the seeds 0 to 8; the rows ``held-out`` are of other sites, and give the spread.

In each phase: the part of the link's bytes that was used in its second half; how long after its begin the backlog was
gone (below what the link carries in 1.5 s); the largest error by the bound in force, and the mean error. Bars: use
between 0.75 and 0.90, the backlog gone within 30 s of each halving, no error above the bound in force, no bound above
the stated one, totals exact. And one real link: see :mod:`tests.benchmarks.budget_link`. It takes real time and next to
no CPU, so the simulations run beside it, in a process of their own that gives way.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

from tests.benchmarks import budget_link
from tests.benchmarks.budget_link import DRAINED_S, LEAST, MOST
from tests.benchmarks.budget_simulation import FLOATS, STATED, Phase, Simulation, Site, phases
from tests.benchmarks.rows import TINY, Bench, Row

SECONDS: Final = 240
"""Of a phase."""
GIVES_WAY: Final = 10
"""How nice the simulations are to the real link."""
HELD_OUT: Final = (
    Site(seed=101, seconds=SECONDS),
    Site(seed=102, noise=0.02, seconds=SECONDS),
    Site(seed=103, streams=150, commit=1, every=5, totals="1m", seconds=SECONDS),
    Site(seed=104, streams=400, seconds=SECONDS),
    Site(seed=105, phases=(0.7, 0.35, 0.15, 0.9, 0.4), seconds=SECONDS),
)


async def rows(bench: Bench) -> list[Row]:
    """A row for each phase, one for the totals, and the spread over other sites; then the real link."""
    tiny = bench.sizes == TINY
    with ProcessPoolExecutor(1, get_context("spawn"), os.nice, (GIVES_WAY,)) as pool:
        simulating = asyncio.get_running_loop().run_in_executor(pool, simulated, tiny)
        real = await budget_link.rows(bench.folder, tiny=tiny)
        return [*await simulating, *real]


def simulated(tiny: bool) -> list[Row]:  # noqa: FBT001 - an executor passes no names
    """All that has a virtual clock; some two minutes of CPU at most."""
    site = Site(streams=60, seconds=40) if tiny else Site(seconds=SECONDS)
    others = (Site(seed=101, streams=60, seconds=40),) if tiny else HELD_OUT
    made = [row for told in (True, False) for row in measured(site, told=told)]
    return made + [held_out(others, told=told) for told in (True, False)]


def measured(site: Site, *, told: bool) -> list[Row]:
    """The rows of one run."""
    run, found = phases(site, told=told)
    kind = "told" if told else "found"
    cut = halvings(found)
    made = [_row(kind, phase, halving=phase in cut) for phase in found]
    samples = sum(value for name, value in run.got.items() if name.endswith("#count"))
    changes = 0 if run.control is None else run.control.changes
    notes = f"{changes} changes of the bound; widest that came with a batch {max(run.told):.3g} %"
    name, bar = f"link-budget-{kind}-totals", "counts and sums exact, stated bound kept"
    return [*made, Row(name=name, measured=float(samples), unit="samples", bar=bar, ok=exact(run), notes=notes)]


def held_out(sites: tuple[Site, ...], *, told: bool) -> Row:
    """The spread over all phases of several sites; the row measures the phase that is farthest from 0.825."""
    uses: list[float] = []
    drained: list[int] = []
    good = True
    for site in sites:
        run, found = phases(site, told=told)
        uses += [phase.use for phase in found]
        drained += [phase.drained_s for phase in halvings(found)]
        good &= exact(run) and all(phase.largest <= 1 + FLOATS for phase in found)
    worst = max(uses, key=lambda use: abs(use - (LEAST + MOST) / 2))
    return Row(
        name=f"link-budget-held-out-{'told' if told else 'found'}",
        measured=worst,
        unit="use",
        bar=f"{LEAST} to {MOST}, bound kept, drained in {DRAINED_S} s, exact",
        ok=good and all(LEAST <= use <= MOST for use in uses) and max(drained) <= DRAINED_S,
        notes=f"{len(sites)} sites, {len(uses)} phases: use {min(uses):.3f} to {max(uses):.3f}, "
        f"{sum(LEAST <= use <= MOST for use in uses)} within; drained after {min(drained)} to {max(drained)} s",
        details={"least": min(uses), "most": max(uses), "drained_s": max(drained)},
    )


def halvings(found: list[Phase]) -> list[Phase]:
    """The phases in which the link is worse than in the one before."""
    return [phase for before, phase in itertools.pairwise(found) if phase.part < before.part]


def exact(run: Simulation) -> bool:
    """Whether the totals are, and no batch was told a bound above the stated one."""
    return run.got == run.came and max(run.told) <= STATED


def _row(kind: str, phase: Phase, *, halving: bool) -> Row:
    good = LEAST <= phase.use <= MOST and phase.largest <= 1 + FLOATS
    return Row(
        name=f"link-budget-{kind}-{phase.part:.0%}",
        measured=phase.use,
        unit="use",
        bar=f"{LEAST} to {MOST}, bound kept" + (f", drained in {DRAINED_S} s" if halving else ""),
        ok=good and (not halving or phase.drained_s <= DRAINED_S),
        notes=f"link {phase.carries:.0f} B/s; bound up to {phase.widest:.3g} % (stated {STATED:g} %), largest error "
        f"{phase.largest:.3f} of the bound in force, mean {phase.mean_error:.2f} % of the range; at most "
        f"{phase.most_waiting / phase.carries:.1f} s of the link waited, gone after {phase.drained_s} s",
        details={"use": phase.use, "drained_s": phase.drained_s, "mean_error_percent": phase.mean_error},
    )
