"""The plan of a service as an SVG picture: devices' gateways on the left, the core on the right, bytes on the links.

Boxes have a ground of their own and lines a middle grey, so that the picture can stand on light and dark pages. It
refers to nothing outside itself. Many nodes that are alike are one box.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from gateway.network.config import Tier
from gateway.network.grouping import Group, Place, grouped

BOX: Final = 214
"""Width of a box; all lengths are pixels."""
GAP_X: Final = 200
STRAIGHT: Final = 104
"""A link runs straight behind what is written on it."""
GAP_Y: Final = 16
MARGIN: Final = 18
LINE: Final = 17
HEAD: Final = 28
"""Height of the title."""
CHARACTERS: Final = 30
"""That fit into a line of a box."""
FILLS: Final = {Tier.ACCESS: "#dbeafe", Tier.AGGREGATION: "#fdf0d5", Tier.CORE: "#dcf3e3"}
STROKES: Final = {Tier.ACCESS: "#3b6fb6", Tier.AGGREGATION: "#b07d2b", Tier.CORE: "#3d8b5a"}
SEVERAL: Final = 3
"""A box of several nodes has another behind it, so far off."""
WIRE: Final = "#7d8590"
STYLE: Final = (
    "text{font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1c232b}"
    ".title{font-size:15px;font-weight:600;fill:#6b7682}.sub{font-size:12px;fill:#6b7682}"
    ".name{font-size:14px;font-weight:600}.line{font-size:12px;fill:#404a54}.rate{font-size:11px}"
    f".wire{{fill:none;stroke:{WIRE}}}"
    "@media (prefers-color-scheme: dark){.title{fill:#d5dae0}.sub{fill:#9aa4ae}}"
)
_HEAD: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
    'height="{height:g}" role="img">'
)
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


@dataclass
class _Box:
    group: Group
    lines: list[str]
    x: float = 0.0
    y: float = 0.0
    below: list[_Box] = field(default_factory=list)

    @property
    def height(self) -> float:
        return 30.0 + LINE * len(self.lines)

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def draw(root: Place, title: str, facts: Sequence[str] = ()) -> str:
    """The picture as text.

    Args:
        root: the core, and all nodes below it.
        title: what stands above it.
        facts: what stands below the title, a line each.
    """
    top = _box_of(grouped(root))
    depth = _depth(top)
    bottom = _placed(top, depth, MARGIN + HEAD + LINE * len(facts))
    longest = max(9 * len(title), *(6.8 * len(fact) for fact in facts), 0)
    width = max(depth * (BOX + GAP_X) - GAP_X + SEVERAL, longest) + 2 * MARGIN
    boxes = list(_all(top))
    body = [
        _HEAD.format(width=width, height=bottom + MARGIN),
        f"<title>{escape(title)}</title>",
        f"<desc>{escape('; '.join(facts))}</desc>",
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{MARGIN}" y="{MARGIN + 12}">{escape(title)}</text>',
        *(
            f'<text class="sub" x="{MARGIN}" y="{MARGIN + 14 + LINE * number}">{escape(fact)}</text>'
            for number, fact in enumerate(facts, 1)
        ),
        *(part for box in boxes for part in _wires(box)),
        *(part for box in boxes for part in _drawn(box)),
        *(part for box in boxes for part in _labels(box)),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def amount(value: float) -> str:
    """Bytes in powers of ten, three digits that count: ``512 B``, ``1.02 kB``, ``95.1 MB``."""
    for unit in _UNITS[:-1]:
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} {_UNITS[-1]}"


def _box_of(group: Group) -> _Box:
    lines = [group.span] if group.span else []
    lines += list(group.stages) or ["passes on"]
    if group.cpu >= 0.0005:
        lines.append(f"CPU {100 * group.cpu:.2g} % of a core" if group.cpu < 1 else f"CPU {group.cpu:.3g} cores")
    return _Box(group, [_cut(line, CHARACTERS) for line in lines], below=[_box_of(child) for child in group.children])


def _depth(box: _Box) -> int:
    return 1 + max((_depth(child) for child in box.below), default=0)


def _placed(box: _Box, column: int, y: float) -> float:
    """Give the box and those below it their places, from ``y`` on downwards; where the next one may begin."""
    box.x = MARGIN + (column - 1) * (BOX + GAP_X)
    bottom = y
    for child in box.below:
        bottom = _placed(child, column - 1, bottom)
    if not box.below:
        box.y = y
        return y + box.height + GAP_Y
    box.y = max(y, (box.below[0].middle + box.below[-1].middle) / 2 - box.height / 2)
    return max(bottom, box.y + box.height + GAP_Y)


def _all(box: _Box) -> Iterator[_Box]:
    yield box
    for child in box.below:
        yield from _all(child)


def _wires(box: _Box) -> Iterator[str]:
    for child, y in _ports(box):
        x0, y1, x2 = child.x + BOX, child.middle, box.x
        x1, bend = x0 + STRAIGHT, (x2 - x0 - STRAIGHT) * 0.55
        path = f"M{x0:g} {y1:.1f}H{x1:g}C{x1 + bend:g} {y1:.1f} {x2 - bend:g} {y:.1f} {x2:g} {y:.1f}"
        width = min(7.0, 1.2 + 0.7 * math.log10(1 + child.group.bytes_s))
        yield f'<path class="wire" d="{path}" stroke-width="{width:.1f}"/>'


def _ports(box: _Box) -> list[tuple[_Box, float]]:
    """Those below it, and where each meets it."""
    step = box.height / (len(box.below) + 1)
    return [(child, box.y + step * number) for number, child in enumerate(box.below, 1)]


def _drawn(box: _Box) -> Iterator[str]:
    fill, stroke = FILLS[box.group.tier], STROKES[box.group.tier]
    for off in (SEVERAL, 0) if len(box.group.names) > 1 else (0,):
        yield (
            f'<rect x="{box.x + off:g}" y="{box.y - off:g}" width="{BOX}" height="{box.height:g}" rx="7" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="1.3"/>'
        )
    name = escape(_cut(box.group.title, CHARACTERS - 5))
    yield f'<text class="name" x="{box.x + 12:g}" y="{box.y + 20:g}">{name}</text>'
    for number, line in enumerate(box.lines, 1):
        yield f'<text class="line" x="{box.x + 12:g}" y="{box.y + 21 + LINE * number:g}">{escape(line)}</text>'


def _labels(box: _Box) -> Iterator[str]:
    """What each link carries, beside the box that it leaves, and what it would carry raw."""
    for child in box.below:
        group = child.group
        lines = [f"{amount(group.bytes_s)}/s", f"raw {amount(group.raw_s)}/s"]
        if len(group.names) > 1:
            lines.insert(1, f"{amount(group.bytes_s / len(group.names))}/s each")
        x, wide, tall = child.x + BOX + 8, 6.4 * max(map(len, lines)) + 8, 14 * len(lines) + 4
        y = child.middle - tall / 2
        yield (
            f'<rect x="{x:g}" y="{y:.1f}" width="{wide:.0f}" height="{tall}" rx="4" fill="#f3f5f7" '
            f'stroke="{WIRE}" stroke-width="0.6"/>'
        )
        for number, line in enumerate(lines, 1):
            yield f'<text class="rate" x="{x + 4:g}" y="{y + 14 * number - 1:.1f}">{line}</text>'


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"
