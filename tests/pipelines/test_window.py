"""Windows: against the reference, and the promises one by one."""

from __future__ import annotations

import itertools
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.frame import concat
from gateway.point import Merge, Point
from pipelines.operators.aggregate.window import WindowConfig
from tests.pipelines.scripts import DAY, MAX_INT, TAME, WILD, Run, S, rows, scripts
from tests.pipelines.test_operators import bits, run_reference
from tests.support.trials import trials

EXACT = ["count", "sum", "mean", "min", "max", "last", "first", "coverage"]
T0 = 1_790_000_000 * S  # a whole second, and a multiple of 10 s

OPTIONS = [
    {"every": "1s", "stats": EXACT, "lateness": "500ms"},
    {"every": "2s", "stats": EXACT, "late": "next", "expect": "100ms", "lateness": "0s"},
    {"every": "700ms", "stats": ["last", "sum"], "late": "pass", "lateness": "0s"},
    {"every": "1ms", "stats": EXACT, "lateness": "2s"},
    {"every": "15m", "stats": EXACT},
]


def without_sign_of_zero(result):
    """-0.0 and 0.0 are the same minimum or maximum."""
    name, end, value, word = result
    number = struct.unpack("<d", value)[0]
    return name, end, bits(number or 0.0), word


@pytest.mark.parametrize("options", OPTIONS)
@settings(max_examples=trials(40), deadline=None)
@given(script=scripts(samples=st.one_of(TAME, WILD)))
def test_gives_what_the_reference_gives(options, script):
    run = Run("window", options)
    expected, plain = run_reference("window", options, script)
    for found, (passed, results) in zip(run.script(script), expected, strict=True):
        wanted = passed + [(name, end, bits(value), word) for name, end, value, word in results]
        assert list(map(without_sign_of_zero, found)) == list(map(without_sign_of_zero, wanted))
    counts = run.operator.counts
    assert counts.reasons["early"] == plain.dropped["early"]
    assert counts.reasons["late"] == plain.late
    assert counts.dropped == sum(plain.dropped.values())


@settings(max_examples=trials(40), deadline=None)
@given(script=scripts(samples=TAME))
def test_quantiles_are_within_one_percent(script):
    options = {"every": "3s", "stats": ["p1", "p50", "p90", "p99.9"], "lateness": "0s"}
    expected, _ = run_reference("window", options, script)
    for found, (_, results) in zip(Run("window", options).script(script), expected, strict=True):
        assert len(found) == len(results)
        for (name, end, value, word), (name2, end2, exact, word2) in zip(found, results, strict=True):
            number = struct.unpack("<d", value)[0]
            assert (name, end, word) == (name2, end2, word2)
            assert abs(number - exact) <= 0.01 * abs(exact) + 1e-12 or math.isnan(exact)


def window(**options):
    return Run("window", {"every": "10s", "lateness": "2s", "stats": ["count"], **options})


def feed(run, *samples, tick_at):
    """Samples of m1/power as (seconds, value[, quality]); a tick ``tick_at`` seconds after the start."""
    passed = run.process([(1, T0 + round(t * S), v, *(more or [0])) for t, v, *more in samples])
    out = run._count(0, run.operator.tick, T0 + round(tick_at * S))
    return told(run, passed), told(run, out)


def told(run, frame):
    return [
        (name.removeprefix("m1/power"), (time - T0) / S, struct.unpack("<d", value)[0], word)
        for name, time, value, word in rows(frame, run.points)
    ]


def test_a_window_is_stamped_with_its_end_and_closes_after_lateness():
    run = window(stats=["count", "mean"])
    assert feed(run, (1, 4.0), (9.999, 6.0), tick_at=10) == ([], [])
    assert feed(run, (10, 100.0), (11.9, 100.0), tick_at=12) == ([], [])
    assert feed(run, (12, 100.0), tick_at=12.1) == ([], [("#count", 10, 2, 0), ("#mean", 10, 5.0, 0)])
    assert run.operator.counts.as_dict() | {"reasons": {}} == {
        "in": 5, "out": 0, "filtered": 0, "aggregated": 2, "dropped": 0, "queued": 3, "derived": 2, "reasons": {},
    }  # fmt: skip


