"""From cuts that take too much to cuts that hold, and to cheaper ones: one move at a time in each subtree. Pure.

A move gives one service another cut at one node. It touches three resources only: the node's CPU, its link and its
parent's CPU. All moves of all nodes are judged at once; the best of each subtree of the core is made, and all begins
again until nothing is gained.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from gateway.network.plan.problem import TINY, Bools, Floats, Ints, Loads, Tables, loads

MOST_MOVES: Final = 400
"""In one subtree, in one go."""


def repaired(tables: Tables, cuts: Ints, room: Bools | None = None) -> Ints:
    """Cuts that take less where there is too much: by the least cost for each part of what is too much.

    Args:
        tables: of the problem.
        cuts: monotone, [S, n]; not changed.
        room: whose cuts may be changed, [n]; all, if left out.
    """
    return _moved(tables, cuts, _relieving, room)


def improved(tables: Tables, cuts: Ints, room: Bools | None = None) -> Ints:
    """Cheaper cuts that take no more than there is, where ``cuts`` do not."""
    return _moved(tables, cuts, _saving, room)


def held(tables: Tables, cuts: Ints, tolerance: float = 0.0) -> Bools:
    """Which subtrees of the core have all they need, [T]; the core itself is not asked.

    Args:
        tables: of the problem.
        cuts: [S, n]; a node with -1 has nothing that it could have.
        tolerance: part of a capacity by which more may be taken than there is.
    """
    taken = loads(tables, cuts)
    cpu, link = Loads(taken.cpu / (1 + tolerance), taken.link / (1 + tolerance), taken.cost).over(tables)
    bad = cpu[:-1] | link | (cuts < 0).any(axis=0)
    good: Bools = np.bincount(tables.top[bad], minlength=len(tables.levels[0])) == 0
    return good


def _relieving(over: Floats, cost: Floats) -> Floats:
    """Lower is better; infinite: no such move."""
    good = over < -TINY
    return np.where(good, (cost + np.abs(cost) * TINY) / np.where(good, -over, 1.0), np.inf)


def _saving(over: Floats, cost: Floats) -> Floats:
    return np.where((over <= 0) & (cost < -TINY), cost, np.inf)


class _Moves:
    """All moves, as they stand."""

    def __init__(self, tables: Tables, cuts: Ints, room: Bools | None) -> None:
        self.tables = tables
        self.cuts = cuts.copy()
        self.room = np.ones(cuts.shape[1], np.bool_) if room is None else room
        self.weights = tables.weights(tables.cpu_price, tables.link_price)
        self.choices = np.arange(tables.shape[2])
        n = len(tables.above)
        self.has_parent = tables.above < n
        capacity = np.maximum(tables.cpu, TINY)
        capacity[n] = np.inf  # the core is shared by all: others see to it
        self.cpu, self.up = capacity, np.maximum(tables.up, TINY)

    def judged(self) -> tuple[Floats, Floats]:
        """What each move adds to the excess, in parts of the capacity, and to the cost, [S, n, C]."""
        tables, n = self.tables, len(self.tables.above)
        now = loads(tables, self.cuts)
        at = np.maximum(self.cuts, 0)[..., None]
        over = np.zeros(tables.here.shape)
        for table, load, capacity in (
            (tables.here, now.cpu[:n], self.cpu[:n]),
            (tables.there, now.cpu[tables.above], self.cpu[tables.above]),
            (tables.bytes, now.link, self.up),
        ):
            change = table - np.take_along_axis(table, at, axis=2)
            after = np.maximum((load - capacity)[:, None] + change, 0.0)
            before = np.maximum(load - capacity, 0.0)[:, None]
            over += (after - before) / capacity[:, None]
        cost = self.weights - np.take_along_axis(self.weights, at, axis=2)
        return over, cost

    def possible(self) -> Bools:
        """Moves between what the children send and what the parent takes, [S, n, C]."""
        tables, (services, n, _) = self.tables, self.tables.shape
        lowest, highest = np.full((services, n + 1), 10**6), np.full((services, n + 1), -1)
        for s in range(services):
            np.minimum.at(lowest[s], tables.above, self.cuts[s])
            np.maximum.at(highest[s], tables.above, self.cuts[s])
        good = tables.allowed & (self.choices >= highest[:, :n, None]) & (tables.lowest <= lowest[:, :n, None])
        parents = tables.above[self.has_parent]
        most = self.cuts[:, parents, None]
        least = np.take_along_axis(tables.lowest[:, parents], np.maximum(most, 0), axis=2)
        good[:, self.has_parent] &= (self.choices <= most) & (self.choices >= least)
        good &= (self.cuts >= 0)[..., None]
        np.put_along_axis(good, np.maximum(self.cuts, 0)[..., None], False, axis=2)
        return good & self.room[:, None]

    def make(self, scores: Floats) -> bool:
        """The best move of each subtree; whether there was one."""
        best_choice = scores.argmin(axis=2)
        best = np.take_along_axis(scores, best_choice[..., None], axis=2)[..., 0]
        service = best.argmin(axis=0)
        value = best.min(axis=0)
        order = np.lexsort((np.arange(len(value)), value, self.tables.top))
        first = np.unique(self.tables.top[order], return_index=True)[1]
        nodes = order[first]
        nodes = nodes[np.isfinite(value[nodes])]
        self.cuts[service[nodes], nodes] = best_choice[service[nodes], nodes]
        return bool(len(nodes))


def _moved(tables: Tables, cuts: Ints, score: object, room: Bools | None) -> Ints:
    assert callable(score)
    moves = _Moves(tables, cuts, room)
    for _ in range(MOST_MOVES):
        over, cost = moves.judged()
        if not moves.make(np.where(moves.possible() & np.isfinite(cost), score(over, cost), np.inf)):
            break
    return moves.cuts
