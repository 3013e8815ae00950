"""Why a plan is as it is: what decided, by comparison with plans that one limit after another does not bind. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.network.config import Tier
from gateway.network.controller.service_view import DAY_S
from gateway.network.plan import dp
from gateway.network.plan.explanation import (
    FEW,
    MOST_LINKS,
    Cause,
    Explanation,
    IntentMet,
    LinkLoad,
    Shed,
    Solved,
    StagePlace,
    TierLoad,
    Where,
    Why,
)
from gateway.network.plan.problem import Floats, Ints, Loads, Tables, loads
from gateway.network.plan.solve import distance
from gateway.network.sound import bounds_of, together
from pipelines.bounds import Bound

if TYPE_CHECKING:
    from gateway.network.controller.view import View
    from gateway.network.plan.solve import Plan

_LAYERS: Final = (Cause.CHEAPEST, Cause.PLACE, Cause.OPERATOR, Cause.LATENCY)
_WORDS: Final = {
    Cause.CHEAPEST: "it costs least there",
    Cause.LATENCY: "elsewhere the result would come too late",
    Cause.OPERATOR: "where it would cost less the operator is missing",
    Cause.CPU: "CPU is scarce where it would cost less",
    Cause.LINK: "a link is too narrow for what would come without it",
    Cause.BYTES: "bytes_per_day asks for fewer bytes than cost least",
}


@dataclass(frozen=True)
class _Facts:
    """What all services' explanations need."""

    view: View
    plan: Plan
    cuts: Ints
    tables: Tables
    loads: Loads
    layers: tuple[Ints, ...]
    """Cuts of the plans that nothing binds, only place, place and operators, and latency too, [S, n]."""


def explanations(view: View, plan: Plan, cuts: Ints, epoch: int, made_ms: int) -> dict[str, Explanation]:
    """One explanation a service.

    Args:
        view: the network.
        plan: of it.
        cuts: what runs, of which the plan's may be better, [S, n].
        epoch: of the plan.
        made_ms: UTC.
    """
    tables = plan.problem.tables
    facts = _Facts(view, plan, cuts, tables, loads(tables, cuts), _layers(view, tables))
    solved = _solved(facts)
    found = {}
    for s, wanted in enumerate(view.wanted):
        links = _links(facts, s)
        tiers = _tiers(facts, s)
        top = cuts.shape[1] > 0 and tables.above == len(view.nodes)
        at = np.maximum(cuts[s], 0)
        sent = np.where(cuts[s] >= 0, tables.bytes[s, np.arange(cuts.shape[1]), at], 0.0)
        raw = np.where(cuts[s] >= 0, view.services[s].raw, 0.0)
        to_core, raw_to_core = (float(column[top].sum()) if np.any(top) else 0.0 for column in (sent, raw))
        found[wanted.name] = Explanation(
            service=wanted.name,
            version=wanted.version,
            epoch=epoch,
            made_ms=made_ms,
            stages=_stages(facts, s),
            links=links[:MOST_LINKS],
            links_left_out=max(0, len(links) - MOST_LINKS),
            tiers=tiers,
            to_core=to_core,
            raw_to_core=raw_to_core,
            ratio=raw_to_core / to_core if to_core > 0 else 0.0,
            latency_s=view.services[s].latency_s,
            cost=float(facts.loads.cost[s]),
            intents=_intents(facts, s, to_core),
            plan=solved,
            estimated=view.services[s].estimated,
        )
    return found


def _layers(view: View, tables: Tables) -> tuple[Ints, ...]:
    plain = replace(tables, allowed=_ones(tables), byte_price=np.zeros_like(tables.byte_price))
    weights = plain.weights(tables.cpu_price, tables.link_price)
    allowed = [np.zeros(tables.allowed.shape, np.bool_) for _ in range(4)]
    for s, service in enumerate(view.services):
        k = service.by_chain.shape[1]
        limits = (np.ones_like(service.by_chain), service.by_chain, service.by_operators, service.by_latency)
        for number in range(4):
            allowed[number][s, :, :k] = np.logical_and.reduce(limits[: number + 1])
    found = []
    for number, one in enumerate(allowed):
        runs = tables.runs if number >= 2 else _ones(tables)
        found.append(dp.cheapest(replace(tables, allowed=one, runs=runs), np.where(one, weights, np.inf))[0])
    return tuple(found)


def _ones(tables: Tables) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.ones(tables.allowed.shape, np.bool_)


def _solved(facts: _Facts) -> Solved:
    plan, view = facts.plan, facts.view
    cost = float(facts.loads.cost.sum())
    return Solved(
        cost=cost,
        bound=plan.bound,
        distance=distance(cost, plan.bound),
        method=plan.method,
        seconds=round(plan.seconds, 4),
        nodes=len(view.nodes),
        services=len(view.wanted),
        shed=_shed(facts),
    )