def test_a_silent_point_closes_by_the_gateways_clock():
    run = window()
    assert feed(run, (5, 1.0), tick_at=100) == ([], [])
    assert feed(run, tick_at=106.9) == ([], [])
    assert feed(run, tick_at=107) == ([], [("#count", 10, 1, 0)])
    assert feed(run, tick_at=1000) == ([], [])


def test_clocks_of_devices_may_differ():
    run = window(lateness="0s")
    ahead = [(0, T0 + 3600 * S + n * S, 1.0, 0) for n in range(5)]
    behind = [(1, T0 - 3600 * S + n * S, 1.0, 0) for n in range(5)]
    run.process(ahead + behind)
    for second in range(20):
        run._count(0, run.operator.tick, T0 + second * S)
        run.process([(0, T0 + (3605 + second) * S, 1.0, 0), (1, T0 + (second - 3595) * S, 1.0, 0)])
    assert run.operator.counts.reasons == {}
    assert run.operator.counts.aggregated > 20


def late_after_close(policy):
    run = window(late=policy)
    feed(run, (1, 1.0), (12, 1.0), tick_at=12)
    assert len(run.outputs) == 0
    assert run.operator.counts.aggregated == 1
    return run, feed(run, (5, 7.0), (13, 1.0), (22, 1.0), tick_at=22)


def test_late_samples_are_dropped_and_counted():
    run, (passed, results) = late_after_close("drop")
    assert (passed, results) == ([], [("#count", 20, 2, 0)])
    assert (run.operator.counts.dropped, run.operator.counts.reasons) == (1, {"late": 1})


def test_late_samples_go_into_the_next_open_window():
    run, (passed, results) = late_after_close("next")
    assert (passed, results) == ([], [("#count", 20, 3, 0)])
    assert (run.operator.counts.dropped, run.operator.counts.reasons) == (0, {"late": 1})


def test_late_samples_pass_as_they_are():
    run, (passed, results) = late_after_close("pass")
    assert (passed, results) == ([("", 5, 7.0, 0)], [("#count", 20, 2, 0)])
    assert (run.operator.counts.dropped, run.operator.counts.reasons) == (0, {"late": 1})


def test_lateness_does_not_depend_on_frames_between_two_ticks():
    run = window()
    feed(run, (1, 1.0), tick_at=1)
    run.process([(1, T0 + 500 * S, 1.0, 0)])
    run.process([(1, T0 + 2 * S, 1.0, 0)])
    assert not run.operator.counts.reasons


def test_one_wild_date_is_dropped_and_a_second_is_believed():
    run = window()
    feed(run, (1, 1.0), tick_at=1)
    year = 365 * DAY / S
    feed(run, (year, 1.0), (2, 1.0), tick_at=2)
    assert run.operator.counts.reasons == {"early": 1}
    assert feed(run, (3, 1.0), (year, 1.0), tick_at=12.5)[1] == []
    assert run.operator.counts.reasons == {"early": 2}
    assert feed(run, (year + 1, 1.0), tick_at=13)[1] == [("#count", 10, 3, 0)]
    assert run.operator.counts.reasons == {"early": 2}


def test_invalid_samples_are_never_averaged_and_show():
    run = window(stats=["count", "sum", "mean", "min", "max", "coverage"])
    bad = (3, 1e9, q.INVALID | q.FAILURE)
    feed(run, (1, 4.0), (2, 6.0), bad, (4, math.nan, q.GOOD), tick_at=4)
    word = q.QUESTIONABLE | q.INACCURATE | q.FAILURE
    assert feed(run, tick_at=100)[1] == [
        ("#count", 10, 2, word),
        ("#sum", 10, 10, word),
        ("#mean", 10, 5, word),
        ("#min", 10, 4, word),
        ("#max", 10, 6, word),
        ("#coverage", 10, 0.5, word),
    ]


