"""``interval_mean``: means over intervals of time, with the part of the interval that is known."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.errors import FieldError
from gateway.frame import concat
from gateway.units import Duration
from pipelines.operators.power.calendar import Calendar, check_zone
from pipelines.operators.power.cells import words_of
from pipelines.operators.power.integrate import Integrator
from pipelines.operators.power.ordered import Ordered, PowerConfig
from pipelines.operators.power.results import PLAIN, sealed

if TYPE_CHECKING:
    from gateway.frame import Frame, Times
    from pipelines.base import Points, State
    from pipelines.operators.power.cells import Blocks


class Of(enum.StrEnum):
    """Which mean."""

    MEAN = "mean"
    RMS = "rms"


class IntervalMeanConfig(PowerConfig, frozen=True, kw_only=True):
    """The mean of each point over intervals that follow one another, stamped with their end.

    ``m1/power#mean`` is in the point's unit, ``m1/power#coverage`` the part of the interval (0 to 1) that is known.
    A value holds until the next sample, but not longer than ``max_gap``: what lies behind is not covered. For samples
    at an even pace that is their mean. A sample without a usable value holds nothing and makes the result
    questionable and inaccurate, as does a coverage below ``coverage``. An interval in which nothing is covered, but
    in which unusable samples came, gives an invalid result; one without any sample gives none.

    For voltages, ``of: rms`` is the root of the mean square.

    The rule is that of CSIP-AUS telemetry (averages of 5 min stamped with their end, from samples at most 5 s apart)
    and of the aggregation of IEC 61000-4-30.

    Example::

        steps:
          - interval_mean: {every: 5m, points: "*/power"}
          - interval_mean: {of: rms, points: "*/voltage"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"every": "2s", "max_gap": "1s", "lateness": "500ms"},
        {"every": "5m", "of": "rms", "timezone": "Asia/Kathmandu", "keep": False},
    )

    every: Duration = Duration(300)
    """Length of an interval, at most an hour; intervals begin at multiples of it on the local clock."""
    of: Of = Of.MEAN
    """``mean``, or ``rms``: the root of the mean square, for voltages and currents."""
    max_gap: Duration = Duration(5)
    """How far samples may lie apart; a value holds no longer than this."""
    coverage: float = 0.9
    """Part of the interval that has to be known; below it the result is questionable and inaccurate."""
    timezone: str = "UTC"
    """The local clock, such as ``Europe/Berlin``; matters for zones that are not whole intervals off UTC."""

    def __post_init__(self) -> None:
        if not 0.001 <= self.every <= 3600:
            raise FieldError("every", "must be from 1ms to 1h")
        if not 0 < self.max_gap <= self.every:
            raise FieldError("max_gap", "must be longer than 0 and at most as long as every")
        if not 0 <= self.coverage <= 1:
            raise FieldError("coverage", "is a part of the interval, from 0 to 1")
        check_zone(self.timezone)

    def create(self, points: Points) -> IntervalMean:
        """The operator for these options."""
        return IntervalMean(self, points)


class IntervalMean(Ordered):
    """See :class:`IntervalMeanConfig`."""

    def __init__(self, config: IntervalMeanConfig, points: Points) -> None:
        super().__init__(config, points)
        self._every_ns, self._least, self._rms = config.every.ns, config.coverage, config.of is Of.RMS
        phase = Calendar(config.timezone).phase_ns(self._every_ns)
        self._integrator = Integrator(self._every_ns, phase, config.max_gap.ns, square=self._rms)

    def _advance(self, frame: Frame, marks: Times) -> Frame:
        return self._results(self._integrator.advance(frame, marks))

    def _forget(self) -> Frame:
        return self._results(self._integrator.clear())

    def _results(self, blocks: Blocks) -> Frame:
        if not len(blocks):
            return concat([])
        end = self._integrator.begin(blocks.number + 1)
        coverage = blocks.covered / self._every_ns
        word = words_of(blocks.marks, coverage < self._least)
        mean = blocks.mean(square=self._rms)
        means = self._points.derive(blocks.point, "#mean", **PLAIN)
        parts = self._points.derive(blocks.point, "#coverage", **PLAIN | {"unit": "1", "limits": (0.0, 1.0)})
        return concat([sealed(means, end, mean, word), sealed(parts, end, coverage, word)])

    def snapshot(self) -> State:
        """What waits, and the open intervals."""
        return {**super().snapshot(), "blocks": self._integrator.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._integrator.restore(state["blocks"])
