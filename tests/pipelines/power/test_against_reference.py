"""Every power operator against the same rule in plain Python, over random streams."""

from __future__ import annotations

import math
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.units import decode_quantity
from pipelines.registry import OPERATORS
from tests.pipelines import reference_power
from tests.pipelines.reference import reason
from tests.pipelines.scripts import START_NS, WILD, Run, S, directory, rows, scripts
from tests.support.trials import trials

VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, 5.0, 20.0, 22.0, 23.0, 100.0, 230.0, 240.0, 300.0, -5.0]),
    st.floats(0.5, 400, width=32),
    st.sampled_from([math.nan, math.inf, q.no_value(q.Reason.TIMEOUT)]),
)
WORDS = st.one_of(
    st.just(0), st.just(0), st.just(0), st.sampled_from([q.INVALID, q.QUESTIONABLE | q.OLD_DATA, q.HISTORICAL])
)
TIMES = st.one_of(
    st.integers(0, 12).map(lambda s: START_NS + s * S),
    st.integers(0, 24 * S).map(lambda ns: START_NS + ns),
    st.integers(0, 3000).map(lambda s: START_NS + s * S),
)
SAMPLES = st.tuples(st.integers(0, 5), TIMES, VALUES, WORDS)
COUNTERS = st.tuples(
    st.integers(0, 2), TIMES, st.one_of(st.integers(0, 310).map(float), st.sampled_from([1e5, 0.0, math.nan])), WORDS
)
CASES = [
    ("interval_mean", {"every": "2s", "max_gap": "1s", "lateness": "500ms"}),
    ("interval_mean", {"every": "5m", "max_gap": "30s", "of": "rms", "timezone": "Asia/Kathmandu", "keep": False}),
    ("demand", {"block": "2s", "max_gap": "2s", "lateness": "0s", "coverage": 0.5}),
    ("demand", {"block": "4s", "method": "sliding", "update": "1s", "max_gap": "3s", "period": "day", "coverage": 0.3}),
    ("demand", {"block": "15m", "method": "rolling", "max_gap": "10m", "timezone": "Europe/Berlin", "coverage": 0.1}),
    ("supply_quality", {"nominal": 230.0, "max_gap": "1m", "coverage": 0.1, "period": "day"}),
    ("supply_quality", {"nominal": 22.0, "lateness": "0s", "hysteresis": 0.0, "coverage": 0.01}),
    ("energy", {"rated": 36000.0, "rollover": 300.0, "max_gap": "3s"}),
    ("energy", {"rated": 36000.0, "lifetime": False, "lateness": "0s"}),
    ("energy", {"rated": "10MW", "every": "2s", "max_gap": "2s", "rollover": 311.0}),
    ("energy", {"rated": 360000.0, "every": "5m", "timezone": "Asia/Kathmandu", "keep": False}),
    ("power_factor", {"p": "*/power", "q": "*/voltage", "min_apparent": 30.0}),
    ("power_factor", {"p": "*/power", "q": "*/voltage", "sign": "ieee", "max_gap": "0s", "keep": False}),
    ("power_factor", {"p": ["m1/power", "m2/power"], "q": ["m1/voltage", "m2/voltage"], "set": "site/pf"}),
    ("unbalance", {"of": ["*/voltage", "*/power", "*/energy"], "definition": "nema", "max_gap": "20s"}),
    ("unbalance", {"of": ["*/voltage", "*/power", "*/energy"], "definition": "v2/v1", "max_gap": "20s"}),
    (
        "unbalance",
        {"of": ["m1/voltage", "m1/power", "m1/energy"], "angles": ["m2/voltage", "m2/power", "m2/state"],
         "definition": "v2/v1", "set": "site/unbalance", "max_gap": "1m", "min": 10.0},
    ),
    ("outage", {"of": ["*/voltage", "*/power"], "nominal": 230.0, "silence": "6s", "max_gap": "30s"}),
    ("outage", {"of": ["*/voltage"], "nominal": 230.0, "lateness": "0s"}),
    (
        "state_of_charge",
        {"current": "*/power", "voltage": "*/voltage", "capacity": 2.0, "full_voltage": 230.0, "full_current": 25.0,
         "empty_voltage": 5.0, "efficiency": 0.9},
    ),
    ("state_of_charge", {"current": "*/power", "capacity": 2.0, "initial": 30.0, "invert": True, "max_gap": "5m"}),
    ("transformer_load", {"p": "*/power", "q": "*/voltage", "rated": 400.0}),
    ("transformer_load", {"apparent": "*/power", "rated": "200VA", "ambient": "20", "max_gap": "0s"}),
    ("transformer_load", {"apparent": "*/power", "rated": 200.0, "ambient": "*/voltage", "kind": "onan"}),
    ("transformer_load", {"apparent": "m1/power", "rated": 200.0, "ambient": "30", "upgraded": True, "set": "t/load"}),
    ("line_loss", {"head": "m1/power", "children": "*/voltage", "set": "feeder/loss", "lateness": "2s"}),
    ("line_loss", {"head": "m1/power", "children": "m2/power", "set": "feeder/loss", "keep": False}),
    ("line_loss", {"head": "m1/voltage", "children": ["m2/voltage"], "set": "feeder/loss", "lateness": "0s"}),
]  # fmt: skip
IDS = [f"{kind}-{at}" for at, (kind, _) in enumerate(CASES)]
JOINED = {"power_factor", "unbalance", "outage", "state_of_charge", "transformer_load"}


