"""``state_of_charge``: of a battery, by counting its charge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame
from gateway.units import Duration
from pipelines.operators.aligned import worst_of
from pipelines.operators.power.joined import Joined, JoinedConfig, check_names
from pipelines.operators.power.ordered import Table
from pipelines.operators.power.results import marked, sealed, usable
from pipelines.operators.power.runs import firsts, walk

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Values
    from pipelines.base import Points, State
    from pipelines.operators.aligned import Rows


class StateOfChargeConfig(JoinedConfig, frozen=True, kw_only=True):
    """The state of charge of each battery in percent of its capacity.

    Coulomb counting: charge is the integral of the current, positive when it charges (``invert`` for the other sign),
    times ``efficiency`` while it charges. A current holds until the next one, but not longer than ``max_gap``: over a
    longer gap nothing is counted and the result is questionable and inaccurate from then on. The result stays between
    ``min`` and ``max``.

    Counting drifts, so it is set right where the truth is known: to ``max`` when the voltage has reached
    ``full_voltage`` with a charging current of at most ``full_current`` (the battery is full), to ``min`` when it
    fell to ``empty_voltage``. That also ends the doubt. Before, it counts from ``initial`` (questionable), or is
    invalid if that is left out.

    ``m1/soc`` is told with each sample of either input. Without a usable current nothing is told; the time counts as a
    gap if it is too long.

    Example::

        steps:
          - state_of_charge: {current: "*/current", capacity: 280, voltage: "*/voltage", full_voltage: 56.8}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"current": "*/power", "capacity": 0.01, "initial": 50.0},
        {
            "current": "*/power", "voltage": "*/voltage", "capacity": 0.05, "full_voltage": 300.0, "full_current": 5.0,
            "empty_voltage": 0.3, "max_gap": "3s", "lateness": "0s",
        },
        {"current": "m1/power", "capacity": 0.01, "initial": 5.0, "set": "site/soc", "invert": True, "keep": False},
    )  # fmt: skip

    current: str
    """The current in A; ``*`` stands for the device."""
    capacity: float
    """Capacity of the battery in A.h."""
    voltage: str | None = None
    """The voltage by which a full or empty battery is known."""
    full_voltage: float | None = None
    """At this voltage, charging with at most ``full_current``, the battery is full."""
    full_current: float | None = None
    """See ``full_voltage``, in A; left out: 5 % of the capacity in an hour."""
    empty_voltage: float | None = None
    """At this voltage the battery is empty."""
    initial: float | None = None
    """The state of charge to begin with in percent; left out: none is told until the battery was full or empty."""
    efficiency: float = 1.0
    """Part of the charge that goes in which comes out again: about 0.99 for lithium, 0.85 for lead."""
    invert: bool = False
    """The current is positive when it discharges."""
    min: float = 0.0
    """The state of charge of an empty battery in percent."""
    max: float = 100.0
    """The state of charge of a full battery in percent."""
    max_gap: Duration = Duration(60)
    """How long a current or a voltage holds at most."""
    set: str = "{device}/soc"
    """The name of the result; ``{device}`` is what ``*`` stands for."""

    def __post_init__(self) -> None:
        if not 0 < self.capacity < math.inf:
            raise FieldError("capacity", "must be greater than 0")
        if not 0 < self.efficiency <= 1:
            raise FieldError("efficiency", "is a part, greater than 0 and at most 1")
        if not 0 <= self.min < self.max <= 100:
            raise FieldError("min", "min and max have to follow one another within 0 and 100")
        if self.initial is not None and not self.min <= self.initial <= self.max:
            raise FieldError("initial", "must lie between min and max")
        if self.voltage is None and (self.full_voltage is not None or self.empty_voltage is not None):
            raise FieldError("voltage", "is needed to know a full or empty battery")
        if self.full_voltage is None and self.empty_voltage is None and self.initial is None:
            raise FieldError("initial", "needs a value, or full_voltage or empty_voltage, or nothing is ever told")
        if self.max_gap.ns <= 0:
            raise FieldError("max_gap", "must be longer than 0")
        check_names(self.set, self.inputs, "current")

    @property
    def inputs(self) -> list[str]:
        """Current and perhaps voltage."""
        return [self.current] if self.voltage is None else [self.current, self.voltage]

    def create(self, points: Points) -> StateOfCharge:
        """The operator for these options."""
        return StateOfCharge(self, points)


