"""The operators that judge: what each promises, one by one."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest

from gateway import quality as q
from gateway.errors import FieldError
from gateway.point import Kind, Point
from gateway.units import decode_quantity
from pipelines.operators.judge.hampel import network
from pipelines.registry import OPERATORS
from tests.pipelines.scripts import MAX_INT, START_NS, Run, S, directory

SUSPECT = q.QUESTIONABLE | q.INCONSISTENT


def refused(kind, options):
    # How the loader reports it: FieldError is a ValueError, which msgspec wraps
    with pytest.raises((FieldError, msgspec.ValidationError)) as raised:
        msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)
    return str(raised.value)


def words(kind, options, *samples, point=1):
    """Quality of each of the samples (seconds, value[, quality]) of m1/power that comes out of one frame."""
    run = Run(kind, options)
    return [word for _, _, word in told(run, run.process([_sample(point, *one) for one in samples]))]


def _sample(point, t, v, word=0):
    return point, START_NS + round(t * S), v, word


def told(run, frame):
    """Seconds, value and quality of each sample."""
    times = [(time - START_NS) / S for time in frame.time.tolist()]
    return list(zip(times, frame.value.tolist(), frame.quality.tolist(), strict=True))


# rate_of_change


def test_a_step_is_marked_once_and_a_ramp_within_the_rate_is_not():
    series = [(0, 0.0), (1, 5.0), (2, 10.0), (3, 50.0), (4, 52.0)]
    assert words("rate_of_change", {"max": 5}, *series) == [0, 0, 0, SUSPECT, 0]


def test_up_and_down_have_rates_of_their_own():
    series = [(0, 0.0), (1, 5.0), (2, 0.0), (12, 8.0)]
    assert words("rate_of_change", {"up": 1}, *series) == [0, SUSPECT, 0, 0]
    assert words("rate_of_change", {"up": 100, "max": 1}, *series) == [0, 0, SUSPECT, 0]


def test_a_sample_out_of_order_is_no_change_and_is_not_compared_with():
    series = [(0, 0.0), (10, 1.0), (5, 500.0), (10, 500.0), (11, 2.0)]
    assert words("rate_of_change", {"max": 1}, *series) == [0] * 5


def test_what_has_no_value_is_not_compared_with():
    series = [(0, 0.0), (1, 900.0, q.INVALID), (2, math.nan), (3, math.inf), (4, 3.0)]
    assert words("rate_of_change", {"max": 1}, *series) == [0, q.INVALID, 0, 0, 0]


def test_a_clock_set_back_begins_anew_instead_of_never_judging_again():
    series = [(0, 0.0), (-7200, 500.0), (-7199, 0.0)]
    assert words("rate_of_change", {"max": 1}, *series) == [0, 0, SUSPECT]


def test_percent_is_of_the_range_or_else_of_the_value():
    assert words("rate_of_change", {"max": "1%"}, (0, 100.0), (1, 102.9), point=0) == [0, 0]  # 0 to 300 V
    assert words("rate_of_change", {"max": "1%"}, (0, 100.0), (1, 102.9), point=1) == [0, SUSPECT]


def test_drop_counts_the_reason():
    run = Run("rate_of_change", {"max": 1, "action": "drop"})
    assert len(run.process([_sample(1, 0, 0.0), _sample(1, 1, 9.0)])) == 1
    assert run.operator.counts.reasons == {"rate-of-change": 1}


# flat_line


def test_a_flat_line_is_marked_until_it_moves():
    series = [(0, 7.0), (5, 7.0), (10, 7.0), (11, 7.0), (12, 7.1), (13, 7.1)]
    assert words("flat_line", {"for": "10s"}, *series) == [0, 0, 0, q.QUESTIONABLE | q.OLD_DATA, 0, 0]


def test_a_slow_drift_leaves_the_band():
    drift = [(t, 0.1 * t) for t in range(40)]
    assert words("flat_line", {"for": "10s", "band": 0.5}, *drift) == [0] * 40
    noise = [(t, 0.3 * (t % 2)) for t in range(12)]
    assert words("flat_line", {"for": "10s", "band": 0.5}, *noise)[-1] == q.QUESTIONABLE | q.OLD_DATA


def test_a_silent_point_is_not_flat_and_states_never_are():
    run = Run("flat_line", {"for": "1s"})
    assert told(run, run.part([_sample(1, 0, 7.0)], 3600 * S, step=False)) == [(0.0, 7.0, 0)]
    assert words("flat_line", {"for": "1s"}, (0, 1.0), (60, 1.0), point=3) == [0, 0]


# spike

NOISE = [10.0, 10.1, 9.9, 10.05, 9.95, 10.1, 9.9, 10.0, 10.1]


def test_a_spike_is_marked_dropped_or_replaced():
    series = [*enumerate(NOISE), (9, 99.0), (10, 10.0)]
    assert words("spike", {}, *series) == [0] * 9 + [SUSPECT, 0]
    assert len(words("spike", {"action": "drop"}, *series)) == 10
    run = Run("spike", {"action": "replace"})
    out = told(run, run.process([_sample(1, *one) for one in series]))
    assert out[9] == (9.0, 10.05, SUSPECT | q.SUBSTITUTED)


def test_nothing_is_judged_before_a_window_has_enough():
    assert words("spike", {"least": 5}, (0, 1.0), (1, 1.0), (2, 1.0), (3, 99.0)) == [0] * 4
    assert words("spike", {"least": 4}, (0, 1.0), (1, 1.0), (2, 1.0), (3, 99.0)) == [0] * 3 + [SUSPECT]


def test_a_constant_value_needs_a_least_deviation():
    series = [*((t, 5.0) for t in range(9)), (9, 5.3)]
    assert words("spike", {}, *series)[-1] == SUSPECT
    assert words("spike", {"min_deviation": 0.5}, *series)[-1] == 0
    assert words("spike", {}, *series, point=4)[-1] == 0  # its resolution is 0.5


def test_with_a_window_in_time_old_samples_do_not_count():
    series = [*enumerate(NOISE), (1000, 99.0)]
    assert words("spike", {}, *series)[-1] == SUSPECT
    assert words("spike", {"within": "1m"}, *series)[-1] == 0


def test_centred_tells_a_step_from_a_spike():
    step = [*((t, 0.0) for t in range(9)), *((t, 50.0) for t in range(9, 20))]
    assert SUSPECT in words("spike", {}, *step)
    run = Run("spike", {"centred": True})
    out = told(run, run.process([_sample(1, *one) for one in step]))
    assert [word for *_, word in out] == [0] * 16
    assert run.operator.counts.queued == 4
    spike = [*((t, 0.0) for t in range(9)), (9, 50.0), *((t, 0.0) for t in range(10, 20))]
    assert words("spike", {"centred": True}, *spike) == [0] * 9 + [SUSPECT] + [0] * 6


def test_centred_holds_nothing_longer_than_wait():
    run = Run("spike", {"centred": True, "wait": "3s", "least": 3})
    samples = [_sample(1, *one) for one in [*enumerate(NOISE), (9, 99.0)]]
    assert len(run.process(samples)) == 6
    assert len(run.part([], 0, step=False)) == 0
    assert len(run.part([], 2 * S, step=False)) == 0
    assert told(run, run.part([], S, step=False))[-1] == (9.0, 99.0, SUSPECT)
    assert run.operator.counts.queued == 0


@pytest.mark.parametrize("n", range(3, 13))
def test_the_networks_sort(n):
    # A network that sorts all zeros and ones sorts everything
    rows = np.array(list(itertools.product([0.0, 1.0], repeat=n)))
    for middle in (False, True):
        found = rows.copy()
        for a, b in network(n, middle=middle):
            found[:, [a, b]] = np.sort(found[:, [a, b]], axis=1)
        expected = np.sort(rows, axis=1)
        assert (found[:, n // 2] == expected[:, n // 2]).all()
        assert middle or (found == expected).all()


# oscillation


def test_turns_beyond_the_number_within_the_time_are_oscillation():
    zigzag = [(t, float(t % 2)) for t in range(8)]
    found = words("oscillation", {"turns": 3, "within": "10s"}, *zigzag)
    assert found == [0] * 5 + [q.QUESTIONABLE | q.OSCILLATORY] * 3
    assert words("oscillation", {"turns": 3, "within": "2s"}, *zigzag) == [0] * 8
    assert words("oscillation", {"turns": 3, "within": "10s", "band": 1.0}, *zigzag) == [0] * 8
    assert words("oscillation", {"turns": 3, "within": "10s"}, *zigzag, point=3)[-1] == q.QUESTIONABLE | q.OSCILLATORY


def test_an_oscillation_ends():
    series = [*((t, float(t % 2)) for t in range(8)), (20, 1.0)]
    assert words("oscillation", {"turns": 3, "within": "10s"}, *series)[-1] == 0


# gap


def test_a_silent_point_is_told_once_and_the_next_sample_is_marked():
    run = Run("gap", {"after": "60s"})
    assert len(run.part([_sample(1, 0, 5.0)], 0, step=False)) == 1
    assert len(run.part([], 60 * S, step=False)) == 0
    (stale,) = told(run, run.part([], S, step=False))
    assert (stale[0], stale[2]) == (60.0, q.INVALID | q.OLD_DATA)
    assert q.reason_codes(run.outputs[-1].value).tolist() == [q.Reason.STALE]
    assert run.points.name(int(run.outputs[-1].point[0])) == "m1/power"
    assert len(run.part([], 600 * S, step=False)) == 0
    out = told(run, run.process([_sample(1, 700, 6.0), _sample(1, 701, 7.0)]))
    assert [word for *_, word in out] == [q.QUESTIONABLE | q.OLD_DATA, 0]


def test_a_step_of_the_clock_is_no_gap():
    run = Run("gap", {"after": "60s"})
    run.part([_sample(1, 0, 5.0)], 0, step=False)
    assert len(run.operator.clock_stepped(3600 * S)) == 0
    assert len(run.part([], 30 * S, step=False)) == 0


def test_a_stale_sample_of_a_wild_date_does_not_overflow():
    run = Run("gap", {"after": "60s"})
    run.part([(1, MAX_INT, 5.0, 0)], 0, step=False)
    assert run.part([], 61 * S, step=False).time.tolist() == [MAX_INT]


# cross_check and ct_reversal

PHASES = ("p1", "p2", "p3", "p")


def meters():
    points = directory()
    for device in ("a", "b"):
        for name in (*PHASES, "u1", "i1", "pf1", "q", "s"):
            points.add(Point(name=f"{device}/{name}", unit="W"))
    return points


def joined(kind, options):
    return Run(kind, options, meters())


def sample(run, name, t, v, word=0):
    return _sample(run.points.find(name), t, v, word)


def row(run, t, *values, device="a", names=PHASES):
    return [sample(run, f"{device}/{name}", t, v) for name, v in zip(names, values, strict=True)]


def named(run, frame):
    """(name, seconds, quality) of each sample; of states the text."""
    out = []
    for point, time, value, word in zip(
        frame.point.tolist(), frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True
    ):
        states = run.points.states(point) if run.points.point(point).kind is Kind.STATE else None
        out.append((run.points.name(point), (time - START_NS) / S, states[int(value)] if states else word))
    return out


SUM = {"of": ["*/p1", "*/p2", "*/p3"], "total": "*/p", "percent": 1, "absolute": 2}


def test_the_samples_that_go_upstream_are_the_ones_that_are_marked():
    run = joined("cross_check", {"sum": SUM, "lateness": "5s"})
    good, bad = row(run, 1, 100.0, 100.0, 100.0, 301.0), row(run, 2, 100.0, -100.0, 100.0, 300.0)
    fine_elsewhere = row(run, 2, 1.0, 1.0, 1.0, 3.0, device="b")
    assert len(run.process(good + bad + fine_elsewhere)) == 0
    assert run.operator.counts.queued == 12
    assert named(run, run.part([], 0, step=False)) == []
    out = named(run, run.part([], 5 * S, step=False))
    states = [one for one in out if "#" in one[0]]
    assert states == [("a/check#sum", 1.0, "ok"), ("a/check#sum", 2.0, "violated"), ("b/check#sum", 2.0, "ok")]
    assert out[3:] == (
        [(f"a/{name}", 1.0, 0) for name in PHASES]
        + [(f"a/{name}", 2.0, SUSPECT) for name in PHASES]
        + [(f"b/{name}", 2.0, 0) for name in PHASES]
    )
    assert (run.operator.counts.queued, run.operator.counts.derived) == (0, 3)


def test_samples_of_several_frames_and_out_of_order_meet():
    run = joined("cross_check", {"sum": SUM, "lateness": "5s", "report": False})
    rows = row(run, 2, 1.0, 1.0, 1.0, 9.0)
    run.part([*rows[2:], *row(run, 3, 1.0, 1.0, 1.0, 3.0)], S, step=False)
    run.part(rows[:2], S, step=False)
    out = named(run, run.part([], 9 * S, step=False))
    assert sorted(one for one in out if one[2]) == [(f"a/{name}", 2.0, SUSPECT) for name in sorted(PHASES)]
    assert len(out) == 8


def test_a_row_that_lacks_a_usable_input_is_not_judged():
    run = joined("cross_check", {"sum": SUM})
    samples = row(run, 1, 1.0, 1.0, 1.0, 99.0)
    samples[2] = (*samples[2][:3], q.INVALID)
    run.part(samples, 0, step=False)
    assert [one[2] for one in named(run, run.part([], 9 * S, step=False))] == [0, 0, q.INVALID, 0]


def test_late_and_wild_samples_pass_unjudged_and_are_held_no_longer():
    run = joined("cross_check", {"sum": SUM})
    run.part(row(run, 100, 1.0, 1.0, 1.0, 3.0), 0, step=False)
    assert len(run.part([], 6 * S, step=False)) == 5
    late, wild = row(run, 50, 1.0, 1.0, 1.0, 99.0), [sample(run, "a/p", 1e9, 1.0)]
    run.part(late + wild, 0, step=False)
    assert [word for *_, word in named(run, run.part([], 5 * S, step=False))] == [0] * 5
    assert run.operator.counts.reasons == {"late": 4, "early": 1}


def test_with_a_gap_the_samples_that_held_are_marked():
    run = joined("cross_check", {"sum": SUM, "max_gap": "1s", "report": False})
    samples = [
        sample(run, f"a/{name}", 0.1 * i, v) for i, (name, v) in enumerate(zip(PHASES, [1, 1, 1, 99.0], strict=True))
    ]
    run.part(samples, 0, step=False)
    assert [word for *_, word in named(run, run.part([], 7 * S, step=False))] == [SUSPECT] * 4


def test_marks_narrows_and_drop_drops():
    for options, left in (({"marks": "*/p"}, [0, 0, 0, SUSPECT]), ({"action": "drop"}, [])):
        run = joined("cross_check", {"sum": SUM, "report": False, **options})
        run.part(row(run, 1, 1.0, 1.0, 1.0, 99.0), 0, step=False)
        assert [word for *_, word in named(run, run.part([], 9 * S, step=False))] == left
    assert run.operator.counts.reasons == {"inconsistent": 4}


def test_without_hold_only_the_state_tells():
    run = joined("cross_check", {"sum": SUM, "hold": False})
    assert [word for *_, word in named(run, run.process(row(run, 1, 1.0, 1.0, 1.0, 99.0)))] == [0] * 4
    run.part([], 0, step=False)
    assert named(run, run.part([], 9 * S, step=False)) == [("a/check#sum", 1.0, "violated")]


@pytest.mark.parametrize(
    ("pf", "power", "fits"), [(0.5, 1150.0, True), (0.5, 2300.0, False), (None, 2300.0, True), (None, 2400.0, False)]
)
def test_active_power_by_voltage_current_and_power_factor(pf, power, fits):
    inputs = {"u": "*/u1", "i": "*/i1", "p": "*/p1", **({"pf": "*/pf1"} if pf is not None else {})}
    run = joined("cross_check", {"power": inputs})
    run.part(row(run, 1, 230.0, 10.0, power, pf or 0.0, names=("u1", "i1", "p1", "pf1")), 0, step=False)
    out = named(run, run.part([], 9 * S, step=False))
    assert out[0] == ("a/check#power", 1.0, "ok" if fits else "violated")


def test_any_two_formulas():
    run = joined("cross_check", {"equal": {"left": "*/s^2", "right": "*/p^2 + */q^2", "name": "apparent"}})
    names = ("s", "p", "q")
    run.part(row(run, 1, 5.0, 3.0, 4.0, names=names) + row(run, 2, 9.0, 3.0, 4.0, names=names), 0, step=False)
    out = named(run, run.part([], 9 * S, step=False))
    assert out[:2] == [("a/check#apparent", 1.0, "ok"), ("a/check#apparent", 2.0, "violated")]
    assert [word for *_, word in out[2:]] == [0] * 3 + [SUSPECT] * 3


def test_points_of_several_devices_may_be_named():
    run = joined("cross_check", {"sum": {"of": ["a/p", "b/p"], "total": "a/s"}})
    run.part([sample(run, name, 1, v) for name, v in (("a/p", 1.0), ("b/p", 2.0), ("a/s", 9.0))], 0, step=False)
    assert named(run, run.part([], 9 * S, step=False))[0] == ("check#sum", 1.0, "violated")


CT = {"phases": ["*/p1", "*/p2", "*/p3"], "for": "2s", "min_power": 20}


def reversal(options, *rows):
    run = joined("ct_reversal", {**CT, **options})
    samples = [one for t, values in rows for one in row(run, t, *values, names=PHASES[:3])]
    out = named(run, run.part(samples, 0, step=False)) + named(run, run.part([], 60 * S, step=False))
    return [one[1:] for one in out if "#" in one[0]], [one[:2] for one in out if one[2] == SUSPECT]


def test_one_negative_phase_among_positive_ones_is_reversed_once_it_lasts():
    wrong = (500.0, -480.0, 510.0)
    states, marked = reversal({}, (1, wrong), (2, wrong), (3, wrong), (4, wrong), (5, (500.0, 480.0, 510.0)))
    assert states == [(1.0, "ok"), (3.0, "p2"), (5.0, "ok")]
    assert marked == [("a/p2", 3.0), ("a/p2", 4.0)]


def test_what_all_phases_do_is_no_reversal_and_small_power_has_no_sign():
    assert reversal({}, *((t, (-500.0, -480.0, -510.0)) for t in range(9))) == ([(0.0, "ok")], [])
    assert reversal({}, *((t, (500.0, -19.0, 510.0)) for t in range(9))) == ([(0.0, "ok")], [])
    assert reversal({}, *((t, (15.0, -480.0, 15.0)) for t in range(9))) == ([(0.0, "ok")], [])


def test_a_generator_is_the_other_way_round_and_two_may_be_reversed():
    states, marked = reversal({"load": "generator", "for": "0s"}, (1, (500.0, -480.0, 510.0)))
    assert states == [(1.0, "p1+p3")]
    assert marked == [("a/p1", 1.0), ("a/p3", 1.0)]


@pytest.mark.parametrize(
    ("kind", "options", "words_of_it"),
    [
        ("rate_of_change", {}, "needs max, up or down"),
        ("rate_of_change", {"max": "5 V"}, "is not a bound"),
        ("flat_line", {"for": "0s"}, "longer than 0"),
        ("flat_line", {"band": -1}, "0 or more"),
        ("spike", {"samples": 8}, "must be odd: 7 or 9"),
        ("spike", {"samples": 3}, "must not be more than samples (3)"),
        ("gap", {"after": "0s"}, "longer than 0"),
        ("cross_check", {}, "needs at least one of sum, power and equal"),
        ("cross_check", {"sum": {"of": ["**/p"], "total": "*/p"}}, "'**/p' is no input"),
        ("cross_check", {"sum": {"of": ["*/p"], "total": "a/p"}}, "the same number of *"),
        ("cross_check", {"equal": {"left": "*/p +", "right": "*/q"}}, "expected a number, a point"),
        ("cross_check", {"sum": [SUM, SUM]}, "two checks are called sum"),
        ("cross_check", {"sum": SUM, "hold": False, "action": "drop"}, "only be reported"),
        ("ct_reversal", {"phases": ["*/p1", "*/p1"]}, "names a phase twice"),
    ],
)
def test_bad_options_say_the_way_out(kind, options, words_of_it):
    assert words_of_it in refused(kind, options)
