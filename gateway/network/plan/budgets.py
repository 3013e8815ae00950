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

from gateway.network.plan.problem import Floats, Ints, Problem, Tables, exceeds

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
    tops = tables.levels[0]
    at = cuts[:, tops]
    each = np.take_along_axis(tables.bytes[:, tops], np.maximum(at, 0)[..., None], axis=2)[..., 0]
    found: Floats = np.where(at >= 0, each, 0.0).sum(axis=1)
    return found


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
    best = once(problem)
    excess, free = _excess(best, most), best.bound
    if not excess.any():
        return best
    count = len(most)
    base = float(max(problem.link_price.max(initial=0.0), 1.0))
    search = _Search(np.zeros(count), np.full(count, np.inf), base / FACTOR)
    price = search.next(np.zeros(count), excess > 0)
    for _ in range(TRIES):
        tried = once(replace(problem, byte_price=price))
        found = _excess(tried, most)
        if (found.sum(), tried.cost) < (excess.sum(), best.cost):
            best, excess = tried, found
        before, price = price, search.next(price, found > 0)
        if (price == before).all() or time.monotonic() > until:
            break
    if excess.any():  # what nothing keeps bounds nothing
        best.bound = min(free, best.cost)
    return best


def _excess(plan: Plan, most: Floats) -> Floats:
    """How far each service is above what it may send, as a part of it; 0 within, [S]."""
    sent = into_core(plan.problem.tables, plan.cuts)
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(exceeds(sent, most), sent / np.maximum(most, 1e-9) - 1, 0.0)
    return found
