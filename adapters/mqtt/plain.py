"""Payloads that are one plain value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from adapters.mqtt.columns import ABSENT, number_in, samples
from adapters.mqtt.plans import IGNORED, Plan, checked_name, resuming
from gateway.errors import PayloadError
from gateway.frame import Frame, Ids, Index, Mask, Times
from gateway.point import Kind, PointOptions

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

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
        self._rows.append((self.add_point(name, point, self.labels(parts)), point.kind is Kind.STATE))
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
            self.reject(PayloadError("unparsable", "no text in UTF-8"), row, payload)
            return ABSENT
        number = number_in(text)
        point, is_state = self._rows[row]
        if np.isnan(number) and is_state:
            return ABSENT if point < 0 else self.state(point, text)
        return number
