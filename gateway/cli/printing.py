"""Tables and lines on standard output: in colours and as wide as it is on a terminal, in full elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.text import Text

from gateway.cli.top_table import Chosen, Spans, Table, arranged, clipped, heading, line_of, plain, widths

STYLES: Final = {
    "": "", "dim": "dim", "bold": "bold", "good": "green", "warn": "yellow", "bad": "bold red", "title": "cyan",
    "chosen": "reverse", "accent": "cyan",
}  # fmt: skip
"""Of rich, by the names of :data:`gateway.cli.top_table.STYLES`."""


def room() -> int | None:
    """Columns that lines may have; None where nobody counts them, as in a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size((80, 24)).columns
    return None


def show(lines: Iterable[Spans]) -> None:
    """Print them; a line that is too long is cut on a terminal, and whole elsewhere."""
    width = room()
    fitting = [line if width is None else clipped(line, width) for line in lines]
    if not sys.stdout.isatty():
        print(plain(fitting), end="")
        return
    console = Console(highlight=False)
    for line in fitting:
        console.print(styled(line), soft_wrap=True)


def styled(line: Spans) -> Text:
    """A line as rich takes it."""
    text = Text.assemble(*((part, STYLES[style]) for part, style in line))
    text.rstrip()
    return text


def lines_of(table: Table, title: str = "") -> list[Spans]:
    """The table with a title and an empty line above it."""
    rows = arranged(table, Chosen())
    lines: list[Spans] = [[], [(title, "bold")]] if title else []
    if not rows:
        return [*lines, [(table.empty, "dim")]]
    wide = widths(table, rows, room())
    return [*lines, heading(table, wide, Chosen()), *(line_of(table, row, wide) for row in rows)]
