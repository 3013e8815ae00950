"""Documents of any codec whose points, devices or times the payload itself names: a Python loop over records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from adapters.mqtt.columns import number_of, samples
from adapters.mqtt.plans import IGNORED, Plan, checked_name, decode_json
from adapters.mqtt.subscribe import Payload
from adapters.payloads.documents import decode_cbor, decode_msgpack
from adapters.payloads.formats import Format, encoding_of
from adapters.payloads.lines import decode_lines
from adapters.payloads.pointer import Path, format_pointer, parse_path
from adapters.payloads.selection import Record, Selection
from adapters.payloads.senml import decode_senml
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Index, Mask, Times
from gateway.point import Kind, PointOptions

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

Devices = dict[str | None, dict[str, tuple[int, bool]]]
"""Points by device and name: id, and whether it is a state. The only device of a topic is None."""
Read = Callable[[bytes, int], Iterable[Record | PayloadError]]
"""A payload and its arrival time, UTC ns, to its records."""

MAX_ENTRIES: Final = 500_000
"""Devices and points remembered for all topics of a subscription; they come back from the directory."""
_STATE: Final = PointOptions(kind=Kind.STATE)
_GAUGE: Final = PointOptions()
DECODERS: Final = {Payload.JSON: decode_json, Payload.CBOR: decode_cbor, Payload.MSGPACK: decode_msgpack}


class Columns:
    """Samples on their way into a frame."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.times: list[int] = []
        self.values: list[float] = []
        self.old: list[bool] = []

    def add(self, point: int, time_ns: int, value: float, *, old: bool) -> None:
        """One sample; ``old``: nobody knows how old."""
        self.ids.append(point)
        self.times.append(time_ns)
        self.values.append(value)
        self.old.append(old)

    def frame(self) -> Frame:
        """All of them."""
        if not self.ids:
            return EMPTY
        columns = np.array(self.ids, np.int32), np.array(self.times, np.int64), np.array(self.values, np.float64)
        return samples(*columns, np.array(self.old) if any(self.old) else None)


class Documents(Plan):
    """Every number, boolean and text becomes a point when it first appears, unless points are declared."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        self._read = reader(options)
        self._rows: list[tuple[dict[str, str], Devices]] = []
        self._entries = 0

    def forget(self) -> None:
        """See the base class."""
        self._rows, self._entries = [], 0

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class."""
        del payload
        if not self.options.device_from:
            self.device(parts)
        self._rows.append((parts, {}))
        return len(self._rows) - 1

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        columns = Columns()
        for number, (payload, row, now) in enumerate(zip(payloads, rows.tolist(), arrival.tolist(), strict=True)):
            kept = stale is not None and bool(stale[number])
            try:
                self._take(payload, row, now, columns, kept=kept)
            except PayloadError as error:
                self.reject(error, row, payload)
        return columns.frame()

    def _take(self, payload: bytes, row: int, now_ns: int, columns: Columns, *, kept: bool) -> None:
        """The samples of one message.

        Raises:
            PayloadError: none of its records is of use.
        """
        wrong: list[PayloadError] = []
        good = 0
        for record in self._read(payload, now_ns):
            if isinstance(record, PayloadError):
                wrong.append(record)
                continue
            try:
                count = self._values(row, record, columns)
            except PayloadError as error:
                wrong.append(error)
                continue
            good += 1
            columns.times += [now_ns if record.time_ns is None else record.time_ns] * count
            columns.old += [kept and record.time_ns is None] * count
        if wrong:
            if not good:
                raise wrong[0]
            self.reasons.update(error.reason for error in wrong)

    def _values(self, row: int, record: Record, columns: Columns) -> int:
        """Add ids and values of one record; how many."""
        parts, devices = self._rows[row]
        known = devices.get(record.device)
        if known is None:
            known = self._make_room(devices, record.device)
        before = len(columns.ids)
        for name, value in record.values:
            found = known.get(name)
            if found is None:
                if value is None and not self.options.points:  # nothing tells what kind of a point it would be
                    continue
                found = self._find(parts, record, name, value)
                if found[0] >= 0:  # names that are none, and points beyond the bound, are not worth the memory
                    known[name] = found
                    self._entries += 1
            point, is_state = found
            if point < 0:
                self.reasons["bad-name" if point == IGNORED else "too-many-points"] += 1
                continue
            columns.ids.append(point)
            if type(value) is float:
                columns.values.append(value)
            elif is_state and isinstance(value, str):
                columns.values.append(self.state(point, value))
            else:
                columns.values.append(number_of(value))
        return len(columns.ids) - before

    def _make_room(self, devices: Devices, name: str | None) -> dict[str, tuple[int, bool]]:
        """The points of a device that is new to its topic; forgets all that is remembered if that is too much.

        Raises:
            PayloadError: ``bad-name``.
        """
        if name is not None:
            checked_name(name)
        self._entries += 1
        if self._entries > MAX_ENTRIES:
            for _, known in self._rows:
                known.clear()
            self._entries = 1
        return devices.setdefault(name, {})

    def _find(self, parts: dict[str, str], record: Record, name: str, value: Any) -> tuple[int, bool]:
        """The id of a point seen first, and whether it is a state.

        Raises:
            PayloadError: ``bad-name``, if the record's device has a name that cannot be.
        """
        device = self.device(parts if record.device is None else {**parts, "device": record.device})
        options: PointOptions | None = self.options.points.get(name)
        if options is None:
            options = _STATE if isinstance(value, str) else _GAUGE
            if record.unit:
                options = PointOptions(unit=record.unit, kind=options.kind)
        try:
            full = f"{device}/{checked_name(name)}"
        except PayloadError:
            return IGNORED, False
        return self.add_point(full, options, self.labels(parts)), options.kind is Kind.STATE


