"""Running a reducing operator and its plain reference over one script, and what both gave by point."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from hypothesis import strategies as st

from gateway import quality as q
from pipelines.reconstruct import RECONSTRUCTION, error, pieces
from tests.pipelines import reference, reference_reduce
from tests.pipelines.scripts import START_NS, Run, S
from tests.pipelines.test_operators import config_of

PLAIN = {**reference.OPERATORS, **reference_reduce.OPERATORS}

# Values and times repeat, as they do in the field.
OFTEN = st.tuples(
    st.integers(0, 5),
    st.integers(0, 8).map(lambda s: START_NS + s * S),
    st.sampled_from([0.0, -0.0, 1.0, 1.05, 2.5, math.nan, math.inf, q.no_value(q.Reason.TIMEOUT)]),
    st.sampled_from([0, 0, 0, q.HISTORICAL, q.QUESTIONABLE, q.INVALID]),
)


def by_point(samples):
    """Samples of each point in their order, values by their bits."""
    found = defaultdict(list)
    for point, time, value, quality in samples:
        found[point].append((time, np.float64(value).tobytes(), quality))
    return dict(found)


def ran(run, script):
    """What the operator gives for each part, by point."""
    found = []
    for part in script:
        out = run.part(*part)
        columns = (out.point, out.time, out.value, out.quality)
        found.append(by_point(zip(*(column.tolist() for column in columns), strict=True)))
    return found


def expected(kind, options, script, points):
    """The same of the plain reference."""
    plain, now, found = PLAIN[kind](config_of(kind, options), points), START_NS, []
    for samples, pause, step in script:
        out = plain.process(samples)
        now += pause
        if step and hasattr(plain, "clock_stepped"):
            out = out + plain.clock_stepped()
        if hasattr(plain, "tick"):
            out = out + plain.tick(now)
        found.append(by_point(out))
    return found


def agree(kind, options, script, many_lanes=None):
    run = Run(kind, options)
    if many_lanes is not None:
        run.operator.many_lanes = many_lanes
    assert ran(run, script) == expected(kind, options, script, run.points)


def errors(kind, options, script):
    """For each point: (its number, values that came, how far the reconstruction of each lies from it).

    Everything held is let go at the end. Times that go back begin a new piece.
    """
    run = Run(kind, options)
    outputs = [run.part(*part) for part in script]
    outputs.append(run.part([], 0, step=True))
    for point in range(6):
        came = [(t, v) for samples, _, _ in script for p, t, v, _ in samples if p == point]
        kept = [
            sample
            for out in outputs
            for p, *sample in zip(out.point.tolist(), out.time.tolist(), out.value.tolist(), strict=True)
            if p == point
        ]
        if came:
            yield point, *_errors_of(RECONSTRUCTION[kind], came, kept)


def _columns(samples):
    times, values = zip(*samples, strict=True)
    return np.array(times, np.int64), np.array(values, float)


def _errors_of(rule, came, kept):
    series, left = _columns(came), _columns(kept)
    cuts, own = pieces(series[0]), pieces(left[0])
    assert len(cuts) == len(own)
    found = []
    for a, b, c, d in zip(cuts, [*cuts[1:], len(came)], own, [*own[1:], len(kept)], strict=True):
        found.append(error(rule, (series[0][a:b], series[1][a:b]), (left[0][c:d], left[1][c:d])))
    return series[1], np.concatenate(found)
