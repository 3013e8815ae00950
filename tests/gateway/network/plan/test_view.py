"""From adverts to a problem, and from a problem to reasons."""

import msgspec
import numpy as np
import pytest

from gateway.network.advert import Advert, LinkFacts, StageFacts
from gateway.network.assignment import ServiceRecord
from gateway.network.config import Tier
from gateway.network.controller.measured import Measured
from gateway.network.controller.planning import Planner, foreseen
from gateway.network.controller.view import Wanted, view_of
from gateway.network.extended import chain_for

WINDOWED = """
service: load
inputs: {points: "*/power"}
steps:
  - limits: {min: 0, max: 10}
  - window: {every: 1m, stats: [count, mean], over: label site, name: "{site}/power"}
"""
OPERATORS = {"limits": 0.1, "window": 0.2, "merge": 0.3, "deadband": 0.1, "scale": 0.1}


def wanted(text, version=1):
    return Wanted(chain_for(ServiceRecord(yaml=text, version=version, applied_ms=0)), version, text)


def node(name, tier=Tier.ACCESS, parents=(), points=None, **more):
    points = {"load": 10} if points is None and tier is Tier.ACCESS else (points or {})
    given = {
        "site": "s1", "boot": 1, "number": 1, "every_s": 20, "headroom": 1.0, "operators": OPERATORS,
        "links": [LinkFacts(to=parents[0] if parents else "", capacity=1e5, round_trip_s=0.02)],
    }  # fmt: skip
    inputs = {service: float(count) for service, count in points.items()}
    return Advert(node=name, tier=tier, parents=list(parents), points=points, inputs=inputs, **(given | more))


def network(*nodes):
    return {one.node: one for one in (*nodes, node("core-1", Tier.CORE))}


def test_parents_are_the_first_that_live_and_never_a_circle():
    a = node("a", Tier.AGGREGATION, ["b"])
    b = node("b", Tier.AGGREGATION, ["a"])
    g = node("g", parents=["dead", "b"])
    view = view_of(network(a, b, g), [], Measured())
    assert [view.parent_of(view.number[name]) for name in "abg"] == ["b", "", "b"]
    view = view_of(network(g), [], Measured())
    assert view.parent_of(0) == ""


def test_groups_merge_once_where_they_meet():
    agg = node("agg", Tier.AGGREGATION)
    gateways = [node(f"g{i}", parents=["agg"], site=f"s{i % 2}") for i in range(6)]
    view = view_of(network(agg, *gateways), [wanted(WINDOWED)], Measured())
    service = view.services[0].problem
    at = view.number["agg"]
    one = service.own[view.number["g0"], 2]
    assert service.samples[at, 2] == pytest.approx(6 * one)
    assert service.samples[at, 3] == pytest.approx(2 * one), "two sites"
    assert service.merge == 3
    assert not service.allowed[:, 4].any(), "results are given in the core"


def test_what_is_measured_goes_before_the_table():
    measured = Measured()
    g = node("g", stages={"load": {1: StageFacts(samples_in=100, samples_out=25, bytes_out=500, cpu_us=7.0)}})
    for _ in range(5):
        measured.note(g, {"load": 1})
    view = view_of(network(g), [wanted(WINDOWED)], measured)
    service = view.services[0].problem
    assert service.own[0, 1] == pytest.approx(service.own[0, 0] / 4)
    assert service.bytes[0, 1] == pytest.approx(20 * service.samples[0, 1])
    assert service.work[0, 1] == pytest.approx(7e-6)
    assert not view.services[0].estimated
    measured.forget({"load": 2})
    assert view_of(network(g), [wanted(WINDOWED, 2)], measured).services[0].estimated


def test_others_use_of_a_link_is_taken_off():
    link = LinkFacts(to="", capacity=1000.0, used=500.0)
    g = node("g", links=[link], stages={"load": {1: StageFacts(samples_in=1, samples_out=1, bytes_out=200)}})
    assert view_of(network(g), [], Measured()).problem.up[0] == pytest.approx(850 - 300)


