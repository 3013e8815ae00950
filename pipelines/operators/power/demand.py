"""``demand``: the mean power over blocks as a tariff meter has it, and its maximum."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway.errors import FieldError
from gateway.frame import concat, group_starts
from gateway.units import Duration
from pipelines.operators.power.calendar import Calendar, Period, check_zone
from pipelines.operators.power.cells import Blocks, words_of
from pipelines.operators.power.integrate import Integrator
from pipelines.operators.power.ordered import Ordered, PowerConfig, Table
from pipelines.operators.power.results import PLAIN, sealed

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Mask, Times, Values
    from pipelines.base import Points, State


class Method(enum.StrEnum):
    """How blocks follow one another."""

    FIXED = "fixed"
    SLIDING = "sliding"
    ROLLING = "rolling"


class DemandConfig(PowerConfig, frozen=True, kw_only=True):
    """The mean power over a block of 15 or 30 minutes, stamped with its end, and the maximum of it.

    ``fixed`` blocks follow one another on the local clock. ``sliding`` and ``rolling`` blocks overlap: the demand is
    told anew after each ``update``, over the block that ends there. ``m1/power#demand`` is in the unit of the point.
    ``m1/power#demand_max`` tells each new maximum of the ``period`` of the local clock; its source time is the end
    of the block in which it was reached, and the first block of the next period begins it anew.

    The demand is the time-weighted mean of what is known of the block; a value holds until the next sample, but not
    longer than ``max_gap``. The first block after a start is partial, as is one with gaps: where less than
    ``coverage`` of a block is known, its demand is questionable and inaccurate and is no maximum. Unusable samples do
    the same to the quality. A block of which nothing is known gives no demand, or an invalid one where unusable
    samples came.

    Block interval demand as tariff meters have it (timed, sliding and rolling block: Schneider PM5000, ION9000).

    Example::

        steps:
          - demand: {block: 15m, timezone: Europe/Berlin, points: "*/power"}
          - demand: {method: rolling, block: 30m, update: 5m, points: "*/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"block": "2s", "max_gap": "1s", "lateness": "0s"},
        {"block": "4s", "method": "sliding", "update": "1s", "max_gap": "3s", "period": "day", "keep": False},
        {"method": "rolling", "timezone": "America/New_York"},
    )

    method: Method = Method.FIXED
    """``fixed`` blocks, or overlapping ones: ``sliding`` (told every 15 s, or 1 min where the block is longer than 15
    min) or ``rolling`` (told every 5 min)."""
    block: Duration = Duration(900)
    """Length of a block; has to divide an hour."""
    update: Duration | None = None
    """After what time a sliding or rolling demand is told anew; has to divide the block."""
    max_gap: Duration = Duration(60)
    """How long a value holds at most; what lies behind is not known."""
    coverage: float = 0.95
    """Part of a block that has to be known; below it the demand is questionable and no maximum."""
    period: Period = Period.MONTH
    """Over what the maximum is kept: ``day``, ``week`` or ``month`` of the local clock."""
    timezone: str = "UTC"
    """The local clock, such as ``Europe/Berlin``."""

    def __post_init__(self) -> None:
        if self.block.ns <= 0 or 3_600_000_000_000 % self.block.ns:
            raise FieldError("block", "has to divide an hour, such as 15m or 30m")
        if self.update is not None and self.method is Method.FIXED:
            raise FieldError("update", "a fixed block is told at its end; take method sliding or rolling")
        if self.step <= 0 or self.block.ns % self.step or self.block.ns // self.step > 3600:
            raise FieldError("update", "has to divide the block into at most 3600 parts")
        if not 0 < self.max_gap <= self.block:
            raise FieldError("max_gap", "must be longer than 0 and at most as long as the block")
        if not 0 <= self.coverage <= 1:
            raise FieldError("coverage", "is a part of the block, from 0 to 1")
        check_zone(self.timezone)

    @property
    def step(self) -> int:
        """Time between two results in ns."""
        if self.method is Method.FIXED:
            return self.block.ns
        if self.update is not None:
            return self.update.ns
        if self.method is Method.ROLLING:
            return 300_000_000_000
        return 15_000_000_000 if self.block <= 900 else 60_000_000_000

    def create(self, points: Points) -> Demand:
        """The operator for these options."""
        return Demand(self, points)


