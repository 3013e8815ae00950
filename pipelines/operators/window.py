"""``window``: statistics over tumbling windows of event time."""

from __future__ import annotations

import enum
import math
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec
import numpy as np

from gateway.errors import FieldError
from gateway.frame import EMPTY
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.facts import Facts
from pipelines.operators.window_cells import Cells
from pipelines.operators.window_clock import PointClocks
from pipelines.operators.window_results import results

if TYPE_CHECKING:
    from gateway.frame import Frame, Mask, Times
    from gateway.point import Point
    from pipelines.base import Points

STATS = ("count", "sum", "mean", "min", "max", "first", "last", "coverage")
_QUANTILE = r"p(?:[1-9][0-9]?|0(?=\.))(?:\.[0-9]{0,3}[1-9])?"
_STAT = f"^(?:{'|'.join(STATS)}|{_QUANTILE})$"
# For the JSON schema only: our own check below says which names there are and which one was meant.
Stat = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": _STAT})]


class Late(enum.StrEnum):
    """What becomes of a sample whose window has closed."""

    DROP = "drop"
    NEXT = "next"
    PASS = "pass"  # noqa: S105 - a policy, not a password


class WindowConfig(OperatorConfig, frozen=True, kw_only=True):
    """Statistics of each point over windows that follow one another without a gap.

    Windows go by source time and begin at multiples of ``every`` since 1970 UTC. Samples are consumed; when a
    window closes, each statistic becomes a sample of a point of its own (``m1/power#mean``), stamped with the
    end of the window. A window closes when the point's watermark has passed its end by ``lateness``; the
    watermark follows the times of the point's samples and, while it is silent, the gateway's clock. A sample
    dated more than a day ahead of it is dropped as ``early``, unless a second one follows.

    Invalid samples (and NaNs) never enter a statistic. They lower the coverage and show in the quality of
    all results: questionable and inaccurate beside valid samples, invalid if there are no others. The flags
    of all inputs are joined.

    ``first`` and ``last`` go by source time. ``p50``, ``p95``, ``p99.9`` ... are quantiles within 1 % of the
    value (DDSketch, see :mod:`pipelines.operators.ddsketch`). Sums of points with a ``resolution`` add whole
    steps of it and are exact. Watermarks and lateness as in T. Akidau et al., "The Dataflow Model", PVLDB
    8(12), 2015.

    Example::

        steps:
          - window: {every: 15m, stats: [count, mean, min, max, p95], lateness: 5s}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"every": "1s", "stats": ["count", "sum", "mean", "min", "max", "last", "first", "coverage", "p95"]},
        {"every": "2s", "stats": ["mean", "p50", "coverage"], "late": "next", "expect": "100ms"},
        {"every": "500ms", "stats": ["sum", "last"], "late": "pass", "lateness": "0s"},
    )

    every: Duration = Duration(900)
    """Length of a window, at least 1 ms."""
    stats: tuple[Stat, ...] = ("count", "mean", "min", "max")
    """Which results, in this order: ``count``, ``sum``, ``mean``, ``min``, ``max``, ``first``, ``last``,
    ``coverage``, and quantiles such as ``p95``."""
    lateness: Duration = Duration(5)
    """How long after its end a window waits for samples that are out of order."""
    late: Late = Late.DROP
    """A sample whose window has closed: ``drop`` it, count it into the ``next`` open window of its point, or
    ``pass`` it on as it is. Counted as ``late`` in all cases."""
    expect: Duration | None = None
    """Period at which samples should come. ``coverage`` is then the part of the window that valid samples
    cover at this period; left out, it is the part of the samples received that was valid."""
    align: Literal["utc"] = "utc"
    """Where windows begin: at multiples of ``every`` since 1970 UTC."""

    def __post_init__(self) -> None:
        if self.every.ns < 1_000_000:
            raise FieldError("every", "must be at least 1ms")
        if self.expect is not None and not 0 < self.expect <= self.every:
            raise FieldError("expect", "must be longer than 0 and at most as long as every")
        if not self.stats:
            raise FieldError("stats", "needs at least one statistic")
        for at, stat in enumerate(self.stats):
            if not re.match(_STAT, stat):
                raise FieldError(("stats", at), _unknown(stat))
            if stat in self.stats[:at]:
                raise FieldError(("stats", at), f'"{stat}" is there twice')

    def create(self, points: Points) -> Window:
        """The operator for these options."""
        return Window(self, points)


def _unknown(stat: str) -> str:
    close = get_close_matches(stat, STATS, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f'unknown statistic "{stat}"{hint} ({", ".join(STATS)}, or a quantile such as p95)'


def _resolution(point: Point) -> tuple[float, ...]:
    return (point.resolution or 0.0,)


class Window(Operator):
    """See :class:`WindowConfig`."""

    state_class: ClassVar[StateClass] = StateClass.WINDOW_MERGEABLE
    merges: ClassVar[bool] = True

    def __init__(self, config: WindowConfig, points: Points) -> None:
        super().__init__()
        self._config = config
        self._points = points
        self._every_ns = config.every.ns
        self._clocks = PointClocks()
        self._cells = Cells(config.stats, Facts(points, 1, _resolution))

    def process(self, frame: Frame) -> Frame:
        """Nothing, but for late samples under the policy ``pass``."""
        if not len(frame):
            return EMPTY
        self._clocks.grow(len(self._points))
        wild = self._clocks.early(frame.point, frame.time)
        if wild is not None:
            self.counts.drop("early", int(np.count_nonzero(wild)))
            frame = frame.take(~wild)
        numbers = frame.time // self._every_ns
        late = self._clocks.late(frame.point, numbers)
        self._clocks.see(frame.point, frame.time)
        passed = EMPTY
        if late.any():
            frame, numbers, passed = self._treat_late(frame, numbers, late)
        self._cells.add(frame, numbers)
        self.counts.queued += len(frame)
        return passed

    def _treat_late(self, frame: Frame, numbers: Times, late: Mask) -> tuple[Frame, Times, Frame]:
        """What goes into windows, into which, and what passes."""
        n = int(np.count_nonzero(late))
        if self._config.late is Late.DROP:
            self.counts.drop("late", n)
            return frame.take(~late), numbers[~late], EMPTY
        self.counts.reasons["late"] += n
        if self._config.late is Late.PASS:
            return frame.take(~late), numbers[~late], frame.take(late)
        return frame, np.where(late, self._clocks.first_open(frame.point), numbers), EMPTY

    def tick(self, now_ns: int) -> Frame:
        """The results of the windows that close."""
        self._clocks.tick(now_ns)
        if not len(self._cells):
            return EMPTY
        due = self._clocks.due(self._cells.column("point"), self._config.lateness.ns, self._every_ns)
        return self._close(self._cells.column("number") < due)

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The results of all open windows; event time starts anew."""
        del delta_ns
        frame = self._close(np.ones(len(self._cells), np.bool_))
        self._clocks.reset()
        return frame

    def _close(self, chosen: Mask) -> Frame:
        if not chosen.any():
            return EMPTY
        fractions = [_fraction(stat) for stat in self._config.stats if stat.startswith("p")]
        cells, quantiles = self._cells.pop(chosen, fractions)
        self._clocks.close(cells["point"], cells["number"])
        inputs = int((cells["count"] + cells["rejected"]).sum())
        self.counts.queued -= inputs
        self.counts.aggregated += inputs
        frame = results(self._points, self._config, cells, quantiles)
        self.counts.derived += len(frame)
        return frame

    def snapshot(self) -> State:
        """Open windows and how far the points have come."""
        return {"clocks": self._clocks.snapshot(), **self._cells.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._clocks.restore(state["clocks"])
        self._cells.restore(state)


def _fraction(stat: str) -> float:
    fraction = float(stat[1:]) / 100
    return math.nextafter(1, 0) if fraction >= 1 else fraction
