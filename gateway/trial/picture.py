"""Original against reconstructed, as an SVG file or as characters of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

import numpy as np

from gateway.frame import Times, Values, group_starts

WIDTH: Final = 960
HEIGHT: Final = 220
LEFT: Final = 80
TOP: Final = 34
BOTTOM: Final = 24
COLUMNS: Final = 72
ROWS: Final = 6
_BLANK_BRAILLE: Final = 0x2800
_DOTS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""The bit of each of the 4 rows and 2 columns of dots."""

_FONT: Final = 'font-family="sans-serif" font-size="12"'
_LEGEND: Final = '<tspan fill="#888">original</tspan> <tspan fill="#06c">reconstructed</tspan>'


class Panel(NamedTuple):
    """One point at one step."""

    title: str
    unit: str
    times: Times
    original: Values
    reconstructed: Values


def _extent(panel: Panel) -> tuple[float, float]:
    """The lowest and highest number of both series; a little room where all are equal."""
    numbers = np.concatenate([panel.original, panel.reconstructed])
    numbers = numbers[np.isfinite(numbers)]
    low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 0.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def outline(times: Times, values: Values, columns: int) -> tuple[Values, Values]:
    """The lowest and highest value of each column of a picture: (place in 0..columns, value), [m] each."""
    fine = np.isfinite(values)
    times, values = times[fine], values[fine]
    if not len(times):
        return np.empty(0), np.empty(0)
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    whole = max(float(times[-1] - times[0]), 1.0)
    place = (times - times[0]) * (columns / whole)
    if len(times) <= 2 * columns:
        return place, values
    starts = group_starts(np.minimum(place.astype(np.intp), columns - 1))
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return np.repeat(place[starts], 2), np.column_stack([low, high]).ravel()


def _when(time_ns: int) -> str:
    return str(np.datetime64(time_ns // 1_000_000_000, "s")).replace("T", " ")


def svg(panels: Sequence[Panel]) -> str:
    """A picture with a panel below the other for each point: grey what came, blue what a receiver makes of it."""
    height = max(len(panels), 1) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {_FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for at, panel in enumerate(panels):
        parts += _panel(panel, at * HEIGHT)
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    low, high = _extent(panel)
    inner, base = HEIGHT - TOP - BOTTOM, top + HEIGHT - BOTTOM
    right = WIDTH - 10

    def line(values: Values, colour: str, width: float) -> str:
        place, found = outline(panel.times, values, right - LEFT)
        height = base - (found - low) * (inner / (high - low))
        dots = " ".join(f"{LEFT + x:.1f},{y:.1f}" for x, y in zip(place.tolist(), height.tolist(), strict=True))
        return f'<polyline points="{dots}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    parts = [
        f'<text x="{LEFT}" y="{top + 20}" font-size="14">{escape(panel.title)}</text>',
        f'<text x="{right}" y="{top + 20}" text-anchor="end">{_LEGEND}</text>',
        f'<rect x="{LEFT}" y="{top + TOP}" width="{right - LEFT}" height="{inner}" fill="none" stroke="#ccc"/>',
        f'<text x="{LEFT - 6}" y="{top + TOP + 10}" text-anchor="end">{high:g}</text>',
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">{low:g} {escape(panel.unit)}</text>',
        line(panel.original, "#999", 1),
        line(panel.reconstructed, "#06c", 1.2),
    ]
    if len(panel.times):
        first, last = _when(int(panel.times.min())), _when(int(panel.times.max()))
        parts.append(f'<text x="{LEFT}" y="{base + 16}">{first}</text>')
        parts.append(f'<text x="{right}" y="{base + 16}" text-anchor="end">{last} UTC</text>')
    return parts


def braille(panel: Panel) -> str:
    """The two series one below the other, in dots of 2 by 4 a character."""
    low, high = _extent(panel)
    lines = [panel.title]
    for name, values in (("original", panel.original), ("reconstructed", panel.reconstructed)):
        lines.append(f"  {name}")
        grid = _dots(panel.times, values, low, high)
        for row, text in enumerate(grid):
            label = {0: f"{high:g}", ROWS - 1: f"{low:g}"}.get(row, "")
            lines.append(f"{label:>12} │{text}")
    if len(panel.times):
        lines.append(f"{'':13} {_when(int(panel.times.min()))} to {_when(int(panel.times.max()))} UTC {panel.unit}")
    return "\n".join(lines)


def single(title: str, unit: str, times: Times, values: Values) -> str:
    """One series alone, in dots of 2 by 4 a character."""
    low, high = _extent(Panel(title, unit, times, values, values))
    labels = {0: f"{high:g}", ROWS - 1: f"{low:g}"}
    lines = [f"{labels.get(row, ''):>12} │{text}" for row, text in enumerate(_dots(times, values, low, high))]
    if len(times):
        lines.append(f"{'':13} {_when(int(times.min()))} to {_when(int(times.max()))} UTC {unit}")
    return "\n".join([title, *lines])


def _dots(times: Times, values: Values, low: float, high: float) -> list[str]:
    """Rows of characters, the highest first."""
    cells = np.zeros((ROWS, COLUMNS), np.int64)
    place, found = outline(times, values, 2 * COLUMNS)
    if len(place):
        # Between its samples a line is drawn, so that few of them still make a picture.
        everywhere = np.arange(2 * COLUMNS) + 0.5
        place, found = np.append(place, everywhere), np.append(found, np.interp(everywhere, place, found))
        x = np.clip(place.astype(np.intp), 0, 2 * COLUMNS - 1)
        y = np.clip(((high - found) / (high - low) * 4 * ROWS).astype(np.intp), 0, 4 * ROWS - 1)
        np.bitwise_or.at(cells, (y // 4, x // 2), _DOTS[y % 4, x % 2])
    return ["".join(chr(_BLANK_BRAILLE + cell) for cell in row) for row in cells.tolist()]
