"""What is to be planned, as arrays, and what a plan costs. Pure.

Nodes are numbered 0..n-1, the core is node n. A *cut* of a node and a service says how many stages are applied to what
leaves the node; on the way up cuts never fall, and the core applies all the rest. A service's *choices* are its cuts
0..K; arrays over the choices of all services are padded to the longest, and padding is never allowed.

Everything a plan costs is linear in what each node chooses by itself: going from cut j to cut k costs a parent
``C[k] - C[j]`` where C are the running sums over the stages, and the two ends can be told apart. :class:`Tables` holds
these ends, and is all that the algorithms see:

* ``here``: CPU of the node itself if all that leaves it has cut k, as if its children left everything to it;
* ``there``: what its choice adds to its parent's CPU (mostly it takes some away, so this is negative);
* ``bytes``: what it puts on its link.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
TINY = 1e-9
"""Relative: so far above a capacity still counts as within, for sums in another order differ so."""


@dataclass(frozen=True, kw_only=True)
class ServiceProblem:
    """One service; K stages."""

    name: str
    priority: int
    """10 goes first, 1 last."""
    merge: int
    """Number of the stage that merges and may run again at each inner node; K + 1 if there is none."""
    samples: Floats
    """Samples a second that leave a node's subtree if k stages are applied to all of it, [n + 1, K + 1]."""
    own: Floats
    """The same of the node's own inputs alone, [n + 1, K + 1]."""
    bytes: Floats
    """Bytes a second that leave a node's subtree, as ``samples``, [n, K + 1]."""
    work: Floats
    """Core-seconds a sample that comes into stage k at this node, [n + 1, K + 1]; column 0 is not used."""
    allowed: Bools
    """Which cuts a node may have, [n, K + 1]; a row of False: the service cannot have what comes from there."""
    runs: Bools
    """Whether a node can run stage k on what its children send, [n, K + 1]; column 0 is not used. What it cannot run
    itself it still forwards if it was done below."""
    most: float = math.inf
    """Bytes a second into the core that it should keep to, over all links together."""

    @property
    def stages(self) -> int:
        """K."""
        return int(self.samples.shape[1]) - 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network and its services."""

    names: tuple[str, ...]
    """Of the nodes, [n]."""
    tier: Ints
    """Rank of the tier, [n]: 0 access, 1 aggregation."""
    parent: Ints
    """Number of the parent, [n]; -1: the core."""
    cpu: Floats
    """Core-seconds a second that services may use, [n + 1]; last the core, all its workers together."""
    up: Floats
    """Bytes a second that services may put on the link to the parent, [n]."""
    cpu_price: Floats
    """Units of cost a core-second, [n + 1]."""
    link_price: Floats
    """Units of cost a byte, [n]."""
    services: tuple[ServiceProblem, ...]
    byte_price: Floats | None = None
    """What each service's byte into the core costs besides, so that it keeps to ``most``, [S]; None: nothing."""

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def tables(self) -> Tables:
        """What the algorithms work on."""
        return _tables(self)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """See above; S services, n nodes, C choices."""

    here: Floats
    """Core-seconds a second, [S, n, C]."""
    there: Floats
    """Core-seconds a second, [S, n, C]."""
    bytes: Floats
    """Bytes a second, [S, n, C]."""
    allowed: Bools
    """[S, n, C]."""
    runs: Bools
    """[S, n, C]."""
    core: Floats
    """CPU of the core if everything were left to it, [S]."""
    above: Ints
    """The parent, [n]; n: the core."""
    levels: tuple[Ints, ...]
    """The nodes by their distance from the core, those just below it first, within a level by parent."""
    top: Ints
    """Which node just below the core a node hangs under, as its number among them, [n]."""
    cpu: Floats
    up: Floats
    cpu_price: Floats
    link_price: Floats
    byte_price: Floats
    """Units of cost a byte into the core besides, [S]: no cost of the plan, but what steers it."""
    priority: Ints

    @property
    def shape(self) -> tuple[int, int, int]:
        """Services, nodes, choices."""
        services, nodes, choices = self.here.shape
        return services, nodes, choices

    @cached_property
    def inner(self) -> Bools:
        """Which nodes have children, [n]."""
        return np.bincount(self.above, minlength=len(self.above) + 1)[:-1] > 0

    @cached_property
    def lowest(self) -> Ints:
        """The lowest cut that a node's children may have if its own is k: it can run all stages between, [S, n, C]."""
        stuck = np.where(self.runs, 0, np.arange(self.runs.shape[2]))
        lowest: Ints = np.maximum.accumulate(stuck, axis=2)
        return lowest

    def weights(self, cpu_price: Floats, link_price: Floats) -> Floats:
        """What each choice costs at these prices, [S, n, C]; infinite where it is not allowed."""
        n = len(self.above)
        total = self.here * cpu_price[:n, None]
        total += self.there * cpu_price[self.above][:, None]
        total += self.bytes * link_price[:, None]
        if self.byte_price.any() and n:
            tops = self.levels[0]
            total[:, tops] += self.bytes[:, tops] * self.byte_price[:, None, None]
        total[~self.allowed] = np.inf
        return total