def reader(options: Subscribe) -> Read:
    """How a subscription's payloads become records."""
    if options.payload is Payload.SENML:
        return _Senml({name: point.value or name for name, point in options.points.items()}, options.device_from)
    selection = select(options)
    if options.payload is Payload.CSV:
        columns, separator, comma = options.columns, options.separator, options.decimal.value == ","
        return lambda payload, _: selection.read(decode_lines(payload, columns, separator, comma=comma))
    decode = DECODERS[options.payload]
    return lambda payload, _: selection.read(decode(payload))


def select(options: Subscribe) -> Selection:
    """Where the values of a subscription stand. A name that the user did not write as a path is a plain key."""
    csv = options.payload is Payload.CSV
    paths = {}
    for name, point in options.points.items():
        paths[name] = parse_path(point.value) if point.value and not csv else Path((point.value or name,))
    where = {
        "time": options.time,
        "device": options.device_from,
        "point": options.point_from,
        "value": options.value_from,
    }
    if csv:
        where = {key: column and format_pointer((column,)) for key, column in where.items()}
    return Selection(paths, records="[*]" if csv else options.records, **where)


class _Senml:
    """SenML packs, in JSON or CBOR as the first byte says."""

    def __init__(self, points: dict[str, str], device_from: str) -> None:
        self._points = points
        self._devices = bool(device_from)

    def __call__(self, payload: bytes, now_ns: int) -> list[Record | PayloadError]:
        found: list[Record | PayloadError] = []
        for record in decode_senml(payload, encoding_of(Format.SENML, None, payload), now_ns):
            base = record.name.removesuffix(record.local) if record.local else record.name
            device = base.strip("/:._-").replace("/", "-").replace(":", "-") if self._devices else None
            names = self._names(record.name, record.local)
            found += [Record(device, record.time_ns, [(name, record.value)], record.unit) for name in names]
        if not found:
            raise PayloadError("missing" if self._points else "no-values", "no such record in the pack")
        return found

    def _names(self, name: str, local: str) -> list[str]:
        """The names of the points that a record is."""
        if not self._points:
            return [local or name]
        return [point for point, wanted in self._points.items() if wanted in {name, local}]
