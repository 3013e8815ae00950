"""JSON lines: samples as ``onpath tap --json`` prints them, or batches as the format ``json`` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import Frame, concat
from gateway.point import Kind
from gateway.trial.lines import Lines
from gateway.trial.long import GATHERED, marked, quality_of
from gateway.trial.source import NOT_A_NUMBER, REASONS, Names, Samples
from gateway.trial.times import TimeReader

BLOCK: Final = 1 << 18


class _Sample(msgspec.Struct, frozen=True):
    point: str
    time: str | int | float
    value: float | bool | str | None = None
    quality: str | int = "good"
    reason: str = ""


class _Line(msgspec.Struct, frozen=True):
    """Either form; further keys mean nothing here."""

    samples: list[_Sample] | None = None
    point: str | None = None
    time: str | int | float = 0
    value: float | bool | str | None = None
    quality: str | int = "good"
    reason: str = ""


def _single(line: _Line) -> _Sample:
    """The sample that a line itself is.

    Raises:
        ValueError: it is none.
    """
    if line.point is None or not line.time:
        raise ValueError("neither samples nor point, time and value")
    return _Sample(line.point, line.time, line.value, line.quality, line.reason)


_LINE: Final = msgspec.json.Decoder(_Line)
Row = tuple[int, int, float, int]


class JsonLines:
    """See the top of the module."""

    def __init__(self, lines: Lines, names: Names) -> None:
        self._lines = lines
        self._names = names
        self._times = TimeReader()

    @property
    def zoneless(self) -> bool:
        """Whether a time without a zone was taken as UTC."""
        return self._times.zoneless

    def chunks(self) -> Iterator[Samples]:
        """See :class:`gateway.trial.source.Source`."""
        gathered: list[Frame] = []
        for first, block in self._lines.blocks(BLOCK):
            rows = [row for number, line in enumerate(block.split(b"\n"), first) for row in self._rows(line, number)]
            if rows:
                point, time, value, word = zip(*rows, strict=True)
                gathered.append(marked(Frame.of(np.array(point), np.array(time), np.array(value), np.array(word))))
            if sum(map(len, gathered)) >= GATHERED:
                yield Samples(concat(gathered))
                gathered = []
        if gathered:
            yield Samples(concat(gathered))

    def _rows(self, line: bytes, number: int) -> list[Row]:
        """The samples of a line.

        Raises:
            BadInputError: it has none.
        """
        if not line.strip():
            return []
        try:
            found = _LINE.decode(line.removeprefix(b"\xef\xbb\xbf"))
            if found.samples is not None:
                return [self._row(sample) for sample in found.samples]
            return [self._row(_single(found))]
        except (ValueError, PayloadError, TooManyPointsError, RecursionError) as error:
            raise self._lines.bad(number, 1, str(error)) from None

    def _row(self, sample: _Sample) -> Row:
        point = self._names(sample.point)
        time = self._times[str(sample.time)]
        word = sample.quality if isinstance(sample.quality, int) else quality_of(sample.quality)
        if not 0 <= word <= 0xFFFF:
            raise ValueError(f"{word} does not fit a quality word of 16 bits")
        if sample.value is None:
            return point, time, REASONS.get(sample.reason, NOT_A_NUMBER), word
        if not isinstance(sample.value, str):
            return point, time, float(sample.value), word
        if self._names.directory.point(point).kind is not Kind.STATE and not self._names.directory.states(point):
            self._names.become_state(sample.point)
        return point, time, self._names.directory.state(point, sample.value), word