class StateOfCharge(Joined):
    """See :class:`StateOfChargeConfig`. Clipping makes it a true recursion: batteries go side by side."""

    def __init__(self, config: StateOfChargeConfig, points: Points) -> None:
        super().__init__(config, points, config.inputs, config.set)
        self._config = config
        self._max_gap_ns = config.max_gap.ns
        self._tail = 0.05 * config.capacity if config.full_current is None else config.full_current
        initial = math.nan if config.initial is None else config.initial
        self._battery = Table(
            soc=(np.float64, initial), current=(np.float64, 0), time=(np.int64, 0), timed=(np.bool_, 0),
            doubt=(np.bool_, 1),
        )  # fmt: skip

    def _results(self, rows: Rows) -> Frame:
        ok = usable(rows.value, rows.quality)
        mine = ok[:, 0]
        if not mine.any():
            return EMPTY
        group, time, word = rows.group[mine], rows.time[mine], worst_of(rows.quality[mine][:, :1])
        current = rows.value[mine, 0] * (-1.0 if self._config.invert else 1.0)
        voltage = np.where(ok[mine, 1], rows.value[mine, 1], np.nan) if rows.value.shape[1] > 1 else None
        self._battery.grow(int(group.max()) + 1)
        change, gap = self._changes(group, time, current)
        known = self._known(current, voltage)
        soc, doubt = self._count(group, change, gap, known)
        _, last = firsts(group)
        self._battery.set(
            group[last], soc=soc[last], doubt=doubt[last], current=current[last], time=time[last],
            timed=np.ones(len(last), np.bool_),
        )  # fmt: skip
        ids = self.ids(group, "", unit="%", limits=(0.0, 100.0))
        soc = np.where(np.isnan(soc), q.no_value(q.Reason.NO_VALID_SAMPLES), soc)
        return sealed(ids, time, soc, marked(word, doubt))

    def _changes(self, group: Ids, time: np.ndarray[Any, Any], current: Values) -> tuple[Values, Mask]:
        """By how many percent the charge changed since the row before, and where that is not known."""
        starts, _ = firsts(group)
        since, held = np.append(time[:1], time[:-1]), np.append(current[:1], current[:-1])
        timed = np.ones(len(group), np.bool_)
        own = group[starts]
        since[starts], held[starts] = self._battery["time"][own], self._battery["current"][own]
        timed[starts] = self._battery["timed"][own]
        span = np.where(timed, time - np.where(timed, since, time), 0)
        gap = timed & (span > self._max_gap_ns)
        charge = held * np.where(held > 0, self._config.efficiency, 1.0) * (span * 1e-9)
        percent = charge * (100 / (self._config.capacity * 3600))
        return np.where(gap | ~timed, 0.0, percent), gap

    def _known(self, current: Values, voltage: Values | None) -> Values:
        """The state of charge where the battery is full or empty, else NaN, [k]."""
        known = np.full(len(current), np.nan)
        if voltage is None:
            return known
        if self._config.empty_voltage is not None:
            known[voltage <= self._config.empty_voltage] = self._config.min
        if self._config.full_voltage is not None:
            known[(voltage >= self._config.full_voltage) & (current >= 0) & (current <= self._tail)] = self._config.max
        return known

    def _count(self, group: Ids, change: Values, gap: Mask, known: Values) -> tuple[Values, Mask]:
        """The recursion: state of charge and doubt behind each row."""
        soc, doubt = np.empty(len(group)), np.empty(len(group), np.bool_)
        low, high, sure = self._config.min, self._config.max, ~np.isnan(known)
        old, unsure = None, None
        for at in walk(group):
            if old is None or unsure is None:
                old, unsure = self._battery["soc"][group[at]], self._battery["doubt"][group[at]]
            else:
                old, unsure = old[: len(at)], unsure[: len(at)]
            old = np.where(sure[at], known[at], np.clip(old + change[at], low, high))
            unsure = (unsure | gap[at]) & ~sure[at]
            soc[at], doubt[at] = old, unsure
        return soc, doubt

    def _forget(self) -> None:
        """The charge stays; what was charged since the last sample is not known."""
        self._battery["timed"][:] = False
        self._battery["doubt"][:] = True

    def snapshot(self) -> State:
        """What waits, and the charge of each battery."""
        return {**super().snapshot(), "battery": self._battery.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._battery.restore(state["battery"])
