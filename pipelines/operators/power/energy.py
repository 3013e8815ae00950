"""``energy``: what went through a meter, from the readings of its counter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, concat
from gateway.point import Kind, Merge
from gateway.units import Duration
from pipelines.operators.facts import Facts
from pipelines.operators.power.calendar import Calendar, check_zone
from pipelines.operators.power.cells import REJECTED, Blocks, Cells, marks_of, words_of
from pipelines.operators.power.counter import ESTIMATED, IMPLAUSIBLE, Readings, Steps
from pipelines.operators.power.ordered import Ordered, PowerConfig
from pipelines.operators.power.quantities import power_of, watt_hours
from pipelines.operators.power.results import marked, sealed, usable

if TYPE_CHECKING:
    from gateway.frame import Frame, Times
    from gateway.point import Point
    from pipelines.base import Points, State

MAX_SPREAD: Final = 1_000
"""Energy of a gap of more intervals than this is not spread over them; it counts in the last one."""
_DELTA: Final[dict[str, Any]] = {"kind": Kind.GAUGE, "limits": None, "merge": Merge.ADD}


class EnergyConfig(PowerConfig, frozen=True, kw_only=True):
    """The energy between two readings of a counter, or in intervals, in the counter's own unit.

    ``m1/energy_import#delta`` is what the counter went on by since the reading before, stamped with the later one.
    With ``every`` it is the energy of an interval, stamped with its end: what was counted between two readings is
    shared out by time.

    No difference is taken that is not physically possible: more than ``rated`` times the time since the counter last
    moved, times 1.5, plus one step of its resolution.

    * A counter that went back has wrapped at ``rollover`` if the difference is possible then; else it was reset, and
      what it shows has been counted since (estimated, as what came before is lost). Resets are told from the values,
      never from the clock.
    * A step that is not possible gives an invalid delta (out of range). If the reading after next fits the one before
      the jump, it was a wild reading and nothing is lost; otherwise the counter goes on from where it is.
    * A zero of a lifetime counter is dropped: inverters say it at night.
    * The difference over a gap of more than ``max_gap`` is right in total, but estimated where it is shared out.

    Estimated is: at least questionable, and inaccurate. An interval that was not observed from its begin is estimated
    too. Readings without a usable value say nothing: the next one covers their time.

    ``rated`` with a unit needs counters with a unit of energy (``kW.h``, ``MJ``, ``kvar.h`` ...); others give no delta
    and are counted as ``no-energy-unit``.

    Example::

        steps:
          - energy: {points: "*/energy_import", rated: 60kW, rollover: 1000000}
          - energy: {points: "*/yield_today", rated: 5kW, lifetime: false, every: 15m}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"rated": "60kW", "rollover": 1e9},
        {"rated": 360000.0, "rollover": 300.0, "max_gap": "3s", "lifetime": False},
        {"rated": 1e6, "every": "2s", "lateness": "0s", "max_gap": "2s", "keep": False},
    )

    rated: float | str
    """The largest power there can be, such as ``60kW`` or ``100kvar``; a number is in units of the counter an hour."""
    rollover: float | None = None
    """The reading at which the counter begins again with 0, in its unit, such as 42949672.96 for 32 bits of 0.01;
    left out: it never wraps."""
    lifetime: bool = True
    """Whether the counter runs for the life of the meter; then its zeros are dropped. false: it begins anew each day
    or month."""
    max_gap: Duration = Duration(900)
    """Longest time between two readings that is no gap."""
    every: Duration | None = None
    """Length of intervals; left out: a delta for each reading. At most a day, from multiples on the local clock."""
    timezone: str = "UTC"
    """The local clock of the intervals, such as ``Europe/Berlin``."""

    def __post_init__(self) -> None:
        if isinstance(self.rated, str):
            try:
                power_of(self.rated)
            except ValueError as error:
                raise FieldError("rated", str(error)) from None
        elif not 0 < self.rated < math.inf:
            raise FieldError("rated", "must be greater than 0")
        if self.rollover is not None and not 0 < self.rollover < math.inf:
            raise FieldError("rollover", "must be greater than 0")
        if self.max_gap.ns <= 0:
            raise FieldError("max_gap", "must be longer than 0")
        if self.every is not None and not 0.001 <= self.every <= 86400:
            raise FieldError("every", "must be from 1ms to 1d")
        check_zone(self.timezone)

    def create(self, points: Points) -> Energy:
        """The operator for these options."""
        return Energy(self, points)


