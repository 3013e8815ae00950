"""The control in a real daemon: bounds that are told and journaled, rungs up and back, what is left alone."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.cli.status import _adapt as shown
from tests.gateway.budget.site import adapt_of, feeding, until
from tests.support.inside import inside

CONFIG = """
pipelines:
  live: {{from: "m/**", steps: [{{deadband: {{epsilon: 0.1}}}}], to: [up]}}
  less: {{from: "m/p1*", steps: [{{deadband: {{epsilon: 0.1}}}}], to: [up]}}
  bills: {{from: "m/**", steps: [{{window: {{every: 1s, stats: [count, sum], lateness: 0s}}}}], to: [bill]}}
alerts: {{high: {{points: "m/p0", above: -1, to: [up]}}}}
uplinks:
  up:
    type: file
    path: {folder}/up.jsonl
    priority: [live]
    bandwidth: {bandwidth}
    adapt: {{every: 300ms, drain: 1s, {adapt}}}
  bill: {{type: file, path: {folder}/bill.jsonl}}
"""


def batches(folder, pipeline=None, name="up.jsonl"):
    path = folder / name
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [batch for batch in found if pipeline in {None, batch["pipeline"]}]


def text(tmp_path, adapt, bandwidth="8kB/s"):
    return CONFIG.format(folder=tmp_path, adapt=adapt, bandwidth=bandwidth)


async def test_bounds_are_widened_told_kept_over_a_restart_and_set_back_without_adapt(tmp_path):
    config = text(tmp_path, "max: 40x, rungs: [], protect: [less]")
    async with inside(tmp_path, config) as daemon, feeding(daemon, 30):

        async def wide():
            adapt = await adapt_of(daemon)
            return adapt if adapt and adapt["widening"] > 5 and adapt["changes"] else None

        adapt = await until(wide)
        assert [row["step"] for row in adapt["steps"]] == ["live/deadband"]
        assert adapt["left_alone"] == [{"step": "less/deadband", "why": "protected"}]
        assert adapt["carried"] <= 8000
        assert shown(adapt).text.startswith("x")
        told = await until(lambda: wider_batch(tmp_path))
        assert told["bounds"][0]["step"] == "deadband"
        readings = {(one.metric, one.labels): one.value for one in await daemon.own.readings.read()}
        assert readings["uplink_adapt_widening_ratio", ("up",)] > 1
        assert readings["uplink_adapt_rungs", ("up",)] == 0
    bounds = [batch["bounds"][0]["absolute"] for batch in batches(tmp_path, "live") if batch.get("bounds")]
    assert max(bounds) <= 4.0
    assert {batch["bounds"][0]["absolute"] for batch in batches(tmp_path, "less")} == {0.1}
    before = max(bounds)
    async with inside(tmp_path, config) as daemon:
        step = daemon.intake.engine.graph.pipelines["live"].steps[0]
        assert step.operator.bound.absolute > 0.2  # of the checkpoint, and the control goes on from there
        await asyncio.sleep(0.5)
        assert daemon.uplinks["up"].control.law.widening > 1.5
    assert before > 0.2
    async with inside(tmp_path, config.replace("adapt:", "# adapt:")) as daemon:
        step = daemon.intake.engine.graph.pipelines["live"].steps[0]

        async def configured():
            return step.operator.bound.absolute == 0.1

        await until(configured)


async def wider_batch(folder):
    return next((one for one in batches(folder, "live") if one.get("bounds") and one["bounds"][0]["absolute"] > 0.3), 0)


@pytest.mark.alone
async def test_rungs_are_taken_one_by_one_and_given_back(tmp_path, monkeypatch):
    """Summaries now and the samples later; then what comes is shed, told as lost; then all in the reverse order."""
    monkeypatch.setattr("gateway.budget.ladder.SOON", 0)  # else each is given back later than the one before
    monkeypatch.setattr("gateway.budget.ladder.FADES", 0.8)
    monkeypatch.setattr("gateway.budget.summaries.LATENESS_S", 0.5)
    config = text(tmp_path, "max: 1.2x, rungs: [summarise, shed], summary: 1s", "12kB/s").replace("300ms", "200ms")
    async with inside(tmp_path, config) as daemon:
        async with feeding(daemon, 40):
            await until(lambda: at_height(daemon, 1))
            adapt = await adapt_of(daemon)
            assert adapt["put_aside"] == ["less"]  # the least important first
            assert adapt["rungs"][0] == {"rung": "summarise", "pipelines": ["less"]}
            await until(lambda: at_height(daemon, 3))
            adapt = await adapt_of(daemon)
            assert [row["rung"] for row in adapt["rungs"]] == ["summarise", "summarise", "shed", "shed"]
            await until(lambda: summary(tmp_path))
            await until(lambda: shedding(daemon))
        await until(lambda: at_height(daemon, 0), 60)
        path = tmp_path / "onpath.yaml"
        path.write_text(path.read_text().replace("bandwidth: 12kB/s", "bandwidth: 1MB/s"))
        await daemon.reload()  # what was put aside goes the faster
        spool = daemon.intake.engine.store.spool

        async def all_sent():
            return not spool.counts.pipelines("up")

        await until(all_sent, 60)
    marker = next(batch["loss"] for batch in batches(tmp_path) if batch.get("loss"))
    assert marker["reason"] == "link-budget"
    got = {(batch["pipeline"], s["point"], s["time"]) for batch in batches(tmp_path) for s in batch.get("samples", ())}
    assert any(batch["pipeline"] == "alert.high" for batch in batches(tmp_path))
    shed = sum(batch["loss"]["count"] for batch in batches(tmp_path) if batch.get("loss"))
    pipelines = daemon.intake.engine.graph.pipelines
    made = pipelines["live"].samples_out + pipelines["less"].samples_out
    assert sum(name in {"live", "less"} for name, _, _ in got) + shed == made
    counts = [
        s for batch in batches(tmp_path, "bills", "bill.jsonl") for s in batch["samples"] if "#count" in s["point"]
    ]
    assert counts


async def at_height(daemon, height):
    adapt = await adapt_of(daemon)
    return adapt and (adapt["height"] >= height if height else adapt["height"] == 0)


async def summary(folder):
    return [one for one in batches(folder) if one["pipeline"].startswith("summary.")]


async def shedding(daemon):
    return (await adapt_of(daemon))["shed"]


async def test_of_two_uplinks_the_wider_wish_wins_within_what_both_allow(tmp_path):
    config = f"""
