"""Long CSV: columns time, point, value and, if there is one, quality, in any order; one sample a line.

A value is a number, a text of a state, or empty for a sample without a value; a quality is its words or its number.
Read a column at a time (:mod:`gateway.trial.cells`): times, names and qualities repeat, and are looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import Frame, Index, Qualities, Times, Values, concat
from gateway.point import Kind
from gateway.quality import INVALID, from_text, is_invalid, worse
from gateway.trial.cells import Cells, Codes
from gateway.trial.lines import Lines, unix_ends
from gateway.trial.source import NOT_A_NUMBER, Names, Samples
from gateway.trial.times import TimeReader, seconds
from gateway.trial.wide import cell_value

BLOCK: Final = 1 << 19
GATHERED: Final = 1 << 16
"""Samples of a chunk, about."""
COLUMNS: Final = ("time", "point", "value")


def quality_of(text: str) -> int:
    """A quality from its words or its number; nothing is good.

    Raises:
        ValueError: it is neither.
    """
    text = text.strip()
    if not text:
        return 0
    if text.isdecimal():
        if int(text) > 0xFFFF:
            raise ValueError(f"{text} does not fit a quality word of 16 bits")
        return int(text)
    return from_text(text)


class LongCsv:
    """See the top of the module.

    Args:
        lines: behind the header.
        header: its cells.
        separator: between cells.
        names: gives the points their ids.
    """

    def __init__(self, lines: Lines, header: Sequence[str], separator: str, names: Names) -> None:
        self._lines = lines
        self._separator = separator
        self._header = [cell.strip().lower() for cell in header]
        self._at = [self._header.index(column) for column in COLUMNS]
        self._quality = self._header.index("quality") if "quality" in self._header else None
        self._names = names
        self._reader = TimeReader()
        self._ids, self._words = Codes(self._id), Codes(self._word)
        self._whens = Codes(self._when, remember=False)

    @property
    def zoneless(self) -> bool:
        """Whether a time without a zone was taken as UTC."""
        return self._reader.zoneless

    @property
    def ignored(self) -> list[str]:
        """Columns that mean nothing here."""
        return [cell for cell in self._header if cell not in {*COLUMNS, "quality"}]

    def chunks(self) -> Iterator[Samples]:
        """See :class:`gateway.trial.source.Source`."""
        gathered: list[Frame] = []
        for first, block in self._lines.blocks(BLOCK):
            gathered.append(self._fast(block) or self._slow(first, block))
            if sum(map(len, gathered)) >= GATHERED:
                yield Samples(concat(gathered))
                gathered = []
        if any(map(len, gathered)):
            yield Samples(concat(gathered))

    def _fast(self, block: bytes) -> Frame | None:
        """A block of plain cells with numbers for values, or None."""
        plain = unix_ends(block)
        if plain is None or b'"' in plain:
            return None
        cells = Cells.of(plain, len(self._header), self._separator)
        if cells is None:
            return None
        time, point, value = ((cells.start[:, at], cells.length[:, at]) for at in self._at)
        try:
            numbers = cells.values(*value)
            if numbers is None or np.isnan(numbers).any():
                return None
            ids = self._ids(cells, *point).astype(np.int32)
            return Frame(ids, self._times(cells, *time), numbers, self._qualities(cells))
        except (ValueError, PayloadError, TooManyPointsError):
            return None

    def _times(self, cells: Cells, start: Index, length: Index) -> Times:
        """The column of times.

        Raises:
            PayloadError: one is none.
        """
        if int(length.min()) == int(length.max()) == 10:
            found, wrong = cells.numbers(start, length)
            if not wrong.any():
                return seconds(found)
        return self._whens(cells, start, length)

    def _qualities(self, cells: Cells) -> Qualities:
        if self._quality is None:
            return np.zeros(len(cells), np.uint16)
        return self._words(cells, cells.start[:, self._quality], cells.length[:, self._quality]).astype(np.uint16)

    def _id(self, cell: bytes) -> int:
        name = cell.decode("utf-8").strip()
        if not name:
            raise ValueError("the name of the point is empty")
        return self._names(name)

    def _when(self, cell: bytes) -> int:
        return self._reader[cell.decode("utf-8")]

    @staticmethod
    def _word(cell: bytes) -> int:
        return quality_of(cell.decode("utf-8"))

    def _slow(self, first: int, block: bytes) -> Frame:
        """The same line by line.

        Raises:
            BadInputError: a line is not what it should be.
        """
        rows: list[tuple[int, int, float, int]] = []
        for number, line in enumerate(block.split(b"\n"), first):
            text = self._lines.text(line, number).rstrip("\r")
            if text.strip():
                rows.append(self._row(self._lines.cells(text, number, self._separator), number))
        if not rows:
            return concat([])
        point, time, value, word = zip(*rows, strict=True)
        return marked(Frame.of(point, time, value, word))

    def _row(self, cells: list[str], number: int) -> tuple[int, int, float, int]:
        if len(cells) != len(self._header):
            raise self._lines.bad(number, 1, f"{len(cells)} cells, but the header has {len(self._header)}")
        at_time, at_point, at_value = self._at
        at = at_point
        try:
            point = self._id(cells[at].encode())
            at = at_time
            time = self._reader[cells[at]]
            at = at_value
            state = self._names.directory.point(point).kind is Kind.STATE
            value = cell_value(self._names, cells[at_point].strip(), cells[at], state=state)
            at = at_value if self._quality is None else self._quality
            word = 0 if self._quality is None else quality_of(cells[at])
        except (ValueError, PayloadError, TooManyPointsError) as error:
            column = 1 + sum(len(cell) + 1 for cell in cells[:at])
            raise self._lines.bad(number, column, f"{self._header[at]}: {error}") from None
        return point, time, NOT_A_NUMBER if value is None else value, word


def marked(frame: Frame) -> Frame:
    """Samples without a value made to say so: a NaN with a reason, and invalid."""
    lacking = np.isnan(frame.value)
    if not lacking.any():
        return frame
    plain: Values = frame.value.copy()
    plain[lacking & (frame.value.view(np.int64) & 0xFFFF == 0)] = NOT_A_NUMBER
    quality = frame.quality.copy()
    unsaid = lacking & ~is_invalid(quality)
    quality[unsaid] = worse(quality[unsaid], INVALID, 0)
    return frame.replace(value=plain, quality=quality)
