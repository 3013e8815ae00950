"""What an operator may meet, as hypothesis strategies, and running an operator over it.

A script is a list of parts; a part is samples, then how much time passes until the tick that follows (or, at
times, a step of the clock). A sample is a tuple (point, time, value, quality).
"""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind, Point
from gateway.units import decode_quantity
from pipelines.registry import OPERATORS

START_NS = 1_790_000_000_123_456_789
S = 1_000_000_000
DAY = 86_400 * S
MAX_INT = (1 << 63) - 1

POINTS = (
    Point(name="m1/voltage", unit="V", limits=(0.0, 300.0)),
    Point(name="m1/power", unit="W"),
    Point(name="m1/energy", unit="kW.h", kind=Kind.COUNTER, resolution=0.01),
    Point(name="m2/state", kind=Kind.STATE, limits=(0.0, 5.0)),
    Point(name="m2/voltage", unit="V", limits=(-math.inf, math.inf), resolution=0.5),
    Point(name="m2/power", unit="W", limits=(-1e308, 1.7e308)),
)


def directory() -> Directory:
    points = Directory()
    for point in POINTS:
        points.add(point)
    return points


def operator(kind, options, points):
    config = msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)
    return config.create(points)


def frame_of(samples) -> Frame:
    return Frame.of(*map(list, zip(*samples, strict=True))) if samples else EMPTY


def rows(frame: Frame, points: Directory) -> list[tuple[str, int, bytes, int]]:
    """Samples by the name of their point; values as bytes, so that NaNs compare by their bits."""
    names = [points.name(i) for i in frame.point.tolist()]
    values = [value.tobytes() for value in frame.value]
    return list(zip(names, frame.time.tolist(), values, frame.quality.tolist(), strict=True))


NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 0.3, 5.0, 299.5, 300.0, 300.5]),
    st.floats(-10, 400, width=32),
)
VALUES = st.one_of(
    NUMBERS,
    NUMBERS,
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308, -1.7e308]),
    st.sampled_from(list(q.Reason)).map(q.no_value),
)
QUALITIES = st.one_of(
    st.just(0),
    st.just(0),
    st.sampled_from([q.INVALID, q.QUESTIONABLE, q.HISTORICAL, q.QUESTIONABLE | q.OLD_DATA]),
    st.integers(0, 0xFFFF),
)
NEAR = st.integers(0, 12 * S)
OFFSETS = st.one_of(NEAR, NEAR, NEAR, st.sampled_from([0, S, 2 * S, -S, 2 * DAY, 3 * DAY, -2 * DAY]))
EXTREME = st.sampled_from([-MAX_INT - 1, -MAX_INT, -1, 0, MAX_INT - 1, MAX_INT])
TIMES = st.one_of(OFFSETS.map(lambda ns: START_NS + ns), OFFSETS.map(lambda ns: START_NS + ns), EXTREME)

TAME = st.tuples(st.integers(0, len(POINTS) - 1), NEAR.map(lambda ns: START_NS + ns), NUMBERS, QUALITIES)
WILD = st.tuples(st.integers(0, len(POINTS) - 1), TIMES, VALUES, QUALITIES)
PAUSES = st.one_of(st.integers(0, 4 * S), st.sampled_from([0, 50_000_000, 30 * S]))
STEPS = st.sampled_from([False, False, False, True])


@st.composite
def scripts(draw, samples=WILD, steps=STEPS):
    """Lists of (samples, pause in ns, whether the clock is stepped)."""
    return draw(st.lists(st.tuples(st.lists(samples, max_size=24), PAUSES, steps), min_size=1, max_size=6))


class Run:
    """One operator over a script, with the counting that the pipeline's runner does."""

    def __init__(self, kind, options, points=None) -> None:
        self.kind, self.options = kind, options
        self.points = points or directory()
        self.operator = operator(kind, options, self.points)
        self.now = START_NS
        self.outputs: list[Frame] = []

    def _count(self, taken, call, *arguments) -> Frame:
        counts = self.operator.counts
        derived = counts.derived
        out = call(*arguments)
        counts.samples_in += taken
        counts.samples_out += len(out) - (counts.derived - derived)
        assert counts.balanced, counts.as_dict()
        assert min(v for v in counts.as_dict().values() if isinstance(v, int)) >= 0
        return out

    def process(self, samples) -> Frame:
        frame = frame_of(samples)
        return self._count(len(frame), self.operator.process, frame)

    def part(self, samples, pause, step, cuts=()) -> Frame:
        """All that one part of a script gives, its samples cut at the given places."""
        at = [0, *sorted(cut % (len(samples) + 1) for cut in cuts), len(samples)]
        frames = [self.process(samples[a:b]) for a, b in itertools.pairwise(at)]
        self.now += pause
        if step:
            frames.append(self._count(0, self.operator.clock_stepped, pause))
        frames.append(self._count(0, self.operator.tick, self.now))
        out = concat(frames)
        self.outputs.append(out)
        return out

    def script(self, script, cuts=()) -> list[list[tuple[str, int, bytes, int]]]:
        return [rows(self.part(*part, cuts), self.points) for part in script]

    def moved(self) -> Run:
        """The same, continued by a new operator from a snapshot."""
        other = Run(self.kind, self.options, self.points)
        other.now = self.now
        other.operator.restore(self.operator.snapshot())
        other.operator.counts.restore(self.operator.counts.as_dict())
        return other


def plain(state):
    """A snapshot as nested tuples, arrays as bytes; fails on what a checkpoint cannot hold."""
    if isinstance(state, np.ndarray):
        assert state.dtype.kind in "biuf", state.dtype
        return state.dtype.str, state.shape, state.tobytes()
    if isinstance(state, dict):
        assert all(type(key) is str for key in state)
        return tuple((key, plain(value)) for key, value in state.items())
    if isinstance(state, list):
        return tuple(map(plain, state))
    assert state is None or type(state) in {int, float, str, bool}, type(state)
    return state