pipelines: {{live: {{from: "m/**", steps: [{{deadband: {{epsilon: 0.1}}}}], to: [one, two]}}}}
uplinks:
  one: {{type: file, path: {tmp_path}/1, bandwidth: 1kB/s, adapt: {{every: 300ms, drain: 1s, max: 40x, rungs: []}}}}
  two: {{type: file, path: {tmp_path}/2, adapt: {{every: 300ms, drain: 1s, max: 3x, rungs: []}}}}
"""
    async with inside(tmp_path, config) as daemon, feeding(daemon, 30):

        async def wide():
            return (await adapt_of(daemon, "one")).get("widening", 0) > 10

        await until(wide)
        step = daemon.intake.engine.graph.pipelines["live"].steps[0]

        async def at_end():
            return step.operator.bound.absolute == pytest.approx(0.3)

        await until(at_end)
        assert (await adapt_of(daemon, "two"))["widening"] == 1


async def test_nothing_is_counted_without_adapt(tmp_path):
    config = f"""
pipelines: {{live: {{from: "m/**", steps: [{{deadband: {{epsilon: 0.1}}}}], to: [one]}}}}
uplinks: {{one: {{type: file, path: {tmp_path}/1}}}}
"""
    async with inside(tmp_path, config) as daemon, feeding(daemon, 5):
        assert daemon.uplinks["one"].meter is None
        assert (await daemon.status())["uplinks"]["one"]["adapt"] is None