def oracle(kind, options):
    config = msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)
    return reference_power.OPERATORS[kind](config, directory())


def compared(found, expected):
    """Results by point and time: names, times, qualities and reasons alike, values to the last few bits."""
    found = sorted((name, t, struct.unpack("<d", v)[0], word) for name, t, v, word in found)
    expected = sorted(expected)
    assert [(name, t, word) for name, t, _, word in found] == [(name, t, word) for name, t, _, word in expected]
    for (name, _, ours, _), (_, _, theirs, _) in zip(found, expected, strict=True):
        if math.isnan(theirs):
            assert math.isnan(ours), name
            assert reason(ours) == reason(theirs)
        else:
            assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-6), name


def both(kind, options, script):
    """Run both over a script, comparing after each part."""
    run, plain = Run(kind, options), oracle(kind, options)
    for samples, pause, step in script:
        kept = [(run.points.name(p), t, struct.pack("<d", v), w) for p, t, v, w in plain.process(samples)]
        assert rows(run.process(samples), run.points) == kept
        run.now += pause
        found, expected = [], []
        if step:
            found += rows(run._count(0, run.operator.clock_stepped, pause), run.points)
            expected += plain.clock_stepped()
        found += rows(run._count(0, run.operator.tick, run.now), run.points)
        expected += plain.tick(run.now)
        compared(found, expected)
    return run, plain


def same_reasons(run, plain):
    ours = {name: n for name, n in run.operator.counts.reasons.items() if n and name != "no-power-unit"}
    assert ours == {name: n for name, n in plain.reasons.items() if n}


@pytest.mark.parametrize(("kind", "options"), CASES, ids=IDS)
@settings(max_examples=trials(60), deadline=None)
@given(data=st.data())
def test_gives_what_the_reference_gives(kind, options, data):
    samples = COUNTERS if kind == "energy" else SAMPLES
    same_reasons(*both(kind, options, data.draw(scripts(samples=samples))))


LONE = [(kind, options) for kind, options in CASES if kind not in JOINED]


@pytest.mark.parametrize(("kind", "options"), LONE, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(LONE)])
@settings(max_examples=trials(25), deadline=None)
@given(script=scripts(samples=WILD))
def test_gives_what_the_reference_gives_for_wild_samples(kind, options, script):
    same_reasons(*both(kind, options, script))


@pytest.mark.parametrize("grouping", ["none", "subgroup", "group"])
@settings(max_examples=trials(25), deadline=None)
@given(data=st.data())
def test_harmonics_are_those_of_a_transform_by_hand(grouping, data):
    options = {"rate": 200.0, "highest": 1, "grouping": grouping, "lateness": "0s", "frequency": 50}
    value = st.floats(-10, 10, width=32) | st.sampled_from([0.0, 0.0, math.nan])
    script = []
    for _ in range(data.draw(st.integers(1, 4))):
        start = START_NS + data.draw(st.integers(0, 60)) * 5_000_000
        values = data.draw(st.lists(value, min_size=1, max_size=90))
        script.append(([(0, start + i * 5_000_000, v, 0) for i, v in enumerate(values)], 0, data.draw(st.booleans())))
    same_reasons(*both("thd", options, script))