def _shed(facts: _Facts) -> list[Shed]:
    """What is left out, by service and reason; also what would fit again and comes back with the next move."""
    found = []
    for s, wanted in enumerate(facts.view.wanted):
        has = facts.view.problem.services[s].own[:-1, 0] > 0
        left = has & (facts.cuts[s] < 0)
        whole = bool(left.all()) or int(left.sum()) == int(has.sum())
        words = [(drop.words, drop.nodes) for drop in facts.plan.drops if drop.service == s]
        for text, nodes in [*words, ("there was too little; it comes back when its area moves", left)]:
            names = [facts.view.nodes[node].node for node in np.flatnonzero(left & nodes)]
            left = left & ~nodes
            if names:
                found.append(Shed(service=wanted.name, nodes=[] if whole else names, words=text))
    return found


def _places(facts: _Facts, cuts: Ints, index: int) -> Ints:
    """By source of samples: number of the node that runs a stage on them, n for the core, [n]."""
    n = len(cuts)
    at = np.arange(n)
    for _ in range(len(facts.tables.levels)):
        below = at < n
        short = below & (np.where(below, cuts[np.minimum(at, n - 1)], index) < index)
        at = np.where(short, facts.tables.above[np.minimum(at, n - 1)], at)
    return at


def _stages(facts: _Facts, s: int) -> list[StagePlace]:
    view, service = facts.view, facts.plan.problem.services[s]
    chain, cuts, n = view.wanted[s].chain, facts.cuts[s], len(view.nodes)
    sources = (service.own[:n, 0] > 0) & (cuts >= 0)
    found = []
    for stage in chain.stages:
        came = _came(facts, s, stage.index)
        price = np.append(facts.tables.cpu_price[:n], facts.tables.cpu_price[n])
        cpu = came * service.work[:, stage.index]
        behind = float(service.samples[n, stage.index])
        each = service.bytes[:, stage.index].sum() / max(float(service.samples[:n, stage.index].sum()), 1e-12)
        found.append(
            StagePlace(
                index=stage.index,
                operator=stage.operator,
                kind=stage.kind.value,
                where=_where(facts, s, stage.index, came),
                why=_why(facts, s, stage.index, np.flatnonzero(sources)),
                cpu=float(cpu.sum()),
                samples_in=float(came.sum()),
                samples_out=behind,
                bytes_out=behind * float(each),
                cost=float((cpu * price).sum()),
            )
        )
    return found


def _came(facts: _Facts, s: int, index: int) -> Floats:
    """Samples a second that go into a stage at each node, [n + 1]."""
    service, above = facts.plan.problem.services[s], facts.tables.above
    n = len(above)
    cuts = np.append(facts.cuts[s], service.stages)
    here = cuts >= index
    if index > service.merge:
        return np.where(np.arange(n + 1) == n, service.samples[:, index - 1], 0.0)
    came = np.where(here, service.own[:, index - 1], 0.0)
    runs = here[above] & (cuts[:n] < index) & (cuts[:n] >= 0)
    came += np.bincount(above, weights=np.where(runs, service.samples[:n, index - 1], 0.0), minlength=n + 1)
    if index == service.merge:
        again = here[above] & (cuts[:n] >= index)
        came += np.bincount(above, weights=np.where(again, service.samples[:n, index], 0.0), minlength=n + 1)
    return came


def _where(facts: _Facts, s: int, index: int, came: Floats) -> list[Where]:
    view = facts.view
    n = len(view.nodes)
    found = []
    for tier in (Tier.ACCESS, Tier.AGGREGATION):
        part = [node for node in range(n) if view.nodes[node].tier is tier and facts.cuts[s, node] >= 0]
        names = [view.nodes[node].node for node in part if came[node] > 0]
        if names:
            few = names if len(names) <= FEW else []
            found.append(Where(tier=tier.value, nodes=len(names), of=len(part), names=few))
    if came[n] > 0 or index == facts.plan.problem.services[s].stages:
        workers = max(1, len(view.core))
        found.append(Where(tier=Tier.CORE.value, nodes=workers, of=workers))
    return found


def _why(facts: _Facts, s: int, index: int, sources: Ints) -> list[Why]:
    stage = facts.view.wanted[s].chain.stages[index - 1]
    if stage.lowest is Tier.CORE:
        cause = Cause.PLACE if stage.why == "place" else Cause.PINNED
        words = "place: says so" if cause is Cause.PLACE else stage.why
        return [Why(cause=cause, words=words, nodes=len(sources))]
    if not len(sources):
        return []
    actual = _places(facts, facts.cuts[s], index)[sources]
    layers = [_places(facts, np.maximum(layer[s], 0), index)[sources] for layer in facts.layers]
    causes: Counter[Cause] = Counter()
    for number in range(len(sources)):
        hit = next((c for c, layer in zip(_LAYERS, layers, strict=True) if layer[number] == actual[number]), None)
        causes[hit or _scarce(facts, s, int(sources[number]))] += 1
    found = []
    for cause, count in sorted(causes.items(), key=lambda one: (-one[1], one[0].value)):
        told, words = cause, _WORDS.get(cause, "")
        if cause is Cause.PLACE:
            told = Cause.PLACE if stage.why == "place" else Cause.PINNED
            words = "place: says so" if told is Cause.PLACE or not stage.why else stage.why
        price = _price(facts, sources, cause)
        found.append(Why(cause=told, words=words, nodes=count, price=price))
    return found


