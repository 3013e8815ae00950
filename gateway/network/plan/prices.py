"""Prices on what is scarce: raised while more is taken than there is, and lowered while less is (Lagrange).

At any prices the cheapest cuts, less what all capacity would earn, cost no more than the best plan: that is the lower
bound. Subtrees of the core share nothing but the core, so each has steps of its own: Polyak's, between the bounds that
its only price is known to lie in, if it has but one. Of the cuts met on the way, the cheapest that hold are kept.

Source: B. T. Polyak, "Minimization of Unsmooth Functionals", USSR Comput. Math. Math. Phys. 9, 1969; A. M. Geoffrion,
"Lagrangean Relaxation for Integer Programming", Math. Programming Study 2, 1974.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.network.plan import joint
from gateway.network.plan.problem import TINY, Bools, Floats, Ints, Loads, Tables, loads, subset
from gateway.network.plan.repair import held, improved, repaired

ROUNDS: Final = 60
SPELL: Final = 4
"""After so many rounds what is done is set aside."""
CLOSE: Final = 2e-3
"""A subtree whose best plan is so near to its bound, relatively, is done."""


@dataclass
class Found:
    """The best of all rounds; T subtrees of the core."""

    cuts: Ints
    """[S, n]; of a subtree without a plan that holds, the last that were tried; -1 where nothing is possible."""
    cost: Floats
    """Of each subtree, without the core's constant part, [T]; infinite: no plan that holds."""
    bound: Floats
    """Likewise a lower bound, [T]; infinite: no plan is possible."""
    cpu_price: Floats
    """What a core-second more would save, [n]."""
    link_price: Floats
    """What a byte more would save, [n]."""

    core: Floats
    """What the core's part in each subtree would cost at most: costs below count from there, [T]."""

    @property
    def open(self) -> Bools:
        """Which subtrees may have a better plan, [T]."""
        known = np.isfinite(self.cost)
        near = self.cost <= self.bound + CLOSE * (np.where(known, self.cost, 0.0) + self.core)
        return np.isfinite(self.bound) & ~(known & near)


def subtree_costs(tables: Tables, weights: Floats, cuts: Ints) -> Floats:
    """What each subtree of the core costs, [T]; cuts of -1 cost nothing."""
    each = np.take_along_axis(weights, np.maximum(cuts, 0)[..., None], axis=2)[..., 0]
    each = np.where(cuts >= 0, each, 0.0).sum(axis=0)
    total: Floats = np.bincount(tables.top, weights=each, minlength=len(tables.levels[0])).astype(np.float64)
    return total


