"""``supply_quality``: sags, swells and interruptions of a voltage, and its ten-minute values against EN 50160."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway.errors import FieldError
from gateway.frame import EMPTY, concat, group_starts
from gateway.point import Kind
from gateway.units import Duration
from pipelines.operators.power.calendar import Calendar, Period, check_zone
from pipelines.operators.power.cells import DOUBTFUL, NOTED, REJECTED, words_of
from pipelines.operators.power.excursions import Excursions
from pipelines.operators.power.integrate import Integrator
from pipelines.operators.power.ordered import Ordered, PowerConfig, Table
from pipelines.operators.power.results import PLAIN, sealed, usable

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Frame, Ids, Mask, Times, Values
    from pipelines.base import Points, State
    from pipelines.operators.power.cells import Blocks
    from pipelines.operators.power.excursions import Ended

NEAR: Final = 0.10
"""Ten-minute values may lie this far from the nominal voltage; 95 % of them have to."""
SHARE: Final = 0.95
LOWEST, HIGHEST = 0.85, 1.10
"""Where all of them have to lie."""
_TEN_MINUTES_NS: Final = 600_000_000_000


class SupplyQualityConfig(PowerConfig, frozen=True, kw_only=True):
    """Events and ten-minute values of each voltage.

    **Events.** A sag (dip) begins when the voltage falls below ``sag`` times ``nominal`` and ends when it is back at
    ``sag`` plus ``hysteresis``; if it fell below ``interruption``, it is an interruption. A swell begins above
    ``swell`` and ends at ``swell`` less ``hysteresis``. When an event ends, ``m1/voltage#sag`` (``#interruption``,
    ``#swell``) tells the lowest or highest voltage in it and ``#sag_duration`` the time in s from the first sample
    outside to the first one back, both stamped with its end. Over a time longer than ``max_gap`` without a usable
    sample the event is questionable. Only events that the samples show can be found: with r.m.s. values of each half
    period (IEC 61000-4-30) that is every one, with values once a second only the long ones.

    **Ten-minute values.** ``#u10`` is the root mean square over ten minutes, stamped with the end. At the end of each
    ``period``, when the first ten-minute value of the next one comes, ``#within`` tells which part of the valid ones
    (0 to 1) lay within 10 % of ``nominal``, and ``#compliant`` (1 or 0) whether that is at least 95 % and all lay
    within +10 % and -15 %. Ten-minute values in which an interruption fell do not count, nor those that are not whole.
    The part of the period for which there are values decides the quality: below ``coverage`` it is questionable.

    Sources: EN 50160 (low voltage, normal operation), IEC 61000-4-30 (thresholds with hysteresis).

    Example::

        steps:
          - supply_quality: {nominal: 230, points: "*/voltage*"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"nominal": 230.0},
        {"nominal": 200.0, "sag": 0.8, "swell": 1.2, "period": "day", "lateness": "0s", "max_gap": "2s"},
        {"nominal": 5.0, "hysteresis": 0.0, "keep": False, "timezone": "Europe/Berlin"},
    )

    nominal: float
    """Nominal voltage in the unit of the points, such as 230."""
    sag: float = 0.9
    """A sag is below this part of the nominal voltage."""
    swell: float = 1.1
    """A swell is above this part of it."""
    interruption: float = 0.05
    """A sag that falls below this part is an interruption."""
    hysteresis: float = 0.02
    """How far, as a part of nominal, the voltage has to come back for an event to end."""
    max_gap: Duration = Duration(5)
    """How far samples may lie apart; a value holds no longer than this."""
    coverage: float = 0.9
    """Part of ten minutes, and of the ten-minute values of a period, that has to be known."""
    period: Period = Period.WEEK
    """Over what compliance is told: ``day``, ``week`` (EN 50160) or ``month`` of the local clock."""
    timezone: str = "UTC"
    """The local clock, such as ``Europe/Berlin``."""

    def __post_init__(self) -> None:
        if not 0 < self.nominal < math.inf:
            raise FieldError("nominal", "must be greater than 0")
        if not 0 <= self.interruption < self.sag < self.swell < math.inf:
            raise FieldError("sag", "interruption, sag and swell have to follow one another: 0.05, 0.9, 1.1")
        if not 0 <= self.hysteresis <= (self.swell - self.sag) / 2:
            raise FieldError("hysteresis", "must be 0 or more, and less than half of what lies between sag and swell")
        if not 0 < self.max_gap <= 600:
            raise FieldError("max_gap", "must be longer than 0 and at most 10m")
        if not 0 <= self.coverage <= 1:
            raise FieldError("coverage", "is a part, from 0 to 1")
        check_zone(self.timezone)

    def create(self, points: Points) -> SupplyQuality:
        """The operator for these options."""
        return SupplyQuality(self, points)


