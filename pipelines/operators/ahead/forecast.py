"""``forecast``: what a point will be, from its season, and how wrong such forecasts were."""

from __future__ import annotations

import enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat, group_starts
from gateway.point import Kind, Merge, Point
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.aggregate.window_cells import SEVERITY_SHIFT, Cells, Keep
from pipelines.operators.aggregate.window_clock import PointClocks
from pipelines.operators.aggregate.window_columns import columns_for
from pipelines.operators.ahead.forecast_models import Model, Smoothing, ends
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Qualities, Values
    from pipelines.base import Points
    from pipelines.operators.aggregate.window_columns import Columns

MAX_NUMBERS: Final = 50_000
"""What is kept of one point, in numbers of 8 bytes."""
MAX_HORIZONS: Final = 8
_MAX_WAIT_S: Final = 7 * 86_400
_FACTS: Final[dict[str, Any]] = {"kind": Kind.GAUGE, "resolution": None, "merge": Merge.LAST, "limits": None}


class Method(enum.StrEnum):
    """How the forecast is made."""

    SEASONAL_NAIVE = "seasonal_naive"
    HOLT_WINTERS = "holt_winters"


class Grid(enum.StrEnum):
    """What a step's value is."""

    MEAN = "mean"
    LAST = "last"


class Stamp(enum.StrEnum):
    """Which time a forecast carries."""

    FOR = "for"
    MADE = "made"


class ForecastError(enum.StrEnum):
    """What is told of the errors."""

    MAE = "mae"
    WAPE = "wape"


