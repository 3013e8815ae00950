"""JSON and MessagePack with points that the configuration names: the data path of the adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from adapters.mqtt.columns import ABSENT, each_time, number_of, samples, unix_times
from adapters.mqtt.plans import BAD_TIME, Plan, resuming
from adapters.mqtt.records import DECODERS
from adapters.mqtt.structs import compile_fast
from adapters.mqtt.subscribe import Payload
from adapters.payloads.pointer import Pointer, parse_path, parse_pointer, resolve
from adapters.payloads.selection import as_array, as_object, as_record
from adapters.payloads.times import parse_time
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Ids, Index, Mask, Times, Values
from gateway.point import Kind

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

Row = tuple[Any, ...]
"""One message: a value a point, and last, if the payload has a source time, that as it was decoded."""


class Declared(Plan):
    """All messages of all devices become one matrix, [messages, points].

    They go through a struct type that is generated for the points; those that do not fit it (a text for
    a number, an item of an array) go through the general decoder, with the same result.
    """

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        declared = options.points.items()
        self._pointers = [parse_pointer(point.value) if point.value else (name,) for name, point in declared]
        self._time: Pointer | None = parse_pointer(options.time) if options.time else None
        self._states = [i for i, (_, point) in enumerate(declared) if point.kind is Kind.STATE]
        self._text_time = False
        self._rows: list[list[int]] = []
        self._ids: Ids = np.empty((0, len(declared)), np.int32)
        self._fixed: dict[int, int] = {}
        """Times read by the general decoder, by index of the row in the matrix; in ns."""
        self._wrong: list[int] = []
        """Rows of the matrix whose time is none."""
        self._decode = DECODERS[options.payload]
        packed = options.payload is Payload.MSGPACK
        self._fast = {
            text: compile_fast(
                self._pointers,
                self._states,
                self._time,
                text_time=text,
                decoder=msgspec.msgpack.Decoder if packed else msgspec.json.Decoder,
                records=parse_path(options.records).tokens if options.records else None,
            )
            for text in (False, True)
        }

    def forget(self) -> None:
        """See the base class."""
        self._rows, self._ids = [], self._ids[:0]

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class."""
        del payload
        device, labels = self.device(parts), self.labels(parts)
        declared = self.options.points.items()
        self._rows.append([self.add_point(f"{device}/{name}", point, labels) for name, point in declared])
        return len(self._rows) - 1

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        text = self._begin()
        made = self._columns(self._decoded(payloads, rows), rows, arrival, stale, text=text)
        for number in self._wrong:
            self.reject(BAD_TIME, int(rows[number]), payloads[number])
        return made

    def _begin(self) -> bool:
        """Make ready for messages; whether their times are expected to be texts."""
        if len(self._ids) < len(self._rows):
            self._ids = np.array(self._rows, np.int32)
        self._fixed, self._wrong = {}, []
        return self._text_time

    def _columns(self, decoded: list[Row], rows: Index, arrival: Times, stale: Mask | None, *, text: bool) -> Frame:
        """The samples of decoded rows, all [m]; ``text``: their times are texts."""
        ids = self._ids[rows]
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

    def _decoded(self, payloads: Sequence[bytes], rows: Index) -> list[Row]:
        compiled = self._fast[self._text_time]

        def slow(number: int) -> Row:
            return self._slow(number, payloads[number], int(rows[number]))

        if compiled is None:
            return list(map(slow, range(len(payloads))))
        decode, get = compiled
        bare = len(self._pointers) == 1 and self._time is None

        def fast(source: Iterator[bytes]) -> Iterator[Row]:
            found = map(get, map(decode, source))
            return zip(found) if bare else found

        return resuming(fast, payloads, slow)

    def _slow(self, number: int, payload: bytes, row: int) -> Row:
        """One message by the general decoder; what is wrong with it is counted."""
        try:
            document = as_object(self._decode(payload))
            time = self._time_of(document)
        except PayloadError as error:
            self.reject(error, row, payload)
            return self._row([ABSENT] * len(self._pointers))
        if time is not None:
            self._fixed[number] = time
        return self._row([self._value(i, document) for i in range(len(self._pointers))])

    def _row(self, values: list[Any]) -> Row:
        return tuple(values) if self._time is None else (*values, None)

    def _time_of(self, document: Any) -> int | None:
        """The source time, ns; the next ones are expected to be of its type.

        Raises:
            PayloadError: ``bad-time``.
        """
        if self._time is None:
            return None
        try:
            found = resolve(document, self._time)
        except PayloadError:
            return None
        if found is None:
            return None
        time = parse_time(found)
        self._text_time = isinstance(found, str)
        return time

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
            self._wrong = wrong
        for number, time in self._fixed.items():
            times[number], timeless[number] = time, False
        return value, times, timeless


class DeclaredRecords(Declared):
    """The same for payloads with an array of records: a row of the matrix is a record."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        self._records = parse_path(options.records).tokens
        self._late: list[tuple[int, int, int]] = []
        """What :attr:`_fixed` will be: message, record in it, time."""

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        text = self._begin()
        self._late = []
        found = self._lists(payloads, rows, text=text)
        counts = np.fromiter(map(len, found), np.intp, len(found))
        if not counts.any():
            return EMPTY
        first = np.cumsum(counts) - counts
        self._fixed = {int(first[message]) + record: time for message, record, time in self._late}
        which = np.repeat(np.arange(len(found)), counts)
        old = None if stale is None else stale[which]
        made = self._columns(list(chain.from_iterable(found)), rows[which], arrival[which], old, text=text)
        told: set[int] = set()
        for record in self._wrong:
            self._refuse(BAD_TIME, int(which[record]), payloads, rows, told)
        return made

    def _refuse(
        self, error: PayloadError, message: int, payloads: Sequence[bytes], rows: Index, told: set[int]
    ) -> None:
        """Count a bad record; its message is handed on only once."""
        if message in told:
            self.reasons[error.reason] += 1
        else:
            told.add(message)
            self.reject(error, int(rows[message]), payloads[message])

    def _lists(self, payloads: Sequence[bytes], rows: Index, *, text: bool) -> list[list[Row]]:
        """The rows of each message."""
        compiled = self._fast[text]

        def slow(number: int) -> list[Row]:
            return self._slow_records(number, payloads, rows)

        if compiled is None:
            return list(map(slow, range(len(payloads))))
        decode, get = compiled
        bare = len(self._pointers) == 1 and self._time is None

        def fast(source: Iterator[bytes]) -> Iterator[list[Row]]:
            found = map(get, map(decode, source))
            return map(list, map(zip, found)) if bare else found

        return resuming(fast, payloads, slow)

    def _slow_records(self, number: int, payloads: Sequence[bytes], rows: Index) -> list[Row]:
        try:
            items = as_array(resolve(self._decode(payloads[number]), self._records))
        except PayloadError as error:
            self.reject(error, int(rows[number]), payloads[number])
            return []
        found: list[Row] = []
        told: set[int] = set()
        for item in items:
            try:
                time = self._time_of(as_record(item))
            except PayloadError as error:
                self._refuse(error, number, payloads, rows, told)
                continue
            if time is not None:
                self._late.append((number, len(found), time))
            found.append(self._row([self._value(i, item) for i in range(len(self._pointers))]))
        return found


def _table(rows: list[Row], width: int) -> Values:
    """Floats, booleans and None (as NaN) as a matrix, [m, width]."""
    flat = np.fromiter(chain.from_iterable(rows), np.float64, width * len(rows))
    return flat.reshape(len(rows), width)