def test_a_missing_operator_and_place_are_reasons():
    poor = node("g1", parents=["agg"], operators={"merge": 0.1, "limits": 0.1})
    nodes = network(node("agg", Tier.AGGREGATION), poor, node("g2", parents=["agg"]))
    told, plan = foreseen(nodes, [wanted(WINDOWED)])
    partial = told["load"].stages[1]
    assert plan["g1"].services["load"].cut < 2
    assert plan["g2"].services["load"].cut >= 2
    assert "operator" in {why.cause for why in partial.why}
    placed = WINDOWED + "place: {limits: [core]}\n"
    told, plan = foreseen(nodes, [wanted(placed)])
    assert plan["g2"].services["load"].cut == 0
    assert told["load"].stages[0].why[0].cause == "place"
    assert [where.tier for where in told["load"].stages[0].where] == ["core"]


def test_scarce_cpu_and_a_narrow_link_are_reasons():
    nodes = network(node("g", headroom=1e-9, links=[LinkFacts(to="", capacity=1e6)]))
    told, plan = foreseen(nodes, [wanted(WINDOWED)])
    assert plan["g"].services["load"].cut == 0
    assert told["load"].stages[1].why[0].cause == "cpu"
    nodes = network(node("g", headroom=1e-9, links=[LinkFacts(to="", capacity=1.0)]))
    told, plan = foreseen(nodes, [wanted(WINDOWED)])
    assert not plan
    assert [(shed.service, "too small" in shed.words) for shed in told["load"].plan.shed] == [("load", True)]


def test_intents_are_judged():
    text = WINDOWED.replace("every: 1m", "every: 1m, lateness: 1s") + "intent: {latency: 1s, bytes_per_day: 1B}\n"
    told, _ = foreseen(network(node("g")), [wanted(text)])
    met = {one.name: one for one in told["load"].intents}
    assert met["latency"].met is False
    assert met["bytes_per_day"].met is False
    assert "above" in met["bytes_per_day"].words


def test_an_operator_that_is_lost_moves_at_once():
    planner, measured = Planner(), Measured()
    nodes = network(node("agg", Tier.AGGREGATION), node("g", parents=["agg"]))
    first = planner.turn(nodes, [wanted(WINDOWED)], measured, {}, 1, (0.0, 10**18))
    assert first.news["g"].services["load"].cut >= 2
    lost = msgspec.structs.replace(nodes["g"], operators={"limits": 0.1, "merge": 0.1})
    second = planner.turn(nodes | {"g": lost}, [wanted(WINDOWED)], measured, first.news, 2, (10.0, 10**18))
    part = second.news["g"].services["load"]
    assert part.cut < 2
    assert (part.from_ns, part.epoch) == (0, 2)
    assert (second.decision.cuts >= 0).all()


def test_a_better_plan_waits_and_begins_at_a_window_edge():
    planner, measured = Planner(), Measured()
    nodes = network(node("g"))
    start = planner.turn(nodes, [wanted(WINDOWED)], measured, {}, 1, (0.0, 10**18))
    worse = {"g": msgspec.structs.replace(start.news["g"], services={
        "load": msgspec.structs.replace(start.news["g"].services["load"], cut=0)})}  # fmt: skip
    heavy = {"g": msgspec.structs.replace(nodes["g"], inputs={"load": 5_000.0}), "core-1": nodes["core-1"]}
    news = [planner.turn(heavy, [wanted(WINDOWED)], measured, worse, 2, (20.0 * t, 10**18)).news for t in range(1, 5)]
    assert [bool(one) for one in news] == [False, False, True, False]
    part = news[2]["g"].services["load"]
    assert part.cut > 0
    assert part.from_ns % (60 * 10**9) == 0
    assert part.from_ns > 10**18


def test_there_may_be_nothing():
    told, plan = foreseen({}, [wanted(WINDOWED)])
    assert not plan
    assert told["load"].to_core == 0
    assert np.isfinite(told["load"].plan.cost)
