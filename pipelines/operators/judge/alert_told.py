"""The points that an alert is told by: ``alert/<rule>/<point>``, a state, and ``#value`` behind it, what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.frame import EMPTY, Frame
from gateway.point import Kind, Merge, Point

if TYPE_CHECKING:
    from gateway.frame import Ids, Qualities, Times, Values
    from pipelines.base import Points

PREFIX: Final = "alert/"
VALUE: Final = "#value"
LEVELS: Final = ("quiet", "info", "warning", "critical")
"""Texts of the state, by number."""


class Told:
    """Makes the samples of one rule. The points appear when there is something to tell of them."""

    def __init__(self, rule: str, text: str, level: int, points: Points) -> None:
        self._rule = rule
        self._text = text
        self._level = level
        self._points = points
        self._made: dict[int, tuple[int, int]] = {}
        """By the watched point: its alert, and the value beside it."""

    def samples(self, ids: Ids, time: Times, level: Values, value: Values, quality: Qualities) -> Frame:
        """Two samples for each change: the state, and the value with its quality, [2 n]."""
        if not len(ids):
            return EMPTY
        made = np.array([self._of(point) for point in ids.tolist()], np.int32)
        nothing = np.zeros(len(ids), np.uint16)
        return Frame(
            made.reshape(-1),
            np.repeat(time, 2),
            np.column_stack((level, value)).reshape(-1),
            np.column_stack((nothing, quality)).reshape(-1),
        )

    def _of(self, watched: int) -> tuple[int, int]:
        found = self._made.get(watched)
        if found is None:
            found = self._made[watched] = self._make(self._points.point(watched))
        return found

    def _make(self, watched: Point) -> tuple[int, int]:
        name = f"{PREFIX}{self._rule}/{watched.name}"
        labels = {"rule": self._rule, "point": watched.name, "severity": LEVELS[self._level], "text": self._text}
        alert = self._points.make(
            Point(name=name, kind=Kind.STATE, merge=Merge.LAST, labels={**watched.labels, **labels})
        )
        for text in LEVELS:
            self._points.state(alert, text)
        gauge = Kind.GAUGE if watched.kind is Kind.COUNTER else watched.kind
        beside = Point(name=name + VALUE, unit=watched.unit, kind=gauge, merge=Merge.LAST, labels=watched.labels)
        value = self._points.make(beside)
        for text in (self._points.states(self._points.find(watched.name) or 0) or ()) if gauge is Kind.STATE else ():
            self._points.state(value, text)
        return alert, value
