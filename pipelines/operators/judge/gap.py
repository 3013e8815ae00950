"""``gap``: points that fall silent are told, and so is the sample that ends the silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.frame import EMPTY, Frame, by_point, group_starts
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown
from pipelines.operators.judge.judging import check_span, judged
from pipelines.operators.judge.limits import Action

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Times
    from pipelines.base import Points

_STALE: Final = q.no_value(q.Reason.STALE)
_LAST: Final = (1 << 63) - 1


class GapConfig(OperatorConfig, frozen=True, kw_only=True):
    """A point that was heard of and then sends nothing for longer than ``after`` is stale.

    Once per silence one sample without a value is made for it, invalid with the reason stale and the flag old-data,
    stamped with the time of its last sample plus ``after``: from then on nobody knows. Silence is measured by the
    gateway's own steady clock, so that neither a wrong clock in a device nor a step of the gateway's makes one. Any
    sample ends it, also one without a value. The first one behind a gap is marked, because what it says may have
    waited somewhere: at least questionable with the flag old-data (IEC 61850-7-3); or dropped.

    Example::

        steps:
          - gap: {after: 60s}
          - gap: {after: 5m, tell: false, action: drop, points: "*/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"after": "2s"},
        {"after": "1s", "action": "drop"},
        {"after": "3s", "tell": False},
    )

    after: Duration = Duration(60)
    """How long a point may be silent."""
    tell: bool = True
    """Make a stale sample when a point has fallen silent."""
    action: Action = Action.MARK
    """``mark`` keeps the first sample behind a gap with a worse quality, ``drop`` removes it."""

    def __post_init__(self) -> None:
        check_span("after", self.after)

    def create(self, points: Points) -> Gap:
        """The operator for these options."""
        return Gap(self, points)


class Gap(Operator):
    """See :class:`GapConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: GapConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._after_ns = config.after.ns
        self._tell = config.tell
        self._action = config.action
        # By point id
        self._time: Times = np.empty(0, np.int64)
        """Source time of the last sample."""
        self._heard: Times = np.empty(0, np.int64)
        """The tick behind it; ``_LAST`` if there was none yet."""
        self._fresh: Mask = np.empty(0, np.bool_)
        """Heard of since the last tick."""
        self._gone: Mask = np.empty(0, np.bool_)
        """Silent for too long."""
        self._any_gone = False

    def process(self, frame: Frame) -> Frame:
        """All samples, the first one behind a gap marked; or without it."""
        if not len(frame):
            return frame
        self._grow()
        self._time[frame.point] = frame.time  # of several samples of a point the last assignment stays
        self._fresh[frame.point] = True
        if not self._any_gone:
            return frame
        behind = np.flatnonzero(self._gone[frame.point])
        if not len(behind):
            return frame
        behind = behind[by_point(frame.point[behind])]
        first = behind[group_starts(frame.point[behind])]
        self._gone[frame.point[first]] = False
        self._any_gone = bool(self._gone.any())
        return judged(frame, first, q.OLD_DATA, self._action, self.counts, "gap")

    def tick(self, now_ns: int) -> Frame:
        """A stale sample for each point that has fallen silent."""
        self._heard[self._fresh] = now_ns
        self._fresh[:] = False
        silent = (now_ns - self._after_ns > self._heard) & ~self._gone
        if not silent.any():
            return EMPTY
        self._gone |= silent
        self._any_gone = True
        if not self._tell:
            return EMPTY
        ids: Ids = np.flatnonzero(silent).astype(np.int32)
        self.counts.derived += len(ids)
        time = np.minimum(self._time[ids], _LAST - self._after_ns) + self._after_ns
        return Frame.of(ids, time, np.full(len(ids), _STALE), q.INVALID | q.OLD_DATA)

    def _grow(self) -> None:
        size = len(self._points)
        if size > len(self._time):
            self._time = grown(self._time, size)
            self._heard = grown(self._heard, size, _LAST)
            self._fresh = grown(self._fresh, size)
            self._gone = grown(self._gone, size)

    def snapshot(self) -> State:
        """When each point was heard of last, and which are silent."""
        known = np.flatnonzero(self._fresh | (self._heard != _LAST)).astype(np.int32)
        columns = {name: getattr(self, f"_{name}")[known] for name in ("time", "heard", "fresh", "gone")}
        return {"point": known, **columns}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._grow()
        known = state["point"]
        self._heard[:], self._fresh[:], self._gone[:] = _LAST, False, False
        for name in ("time", "heard", "fresh", "gone"):
            getattr(self, f"_{name}")[known] = state[name]
        self._any_gone = bool(self._gone.any())
