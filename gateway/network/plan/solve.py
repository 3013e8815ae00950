"""From a problem to a plan, and what has to be left out where there is not enough for all.

Dynamic programming first, then prices where something is scarce, then HiGHS where that is not near enough. Pure but for
the clock that ends it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from gateway.network.plan import budgets, dp, exact, prices
from gateway.network.plan.problem import Bools, Floats, Ints, Loads, Problem, Tables, exceeds, loads, subset
from gateway.network.plan.repair import held
from gateway.network.plan.shedding import Drop, impossible, lowest_priority, without

AIM: Final = 0.01
"""A plan so near to its bound, relatively, is not given to HiGHS."""
PRICES_S: Final = 1.2
"""For the rounds of prices."""
CORE_TRIES: Final = 10
"""Prices of the core's CPU that are tried, each about half as far from the right one as the one before."""


def distance(cost: float, bound: float) -> float:
    """How far a cost is above a bound, %; sums in another order differ, and are no distance."""
    return round(max(0.0, 100.0 * (cost / bound - 1.0)), 6) if bound > 0 else 0.0


@dataclass
class Plan:
    """What runs where."""

    cuts: Ints
    """[S, n]; -1: the service has nothing there, or it is left out."""
    loads: Loads
    cost: float
    bound: float
    """No plan costs less, of what is not left out."""
    method: str
    """``dp``, ``prices``, ``exact`` or several with ``+``."""
    seconds: float
    cpu_price: Floats
    """What a core-second more would save, [n + 1]."""
    link_price: Floats
    """What a byte more would save, [n]."""
    problem: Problem
    """Without what was left out."""
    drops: list[Drop] = field(default_factory=list)

    @property
    def distance(self) -> float:
        """How far the cost is above the bound, %."""
        return distance(self.cost, self.bound)


@dataclass
class _Parts:
    """By subtree of the core."""

    cuts: Ints
    cost: Floats
    bound: Floats
    cpu_price: Floats
    link_price: Floats
    methods: set[str]


def plan_for(problem: Problem, *, start: Ints | None = None, limit_s: float = 5.0) -> Plan:
    """The cheapest plan that holds, or nearly; services are left out, by the node, only where none holds.

    Services keep to their bytes into the core where any plan does; else they come as near as they can.

    Args:
        problem: what is to be planned.
        start: cuts of the plan that runs now, [S, n]; -1 where it has none.
        limit_s: after which HiGHS is not asked any more.
    """
    began = time.monotonic()

    def once(priced: Problem) -> Plan:
        return _once(priced, start, max(0.2, began + limit_s - time.monotonic()))

    plan = budgets.kept(problem, once, began + limit_s)
    plan.seconds = time.monotonic() - began
    return plan


def _once(problem: Problem, start: Ints | None, limit_s: float) -> Plan:
    """At the prices of the problem."""
    began = time.monotonic()
    drops = impossible(problem)
    problem = without(problem, drops)
    while True:
        parts = _parts(problem.tables, 0.0, began, start)
        broken = ~np.isfinite(parts.cost)
        if broken.any():
            parts = _exactly(problem.tables, parts, broken, 0.0, began + limit_s)
            broken = ~np.isfinite(parts.cost)
        if broken.any():
            more = lowest_priority(problem, broken)
        else:
            price, fitting = _within_core(problem.tables, parts, began, start)
            more = [] if fitting is not None else lowest_priority(problem, None)
            if fitting is not None or not more:
                return _plan(problem, fitting or parts, price, drops, began, limit_s)
        drops += more
        problem = without(problem, more)


def _parts(tables: Tables, core_price: float, began: float, start: Ints | None) -> _Parts:
    """A plan without the core's limit: by services where that holds, else by prices."""
    n, count = len(tables.above), len(tables.levels[0]) if tables.levels else 0
    price = tables.cpu_price.copy()
    price[n] += core_price
    weights = tables.weights(price, tables.link_price)
    cuts, _ = dp.cheapest(tables, weights)
    cost = prices.subtree_costs(tables, weights, cuts) if count else np.zeros(0)
    parts = _Parts(cuts, cost, cost.copy(), np.zeros(n + 1), np.zeros(n), {"dp"})
    parts.cpu_price[n] = core_price
    scarce = ~held(tables, cuts) if count else np.zeros(0, np.bool_)
    if scarce.any():
        some, nodes = subset(tables, scarce)
        until = max(began + PRICES_S, time.monotonic() + PRICES_S / 4)
        found = prices.planned(some, core_price, until, None if start is None else start[:, nodes])
        parts.cuts[:, nodes] = found.cuts
        parts.cost[scarce] = found.cost
        parts.bound[scarce] = np.maximum(found.bound, parts.bound[scarce])
        parts.cpu_price[nodes], parts.link_price[nodes] = found.cpu_price, found.link_price
        parts.methods.add("prices")
    return parts