class Demand(Ordered):
    """See :class:`DemandConfig`. Blocks are made of parts of one ``update`` each."""

    def __init__(self, config: DemandConfig, points: Points) -> None:
        super().__init__(config, points)
        self._step_ns, self._block_ns = config.step, config.block.ns
        self._least_ns = config.coverage * config.block.ns
        self._parts = config.block.ns // config.step
        self._period = config.period
        self._calendar = Calendar(config.timezone)
        phase = self._calendar.phase_ns(self._step_ns)
        self._integrator = Integrator(self._step_ns, phase, config.max_gap.ns)
        self._kept = Blocks.none()
        """Closed parts that later blocks still reach back to."""
        self._maximum = Table(value=(np.float64, -np.inf), period=(np.int64, 0))

    def _advance(self, frame: Frame, marks: Times) -> Frame:
        return self._results(self._integrator.advance(frame, marks))

    def _forget(self) -> Frame:
        out = self._results(self._integrator.clear())
        self._kept = Blocks.none()
        return out

    def _results(self, closed: Blocks) -> Frame:
        if not len(closed):
            return concat([])
        blocks = closed if self._parts == 1 else self._joined(closed)
        end = self._integrator.begin(blocks.number + 1)
        demand = blocks.mean()
        partial = blocks.covered < self._least_ns
        word = words_of(blocks.marks, partial)
        ids = self._points.derive(blocks.point, "#demand", **PLAIN)
        found = sealed(ids, end, demand, word)
        higher = self._rises(blocks.point, end, demand, ~partial & np.isfinite(demand))
        tops = self._points.derive(blocks.point[higher], "#demand_max", **PLAIN)
        return concat([found, found.take(higher).replace(point=tops)])

    def _joined(self, closed: Blocks) -> Blocks:
        """For each part that closed the block that ends with it, newest part first."""
        size = len(self._kept)
        parts = closed.behind(self._kept)
        order = np.lexsort((parts.number, parts.point))
        parts = parts.take(order)
        at = np.flatnonzero(order >= size)
        amount, covered = parts.amount[at], parts.covered[at]
        marks, number = parts.marks[at], parts.number[at]
        for back in range(1, self._parts):
            other = np.maximum(at - back, 0)
            inside = (at >= back) & (parts.point[other] == parts.point[at])
            inside &= parts.number[other] > number - self._parts
            if not inside.any():
                break
            amount = np.where(inside, amount + parts.amount[other], amount)
            covered = np.where(inside, covered + parts.covered[other], covered)
            marks = np.where(inside, marks | parts.marks[other], marks)
        latest = np.full(int(parts.point.max()) + 1, np.iinfo(np.int64).min, np.int64)
        np.maximum.at(latest, parts.point, parts.number)
        self._kept = parts.take(parts.number > latest[parts.point] - self._parts + 1)
        return Blocks(parts.point[at], number, amount, covered, marks)

    def _rises(self, point: Ids, end: Times, demand: Values, whole: Mask) -> Mask:
        """Which demands are a new maximum of their period, in turn for each point."""
        self._maximum.grow(len(self._points))
        period = self._calendar.numbers(end - 1, self._period)
        higher = np.zeros(len(point), np.bool_)
        at = group_starts(point)
        left = np.diff(at, append=len(point))
        while len(at):
            ids = point[at]
            begun = ~self._maximum.known[ids] | (self._maximum["period"][ids] != period[at])
            found = whole[at] & (begun | (demand[at] > self._maximum["value"][ids]))
            higher[at] = found
            self._maximum.set(ids[found], value=demand[at][found], period=period[at][found])
            at, left = at[left > 1] + 1, left[left > 1] - 1
        return higher

    def snapshot(self) -> State:
        """What waits, the open blocks, and the maxima."""
        blocks = {"blocks": self._integrator.snapshot(), "kept": self._kept.snapshot()}
        return {**super().snapshot(), **blocks, "maximum": self._maximum.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._integrator.restore(state["blocks"])
        self._kept = Blocks.restored(state["kept"])
        self._maximum.restore(state["maximum"])
