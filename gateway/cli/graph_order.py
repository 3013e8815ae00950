"""In which order and in which layer the nodes of a graph are drawn. Pure functions."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.view.shapes import GraphView, Node

KINDS: Final = ("adapter", "pipeline", "uplink")
SWEEPS: Final = 8


def complete(graph: GraphView) -> GraphView:
    """Without edges of which an end is not shown."""
    shown = {node["id"] for node in graph["nodes"]}
    return {**graph, "edges": [edge for edge in graph["edges"] if {edge["from"], edge["to"]} <= shown]}


def in_order(graph: GraphView) -> list[Node]:
    """Adapters, then pipelines with feeders first, then uplinks; else as they stand."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    sorter = TopologicalSorter({name: [] for name in nodes})
    for edge in graph["edges"]:
        sorter.add(edge["to"], edge["from"])
    try:
        order = [name for name in sorter.static_order() if name in nodes]
    except CycleError:  # never of a configuration that was checked
        order = list(nodes)
    return [nodes[name] for name in sorted(order, key=lambda name: KINDS.index(nodes[name]["kind"]))]


Way = tuple[str, str]
"""An edge, from a node to a node."""


def layers(graph: GraphView) -> tuple[list[list[str]], dict[Way, list[str]]]:
    """Ids by column: adapters in the first, uplinks in the last, pipelines as far right as their feeders make them.

    An edge over more than one column has a stop in each that it passes, with an id of its own, so that it goes
    between the nodes there: the second answer has the stops of each edge. Within a column the order is such that few
    edges cross: each node goes to the mean place of its neighbours, back and forth.
    """
    nodes = in_order(graph)
    depth: dict[str, int] = {}
    for node in nodes:
        feeders = [depth[edge["from"]] for edge in graph["edges"] if edge["to"] == node["id"] and edge["from"] in depth]
        depth[node["id"]] = max(feeders, default=0) + (node["kind"] != "adapter")
    last = 1 + max((depth[node["id"]] for node in nodes if node["kind"] == "pipeline"), default=0)
    depth |= {node["id"]: last for node in nodes if node["kind"] == "uplink"}
    columns: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=0))]
    for node in nodes:
        columns[depth[node["id"]]].append(node["id"])
    ways: dict[Way, list[str]] = {}
    for source, target in [(edge["from"], edge["to"]) for edge in graph["edges"]]:
        stops = [(at, f"{source} {target} {at}") for at in range(depth[source] + 1, depth[target])]
        for at, stop in stops:
            columns[at].append(stop)
        ways[source, target] = [stop for _, stop in stops]
    _untangle(columns, [leg for (a, b), stops in ways.items() for leg in pairwise([a, *stops, b])])
    return columns, ways


def _untangle(columns: list[list[str]], edges: list[Way]) -> None:
    before: dict[str, list[str]] = {}
    behind: dict[str, list[str]] = {}
    for source, target in edges:
        before.setdefault(target, []).append(source)
        behind.setdefault(source, []).append(target)
    for sweep in range(SWEEPS):
        places = {name: (at + 0.5) / len(column) for column in columns for at, name in enumerate(column)}
        beside = before if sweep % 2 == 0 else behind
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = {name: _mean([places[other] for other in beside.get(name, ())], places[name]) for name in column}
            column.sort(key=wanted.__getitem__)
            places |= {name: (at + 0.5) / len(column) for at, name in enumerate(column)}


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default