class Energy(Ordered):
    """See :class:`EnergyConfig`; the rule of a step is in :mod:`pipelines.operators.power.counter`."""

    def __init__(self, config: EnergyConfig, points: Points) -> None:
        super().__init__(config, points)
        self._rated = config.rated
        self._lifetime = config.lifetime
        facts = Facts(points, 2, self._of_point)
        self._readings = Readings(facts, config.rollover, config.max_gap.ns)
        self._every_ns = 0 if config.every is None else config.every.ns
        self._phase_ns = Calendar(config.timezone).phase_ns(self._every_ns) if self._every_ns else 0
        self._cells = Cells()

    def _of_point(self, point: Point) -> tuple[float, float]:
        """The most that the counter can grow by in a second, in its unit, and one step of it; NaN where unknown."""
        if isinstance(self._rated, str):
            unit = watt_hours(point.unit)
            hourly = math.nan if unit is None else power_of(self._rated) / unit
        else:
            hourly = self._rated
        return hourly / 3600, point.resolution or 0.0

    def process(self, frame: Frame) -> Frame:
        """The readings, less the zeros of lifetime counters."""
        if self._lifetime:
            zero = frame.value == 0
            n = int(np.count_nonzero(zero))
            if n:
                self.counts.drop("lifetime-zero", n)
                frame = frame.take(~zero)
        return super().process(frame)

    def _advance(self, frame: Frame, marks: Times) -> Frame:
        del marks
        ok = usable(frame.value, frame.quality)
        steps = self._readings.steps(frame if ok.all() else frame.take(ok), len(self._points))
        if steps is None:
            return EMPTY
        for reason, n in steps.reasons.items():
            self._note(reason, n)
        return self._intervals(steps) if self._every_ns else self._deltas(steps)

    def _deltas(self, steps: Steps) -> Frame:
        ids = self._points.derive(steps.point, "#delta", **_DELTA)
        word = marked(steps.quality, (steps.flags & ESTIMATED) > 0)
        bad = (steps.flags & IMPLAUSIBLE) > 0
        word = np.where(bad, q.worse(word, q.INVALID, q.OUT_OF_RANGE), word).astype(np.uint16)
        value = np.where(bad, q.no_value(q.Reason.NO_VALID_SAMPLES), steps.delta)
        return sealed(ids, steps.time, value, word)

    def _intervals(self, steps: Steps) -> Frame:
        self._cells.add(self._spread(steps))
        before = np.full(len(self._points), np.iinfo(np.int64).min, np.int64)
        np.maximum.at(before, steps.point, self._number(steps.settled))
        return self._results(self._cells.pop(before))

    def _number(self, time: Times) -> Times:
        return (time + self._phase_ns) // self._every_ns

    def _spread(self, steps: Steps) -> Blocks:
        """Each step's energy, shared out by time to the intervals that it touches."""
        bad = (steps.flags & IMPLAUSIBLE) > 0
        estimated = (steps.flags & ESTIMATED) > 0
        bits = marks_of(steps.quality, np.ones(len(bad), np.bool_)) | np.where(estimated, REJECTED, 0).astype(np.uint32)
        first, final = self._number(steps.since), self._number(steps.time - 1)
        first = np.where(final - first >= MAX_SPREAD, final, np.minimum(first, final))
        count = final - first + 1
        which = np.repeat(np.arange(len(steps.point)), count)
        number = np.repeat(first, count) + np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        begin = number * self._every_ns - self._phase_ns
        span = np.minimum(steps.time[which], begin + self._every_ns) - np.maximum(steps.since[which], begin)
        whole = (steps.time - steps.since)[which]
        delta = np.where(bad, 0.0, steps.delta)[which]
        share = np.where(count[which] == 1, delta, delta * (span / np.maximum(whole, 1)))
        return Blocks(steps.point[which], number, share, np.where(bad[which], 0, span), bits[which])

    def _results(self, blocks: Blocks) -> Frame:
        if not len(blocks):
            return EMPTY
        end = (blocks.number + 1) * self._every_ns - self._phase_ns
        ids = self._points.derive(blocks.point, "#delta", **_DELTA | {"resolution": None})
        amount = np.where(blocks.covered > 0, blocks.amount, q.no_value(q.Reason.NO_VALID_SAMPLES))
        return sealed(ids, end, amount, words_of(blocks.marks, blocks.covered < self._every_ns))

    def _forget(self) -> Frame:
        """Intervals end; the last reading stays, without its time."""
        self._readings.untimed()
        return self._results(self._cells.clear()) if self._every_ns else concat([])

    def snapshot(self) -> State:
        """What waits, the last readings, and the open intervals."""
        return {**super().snapshot(), "readings": self._readings.snapshot(), "open": self._cells.open.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._readings.restore(state["readings"])
        self._cells.open = Blocks.restored(state["open"])
