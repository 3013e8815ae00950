"""Wide CSV: the first column the time, every other one a point, named by the header. An empty cell is no sample.

A block of lines is read as columns (:mod:`gateway.trial.cells`); one that is not that plain (quotes, texts, a wrong
cell) is read once more cell by cell, which also says what is wrong and where.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import numpy as np

from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import Ids, Mask, Times, Values
from gateway.point import Kind
from gateway.trial.cells import Cells
from gateway.trial.lines import Lines, unix_ends
from gateway.trial.source import NOT_A_NUMBER, Matrix, Names
from gateway.trial.times import SECONDS_BELOW, TimeReader, seconds

BLOCK: Final = 1 << 18
_NO_VALUES: Final = frozenset({"nan", "null", "none", "na", "n/a"})

Table = tuple[Times, Values, Mask | None]


class WideCsv:
    """See the top of the module.

    Args:
        lines: behind the header.
        header: its cells.
        separator: between cells.
        names: gives the points their ids.

    Raises:
        BadInputError: a column has no name, or two have the same.
    """

    def __init__(self, lines: Lines, header: Sequence[str], separator: str, names: Names) -> None:
        self._lines = lines
        self._separator = separator
        self._points = [cell.strip() for cell in header[1:]]
        known: set[str] = set()
        for at, name in enumerate(self._points):
            if not name or name in known:
                what = f"the column {name!r} is there twice" if name else f"column {at + 2} has no name"
                raise lines.bad(lines.number - 1, 1, what)
            known.add(name)
        self._names = names
        ids = np.array([names(name) for name in self._points], np.int32)
        self._order = np.argsort(ids)
        self._ids: Ids = ids[self._order]
        self._states = [names.directory.point(i).kind is Kind.STATE for i in ids.tolist()]
        self._in_seconds: bool | None = None
        self._times = TimeReader()

    @property
    def zoneless(self) -> bool:
        """Whether a time without a zone was taken as UTC."""
        return self._times.zoneless

    def chunks(self) -> Iterator[Matrix]:
        """See :class:`gateway.trial.source.Source`."""
        ordered = bool((np.diff(self._order) == 1).all())
        for first, block in self._lines.blocks(BLOCK):
            times, values, absent = self._fast(block) or self._slow(first, block)
            if not ordered:
                values = values[:, self._order]
                absent = None if absent is None else absent[:, self._order]
            if len(times):
                yield Matrix(times, self._ids, values, absent)

    def _fast(self, block: bytes) -> Table | None:
        """A block of plain numbers, or None."""
        plain = unix_ends(block)
        cells = None if plain is None else Cells.of(plain, len(self._points) + 1, self._separator)
        if cells is None:
            return None
        times = self._column(cells)
        found = cells.values(cells.start[:, 1:].ravel(), cells.length[:, 1:].ravel())
        if times is None or found is None:
            return None
        table = found.reshape(len(times), -1)
        absent = np.isnan(table)
        return times, table, absent if absent.any() else None

    def _column(self, cells: Cells) -> Times | None:
        """The times, or None if one is none."""
        start, length = cells.start[:, 0], cells.length[:, 0]
        try:
            found = cells.values(start, length) if self._in_seconds is not False else None
            if found is not None and self._in_seconds is None:
                self._in_seconds = bool((found < SECONDS_BELOW).all())
            if found is not None and self._in_seconds:
                return seconds(found)
            self._in_seconds = False
            return np.fromiter(map(self._when, cells.texts(start, length)), np.int64, len(start))
        except (PayloadError, UnicodeDecodeError):
            return None

    def _when(self, cell: bytes) -> int:
        return self._times[cell.decode("ascii")]

    def _slow(self, first: int, block: bytes) -> Table:
        """The same cell by cell.

        Raises:
            BadInputError: a cell is not what it should be.
        """
        times: list[int] = []
        rows: list[list[float | None]] = []
        for number, line in enumerate(block.split(b"\n"), first):
            text = self._lines.text(line, number).rstrip("\r")
            if text.strip():
                cells = self._lines.cells(text, number, self._separator)
                times.append(self._time(cells, number))
                rows.append(self._row(cells, number))
        values = np.array(list(chain.from_iterable(rows)), np.float64).reshape(-1, len(self._points))
        absent = np.array([[cell is None for cell in row] for row in rows], np.bool_).reshape(values.shape)
        values[np.isnan(values)] = NOT_A_NUMBER
        return np.array(times, np.int64), values, absent

    def _time(self, cells: list[str], number: int) -> int:
        try:
            return self._times[cells[0]]
        except PayloadError:
            message = f"{cells[0]!r} is not a time; write unix seconds or RFC 3339 (2026-01-31T12:00:00Z)"
            raise self._lines.bad(number, 1, message) from None

    def _row(self, cells: list[str], number: int) -> list[float | None]:
        wanted = len(self._points) + 1
        if len(cells) != wanted:
            raise self._lines.bad(number, 1, f"{len(cells)} cells, but the header has {wanted}")
        return [self._cell(at, text, number, cells) for at, text in enumerate(cells[1:])]

    def _cell(self, at: int, text: str, number: int, cells: list[str]) -> float | None:
        try:
            return cell_value(self._names, self._points[at], text, state=self._states[at])
        except ValueError as error:
            column = 1 + sum(len(cell) + 1 for cell in cells[: at + 1])
            raise self._lines.bad(number, column, f"{self._points[at]}: {error}") from None


def cell_value(names: Names, point: str, text: str, *, state: bool) -> float | None:
    """The value that a cell stands for; None for an empty one, NaN for a sample without a value.

    Raises:
        ValueError: it is text, and the point is not a state.
    """
    text = text.strip()
    if not text:
        return None
    try:
        if "_" not in text:  # which Python reads, and nobody writes
            return float(text)
    except ValueError:
        pass
    if state:
        try:
            return names.directory.state(names(point), text)
        except TooManyPointsError as error:
            raise ValueError(str(error)) from None
    if text.lower() in _NO_VALUES:
        return math.nan
    if text.lower() in {"true", "false"}:
        return float(text.lower() == "true")
    raise ValueError(f"{text!r} is not a number (a point with texts needs kind: state, see --points)")
