"""CSV with points that the configuration names: lines of numbers become one matrix without a loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from adapters.mqtt.columns import samples, unix_times
from adapters.mqtt.records import Documents
from gateway.frame import Frame, Ids, Index, Mask, Times, Values

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

_DIGITS: Final = b"0123456789.+-eE"
_EXACT: Final = 2**53


class NumberLines(Documents):
    """All messages of a batch at once if each is one line of plain numbers; else as any document."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        columns = options.columns
        self._places = [columns.index(point.value or name) for name, point in options.points.items()]
        self._time_at = columns.index(options.time) if options.time else -1
        self._separator = options.separator.encode()
        self._known: list[list[int]] = []
        self._ids: Ids = np.empty((0, len(self._places)), np.int32)

    def forget(self) -> None:
        """See the base class."""
        super().forget()
        self._known, self._ids = [], self._ids[:0]

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class."""
        row = super().add_row(parts, payload)
        device, labels = self.device(parts), self.labels(parts)
        declared = self.options.points.items()
        self._known.append([self.add_point(f"{device}/{name}", point, labels) for name, point in declared])
        return row

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        table = self._table(payloads)
        if table is None:
            return super().frame(payloads, rows, arrival, stale)
        times = arrival
        if self._time_at >= 0:
            column = table[:, self._time_at]
            times, none = unix_times(column, column[:, None].tolist(), arrival)
            if none:  # beyond what a time can be
                return super().frame(payloads, rows, arrival, stale)
            stale = None
        if len(self._ids) < len(self._known):
            self._ids = np.array(self._known, np.int32)
        ids, width = self._ids[rows], len(self._places)
        lost = int(np.count_nonzero(ids < 0))
        if lost:
            self.reasons["too-many-points"] += lost
        old = None if stale is None else np.repeat(stale, width)
        return samples(ids.ravel(), np.repeat(times, width), table[:, self._places].ravel(), old)

    def _table(self, payloads: Sequence[bytes]) -> Values | None:
        """The numbers, [m, columns]; None if something else stands in one of the payloads."""
        separator, width = self._separator, len(self.options.columns)
        lines = [payload.rstrip(b"\r\n") for payload in payloads]
        joined = separator.join(lines)
        if joined.translate(None, _DIGITS + separator) or {line.count(separator) for line in lines} != {width - 1}:
            return None
        try:
            flat = np.fromiter(map(float, joined.split(separator)), np.float64, width * len(lines))
        except ValueError:  # an empty column, or signs that make no number
            return None
        table = flat.reshape(len(lines), width)
        if self._time_at >= 0:
            times = table[:, self._time_at]
            # Past these the general way decides: a float does not hold every integer, and it names the error.
            if ((times < 0) | (times >= _EXACT) | ((times >= 9e12) & (times < 1e14))).any():
                return None
        return table