def _way(facts: _Facts, node: int) -> list[int]:
    """A node and all above it but the core."""
    way = []
    while node < len(facts.view.nodes):
        way.append(node)
        node = int(facts.tables.above[node])
    return way


def _scarce(facts: _Facts, s: int, source: int) -> Cause:
    """What keeps a source's way from the cheapest: bytes a day, a link that could not carry that, or else CPU."""
    if facts.tables.byte_price[s] > 0:
        return Cause.BYTES
    tables, ideal, actual = facts.tables, facts.layers[-1][s], facts.cuts[s]
    for node in _way(facts, source):
        more = tables.bytes[s, node, max(ideal[node], 0)] - tables.bytes[s, node, max(actual[node], 0)]
        if more > 0 and facts.loads.link[node] + more > tables.up[node]:
            return Cause.LINK
    return Cause.CPU


def _price(facts: _Facts, sources: Ints, cause: Cause) -> float:
    prices = {Cause.CPU: facts.plan.cpu_price, Cause.LINK: facts.plan.link_price}.get(cause)
    if prices is None:
        return 0.0
    nodes = {node for source in sources for node in _way(facts, int(source))}
    if cause is Cause.CPU:
        nodes.add(len(facts.view.nodes))
    return float(max(prices[node] for node in nodes))


def _links(facts: _Facts, s: int) -> list[LinkLoad]:
    """All links that carry something of a service, those into the core first."""
    view, tables = facts.view, facts.tables
    found = []
    for node in np.flatnonzero(facts.cuts[s] >= 0):
        cut = int(facts.cuts[s, node])
        sent = float(tables.bytes[s, node, cut])
        found.append(
            LinkLoad(
                node=view.nodes[node].node,
                to=view.parent_of(int(node)),
                tier=view.nodes[node].tier.value,
                cut=cut,
                bytes=sent,
                raw=float(view.services[s].raw[node]),
                used=float(facts.loads.link[node] / max(tables.up[node], 1e-9)),
                cost=sent * float(tables.link_price[node]),
            )
        )
    return sorted(found, key=lambda link: (bool(link.to), -link.bytes, link.node))


def _tiers(facts: _Facts, s: int) -> list[TierLoad]:
    view = facts.view
    found = []
    for tier in (Tier.ACCESS, Tier.AGGREGATION):
        part = [n for n in np.flatnonzero(facts.cuts[s] >= 0) if view.nodes[n].tier is tier]
        if part:
            sent = facts.tables.bytes[s, part, facts.cuts[s, part]]
            raw = view.services[s].raw[part]
            found.append(TierLoad(tier=tier.value, links=len(part), bytes=float(sent.sum()), raw=float(raw.sum())))
    return found


def _intents(facts: _Facts, s: int, to_core: float) -> list[IntentMet]:
    config = facts.view.wanted[s].chain.service
    intent, latency = config.intent, facts.view.services[s].latency_s
    found = [_below("latency", float(intent.latency), latency, "s")]
    if intent.bytes_per_day is not None:
        found.append(_below("bytes_per_day", float(intent.bytes_per_day), to_core * DAY_S, "B/day"))
    if intent.error is not None:
        found.append(_error(facts, s))
    return found


def _below(name: str, wanted: float, expected: float, unit: str) -> IntentMet:
    part = 100 * (1 - expected / wanted) if wanted else 0.0
    words = f"{abs(part):.0f} % {'below' if part >= 0 else 'above'}"
    return IntentMet(name=name, wanted=wanted, expected=expected, unit=unit, met=expected <= wanted, words=words)


def _error(facts: _Facts, s: int) -> IntentMet:
    """What the steps' own bounds add up to, if they are in the unit of what is wanted."""
    config = facts.view.wanted[s].chain.service
    assert config.intent.error is not None
    wanted = Bound.parse(config.intent.error)
    bounds = bounds_of(config)
    if any((one.bound.percent is None) != (wanted.percent is None) for one in bounds):
        most = wanted.absolute if wanted.percent is None else wanted.percent
        return IntentMet(
            name="error", wanted=most or 0.0, expected=None, unit="" if wanted.percent is None else "%", met=None,
            words="some step's bound is in another unit",
        )  # fmt: skip
    absolute, percent = together(bounds)
    if wanted.percent is None:
        return _below("error", wanted.absolute or 0.0, absolute, "")
    return _below("error", wanted.percent, percent, "%")
