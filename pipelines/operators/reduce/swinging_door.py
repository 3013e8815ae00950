"""``swinging_door``: straight lines between samples, none further from what is left out than the bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import OperatorConfig
from pipelines.bounds import bound_of
from pipelines.operators.reduce.doors import Doors

if TYPE_CHECKING:
    from pipelines.base import Points


class SwingingDoorConfig(OperatorConfig, frozen=True, kw_only=True):
    """Send the samples between which straight lines pass all others within the bound.

    A receiver reconstructs by straight lines between neighbours (``pipelines/reconstruct.py``). Every sample left out
    lies within the bound of that line, which is tested for each of them: a sample is held as long as the line
    from the last one sent to it satisfies all in between; when one does not, the sample held is sent, and the
    next line begins there. Samples that are sent are as they came.

    A change of quality (historical aside), a NaN, an infinity, and a time that goes back or repeats that of the last
    sample sent end a line; the bound holds along times that do not go back. A state is left out only while it is
    constant. The newest sample of a point is held back (counted as queued) until its line ends or ``max_silence``
    has passed. Averages over what is left are wrong: windows belong into a pipeline of their own.

    Exactly one of ``absolute``, ``percent`` and ``epsilon`` is given. The bound is kept to the last bit while values
    are below 10^9 times the bound; beyond, the rounding of a double (2^-50 of the value) comes on top.

    E. H. Bristol, "Swinging door trending", ISA 1990, with the correction that the end of a line is the last point
    that satisfied the cone.

    Example::

        steps:
          - swinging_door: {epsilon: 0.5%, max_silence: 10m}
          - swinging_door: {absolute: 0.2, points: "*/temperature"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"absolute": 0.5},
        {"epsilon": "1%", "max_silence": "3s"},
        {"epsilon": 0.0, "max_silence": "1s"},
    )

    absolute: float | None = None
    """Largest distance of a line from a sample left out, in the point's unit; 0 leaves out what lies on the line."""
    percent: float | None = None
    """The same in percent of the range that the point's ``limits`` span; where a point has none, in percent of the
    value of the sample left out."""
    epsilon: float | str | None = None
    """The same in one word: ``0.2`` or ``0.5%``."""
    max_silence: Duration = Duration(600)
    """Longest source time between two samples of a point that goes on reporting; what is held back is also sent
    after so long on the gateway's clock."""

    def __post_init__(self) -> None:
        bound_of(self.absolute, self.percent, self.epsilon)
        if self.max_silence.ns <= 0:
            raise FieldError("max_silence", "must be longer than 0")

    def create(self, points: Points) -> SwingingDoor:
        """The operator for these options."""
        return SwingingDoor(points, bound_of(self.absolute, self.percent, self.epsilon), self.max_silence.ns)


class SwingingDoor(Doors):
    """See :class:`SwingingDoorConfig`; the rule itself is in :mod:`pipelines.operators.reduce.doors`."""

    touch: ClassVar[bool] = True
