"""The cheapest cuts of several services together, at given prices: the same dynamic programming over joint choices.

A joint choice of a node is one cut for each service of a group. What a gateway's own CPU and link can carry is looked
up for each joint choice instead of being priced, so that these limits hold exactly, and so does the limit of each inner
node's link. Arrays grow with the product of the choices, hence groups: several where all together would be too many;
then what services of different groups share is priced as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from gateway.network.plan.problem import Bools, Floats, Ints, Tables, exceeds

MOST_CELLS: Final = 8_000_000
"""Nodes times joint choices of all services: with more, they are cut into groups."""
GROUP_CELLS: Final = 500_000
"""Nodes times joint choices of each of several groups; limits that are priced take more rounds, so these are quick."""


@dataclass(frozen=True)
class Group:
    """Services that are looked at together."""

    services: Ints
    """Numbers, [g]."""
    cuts: tuple[Ints, ...]
    """By service: the cuts that any node may have, rising."""
    blocked: Bools
    """What a node's own resources cannot carry, [n, *choices]."""


def groups_of(tables: Tables) -> list[Group]:
    """All services in one group, or as few groups as the product of their choices allows."""
    services, n, _ = tables.shape
    cuts = [np.flatnonzero(tables.allowed[s].any(axis=0)) for s in range(services)]
    cells = prod(map(len, cuts)) * n
    most = (MOST_CELLS if cells <= MOST_CELLS else GROUP_CELLS) // max(n, 1)
    found: list[list[int]] = []
    for s in sorted(range(services), key=lambda s: (-len(cuts[s]), s)):
        into = next((group for group in found if prod(len(cuts[o]) for o in [*group, s]) <= most), None)
        if into is None:
            found.append([s])
        else:
            into.append(s)
    return [_group(tables, sorted(group), cuts) for group in found]


def _group(tables: Tables, services: list[int], cuts: list[Ints]) -> Group:
    chosen = tuple(cuts[s] for s in services)
    link = _spread([tables.bytes[s][:, cuts[s]] for s in services])
    blocked = exceeds(link, _column(tables.up, link.ndim))
    n = len(tables.above)
    cpu = _spread([tables.here[s][:, cuts[s]] for s in services])
    blocked |= exceeds(cpu, _column(np.where(tables.inner, np.inf, tables.cpu[:n]), cpu.ndim))
    return Group(np.array(services, np.int64), chosen, blocked)


def _spread(columns: list[Floats]) -> Floats:
    """Sums over all joint choices, [n, *choices], of columns [n, choices] a service."""
    total = columns[0]
    for column in columns[1:]:
        total = total[..., None] + column.reshape(len(column), *[1] * (total.ndim - 1), -1)
    return total.copy() if len(columns) == 1 else total


def _column(values: Floats, dimensions: int) -> Floats:
    return values.reshape(-1, *[1] * (dimensions - 1))


def cheapest(tables: Tables, groups: list[Group], weights: Floats) -> tuple[Ints, Floats]:
    """As :func:`gateway.network.plan.dp.cheapest`, with costs [T] of all services together.

    Where no joint choice is possible, cuts are -1 and the cost is infinite.
    """
    cuts = np.full(weights.shape[:2], -1, np.int64)
    costs = np.zeros(len(tables.levels[0]))
    for group in groups:
        costs += _one(tables, group, weights, cuts)
    return cuts, costs


def _one(tables: Tables, group: Group, weights: Floats, cuts: Ints) -> Floats:
    """Cuts of one group's services, written into ``cuts``; its costs, [T]."""
    columns = [weights[s][:, found] for s, found in zip(group.services, group.cuts, strict=True)]
    totals: list[Floats] = [_spread([column[level] for column in columns]) for level in tables.levels]
    for depth, level in enumerate(tables.levels):
        np.copyto(totals[depth], np.inf, where=group.blocked[level])
    for depth in range(len(tables.levels) - 1, 0, -1):
        level = tables.levels[depth]
        best = _within_reach(tables, group, totals[depth], level)
        parents, first = np.unique(tables.above[level], return_index=True)
        at = np.searchsorted(tables.levels[depth - 1], parents, sorter=np.argsort(tables.levels[depth - 1]))
        rows = np.argsort(tables.levels[depth - 1])[at]
        totals[depth - 1][rows] += np.add.reduceat(best, first, axis=0)
    for depth, level in enumerate(tables.levels):
        flat = totals[depth].reshape(len(level), -1)
        if depth:
            flat = np.where(_reachable(tables, group, cuts, level), flat, np.inf)
        else:
            costs: Floats = flat.min(axis=1)
        chosen = np.unravel_index(flat.argmin(axis=1), totals[depth].shape[1:])
        possible = np.isfinite(flat.min(axis=1))
        for s, found, number in zip(group.services, group.cuts, chosen, strict=True):
            cuts[s, level] = np.where(possible, found[number], -1)
    return costs


def _within_reach(tables: Tables, group: Group, totals: Floats, level: Ints) -> Floats:
    """The least cost of each node of a level for each joint choice of its parent, [m, *choices]."""
    best = totals.copy()
    parents = tables.above[level]
    for axis, (s, found) in enumerate(zip(group.services, group.cuts, strict=True), 1):
        line = np.moveaxis(best, axis, 0)
        for number in range(1, len(found)):
            runs = tables.lowest[s, parents, found[number]] <= found[number - 1]
            if runs.all():
                np.minimum(line[number], line[number - 1], out=line[number])
            else:
                where = runs.reshape(-1, *[1] * (line.ndim - 2))
                np.minimum(line[number], line[number - 1], out=line[number], where=where)
    return best


def _reachable(tables: Tables, group: Group, cuts: Ints, level: Ints) -> Bools:
    """Which joint choices the nodes of a level may have, as their parents' are known, [m, choices]."""
    parents = tables.above[level]
    good = np.ones((len(level), 1), np.bool_)
    for s, found in zip(group.services, group.cuts, strict=True):
        most = cuts[s, parents]
        least = tables.lowest[s, parents, np.maximum(most, 0)]
        one = (found <= most[:, None]) & (found >= least[:, None])
        good = (good[:, :, None] & one[:, None, :]).reshape(len(level), -1)
    return good
