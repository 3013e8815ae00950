"""``forecast``: what a point will be, from its season, and how wrong such forecasts were."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import OperatorConfig

if TYPE_CHECKING:
    from pipelines.base import Operator, Points

MAX_NUMBERS: Final = 50_000
"""What is kept of one point, in numbers of 8 bytes."""
MAX_HORIZONS: Final = 8
_MAX_WAIT_S: Final = 7 * 86_400


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

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        from pipelines.operators.ahead.forecast_step import Forecast

        return Forecast(self, points)


def told(horizon: Duration) -> str:
    """``1h``, ``90m``, ``24h``, ``500ms``: in the largest of these units that gives a whole number."""
    for unit, size in (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6)):
        if horizon.ns % size == 0:
            return f"{horizon.ns // size}{unit}"
    return f"{horizon.ns}ns"
