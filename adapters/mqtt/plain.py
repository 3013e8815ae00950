"""Payloads that name no points in the configuration: plain values, and JSON taken as it appears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from adapters.mqtt.columns import ABSENT, number_in, number_of, samples
from adapters.mqtt.plans import IGNORED, Plan, checked_name, decode_object, resuming
from adapters.payloads.pointer import Pointer, parse_pointer, resolve
from adapters.payloads.times import parse_time
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Ids, Index, Mask, Times
from gateway.point import Kind, PointOptions

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

MAX_KEYS: Final = 4096
"""Members remembered for one topic."""
_STATE: Final = PointOptions(kind=Kind.STATE)
_GAUGE: Final = PointOptions()

_decode_number = msgspec.json.Decoder(float).decode


class PlainText(Plan):
    """One value a message: a number, ``true`` or ``false``, or the text of a state; one point a topic."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        self._rows: list[tuple[int, bool]] = []
        self._ids: Ids = np.empty(0, np.int32)

    def forget(self) -> None:
        """See the base class."""
        self._rows, self._ids = [], self._ids[:0]

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class. A point that is not declared is a state if its first value is a text."""
        declared = self.options.points
        name = parts["point"] if "point" in parts else next(iter(declared))
        if declared and name not in declared:
            return IGNORED
        name = f"{self.device(parts)}/{checked_name(name)}"
        point: PointOptions
        if declared:
            point = declared[parts.get("point") or next(iter(declared))]
        else:
            point = _GAUGE if np.isfinite(number_in(payload.decode(errors="replace"))) else _STATE
        self._rows.append((self.add_point(name, point), point.kind is Kind.STATE))
        return len(self._rows) - 1

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        if len(self._ids) < len(self._rows):
            self._ids = np.array([point for point, _ in self._rows], np.int32)
        ids = self._ids[rows]

        def fast(source: Iterator[bytes]) -> Iterator[float]:
            return map(_decode_number, source)

        decoded = resuming(fast, payloads, lambda i: self._slow(payloads[i], int(rows[i])))
        lost = int(np.count_nonzero(ids < 0))
        if lost:
            self.reasons["too-many-points"] += lost
        return samples(ids, arrival, np.array(decoded, np.float64), stale)

    def _slow(self, payload: bytes, row: int) -> float:
        """What is no JSON number: other ways to write one, booleans, states."""
        try:
            text = payload.decode().strip()
        except UnicodeDecodeError:
            text = ""
        if not text:
            self.reasons["unparsable"] += 1
            return ABSENT
        number = number_in(text)
        point, is_state = self._rows[row]
        if np.isnan(number) and is_state:
            return ABSENT if point < 0 else self.state(point, text)
        return number


class DiscoveredJson(Plan):
    """Every number, boolean and text of an object becomes a point when it first appears."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        self._time: Pointer | None = parse_pointer(options.time) if options.time else None
        self._rows: list[tuple[str, dict[str, tuple[int, bool]]]] = []

    def forget(self) -> None:
        """See the base class."""
        self._rows = []

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class."""
        del payload
        self._rows.append((self.device(parts), {}))
        return len(self._rows) - 1

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        ids: list[int] = []
        times: list[int] = []
        values: list[float] = []
        old: list[bool] = []
        for number, (payload, row) in enumerate(zip(payloads, rows.tolist(), strict=True)):
            try:
                document, own = self._read(payload)
            except PayloadError as error:
                self.reasons[error.reason] += 1
                continue
            before = len(ids)
            self._members(row, document, ids, values)
            taken = len(ids) - before
            times += [int(arrival[number]) if own is None else own] * taken
            old += [own is None and stale is not None and bool(stale[number])] * taken
        if not ids:
            return EMPTY
        columns = np.array(ids, np.int32), np.array(times, np.int64), np.array(values, np.float64)
        return samples(*columns, np.array(old) if stale is not None else None)

    def _read(self, payload: bytes) -> tuple[dict[str, Any], int | None]:
        """The object and its source time.

        Raises:
            PayloadError: ``unparsable`` or ``bad-time``.
        """
        document = decode_object(payload)
        if self._time is None:
            return document, None
        try:
            found = resolve(document, self._time)
        except PayloadError:
            return document, None
        if len(self._time) == 1:
            del document[self._time[0]]
        return document, None if found is None else parse_time(found)

    def _members(self, row: int, document: dict[str, Any], ids: list[int], values: list[float]) -> None:
        device, known = self._rows[row]
        for key, value in document.items():
            if isinstance(value, (dict, list)):
                continue
            found = known.get(key)
            if found is None:
                if value is None:  # no point yet, and nothing to tell what kind it would be
                    continue
                found = self._discover(device, key, value)
                if len(known) >= MAX_KEYS:
                    known.clear()
                known[key] = found
            point, is_state = found
            if point == IGNORED:
                self.reasons["bad-name"] += 1
            elif point < 0:
                self.reasons["too-many-points"] += 1
            elif is_state and isinstance(value, str):
                ids.append(point)
                values.append(self.state(point, value))
            else:
                ids.append(point)
                values.append(number_of(value))

    def _discover(self, device: str, key: str, value: Any) -> tuple[int, bool]:
        """The id of a new point and whether it is a state."""
        is_state = isinstance(value, str)
        try:
            name = f"{device}/{checked_name(key)}"
        except PayloadError:
            return IGNORED, is_state
        return self.add_point(name, _STATE if is_state else _GAUGE), is_state
