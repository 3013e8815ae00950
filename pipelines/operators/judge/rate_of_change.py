"""``rate_of_change``: values that change faster than they can are marked or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.judge.judging import Amount, Amounts, check_amount, judged, seconds
from pipelines.operators.judge.limits import Action
from pipelines.operators.judge.succession import Succession

if TYPE_CHECKING:
    from gateway.frame import Frame
    from pipelines.base import Points


class RateOfChangeConfig(OperatorConfig, frozen=True, kw_only=True):
    """A value may not rise or fall by more than so much a second.

    Each sample is compared with the last usable one before it in source time, whether that one was marked or not:
    a step is marked once, a spike on its way up and on its way down (see ``spike`` for those). The longer the time
    between the two, the more the value may have changed. Samples out of order are no change. ``mark`` makes the
    quality at least questionable with the flag inconsistent (IEC 61850-7-3: an evaluation function has found an
    inconsistency). States and samples without a value pass untouched.

    Example::

        steps:
          - rate_of_change: {max: 50, points: "*/temperature"}
          - rate_of_change: {up: 10%, down: 20%, action: drop}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"max": 10.0},
        {"up": "5%", "action": "drop"},
        {"max": "1%", "down": 0.0},
    )

    max: Amount | None = None
    """Largest change a second, either way: in the point's unit (``50``), or in percent (``5%``) of the range that
    the point's ``limits`` span, without limits of the value before."""
    up: Amount | None = None
    """The same for rising values only; left out: ``max``."""
    down: Amount | None = None
    """The same for falling values only; left out: ``max``."""
    action: Action = Action.MARK
    """``mark`` keeps an implausible value with a worse quality, ``drop`` removes it."""

    def __post_init__(self) -> None:
        for field in ("max", "up", "down"):
            check_amount(field, getattr(self, field))
        if self.max is None and self.up is None and self.down is None:
            raise FieldError((), "needs max, up or down: the largest change a second, 5 or 5%")

    def create(self, points: Points) -> RateOfChange:
        """The operator for these options."""
        return RateOfChange(self, points)


class RateOfChange(Operator):
    """See :class:`RateOfChangeConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: RateOfChangeConfig, points: Points) -> None:
        super().__init__()
        self._action = config.action
        up = config.max if config.up is None else config.up
        down = config.max if config.down is None else config.down
        self._up = Amounts(points, up)
        self._down = self._up if up == down else Amounts(points, down)
        self._last = Succession(points)

    def process(self, frame: Frame) -> Frame:
        """All samples, those marked that changed too fast; or without those."""
        steps = self._last.follow(frame)
        if steps is None:
            return frame
        with np.errstate(invalid="ignore", over="ignore"):
            passed = seconds(steps.time, steps.before_time)
            rise = steps.value - steps.before_value  # a NaN where a point begins, which is beyond nothing
            if self._up is self._down:
                found = np.abs(rise) > self._up.of(steps.ids, steps.before_value) * passed
            else:
                found = rise > self._up.of(steps.ids, steps.before_value) * passed
                found |= -rise > self._down.of(steps.ids, steps.before_value) * passed
        if not found.any():
            return frame
        return judged(frame, steps.found(found), q.INCONSISTENT, self._action, self.counts, "rate-of-change")

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Sources' times may have jumped with the clock: every point begins anew."""
        self._last.forget()
        return super().clock_stepped(delta_ns)

    def snapshot(self) -> State:
        """The last sample of each point."""
        return self._last.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._last.restore(state)
