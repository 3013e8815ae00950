"""Services keep to their bytes into the core where any plan does, at the least cost or near it."""

import itertools
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.network.chain import chain_of
from gateway.network.config import Tier
from gateway.network.controller import defaults
from gateway.network.controller.measured import Measured
from gateway.network.controller.planning import Planner
from gateway.network.controller.service_view import DAY_S
from gateway.network.controller.view import Wanted
from gateway.network.plan import budgets
from gateway.network.plan.explanation import Cause
from gateway.network.plan.problem import is_monotone, loads
from gateway.network.plan.solve import plan_for
from gateway.network.reading import service_of
from gateway.network.simulate_nodes import drawn, services
from tests.support.plans import problem

NOW = 1_700_000_000 * 10**9


def limited(p, mosts):
    return replace(p, services=tuple(replace(one, most=most) for one, most in zip(p.services, mosts, strict=True)))


def dear(p):
    """CPU costs much but in the core, so that the cheapest plan leaves nearly all to it."""
    return replace(p, cpu_price=np.append(p.cpu_price[:-1] * 100, 1.0))


def sent(plan):
    return budgets.into_core(plan.problem.tables, plan.cuts)


def every(p):
    """All plans of a single service that are allowed: bytes into the core and cost."""
    _, n, choices = p.tables.shape
    for cuts in itertools.product(range(choices), repeat=n):
        at = np.array([cuts])
        if is_monotone(p.tables, at):
            yield float(budgets.into_core(p.tables, at)[0]), float(loads(p.tables, at).cost.sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(0, 2), st.floats(0, 1.2))
def test_what_any_plan_keeps_ours_keeps(seed, gateways, areas, part):
    p = problem(seed, gateways, 1, areas=areas, slack=np.inf)
    p = dear(p)
    plans = sorted(every(p))
    least, free = plans[0][0], sent(plan_for(p))[0]
    most = least + part * (free - least) + 1e-6
    plan = plan_for(limited(p, [most]))
    cheapest = min(cost for bytes_, cost in plans if bytes_ <= most * (1 + 1e-9))
    assert sent(plan)[0] <= most * (1 + 1e-6)
    assert plan.bound <= cheapest * (1 + 1e-9)
    assert cheapest * (1 - 1e-9) <= plan.cost


def test_what_no_plan_keeps_is_kept_as_nearly_as_can_be():
    p = problem(3, 3, 1, areas=1, slack=np.inf)
    p = dear(p)
    plan = plan_for(limited(p, [1e-3]))
    assert sent(plan)[0] == pytest.approx(min(every(p))[0])


def test_only_the_service_that_is_over_pays():
    p = problem(5, 40, 4, areas=0, slack=np.inf)
    p = dear(p)
    free = plan_for(p)
    least = sent(plan_for(replace(p, byte_price=np.full(4, 1e9))))
    over = int(np.argmax(sent(free) - least))
    mosts = np.full(4, np.inf)
    mosts[over] = (least[over] + sent(free)[over]) / 2
    assert least[over] < mosts[over] < sent(free)[over], "there is something to save"
    plan = plan_for(limited(p, mosts))
    assert sent(plan)[over] <= mosts[over] * (1 + 1e-9)
    others = np.arange(4) != over
    assert (plan.cuts[others] == free.cuts[others]).all()
    assert plan.cost > free.cost
    assert plan.distance < 5


def test_what_keeps_to_it_by_itself_costs_no_second_look():
    p = problem(7, 60, 4, slack=0.2)
    free = plan_for(p)
    kept = plan_for(limited(p, sent(free)))
    assert (kept.cuts == free.cuts).all()
    assert kept.bound == free.bound


def test_a_service_that_runs_is_brought_within_its_bytes_a_day(monkeypatch):
    """The first plan rests on estimates, so what runs may send too much, and nothing else would move it."""
    for tier in (Tier.ACCESS, Tier.AGGREGATION):
        monkeypatch.setitem(defaults.CPU_PRICE, tier, 2e8)
    text = next(iter(services(1).values()))

    def wanted(more):
        whole = text.replace("intent: {", "intent: {" + more)
        return [Wanted(chain_of(service_of(whole).config), 1, text)]

    (name,) = (one.name for one in wanted(""))
    network = drawn(20, [name])
    adverts = {
        node: msgspec.structs.replace(one, links=[msgspec.structs.replace(link, price=0.01) for link in one.links])
        for node, one in network.adverts.items()
    }
    measured = Measured()
    for advert in adverts.values():
        measured.note(advert, {name: 1})

    def into(turn):
        return float(budgets.into_core(turn.plan.problem.tables, turn.decision.cuts)[0]) * DAY_S

    free = Planner().turn(adverts, wanted(""), measured, {}, 1, (0.0, NOW))
    most = into(free) / 4
    asked = wanted(f"bytes_per_day: {int(most)}B, ")
    planner, running = Planner(), dict(free.news)
    turn = planner.turn(adverts, asked, measured, running, 2, (700.0, NOW))
    assert into(turn) <= most
    assert all("sends more than its bytes_per_day" in why for why in turn.decision.moved.values())
    (met,) = (one for one in turn.explanations[name].intents if one.name == "bytes_per_day")
    assert met.met
    assert Cause.BYTES in {why.cause for stage in turn.explanations[name].stages for why in stage.why}
    running |= turn.news
    assert not planner.turn(adverts, asked, measured, running, 3, (2000.0, NOW)).news, "and it stays"


def test_subtrees_that_are_alike_do_not_all_turn_together():
    p = problem(5, 40, 1, areas=0, slack=np.inf)
    p = dear(p)
    (one,) = p.services
    first = int(np.argmax(one.own[:40, 0]))  # all gateways are as this one
    alike = {
        name: np.concatenate([np.repeat(getattr(one, name)[first : first + 1], 40, axis=0), getattr(one, name)[40:]])
        for name in ("own", "bytes", "work")
    }
    samples = np.concatenate([alike["own"][:40], alike["own"][:40].sum(axis=0, keepdims=True)])
    p = replace(p, services=(replace(one, **alike, samples=samples),), link_price=np.full(40, 1.0))
    free, least = sent(plan_for(p))[0], sent(plan_for(replace(p, byte_price=np.full(1, 1e9))))[0]
    most = least + 0.7 * (free - least)
    plan = plan_for(limited(p, [most]))
    assert most - (free - least) / 40 * 1.01 <= sent(plan)[0] <= most
    assert is_monotone(plan.problem.tables, plan.cuts)
    assert plan.distance < 5