class ForecastConfig(OperatorConfig, frozen=True, kw_only=True):
    """Forecast each point from its season: the day, the week.

    The samples are first put on a grid: the value of a step is the mean (or the last) of its valid samples, as in
    ``window``; steps close when the watermark of the point has passed their end by ``lateness``. At the end of each
    step with a value, one forecast is made for each ``horizon``: ``m1/power#forecast.1h``, in hours, minutes or
    seconds, whichever is whole. It carries the end of the step that it is *for*, so that it lies beside the value that
    will come (``stamp: made``: the end of the step at which it was made). A silent point forecasts nothing.

    ``seasonal_naive``: the value of the same phase one season before; what everything else must beat.
    ``holt_winters``, additive, over seasons of m steps, with level l, trend b and seasonal index s::

        l = alpha * (y - s[n-m]) + (1 - alpha) * (l' + b')         l', b': one step before
        b = beta * (l - l') + (1 - beta) * b'
        s[n] = gamma * (y - l' - b') + (1 - gamma) * s[n-m]
        forecast h steps ahead = l + h * b + s[n+h-m]

    It begins when the first season is complete: l is its mean, s what its steps differ from it, b is 0. When the second
    one is, all three are made anew, b from the two means (unless ``beta`` is 0). Steps without a value carry the level
    on along the trend. After a silence longer than a season a point begins anew.

    Its own error is told at each step, over the forecasts of the last season that have met their value:
    ``#forecast.1h.mae`` is the mean absolute error in the point's unit, ``#forecast.1h.wape`` the sum of absolute
    errors divided by the sum of absolute values (1 = 100 %; unlike MAPE it stands values near 0, such as PV at night).

    A forecast has the worse quality of what it is made from, and is questionable and old where the phase had no value
    in the last season. Invalid samples do not enter. All samples pass (copies of what enters, counted as derived)
    unless ``keep: false``; those that come late or are dated a day ahead only pass. States pass untouched; make
    counters rates first. State a point: m * (4 + 2 * horizons) numbers and twice the steps of each horizon, at most
    50,000.

    C. C. Holt 1957 (reprinted Int. J. Forecasting 20(1), 2004); P. R. Winters, "Forecasting sales by exponentially
    weighted moving averages", Management Science 6(3), 1960; R. J. Hyndman, G. Athanasopoulos, "Forecasting:
    principles and practice", 3rd ed., 2021, 5.2, 5.8 and 8.3.

    Example::

        steps:
          - forecast: {season: 1d, step: 15m, horizon: [1h, 24h], points: "*/power"}
          - forecast: {method: holt_winters, season: 7d, step: 1h, horizon: [24h], alpha: 0.3, gamma: 0.2}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"season": "4s", "step": "1s", "horizon": ["1s", "6s"], "lateness": "500ms"},
        {"method": "holt_winters", "season": "3s", "step": "1s", "horizon": ["2s"], "lateness": "0s", "grid": "last"},
        {"season": "2s", "step": "500ms", "horizon": ["1s"], "stamp": "made", "keep": False, "errors": []},
    )  # fmt: skip

    method: Method = Method.SEASONAL_NAIVE
    """``seasonal_naive`` or ``holt_winters``."""
    season: Duration = Duration(86_400)
    """After how long the pattern repeats; a multiple of ``step``, at least two steps."""
    step: Duration = Duration(900)
    """Distance of the grid, at least 1 ms; steps begin at multiples of it since 1970 UTC."""
    horizon: tuple[Duration, ...] = (Duration(3600),)
    """How far ahead, 1 to 8 different multiples of ``step``."""
    grid: Grid = Grid.MEAN
    """What a step's value is: the ``mean`` or the ``last`` of its samples."""
    alpha: float = 0.3
    """Weight of the newest step in the level, 0 to 1; for Holt-Winters."""
    beta: float = 0.01
    """Weight of the newest step in the trend, 0 to 1; 0: no trend."""
    gamma: float = 0.1
    """Weight of the newest step in the seasonal index, 0 to 1."""
    stamp: Stamp = Stamp.FOR
    """A forecast carries the time that it is ``for``, or at which it was ``made``."""
    errors: tuple[ForecastError, ...] = (ForecastError.MAE, ForecastError.WAPE)
    """Which errors are told: ``mae``, ``wape``, both or none."""
    lateness: Duration = Duration(5)
    """How long after its end a step waits for samples that are out of order."""
    keep: bool = True
    """Whether the samples pass on as well; without it they are consumed."""

    def __post_init__(self) -> None:
        step = self.step.ns
        if not 1_000_000 <= step <= 366 * 86_400 * 10**9:
            raise FieldError("step", "must be at least 1ms and at most a year")
        if self.season.ns % step or self.season.ns < 2 * step:
            raise FieldError("season", "must be a multiple of step, at least two of them")
        if not 1 <= len(self.horizon) <= MAX_HORIZONS or len(set(self.horizon)) < len(self.horizon):
            raise FieldError("horizon", f"needs 1 to {MAX_HORIZONS} different times")
        for at, horizon in enumerate(self.horizon):
            if horizon.ns % step or horizon.ns < step:
                raise FieldError(("horizon", at), "must be a multiple of step, at least one of them")
        numbers = self.numbers
        if numbers > MAX_NUMBERS:
            raise FieldError("step", f"would keep {numbers:,} numbers a point, at most {MAX_NUMBERS:,}; longer steps?")
        for name in ("alpha", "beta", "gamma"):
            if not 0 <= getattr(self, name) <= 1:
                raise FieldError(name, "must be 0 to 1")
        if self.lateness > _MAX_WAIT_S:
            raise FieldError("lateness", "must be at most 7d")

    @property
    def numbers(self) -> int:
        """How many are kept of one point."""
        season = self.season.ns // self.step.ns
        return season * (4 + 2 * len(self.horizon)) + 2 * sum(h.ns // self.step.ns for h in self.horizon)

    def create(self, points: Points) -> Forecast:
        """The operator for these options."""
        return Forecast(self, points)


def told(horizon: Duration) -> str:
    """``1h``, ``90m``, ``24h``, ``500ms``: in the largest of these units that gives a whole number."""
    for unit, size in (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6)):
        if horizon.ns % size == 0:
            return f"{horizon.ns // size}{unit}"
    return f"{horizon.ns}ns"


def _facts(point: Point) -> tuple[float, float]:
    return point.resolution or 0.0, float(point.kind is Kind.STATE)


class Forecast(Operator):
    """See :class:`ForecastConfig`."""

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
