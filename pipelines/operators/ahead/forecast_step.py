"""The operator of the step ``forecast``: samples to steps, steps to what the model says of those to come."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.frame import EMPTY, Frame, concat, group_starts
from gateway.point import Kind, Merge, Point
from pipelines.base import Operator, State, StateClass
from pipelines.operators.aggregate.window_cells import SEVERITY_SHIFT, Cells, Keep
from pipelines.operators.aggregate.window_clock import PointClocks
from pipelines.operators.aggregate.window_columns import columns_for
from pipelines.operators.ahead.forecast import ForecastConfig, ForecastError, Grid, Method, Stamp, told
from pipelines.operators.ahead.forecast_models import Model, Smoothing, ends
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Qualities, Values
    from pipelines.base import Points
    from pipelines.operators.aggregate.window_columns import Columns

_FACTS: Final[dict[str, Any]] = {"kind": Kind.GAUGE, "resolution": None, "merge": Merge.LAST, "limits": None}


def _facts(point: Point) -> tuple[float, float]:
    return point.resolution or 0.0, float(point.kind is Kind.STATE)


class Forecast(Operator):
    """See :class:`~pipelines.operators.ahead.forecast.ForecastConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: ForecastConfig, points: Points) -> None:
        super().__init__()
        self._config, self._points = config, points
        self._step_ns = config.step.ns
        self._facts = Facts(points, 2, _facts)
        self._clocks = PointClocks()
        self._cells = Cells(Keep(columns_for(frozenset({config.grid.value}))), self._facts)
        weights = Smoothing(config.alpha, config.beta, config.gamma)
        self._model = Model(
            config.season.ns // self._step_ns,
            [horizon.ns // self._step_ns for horizon in config.horizon],
            weights if config.method is Method.HOLT_WINTERS else None,
        )
        self._suffixes = [f"#forecast.{told(horizon)}" for horizon in config.horizon]

    def process(self, frame: Frame) -> Frame:
        """All samples; without ``keep`` only those of states."""
        if not len(frame):
            return frame
        states = self._facts.column(1, frame.point) != 0
        own, passed = (frame.take(~states), frame.take(states)) if states.any() else (frame, EMPTY)
        if len(own):
            held = self._hold(own)
            self.counts.queued += held
            if not self._config.keep:
                self.counts.dropped += len(own) - held
                return passed
            self.counts.aggregated += len(own) - held
            self.counts.derived += len(own)
        return frame

    def _hold(self, frame: Frame) -> int:
        """Put samples into the open steps; how many went there."""
        self._clocks.grow(len(self._points))
        wild = self._clocks.early(frame.point, frame.time)
        if wild is not None:
            self.counts.reasons["early"] += int(np.count_nonzero(wild))
            frame = frame.take(~wild)
        numbers = frame.time // self._step_ns
        late = self._clocks.late(frame.point, numbers)
        self._clocks.see(frame.point, frame.time)
        if late.any():
            self.counts.reasons["late"] += int(np.count_nonzero(late))
            frame, numbers = frame.take(~late), numbers[~late]
        self._cells.add(frame, numbers)
        return len(frame)

    def tick(self, now_ns: int) -> Frame:
        """Forecasts from the steps that close."""
        self._clocks.tick(now_ns)
        if not len(self._cells):
            return EMPTY
        due = self._clocks.due(self._cells.column("point"), self._config.lateness.ns, self._step_ns)
        return self._close(self._cells.column("number") < due)

    def clock_stepped(self, delta_ns: int) -> Frame:
        """All open steps close; event time starts anew, what was learned stays."""
        del delta_ns
        frame = self._close(np.ones(len(self._cells), np.bool_))
        self._clocks.reset()
        return frame

    def _close(self, chosen: Mask) -> Frame:
        if not chosen.any():
            return EMPTY
        cells = self._cells.pop(chosen).columns
        self._clocks.close(cells["point"], cells["number"])
        inputs = int((cells["count"] + cells["rejected"]).sum())
        self.counts.queued -= inputs
        self.counts.aggregated += inputs
        value, word = self._values(cells)
        fine = np.flatnonzero(np.isfinite(value) & (cells["count"] > 0))
        ids, numbers, value, word = cells["point"][fine], cells["number"][fine], value[fine], word[fine]
        starts = group_starts(numbers)
        bounds = np.append(starts, len(numbers)).tolist()
        made: list[Frame] = []
        with np.errstate(all="ignore"):
            for start, end in pairwise(bounds):
                made += self._step(ids[start:end], int(numbers[start]), value[start:end], word[start:end])
        frame = concat(made)
        self.counts.derived += len(frame)
        return frame

    def _values(self, cells: Columns) -> tuple[Values, Qualities]:
        """The value of each step, and the quality of what is made from it, as for the results of a window."""
        flags = (cells["marks"] & (0xFFFF ^ q.VALIDITY)).astype(np.uint16)
        worst = cells["marks"] >> SEVERITY_SHIFT
        word = flags | np.where(worst > 1, q.QUESTIONABLE, q.GOOD).astype(np.uint16)
        word |= np.where(cells["rejected"] > 0, q.INACCURATE, 0).astype(np.uint16)
        if self._config.grid is Grid.LAST:
            return cells["last"], word
        with np.errstate(all="ignore"):
            total = cells["sum"] * np.where(cells["step"] > 0, cells["step"], 1.0)
            return total / np.maximum(cells["count"], 1), word

    def _step(self, ids: Ids, number: int, value: Values, word: Qualities) -> list[Frame]:
        """All that one step of some points gives."""
        rows = self._model.rows(ids)
        counted = self._model.take(rows, number, value, word)
        ids, rows, word = ids[counted], rows[counted], word[counted]
        made: list[Frame] = []
        for j, suffix in enumerate(self._suffixes):
            made.append(self._ahead(ids, rows, number, word, j))
            if self._config.errors:
                made += self._errors(ids, rows, number, word, j, suffix)
        return made

    def _ahead(self, ids: Ids, rows: Index, number: int, word: Qualities, j: int) -> Frame:
        found = self._model.ahead(rows, number, word, j)
        if not len(found.at):
            return EMPTY
        steps = self._config.horizon[j].ns // self._step_ns if self._config.stamp is Stamp.FOR else 0
        time = ends(np.full(len(found.at), number + steps, np.int64), self._step_ns)
        return Frame(self._points.derive(ids[found.at], self._suffixes[j], **_FACTS), time, found.value, found.quality)

    def _errors(self, ids: Ids, rows: Index, number: int, word: Qualities, j: int, suffix: str) -> list[Frame]:
        found = self._model.errors(rows, number, j)
        if not len(found.at):
            return []
        time = ends(np.full(len(found.at), number, np.int64), self._step_ns)
        frames = []
        for error in self._config.errors:
            facts = _FACTS | ({"unit": "1"} if error is ForecastError.WAPE else {})
            value = found.wape if error is ForecastError.WAPE else found.mae
            point = self._points.derive(ids[found.at], f"{suffix}.{error}", **facts)
            frame = Frame(point, time, value, word[found.at])
            frames.append(frame.take(np.isfinite(value)))
        return frames

    def snapshot(self) -> State:
        """Open steps, how far the points have come, and what was learned."""
        return {"clocks": self._clocks.snapshot(), "model": self._model.snapshot(), **self._cells.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._clocks.restore(state["clocks"])
        self._cells.restore(state)
        self._model.restore(state["model"])
