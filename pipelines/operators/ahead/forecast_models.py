"""What a forecast is made from: one row of numbers a point, all of them of a bounded size.

A season is m steps, and step n has the phase n modulo m. Of each phase the last value is kept, with the number of
its step. Forecasts wait in rings until the step that they are for has its value; the errors are kept as long as a
season. All points whose step n closes go side by side, in one numpy step; steps of a point are taken in their order,
because the level of one is made from the level before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from pipelines.base import State, grown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Ids, Index, Mask, Qualities, Times, Values

NEVER: Final = -(1 << 63)
"""The number of a step that there was not."""


@dataclass(frozen=True)
class Smoothing:
    """The weights of Holt-Winters; see :class:`pipelines.operators.ahead.forecast.ForecastConfig`."""

    alpha: float
    beta: float
    gamma: float


@dataclass(frozen=True)
class Ahead:
    """Forecasts for one horizon: of k points, whose places among the rows asked about are ``at``."""

    at: Index
    value: Values
    quality: Qualities


@dataclass(frozen=True)
class Errors:
    """Errors of the forecasts for one horizon over the last season; k points as in :class:`Ahead`."""

    at: Index
    mae: Values
    wape: Values
    """A NaN where the values of the season are all 0."""


class Model:
    """The rows.

    Args:
        season: steps of a season, m.
        horizons: how many steps ahead, each at least 1.
        smoothing: the weights of Holt-Winters; None for seasonal naive.
    """

    def __init__(self, season: int, horizons: Sequence[int], smoothing: Smoothing | None) -> None:
        self._m, self._horizons, self._smoothing = season, tuple(horizons), smoothing
        self._row: Ids = np.empty(0, np.int32)
        """By point id; -1 for none."""
        self._known = 0
        self._columns: dict[str, npt.NDArray[Any]] = {
            name: np.empty((0, *shape), dtype) for name, (dtype, shape, _) in self._layout().items()
        }

    def _layout(self) -> dict[str, tuple[type, tuple[int, ...], float]]:
        """Name to type, shape of one row, and what it begins with."""
        m = (self._m,)
        layout: dict[str, tuple[type, tuple[int, ...], float]] = {
            "point": (np.int32, (), 0),
            "first": (np.int64, (), 0),
            "last": (np.int64, (), NEVER),
            "value": (np.float64, m, 0),
            "number": (np.int64, m, NEVER),
            "word": (np.uint16, m, 0),
        }
        for j, steps in enumerate(self._horizons):
            layout[f"made{j}"] = (np.float64, (steps,), 0)
            layout[f"for{j}"] = (np.int64, (steps,), NEVER)
            layout[f"error{j}"] = (np.float64, m, 0)
            layout[f"when{j}"] = (np.int64, m, NEVER)
        if self._smoothing is not None:
            layout |= {"level": (np.float64, (), 0), "trend": (np.float64, (), 0), "index": (np.float64, m, 0)}
            layout |= {"mean": (np.float64, (), 0), "stage": (np.uint8, (), 0)}
        return layout

    def rows(self, ids: Ids) -> Index:
        """The row of each point, [n]; made for new ones."""
        self._row = grown(self._row, int(ids.max(initial=-1)) + 1, -1)
        fresh = ids[self._row[ids] < 0]
        if len(fresh):
            end = self._known + len(fresh)
            for name, (_, _, fill) in self._layout().items():
                self._columns[name] = grown(self._columns[name], end, fill)
            self._columns["point"][self._known : end] = fresh
            self._row[fresh] = np.arange(self._known, end)
            self._known = end
        rows: Index = self._row[ids].astype(np.intp)
        return rows

    def take(self, rows: Index, number: int, value: Values, word: Qualities) -> Index:
        """Step ``number`` of these points, all different, has these values; which of them counted, [k].

        A step that lies back by less than a season repeats one that was counted, after the clock was set back, and
        is left out. After a silence of more than a season, or a longer way back, a point begins anew.
        """
        last = self._columns["last"][rows]
        seen = last != NEVER
        apart = number - np.where(seen, last, number)
        counted = np.flatnonzero(~seen | (apart > 0) | (apart < -self._m))
        rows, value, word = rows[counted], value[counted], word[counted]
        self._reset(rows[(apart[counted] > self._m) | (apart[counted] <= 0)], number)
        self._compare(rows, number, value)
        phase = number % self._m
        columns = self._columns
        columns["value"][rows, phase], columns["number"][rows, phase] = value, number
        columns["word"][rows, phase] = word
        if self._smoothing is not None:
            self._smooth(rows, number, value, self._smoothing)
        columns["last"][rows] = number
        return counted

    def _reset(self, rows: Index, number: int) -> None:
        """Forget all of some points; their first step is this one."""
        if len(rows):
            for name, (_, _, fill) in self._layout().items():
                if name != "point":
                    self._columns[name][rows] = fill
            self._columns["first"][rows] = number

    def _compare(self, rows: Index, number: int, value: Values) -> None:
        """Note how wrong the forecasts for this step were."""
        phase = number % self._m
        for j, steps in enumerate(self._horizons):
            slot = number % steps
            error = np.abs(value - self._columns[f"made{j}"][rows, slot])
            fits = (self._columns[f"for{j}"][rows, slot] == number) & np.isfinite(error)
            self._columns[f"error{j}"][rows[fits], phase] = error[fits]
            self._columns[f"when{j}"][rows[fits], phase] = number

    def _smooth(self, rows: Index, number: int, value: Values, by: Smoothing) -> None:
        """Level, trend and index of the phase; missing steps only carry the level on along the trend."""
        columns, phase = self._columns, number % self._m
        ready = columns["stage"][rows] > 0
        going, value = rows[ready], value[ready]
        steps = (number - columns["last"][going]).astype(np.float64)
        level, trend, index = columns["level"][going], columns["trend"][going], columns["index"][going, phase]
        expected = level + trend * steps
        new_level = by.alpha * (value - index) + (1 - by.alpha) * expected
        columns["level"][going] = new_level
        columns["trend"][going] = by.beta * ((new_level - level) / steps) + (1 - by.beta) * trend
        columns["index"][going, phase] = by.gamma * (value - expected) + (1 - by.gamma) * index
        seasons = columns["stage"][rows] + 1
        complete = number - columns["first"][rows] >= seasons * np.int64(self._m) - 1
        self._begin(rows[complete & (seasons <= (2 if by.beta else 1))], number)
        finite = np.isfinite(columns["level"][going]) & np.isfinite(columns["trend"][going])
        finite &= np.isfinite(columns["index"][going, phase])
        self._reset(going[~finite], number)

    def _begin(self, rows: Index, number: int) -> None:
        """A season is complete, the first or the second: level, trend and indices from its steps.

        The level is the mean of the season, brought to its end along the trend; the trend what the mean has moved since
        the first season, a step; an index what a step differs from that line.
        """
        if not len(rows):
            return
        columns, m = self._columns, self._m
        known = columns["number"][rows] > number - m
        value = np.where(known, columns["value"][rows], 0.0)
        mean = value.sum(axis=1) / known.sum(axis=1)
        trend = np.where(columns["stage"][rows] == 1, (mean - columns["mean"][rows]) / m, 0.0)
        middle = (m - 1) / 2
        place = np.where(known, columns["number"][rows] - (number - m + 1), 0) - middle
        index = np.where(known, value - (mean[:, None] + trend[:, None] * place), 0.0)
        level = mean + trend * middle
        fine = np.isfinite(level) & np.isfinite(trend) & np.isfinite(index).all(axis=1)
        rows = rows[fine]
        columns["level"][rows], columns["trend"][rows], columns["index"][rows] = level[fine], trend[fine], index[fine]
        columns["mean"][rows] = mean[fine]
        columns["stage"][rows] += 1

    def ahead(self, rows: Index, number: int, word: Qualities, j: int) -> Ahead:
        """Forecasts made at the end of step ``number`` for horizon ``j``, and noted to be compared."""
        columns, steps, m = self._columns, self._horizons[j], self._m
        phase = (number + steps) % m
        newest = columns["number"][rows, phase]
        if self._smoothing is None:
            value = columns["value"][rows, phase]
            at, quality = newest != NEVER, columns["word"][rows, phase]
        else:
            value = columns["level"][rows] + columns["trend"][rows] * steps + columns["index"][rows, phase]
            at, quality = (columns["stage"][rows] > 0) & (newest != NEVER), worse_of(word, columns["word"][rows, phase])
        # -(-a // b) rounds up: the newest step of that phase that can have a value yet
        old = newest < number + steps - m * -(-steps // m)
        quality = np.where(old, q.worse(quality, q.QUESTIONABLE, q.OLD_DATA), quality).astype(np.uint16)
        found = np.flatnonzero(at & np.isfinite(value))
        columns[f"made{j}"][rows[found], number % steps] = value[found]
        columns[f"for{j}"][rows[found], number % steps] = number + steps
        return Ahead(found, value[found], quality[found])

    def errors(self, rows: Index, number: int, j: int) -> Errors:
        """How wrong the forecasts for horizon ``j`` were over the season up to step ``number``."""
        recent: Mask = self._columns[f"when{j}"][rows] > number - self._m
        count = recent.sum(axis=1)
        at = np.flatnonzero(count)
        recent, count = recent[at], count[at]
        total = np.where(recent, self._columns[f"error{j}"][rows[at]], 0.0).sum(axis=1)
        scale = np.abs(np.where(recent, self._columns["value"][rows[at]], 0.0)).sum(axis=1)
        with np.errstate(all="ignore"):
            return Errors(at, total / count, np.where(scale > 0, total / scale, np.nan))

    def snapshot(self) -> State:
        """All rows."""
        return {name: column[: self._known].copy() for name, column in self._columns.items()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._columns = {name: state[name].copy() for name in self._columns}
        point = state["point"]
        self._known = len(point)
        self._row = np.full(int(point.max(initial=-1)) + 1, -1, np.int32)
        self._row[point] = np.arange(self._known)


def worse_of(one: Qualities, other: Qualities) -> Qualities:
    """The worse validity of both and all flags of both, [n]."""
    flags = (one | other) & np.uint16(0xFFFF ^ q.VALIDITY)
    joined: Qualities = flags | q.validity_of(np.maximum(q.severity(one), q.severity(other)))
    return joined


def ends(numbers: Times, step_ns: int) -> Times:
    """The end of each step in ns; the end of int64 where that is earlier."""
    most = np.iinfo(np.int64).max
    return np.where(numbers + 1 > most // step_ns, most, (numbers + 1) * step_ns)