def test_a_window_without_valid_samples_says_so():
    run = window(stats=["count", "mean", "p50", "coverage"])
    run.process([(1, T0, q.no_value(q.Reason.TIMEOUT), q.INVALID | q.OLD_DATA)])
    run.operator.tick(T0)
    out = run.operator.tick(T0 + 60 * S)
    word = q.QUESTIONABLE | q.INACCURATE | q.OLD_DATA
    assert out.quality.tolist() == [word, q.INVALID | q.OLD_DATA, q.INVALID | q.OLD_DATA, word]
    assert [out.value[0], out.value[3]] == [0, 0]
    assert q.reason_codes(out.value).tolist() == [0, q.Reason.NO_VALID_SAMPLES, q.Reason.NO_VALID_SAMPLES, 0]


def test_the_worst_quality_and_all_flags_come_through():
    run = window()
    feed(run, (1, 1.0, q.QUESTIONABLE | q.OLD_DATA), (2, 1.0, q.GOOD | q.HISTORICAL), tick_at=2)
    assert feed(run, tick_at=60)[1] == [("#count", 10, 2, q.QUESTIONABLE | q.OLD_DATA | q.HISTORICAL)]


def test_coverage_by_the_expected_period():
    run = window(stats=["coverage"], expect="1s")
    feed(run, *[(t, 1.0) for t in range(5)], (5, 1.0, q.INVALID), tick_at=5)
    [(_, _, share, word)] = feed(run, tick_at=60)[1]
    assert (share, word) == (0.5, q.QUESTIONABLE | q.INACCURATE)
    samples = [(70 + t / 10, 1.0) for t in range(100)]
    feed(run, *samples, tick_at=80)
    assert feed(run, tick_at=83)[1] == [("#coverage", 80, 1.0, 0)]


def test_first_and_last_go_by_source_time():
    run = window(stats=["first", "last"])
    feed(run, (3, 3.0), (1, 1.0), (5, 5.0), (1, 1.5), (5, 5.5), (4, 4.0), tick_at=5)
    assert feed(run, tick_at=60)[1] == [("#first", 10, 1.0, 0), ("#last", 10, 5.5, 0)]


def test_sums_by_resolution_are_exact_in_any_order():
    totals = set()
    for order in itertools.permutations([0.1, 1e9, 0.2, -1e9, 0.3, 1e12]):
        run = window(stats=["sum"])
        run.process([(2, T0 + i, value, 0) for i, value in enumerate(order)])
        run.operator.tick(T0)
        totals.add(run.operator.tick(T0 + 60 * S).value[0])
    assert totals == {(10 + 20 + 30 + 10**14) * 0.01}


def test_sums_without_resolution_run_in_the_order_of_the_samples():
    values = [0.1, 1e16, 0.2, -1e16, 0.3] * 40
    found = []
    for size in (1, 7, 50, 200):
        run = window(stats=["sum"])
        for at in range(0, len(values), size):
            run.process([(1, T0, value, 0) for value in values[at : at + size]])
        run.operator.tick(T0)
        found.append(run.operator.tick(T0 + 60 * S).value[0])
    assert found == [sum_in_order(values)] * 4


def sum_in_order(values):
    total = 0.0
    for value in values:
        total += value
    return total


def test_results_are_points_of_their_own():
    run = window(stats=["count", "sum", "mean", "min", "max", "p95", "coverage"])
    run.process([(1, T0, 5.0, 0)])
    run.operator.tick(T0)
    run.operator.tick(T0 + 60 * S)
    about = {name: run.points.point(run.points.find(f"m1/power#{name}")) for name in run.options["stats"]}
    assert {name: point.merge for name, point in about.items() if point.merge is not Merge.LAST} == {
        "count": Merge.ADD, "sum": Merge.ADD, "min": Merge.MIN, "max": Merge.MAX,
    }  # fmt: skip
    assert {name for name, point in about.items() if point.unit == "1"} == {"count", "coverage"}
    assert about["p95"].unit == "W"


