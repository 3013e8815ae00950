"""Which rungs there are before an uplink, and in what order their pipelines give way: the least important first."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gateway.budget.config import Rung
from gateway.budget.ladder import Stage
from gateway.budget.summaries import SERVICE, SUMMARY

if TYPE_CHECKING:
    from gateway.budget.steps import Found
    from gateway.graph import Graph
    from gateway.uplinks.options import UplinkConfig


def stages_before(graph: Graph, uplink: str, config: UplinkConfig, found: Found) -> list[Stage]:
    """The rungs of an uplink, from the first to be taken to the last."""
    adapt = config.adapt
    if adapt is None:
        return []
    moved = {step.pipeline for step in found.movable}
    feeding = [name for name, up in graph.ways if up == uplink]
    give_way = [name for name in feeding if name in moved and not name.startswith(SERVICE)]
    having = {
        Rung.CODEC: [],
        Rung.THIN: list(dict.fromkeys(step.pipeline for step in found.movable if step.thin is not None)),
        Rung.SUMMARISE: [name for name in give_way if SUMMARY + name in feeding],
        Rung.SHED: give_way,
    }
    stages: list[Stage] = []
    for rung in (one for one in Rung if one in adapt.rungs):
        if rung is Rung.CODEC:
            stages += [Stage(rung)] if _frames(uplink, config) else []
        else:
            stages += [Stage(rung, group) for group in _by_rank(having[rung], config.priority)]
    return stages


def _frames(uplink: str, config: UplinkConfig) -> bool:
    """Whether the rows go as they are on disk, so that it helps to compress them harder."""
    return str(getattr(config, "format", "")) == "frame" or uplink.startswith(SERVICE)


def _by_rank(pipelines: list[str], priority: tuple[str, ...]) -> list[tuple[str, ...]]:
    def rank(name: str) -> int:
        return priority.index(name) if name in priority else len(priority)

    ordered = sorted(pipelines, key=rank, reverse=True)
    return [tuple(group) for _, group in itertools.groupby(ordered, key=rank)]
