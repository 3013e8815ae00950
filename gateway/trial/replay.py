"""Runs samples and the passing of time through a graph of pipelines, as the daemon would have.

The stream time of a trial follows the times of the samples. The daemon ticks four times a second while samples
come or wait, and once before the first sample after a quiet time. Replayed that way, a file with a row a second would
cost a thousand times what its samples do; so there are two ways:

* **exactly**: samples are cut where a tick lies between them. At most one tick follows the samples of a quarter of a
  second; while nothing comes, ticks follow at steps that grow by a part of the silence, and the last comes just
  before the next sample, also where nothing waits.
* **swiftly**, where the samples come in the order of time: then a tick more or less closes no window too soon, and a
  chunk is run as a whole. It is cut at pauses, which are ticked through as above, and every twelve hours, so that no
  sample lies a day ahead of its point and is taken for a wild date.

A row dated more than a day ahead of the rows on both sides of it is a wild date, at which no time passes.

Which way it is depends on what the steps hear of time (:func:`longest_span`): nothing; when a point falls silent for
``max_silence``, for which a tick every sixteenth of that is enough; or more, such as a gap that they tell, which needs
the exact way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from gateway.frame import Frame, Index, Times
from gateway.graph import Graph, Outputs
from gateway.trial.source import Chunk
from pipelines.base import Operator, OperatorConfig
from pipelines.runner import Step

TICK_NS: Final = 250_000_000
"""The daemon's."""
QUIET_NS: Final = 2 * TICK_NS
"""Without a tick for longer than this a sample comes behind one, as in :mod:`gateway.intake`."""
FINE: Final = 64
"""Steps of a silence grow by its 64th part: tests, where a user looks at single ticks."""
COARSE: Final = 4
SPAN_NS: Final = 12 * 3600 * 1_000_000_000
WILD_NS: Final = 2 * SPAN_NS
PAUSE_NS: Final = 1_000_000_000
"""A silence is at least so long, and:"""
PAUSE_PERIODS: Final = 16
"""so many times the usual distance of two rows."""

PLAIN_WINDOW: Final = frozenset({
    "every", "months", "stats", "lateness", "late", "expect", "align", "timezone", "relative_error", "bins", "name",
    "points", "dry_run",
})  # fmt: skip
"""Options of a window whose ticks only close what the samples' times have settled. One with others, such as ``hold``
or ``slide``, has results of points that are silent, too; so have:"""
TIMED_STATS: Final = frozenset({"wmean", "duration"})
BY_SILENCE: Final = frozenset({"swinging_door", "piecewise_linear"})
"""Operators that do at a tick what ``max_silence`` asks for, and nothing else."""
PARTS: Final = 16


