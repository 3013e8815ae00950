"""What an alert knows of each point, in columns of as many rows as there are points that it has met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from pipelines.base import grown
from pipelines.operators.judge.alert_condition import OPEN

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Mask, Qualities, Times, Values
    from pipelines.base import State
    from pipelines.operators.judge.alert_condition import Verdicts

FRESH: Final = (1 << 63) - 1
"""Stands for the next tick."""
_NEVER: Final = -(1 << 63)
BACK_NS: Final = 60_000_000_000
"""A sample that is older than one before it by up to this came out of order; by more, its source's clock was set."""


class Columns:
    """Rows in the order in which points were met."""

    def __init__(self) -> None:
        self._row: Ids = np.empty(0, np.int32)
        """By point id; -1 if it was never met."""
        self.size = 0
        self.ids: Ids = np.empty(0, np.int32)
        # Of the newest sample
        self.time: Times = np.empty(0, np.int64)
        self.value: Values = np.empty(0, np.float64)
        self.quality: Qualities = np.empty(0, np.uint16)
        self.heard: Times = np.empty(0, np.int64)
        """The tick before the last value that can be believed."""
        self.held: Mask = np.empty(0, np.bool_)
        """Whether a condition on samples holds."""
        self.gone: Mask = np.empty(0, np.bool_)
        """Absent."""
        self.since: Times = np.empty(0, np.int64)
        """The tick behind the last turn."""
        self.turned: Times = np.empty(0, np.int64)
        """Source time of the last turn."""
        self.shown: npt.NDArray[np.int8] = np.empty(0, np.int8)
        """The level that was told last; 0 for quiet."""
        self.told: Times = np.empty(0, np.int64)
        """The time that was told last."""
        self.raises: npt.NDArray[np.int32] = np.empty(0, np.int32)
        """How often it was raised since ``counting``."""
        self.counting: Times = np.empty(0, np.int64)
        """A tick."""

    _FILLS: Final = {"time": _NEVER, "heard": FRESH, "since": FRESH, "told": _NEVER}
    _NAMES: Final = (
        "ids", "time", "value", "quality", "heard", "held", "gone", "since", "turned", "shown", "told", "raises",
        "counting",
    )  # fmt: skip

    def find(self, points: Ids, total: int) -> tuple[Index, bool]:
        """The row of each point, [n], and whether any is new; ``total`` is above all ids."""
        self._row = grown(self._row, total, -1)
        rows = self._row[points]
        new = np.unique(points[rows < 0]) if len(rows) and rows.min() < 0 else points[:0]
        if len(new):
            self._row[new] = np.arange(self.size, self.size + len(new))
            self._widen(self.size + len(new))
            self.ids[-len(new) :] = new
            rows = self._row[points]
        return rows.astype(np.intp), bool(len(new))

    def _widen(self, size: int) -> None:
        for name in self._NAMES:
            old = getattr(self, name)
            wider = np.full(size, self._FILLS.get(name, 0), old.dtype)
            wider[: self.size] = old
            setattr(self, name, wider)
        self.size = size

    def recent(self, frame: Frame, rows: Index, starts: Index) -> Mask:
        """Which samples are not older than the newest of their point before them, [n]."""
        if (frame.time >= shifted(frame.time, starts, self.time[rows[starts]])).all():
            return np.ones(len(frame), np.bool_)
        newest: dict[int, int] = {}
        kept = np.zeros(len(frame), np.bool_)
        historical = (frame.quality & q.HISTORICAL) != 0
        columns = zip(rows.tolist(), frame.time.tolist(), historical.tolist(), strict=True)
        for at, (row, time, late) in enumerate(columns):
            before = newest[row] if row in newest else int(self.time[row])
            if time >= before or (before - time > BACK_NS and not late):
                newest[row] = time
                kept[at] = True
        return kept

    def busy(self, rows: Index) -> Mask:
        """Which of these are on or raised, [n]."""
        busy: Mask = (self.held | self.gone | (self.shown != 0))[rows]
        return busy

    def tell(self, rows: Index, time: Times) -> Times:
        """The times under which these changes are told, [n]: what lasted for a while never comes before what was."""
        out = time.tolist()
        for at, row in enumerate(rows.tolist()):
            before = int(self.told[row])
            if 0 < before - out[at] <= BACK_NS:
                out[at] = before
            self.told[row] = out[at]
        return np.array(out, np.int64)

    def snapshot(self) -> State:
        """All columns."""
        return {name: getattr(self, name).copy() for name in self._NAMES}

    def restore(self, state: State, total: int) -> None:
        """The inverse of :meth:`snapshot`."""
        for name in self._NAMES:
            setattr(self, name, state[name].copy())
        self.size = len(self.ids)
        self._row = np.full(max(total, int(self.ids.max(initial=-1)) + 1), -1, np.int32)
        self._row[self.ids] = np.arange(self.size)


def shifted(values: npt.NDArray[Any], starts: Index, first: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What stands before each value within its group, [n]; ``first`` before the first of each group, [groups]."""
    before = np.empty_like(values)
    before[1:] = values[:-1]
    before[starts] = first
    return before


def filled(verdicts: Verdicts, starts: Index, group: Index, first: Mask) -> Mask:
    """What holds behind each verdict, [n]: where it is open, what held before it in its group, at last ``first``."""
    at = np.arange(len(verdicts))
    last = np.maximum.accumulate(np.where(verdicts != OPEN, at, -1))
    known = last >= starts[group]
    held: Mask = np.where(known, verdicts[last] > 0, first[group])
    return held
