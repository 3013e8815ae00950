"""An operator with somebody looking at what goes in and what comes out of it; changes nothing of what it does."""

from __future__ import annotations

from typing import Protocol

from gateway.frame import Frame
from pipelines.base import Operator, State
from pipelines.bounds import Bound


class Watcher(Protocol):
    """Sees a step's samples."""

    def saw(self, came: Frame, out: Frame, queued: int) -> None:
        """``came`` went in, and ``out`` came out then or in between; the step still holds ``queued``."""


class Watched(Operator):
    """See the top of the module; takes the place of the operator in its step, also of one that is only tried."""

    def __init__(self, operator: Operator, watchers: list[Watcher]) -> None:
        super().__init__()
        self.inner = operator
        self.counts = operator.counts
        self._watchers = watchers

    def _show(self, came: Frame, out: Frame) -> Frame:
        for watcher in self._watchers:
            watcher.saw(came, out, self.counts.queued)
        return out

    def process(self, frame: Frame) -> Frame:
        """See the base class."""
        return self._show(frame, self.inner.process(frame))

    def tick(self, now_ns: int) -> Frame:
        """See the base class."""
        return self._show_made(self.inner.tick(now_ns))

    def clock_stepped(self, delta_ns: int) -> Frame:
        """See the base class."""
        return self._show_made(self.inner.clock_stepped(delta_ns))

    def _show_made(self, out: Frame) -> Frame:
        return self._show(out.take(slice(0)), out) if len(out) else out

    @property
    def bound(self) -> Bound | None:
        """See the base class."""
        return self.inner.bound

    def set_bound(self, bound: Bound) -> None:
        """See the base class."""
        self.inner.set_bound(bound)

    def snapshot(self) -> State:
        """See the base class."""
        return self.inner.snapshot()

    def restore(self, state: State) -> None:
        """See the base class."""
        self.inner.restore(state)