def test_results_are_ordered_by_end_point_and_statistic():
    run = Run("window", {"every": "1s", "stats": ["max", "count"], "lateness": "0s"})
    run.process([(p, T0 + t * S, 1.0, 0) for t in (2, 0, 1) for p in (3, 0, 1)])
    out = run.operator.clock_stepped(0)
    expected = [(f"{run.points.name(p)}#{stat}", t) for t in (1, 2, 3) for p in (0, 1, 3) for stat in ("max", "count")]
    assert [(name, (time - T0) // S) for name, time, _, _ in rows(out, run.points)] == expected


def test_a_step_of_the_clock_lets_everything_go():
    run = window()
    feed(run, (1, 1.0), (11, 1.0), tick_at=1)
    out = run._count(0, run.operator.clock_stepped, -3600 * S)
    assert told(run, out) == [("#count", 10, 1, 0), ("#count", 20, 1, 0)]
    assert run.operator.counts.queued == 0
    feed(run, (-3000, 1.0), tick_at=2)
    assert not run.operator.counts.reasons


def test_thousands_of_open_windows_of_one_point():
    run = window(every="1ms", lateness="0s")
    chance = [(n * 7919) % 5000 for n in range(10_000)]
    run.process([(1, T0 + n * 1_000_000, 1.0, 0) for n in chance])
    assert len(run.operator._cells) == 5000
    out = run.operator.tick(T0)
    assert out.time[-1] == T0 + 4999 * 1_000_000
    run.process([(1, T0 + 4999 * 1_000_000, 1.0, 0)])
    last = run.operator.tick(T0 + S)
    assert last.value.tolist() == [3.0]
    out = concat([out, last.replace(value=last.value - 1)])
    assert out.time.tolist() == [T0 + (n + 1) * 1_000_000 for n in range(5000)]
    assert set(out.value.tolist()) == {2.0}


def test_windows_at_the_ends_of_time():
    run = window(stats=["count", "last"])
    run.process([(1, -MAX_INT - 1, 1.0, 0), (1, MAX_INT, 2.0, 0), (1, -1, 3.0, 0), (1, 0, 4.0, 0)])
    out = run._count(0, run.operator.clock_stepped, 0)
    assert out.value.tolist() == [1, 1, 1, 3, 1, 4, 1, 2]
    assert out.time.tolist()[::2] == [
        (-MAX_INT - 1) // (10 * S) * 10 * S + 10 * S, 0, 10 * S, MAX_INT,
    ]  # fmt: skip


def test_points_that_appear_while_running():
    run = window()
    feed(run, (1, 1.0), tick_at=1)
    ids = [run.points.add(Point(name=f"new{i}/x")) for i in range(300)]
    run.process([(i, T0 + S, 1.0, 0) for i in ids])
    feed(run, tick_at=2)
    assert len(feed(run, tick_at=60)[1]) == 301


def test_sketches_survive_the_closing_of_other_windows():
    run = Run("window", {"every": "10s", "stats": ["p50"], "lateness": "0s"})
    run.process([(0, T0 + 25 * S, 3.0, 0), (0, T0, 50.0, 0), (1, T0 + 11 * S, -9.0, 0), (1, T0, 7.0, 0)])
    closed = []
    for second in range(0, 60, 5):
        closed += rows(run._count(0, run.operator.tick, T0 + second * S), run.points)
    found = [(name, (t - T0) // S, struct.unpack("<d", v)[0]) for name, t, v, _ in closed]
    assert [(name, end) for name, end, _ in found] == [
        ("m1/voltage#p50", 10), ("m1/power#p50", 10), ("m1/voltage#p50", 30), ("m1/power#p50", 20),
    ]  # fmt: skip
    assert [value for *_, value in found] == pytest.approx([50, 7, 3, -9], rel=0.01)


def test_the_defaults_of_the_config_are_usable():
    assert WindowConfig().create(Run("window", {}).points)
