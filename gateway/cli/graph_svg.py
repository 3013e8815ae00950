"""The graph as an SVG picture: adapters on the left, uplinks on the right, pipelines between them.

Boxes have a ground of their own and lines a middle grey, so that the picture can stand on light and dark pages. It
refers to nothing outside itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from gateway.cli.figures import rate
from gateway.cli.graph_order import Way, layers

if TYPE_CHECKING:
    from gateway.view.shapes import Edge, GraphView, Node

BOX: Final = 208
"""Width of a box; all lengths are pixels."""
GAP_X: Final = 96
GAP_Y: Final = 18
MARGIN: Final = 16
LINE: Final = 17
PORT: Final = 17
"""Between two edges that meet a box, where what they carry is written beside them."""
STOP: Final = 6
"""Height that an edge takes between boxes."""
CHARACTERS: Final = 29
"""That fit into a line of a box."""
STEPS: Final = 6
"""Lines of steps, at most."""
FILLS: Final = {"adapter": "#dbeafe", "pipeline": "#f3f5f7", "uplink": "#dcf3e3"}
STROKES: Final = {"adapter": "#3b6fb6", "pipeline": "#6b7682", "uplink": "#3d8b5a"}
DOWN: Final = ("#fbdcdc", "#c0392b")
WIRE: Final = "#7d8590"
STYLE: Final = (
    "text{font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1c232b}"
    ".name{font-size:14px;font-weight:600}.line{font-size:12px;fill:#404a54}"
    ".rate{font-size:11px;fill:#1c232b}.wire{fill:none;stroke:#7d8590}"
)

_HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
    'height="{height:g}" role="img">'
)
_TIP: Final = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{WIRE}"/></marker>'
)


@dataclass(frozen=True)
class Box:
    """Where a node is drawn, and what it says."""

    node: Node | None
    """None: an edge passes here."""
    x: float
    height: float
    lines: tuple[str, ...] = ()
    y: float = 0.0

    @property
    def middle(self) -> float:
        """Where lines meet it."""
        return self.y + self.height / 2


def draw(graph: GraphView, *, live: bool = False) -> str:
    """The picture as text."""
    boxes, ways, width, height = _boxes(graph, live=live)
    parts = [
        _HEAD.format(width=width, height=height),
        f"<title>{escape(_title(graph))}</title>",
        f"<style>{STYLE}</style><defs>{_TIP}</defs>",
        *_edges(graph, boxes, ways, live=live),
        *(part for box in boxes.values() if box.node is not None for part in _box(box, box.node)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(graph: GraphView) -> str:
    kinds = [node["kind"] for node in graph["nodes"]]
    return ", ".join(f"{kinds.count(kind)} {kind}s" for kind in FILLS)


def _boxes(graph: GraphView, *, live: bool) -> tuple[dict[str, Box], dict[Way, list[str]], float, float]:
    """Boxes by node and stop, the stops of each edge, and the size of the whole; each column is centred."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    ends = Counter(end for edge in graph["edges"] for end in (f"> {edge['from']}", f"< {edge['to']}"))
    names, ways = layers(graph)
    columns: list[dict[str, Box]] = []
    for at, column in enumerate(names):
        x = MARGIN + at * (BOX + GAP_X)
        columns.append({})
        for name in column:
            if name in nodes:
                lines = _lines(nodes[name], live=live)
                ports = PORT * (1 + max(ends[f"> {name}"], ends[f"< {name}"])) if live else 0
                columns[-1][name] = Box(nodes[name], x, max(30 + LINE * len(lines), ports), lines)
            else:
                columns[-1][name] = Box(None, x, STOP)
    placed, height = _stacked(columns)
    return placed, ways, 2 * MARGIN + len(columns) * (BOX + GAP_X) - GAP_X, height


def _stacked(columns: Sequence[Mapping[str, Box]]) -> tuple[dict[str, Box], float]:
    tall = [sum(box.height + GAP_Y for box in column.values()) - GAP_Y for column in columns]
    height = max([*tall, 0.0]) + 2 * MARGIN
    placed: dict[str, Box] = {}
    for column, own in zip(columns, tall, strict=True):
        y = (height - own) / 2
        for name, box in column.items():
            placed[name] = replace(box, y=y)
            y += box.height + GAP_Y
    return placed, height


