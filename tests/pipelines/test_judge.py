"""The operators that judge against the plain reference, over random streams."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway import quality as q
from tests.pipelines import reference_judge
from tests.pipelines.scripts import START_NS, TAME, WILD, Run, S, directory, scripts
from tests.pipelines.test_operators import bits, config_of
from tests.support.trials import trials

STALE = bits(q.no_value(q.Reason.STALE))
# Few values and whole seconds, so that samples are alike and meet; bursts of a point in order of time
TIDY = st.tuples(
    st.integers(0, 5),
    st.integers(0, 9).map(lambda s: START_NS + s * S),
    st.sampled_from([0.0, 1.0, -1.0, 2.0, 3.0, 300.0, -300.0, -0.0, 1.7e308, -1.7e308]),
    st.sampled_from([0, 0, 0, 0, q.QUESTIONABLE | q.OLD_DATA, q.INVALID]),
)


@st.composite
def running(draw):
    """Parts of which each goes on in time where the one before ended."""
    parts, now = [], START_NS
    values = draw(st.sampled_from([st.floats(-3, 3), st.sampled_from([0.0, 1.0, 5.0]), st.floats(width=32)]))
    for _ in range(draw(st.integers(1, 5))):
        samples = []
        for _ in range(draw(st.integers(0, 20))):
            now += draw(st.sampled_from([0, 0, 300_000_000, S, 2 * S]))
            late = draw(st.sampled_from([0, 0, 0, 0, 0, 2 * S, 7200 * S]))
            samples.append((draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5])), now - late, draw(values), 0))
        pause, step = draw(st.sampled_from([0, S, 4 * S, 10 * S])), draw(st.sampled_from([False] * 5 + [True]))
        parts.append((samples, pause, step))
    return parts


SCRIPTS = st.one_of(running(), running(), scripts(samples=TIDY), scripts(samples=st.one_of(TAME, WILD)))
OPTIONS = {
    "rate_of_change": [{"max": 0.5}, {"up": "5%", "action": "drop"}, {"max": "1%", "down": 0.0}, {"down": 1e300}],
    "flat_line": [
        {"for": "2s"},
        {"for": "1s", "band": 1.0, "action": "drop"},
        {"for": "500ms", "band": "20%"},
        {"for": "1ns", "band": 1.7e308},
    ],
    "spike": [
        {"samples": 3, "least": 3, "k": 1.0},
        {"samples": 7, "least": 4, "k": 0.0, "min_deviation": 1.0, "action": "drop"},
        {"samples": 5, "least": 3, "k": 2.0, "within": "3s", "action": "replace"},
        {"samples": 35, "least": 3, "k": 2.0, "within": "1s"},
        {"samples": 3, "least": 3, "k": 1.0, "centred": True, "wait": "2s"},
        {"samples": 7, "least": 3, "k": 0.5, "centred": True, "action": "drop", "wait": "5s"},
        {"samples": 5, "least": 4, "k": 1.0, "centred": True, "within": "4s", "action": "replace", "wait": "10s"},
    ],
    "oscillation": [{"turns": 1, "within": "3s"}, {"turns": 2, "within": "5s", "band": "10%", "action": "drop"}],
    "gap": [{"after": "2s"}, {"after": "500ms", "action": "drop"}, {"after": "3s", "tell": False}],
    "cross_check": [
        {"sum": {"of": ["*/voltage"], "total": "*/power", "percent": 50}, "lateness": "1s"},
        {
            "sum": [{"of": ["m1/voltage", "m1/power"], "total": "m2/power", "absolute": 1}],
            "power": {"u": "*/voltage", "i": "*/power", "p": "*/voltage", "name": "limit"},
            "equal": {"left": "*/voltage * 2", "right": "*/power + */voltage", "percent": 0},
            "lateness": "2s",
            "max_gap": "3s",
            "action": "drop",
        },
        {"equal": {"left": "*/voltage", "right": "abs(*/power)"}, "hold": False, "lateness": "0s"},
        {
            "power": {"u": "*/voltage", "i": "*/voltage", "pf": "*/power", "p": "*/power", "percent": 10},
            "marks": "*/power",
            "report": False,
            "lateness": "500ms",
        },
    ],
    "ct_reversal": [
        {"phases": ["*/voltage", "*/power"], "for": "1s", "lateness": "1s"},
        {"phases": ["*/voltage", "*/power"], "load": "generator", "for": "0s", "action": "drop", "max_gap": "2s"},
        {"phases": ["m1/voltage", "m1/power", "m2/power"], "for": "2s", "min_power": 0.5, "max_gap": "5s"},
    ],
}
CASES = [(kind, options) for kind, some in OPTIONS.items() for options in some]
BEHIND_THE_WATERMARK = [
    ([(0, START_NS, 0.0, 0)] * 8, 0, False),
    ([], S, False),
    ([(0, START_NS + S // 3, 0.0, 0), (1, START_NS + S // 3, 0.0, 0)], 0, False),
]
"""A tick moves the watermark while nothing waits: what comes behind it is late all the same."""


def run_plain(kind, options, script):
    """What the reference gives for each part, by names."""
    points = directory()
    plain = reference_judge.OPERATORS[kind](config_of(kind, options), points)
    now, parts = START_NS, []
    for samples, pause, step in script:
        found = plain.process(samples)
        now += pause
        if step:
            found += plain.clock_stepped()
        found += plain.tick(now)
        parts.append([(points.name(p), t, bits(v), word) for p, t, v, word in found])
    return parts, plain


def by_point(parts):
    return [sorted(part, key=lambda row: row[0]) for part in parts]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(CASES)])
@settings(max_examples=trials(60), deadline=None)
@example(script=BEHIND_THE_WATERMARK)
@given(script=SCRIPTS)
def test_gives_what_the_reference_gives(kind, options, script):
    run = Run(kind, options)
    expected, plain = run_plain(kind, options, script)
    assert by_point(run.script(script)) == by_point(expected)
    assert run.operator.counts.dropped == plain.dropped


@pytest.mark.parametrize(("kind", "options"), CASES, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(CASES)])
@settings(max_examples=trials(20), deadline=None)
@given(script=SCRIPTS)
def test_a_verdict_never_improves_a_quality_and_invents_nothing(kind, options, script):
    run = Run(kind, options)
    came, out = [], []
    for part in script:
        came += [(p, t, v, word) for p, t, v, word in part[0]]
        out += run.script([part])[0]
    out += run.script([([], 0, True)])[0]
    own = {(run.points.name(p), t) for p, t, _, _ in came}
    words = {}
    for p, t, _, word in came:
        words.setdefault((run.points.name(p), t), []).append(word)
    for name, time, value, word in out:
        if "#" in name or value == STALE:
            continue
        assert (name, time) in own
        assert any(one & ~word & ~3 == 0 and _worst(one) <= _worst(word) for one in words[name, time])
    if run.operator.counts.dropped == 0:
        assert run.operator.counts.samples_in == run.operator.counts.samples_out


def _worst(word):
    return {0: 0, 3: 1, 2: 2, 1: 3}[word & 3]