class Ascent:
    """Raises the bound, round by round."""

    def __init__(self, tables: Tables, cpu_price: Floats) -> None:
        self.tables = tables
        self.base_cpu = cpu_price
        services, n, _ = tables.shape
        self.count = len(tables.levels[0])
        self.groups = joint.groups_of(tables)
        self.true = tables.weights(cpu_price, tables.link_price)
        single = len(self.groups) == 1
        self.priced_cpu = tables.inner | (not single)
        self.priced_link = np.full(n, not single)
        self.cpu, self.link = np.zeros(n), np.zeros(n)
        none = np.full((services, n), -1, np.int64)
        self.found = Found(
            cuts=none,
            cost=np.full(self.count, np.inf),
            bound=np.full(self.count, -np.inf),
            cpu_price=np.zeros(n),
            link_price=np.zeros(n),
            core=-tables.there[:, tables.levels[0]].min(axis=2).sum(axis=0) * cpu_price[n],
        )
        self.low, self.high = np.zeros(n), np.full(n, np.inf)
        prices = self.priced_cpu.astype(np.int64) + self.priced_link
        self.alone = np.bincount(tables.top, weights=prices, minlength=self.count) == 1
        self.pace = np.ones(self.count)

    def goes_on_from(self, other: Ascent, tops: Bools, nodes: Ints) -> None:
        """Take over what another one, of more subtrees, knows of these."""
        for name in ("cpu", "link", "low", "high"):
            setattr(self, name, getattr(other, name)[nodes])
        self.pace = other.pace[tops]
        found = other.found
        self.found = Found(
            cuts=found.cuts[:, nodes],
            cost=found.cost[tops],
            bound=found.bound[tops],
            cpu_price=found.cpu_price[nodes],
            link_price=found.link_price[nodes],
            core=found.core[tops],
        )

    def round(self) -> None:
        """One round."""
        tables, found = self.tables, self.found
        n = len(tables.above)
        cuts, costs = joint.cheapest(
            tables,
            self.groups,
            tables.weights(self.base_cpu + np.append(self.cpu, 0.0), tables.link_price + self.link),
        )
        earned = self.cpu * tables.cpu[:n] + self.link * tables.up
        value = costs - np.bincount(tables.top, weights=earned, minlength=self.count)
        better = value > found.bound
        found.bound = np.where(better, value, found.bound)
        found.cpu_price = np.where(better[tables.top], self.cpu, found.cpu_price)
        found.link_price = np.where(better[tables.top], self.link, found.link_price)
        self.pace = np.where(better, self.pace, self.pace * 0.9)
        self.keep(cuts)
        self._step(loads(tables, cuts), value)

    def keep(self, cuts: Ints) -> None:
        """Remember the cuts of those subtrees in which they are the best so far."""
        found, tables = self.found, self.tables
        cost = np.where(held(tables, cuts), subtree_costs(tables, self.true, cuts), np.inf)
        better = cost < found.cost
        found.cost = np.where(better, cost, found.cost)
        unknown = np.isinf(found.cost)
        found.cuts = np.where((better | unknown)[tables.top], cuts, found.cuts)

    def _step(self, taken: Loads, value: Floats) -> None:
        """Prices for the next round."""
        tables, top = self.tables, self.tables.top
        n = len(top)
        over_cpu = np.where(self.priced_cpu, taken.cpu[:n] - tables.cpu[:n], 0.0)
        over_link = np.where(self.priced_link, taken.link - tables.up, 0.0)
        # In parts of the capacity, so that cores and bytes can be compared
        cpu_scale, link_scale = np.maximum(tables.cpu[:n], TINY), np.maximum(tables.up, TINY)
        cpu_slope, link_slope = over_cpu / cpu_scale, over_link / link_scale
        cpu_slope[(self.cpu <= 0) & (cpu_slope < 0)] = 0.0  # a price below nothing is none
        link_slope[(self.link <= 0) & (link_slope < 0)] = 0.0
        length = np.bincount(top, weights=cpu_slope**2 + link_slope**2, minlength=self.count)
        known = np.isfinite(self.found.cost)
        goal = np.where(known, self.found.cost, value + 0.1 * np.abs(value) + TINY)
        step = np.zeros(self.count)
        good = self.found.open & (length > 0) & np.isfinite(value)
        step[good] = self.pace[good] * np.maximum(goal[good] - value[good], 0.0) / length[good]
        cpu = np.maximum(self.cpu + step[top] * cpu_slope / cpu_scale, 0.0)
        self.low = np.where(over_cpu > 0, np.maximum(self.low, self.cpu), self.low)
        self.high = np.where(over_cpu <= 0, np.minimum(self.high, self.cpu), self.high)
        outside = self.alone[top] & good[top] & ((cpu <= self.low) | (cpu >= self.high)) & (cpu_slope != 0)
        bounded = np.isfinite(self.high)
        middle = np.where(bounded, (self.low + np.where(bounded, self.high, 0.0)) / 2, 2 * np.maximum(self.cpu, cpu))
        self.cpu = np.where(outside, middle, cpu)
        self.link = np.maximum(self.link + step[top] * link_slope / link_scale, 0.0)


def planned(tables: Tables, core_price: float, until: float, start: Ints | None = None) -> Found:
    """Cuts that hold, or nearly, and how good they are; the core's own capacity is not asked.

    Args:
        tables: of the problem.
        core_price: what a core-second of the core costs more than it does.
        until: when to stop, by the monotonic clock.
        start: cuts to begin with, such as those of the old plan, [S, n].
    """
    price = tables.cpu_price.copy()
    price[-1] += core_price
    ascent = Ascent(tables, price)
    if start is not None:
        ascent.keep(start)
    found = ascent.found
    nodes, tops = np.arange(len(tables.above)), np.arange(ascent.count)
    for number in range(1, ROUNDS + 1):
        ascent.round()
        last = not ascent.found.open.any() or time.monotonic() > until or number == ROUNDS
        if number % SPELL == 0 or last:
            _finish(ascent)
            _write(found, ascent.found, nodes, tops)
            left = ascent.found.open
            if last or not left.any():
                break
            if not left.all():
                rest, among = subset(ascent.tables, left)
                later = Ascent(rest, np.append(ascent.base_cpu[among], ascent.base_cpu[-1]))
                later.goes_on_from(ascent, left, among)
                ascent, nodes, tops = later, nodes[among], tops[left]
    return found


def _finish(ascent: Ascent) -> None:
    """Bring what has been found within the capacities, and make it cheaper move by move."""
    tables, found = ascent.tables, ascent.found
    broken = ~np.isfinite(found.cost)[tables.top] & (found.cuts >= 0).all(axis=0)
    if broken.any():
        ascent.keep(repaired(tables, found.cuts, broken))
    better = (found.open & np.isfinite(found.cost))[tables.top]
    if better.any():
        ascent.keep(improved(tables, found.cuts, better))


def _write(into: Found, found: Found, nodes: Ints, tops: Ints) -> None:
    into.cuts[:, nodes] = found.cuts
    into.cost[tops], into.bound[tops] = found.cost, found.bound
    into.cpu_price[nodes], into.link_price[nodes] = found.cpu_price, found.link_price
