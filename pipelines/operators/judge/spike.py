"""``spike``: values far from the median of their neighbours are marked, dropped or replaced."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.facts import Facts
from pipelines.operators.judge import limits
from pipelines.operators.judge.hampel import Limits, Verdict, Windows
from pipelines.operators.judge.judging import check_span, judged
from pipelines.operators.judge.succession import Succession

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Index, Mask, Times, Values
    from gateway.point import Point
    from pipelines.base import Points
    from pipelines.operators.judge.succession import Steps


class SpikeAction(enum.StrEnum):
    """What becomes of a spike."""

    MARK = "mark"
    DROP = "drop"
    REPLACE = "replace"


class SpikeConfig(OperatorConfig, frozen=True, kw_only=True):
    """A value is a spike if it lies further from the median of its window than ``k`` times the spread there.

    The Hampel identifier: the spread is 1.4826 times the median absolute deviation (MAD), which for normal noise is
    its standard deviation. The window is the last ``samples`` samples of the point up to the one that is judged, or
    with ``centred`` as many before it as behind it: that tells a spike from a step, and costs a delay of half a
    window, in which samples are held. ``mark`` makes the quality at least questionable with the flag inconsistent;
    ``replace`` also puts the median there and sets the flag substituted (IEC 61850-7-3). Time is source time;
    samples out of order or without a value, and states, pass untouched and enter no window.

    Example::

        steps:
          - spike: {samples: 9, k: 4, points: "*/power"}
          - spike: {samples: 11, centred: true, action: replace, min_deviation: 0.5}
          - spike: {samples: 61, within: 1m, least: 5, action: drop}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"samples": 5, "least": 3},
        {"samples": 3, "least": 3, "k": 1.0, "action": "drop", "within": "4s"},
        {"samples": 5, "least": 3, "centred": True, "action": "replace", "wait": "3s"},
        {"samples": 3, "least": 3, "k": 0.0, "centred": True, "action": "drop", "within": "6s", "wait": "1s"},
    )

    samples: Annotated[int, msgspec.Meta(ge=3, le=301)] = 9
    """Samples in a window, an odd number."""
    within: Duration | None = None
    """Source time that a window spans at most (with ``centred``: half of it on each side); left out: any."""
    k: Annotated[float, msgspec.Meta(ge=0)] = 4.0
    """How many times the spread a value may lie from the median."""
    min_deviation: Annotated[float, msgspec.Meta(ge=0)] | None = None
    """Least deviation of a spike, in the point's unit: where a value hardly moves, its spread is 0. Left out: the
    point's ``resolution``."""
    least: Annotated[int, msgspec.Meta(ge=3)] = 5
    """Samples that a window has to have; before, nothing is judged."""
    centred: bool = False
    """Judge a sample when half a window has come behind it."""
    wait: Duration = Duration(10)
    """With ``centred``: longest that a sample is held; then it is judged by what is there."""
    action: SpikeAction = SpikeAction.MARK
    """``mark`` keeps a spike with a worse quality, ``drop`` removes it, ``replace`` puts the median there."""

    def __post_init__(self) -> None:
        if self.samples % 2 == 0:
            raise FieldError("samples", f"must be odd: {self.samples - 1} or {self.samples + 1}")
        if self.least > self.samples:
            raise FieldError("least", f"must not be more than samples ({self.samples})")
        if self.within is not None:
            check_span("within", self.within)
        check_span("wait", self.wait)

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        if self.centred:
            from pipelines.operators.judge.spike_centred import CentredSpike

            return CentredSpike(self, points)
        return Spike(self, points)


class Judge:
    """Windows over the samples of each point, and verdicts on them."""

    def __init__(self, config: SpikeConfig, points: Points) -> None:
        self._config = config
        self._points = points
        within = 0 if config.within is None else config.within.ns
        self._span_ns = within // 2 if config.centred else within
        self._place = config.samples // 2 if config.centred else config.samples - 1
        self._floor = Facts(points, 1, self._floor_of)
        self.last = Succession(points)
        self.windows = Windows(config.samples, timed=bool(self._span_ns))

    def _floor_of(self, point: Point) -> tuple[float]:
        least = self._config.min_deviation
        return ((point.resolution or 0.0) if least is None else least,)

    def new(self, steps: Steps) -> Verdict:
        """About the samples that end a window; or with ``centred`` about those in the middle of it."""
        self.windows.grow(len(self._points))
        return self._verdict(steps.ids, *self.windows.end_with(steps))

    def old(self, ids: Ids, back: Index) -> Verdict:
        """With ``centred``: about samples that wait no longer, ``back`` behind the last of their points."""
        return self._verdict(ids, *self.windows.end_early(ids, back))

    def _verdict(self, ids: Ids, windows: Values, times: Times | None, missing: Mask | None) -> Verdict:
        if times is not None:
            middle = times[:, self._place, None]
            apart = np.where(times > middle, times - middle, middle - times)  # within the window, so no overflow
            outside = apart.view(np.uint64) > np.uint64(self._span_ns)
            missing = outside if missing is None else missing | outside
            missing = missing if missing.any() else None
        bounds = Limits(self._config.k, self._floor.column(0, ids), self._config.least)
        with np.errstate(invalid="ignore", over="ignore"):
            return Verdict(windows, missing, self._place, bounds)

    def snapshot(self) -> State:
        """The last samples of each point."""
        last = self.last.snapshot()
        return {"last": last, "windows": self.windows.snapshot(last["point"])}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self.last.restore(state["last"])
        self.windows.grow(len(self._points))
        self.windows.restore(state["last"]["point"], state["windows"])


def replaced(frame: Frame, at: Index, values: Values) -> Frame:
    """The frame with other values at these places, which say so."""
    column, words = frame.value.copy(), frame.quality.copy()
    column[at] = values
    words[at] = q.worse(words[at], q.QUESTIONABLE, q.INCONSISTENT | q.SUBSTITUTED)
    return frame.replace(value=column, quality=words)


class Spike(Operator):
    """See :class:`SpikeConfig`; judges each sample by those before it."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: SpikeConfig, points: Points) -> None:
        super().__init__()
        self._action = config.action
        self._judge = Judge(config, points)

    def process(self, frame: Frame) -> Frame:
        """All samples, spikes marked or replaced; or without them."""
        steps = self._judge.last.follow(frame)
        if steps is None:
            return frame
        verdict = self._judge.new(steps)
        if not verdict.suspect.any():
            return frame
        places = steps.found(verdict.suspect)
        if self._action is SpikeAction.REPLACE:
            return replaced(frame, places, verdict.median[verdict.suspect])
        action = limits.Action(self._action)
        return judged(frame, places, q.INCONSISTENT, action, self.counts, "spike")

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Sources' times may have jumped with the clock: every point begins anew."""
        self._judge.last.forget()
        return super().clock_stepped(delta_ns)

    def snapshot(self) -> State:
        """The last samples of each point."""
        return self._judge.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._judge.restore(state)
