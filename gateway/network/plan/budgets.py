"""Bytes a day that services may send into the core: a price on each of their bytes, raised until they keep to it.

Pure but for the clock that ends it. Services are searched side by side: what one pays touches another only where both
share something scarce.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.network.plan.problem import Floats, Ints, Problem, Tables, exceeds, loads

if TYPE_CHECKING:
    from gateway.network.plan.solve import Plan

TRIES: Final = 24
FACTOR: Final = 16.0
"""By so much a price rises while nothing is known that is enough."""
NEAR: Final = 1.01
"""A price that is so near, as a ratio, to one that is too low is not lowered any more."""
MOST: Final = 1e6
"""Of the dearest link's price: whatever this does not move stays."""


def into_core(tables: Tables, cuts: Ints) -> Floats:
    """Bytes a second that each service sends into the core, [S]."""
    if not tables.levels:
        return np.zeros(len(cuts))
    return np.array([_top_bytes(tables, cuts, s).sum() for s in range(len(cuts))])


@dataclass
class _Search:
    """Prices that are too low and that are enough, [S] each."""

    low: Floats
    high: Floats
    least: float
    """The first price."""

    def next(self, price: Floats, over: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
        """The next to try; those that are over pay more, the others as little as is enough."""
        self.low = np.where(over, np.maximum(self.low, price), self.low)
        self.high = np.where(~over & (price > 0), np.minimum(self.high, price), self.high)
        known = np.isfinite(self.high)
        raised = np.where(price > 0, price * FACTOR, self.least)
        between = np.sqrt(np.maximum(self.low, self.least / FACTOR) * np.where(known, self.high, 1.0))
        near = known & (self.high <= NEAR * np.maximum(self.low, self.least / FACTOR))
        fresh = np.where(known, np.where(near, self.high, between), np.where(over, raised, price))
        ceiling: Floats = np.minimum(fresh, self.least * MOST)
        return ceiling


def kept(problem: Problem, once: Callable[[Problem], Plan], until: float) -> Plan:
    """The cheapest plan met in which all services keep to their bytes, or the nearest to that.

    Args:
        problem: with what services may send in ``most``.
        once: plans at a problem's prices.
        until: when to stop, by the monotonic clock.
    """
    most = np.array([service.most for service in problem.services])
    free = best = once(problem)
    excess = _excess(best, most)
    if not excess.any():
        return best
    count = len(most)
    base = float(max(problem.link_price.max(initial=0.0), 1.0))
    search = _Search(np.zeros(count), np.full(count, np.inf), base / FACTOR)
    price = search.next(np.zeros(count), excess > 0)
    bound = free.bound
    for _ in range(TRIES):
        tried = once(replace(problem, byte_price=price))
        found, bound = _excess(tried, most), max(bound, tried.bound)
        if (found.sum(), tried.cost) < (excess.sum(), best.cost):
            best, excess = tried, found
        before, price = price, search.next(price, found > 0)
        if (price == before).all() or time.monotonic() > until:
            break
    if excess.any():  # what nothing keeps bounds nothing
        best.bound = min(free.bound, best.cost)
        return best
    best = _given_back(best, free, most)
    best.bound = min(bound, best.cost)
    return best


def _given_back(plan: Plan, free: Plan, most: Floats) -> Plan:
    """The plan with subtrees as they are cheaper, as far as bytes are left: those that are alike turn at one price.

    Args:
        plan: in which all services keep to their bytes.
        free: the cheapest, in which some do not.
        most: of each service, [S].
    """
    tables = plan.problem.tables
    if plan.drops or free.drops or not tables.levels:
        return plan
    plain = replace(tables, byte_price=np.zeros_like(tables.byte_price))
    weights = plain.weights(tables.cpu_price, tables.link_price)
    cuts = plan.cuts.copy()
    for s in map(int, np.flatnonzero((tables.byte_price > 0) & np.isfinite(most))):
        saved: Floats = _by_top(plain, weights, plan.cuts, s) - _by_top(plain, weights, free.cuts, s)
        sent = _top_bytes(tables, plan.cuts, s)
        more: Floats = _top_bytes(tables, free.cuts, s) - sent
        left = float(most[s] - sent.sum())
        worth = np.divide(saved, more, out=np.zeros_like(saved), where=more > 0)
        for top in np.argsort(-worth):
            if worth[top] > 0 and more[top] <= left:
                left -= float(more[top])
                cuts[s] = np.where(tables.top == top, free.cuts[s], cuts[s])
    taken = loads(plain, cuts)
    over_cpu, over_link = taken.over(plain)
    cost = float(taken.cost.sum())
    if over_cpu.any() or over_link.any() or cost >= plan.cost:
        return plan
    return replace(plan, cuts=cuts, loads=taken, cost=cost)


def _by_top(tables: Tables, weights: Floats, cuts: Ints, s: int) -> Floats:
    """What a service costs in each subtree of the core, [T]."""
    each = np.take_along_axis(weights[s], np.maximum(cuts[s], 0)[:, None], axis=1)[:, 0]
    found: Floats = np.bincount(tables.top, np.where(cuts[s] >= 0, each, 0.0), len(tables.levels[0])).astype(np.float64)
    return found


def _top_bytes(tables: Tables, cuts: Ints, s: int) -> Floats:
    """What a service sends into the core from each subtree, [T]."""
    tops = tables.levels[0]
    each = np.take_along_axis(tables.bytes[s, tops], np.maximum(cuts[s, tops], 0)[:, None], axis=1)[:, 0]
    found: Floats = np.where(cuts[s, tops] >= 0, each, 0.0)
    return found


def _excess(plan: Plan, most: Floats) -> Floats:
    """How far each service is above what it may send, as a part of it; 0 within, [S]."""
    sent = into_core(plan.problem.tables, plan.cuts)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(exceeds(sent, most), sent / np.maximum(most, 1e-9) - 1, 0.0)
    return found
