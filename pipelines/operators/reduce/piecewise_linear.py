"""``piecewise_linear``: connected straight lines within the bound, which need not end at samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import OperatorConfig
from pipelines.bounds import bound_of
from pipelines.operators.reduce.doors import Doors

if TYPE_CHECKING:
    from pipelines.base import Points


class PiecewiseLinearConfig(OperatorConfig, frozen=True, kw_only=True):
    """Send the corners of a chain of straight lines that passes every sample within the bound.

    A corner has the time and the quality of a sample; its value may differ from what came, by no more than the bound.
    A receiver reconstructs by straight lines between neighbours (``pipelines/reconstruct.py``); every sample, left out
    or not, lies within the bound of what is reconstructed. A line goes on while some line from its beginning passes
    all its samples within the bound (the swing filter); it ends at the newest of them, at the possible value
    that is nearest to what came. On signals with noise that needs fewer samples than ``swinging_door``, at the price
    of values that were never measured.

    A change of quality (historical aside), a NaN, an infinity, and a time that goes back or repeats that of the last
    sample sent end a line; the bound holds along times that do not go back. A state is left out only while it is
    constant. The newest sample of a point is held back (counted as queued) until its line ends or ``max_delay``
    has passed. Averages over what is left are wrong: windows belong into a pipeline of their own.

    Exactly one of ``absolute``, ``percent`` and ``epsilon`` is given. The bound is kept to the last bit while values
    are below 10^9 times the bound; beyond, the rounding of a double (2^-50 of the value) comes on top.

    H. Elmeleegy et al., "Online Piece-wise Linear Approximation of Numerical Streams with Precision Guarantees",
    PVLDB 2(1), 2009; the value of a corner is ours.

    Example::

        steps:
          - piecewise_linear: {epsilon: 0.5%, max_delay: 1m}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"absolute": 0.5},
        {"epsilon": "1%", "max_delay": "3s"},
        {"epsilon": 0.0, "max_delay": "1s"},
    )

    absolute: float | None = None
    """Largest distance of a line from any sample, in the point's unit; 0 leaves out what lies on the line."""
    percent: float | None = None
    """The same in percent of the range that the point's ``limits`` span; where a point has none, in percent of the
    sample's value."""
    epsilon: float | str | None = None
    """The same in one word: ``0.2`` or ``0.5%``."""
    max_delay: Duration = Duration(600)
    """Longest source time that one line spans while the point goes on reporting; what is held back is also sent
    after so long on the gateway's clock."""

    def __post_init__(self) -> None:
        bound_of(self.absolute, self.percent, self.epsilon)
        if self.max_delay.ns <= 0:
            raise FieldError("max_delay", "must be longer than 0")

    def create(self, points: Points) -> PiecewiseLinear:
        """The operator for these options."""
        return PiecewiseLinear(points, bound_of(self.absolute, self.percent, self.epsilon), self.max_delay.ns)


class PiecewiseLinear(Doors):
    """See :class:`PiecewiseLinearConfig`; the rule itself is in :mod:`pipelines.operators.reduce.doors`."""

    touch: ClassVar[bool] = False
