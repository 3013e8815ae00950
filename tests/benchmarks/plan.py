"""Rows: planning which stage of each service runs where, beside HiGHS on the linear relaxation of the same problem.

Networks are drawn so that some plan just fits (slack of 30 %): CPU, links and aggregation nodes are all scarce. The
relaxation is the bound that every exact method begins with; it gives no plan. The note says how far the plan stands
above the planner's own bound, the details also how far above the relaxation's. The storm is the simulator's:
real controllers over a carrier, adverts of all gateways changed again and again within one dwell.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

import numpy as np

from gateway.network.plan import exact
from gateway.network.plan.repair import held
from gateway.network.plan.solve import plan_for
from gateway.network.simulate import simulated
from tests.benchmarks.rows import Bench, Row
from tests.support.plans import problem

SLACK = 0.3


async def rows(bench: Bench) -> list[Row]:
    small, large, seconds = bench.sizes.plan_small, bench.sizes.plan_large, bench.sizes.plan_reference_s
    found = await asyncio.to_thread(planning, small, 4, 0.3, seconds, bench.sizes.rounds)
    found += await asyncio.to_thread(planning, large, 5, 2.0, seconds, bench.sizes.rounds)
    return [*found, await storm(bench.sizes.plan_storm)]


def planning(gateways: int, services: int, most_s: float, seconds: float, rounds: int) -> list[Row]:
    """Time and distance, the worst of several networks."""
    ours, distances, bare, above = [], [], [], []
    for seed in range(rounds):
        asked = problem(seed, gateways, services, slack=SLACK)
        assert asked.tables.shape[0] == services
        began = time.perf_counter()
        plan = plan_for(asked)
        ours.append(time.perf_counter() - began)
        if plan.drops or not held(plan.problem.tables, np.maximum(plan.cuts, 0)).all():
            raise RuntimeError(f"plan of {gateways} gateways, network {seed}: not within its limits")
        distances.append(plan.distance)
        began = time.perf_counter()
        relaxed = exact.solved(asked.tables, asked.cpu_price, seconds, whole=False)
        bare.append(time.perf_counter() - began)
        fixed = float(asked.tables.core.sum() * asked.cpu_price[-1])
        if np.isfinite(relaxed.bound):
            above.append(100 * (plan.cost / (relaxed.bound + fixed) - 1))
    worst, name = max(ours), f"plan-{gateways}x{services}"
    note = f"the slowest of {rounds} networks; the relaxation in the middle {median(bare):.2f} s"
    return [
        Row(
            name=name, measured=worst, reference=max(bare), ratio=worst / max(bare), unit="s",
            bar=f"at most {most_s:g} s", ok=worst <= most_s, notes=note,
        ),
        Row(
            name=f"{name}-distance", measured=max(distances), unit="%", bar="aim at most 2 %", ok=max(distances) <= 2,
            notes="above the lower bound, the worst",
            details={"above_relaxation": round(max(above, default=0.0), 3)},
        ),
    ]  # fmt: skip


async def storm(gateways: int) -> Row:
    """Moves of the subtree that moved most while all adverts changed for less than a dwell."""
    result = await simulated(gateways, 5, storm=True)
    return Row(
        name="plan-storm", measured=result.storm_most, unit="moves", bar="at most 1 a subtree and dwell",
        ok=result.storm_most <= 1 and result.steady_writes == 0,
        notes=f"{gateways} gateways, {result.storm_turns} plans, {result.storm_moves} moves in all; "
        f"steady state wrote {result.steady_writes}; a standby took over in {result.takeover_s:g} s",
        details={"first_plan_s": result.first_plan_s, "plan_s": result.plan_s, "distance": result.distance},
    )  # fmt: skip