def _exactly(tables: Tables, parts: _Parts, wanted: Bools, core_price: float, until: float) -> _Parts:
    """Ask HiGHS about some subtrees, each for its share of the time."""
    tops = np.flatnonzero(wanted & np.isfinite(parts.bound))
    if not exact.available() or not len(tops):
        return parts
    price = tables.cpu_price.copy()
    price[-1] += core_price
    for done, top in enumerate(tops):
        left = until - time.monotonic()
        one, nodes = subset(tables, np.arange(len(wanted)) == top)
        if left <= 0 or len(nodes) > exact.MOST_NODES:
            continue
        known = parts.cuts[:, nodes] if np.isfinite(parts.cost[top]) else None
        found = exact.solved(one, np.append(price[nodes], price[-1]), max(0.2, left / (len(tops) - done)), known)
        parts.bound[top] = max(parts.bound[top], found.bound)
        parts.methods.add("exact")
        if found.cuts is None or not held(one, found.cuts).all():
            continue
        weights = one.weights(np.append(price[nodes], price[-1]), one.link_price)
        cost = float(prices.subtree_costs(one, weights, found.cuts)[0])
        if cost < parts.cost[top]:
            parts.cost[top], parts.cuts[:, nodes] = cost, found.cuts
    return parts


def _within_core(tables: Tables, parts: _Parts, began: float, start: Ints | None) -> tuple[float, _Parts | None]:
    """A price of the core's CPU at which there is enough of it, with what is planned then; None: there is none."""
    n = len(tables.above)

    def fits(some: _Parts) -> bool:
        return not bool(exceeds(loads(tables, some.cuts).cpu[n:], tables.cpu[n:])[0])

    if fits(parts):
        return 0.0, parts
    low, high, price = 0.0, float("inf"), float(max(tables.cpu_price.max(), 1.0))
    best: _Parts | None = None
    for _ in range(CORE_TRIES * (1 if best is None else 2)):
        tried = _parts(tables, price, began, start)
        if np.isfinite(tried.cost).all() and fits(tried):
            best, high = tried, price
        else:
            low = price
        price = price * 8 if np.isinf(high) else (low + high) / 2
    return (high, best) if best is not None else (0.0, None)


def _plan(problem: Problem, parts: _Parts, core_price: float, drops: list[Drop], began: float, limit_s: float) -> Plan:
    tables = problem.tables
    n = len(tables.above)
    # What the core's CPU earns at its price, and what is left to it whatever is chosen
    fixed = float(tables.core.sum()) * (tables.cpu_price[n] + core_price) - core_price * float(tables.cpu[n])
    # Likewise what bytes into the core earn at theirs
    fixed -= sum(float(p) * one.most for p, one in zip(tables.byte_price, problem.services, strict=True) if p > 0)

    def plan() -> Plan:
        taken = loads(tables, parts.cuts)
        bound = float(parts.bound.sum()) + fixed
        return Plan(
            cuts=_only_where_inputs_are(problem, parts.cuts),
            loads=taken,
            cost=float(taken.cost.sum()),
            bound=float(min(bound, taken.cost.sum())),
            method="+".join(name for name in ("dp", "prices", "exact") if name in parts.methods),
            seconds=time.monotonic() - began,
            cpu_price=parts.cpu_price,
            link_price=parts.link_price,
            problem=problem,
            drops=drops,
        )

    made = plan()
    if made.cost - made.bound > AIM * made.cost and time.monotonic() < began + limit_s and core_price == 0.0:
        gap = parts.cost - parts.bound
        _exactly(tables, parts, gap > AIM / 2 * made.cost / max(len(gap), 1), core_price, began + limit_s)
        made = plan()
    return made


def _only_where_inputs_are(problem: Problem, cuts: Ints) -> Ints:
    """Without the nodes that have nothing of a service, neither themselves nor below."""
    some = np.array([service.samples[:-1, 0] > 0 for service in problem.services]).reshape(cuts.shape)
    return np.where(some, cuts, -1)
