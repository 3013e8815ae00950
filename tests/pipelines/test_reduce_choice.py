"""Rate limit and top-k, which choose among many samples: the promises one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.operators.reduce import rate_limit
from tests.pipelines.reducing import OFTEN, agree, by_point
from tests.pipelines.scripts import NEAR, NUMBERS, START_NS, TAME, Run, S, scripts
from tests.support.trials import trials


@pytest.mark.parametrize("by", ["value", "lowest", "change"])
@pytest.mark.parametrize("lateness", ["0s", "3s"])
@settings(max_examples=trials(60), deadline=None)
@given(
    script=scripts(
        samples=st.one_of(OFTEN, st.tuples(st.integers(0, 5), NEAR.map(START_NS.__add__), NUMBERS, st.just(0)))
    )
)
def test_top_k_passes_what_the_reference_passes(by, lateness, script):
    agree("top_k", {"k": 2, "every": "2s", "by": by, "lateness": lateness}, script)


# rate limit


def limited(options, parts):
    """Values that pass at each tick; parts are lists of (point, seconds, value), a tick each second."""
    run = Run("rate_limit", options)
    found = []
    for part in parts:
        out = run.part([(p, START_NS + int(s * S), v, 0) for p, s, v in part], S, step=False)
        found.append(out.value.tolist())
    return found, run.operator.counts


@pytest.mark.parametrize(
    ("rule", "kept"), [("drop_newest", [0, 1, 2]), ("drop_oldest", [6, 7, 8]), ("thin", [2, 5, 8])]
)
def test_the_named_rule_says_what_is_dropped(rule, kept):
    found, counts = limited({"rate": 3.0, "rule": rule}, [[(0, at / 10, float(at)) for at in range(9)]])
    assert found == [kept]
    assert (counts.dropped, counts.reasons) == (6, {"rate-limit": 6})


def test_a_rate_holds_over_time_and_saves_up_no_more_than_the_burst():
    busy = [(0, 0, 1.0)] * 10
    found, _ = limited({"rate": 2.0, "burst": 4}, [busy, busy, busy, [], [], [], [], busy])
    assert [len(part) for part in found] == [4, 2, 2, 0, 0, 0, 0, 4]


def test_a_shared_rate_is_spread_over_all_points():
    parts = [[(p, second, float(p)) for p in range(6)] for second in range(40)]
    for rule in ("thin", "drop_oldest", "drop_newest"):
        found, _ = limited({"rate": 3.0, "per": "pipeline", "rule": rule}, parts)
        assert all(len(part) == 3 for part in found)
        counts = np.bincount(np.concatenate(found).astype(int), minlength=6)
        assert counts.min() >= 10, rule


@settings(max_examples=trials(60), deadline=None)
@given(
    script=scripts(samples=TAME, steps=st.just(False)),
    rate=st.sampled_from([0.4, 1.0, 5.0]),
    burst=st.integers(1, 4),
    per=st.sampled_from(["point", "pipeline"]),
)
def test_never_more_than_rate_and_burst(script, rate, burst, per):
    run = Run("rate_limit", {"rate": rate, "burst": burst, "per": per})
    begun = run.now
    passed = [run.part(*part) for part in script]
    most = rate * (run.now - begun) / 1e9 + burst
    ids = np.concatenate([frame.point for frame in passed])
    assert (np.bincount(ids, minlength=1) if per == "point" else np.array([len(ids)])).max() <= most


def test_what_waits_for_a_tick_is_bounded(monkeypatch):
    monkeypatch.setattr(rate_limit, "MOST_HELD", 5)
    run = Run("rate_limit", {"rate": 10.0})
    run.process([(0, START_NS + at, 1.0, 0) for at in range(8)])
    assert run.operator.counts.reasons == {"queue-full": 3}


# top-k


def test_the_points_that_stand_out():
    run = Run("top_k", {"k": 2, "every": "10s", "lateness": "0s"})
    start = START_NS // (10 * S) * 10 * S
    samples = [(p, start + s * S, float(p * 10 - s), 0) for s in range(3) for p in (0, 1, 2, 4)]
    assert len(run.part(samples, S, step=False)) == 0
    assert run.operator.counts.queued == 12
    out = run.part([], 10 * S, step=False)
    assert by_point(
        zip(out.point.tolist(), out.time.tolist(), out.value.tolist(), out.quality.tolist(), strict=True)
    ) == {
        2: [(start, np.float64(20).tobytes(), 0)],
        4: [(start, np.float64(40).tobytes(), 0)],
    }
    assert (run.operator.counts.queued, run.operator.counts.filtered) == (0, 10)


def test_change_passes_the_last_sample_of_the_points_that_moved_most():
    run = Run("top_k", {"k": 1, "every": "10s", "by": "change", "lateness": "0s"})
    start = START_NS // (10 * S) * 10 * S
    run.part(
        [(p, start + s * S, v, 0) for p, row in ((0, (5, 6, 7)), (1, (0, 9, 1))) for s, v in enumerate(row)],
        S,
        step=False,
    )
    out = run.part([], 10 * S, step=False)
    assert (out.point.tolist(), out.value.tolist()) == ([1], [1.0])


def test_late_and_wild_samples_are_dropped_with_their_reason():
    run = Run("top_k", {"k": 1, "every": "1s", "lateness": "0s"})
    run.part([(0, START_NS, 1.0, 0)], 5 * S, step=False)
    run.part([], 5 * S, step=False)
    run.part([(0, START_NS, 1.0, 0), (0, START_NS + 3 * 86_400 * S, 1.0, 0)], 0, step=False)
    assert run.operator.counts.reasons == {"late": 1, "early": 1}
