"""The operator of the step ``infer``: rows of a grid to windows, windows to the model, results to samples."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.frame import Frame, concat, group_starts
from gateway.point import Point
from pipelines.base import State, StateClass, grown
from pipelines.operators.ahead.infer import InferConfig, Layout, deepest
from pipelines.operators.ahead.infer_model import Model, ModelError
from pipelines.operators.aligned import Aligner, Mode, Rows
from pipelines.operators.shape.expression import judged
from pipelines.operators.shape.joining import Joiner, named

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Times, Values
    from pipelines.base import Points

log = logging.getLogger(__name__)

CHUNK: Final = 1024
"""Windows that are run at once."""
_COLUMNS: Final = ("group", "time", "value", "quality")


class Infer(Joiner):
    """See :class:`pipelines.operators.ahead.infer.InferConfig`."""

    state_class: ClassVar[StateClass] = StateClass.WINDOW_OPAQUE

    def __init__(self, config: InferConfig, points: Points) -> None:
        aligner = Aligner(
            points,
            config.patterns,
            mode=Mode(config.fill.value),
            lateness_ns=config.lateness.ns,
            max_gap_ns=config.max_gap.ns,
            grid_ns=config.grid_ns,
            sparse=True,
        )
        super().__init__(aligner, keep=config.keep)
        self._points, self._config = points, config
        self._model: Model | None = None
        self._grid_ns, self._depth = config.grid_ns, deepest(config)
        self._run_ns = config.grid_ns if config.run is None else config.run.ns
        self._targets = [(name, given.unit) for given in config.outputs.values() for name in given.names]
        self._ids: Ids = np.empty((0, len(self._targets)), np.int32)
        """The points of each group's results; -1 before its first ones."""
        self._tail = _rows(aligner.width)
        """The newest rows of each group, which windows to come reach back to."""
        self._failed = False

    def made(self, rows: Rows) -> Frame:
        """Results of the windows that end with one of these rows."""
        rows, fresh = self._behind(rows)
        starts = group_starts(rows.group)
        lengths = np.diff(starts, append=len(rows))
        place = np.arange(len(rows)) - np.repeat(starts, lengths)
        left = np.repeat(lengths, lengths) - place
        tail = np.flatnonzero(left <= self._depth)
        self._tail = Rows(rows.group[tail], rows.time[tail], rows.value[tail], rows.quality[tail])
        ends = np.flatnonzero(fresh & (place >= self._depth) & (rows.time % self._run_ns == 0))
        # Where rows are missing in between the window has a hole
        ends = ends[rows.time[ends] - rows.time[ends - self._depth] == self._depth * self._grid_ns]
        return concat([self._inferred(rows, ends[at : at + CHUNK]) for at in range(0, len(ends), CHUNK)])

    def _behind(self, rows: Rows) -> tuple[Rows, Mask]:
        """The rows behind those that were kept, by group and in the order of time; which of them are new."""
        parts = [np.concatenate([getattr(self._tail, name), getattr(rows, name)]) for name in _COLUMNS]
        order = np.argsort(parts[0], kind="stable")
        fresh: Mask = order >= len(self._tail)
        return Rows(*(part[order] for part in parts)), fresh

    def _inferred(self, rows: Rows, ends: Index) -> Frame:
        """One sample a window and output."""
        windows, cells, words = self._windows(rows, ends)
        bad = ~np.isfinite(cells) | q.is_invalid(words)
        usable = np.flatnonzero(~bad.any(axis=1))
        value = np.full((len(ends), len(self._targets)), np.nan)
        value[usable], failed = self._run({name: window[usable] for name, window in windows.items()}, len(usable))
        flat = Rows(rows.group[ends], rows.time[ends], cells, words)
        ids = self._results_of(flat.group)
        frames = [
            self._samples(value[:, at], flat, bad, ids[:, at], usable[failed]) for at in range(len(self._targets))
        ]
        return concat(frames)

    def _samples(self, value: Values, rows: Rows, bad: Mask, ids: Ids, failed: Index) -> Frame:
        value, quality = judged(value, rows, bad)
        value[failed] = q.no_value(q.Reason.OTHER_EXCEPTION)
        return Frame(ids, rows.time, value, quality)

    def _windows(self, rows: Rows, ends: Index) -> tuple[dict[str, Values], Values, Any]:
        """The windows of each input, and all their values and qualities side by side, [k, cells]."""
        windows, cells, words, first = {}, [], [], 0
        for name, given in self._config.inputs.items():
            stride = given.every.ns // self._grid_ns
            index = ends[:, None] + stride * np.arange(1 - given.window, 1)
            columns = slice(first, first + len(given.points))
            first += len(given.points)
            value = rows.value[index, columns]
            windows[name] = value.transpose(0, 2, 1) if given.layout is Layout.POINTS else value
            cells.append(value.reshape(len(ends), -1))
            words.append(rows.quality[index, columns].reshape(len(ends), -1))
        return windows, np.concatenate(cells, axis=1), np.concatenate(words, axis=1)

    def _run(self, windows: dict[str, Values], count: int) -> tuple[Values, Index]:
        """The results of windows, [count, targets], and which of them failed."""
        if not count:
            return np.empty((0, len(self._targets))), np.empty(0, np.intp)
        reason, failed = "model-error", np.arange(count)
        value = np.full((count, len(self._targets)), np.nan)
        try:
            self._model = self._model or self._config.load()
            try:
                return self._columns(self._model.run(windows)), failed[:0]
            except ModelError as error:
                if error.reason != reason:
                    raise
                self._say(error)
            for at, given in enumerate(self._model.run_each(windows)):
                if given is not None:
                    value[at] = self._columns(given)[0]
                    failed = failed[failed != at]
        except ModelError as error:  # the file was good when the configuration was checked, or the time is over
            self._say(error)
            reason = error.reason
        self.counts.reasons[reason] += len(failed)
        return value, failed

    def _columns(self, given: dict[str, Values]) -> Values:
        """The wanted outputs side by side, [k, targets]."""
        return np.concatenate([given[name] for name in self._config.outputs], axis=1)

    def _say(self, error: ModelError) -> None:
        """Once; the counter tells the rest."""
        if not self._failed:
            self._failed = True
            log.warning("step infer: %s: %s", self._config.model, error)

    def _results_of(self, groups: Ids) -> Ids:
        """The points of the results of each row, [k, targets]."""
        self._ids = grown(self._ids, int(groups.max(initial=-1)) + 1, -1)
        found: Ids = self._ids[groups]
        if (found < 0).any():
            for group in np.unique(groups[found[:, 0] < 0]).tolist():
                text = self._aligner.text(group)
                made = [Point(name=named(name, text), unit=unit) for name, unit in self._targets]
                self._ids[group] = [self._points.make(point) for point in made]
            found = self._ids[groups]
        return found

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Results of all that waits; windows begin anew."""
        frame = super().clock_stepped(delta_ns)
        self._tail = _rows(self._aligner.width)
        return frame

    def snapshot(self) -> State:
        """What waits, and the rows that windows reach back to."""
        return {**super().snapshot(), "tail": {name: getattr(self._tail, name).copy() for name in _COLUMNS}}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._tail = Rows(*(state["tail"][name].copy() for name in _COLUMNS))


def _rows(width: int) -> Rows:
    """None."""
    times: Times = np.empty(0, np.int64)
    return Rows(np.empty(0, np.int32), times, np.empty((0, width)), np.empty((0, width), np.uint16))
