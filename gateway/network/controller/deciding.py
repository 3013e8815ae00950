"""From a plan to what is written: which subtrees move, which stay, and from when on. Pure but for what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.network.assignment import Assignment, ServicePart
from gateway.network.edges import longest_ns, next_edge, windows_in
from gateway.network.extended import chain_for
from gateway.network.plan.budgets import into_core
from gateway.network.plan.hysteresis import Hysteresis, Offer
from gateway.network.plan.prices import subtree_costs
from gateway.network.plan.problem import Bools, Floats, Ints, Problem, Tables, is_monotone
from gateway.network.plan.repair import held
from gateway.network.plan.shedding import Drop, without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.network.advert import Advert
    from gateway.network.controller.view import View, Wanted
    from gateway.network.plan.solve import Plan

SCARCE_PART: Final = 0.1
"""Headroom below this part of a node's cores"""
SCARCE_S: Final = 30.0
"""for so long cannot stay."""
BACKLOG_S: Final = 60.0
"""Nor can a backlog that is older."""
TOLERANCE: Final = 0.05
"""So far, relatively, what runs may be above what there is by the estimates, before it counts."""
LEAD_NS: Final = 5 * 10**9
"""A window edge that is nearer is not waited for: the news may come later than it."""
LONGEST_EDGE_NS: Final = 3600 * 10**9
"""So long a move waits for an edge, at most."""
VERSION_LEAD_NS: Final = 10 * 10**9
"""So long before a version begins its nodes are told: what one hears of too late, counts in the version before."""


@dataclass
class Watchful:
    """What presses a node, over time."""

    scarce_since: dict[str, float] = field(default_factory=dict)

    def pressed(self, advert: Advert, now_s: float) -> set[str]:
        """Why a node should not go on as it is."""
        reasons = set()
        if advert.headroom < SCARCE_PART * advert.cores:
            since = self.scarce_since.setdefault(advert.node, now_s)
            if now_s - since >= SCARCE_S:
                reasons.add(f"{advert.node} has little CPU left")
        else:
            self.scarce_since.pop(advert.node, None)
        if any(link.backlog_age_s > BACKLOG_S for link in advert.links):
            reasons.add(f"{advert.node} has a backlog")
        return reasons


@dataclass(frozen=True)
class Decision:
    """What is to run."""

    cuts: Ints
    """[S, n]."""
    moved: dict[str, str]
    """Subtrees that change, by the name of their top, with the reason."""
    at_once: Bools
    """Nodes whose change does not wait for a window edge, [n]."""


def running_cuts(view: View, running: Mapping[str, Assignment]) -> tuple[Ints, Bools]:
    """What runs, as cuts (-1: nothing, or another version), and where it is sent to another parent, [S, n] both."""
    shape = (len(view.wanted), len(view.nodes))
    cuts, elsewhere = np.full(shape, -1, np.int64), np.zeros(shape, np.bool_)
    for node, advert in enumerate(view.nodes):
        assignment = running.get(advert.node)
        if assignment is None:
            continue
        for s, wanted in enumerate(view.wanted):
            part = assignment.services.get(wanted.name)
            if part is not None and part.version == wanted.version and part.cut <= len(wanted.chain):
                cuts[s, node] = part.cut
                elsewhere[s, node] = part.parent != view.parent_of(node)
    return cuts, elsewhere