@dataclass(frozen=True)
class Loads:
    """What a plan takes."""

    cpu: Floats
    """Core-seconds a second, [n + 1]."""
    link: Floats
    """Bytes a second, [n]."""
    cost: Floats
    """Units of cost a second by service, [S]."""

    def over(self, tables: Tables) -> tuple[Bools, Bools]:
        """Which nodes [n + 1] and which links [n] have more than they can carry."""
        return exceeds(self.cpu, tables.cpu), exceeds(self.link, tables.up)


def subset(tables: Tables, tops: Bools) -> tuple[Tables, Ints]:
    """Some subtrees of the core by themselves, and the numbers that their nodes had.

    Args:
        tables: of the whole.
        tops: which subtrees, [T].
    """
    n = len(tables.above)
    nodes = np.flatnonzero(tops[tables.top])
    number = np.full(n + 1, len(nodes))
    number[nodes] = np.arange(len(nodes))
    above = number[tables.above[nodes]]
    levels, top = _levels(above)
    return replace(
        tables,
        here=tables.here[:, nodes],
        there=tables.there[:, nodes],
        bytes=tables.bytes[:, nodes],
        allowed=tables.allowed[:, nodes],
        runs=tables.runs[:, nodes],
        above=above,
        levels=levels,
        top=top,
        cpu=np.append(tables.cpu[nodes], tables.cpu[n]),
        up=tables.up[nodes],
        cpu_price=np.append(tables.cpu_price[nodes], tables.cpu_price[n]),
        link_price=tables.link_price[nodes],
    ), nodes


def exceeds(load: Floats, capacity: Floats) -> Bools:
    """Whether a load is above a capacity, by more than sums in another order may differ."""
    return load > capacity * (1 + TINY) + TINY


def loads(tables: Tables, cuts: Ints) -> Loads:
    """What a plan takes.

    Args:
        tables: of the problem.
        cuts: of each service and node, [S, n]; -1: the service has no part there, and nothing below it either.
    """
    services, n, _ = tables.shape
    taken = cuts >= 0
    at = np.maximum(cuts, 0)[..., None]
    here, there, link = (
        np.where(taken, np.take_along_axis(table, at, axis=2)[..., 0], 0.0)
        for table in (tables.here, tables.there, tables.bytes)
    )
    cpu = np.zeros((services, n + 1))
    cpu[:, :n] = here
    cpu[:, n] = tables.core
    for s in range(services):
        cpu[s] += np.bincount(tables.above, weights=there[s], minlength=n + 1)
    cost = cpu @ tables.cpu_price + link @ tables.link_price
    return Loads(cpu.sum(axis=0), link.sum(axis=0), cost)


