"""``scale``: a linear correction of values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway.errors import FieldError
from gateway.quality import is_invalid
from pipelines.base import Operator, OperatorConfig

if TYPE_CHECKING:
    from gateway.frame import Frame
    from pipelines.base import Points


class ScaleConfig(OperatorConfig, frozen=True, kw_only=True):
    """Value times ``factor`` plus ``offset``.

    For instrument corrections and for registers that the profile left raw. The point keeps its name and
    its unit: say the unit of the corrected value where the point is declared. Invalid samples pass untouched.

    Example::

        steps:
          - scale: {factor: 0.1, offset: -40, points: "*/temperature"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"factor": 0.1, "offset": -40.0},
        {"factor": -1.0},
    )

    factor: float = 1.0
    """What a value is multiplied with first; not 0, because that would erase it."""
    offset: float = 0.0
    """What is added afterwards, in the unit of the result."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.factor) or self.factor == 0:
            raise FieldError("factor", "must be a finite number other than 0")
        if not math.isfinite(self.offset):
            raise FieldError("offset", "must be a finite number")

    def create(self, points: Points) -> Scale:
        """The operator for these options."""
        del points
        return Scale(self)


class Scale(Operator):
    """See :class:`ScaleConfig`. Overflow gives an infinity, which ``limits`` finds."""

    def __init__(self, config: ScaleConfig) -> None:
        super().__init__()
        self._factor = config.factor
        self._offset = config.offset

    def process(self, frame: Frame) -> Frame:
        """All samples, the usable ones corrected."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = frame.value * self._factor + self._offset
        # A NaN stays the very same bits: its payload is the reason why there is no value.
        untouched = is_invalid(frame.quality) | np.isnan(frame.value)
        if untouched.any():
            scaled = np.where(untouched, frame.value, scaled)
        return frame.replace(value=scaled)
