"""``adapt`` of a node of a network: the hidden uplink to its parent keeps to its link, and totals stay exact."""

from __future__ import annotations

import asyncio
import itertools
import random

from gateway.network import assignment
from gateway.network.assignment import Assignment, ServicePart
from gateway.network.names import ADAPTER, UPLINK
from gateway.tasks import ended
from tests.support.daemon import json_lines, samples_of
from tests.support.network import TOTAL, counted, net

TREND = """
service: trend
inputs: {points: "*/power"}
steps: [{deadband: {epsilon: 1}}]
intent: {latency: 4s}
"""
CUTS = {"agg": {"trend": 1, "total": 3}, "h1": {"trend": 1, "total": 2}}
MAX = 50.0
OPTIONS = ", parents: [agg], bandwidth: 2kB/s, adapt: {every: 500ms, drain: 1s, max: 50x, rungs: [codec, shed]}"
REST = """
store: {{commit: 250ms}}
metrics: {{every: 1s}}
pipelines: {{own: {{from: ["onpath/uplink/_parent/adapt_widening_ratio"], to: [kept]}}}}
uplinks: {{kept: {{type: file, path: {folder}/own.jsonl}}}}
"""
DEVICES = 8


async def test_a_service_goes_less_exactly_over_a_narrow_link_and_its_totals_stay_exact(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # else a pipe is too narrow for all columns
    async with net(tmp_path) as network:
        node = await network.start("h1", "access", OPTIONS, REST.format(folder=tmp_path))
        agg = await network.start("agg", "aggregation")
        for name, cuts in CUTS.items():
            await network.carrier.put("plan", name, plan(cuts, "agg" if name == "h1" else ""))
        await network.applied(1, "agg", "h1")
        sent = [0, 0]
        talking = asyncio.create_task(said(network, sent), name="devices")
        try:
            status = await node.until(lambda status: bound_of(status) > 5)
            told = await agg.until(lambda status: max(told_to(status), default=0) > 5)
            shown = await network.run("status")  # of the first node
            await node.until(lambda _: widenings(tmp_path) and max(widenings(tmp_path)) > 5)
        finally:
            await ended(talking)
        adapt = status["uplinks"][UPLINK]["adapt"]
        (step,) = adapt["steps"]
        assert step["step"].startswith("@trend@1.")
        assert (step["configured"], float(step["max"])) == ("1", MAX)
        assert 0 < adapt["carried"] <= 2000
        assert [one["rung"] for one in adapt["rungs"]] == ["codec"]  # to shed would not leave every sample
        (line,) = (line for line in shown.splitlines() if line.strip().startswith(UPLINK))
        assert " x" in line
        assert all(1 <= bound <= MAX for bound in told_to(told))
        assert await counted(network.carrier, sent[0]) == tuple(sent)
        assert bound_of(await node.status()) <= MAX


def plan(cuts, parent):
    """What a node is assigned, both services at once."""
    yamls = {"trend": TREND, "total": TOTAL}
    parts = {
        name: ServicePart(version=1, epoch=1, cut=cut, parent=parent, yaml=yamls[name]) for name, cut in cuts.items()
    }
    return assignment.encode(Assignment(epoch=1, services=parts))


async def said(network, sent):
    """Devices say something, each time another value, until cancelled; ``sent``: how often, and the sum in tenths."""
    chance = random.Random(5)
    for number in itertools.count():
        for device in range(DEVICES):
            tenths = chance.randrange(10_000)
            sent[0], sent[1] = sent[0] + 1, sent[1] + tenths
            await network.publish(f"h1/m{device}", power=tenths / 10, energy=number)
        await asyncio.sleep(0.02)


def bound_of(status):
    """In force before the hidden uplink."""
    adapt = status["uplinks"][UPLINK]["adapt"] or {}
    return max((float(step["bound"]) for step in adapt.get("steps", ())), default=0.0)


def told_to(status):
    """The bounds that came with the batches of the child."""
    devices = status["adapters"][ADAPTER]["devices"].values()
    return [bound["absolute"] for device in devices for bound in device.get("bounds", ())]


def widenings(folder):
    """The gateway's metric as a point."""
    return [sample["value"] for sample in samples_of(json_lines(folder / "own.jsonl"))]
