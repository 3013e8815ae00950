"""JSON payloads with points that the configuration names: the data path of the adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.mqtt.columns import ABSENT, each_time, number_of, samples, unix_times
from adapters.mqtt.plans import Plan, decode_object, resuming
from adapters.mqtt.structs import compile_fast
from adapters.payloads.pointer import Pointer, parse_pointer, resolve
from adapters.payloads.times import parse_time
from gateway.errors import PayloadError
from gateway.frame import Frame, Ids, Index, Mask, Times, Values
from gateway.point import Kind

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

Row = tuple[Any, ...]
"""One message: a value a point, and last, if the payload has a source time, that as it was decoded."""


class DeclaredJson(Plan):
    """All messages of all devices become one matrix, [messages, points].

    They go through a struct type that is generated for the points; those that do not fit it (a text for
    a number, an item of an array) go through the general decoder, with the same result.
    """

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        declared = options.points.items()
        self._pointers = [parse_pointer(point.value or name) for name, point in declared]
        self._time: Pointer | None = parse_pointer(options.time) if options.time else None
        self._states = [i for i, (_, point) in enumerate(declared) if point.kind is Kind.STATE]
        self._text_time = False
        self._rows: list[list[int]] = []
        self._ids: Ids = np.empty((0, len(declared)), np.int32)
        self._fixed: dict[int, int] = {}
        self._fast = {
            text: compile_fast(self._pointers, self._states, self._time, text_time=text) for text in (False, True)
        }

    def forget(self) -> None:
        """See the base class."""
        self._rows, self._ids = [], self._ids[:0]

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class."""
        del payload
        device = self.device(parts)
        declared = self.options.points.items()
        self._rows.append([self.add_point(f"{device}/{name}", point) for name, point in declared])
        return len(self._rows) - 1

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        if len(self._ids) < len(self._rows):
            self._ids = np.array(self._rows, np.int32)
        ids = self._ids[rows]
        text = self._text_time
        decoded = self._decoded(payloads)
        if self._states:
            decoded = [self._coded(row, ids[i]) for i, row in enumerate(decoded)]
        value, times, timeless = self._matrix(decoded, arrival, text=text)
        width = ids.shape[1]
        if stale is not None:
            stale = np.repeat(stale & timeless, width)
        lost = len(self._rows) and int(np.count_nonzero(ids < 0))
        if lost:
            self.reasons["too-many-points"] += lost
        return samples(ids.ravel(), np.repeat(times, width), value.ravel(), stale)

    def _decoded(self, payloads: Sequence[bytes]) -> list[Row]:
        self._fixed = {}
        compiled = self._fast[self._text_time]
        if compiled is None:
            return [self._slow(i, payload) for i, payload in enumerate(payloads)]
        decode, get = compiled
        bare = len(self._pointers) == 1 and self._time is None

        def fast(source: Iterator[bytes]) -> Iterator[Row]:
            found = map(get, map(decode, source))
            return zip(found) if bare else found

        return resuming(fast, payloads, lambda i: self._slow(i, payloads[i]))

    def _slow(self, number: int, payload: bytes) -> Row:
        """One message by the general decoder; what is wrong with it is counted."""
        try:
            document = decode_object(payload)
            self._fix_time(number, document)
        except PayloadError as error:
            self.reasons[error.reason] += 1
        else:
            return self._row([self._value(i, document) for i in range(len(self._pointers))])
        return self._row([ABSENT] * len(self._pointers))

    def _row(self, values: list[Any]) -> Row:
        return tuple(values) if self._time is None else (*values, None)

    def _fix_time(self, number: int, document: Any) -> None:
        """Read the source time, keep it for :meth:`_matrix`, and expect the next ones to be of its type."""
        if self._time is None:
            return
        try:
            found = resolve(document, self._time)
        except PayloadError:
            return
        if found is not None:
            self._fixed[number] = parse_time(found)
            self._text_time = isinstance(found, str)

    def _value(self, index: int, document: Any) -> Any:
        try:
            found = resolve(document, self._pointers[index])
        except PayloadError:
            return ABSENT
        if isinstance(found, str) and index in self._states:
            return found
        return number_of(found)

    def _coded(self, row: Row, ids: Ids) -> Row:
        """The row with its states' texts replaced by their numbers."""
        coded = list(row)
        for index in self._states:
            if isinstance(coded[index], str):
                known = int(ids[index])
                coded[index] = ABSENT if known < 0 else self.state(known, coded[index])
        return tuple(coded)

    def _matrix(self, rows: list[Row], arrival: Times, *, text: bool) -> tuple[Values, Times, Mask]:
        """Values [m, points], times in ns [m], and whether a message has no time of its own [m]."""
        width = len(self._pointers)
        if self._time is None:
            return _table(rows, width), arrival, np.ones(len(rows), np.bool_)
        if text:
            raw = [row[-1] for row in rows]
            value, timeless = _table([row[:-1] for row in rows], width), np.array([r is None for r in raw])
            times, wrong = each_time(raw, arrival)
        else:
            table = _table(rows, width + 1)
            value, column = table[:, :-1], table[:, -1]
            timeless = np.isnan(column)
            times, wrong = unix_times(column, rows, arrival)
        if wrong:
            value[wrong] = ABSENT
            self.reasons["bad-time"] += len(wrong)
        for number, time in self._fixed.items():
            times[number], timeless[number] = time, False
        return value, times, timeless


def _table(rows: list[Row], width: int) -> Values:
    """Floats, booleans and None (as NaN) as a matrix, [m, width]."""
    flat = np.fromiter(chain.from_iterable(rows), np.float64, width * len(rows))
    return flat.reshape(len(rows), width)
