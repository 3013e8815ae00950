"""Raw bytes with a declared layout: all payloads of a batch become one table of bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adapters.mqtt.columns import ABSENT, number_in, samples, unix_times
from adapters.mqtt.plans import BAD_TIME, Plan
from adapters.payloads.fields import Field, field, parse_field
from adapters.payloads.layout import compile_layout
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Ids, Index, Mask, Times, Values
from gateway.point import Kind

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import MqttPoint, Subscribe


class RawBytes(Plan):
    """One matrix, [messages, values]; a point that repeats is as many points."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        fields = [_field(name, point) for name, point in options.points.items()]
        self._names = [
            (name, point) for one, point in zip(fields, options.points.values(), strict=True) for name in one.names
        ]
        self._timed = bool(options.time)
        if options.time:
            fields.append(parse_field("time", options.time))
        self._layout = compile_layout(fields, options.length or None)
        self._rows: list[list[int]] = []
        self._ids: Ids = np.empty((0, len(self._names)), np.int32)

    def forget(self) -> None:
        """See the base class."""
        self._rows, self._ids = [], self._ids[:0]

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class."""
        del payload
        device, labels = self.device(parts), self.labels(parts)
        self._rows.append([self.add_point(f"{device}/{name}", point, labels) for name, point in self._names])
        return len(self._rows) - 1

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        if len(self._ids) < len(self._rows):
            self._ids = np.array(self._rows, np.int32)
        fits = np.fromiter(map(len, payloads), np.intp, len(payloads)) == self._layout.size
        if not fits.all():
            self._refuse(payloads, rows, np.flatnonzero(~fits).tolist())
            payloads = [payloads[i] for i in np.flatnonzero(fits).tolist()]
            rows, arrival, stale = rows[fits], arrival[fits], None if stale is None else stale[fits]
        if not payloads:
            return EMPTY
        value, ids = self._layout.read_many(payloads), self._ids[rows]
        self._add_texts(payloads, ids, value)
        if self._timed:
            value, arrival, stale = self._times(value, payloads, rows, arrival, stale)
        width = ids.shape[1]
        lost = int(np.count_nonzero(ids < 0))
        if lost:
            self.reasons["too-many-points"] += lost
        old = None if stale is None else np.repeat(stale, width)
        return samples(ids.ravel(), np.repeat(arrival, width), value.ravel(), old)

    def _refuse(self, payloads: Sequence[bytes], rows: Index, wrong: list[int]) -> None:
        for i in wrong:
            detail = f"{len(payloads[i])} bytes instead of {self._layout.size}"
            self.reject(PayloadError("wrong-length", detail), int(rows[i]), payloads[i])

    def _add_texts(self, payloads: Sequence[bytes], ids: Ids, value: Values) -> None:
        """Put the numbers of states, or those that texts write, into the matrix."""
        if not self._layout.texts:
            return
        for i, payload in enumerate(payloads):
            for column, text in self._layout.read_texts(payload).items():
                point = int(ids[i, column])
                is_state = self._names[column][1].kind is Kind.STATE
                number = number_in(text)
                if is_state:
                    number = ABSENT if point < 0 or not text else self.state(point, text)
                value[i, column] = number

    def _times(
        self, value: Values, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None
    ) -> tuple[Values, Times, Mask | None]:
        """The values without their last column, which is the time."""
        column = value[:, -1]
        value = np.ascontiguousarray(value[:, :-1])
        times, wrong = unix_times(column, column[:, None].tolist(), arrival)
        for i in wrong:
            value[i] = ABSENT
            self.reject(BAD_TIME, int(rows[i]), payloads[i])
        return value, times, None if stale is None else stale & np.isnan(column)


def _field(name: str, point: MqttPoint) -> Field:
    return parse_field(name, point.value) if point.value else field(name, point)
