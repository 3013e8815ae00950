"""The cluster as an SVG picture: the star and the tree side by side, lines as wide as what goes over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from gateway.demo.cluster_report import Phase, Report

WIDTH: Final = 960
HEIGHT: Final = 470
HALF: Final = WIDTH // 2
ROOT_Y: Final = 110
MIDDLE_Y: Final = 220
WORKER_Y: Final = 330
WIDEST: Final = 16.0
"""Of a line, pixels: the root's link in the star."""
_STYLE: Final = (
    "text{font-family:system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1c232b}"
    ".title{font-size:17px;font-weight:600}.name{font-size:12px;text-anchor:middle}"
    ".figure{font-size:13px;font-weight:600;text-anchor:middle}.line{font-size:13px}"
    ".wire{stroke:#5b8bc4;stroke-opacity:.75}"
)

_HEAD: Final = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
    'role="img">'
)


def drawn(final: Report) -> str:
    """The picture."""
    star, tree = final.phases[:2]
    parts = [
        _HEAD,
        f"<title>{final.workers} workers, {final.aggregators} aggregators: bytes a round</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fbfcfd"/>',
        *_half(final, star, 0, "Central parameter server", aggregators=0),
        *_half(final, tree, HALF, "Added on the way", aggregators=final.aggregators),
        *_lines(final),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _half(final: Report, phase: Phase, left: int, title: str, *, aggregators: int) -> Iterator[str]:
    """The root above, workers below, aggregators between them if there are any."""
    scale = WIDEST / (final.phases[0].bytes_root / final.phases[0].rounds)
    root, per_round = left + HALF / 2, phase.bytes_root / phase.rounds
    yield _text("title", left + 24, 36, title)
    workers = _places(final.workers, left)
    middle = _places(aggregators, left)
    each = phase.bytes_workers / phase.rounds / final.workers
    for number, x in enumerate(workers):
        to, y = (middle[number * aggregators // final.workers], MIDDLE_Y) if aggregators else (root, ROOT_Y)
        yield _wire(x, WORKER_Y, to, y, each * scale)
    for x in middle:
        yield _wire(x, MIDDLE_Y, root, ROOT_Y, per_round / aggregators * scale)
    for number, x in enumerate(workers):
        yield _box(x, WORKER_Y, min(34, HALF / final.workers - 2), "#dbeafe", "#3b6fb6", str(number))
    for number, x in enumerate(middle):
        name = f"aggregator {number}" if aggregators <= 4 else str(number)
        yield _box(x, MIDDLE_Y, min(108, HALF / aggregators - 4), "#f3f5f7", "#6b7682", name)
    yield _box(root, ROOT_Y, 60, "#dcf3e3", "#3d8b5a", "root")
    yield _text("figure", root, ROOT_Y - 24, f"{_size(per_round)} a round come to the root")
    yield _text("figure", root, WORKER_Y + 36, f"{_size(each)} a round from each worker")


def _lines(final: Report) -> Iterator[str]:
    killed = final.phases[2]
    same = "bit for bit those of one process" if final.exact else "NOT those of one process"
    tree, star = final.latency_ms, final.central_latency_ms
    less = f"{final.root_bytes_ratio:g} times less to the root, {final.reduction:g} times less than as JSON"
    fan_in = f"{final.workers} workers by {final.aggregators} aggregators is {final.fan_in:g}"
    times = f"{tree.p50:g} ms (p95 {tree.p95:g}), with the central server {star.p50:g} ms (p95 {star.p95:g})"
    for number, line in enumerate(
        (
            f"{less}; {fan_in}.",
            f"A round took {times}.",
            f"An aggregator was killed in the middle of a round: {killed.fallbacks} workers went round it.",
            f"Weights of all ways after {final.rounds} rounds: {same}.",
        )
    ):
        yield _text("line", 24, HEIGHT - 78 + 20 * number, line)


def _places(count: int, left: int) -> list[float]:
    return [left + HALF * (number + 0.5) / count for number in range(count)]


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _wire(x: float, y: float, to_x: float, to_y: float, width: float) -> str:
    return (
        f'<line class="wire" x1="{x:g}" y1="{y:g}" x2="{to_x:g}" y2="{to_y:g}" stroke-width="{max(width, 0.5):.2f}"/>'
    )


def _box(x: float, y: float, width: float, fill: str, stroke: str, name: str) -> str:
    return (
        f'<rect x="{x - width / 2:g}" y="{y - 14:g}" width="{width:g}" height="28" rx="5" fill="{fill}" '
        f'stroke="{stroke}"/>{_text("name", x, y + 4, name)}'
    )


def _size(size: float) -> str:
    return f"{size / 1000:,.1f} kB" if size < 1e6 else f"{size / 1e6:,.2f} MB"
