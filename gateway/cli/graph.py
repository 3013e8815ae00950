"""``onpath graph``: what feeds what, drawn; of a configuration, or of the running gateway with its rates."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from gateway.cli import graph_mermaid, graph_svg, graph_text
from gateway.cli.graph_order import complete
from gateway.cli.state import state_of
from gateway.config import load
from gateway.control import ask
from gateway.errors import OnpathError

if TYPE_CHECKING:
    from gateway.view.shapes import GraphView

OVER_S: Final = 1.0
"""Rates are measured over so long."""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    config: Path
    state: Path | None
    format: str
    live: bool
    out: Path | None
    as_json: bool


def show_graph(request: Request) -> None:
    """Draw it to standard output, or into a file.

    Raises:
        ConfigError: the configuration is not usable.
        NotRunningError: the running gateway is asked for, and there is none.
        OnpathError: the file cannot be written.
    """
    graph = complete(_running(request.state or state_of(request.config)) if request.live else _planned(request))
    if request.as_json:
        _give(request.out, json.dumps(graph) + "\n")
    elif request.format == "mermaid":
        _give(request.out, graph_mermaid.draw(graph, live=request.live))
    elif request.format == "svg":
        _give(request.out, graph_svg.draw(graph, live=request.live))
    elif request.out is not None:
        _give(request.out, graph_text.plain(graph_text.draw(graph, live=request.live)))
    else:
        console = Console()
        width = shutil.get_terminal_size((graph_text.WIDTH, 24)).columns
        for line in graph_text.draw(graph, min(width, 120), live=request.live):
            console.print(line, soft_wrap=True)


def _planned(request: Request) -> GraphView:
    from gateway.cli.graph_plan import planned

    return planned(load(request.config, os.environ))


def _running(state: Path) -> GraphView:
    answer = asyncio.run(ask(state, "graph", over_s=OVER_S))
    if not answer["ok"]:
        raise OnpathError(answer["error"])
    graph: GraphView = answer["graph"]
    return graph


def _give(out: Path | None, text: str) -> None:
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text)
    except OSError as error:
        raise OnpathError(f"{out}: {error.strerror}") from error
