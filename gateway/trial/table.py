"""Tables of samples as tests write them: columns parted by blanks, in one of two forms.

Wide, a column for each point, ``-`` where there is no sample::

    time                  m1/voltage  m1/power
    2026-01-01T00:00:10Z  230.1       100
    +20s                  -           nan!invalid

Long, with ``time``, ``point``, ``value`` and, if wanted, ``quality``::

    time  point     value  quality
    +10s  m1/power  100    questionable,old-data

A time is RFC 3339, unix seconds, or ``+20s``: after the start of the test. A value is a number, ``nan`` for a sample
without a value, or a text of a state; in the wide form its quality stands behind a ``!``. What is not said is good.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from gateway.errors import PayloadError
from gateway.quality import to_text
from gateway.trial.long import quality_of
from gateway.trial.times import TimeReader
from gateway.units import Duration

ABSENT: Final = "-"
ANY: Final = "any"
"""As a quality in what is expected: whatever comes."""


class Cell(NamedTuple):
    """A sample as it is written."""

    point: str
    time: int
    value: float | str
    quality: int | None
    """None for :data:`ANY`."""


class TableError(ValueError):
    """A line of a table cannot be read; ``line`` counts from 0."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


def parse_table(text: str, start_ns: int) -> list[Cell]:
    """The samples of a table, in the order of its lines.

    Args:
        text: the table.
        start_ns: what ``+20s`` counts from.

    Raises:
        TableError: a line is wrong.
    """
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines()) if line.strip()]
    rows = [(number, cells) for number, cells in rows if not cells[0].startswith("#")]
    if not rows:
        return []
    (first, header), *body = rows
    if header[0].lower() != "time" or len(header) < 2:
        raise TableError(first, 'the first line names the columns: "time", then points, or "point value quality"')
    times = TimeReader()
    found: list[Cell] = []
    for number, cells in body:
        if len(cells) != len(header):
            raise TableError(number, f"{len(cells)} columns, but the first line has {len(header)}")
        try:
            time = _time(cells[0], start_ns, times)
            found += _long(header, cells, time) if _is_long(header) else _wide(header, cells, time)
        except (ValueError, PayloadError) as error:
            raise TableError(number, str(error)) from None
    return found


def _is_long(header: list[str]) -> bool:
    return [cell.lower() for cell in header[1:3]] == ["point", "value"]


def _time(text: str, start_ns: int, times: TimeReader) -> int:
    return start_ns + Duration.parse(text[1:]).ns if text.startswith("+") else times[text]


def _long(header: list[str], cells: list[str], time: int) -> list[Cell]:
    word = cells[3] if len(header) > 3 else ""
    return [Cell(cells[1], time, value_of(cells[2]), _quality(word))]


def _wide(header: list[str], cells: list[str], time: int) -> list[Cell]:
    found = []
    for point, cell in zip(header[1:], cells[1:], strict=True):
        if cell != ABSENT:
            value, _, word = cell.partition("!")
            found.append(Cell(point, time, value_of(value), _quality(word)))
    return found


def _quality(word: str) -> int | None:
    return None if word == ANY else quality_of(word)


def value_of(text: str) -> float | str:
    """A number, NaN, or a text."""
    if text.lower() == "nan":
        return math.nan
    try:
        return float(text)
    except ValueError:
        return text


def shown(value: float | str | None, quality: int | None) -> str:
    """A sample's value and quality for people."""
    if value is None:
        return "(nothing)"
    text = value if isinstance(value, str) else "nan" if math.isnan(value) else f"{value:.10g}"
    word = "any quality" if quality is None else to_text(quality)
    return text if word == "good" else f"{text} {word}"
