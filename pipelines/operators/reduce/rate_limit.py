"""``rate_limit``: so many samples a second and no more, with a named rule for what is too much."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np

from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat, group_starts
from pipelines.base import Operator, OperatorConfig, State, StateClass, grown

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Index, Mask, Values
    from pipelines.base import Points

MOST_HELD: Final = 1_000_000
"""Samples that wait for a tick at most; further ones are dropped as ``queue-full``."""
_TURN: Final = 0x9E3779B1
"""2**32 divided by the golden ratio: where a tick begins to thin moves on evenly."""


class Rule(enum.StrEnum):
    """What is dropped when there is too much."""

    DROP_NEWEST = "drop_newest"
    DROP_OLDEST = "drop_oldest"
    THIN = "thin"


class RateLimitConfig(OperatorConfig, frozen=True, kw_only=True):
    """Pass at most ``rate`` samples a second on average, and ``burst`` at once (a token bucket).

    Samples wait for the next tick of the gateway (four a second); what passes then is decided for all that came
    between two ticks, by their source times and not by the order in which points happened to come. What is too much
    is dropped and counted, with the reason ``rate-limit``: the newest, the oldest, or evenly over all (``thin``).
    The limit holds for each point by itself, or for all points of the step together (``per: pipeline``).

    Example::

        steps:
          - rate_limit: {rate: 200, per: pipeline, rule: thin}
          - rate_limit: {rate: 0.1, burst: 1, rule: drop_oldest, points: "*/debug"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"rate": 2.0},
        {"rate": 0.5, "burst": 1, "rule": "drop_oldest"},
        {"rate": 3.0, "burst": 5, "rule": "drop_newest", "per": "pipeline"},
        {"rate": 3.0, "per": "pipeline"},
    )

    rate: float
    """Samples a second."""
    burst: int | None = None
    """Samples at once after a quiet time; left out: those of one second, 1 at least."""
    per: Literal["point", "pipeline"] = "point"
    """Whether each ``point`` has the rate, or all points of the step, the ``pipeline``, share it."""
    rule: Rule = Rule.THIN
    """What is dropped when there is too much: ``drop_newest``, ``drop_oldest``, or ``thin`` (evenly)."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise FieldError("rate", "must be a finite number above 0")
        if self.burst is not None and self.burst < 1:
            raise FieldError("burst", "must be 1 at least, or nothing would ever pass")

    def create(self, points: Points) -> RateLimit:
        """The operator for these options."""
        return (RateLimit if self.per == "point" else SharedRateLimit)(self, points)


class RateLimit(Operator):
    """See :class:`RateLimitConfig`; each point has the rate."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: RateLimitConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._rate = config.rate
        self._burst = float(config.burst or max(1, math.floor(config.rate)))
        self._rule = config.rule
        self._credit: Values = np.full(1, self._burst)
        """Samples that may pass now, by point id; one for all if they share it."""
        self._parts: list[Frame] = []
        self._tick_ns: int | None = None
        self._turn = 0

    def process(self, frame: Frame) -> Frame:
        """Nothing: samples wait for the tick."""
        room = MOST_HELD - self.counts.queued
        if len(frame) > room:
            self.counts.drop("queue-full", len(frame) - room)
            frame = frame.take(slice(0, room))
        if len(frame):
            self._parts.append(frame)
            self.counts.queued += len(frame)
        return EMPTY

    def tick(self, now_ns: int) -> Frame:
        """Of the samples that came since the last tick those that the rate allows."""
        passed_s = 0.0 if self._tick_ns is None else max(now_ns - self._tick_ns, 0) / 1e9
        self._tick_ns = now_ns
        np.minimum(self._credit + passed_s * self._rate, self._burst, out=self._credit)
        return self._pass_on()

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The same at once."""
        del delta_ns
        return self._pass_on()

    def _pass_on(self) -> Frame:
        held, self._parts = concat(self._parts), []
        if not len(held):
            return EMPTY
        self._turn = (self._turn + _TURN) & 0xFFFF_FFFF
        out = held.take(self._choose(held))
        self.counts.queued -= len(held)
        self.counts.drop("rate-limit", len(held) - len(out))
        return out

    def _choose(self, held: Frame) -> Mask:
        """Which samples pass."""
        self._credit = grown(self._credit, len(self._points), self._burst)
        order = np.lexsort((held.time, held.point))
        ids = held.point[order]
        starts = group_starts(ids)
        lengths = np.diff(starts, append=len(held))
        allowed = np.minimum(np.floor(self._credit[ids[starts]]), lengths).astype(np.int64)
        self._credit[ids[starts]] -= allowed
        rank = np.arange(len(held)) - np.repeat(starts, lengths)
        chosen = np.empty(len(held), np.bool_)
        chosen[order] = self._by_rule(rank, np.repeat(allowed, lengths), np.repeat(lengths, lengths), 0)
        return chosen

    def _by_rule(
        self,
        rank: Index,
        allowed: npt.NDArray[np.int64] | np.int64,
        total: npt.NDArray[np.int64] | np.int64,
        phase: int,
    ) -> Mask:
        """Which samples pass by their place among ``total``, oldest first, of which so many are allowed, [n]."""
        chosen: Mask
        if self._rule is Rule.DROP_NEWEST:
            chosen = rank < allowed
        elif self._rule is Rule.DROP_OLDEST:
            chosen = rank >= total - allowed
        else:
            chosen = ((rank + 1) * allowed + phase) // total > (rank * allowed + phase) // total
        return chosen

    def snapshot(self) -> State:
        """What waits, and how much may pass."""
        held = concat(self._parts)
        return {
            "credit": self._credit.copy(),
            "tick_ns": self._tick_ns,
            "turn": self._turn,
            "point": held.point.copy(),
            "time": held.time.copy(),
            "value": held.value.copy(),
            "quality": held.quality.copy(),
        }

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._credit, self._tick_ns, self._turn = state["credit"].copy(), state["tick_ns"], state["turn"]
        self._parts = [Frame(state["point"], state["time"], state["value"], state["quality"])]


class SharedRateLimit(RateLimit):
    """All points of the step share the rate."""

    joins: ClassVar[bool] = True

    def _choose(self, held: Frame) -> Mask:
        """See the base class; of equal times other points come first at each tick."""
        n = len(held)
        allowed = int(min(math.floor(self._credit[0]), n))
        self._credit[0] -= allowed
        turned = (held.point.astype(np.int64) + self._turn) % max(len(self._points), 1)
        thin = self._rule is Rule.THIN
        order = np.lexsort((held.time, held.point) if thin else (turned, held.time))
        phase = self._turn * n >> 32
        chosen = np.empty(n, np.bool_)
        chosen[order] = self._by_rule(np.arange(n), np.int64(allowed), np.int64(n), phase)
        return chosen
