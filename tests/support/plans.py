"""Problems for the planner, of any size, with any scarcity."""

from __future__ import annotations

import numpy as np

from gateway.network.plan import dp
from gateway.network.plan.problem import Problem, ServiceProblem, loads


def problem(
    seed: int,
    gateways: int,
    services: int,
    *,
    areas: int | None = None,
    slack: float = 0.3,
    stages: tuple[int, int] = (2, 5),
) -> Problem:
    """A tree of aggregation nodes with gateways below, all of whose figures are drawn.

    Args:
        seed: of the draw.
        gateways: how many.
        services: how many.
        areas: aggregation nodes; default: one for 25 gateways.
        slack: how much more there is, at most, than some plan takes; infinite: nothing is scarce.
        stages: fewest and most of a service.
    """
    chance = np.random.default_rng(seed)
    areas = max(1, gateways // 25) if areas is None else areas
    n = areas + gateways
    parent = (
        np.concatenate([np.full(areas, -1), np.sort(chance.integers(0, areas, gateways))]) if areas else np.full(n, -1)
    )
    chains = tuple(_service(chance, s, parent, areas, stages) for s in range(services))
    probe = Problem(
        names=tuple([f"area-{i}" for i in range(areas)] + [f"gateway-{i}" for i in range(gateways)]),
        tier=np.array([1] * areas + [0] * gateways),
        parent=parent,
        cpu=np.full(n + 1, np.inf),
        up=np.full(n, np.inf),
        cpu_price=np.concatenate([np.full(n, 1e6), [2e6]]),
        link_price=chance.choice([1.0, 1.0, 4.0], n),
        services=chains,
    )
    # What another draw of prices would choose fits: there is a plan, and little room beside it
    weights = probe.tables.weights(
        probe.cpu_price * chance.lognormal(0, 2, n + 1), probe.link_price * chance.lognormal(0, 2, n)
    )
    taken = loads(probe.tables, dp.cheapest(probe.tables, weights)[0])
    room = 1.0 + slack * chance.random((2, n)) if np.isfinite(slack) else np.full((2, n), np.inf)
    return Problem(
        names=probe.names,
        tier=probe.tier,
        parent=parent,
        cpu=np.append((taken.cpu[:n] + 1e-9) * room[0], 1e3),
        up=(taken.link + 1e-9) * room[1],
        cpu_price=probe.cpu_price,
        link_price=probe.link_price,
        services=chains,
    )


def _service(chance, number, parent, areas, stages) -> ServiceProblem:
    n = len(parent)
    plain = int(chance.integers(stages[0] - 1, stages[1] - 1))
    windowed = bool(chance.random() < 0.6)
    count = max(plain, 1) if not windowed else max(plain - 1, 0) + 3
    merge = count - 1 if windowed else count + 1
    own = np.zeros((n + 1, count + 1))
    rate = np.where(np.arange(n) >= areas, chance.lognormal(4, 1, n), 0.0) * (chance.random(n) < 0.9)
    own[:n, 0] = rate
    each = np.ones((n, count + 1)) * 30.0
    for k in range(1, count + 1):
        selectivity = chance.uniform(0.2, 1.1)
        if windowed and k == merge - 1:
            selectivity = 0.1
        elif windowed and k >= merge:
            selectivity = 1.0
        own[:n, k] = own[:n, k - 1] * selectivity * chance.uniform(0.8, 1.2, n)
        each[:, k] = each[:, k - 1] * chance.uniform(0.6, 1.0)
    samples = own.copy()
    for v in range(n - 1, -1, -1):
        up = n if parent[v] < 0 else parent[v]
        samples[up] += samples[v]
    if windowed:
        groups = chance.uniform(0.05, 0.3)
        inner = np.append(np.arange(n) < areas, True)
        samples[inner, merge:] *= groups
    allowed = np.ones((n, count + 1), bool)
    if windowed:
        allowed[:, merge + 1 :] = False
    work = chance.uniform(0.3e-6, 3e-6, count + 1)[None, :] * chance.uniform(0.5, 2.0, n + 1)[:, None]
    return ServiceProblem(
        name=f"service-{number}",
        priority=int(chance.integers(1, 11)),
        merge=merge,
        samples=samples,
        own=own,
        bytes=samples[:n] * each,
        work=work,
        allowed=allowed,
        runs=np.ones((n, count + 1), bool),
    )