class Decider:
    """Keeps what runs where nothing better is sure."""

    def __init__(self, hysteresis: Hysteresis | None = None, out: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.hysteresis = Hysteresis() if hysteresis is None else hysteresis
        self.watchful = Watchful()
        self._out = out
        """Service and node of what is left out: it comes back with a move, not by itself."""

    def decide(self, view: View, plan: Plan, running: Mapping[str, Assignment], now_s: float) -> Decision:
        """What is to run from now on."""
        tables = plan.problem.tables
        n = len(view.nodes)
        old, elsewhere = running_cuts(view, running)
        if not n:
            return Decision(old, {}, np.zeros(0, np.bool_))
        dropped = _dropped(view, plan)
        kept = self._kept(view, plan, old, dropped)
        now = _without(view, dropped & (kept < 0)).tables  # what is left out and runs all the same counts
        over = _over(view, plan, now, kept)
        possible, holds = _possible(now, kept), held(now, np.maximum(kept, 0), TOLERANCE)
        now_cost, new_cost = _cost(now, kept), _cost(tables, plan.cuts)
        changes = ((kept != plan.cuts) & (old >= 0)) | (elsewhere & (old >= 0))
        cuts, moved, at_once = kept.copy(), {}, np.zeros(n, np.bool_)
        names = [view.nodes[node].node for node in tables.levels[0]]
        self.hysteresis.forget(frozenset(names))
        for top, name in enumerate(names):
            inside = tables.top == top
            urgent, pressed = self._reasons(view, inside, now_s)
            if elsewhere[:, inside].any():
                urgent.add("another parent")
            if not possible[top]:
                urgent.add("what runs is not possible any more")
            if not holds[top]:
                pressed.add("what runs takes more than there is")
            pressed |= {
                f"{view.wanted[s].name} sends more than its bytes_per_day"
                for s in over
                if (kept[s, inside] != plan.cuts[s, inside]).any()
            }
            offer = Offer(
                now_s=now_s,
                every_s=max(view.nodes[node].every_s for node in np.flatnonzero(inside)),
                running=float(now_cost[top]),
                planned=float(new_cost[top]),
                moves=int(changes[:, inside].sum()),
                urgent=frozenset(urgent),
                pressed=frozenset(pressed),
            )
            at_once[inside] = bool(urgent)
            if not self.hysteresis.decides(name, offer) and possible[top]:
                continue
            cuts[:, inside] = plan.cuts[:, inside]
            moved[name] = ", ".join(sorted(urgent | pressed)) or f"saves {offer.running - offer.planned:.3g} a second"
            at_once[inside] = bool(urgent | pressed)
        gone = (dropped | self._was_out(view)) & (cuts < 0)
        self._out = frozenset((view.wanted[s].name, view.nodes[v].node) for s, v in np.argwhere(gone))
        return Decision(cuts, {name: why for name, why in moved.items() if changes.any()}, at_once)

    def _kept(self, view: View, plan: Plan, old: Ints, dropped: Bools) -> Ints:
        """What runs, with what is new beside it."""
        for_ever = np.zeros(old.shape, np.bool_)
        for drop in plan.drops:
            if drop.for_ever:
                for_ever[drop.service] |= drop.nodes
        kept = np.where((old >= 0) & ((plan.cuts >= 0) | dropped), old, plan.cuts)
        return np.where(for_ever | ((old < 0) & self._was_out(view)), -1, kept)

    def _was_out(self, view: View) -> Bools:
        names = [advert.node for advert in view.nodes]
        return np.array([[(one.name, node) in self._out for node in names] for one in view.wanted], np.bool_).reshape(
            len(view.wanted), len(names)
        )

    def _reasons(self, view: View, inside: Bools, now_s: float) -> tuple[set[str], set[str]]:
        pressed: set[str] = set()
        for node in np.flatnonzero(inside):
            pressed |= self.watchful.pressed(view.nodes[node], now_s)
        return set(), pressed


def _dropped(view: View, plan: Plan) -> Bools:
    """What the plan leaves out, [S, n]."""
    dropped = np.zeros((len(view.wanted), len(view.nodes)), np.bool_)
    for drop in plan.drops:
        dropped[drop.service] |= drop.nodes
    return dropped


def _without(view: View, dropped: Bools) -> Problem:
    drops = [Drop(s, nodes, "") for s, nodes in enumerate(dropped) if nodes.any()]
    return without(view.problem, drops)


def _possible(tables: Tables, cuts: Ints) -> Bools:
    """Subtrees of the core in which cuts rise as they must and nodes can run what is left to them, [T]."""
    return np.array(
        [is_monotone(tables, np.where(tables.top == top, cuts, -1)) for top in range(len(tables.levels[0]))]
    )


def _over(view: View, plan: Plan, now: Tables, kept: Ints) -> list[int]:
    """Services whose bytes into the core are more than they may be, and would be fewer by the plan."""
    most = np.array([service.most for service in view.problem.services])
    sent, planned = into_core(now, kept), into_core(plan.problem.tables, plan.cuts)
    return np.flatnonzero((sent > most * (1 + TOLERANCE)) & (planned < sent)).tolist()


def _cost(tables: Tables, cuts: Ints) -> Floats:
    """What it really costs: a price on bytes that only steers the plan is none."""
    tables = replace(tables, byte_price=np.zeros_like(tables.byte_price))
    weights = tables.weights(tables.cpu_price, tables.link_price)
    return subtree_costs(tables, np.where(np.isfinite(weights), weights, 0.0), cuts)


def assignments(
    view: View, decision: Decision, running: Mapping[str, Assignment], epoch: int, now_ns: int
) -> dict[str, Assignment]:
    """What each node is told, only those that change.

    Args:
        view: the network.
        decision: what is to run.
        running: what the nodes were told before; nodes that are away keep it.
        epoch: of the plan, above all before.
        now_ns: UTC.
    """
    found: dict[str, Assignment] = {}
    edges = [_edge(wanted, now_ns) for wanted in view.wanted]
    begins = [begins_ns(wanted, running.values(), now_ns) for wanted in view.wanted]
    for node, advert in enumerate(view.nodes):
        before = running.get(advert.node)
        old = {} if before is None else before.services
        parts: dict[str, ServicePart] = {}
        for s, wanted in enumerate(view.wanted):
            cut = int(decision.cuts[s, node])
            if cut < 0:
                continue
            known = old.get(wanted.name)
            moves = known is not None and known.version == wanted.version and not decision.at_once[node]
            part = ServicePart(
                version=wanted.version, epoch=epoch, cut=cut, parent=view.parent_of(node), yaml=wanted.yaml,
                from_ns=edges[s] if moves else 0,
                since_ns=0 if known is None else known.since_ns if known.version == wanted.version else begins[s],
            )  # fmt: skip
            parts[wanted.name] = known if known is not None and _same(known, part) else part
        if parts != old:
            found[advert.node] = Assignment(epoch=epoch, services=parts)
    return found


def _same(known: ServicePart, part: ServicePart) -> bool:
    return (known.version, known.cut, known.parent) == (part.version, part.cut, part.parent)


def begins_ns(wanted: Wanted, running: Iterable[Assignment], now_ns: int) -> int:
    """From which time on samples are this version's, UTC: an edge that its windows and those before it have in common.

    What a node was told once holds for all of them, also of a controller that leads later.
    """
    parts = [part for one in running for name, part in one.services.items() if name == wanted.name]
    told = max((part.since_ns for part in parts if part.version == wanted.version), default=0)
    earlier = [part for part in parts if part.version < wanted.version]
    if told or not earlier:
        return told
    last = max(earlier, key=lambda part: part.version)
    soonest = max(now_ns + VERSION_LEAD_NS, *(part.since_ns for part in earlier))
    chain = chain_for(last)
    before = [] if chain is None else windows_in(chain.service)
    return next_edge([*windows_in(wanted.chain.service), *before], soonest)


def _edge(wanted: Wanted, now_ns: int) -> int:
    """The next edge of a service's windows, UTC; 0 without, or with long ones: at once, which is exact as well."""
    service = wanted.chain.service
    windows = windows_in(service)
    return next_edge(windows, now_ns + LEAD_NS) if windows and longest_ns(service) <= LONGEST_EDGE_NS else 0
