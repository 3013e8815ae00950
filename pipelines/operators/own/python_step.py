"""The operator of the step ``python``: columns to the worker and back, and what became of the samples."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from gateway.errors import TooManyPointsError
from gateway.frame import EMPTY, Frame
from gateway.point import Point
from pipelines.base import Operator, State, StateClass, grown
from pipelines.operators.own.python import OnTimeout, PythonConfig
from pipelines.operators.own.python_host import CallError, Host

if TYPE_CHECKING:
    from gateway.frame import Ids
    from pipelines.base import Points

_NONE: Final = -1


class Python(Operator):
    """See :class:`pipelines.operators.own.python.PythonConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED
    joins: ClassVar[bool] = True

    def __init__(self, config: PythonConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._drops = config.on_timeout is OnTimeout.DROP
        self._host = Host(
            told=f"{config.class_} of {config.file}",
            facts={
                "file": str(Path(config.file).absolute()),
                "class": config.class_,
                "options": config.options,
                "memory": int(config.memory),
                "timeout": float(config.timeout),
                "start_timeout": float(config.start_timeout),
            },
        )
        weakref.finalize(self, self._host.close)
        self._number: Ids = np.empty(0, np.int32)
        """By point id, the number that the class knows the point by."""
        self._id: Ids = np.empty(0, np.int32)
        """The inverse; below 0 where the directory is full."""

    def process(self, frame: Frame) -> Frame:
        """What the class makes of the samples."""
        if not len(frame):
            return frame
        numbers = self._numbers(frame.point)
        try:
            made = self._host.process(frame.replace(point=numbers))
        except CallError as error:
            return self._unanswered(frame, f"python-{error.reason}")
        out = self._named(made)
        self._account(numbers, self._number[out.point])
        return out

    def _numbers(self, ids: Ids) -> Ids:
        """The number of each sample's point, [n]; points are numbered in the order in which they come."""
        self._number = grown(self._number, len(self._points), _NONE)
        numbers: Ids = self._number[ids]
        if numbers.min() < 0:
            fresh, first = np.unique(ids[numbers < 0], return_index=True)
            self._host.names += [self._points.name(point) for point in fresh[np.argsort(first)].tolist()]
            self._learn()
            numbers = self._number[ids]
        return numbers

    def _learn(self) -> None:
        """Find or make the points of names that are new."""
        names = self._host.names
        if len(names) == len(self._id):
            return
        fresh = [self._point(name) for name in names[len(self._id) :]]
        known = np.array(fresh, np.int32)
        self._number = grown(self._number, len(self._points), _NONE)
        there = known != _NONE
        self._number[known[there]] = (np.arange(len(fresh)) + len(self._id))[there]
        self._id = np.append(self._id, known)

    def _point(self, name: str) -> int:
        found = self._points.find(name)
        if found is not None:
            return found
        try:
            return self._points.make(Point(name=name, unit=self._host.units.get(name, "")))
        except TooManyPointsError:
            return _NONE

    def _named(self, made: Frame) -> Frame:
        """The samples under the ids of their points."""
        self._learn()
        ids = self._id[made.point]
        out = made.replace(point=ids)
        if len(ids) and ids.min() < 0:
            self.counts.reasons["too-many-points"] += int(np.count_nonzero(ids < 0))
            out = out.take(ids >= 0)
        return out

    def _account(self, came: Ids, went: Ids) -> None:
        """Of each point as many samples passed as went out, at most those that came; the rest is the class's own."""
        size = len(self._host.names)
        passed = int(np.minimum(np.bincount(came, minlength=size), np.bincount(went, minlength=size)).sum())
        self.counts.filtered += len(came) - passed
        self.counts.derived += len(went) - passed

    def _unanswered(self, frame: Frame, reason: str) -> Frame:
        if self._drops:
            self.counts.drop(reason, len(frame))
            return EMPTY
        self.counts.reasons[reason] += len(frame)
        return frame

    def tick(self, now_ns: int) -> Frame:
        """What the class makes of it, if it has the method."""
        if not self._host.has("tick"):
            return EMPTY
        try:
            out = self._named(self._host.tick(now_ns))
        except CallError as error:
            self.counts.reasons[f"python-tick-{error.reason}"] += 1
            return EMPTY
        self.counts.derived += len(out)
        return out

    def snapshot(self) -> State:
        """The names by number, and what the class says of itself; late: what it said the last time."""
        state = self._host.snapshot()
        held = {} if state is None else {"held": np.frombuffer(state, np.uint8).copy()}
        return {"names": list(self._host.names), "units": dict(self._host.units), **held}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`; a worker begins with it at the next samples."""
        held = state.get("held")
        self._host.renew(state["names"], state["units"], None if held is None else held.tobytes())
        self._number, self._id = self._number[:0], self._id[:0]
        self._learn()