class SupplyQuality(Ordered):
    """See :class:`SupplyQualityConfig`."""

    def __init__(self, config: SupplyQualityConfig, points: Points) -> None:
        super().__init__(config, points)
        self._config = config
        unit, back = config.nominal, config.hysteresis
        self._sags = Excursions(config.sag * unit, (config.sag + back) * unit, config.max_gap.ns, below=True)
        self._swells = Excursions(config.swell * unit, (config.swell - back) * unit, config.max_gap.ns, below=False)
        self._lost = config.interruption * unit
        self._calendar = Calendar(config.timezone)
        phase = self._calendar.phase_ns(_TEN_MINUTES_NS)
        self._integrator = Integrator(_TEN_MINUTES_NS, phase, config.max_gap.ns, square=True)
        kinds = {"period": (np.int64, 0), "count": (np.int64, 0), "near": (np.int64, 0), "far": (np.int64, 0)}
        self._tally = Table(**kinds)
        """Ten-minute values of the period: how many, how many near nominal, how many too far off."""

    def _advance(self, frame: Frame, marks: Times) -> Frame:
        ok = usable(frame.value, frame.quality)
        samples = frame if ok.all() else frame.take(ok)
        size = len(self._points)
        sags, swells = self._sags.find(samples, size), self._swells.find(samples, size)
        lost = sags.extreme < self._lost
        blocks = self._integrator.advance(frame, marks, ok & (frame.value < self._lost))
        return concat(
            [
                self._events(sags.take(~lost), "#sag"),
                self._events(sags.take(lost), "#interruption"),
                self._events(swells, "#swell"),
                self._values(blocks),
            ]
        )

    def _events(self, events: Ended, suffix: str) -> Frame:
        if not len(events.point):
            return EMPTY
        values = self._points.derive(events.point, suffix, **PLAIN)
        times = self._points.derive(events.point, f"{suffix}_duration", **PLAIN | {"unit": "s"})
        seconds = ((events.end - events.start) * 1e-9).astype(np.float64)
        return concat(
            [
                sealed(values, events.end, events.extreme, events.quality),
                sealed(times, events.end, seconds, events.quality),
            ]
        )

    def _values(self, blocks: Blocks) -> Frame:
        if not len(blocks):
            return EMPTY
        end = self._integrator.begin(blocks.number + 1)
        partial = blocks.covered < self._config.coverage * _TEN_MINUTES_NS
        value = blocks.mean(square=True)
        ids = self._points.derive(blocks.point, "#u10", **PLAIN)
        counted = ~partial & np.isfinite(value) & ((blocks.marks & (NOTED | DOUBTFUL | REJECTED)) == 0)
        found = sealed(ids, end, value, words_of(blocks.marks, partial))
        return concat([found, self._count(blocks.point, end, value / self._config.nominal, counted)])

    def _count(self, point: Ids, end: Times, value: Values, counted: Mask) -> Frame:
        """Count ten-minute values, in turn for each point, and tell the periods that ended."""
        tally, periods, told = self._tally, self._calendar.numbers(end - 1, self._config.period), []
        tally.grow(len(self._points))
        at = group_starts(point)
        left = np.diff(at, append=len(point))
        while len(at):
            ids, period = point[at], periods[at]
            over = tally.known[ids] & (tally["period"][ids] != period)
            told.append(self._tell(ids[over]))
            fresh = over | ~tally.known[ids]
            good, near = counted[at], np.abs(value[at] - 1) <= NEAR
            far = (value[at] < LOWEST) | (value[at] > HIGHEST)
            tally.set(
                ids,
                period=period,
                count=np.where(fresh, 0, tally["count"][ids]) + good,
                near=np.where(fresh, 0, tally["near"][ids]) + (good & near),
                far=np.where(fresh, 0, tally["far"][ids]) + (good & far),
            )
            at, left = at[left > 1] + 1, left[left > 1] - 1
        return concat(told)

    def _tell(self, ids: Ids) -> Frame:
        """The results of the periods that ended for some points."""
        if not len(ids):
            return EMPTY
        tally, period = self._tally, self._tally["period"][ids]
        count, near, far = (tally[name][ids] for name in ("count", "near", "far"))
        end = self._calendar.ends(period, self._config.period)
        begin = self._calendar.ends(period - 1, self._config.period)
        share = np.where(count > 0, near / np.maximum(count, 1), np.nan)
        whole = count * _TEN_MINUTES_NS >= self._config.coverage * (end - begin)
        word = words_of(np.zeros(len(ids), np.uint32), ~whole)
        compliant = np.where(count > 0, (share >= SHARE) & (far == 0), np.nan)
        parts = self._points.derive(ids, "#within", **PLAIN | {"unit": "1", "limits": (0.0, 1.0)})
        yes = self._points.derive(ids, "#compliant", **PLAIN | {"unit": "", "kind": Kind.STATE})
        return concat([sealed(parts, end, share, word), sealed(yes, end, compliant.astype(np.float64), word)])

    def _forget(self) -> Frame:
        """Open events are forgotten, the ten minutes end; the tally of the period stays."""
        self._sags.clear()
        self._swells.clear()
        return self._values(self._integrator.clear())

    def snapshot(self) -> State:
        """What waits, open events, the open ten minutes, and the tally of the period."""
        own: dict[str, npt.NDArray[Any] | State] = {
            "sags": self._sags.snapshot(),
            "swells": self._swells.snapshot(),
            "blocks": self._integrator.snapshot(),
            "tally": self._tally.snapshot(),
        }
        return {**super().snapshot(), **own}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._sags.restore(state["sags"])
        self._swells.restore(state["swells"])
        self._integrator.restore(state["blocks"])
        self._tally.restore(state["tally"])
