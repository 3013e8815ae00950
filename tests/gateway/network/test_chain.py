"""Cutting services into stages, and what each node may do of them."""

import pytest

from gateway.errors import ConfigError
from gateway.network.chain import StageKind, chain_of
from gateway.network.compile import Role, pipelines_of
from gateway.network.config import Tier
from gateway.network.names import StageId, entry_name, pipeline_name, stage_of
from gateway.network.reading import service_of

DEMAND = """
service: demand
inputs: {points: "*/power"}
steps:
  - limits: {min: 0, max: 50000}
  - deadband: {absolute: 1}
  - scale: {factor: 0.001}
  - window: {every: 1m, stats: [count, sum, mean], over: label site, name: "{site}/demand"}
  - round: {step: 0.01}
"""


def chain(text):
    return chain_of(service_of(text).config)


def test_a_window_becomes_three_stages():
    found = chain(DEMAND)
    kinds = [(stage.index, stage.operator, stage.kind) for stage in found.stages]
    assert kinds == [
        (1, "limits", StageKind.STEP), (2, "deadband", StageKind.STEP), (3, "scale", StageKind.STEP),
        (4, "window", StageKind.PARTIAL), (5, "window", StageKind.MERGE), (6, "window", StageKind.FINAL),
        (7, "round", StageKind.POST),
    ]  # fmt: skip
    assert found.merge_index == 5
    assert found.window_s == 60
    assert not found.spans_sites


@pytest.mark.parametrize(
    ("tier", "cuts"), [(Tier.ACCESS, [2, 3, 4, 5]), (Tier.AGGREGATION, [2, 3, 4, 5]), (Tier.CORE, [7])]
)
def test_where_a_state_is_kept_a_cut_lies_behind_it(tier, cuts):
    found = chain(DEMAND)
    assert [cut for cut in range(8) if found.allowed(tier, cut)] == cuts


def test_place_keeps_a_step_where_it_is_put():
    found = chain(DEMAND + "place: {window: [aggregation]}\n")
    assert [cut for cut in range(8) if found.allowed(Tier.ACCESS, cut)] == [2, 3]
    assert [cut for cut in range(8) if found.allowed(Tier.AGGREGATION, cut)] == [4, 5]


def test_groups_over_sites_are_finished_in_one_place():
    assert chain(DEMAND.replace("label site", "all").replace("{site}", "all")).spans_sites


def test_what_joins_points_waits_for_the_core_unless_it_is_placed():
    text = """
service: both
inputs: {points: "**"}
steps:
  - expression: {set: total, to: "a/x + b/x"}
"""
    found = chain(text)
    assert found.stages[0].tiers == (Tier.CORE,)
    placed = chain(text + "place: {expression: [access]}\n")
    assert placed.stages[0].tiers == (Tier.ACCESS,)


def test_a_step_that_is_placed_before_one_behind_it_is_refused():
    with pytest.raises(ConfigError, match="place"):
        chain(DEMAND + "place: {scale: [core], window: [access]}\n")


def test_a_window_that_is_partial_already_is_refused():
    text = DEMAND.replace("stats: [count, sum, mean],", "stats: [count, sum, mean], partial: true,")
    with pytest.raises(ConfigError, match="leave it out"):
        chain(text)


def test_names_lead_back():
    assert stage_of(pipeline_name("a.b", 3, 12)) == StageId("a.b", 3, 12)
    assert stage_of(entry_name("a.b", 3, 12)) == StageId("a.b", 3, 12)
    for text in ("demand", "@demand", "@demand.3", "@demand@x.3", "@share.b", "alert.x"):
        assert stage_of(text) is None


def test_the_longest_name_can_be_run():
    name = "a-" * 64
    found = chain(DEMAND.replace("service: demand", f"service: {name}"))
    assert len(pipelines_of(found, 1, Role("n", "s", Tier.AGGREGATION), 5, "up")) > len(found)