def _lines(node: Node, *, live: bool) -> tuple[str, ...]:
    if node["kind"] == "pipeline":
        groups = ((step, len(list(same))) for step, same in groupby(node.get("steps", [])))
        lines = [step + (f" (x{count})" if count > 1 else "") for step, count in groups]
        if len(lines) > STEPS:
            lines = [*lines[: STEPS - 1], f"and {len(lines) - STEPS + 1} more"]
    else:
        state = [node["state"]] if node["state"] else []
        lines = [" · ".join([node["type"], *state, *([f"{rate(node['samples_s'])}/s"] if live else [])])]
    if node["detail"]:
        lines.append(node["detail"])
    return tuple(_cut(line, CHARACTERS) for line in lines)


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _box(box: Box, node: Node) -> Iterator[str]:
    fill, stroke = FILLS[node["kind"]], STROKES[node["kind"]]
    if node["state"] in {"down", "failing"}:
        fill, stroke = DOWN
    yield (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{BOX}" height="{box.height:g}" rx="7" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.3"/>'
    )
    name = escape(_cut(node["name"], CHARACTERS - 4))
    yield f'<text class="name" x="{box.x + 12:g}" y="{box.y + 20:g}">{name}</text>'
    for number, line in enumerate(box.lines):
        y = box.y + 21 + LINE * (number + 1)
        yield f'<text class="line" x="{box.x + 12:g}" y="{y:g}">{escape(line)}</text>'


def _edges(
    graph: GraphView, boxes: Mapping[str, Box], ways: Mapping[Way, Sequence[str]], *, live: bool
) -> Iterator[str]:
    """Curves first, then what they carry, so that no curve runs over a figure."""
    labels: list[str] = []
    leaving = _ports(boxes, [(source, target, (*stops, target)[0]) for (source, target), stops in ways.items()])
    coming = _ports(boxes, [(target, source, (source, *stops)[-1]) for (source, target), stops in ways.items()])
    for edge in graph["edges"]:
        x, y = boxes[edge["from"]].x + BOX, leaving[edge["from"], edge["to"]]
        path = f"M{x:g} {y:.1f}"
        if live:
            labels += _label(edge, x + 8, y)
        for stop in ways[edge["from"], edge["to"]]:
            path += _curve(x, y, boxes[stop].x, boxes[stop].middle) + f"h{BOX}"
            x, y = boxes[stop].x + BOX, boxes[stop].middle
        path += _curve(x, y, boxes[edge["to"]].x, coming[edge["to"], edge["from"]])
        width = f"{_thick(edge, live=live):.1f}"
        yield f'<path class="wire" d="{path}" stroke-width="{width}" marker-end="url(#tip)"/>'
    yield from labels


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    bend = GAP_X * 0.55
    return f"C{x1 + bend:g} {y1:.1f} {x2 - bend:g} {y2:.1f} {x2:g} {y2:.1f}"


def _ports(boxes: Mapping[str, Box], ends: Sequence[tuple[str, str, str]]) -> dict[Way, float]:
    """The height at which each (node, other node, next stop) meets the node's box: spread over its side, uncrossed."""
    heights: dict[Way, float] = {}
    for name, group in groupby(sorted(ends, key=lambda end: (end[0], boxes[end[2]].middle)), key=lambda end: end[0]):
        met = list(group)
        for number, (_, other, _) in enumerate(met, 1):
            heights[name, other] = boxes[name].y + boxes[name].height * number / (len(met) + 1)
    return heights


def _thick(edge: Edge, *, live: bool) -> float:
    """Busy ways are broader: a pixel more for each factor of ten."""
    return min(5.0, 1.4 + 0.8 * math.log10(1 + edge["samples_s"])) if live else 1.4


def _label(edge: Edge, x: float, y: float) -> Iterator[str]:
    text = f"{rate(edge['samples_s'])}/s"
    yield (
        f'<rect x="{x:g}" y="{y - 8:.1f}" width="{7 * len(text) + 6}" height="15" rx="4" fill="#f3f5f7" '
        f'stroke="{WIRE}" stroke-width="0.6"/>'
    )
    yield f'<text class="rate" x="{x + 4:g}" y="{y + 3.5:.1f}">{text}</text>'