def longest_span(step: Step, config: OperatorConfig) -> int:
    """How long ticks may stay out, in ns, while samples come in order; :data:`TICK_NS` for the exact way."""
    if type(step.operator).tick is Operator.tick or (step.kind == "window" and _is_plain(config)):
        return SPAN_NS
    silence = getattr(config, "max_silence", None) if step.kind in BY_SILENCE else None
    return TICK_NS if silence is None else max(silence.ns // PARTS, TICK_NS)


def _is_plain(window: OperatorConfig) -> bool:
    """See :data:`PLAIN_WINDOW`."""
    fields = msgspec.structs.fields(window)
    given = {field.name for field in fields if getattr(window, field.name) != field.default}
    return given <= PLAIN_WINDOW and TIMED_STATS.isdisjoint(getattr(window, "stats", ()))


class Replay:
    """One run over a graph; hands what the pipelines make to ``taker``.

    Args:
        graph: the pipelines.
        taker: gets all that comes out.
        span_ns: how long ticks may stay out while samples are in order; :data:`TICK_NS` replays each of them.
        growth: see :data:`FINE`.
    """

    def __init__(self, graph: Graph, taker: Callable[[Outputs], None], *, span_ns: int, growth: int = COARSE) -> None:
        self._graph = graph
        self._taker = taker
        self._span_ns = min(span_ns, SPAN_NS)
        self._growth = growth
        self._newest: int | None = None
        """The latest time of a sample so far; stream time."""
        self._ticked = 0
        self._offset = 0
        """How far the wall clock was stepped: sources' times minus stream time."""
        self.ticks = 0
        self.disorder = 0
        """Rows that came after a later one."""

    def feed(self, chunk: Chunk) -> None:
        """Samples come."""
        times = chunk.times - self._offset if self._offset else chunk.times
        if not len(times):
            return
        if self._newest is None:
            self._ticked = int(times[0]) // TICK_NS * TICK_NS
            self._newest = int(times[0])
        tame = _tame(times)
        stream = np.maximum(np.maximum.accumulate(tame), self._newest)
        late = int(np.count_nonzero(times < stream))
        self.disorder += late
        exactly = late or tame is not times or self._span_ns <= TICK_NS
        cuts = _slots(stream) if exactly else _stretches(stream, self._span_ns)
        for start, end in itertools.pairwise([0, *cuts.tolist(), len(times)]):
            self._segment(chunk.part(start, end), int(stream[start]), int(stream[end - 1]))

    def _segment(self, frame: Frame, first: int, last: int) -> None:
        """Samples between two ticks."""
        begin = first // TICK_NS * TICK_NS
        self.pass_until(begin)
        if begin - self._ticked > QUIET_NS:
            self._tick(begin)
        self._taker(self._graph.process(frame))
        self._newest = last
        self._tick((last // TICK_NS + 1) * TICK_NS)

    def pass_until(self, end: int) -> None:
        """Time passes and nothing comes; stops ticking where nothing waits for time any more, as the daemon does."""
        begin, now = self._ticked, self._ticked
        while now < end and self._graph.queued:
            now = min(now + max(TICK_NS, (now - begin) // self._growth), end)
            self._tick(now)

    def start(self, time_ns: int) -> None:
        """Stream time begins here, if no sample has come yet."""
        if self._newest is None:
            self._newest = time_ns
            self._ticked = time_ns // TICK_NS * TICK_NS

    def clock(self, span_ns: int) -> None:
        """So much time passes, whether or not something waits for it."""
        assert self._newest is not None
        end = max(self._newest, self._ticked) + span_ns
        self.pass_until(end)
        self._newest = end
        if self._ticked < end:
            self._tick(end)

    def step(self, delta_ns: int) -> None:
        """The wall clock jumps; stream time does not."""
        self._taker(self._graph.clock_stepped(delta_ns))
        self._offset += delta_ns

    def finish(self) -> None:
        """Nothing comes any more: all that steps still hold is let go."""
        self._taker(self._graph.clock_stepped(0))

    def _tick(self, now_ns: int) -> None:
        self._taker(self._graph.tick(now_ns))
        self._ticked = now_ns
        self.ticks += 1


def _tame(times: Times) -> Times:
    """The same times, but wild dates get the time before them."""
    if times.max() - times.min() <= WILD_NS:
        return times
    first = np.flatnonzero(np.append(True, times[1:] != times[:-1]))  # of rows of one time
    distinct = times[first]
    wild = np.zeros(len(distinct), np.bool_)
    wild[1:-1] = distinct[1:-1] - WILD_NS > np.maximum(distinct[:-2], distinct[2:])
    if not wild.any():
        return times
    distinct[1:] = np.where(wild[1:], distinct[:-1], distinct[1:])
    return np.repeat(distinct, np.diff(first, append=len(times)))


def _slots(stream: Times) -> Index:
    """Where a new quarter of a second begins."""
    slots = stream // TICK_NS
    return np.flatnonzero(slots[1:] != slots[:-1]) + 1


def _stretches(stream: Times, span_ns: int) -> Index:
    """Where a pause ends, or a span is over."""
    distance = np.diff(stream)
    moved = distance[distance > 0]
    usual = int(np.median(moved)) if len(moved) else 0
    pauses = distance > max(PAUSE_NS, PAUSE_PERIODS * usual)
    spans = stream // span_ns
    return np.flatnonzero(pauses | (spans[1:] != spans[:-1])) + 1
