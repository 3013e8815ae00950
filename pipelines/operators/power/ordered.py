"""What operators that follow each point through time have in common: order, counters, columns of state."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from gateway.frame import EMPTY, concat
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.power.sorter import Sorter

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Times
    from pipelines.base import Points
    from pipelines.operators.power.sorter import Ripe


class PowerConfig(OperatorConfig, frozen=True, kw_only=True):
    """Options of all power operators."""

    lateness: Duration = Duration(5)
    """How long results wait for samples that come out of order."""
    keep: bool = True
    """Whether the inputs pass on as well, beside the results."""


class Table:
    """Columns of state over ids; a row exists once it was set.

    Args:
        columns: name to (numpy type, what a row has before it was set).
    """

    def __init__(self, **columns: tuple[type[np.generic], float]) -> None:
        self._kinds = columns
        self.known = np.empty(0, np.bool_)
        self._columns: dict[str, npt.NDArray[Any]] = {name: np.empty(0, kind) for name, (kind, _) in columns.items()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._columns[name]

    def grow(self, size: int) -> None:
        """Room for ids below ``size``."""
        if size > len(self.known):
            self.known = grown(self.known, size)
            for name, (_, fill) in self._kinds.items():
                self._columns[name] = grown(self._columns[name], size, fill)

    def set(self, ids: Ids | npt.NDArray[np.intp], **values: npt.NDArray[Any]) -> None:
        """Write rows; of equal ids the last stays."""
        self.known[ids] = True
        for name, value in values.items():
            self._columns[name][ids] = value

    def clear(self) -> None:
        """Forget all rows."""
        self.known[:] = False
        for name, (_, fill) in self._kinds.items():
            self._columns[name][:] = fill

    def snapshot(self) -> State:
        """The rows that exist."""
        ids = np.flatnonzero(self.known).astype(np.int32)
        return {"id": ids, **{name: column[ids] for name, column in self._columns.items()}}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self.clear()
        self.grow(int(state["id"].max(initial=-1)) + 1)
        self.set(state["id"], **{name: state[name] for name in self._kinds})


class Ordered(Operator):
    """Gives a subclass the samples of each point in order, at ticks."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: PowerConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._keep = config.keep
        self._sorter = Sorter(config.lateness.ns)

    def process(self, frame: Frame) -> Frame:
        """The samples as they are, or none if they are not kept."""
        if not len(frame):
            return EMPTY
        self._take(frame)
        return frame if self._keep else EMPTY

    def _take(self, frame: Frame) -> None:
        taken = self._sorter.add(frame)
        if not self._keep:
            self.counts.queued += taken.held
            self.counts.drop("late", taken.late)
            self.counts.drop("early", taken.early)
            return
        for reason, n in (("late", taken.late), ("early", taken.early)):
            if n:
                self.counts.reasons[reason] += n

    def tick(self, now_ns: int) -> Frame:
        """The results that are due."""
        return self._finish(self._sorter.tick(now_ns))

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The results of all that is held; what depends on times starts anew."""
        del delta_ns
        return self._finish(self._sorter.flush(), stepped=True)

    def _finish(self, ripe: Ripe, *, stepped: bool = False) -> Frame:
        if not self._keep:
            self.counts.queued -= ripe.count
            self.counts.aggregated += ripe.count
        with np.errstate(all="ignore"):
            out = self._advance(ripe.frame, ripe.marks)
            if stepped:
                out = concat([out, self._forget()])
        self.counts.derived += len(out)
        return out

    def _note(self, reason: str, n: int) -> None:
        """Count something worth knowing that costs no sample."""
        if n:
            self.counts.reasons[reason] += n

    @abc.abstractmethod
    def _advance(self, frame: Frame, marks: Times) -> Frame:
        """Results of samples in order; ``marks`` is how far each point is settled, [points]."""

    @abc.abstractmethod
    def _forget(self) -> Frame:
        """Let go of what depends on the clock that was stepped."""

    def snapshot(self) -> State:
        """What waits for its order; subclasses add their own."""
        return {"sorter": self._sorter.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._sorter.restore(state["sorter"])
