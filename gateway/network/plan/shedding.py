"""What is left out where there is not enough for all: services of the lowest priority first, by the node. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gateway.network.plan.problem import Bools, Ints, Problem, ServiceProblem


@dataclass(frozen=True)
class Drop:
    """A service that is not taken from some nodes."""

    service: int
    """Its number."""
    nodes: Bools
    """Whose own inputs are left out, [n]."""
    words: str
    """What is missing, for people."""
    for_ever: bool = False
    """Whether it is no matter of how much there is: nothing but another network or another service mends it."""


def impossible(problem: Problem) -> list[Drop]:
    """What no plan could do, however much there were: some stage may run nowhere on the way."""
    tables = problem.tables
    drops = []
    for s, service in enumerate(problem.services):
        reach = tables.allowed[s].copy()
        bad = np.zeros(len(problem), np.bool_)
        for level in reversed(tables.levels):
            stuck = level[~reach[level].any(axis=1)]
            bad[stuck] = True
            good = level[reach[level].any(axis=1)]
            parents = tables.above[good]
            below = parents < len(problem)
            for node, parent in zip(good[below], parents[below], strict=True):
                fits = _reaches(reach[node], tables.lowest[s, parent])
                if not (fits & reach[parent]).any():
                    bad[node] = True
                else:
                    reach[parent] &= fits
        nodes = _below(problem, bad) & (service.own[:-1, 0] > 0)
        if nodes.any():
            words = "a stage may run nowhere on the way to the core, or its operator is missing"
            drops.append(Drop(s, nodes, words, for_ever=True))
    return drops


def _reaches(child: Bools, lowest: Ints) -> Bools:
    """Which cuts a parent may have for a child that may have these, [C]."""
    count = np.concatenate([[0], np.cumsum(child)])
    choices = np.arange(len(child))
    fits: Bools = count[choices + 1] - count[lowest] > 0
    return fits


def _below(problem: Problem, bad: Bools) -> Bools:
    """The nodes themselves, and all below them."""
    found = bad.copy()
    tables = problem.tables
    for level in tables.levels[1:]:
        found[level] |= found[tables.above[level]]
    return found


def lowest_priority(problem: Problem, broken: Bools | None) -> list[Drop]:
    """The next thing to leave out.

    Args:
        problem: as it stands.
        broken: subtrees of the core without a plan that holds, [T]; None: it is the core that has not enough.
    """
    n = len(problem)
    present = np.array([service.own[:-1, 0] > 0 for service in problem.services]).reshape(-1, n)
    rank = [(service.priority, -number) for number, service in enumerate(problem.services)]
    order = sorted(range(len(rank)), key=lambda s: rank[s])
    if broken is None:
        s = next((s for s in order if present[s].any()), None)
        return [] if s is None else [Drop(s, present[s], "the core has too little CPU for all services")]
    poor = _too_little(problem, present) & broken[problem.tables.top]
    drops = []
    for top in np.flatnonzero(broken):
        inside = problem.tables.top == top
        where = inside & poor if (inside & poor).any() else inside
        s = next((s for s in order if (present[s] & where).any()), None)
        if s is not None:
            words = "CPU and link of the gateway" if (inside & poor).any() else "CPU and links of its area"
            drops.append(Drop(s, present[s] & where, f"{words} are too small for all services"))
    return drops


def _too_little(problem: Problem, present: Bools) -> Bools:
    """Gateways that cannot carry what they have, whatever their parents do, [n]."""
    from gateway.network.plan import joint

    tables = problem.tables
    poor = np.zeros(len(problem), np.bool_)
    for group in joint.groups_of(tables):
        allowed = np.ones((len(problem), 1), np.bool_)
        for s, cuts in zip(group.services, group.cuts, strict=True):
            allowed = (allowed[:, :, None] & tables.allowed[s][:, None, cuts]).reshape(len(problem), -1)
        poor |= ~(allowed & ~group.blocked.reshape(len(problem), -1)).any(axis=1)
    return poor & present.any(axis=0) & ~tables.inner


def without(problem: Problem, drops: list[Drop]) -> Problem:
    """The problem without what is left out."""
    if not drops:
        return problem
    services = list(problem.services)
    for drop in drops:
        services[drop.service] = _less(problem, services[drop.service], drop.nodes)
    return replace(problem, services=tuple(services))


def _less(problem: Problem, service: ServiceProblem, nodes: Bools) -> ServiceProblem:
    n = len(problem)
    gone = np.append(nodes, False)
    own = np.where(gone[:, None], 0.0, service.own)
    taken = service.own - own
    for level in reversed(problem.tables.levels):
        np.add.at(taken, problem.tables.above[level], taken[level])
    left = service.samples - taken
    left[:, service.merge :] = service.samples[:, service.merge :]  # groups, of which there may be as many as before
    nothing = left[:, 0] <= service.samples[:, 0] * 1e-12
    left = np.where(nothing[:, None], 0.0, np.maximum(left, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(service.samples > 0, left / service.samples, 0.0)
    return replace(
        service,
        own=own,
        samples=left,
        bytes=service.bytes * part[:n],
        allowed=service.allowed | nothing[:n, None],
    )
