"""The screen of ``onpath top`` as lines of styled text, for any size. Pure: what it is given is what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Final

from gateway.cli.top_header import Seen, header
from gateway.cli.top_state import HELP, State
from gateway.cli.top_table import Row, Spans, Table, arranged, clipped, fitted, heading, line_of, widths
from gateway.cli.top_views import VIEWS

LEAST: Final = (40, 10)
"""Columns and lines below which nothing useful can be shown."""


def screen(seen: Seen, state: State, width: int, height: int) -> list[Spans]:
    """Exactly ``height`` lines, none wider than ``width``. Keeps what is chosen within what there is."""
    if width < LEAST[0] or height < LEAST[1]:
        return _filled([[(f"{LEAST[0]} x {LEAST[1]} are needed", "warn")]], height, width)
    top = header(seen, width)
    if state.help:
        return _filled([*top, [], *_help()], height, width)
    table = VIEWS[state.view][1](seen.topics)
    state.columns = len(table.columns)
    room = height - len(top) - 3  # tabs, titles, the last line
    rows = arranged(table, state.now)
    state.lines, state.page = len(rows), max(1, room)
    _keep_in(state, table, room)
    if state.detail and rows:
        body = _detail(rows[state.now.at], state, width, room + 1)
    else:
        known = all(topic in seen.topics for topic in VIEWS[state.view][0])
        body = _body(table, rows, state, width, table.empty if known else "one moment")
    lines = _filled([*top, _tabs(state), *body], height - 1, width)
    return [*lines, clipped(_last(state, len(rows), width), width)]


def _filled(lines: Sequence[Spans], height: int, width: int) -> list[Spans]:
    shown = [clipped(line, width) for line in lines[:height]]
    return shown + [[] for _ in range(height - len(shown))]


def _keep_in(state: State, table: Table, room: int) -> None:
    chosen = state.now
    last = max(0, state.lines - 1)
    if table.follows and chosen.at >= chosen.end and not state.detail:
        chosen.at = last
    chosen.end = last
    chosen.at = max(0, min(chosen.at, last))
    chosen.first = max(0, min(chosen.first, chosen.at, state.lines - room if state.lines > room else 0))
    chosen.first = max(chosen.first, chosen.at - room + 1)


def _tabs(state: State) -> Spans:
    line: Spans = []
    for at, name in enumerate(VIEWS, 1):
        line += [(f" {at} {name} ", "chosen" if name == state.view else "dim"), (" ", "")]
    if state.paused:
        line.append((" held ", "warn"))
    elif state.every_s > 1:
        line.append((f" every {state.every_s:g} s ", "dim"))
    return line


def _body(table: Table, rows: Sequence[Row], state: State, width: int, empty: str) -> list[Spans]:
    chosen = state.now
    if not rows:
        return [[], [(f'no line has "{chosen.filter}"' if chosen.filter and table.rows else empty, "dim")]]
    wide = widths(table, rows, width)
    shown = rows[chosen.first : chosen.first + state.page]
    lines = [heading(table, wide, chosen)]
    for at, row in enumerate(shown, chosen.first):
        line = line_of(table, row, wide)
        if at == chosen.at:
            text = "".join(text for text, _ in line)
            line = [(fitted(text, width), "chosen")]
        lines.append(line)
    return lines


def _detail(row: Row, state: State, width: int, room: int) -> list[Spans]:
    label = max((len(name) for name, _ in row.detail), default=0)
    lines: list[Spans] = []
    for name, value in row.detail:
        parts = wrap(value, max(20, width - label - 3)) or [""]
        lines += [[(fitted(name if at == 0 else "", label + 2), "title"), (part, "")] for at, part in enumerate(parts)]
    state.scrolled = max(0, min(state.scrolled, len(lines) - room))
    return lines[state.scrolled : state.scrolled + room]


def _help() -> list[Spans]:
    return [[(f"  {keys:<16}", "title"), (text, "")] for keys, text in HELP]


def _last(state: State, lines: int, width: int) -> Spans:
    """What is typed, or what may be pressed; on the right where one is."""
    if state.typing:
        return [("/", "title"), (state.now.filter, ""), ("▏", "accent")]
    if state.detail:
        keys = "Enter back  ↑ ↓ scroll"
    else:
        keys = "? help  / filter  s sort  r reverse  Enter detail  p hold  q quit"
    kept = f"/{state.now.filter}  " if state.now.filter else ""
    place = f"{state.now.at + 1} of {lines}" if lines else ""
    room = width - len(place) - 1
    return [(kept, "accent"), (fitted(keys, room - len(kept)), "dim"), (f" {place}", "dim")]
