"""The graph of a configuration as it stands in its files, in the same shape as the running gateway tells its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.base import AdapterConfig
from gateway.config.check import may_match
from gateway.config.model import GatewayConfig
from gateway.config.plugins import tag_of

if TYPE_CHECKING:
    from gateway.view.shapes import Edge, GraphView, Node

OWN = "onpath/"
"""Names of the gateway's own metrics begin so."""


def planned(config: GatewayConfig) -> GraphView:
    """Nodes without states or rates. An adapter stands before a pipeline if the pipeline's globs can fit its points."""
    nodes = [_node("adapter", name, tag_of(type(adapter)), _devices(adapter)) for name, adapter in _adapters(config)]
    if any(_takes_own(pipeline.globs) for pipeline in config.pipelines.values()):
        nodes.append(_node("adapter", OWN.rstrip("/"), "own metrics", ""))
    for name, pipeline in config.pipelines.items():
        node = _node("pipeline", name, "", "")
        nodes.append(node | {"steps": [step.operator[0] for step in pipeline.steps]})
    for name, uplink in config.uplinks.items():
        nodes.append(_node("uplink", name, tag_of(type(uplink)), _where(uplink)))
    return {"nodes": nodes, "edges": list(_edges(config))}


def _adapters(config: GatewayConfig) -> list[tuple[str, AdapterConfig]]:
    return list(config.adapters.items())


def _edges(config: GatewayConfig) -> Iterator[Edge]:
    named = {name: set(adapter.devices_named()) for name, adapter in config.adapters.items()}
    for pipeline, options in config.pipelines.items():
        for name, adapter in config.adapters.items():
            others = set().union(*(devices for other, devices in named.items() if other != name))
            if any(
                may_match(glob, named[name])
                or (adapter.devices_appear() and glob.partition("/")[0] not in others and not glob.startswith(OWN))
                for glob in options.globs
            ):
                yield _edge(f"adapter:{name}", f"pipeline:{pipeline}")
        if _takes_own(options.globs):
            yield _edge(f"adapter:{OWN.rstrip('/')}", f"pipeline:{pipeline}")
        for target in options.targets:
            kind = "pipeline" if target in config.pipelines else "uplink"
            yield _edge(f"pipeline:{pipeline}", f"{kind}:{target}")


def _takes_own(globs: tuple[str, ...]) -> bool:
    return any(glob.startswith(OWN) for glob in globs)


def _edge(source: str, target: str) -> Edge:
    return {"from": source, "to": target, "samples": 0, "samples_s": 0.0}


def _node(kind: str, name: str, tag: str, detail: str) -> Node:
    return {
        "id": f"{kind}:{name}", "kind": kind, "name": name, "type": tag, "state": "", "detail": detail,
        "samples_s": 0.0,
    }  # fmt: skip


def _devices(adapter: AdapterConfig) -> str:
    count = len(adapter.devices_named())
    return f"{count} device{'s' * (count != 1)}" if count else ""


def _where(uplink: object) -> str:
    """The host or the file, never a user or a password."""
    url, path = getattr(uplink, "url", None), getattr(uplink, "path", None)
    text = url if isinstance(url, str) else url[0] if isinstance(url, list) and url else ""
    parts = urlsplit(str(text))
    return parts.hostname or (str(path) if path else "")
