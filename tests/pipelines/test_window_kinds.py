"""Windows of all kinds and with all statistics against the plain reference."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines import reference_aggregate
from tests.pipelines.scripts import TAME, WILD, Run, directory, scripts
from tests.pipelines.test_operators import config_of
from tests.support.trials import trials

ALL = [
    "count", "sum", "mean", "min", "max", "min_time", "max_time", "range", "first", "last", "variance", "stddev",
    "distinct", "histogram", "coverage", "validity", "p50",
]  # fmt: skip
BINS = {"bins": [0, 1, 5, 300]}
BERLIN = {"align": "local", "timezone": "Europe/Berlin"}
DEVICE = {"over": "device", "name": "{device}/all"}

OPTIONS = [
    {"every": "1s", "stats": ALL, "lateness": "500ms", **BINS},
    {"every": "2s", "stats": [*ALL, "wmean", "duration"], "lateness": "1s", **BINS},
    {"every": "2s", "stats": ["wmean", "duration", "coverage", "count"], "lateness": "0s", "late": "next"},
    {"every": "1s", "stats": ["wmean", "duration", "coverage", "mean"], "hold": "3500ms", "lateness": "500ms"},
    {"every": "1s", "stats": ["wmean", "duration"], "hold": "300ms", "above": 4.0},
    {"every": "3s", "slide": "1s", "stats": ALL, "lateness": "0s", **BINS},
    {"every": "4s", "slide": "500ms", "stats": ["wmean", "duration", "coverage", "max"], "late": "pass"},
    {"every": "2s", "slide": "1s", "stats": ["mean", "coverage"], "expect": "100ms", "late": "next", "lateness": "0s"},
    {"session": "1s", "stats": [*ALL, "wmean", "duration"], "lateness": "500ms", **BINS},
    {"session": "10ms", "stats": ["count", "coverage"], "lateness": "0s", "late": "pass"},
    {"count": 3, "stats": [*ALL, "wmean", "duration"], "lateness": "1s", **BINS},
    {"count": 1, "stats": ["last"], "lateness": "0s", "late": "pass"},
    {"every": "1s", "stats": ALL, "late": "correction", "corrections": "4s", "lateness": "0s", **BINS},
    {"every": "1s", "stats": ["count"], "late": "correction", "corrections": "1ms", "lateness": "1s"},
    {"every": "1h", "stats": ALL, **BERLIN, **BINS},
    {"every": "1d", "stats": ["count", "wmean", "coverage"], **BERLIN},
    {"months": 1, "stats": ["count", "wmean", "coverage"], **BERLIN},
    {"every": "2s", "stats": ALL, **DEVICE, **BINS, "lateness": "0s"},
    {"every": "2s", "stats": ["wmean", "coverage"], "hold": "4s", **DEVICE},
    {"every": "2s", "slide": "1s", "stats": ["sum", "stddev"], "over": "all", "name": "site/all"},
    {"session": "1s", "stats": ["count", "mean"], "over": "*/{what}", "name": "site/{what}"},
    {"count": 4, "stats": ["count", "sum"], "over": "*/voltage", "name": "site/voltage"},
    {"every": "1s", "stats": ["mean"], "late": "correction", "corrections": "3s", "lateness": "0s", **DEVICE},
]  # fmt: skip


def expected_of(options, script):
    """What the reference gives for each part: samples passed, results; and the reference."""
    points = directory()
    plain = reference_aggregate.Window(config_of("window", options), points)
    now, found = Run("window", options).now, []
    for samples, pause, step in script:
        passed = plain.process(samples)
        now += pause
        results = plain.clock_stepped() if step else []
        results += plain.tick(now)
        found.append(([(points.name(p), t, v, word) for p, t, v, word in passed], results))
    return found, plain


TOLERANCES = {
    "sum": (1e-11, 1e-9), "mean": (1e-11, 1e-9), "wmean": (1e-11, 1e-9), "variance": (1e-11, 1e-11),
    "stddev": (1e-11, 1e-5),
}  # fmt: skip


def same(stat, value, wanted, options):
    """Equal, but for what is rounded (relative, absolute) and for quantiles."""
    if math.isnan(wanted) or math.isnan(value):
        return struct.pack("<d", value) == struct.pack("<d", wanted)
    if stat[:1] == "p" and stat[1:].isdigit():
        return abs(value - wanted) <= options.get("relative_error", 0.01) * abs(wanted) * (1 + 1e-9) + 1e-12
    relative, absolute = TOLERANCES.get(stat, (0, 0))
    return value == pytest.approx(wanted, rel=relative, abs=absolute)


def compare(options, script):
    run = Run("window", options)
    parts, plain = expected_of(options, script)
    for (samples, pause, step), (passed, results) in zip(script, parts, strict=True):
        out = run.part(samples, pause, step)
        found = [
            (run.points.name(p), t, v, word)
            for p, t, v, word in zip(*(c.tolist() for c in (out.point, out.time, out.value, out.quality)), strict=True)
        ]
        wanted = passed + results
        assert [(n, t, w) for n, t, _, w in found] == [(n, t, w) for n, t, _, w in wanted]
        for (name, _, value, _), (_, _, number, _) in zip(found, wanted, strict=True):
            assert same(name.partition("#")[2], value, number, options), (name, value, number)
    counts = run.operator.counts
    assert {k: v for k, v in counts.reasons.items() if v} == plain.reasons
    assert counts.dropped == sum(plain.dropped.values())


@pytest.mark.parametrize("options", OPTIONS, ids=map(str, range(len(OPTIONS))))
@settings(max_examples=trials(40), deadline=None)
@given(script=scripts(samples=TAME))
def test_gives_what_the_reference_gives(options, script):
    compare(options, script)


SIMPLE = ["count", "min", "max", "range", "min_time", "max_time", "histogram", "validity", "coverage"]


@pytest.mark.parametrize(
    "options",
    [
        {"every": "1s", "stats": SIMPLE, **BINS},
        {"every": "3s", "slide": "1s", "stats": SIMPLE, **BINS},
        {"every": "1s", "stats": ["count", "max"], "late": "correction", "corrections": "4s", "lateness": "0s"},
    ],
)
@settings(max_examples=trials(40), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD)))
def test_wild_values_and_times(options, script):
    compare(options, script)
