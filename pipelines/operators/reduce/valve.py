"""``valve``: lets everything through or nothing, by its bound. Behind the summaries of ``adapt:``, not for users.

A bound is what can be changed while a pipeline runs, at a place in the journal, so that a replay opens and shuts it
where it was. Open is a bound of 0, as nothing is lost; shut is 100 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from gateway.frame import EMPTY
from pipelines.base import Operator, OperatorConfig, State
from pipelines.bounds import Bound

if TYPE_CHECKING:
    from gateway.frame import Frame
    from pipelines.base import Points

OPEN: Final = Bound(absolute=0.0)
SHUT: Final = Bound(percent=100.0)


class ValveConfig(OperatorConfig, frozen=True, kw_only=True):
    """Everything or nothing; what is held back counts as filtered."""

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"open": True})

    open: bool = False
    """Whether it is open at first."""

    def create(self, points: Points) -> Valve:
        """The operator for these options."""
        del points
        return Valve(self)


class Valve(Operator):
    """See the module."""

    def __init__(self, config: ValveConfig) -> None:
        super().__init__()
        self._bound = OPEN if config.open else SHUT

    @property
    def bound(self) -> Bound:
        """:data:`OPEN` or :data:`SHUT`."""
        return self._bound

    def set_bound(self, bound: Bound) -> None:
        """Shut, if the bound is not 0."""
        self._bound = SHUT if bound.percent or bound.absolute else OPEN

    def process(self, frame: Frame) -> Frame:
        """All or none."""
        if self._bound == OPEN:
            return frame
        self.counts.filtered += len(frame)
        return EMPTY

    def snapshot(self) -> State:
        """Whether it is open."""
        return {"open": self._bound == OPEN}

    def restore(self, state: State) -> None:
        """See the base class."""
        self._bound = OPEN if state["open"] else SHUT
