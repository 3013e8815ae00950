"""Results as a node takes them in: from devices through a node that knows nothing of the service, and over kills."""

import asyncio
from collections import Counter

import pytest

from tests.support.daemon import json_lines, samples_of
from tests.support.network import net

SERVICE = """
service: total
inputs: {points: "*/power"}
steps:
  - window: {every: 1s, stats: [count, sum], over: label site, name: "{site}/power", lateness: 0s}
intent: {latency: 2s}
"""
TAKES = """
pipelines: {all: {from: ["total/**"], to: [out]}}
uplinks: {out: {type: file, path: PATH}}
"""


def newest(path):
    """The newest word on each point and time, by point."""
    found = {(one["point"], one["time"]): one["value"] for one in samples_of(json_lines(path))}
    total = Counter()
    for (point, _), value in found.items():
        total[point] += value
    return total


@pytest.mark.timeout(300)
async def test_results_come_once_over_a_parent_that_was_told_nothing_and_a_reader_that_is_killed(tmp_path):
    async with net(tmp_path) as network:
        await network.start("core", "core")
        await network.apply(SERVICE)
        await network.start("agg", "aggregation")
        await network.start("h1", "access", ", parents: [agg]")
        path = tmp_path / "out.jsonl"
        reader = await network.start("r1", "access", ", results: [total]", TAKES.replace("PATH", str(path)))
        await network.applied(await network.plan(SERVICE, {"h1": 2}, {"h1": "agg"}), "h1")
        sent = total = 0
        for turn in range(60):
            sent, total = sent + 1, total + turn
            await network.publish("h1/m1", power=turn)
            await asyncio.sleep(0.05)
            if turn == 30:
                await reader.until(lambda status: status["uplinks"]["out"]["acknowledged"] > 0)
                reader.kill()
                await reader.start()
        async with asyncio.timeout(40):
            while newest(path)["total/site/power#count"] < sent:  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(0.1)
        assert newest(path) == {"total/site/power#count": sent, "total/site/power#sum": total}
        reader.kill()
        await reader.start()
        lines = len(json_lines(path))
        await asyncio.sleep(2)
        assert len(json_lines(path)) == lines, "nothing comes again"
