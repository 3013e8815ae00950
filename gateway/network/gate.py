"""The step between two versions of a service: which of a node's own samples each takes, by their own time.

So no sample counts in both, and no window of one is given again by the other, however late samples are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.config.model import step_struct
from pipelines.base import Operator, OperatorConfig

if TYPE_CHECKING:
    from gateway.config.model import StepBase
    from gateway.frame import Frame
    from pipelines.base import Points


class GateConfig(OperatorConfig, frozen=True, kw_only=True):
    """Lets samples pass from one moment on, and before another. No user writes it."""

    since_ns: int = 0
    """The first time that passes, UTC."""
    before_ns: int = 0
    """The first time that does not any more, UTC; 0: there is none."""

    def create(self, points: Points) -> Gate:
        """The operator for these options."""
        del points
        return Gate(self)


class Gate(Operator):
    """See :class:`GateConfig`; what does not pass counts as filtered."""

    def __init__(self, config: GateConfig) -> None:
        super().__init__()
        self._since_ns = config.since_ns
        self._before_ns = config.before_ns or np.iinfo(np.int64).max

    def process(self, frame: Frame) -> Frame:
        """The samples of its time."""
        passes = (frame.time >= self._since_ns) & (frame.time < self._before_ns)
        removed = len(frame) - int(np.count_nonzero(passes))
        self.counts.filtered += removed
        return frame.take(passes) if removed else frame


_STEP: Final = step_struct({"gate": GateConfig})
(_FIELD,) = _STEP.__struct_fields__


def gate(since_ns: int, before_ns: int) -> list[StepBase]:
    """The step; none where everything passes."""
    if not since_ns and not before_ns:
        return []
    return [_STEP(**{_FIELD: GateConfig(since_ns=since_ns, before_ns=before_ns)})]