def is_monotone(tables: Tables, cuts: Ints) -> bool:
    """Whether all cuts are allowed, none falls on the way up, and each node can run what is left to it."""
    at = np.maximum(cuts, 0)[..., None]
    allowed: Bools = np.take_along_axis(tables.allowed, at, axis=2)[..., 0]
    lowest: Ints = np.take_along_axis(tables.lowest, at, axis=2)[..., 0]
    below = tables.above < cuts.shape[1]
    child, parent = cuts[:, below], tables.above[below]
    between = (child <= cuts[:, parent]) & (child >= lowest[:, parent])
    return bool((allowed | (cuts < 0)).all() and (between | (child < 0)).all())


def _tables(problem: Problem) -> Tables:
    n, count = len(problem), len(problem.services)
    above = np.where(problem.parent < 0, n, problem.parent).astype(np.int64)
    choices = max((service.stages for service in problem.services), default=0) + 1
    here, there, carried = (np.zeros((count, n, choices)) for _ in range(3))
    allowed = np.zeros((count, n, choices), np.bool_)
    runs = np.ones((count, n, choices), np.bool_)
    core = np.zeros(count)
    for s, service in enumerate(problem.services):
        k = service.stages + 1
        here[s, :, :k], there[s, :, :k], core[s] = _ends(service, above)
        carried[s, :, :k] = service.bytes
        allowed[s, :, :k] = service.allowed
        runs[s, :, 1:k] = service.runs[:, 1:]
    levels, top = _levels(above)
    return Tables(
        here=here,
        there=there,
        bytes=carried,
        allowed=allowed,
        runs=runs,
        core=core,
        above=above,
        levels=levels,
        top=top,
        cpu=problem.cpu,
        up=problem.up,
        cpu_price=problem.cpu_price,
        link_price=problem.link_price,
        byte_price=np.zeros(count) if problem.byte_price is None else problem.byte_price,
        priority=np.array([service.priority for service in problem.services], np.int64),
    )


def _ends(service: ServiceProblem, above: Ints) -> tuple[Floats, Floats, float]:
    """``here`` [n, K + 1], ``there`` [n, K + 1] and the core's constant of one service."""
    n, stages = len(above), service.stages
    last = min(service.merge, stages)  # up to there, what comes from each child is worked on by itself
    parents = np.zeros((n, stages + 1))  # CPU at the parent that brings a node's samples from nothing to k
    parents[:, 1 : last + 1] = np.cumsum(service.work[above, 1 : last + 1] * service.samples[:n, :last], axis=1)
    parents[:, last + 1 :] = parents[:, last : last + 1]
    every = np.zeros((n + 1, stages + 1))
    every[:, 1 : last + 1] = np.cumsum(service.work[:, 1 : last + 1] * service.own[:, :last], axis=1)
    every[:, last + 1 :] = every[:, last : last + 1] + np.cumsum(
        service.work[:, last + 1 :] * service.samples[:, last:stages], axis=1
    )
    for k in range(stages + 1):
        every[:, k] += np.bincount(above, weights=parents[:, k], minlength=n + 1)
    there = -parents
    if service.merge <= stages:  # what comes merged is merged once more with the others
        again = service.work[above, service.merge] * service.samples[:n, service.merge]
        there[:, service.merge :] += again[:, None]
    return every[:n], there, float(every[n, stages])


def _levels(above: Ints) -> tuple[tuple[Ints, ...], Ints]:
    n = len(above)
    depth = np.full(n + 1, -1, np.int64)
    depth[n] = 0
    top = np.full(n, -1, np.int64)
    levels: list[Ints] = []
    level = np.flatnonzero(above == n)
    top[level] = np.arange(len(level))
    while len(level):
        levels.append(level)
        depth[level] = len(levels)
        below = np.flatnonzero((depth[:n] < 0) & (depth[above] == len(levels)))
        level = below[np.argsort(above[below], kind="stable")]
        top[level] = top[above[level]]
    if (depth < 0).any():
        raise ValueError("the parents form a circle")
    return tuple(levels), top
