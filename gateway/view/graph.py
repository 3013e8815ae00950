"""The graph of adapters, pipelines and uplinks, with what flows along its edges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.plugins import tag_of
from gateway.view.pipelines import shown

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.view.flows import Flows
    from gateway.view.shapes import Edge, GraphView, Node
    from gateway.view.tally import Tally


async def graph(inside: Inside, tally: Tally, flows: Flows) -> GraphView:
    """Now. An adapter stands before a pipeline if that takes some of its points."""
    tally.look()
    belonging = await flows.look()
    edges: list[Edge] = [
        {
            "from": f"adapter:{adapter}",
            "to": f"pipeline:{pipeline}",
            "samples": flows.samples.get((adapter, pipeline), 0),
            "samples_s": round(flows.rates.get((adapter, pipeline), 0.0), 2),
        }
        for adapter, pipeline in belonging
    ]
    for name, config in inside.config.pipelines.items():
        edges += [_way(inside, tally, name, target) for target in config.targets]
    return {"nodes": _nodes(inside, tally), "edges": edges}


def _way(inside: Inside, tally: Tally, pipeline: str, target: str) -> Edge:
    """What comes out of a pipeline goes to each of its targets."""
    running = inside.intake.engine.graph.pipelines.get(pipeline)
    kind = "pipeline" if target in inside.config.pipelines else "uplink"
    edge: Edge = {
        "from": f"pipeline:{pipeline}",
        "to": f"{kind}:{target}",
        "samples": running.samples_out if running else 0,
        "samples_s": round(tally.rate("pipeline", pipeline, "out"), 2),
    }
    if kind == "uplink" and sum(target in config.targets for config in inside.config.pipelines.values()) == 1:
        edge["bytes_s"] = round(tally.rate("uplink", target, "bytes"), 1)  # nobody else's
    return edge


def _nodes(inside: Inside, tally: Tally) -> list[Node]:
    nodes: list[Node] = []
    for name, adapter in inside.adapters.items():
        rate = tally.rate("adapter", name, "samples")
        nodes.append(_node("adapter", name, tag_of(type(adapter.config)), adapter.stats.link, adapter.detail, rate))
    for pipeline in shown(inside):
        name = pipeline.name
        failing = [step.kind for step in pipeline.steps if step.failures]
        detail = f"step {failing[0]} fails" if failing else ""
        rate = tally.rate("pipeline", name, "in")
        node = _node("pipeline", name, "", "failing" if failing else "up", detail, rate)
        nodes.append(node | {"steps": [step.kind for step in pipeline.steps]})
    for name, uplink in inside.uplinks.items():
        rate = tally.rate("uplink", name, "samples")
        nodes.append(_node("uplink", name, tag_of(type(uplink.config)), uplink.stats.link, uplink.detail, rate))
    return nodes


def _node(kind: str, name: str, tag: str, state: str, detail: str, samples_s: float) -> Node:
    return {
        "id": f"{kind}:{name}",
        "kind": kind,
        "name": name,
        "type": tag,
        "state": state,
        "detail": detail,
        "samples_s": round(samples_s, 2),
    }
