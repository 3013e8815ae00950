"""The graph as a flowchart of Mermaid, which many wikis and code hosts draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.cli.figures import rate
from gateway.cli.graph_order import in_order
from gateway.cli.graph_text import steps_of

if TYPE_CHECKING:
    from gateway.view.shapes import GraphView, Node

SHAPES: Final = {"adapter": ("([", "])"), "pipeline": ("[", "]"), "uplink": ("[/", "/]")}
CLASSES: Final = (
    "classDef adapter fill:#dbeafe,stroke:#3b6fb6,color:#10233d",
    "classDef pipeline fill:#eef1f4,stroke:#6b7682,color:#1c232b",
    "classDef uplink fill:#dcf3e3,stroke:#3d8b5a,color:#11301d",
    "classDef down fill:#fbdcdc,stroke:#c0392b,color:#4a1010",
)
"""Fills and texts of their own, so that light and dark pages show them alike."""


def draw(graph: GraphView, *, live: bool = False) -> str:
    """The text of the flowchart."""
    nodes = in_order(graph)
    numbers = {node["id"]: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for node in nodes:
        opening, closing = SHAPES[node["kind"]]
        style = "down" if node["state"] in {"down", "failing"} else node["kind"]
        lines.append(f'  {numbers[node["id"]]}{opening}"{_label(node)}"{closing}:::{style}')
    for edge in graph["edges"]:
        label = f'|"{rate(edge["samples_s"])}/s"|' if live else ""
        lines.append(f"  {numbers[edge['from']]} -->{label} {numbers[edge['to']]}")
    return "\n".join([*lines, *(f"  {line}" for line in CLASSES)]) + "\n"


def _label(node: Node) -> str:
    second = steps_of(node) if node["kind"] == "pipeline" else f"{node['type']} {node['detail']}".strip()
    return f"{_quoted(node['name'])}<br/>{_quoted(second)}" if second else _quoted(node["name"])


def _quoted(text: str) -> str:
    """Text for a label: what means something to Mermaid or HTML is written as an entity of Mermaid's."""
    return "".join(char if char.isalnum() or char in " .,:/_-+▸()" else f"#{ord(char)};" for char in text)
