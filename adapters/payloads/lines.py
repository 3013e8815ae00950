"""CSV payloads: lines of values (RFC 4180), each a record with the same columns. Pure functions."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from gateway.errors import PayloadError
from gateway.quality import Reason, no_value

Cell = float | bool | str | None

MAX_LINES: Final = 65_536
_POINT: Final = re.compile(r"[+-]?(?:\d{1,400}\.?\d{0,400}|\.\d{1,400})(?:[eE][+-]?\d{1,6})?", re.ASCII)
_COMMA: Final = re.compile(_POINT.pattern.replace(r"\.", ","), re.ASCII)
_PLAIN: Final = b"0123456789.,;+-eE \t\r\n"
_WORDS: Final[dict[str, Cell]] = {"": None, "true": True, "false": False}
_NO_NUMBER: Final = no_value(Reason.NOT_A_NUMBER)


def decode_lines(payload: bytes, columns: Sequence[str], separator: str, *, comma: bool) -> list[dict[str, Cell]]:
    """A record a line, by column; an empty value is None. Columns named ``-`` are left out.

    Args:
        payload: UTF-8; values with a separator or quote in them stand in ``"``.
        columns: their names, in the order of the payload.
        separator: one character.
        comma: whether numbers have a decimal comma; one with a point is then no number.

    Raises:
        PayloadError: ``unparsable`` if it is no CSV in UTF-8, ``wrong-columns`` if a line has more or fewer of them,
            ``empty`` if there is no line, ``too-many-lines``.
    """
    try:
        lines = payload.decode().splitlines()
        rows: Iterable[list[str]]
        if b'"' in payload:
            rows = csv.reader(lines[: MAX_LINES + 1], delimiter=separator, strict=True)
        else:
            rows = (line.split(separator) for line in lines[: MAX_LINES + 1] if line)
        read = _quick if not comma and not payload.translate(None, _PLAIN) else partial(_cell, comma=comma)
        records = [_record(cells, columns, read) for cells in rows if cells]
    except (csv.Error, UnicodeDecodeError) as error:
        raise PayloadError("unparsable", str(error)) from None
    if not records:
        raise PayloadError("empty", "there is no line in the payload")
    if len(lines) > MAX_LINES:
        raise PayloadError("too-many-lines", f"{len(lines):,} lines")
    return records


def _record(cells: list[str], columns: Sequence[str], read: Callable[[str], Cell]) -> dict[str, Cell]:
    if len(cells) != len(columns):
        raise PayloadError("wrong-columns", f"{len(cells)} instead of {len(columns)}")
    found = dict(zip(columns, map(read, cells), strict=True))
    found.pop("-", None)
    return found


def _quick(cell: str) -> Cell:
    """A value where there are no characters but those of numbers: no words, and none of Python's liberties."""
    try:
        return int(cell) if cell.isdecimal() and len(cell) < 20 else float(cell)
    except ValueError:
        return _cell(cell, comma=False)


def _cell(cell: str, *, comma: bool) -> Cell:
    """Whole numbers stay whole, so that times lose nothing."""
    text = cell.strip()
    if text.isdecimal() and text.isascii() and len(text) < 20:
        return int(text)
    if (_COMMA if comma else _POINT).fullmatch(text):
        return float(text.replace(",", ".") if comma else text)
    if comma and _POINT.fullmatch(text):
        return _NO_NUMBER
    return _WORDS.get(text.lower(), text)
