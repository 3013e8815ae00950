"""Tables that fit a terminal: which columns there is room for, how wide they are, what of the text is cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rich.cells import cell_len, set_cell_size

Segment = tuple[str, str]
"""Text and the name of its style: one of :data:`STYLES`."""
Spans = list[Segment]
"""One line."""
STYLES: Final = ("", "dim", "bold", "good", "warn", "bad", "title", "chosen", "accent")
GAP: Final = 2


@dataclass(frozen=True)
class Cell:
    """What stands in a column, and what it is sorted by."""

    text: str
    style: str = ""
    key: float | str | None = None
    """Default: the text."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Numbers stand before texts."""
        key = self.text if self.key is None else self.key
        return (1, 0.0, key.lower()) if isinstance(key, str) else (0, float(key), "")


@dataclass(frozen=True)
class Column:
    """A column and what becomes of it where there is little room."""

    title: str
    right: bool = False
    """Figures stand on the right."""
    widest: int = 24
    """Columns of the terminal, at most."""
    flexible: bool = False
    """Takes what is left; one in a table."""
    rank: int = 0
    """What has a higher rank goes first where there is no room."""


@dataclass(frozen=True)
class Row:
    """One line, what more there is to say of it, and the lines that belong under it."""

    cells: tuple[Cell, ...]
    detail: tuple[tuple[str, str], ...] = ()
    parts: tuple[Row, ...] = ()

    def says(self, word: str) -> bool:
        """Whether a cell holds the word, whatever the case."""
        return any(word in cell.text.lower() for cell in self.cells)


@dataclass(frozen=True)
class Table:
    """Columns and rows; ``empty`` is said where there are no rows."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...] = ()
    empty: str = ""
    follows: bool = False
    """New rows come at the end, and are what one wants to see."""


@dataclass
class Chosen:
    """How a table is looked at."""

    filter: str = ""
    sort: int = -1
    """Column; -1: as it comes."""
    reverse: bool = False
    at: int = 0
    """The line that is chosen."""
    first: int = 0
    """The first line that is shown."""
    end: int = -1
    """The last line there was when it was drawn."""


def arranged(table: Table, chosen: Chosen) -> list[Row]:
    """The lines that pass the filter, in order. A part that passes brings its whole, and the other way round."""
    rows: list[Row] = []
    word = chosen.filter.lower()
    ordered = table.rows
    if 0 <= chosen.sort < len(table.columns):
        ordered = tuple(sorted(ordered, key=lambda row: row.cells[chosen.sort].order, reverse=chosen.reverse))
    for row in ordered:
        whole = not word or row.says(word)
        parts = [part for part in row.parts if whole or part.says(word)]
        if whole or parts:
            rows += [row, *parts]
    return rows


def widths(table: Table, rows: Sequence[Row], room: int | None) -> dict[int, int]:
    """Width by column, of those for which there is room; ``None`` is room for all."""
    columns = table.columns
    natural = {
        at: max([cell_len(column.title) + 1, *(_wide(row.cells[at].text) for row in rows)])
        for at, column in enumerate(columns)
    }
    if room is None:
        return natural
    wanted = {at: min(columns[at].widest, wide) for at, wide in natural.items()}
    flexible = next((at for at, column in enumerate(columns) if column.flexible), None)
    least = {at: min(wide, 14) if at == flexible else wide for at, wide in wanted.items()}
    while len(least) > 1 and sum(least.values()) + GAP * (len(least) - 1) > room:
        least.pop(max(least, key=lambda at: (columns[at].rank, at)))
    spare = room - sum(least.values()) - GAP * (len(least) - 1)
    if flexible in least:
        least[flexible] = max(4, least[flexible] + spare)
    return least


@lru_cache(maxsize=4096)
def _wide(text: str) -> int:
    return cell_len(text)


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Exactly so many columns; what is too long ends with ``…``."""
    wide = cell_len(text)
    if wide > width:
        return set_cell_size(text, max(0, width - 1)) + "…"[:width]
    return " " * (width - wide) + text if right else text + " " * (width - wide)


def heading(table: Table, wide: dict[int, int], chosen: Chosen) -> Spans:
    """The titles; the one that is sorted by has an arrow."""
    line: Spans = []
    for at, width in wide.items():
        column = table.columns[at]
        arrow = ("▼" if chosen.reverse else "▲") if at == chosen.sort else ""
        line += [(fitted(column.title + arrow, width, right=column.right), "title"), (" " * GAP, "title")]
    return line[:-1]


def line_of(table: Table, row: Row, wide: dict[int, int]) -> Spans:
    """One row."""
    line: Spans = []
    for at, width in wide.items():
        cell = row.cells[at]
        line += [(fitted(cell.text, width, right=table.columns[at].right), cell.style), (" " * GAP, "")]
    return line[:-1]


def clipped(line: Iterable[Segment], width: int) -> Spans:
    """A line that is not wider than the terminal."""
    left, out = width, Spans()
    for text, style in line:
        if left <= 0:
            break
        wide = cell_len(text)
        out.append((text, style) if wide <= left else (fitted(text, left), style))
        left -= wide
    return out


def plain(lines: Iterable[Spans]) -> str:
    """Without styles."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)
