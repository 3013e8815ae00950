"""The graph as text: a line or two a node, and beside them the ways of the samples, drawn as tracks.

Every node writes to one track and reads from others. Nodes that feed the same targets share a track. A track that
is met by a line has a junction (``┤ ┴ ┼``); where a line only crosses it, the line is interrupted (``│``)::

    ADAPTERS
      meters     modbus    20 devices        ────┐
    PIPELINES                                    │
      live       1,200/s → 38/s              ◀───┘
                 limits ▸ deadband           ──┐
    UPLINKS                                    │
      cloud      mqtt      broker.example    ◀─┘
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gateway.cli.figures import rate
from gateway.cli.graph_order import in_order

if TYPE_CHECKING:
    from gateway.view.shapes import GraphView, Node

WIDTH: Final = 80
COLOURS: Final = ("cyan", "yellow", "green", "magenta", "blue", "red")
TITLES: Final = {"adapter": "ADAPTERS", "pipeline": "PIPELINES", "uplink": "UPLINKS"}
THEN: Final = " ▸ "
NAME: Final = 18
"""Columns of a name, with the space behind it."""


@dataclass
class Line:
    """One line: a text on the left, and what meets the tracks."""

    text: str
    style: str = ""
    reads: list[int] = field(default_factory=list)
    """Tracks that end, or pass by, here and are read."""
    writes: int | None = None
    """The track that begins here, or is joined."""


@dataclass
class Track:
    """A way from the nodes that write to it to all that read it: a column while it is open."""

    first: int = -1
    last: int = -1
    column: int = -1


def draw(graph: GraphView, width: int = WIDTH, *, live: bool = False) -> list[Text]:
    """Lines of the drawing, not wider than ``width`` unless there are too many ways."""
    lines, tracks = _lines(graph, live=live)
    _place(lines, tracks)
    columns = 1 + max((track.column for track in tracks), default=-1)
    step = 2 if columns <= 10 else 1
    gutter = 2 + columns * step
    left = max(40, width - gutter)
    _wrap(lines, left - 1)
    return [_drawn(number, line, tracks, left, step) for number, line in enumerate(lines)]


def _lines(graph: GraphView, *, live: bool) -> tuple[list[Line], list[Track]]:
    nodes = in_order(graph)
    targets = {node["id"]: tuple(sorted(e["to"] for e in graph["edges"] if e["from"] == node["id"])) for node in nodes}
    numbers = {ways: number for number, ways in enumerate(dict.fromkeys(ways for ways in targets.values() if ways))}
    tracks = [Track() for _ in numbers]
    lines: list[Line] = []
    for kind, group in groupby(nodes, key=lambda node: node["kind"]):
        lines.append(Line(TITLES.get(kind, kind.upper()), "bold"))
        for node in group:
            reads = sorted({number for ways, number in numbers.items() if node["id"] in ways})
            writes = numbers.get(targets[node["id"]])
            lines += _of_node(node, _rates(graph, node) if live else "", reads, writes)
    return lines, tracks


def _of_node(node: Node, rates: str, reads: list[int], writes: int | None) -> list[Line]:
    """A pipeline has two lines, because it reads and writes; all others have one."""
    name = f"  {_cut(node['name'], NAME - 1):<{NAME}}"
    style = "red" if node["state"] in {"down", "failing"} else ""
    if node["kind"] != "pipeline":
        facts = [f"{node['type']:<9}", f"{node['state']:<5}" if node["state"] else "", rates, node["detail"]]
        return [Line(name + " ".join(fact for fact in facts if fact), style, reads, writes)]
    words, indent = " ".join(word for word in (rates, node["detail"]) if word), " " * len(name)
    if not words:
        return [Line(name + steps_of(node), style, reads), Line(indent, style, [], writes)]
    return [Line(name + words, style, reads), Line(indent + steps_of(node), style or "dim", [], writes)]


def steps_of(node: Node) -> str:
    """``limits ▸ deadband x3``."""
    groups = ((step, len(list(same))) for step, same in groupby(node.get("steps", [])))
    return THEN.join(step + (f" x{count}" if count > 1 else "") for step, count in groups) or "(passes everything on)"


def _wrap(lines: Sequence[Line], room: int) -> None:
    """Steps that are too many for one line go on in the next, if that is empty."""
    for line, below in pairwise(lines):
        if cell_len(line.text) > room and not below.text.strip() and THEN in line.text[:room]:
            at = line.text.rindex(THEN, 0, room - 2)
            below.text += line.text[at + 1 :]
            line.text = line.text[:at]


def _rates(graph: GraphView, node: Node) -> str:
    if node["kind"] != "pipeline":
        return f"{rate(node['samples_s']):>7}/s"
    out = max((edge["samples_s"] for edge in graph["edges"] if edge["from"] == node["id"]), default=0.0)
    return f"{rate(node['samples_s'])}/s → {rate(out)}/s"


def _place(lines: Sequence[Line], tracks: Sequence[Track]) -> None:
    """Give each track a column that no other has while it is open; those that end first are nearest to the text."""
    for number, line in enumerate(lines):
        for met in (*line.reads, *([] if line.writes is None else [line.writes])):
            tracks[met].first = number if tracks[met].first < 0 else tracks[met].first
            tracks[met].last = number
    taken: dict[int, list[Track]] = {}
    for track in sorted(tracks, key=lambda track: (track.last - track.first, track.first)):
        column = 0
        while any(_meet(track, other) for other in taken.get(column, ())):
            column += 1
        track.column = column
        taken.setdefault(column, []).append(track)


def _meet(one: Track, other: Track) -> bool:
    return one.first <= other.last and other.first <= one.last


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _drawn(number: int, line: Line, tracks: Sequence[Track], left: int, step: int) -> Text:
    text = Text(set_cell_size(_cut(line.text, left - 1), left), line.style)
    met = {tracks[track].column: track for track in line.reads}
    if line.writes is not None:
        met[tracks[line.writes].column] = line.writes
    reach = max(met, default=-1)
    colour = {column: COLOURS[track % len(COLOURS)] for column, track in met.items()}
    outer = colour.get(reach, "")
    text.append({True: "◀", False: "─"}[bool(line.reads)] + "─" if met else "  ", outer)
    open_ = {t.column: index for index, t in enumerate(tracks) if t.first <= number <= t.last}
    for column in range(1 + max((track.column for track in tracks), default=-1)):
        if column in met:
            track = tracks[met[column]]
            up, down = track.first < number, track.last > number
            text.append(_JUNCTIONS[up, down, column < reach], colour[column])
        elif column in open_:
            text.append("│", COLOURS[open_[column] % len(COLOURS)])
        else:
            text.append("─" if column < reach else " ", outer)
        text.append(("─" if column < reach else " ") * (step - 1), outer)
    text.rstrip()
    return text


_JUNCTIONS: Final = {
    (True, True, True): "┼",
    (True, True, False): "┤",
    (True, False, True): "┴",
    (True, False, False): "┘",
    (False, True, True): "┬",
    (False, True, False): "┐",
    (False, False, True): "─",
    (False, False, False): "╴",
}
"""By whether the track goes on above, below, and the line behind it."""


def plain(lines: Iterable[Text]) -> str:
    """Without colours."""
    return "".join(f"{line.plain}\n" for line in lines)
