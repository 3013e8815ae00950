"""Options of windows that need no arithmetic to be wrong: corrections, groups, states, names, and what is refused."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Kind, Merge, Point
from pipelines.operators.aggregate.window import WindowConfig
from pipelines.operators.judge.limits import LimitsConfig
from tests.pipelines.reference_aggregate import BENCH
from tests.pipelines.scripts import Run, S, directory, operator, plain
from tests.pipelines.test_window import T0, feed, told, window

MINUTE = 60 * S


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"every": "15m", "session": "5m"}, ("session",), "exactly one of every"),
        ({"every": "1h", "count": 3}, ("count",), "not every and count"),
        ({"months": 1, "count": 3}, ("count",), "exactly one"),
        ({"months": 5}, ("months",), "divide a year"),
        ({"months": 1, "slide": "1d"}, ("slide",), "does not go with months"),
        ({"session": "5m", "expect": "1s"}, ("expect",), "does not go with session"),
        ({"session": "0s"}, ("session",), "longer than 0"),
        ({"count": 5, "hold": "1s", "stats": ["wmean"]}, ("hold",), "only with every"),
        ({"every": "15m", "slide": "4m"}, ("slide",), "divide it"),
        ({"every": "15m", "slide": "15m"}, ("slide",), "shorter than every"),
        ({"every": "2d", "slide": "1m"}, ("slide",), "1/1440"),
        ({"align": "local"}, ("timezone",), "is needed"),
        ({"align": "local", "timezone": "Europe/Berln"}, ("timezone",), "no time zone"),
        ({"align": "local", "timezone": "../passwd"}, ("timezone",), "no time zone"),
        ({"timezone": "Europe/Berlin"}, ("timezone",), "align: local"),
        ({"align": "local", "timezone": "UTC", "every": "7m"}, ("every",), "divide a day"),
        ({"align": "local", "timezone": "UTC", "every": "36h"}, ("every",), "divide a day"),
        ({"align": "local", "timezone": "UTC", "session": "5m"}, ("align",), "windows of time"),
        ({"stats": ["histogram"]}, ("bins",), "needed"),
        ({"bins": [0, 1]}, ("bins",), "not in stats"),
        ({"stats": ["histogram"], "bins": [0]}, ("bins",), "2 to 1001"),
        ({"stats": ["histogram"], "bins": [0, 0]}, ("bins",), "grow"),
        ({"stats": ["histogram"], "bins": [0, math.inf]}, ("bins",), "finite"),
        ({"stats": ["histogram"], "bins": {"from": 1, "to": 1}}, ("to",), "above from"),
        ({"hold": "1s"}, ("hold",), "wmean and duration"),
        ({"stats": ["wmean"], "every": "1s", "hold": "1d"}, ("hold",), "10000 windows"),
        ({"above": 1.0}, ("above",), "not in stats"),
        ({"late": "correction", "slide": "1m"}, ("late",), "does not go with slide"),
        ({"late": "correction", "stats": ["wmean"]}, ("late",), "does not go with wmean"),
        ({"late": "correction", "partial": True}, ("late",), "does not go with partial"),
        ({"late": "correction", "corrections": "0s"}, ("corrections",), "longer than 0"),
        ({"late": "next", "session": "5m"}, ("late",), "drop late samples or pass them"),
        ({"over": "device"}, ("name",), "site/{device}/power"),
        ({"over": "device", "name": "{device}", "expect": "1s"}, ("expect",), "single points"),
        ({"partial": True, "stats": ["count", "distinct"]}, ("stats", 1), "cannot be merged"),
        ({"partial": True, "session": "5m"}, ("partial",), "do not line up"),
        ({"partial": True, "expect": "1s"}, ("expect",), "does not go with partial"),
        ({"partial": True, "every": "1500us"}, ("every",), "whole milliseconds"),
        ({"stats": ["meen"]}, ("stats", 0), 'did you mean "mean"'),
    ],
)
def test_nonsense_is_refused_with_the_way_out(options, field, words):
    with pytest.raises(msgspec.ValidationError, match=words) as error:
        operator("window", options, directory())
    assert isinstance(error.value.__cause__, FieldError)
    assert error.value.__cause__.field == field


def test_an_explicit_default_counts_as_given():
    assert WindowConfig().every == 900
    assert operator("window", {"session": "5m"}, directory())
    assert operator("window", {"every": "15m"}, directory())


def corrected(**options):
    run = window(late="correction", corrections="20s", stats=["count", "max"], **options)
    assert feed(run, (1, 1.0), (13, 1.0), tick_at=13)[1] == [("#count", 10, 1, 0), ("#max", 10, 1.0, 0)]
    return run


def test_a_late_sample_sends_the_result_again():
    run = corrected()
    assert feed(run, (5, 7.0), (14, 1.0), tick_at=14)[1] == [
        ("#count", 10, 2, q.HISTORICAL), ("#max", 10, 7.0, q.HISTORICAL),
    ]  # fmt: skip
    assert run.operator.counts.reasons == {"late": 1, "corrected": 1}
    assert feed(run, (15, 1.0), tick_at=15)[1] == []
    assert feed(run, (6, 9.0), (7, 1.0), tick_at=16)[1] == [
        ("#count", 10, 4, q.HISTORICAL), ("#max", 10, 9.0, q.HISTORICAL),
    ]  # fmt: skip
    assert run.operator.counts.as_dict()["aggregated"] == 4


def test_a_correction_comes_too_late_at_last():
    run = corrected()
    feed(run, (32, 1.0), tick_at=32)
    assert feed(run, (9, 5.0), tick_at=32)[1] == []
    assert run.operator.counts.reasons["too-late"] == run.operator.counts.dropped == 1
    assert [end for _, end, *_ in feed(run, (19, 5.0), tick_at=32)[1]] == [20, 20]
    assert len(run.operator._cells) == 2


def test_a_window_that_was_empty_may_be_corrected_into_being():
    run = corrected()
    feed(run, (41, 1.0), tick_at=41)
    assert feed(run, (43, 1.0), tick_at=43) == ([], [])
    assert feed(run, (25, 3.0), tick_at=43)[1] == [("#count", 30, 1, 0), ("#max", 30, 3.0, 0)]


def states():
    points = directory()
    pump = points.add(Point(name="p1/mode", kind=Kind.STATE))
    for text in ("off", "on", "fault (E/1)"):
        points.state(pump, text)
    return points, pump


def test_time_in_each_state():
    points, pump = states()
    run = Run("window", {"every": "1m", "stats": ["duration", "coverage"], "lateness": "0s"}, points)
    begin = T0 // MINUTE * MINUTE
    run.process([(pump, begin + at * S, float(mode), 0) for at, mode in ((10, 1), (25, 0), (30, 2), (55, 1))])
    run.operator.tick(begin)
    out = run.operator.tick(begin + 100 * S)
    found = dict(zip([points.name(p) for p in out.point.tolist()], out.value.tolist(), strict=True))
    assert found == {
        "p1/mode#duration.fault-E-1-": 25.0, "p1/mode#duration.off": 5.0, "p1/mode#duration.on": 20.0,
        "p1/mode#coverage": 50 / 60,
    }  # fmt: skip
    about = points.point(points.find("p1/mode#duration.on"))
    assert (about.unit, about.kind, about.merge) == ("s", Kind.GAUGE, Merge.ADD)


def test_a_state_goes_on_into_the_next_windows_if_told():
    points, pump = states()
    options = {"every": "1m", "stats": ["duration", "count"], "lateness": "0s", "hold": "150s"}
    run = Run("window", options, points)
    begin = T0 // MINUTE * MINUTE
    run.process([(pump, begin + 30 * S, 1.0, 0)])
    run.operator.tick(begin + 30 * S)
    found = []
    for second in range(40, 400, 10):
        out = run.operator.tick(begin + second * S)
        names = [points.name(p).partition("#")[2] for p in out.point.tolist()]
        found += list(zip(names, ((out.time - begin) // S).tolist(), out.value.tolist(), strict=True))
    assert found == [
        ("duration.on", 60, 30.0), ("count", 60, 1.0), ("duration.on", 120, 60.0), ("count", 120, 0.0),
        ("duration.on", 180, 60.0), ("count", 180, 0.0),
    ]  # fmt: skip


def test_an_invalid_sample_ends_what_was_in_force():
    run = window(stats=["wmean", "coverage"])
    feed(run, (0, 10.0), (4, 20.0), (6, 99.0, q.INVALID), (8, 40.0), tick_at=8)
    word = q.QUESTIONABLE | q.INACCURATE
    assert feed(run, tick_at=60)[1] == [("#wmean", 10, (40 + 40 + 80) / 8, word), ("#coverage", 10, 0.8, word)]


def test_above_a_threshold():
    run = window(stats=["duration"], above=5.0)
    feed(run, (0, 10.0), (4, 5.0), (6, 5.5), (9, 1.0), tick_at=9)
    assert feed(run, tick_at=60)[1] == [("#duration.above", 10, 7.0, 0)]


def test_what_comes_out_of_order_too_late_only_misses_the_order():
    run = window(stats=["count", "wmean"])
    feed(run, (1, 10.0), (8, 20.0), tick_at=8)
    feed(run, (2, 30.0), (9, 20.0), tick_at=9)
    assert run.operator.counts.reasons == {"out-of-order": 1}
    assert feed(run, tick_at=60)[1] == [("#count", 10, 4, 0), ("#wmean", 10, (70 + 20 + 20) / 9, 0)]


def test_worst_validity_is_a_state():
    run = window(stats=["validity"])
    found = feed(run, (1, 1.0), (11, 1.0, q.QUESTIONABLE), (21, 1.0), (22, math.nan), tick_at=22)[1]
    found += feed(run, tick_at=100)[1]
    assert [value for _, _, value, _ in found] == [0, 1, 2]
    made = run.points.find("m1/power#validity")
    assert run.points.states(made) == ["good", "questionable", "invalid"]
    assert run.points.point(made).kind is Kind.STATE


def test_bins_are_there_also_when_empty_and_a_value_on_an_edge_goes_up():
    run = window(stats=["histogram"], bins={"from": 0, "to": 20, "count": 2})
    feed(run, (1, -1.0), (2, 0.0), (3, 10.0), (4, 20.0), (5, 25.0), tick_at=5)
    assert feed(run, tick_at=60)[1] == [
        ("#hist.below", 10, 1, 0), ("#hist.0", 10, 1, 0), ("#hist.1", 10, 1, 0), ("#hist.above", 10, 2, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("over", "name", "expected"),
    [
        ("device", "{device}/x", {"m1/x": 3, "m2/x": 3}),
        ("all", "site/x", {"site/x": 6}),
        ("*/{what}", "{what}/x", {"voltage/x": 2, "power/x": 2, "energy/x": 1, "state/x": 1}),
        ("m{n}/voltage", "v{n}/x", {"v1/x": 1, "v2/x": 1}),
        ("label area", "{area}/x", {"north/x": 1}),
    ],
)
def test_groups(over, name, expected):
    points = directory()
    labelled = points.add(Point(name="m3/voltage", unit="V", labels={"area": "north"}))
    run = Run("window", {"every": "1s", "stats": ["count"], "over": over, "name": name, "lateness": "0s"}, points)
    used = [*range(6), *([labelled] if over.startswith("label") else [])]
    passed = run.process([(p, T0 + p, 1.0, 0) for p in used])
    out = run._count(0, run.operator.clock_stepped, 0)
    assert {
        points.name(p).removesuffix("#count"): v for p, v in zip(out.point.tolist(), out.value, strict=True)
    } == expected
    assert len(passed) == len(used) - sum(expected.values())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"over": "label area", "name": "{area}/x"}, {"north/x": 2}),
        ({"over": "label area", "name": "{area}/x", "points": "**#delta"}, {"north/x": 4}),
        ({"over": "*/{what}#delta", "name": "{what}/x"}, {"energy/x": 4}),
    ],
)
def test_what_a_step_has_made_is_a_member_where_it_is_named(options, expected):
    """So the energy of an area is the sum of its counters' deltas."""
    points = directory()
    ids = {
        name: points.add(Point(name=name, unit="W.h", labels={"area": "north"}))
        for name in ("m8/energy", "m9/energy", "m8/energy#delta", "m9/energy#delta")
    }
    run = Run("window", {"every": "1s", "stats": ["sum"], "lateness": "0s", **options}, points)
    given = [(ids[name], T0, 2.0 if "#" in name else 1.0, 0) for name in ids if "#" in name or "points" not in options]
    run.process(given)
    out = run._count(0, run.operator.clock_stepped, 0)
    found = {points.name(p).removesuffix("#sum"): v for p, v in zip(out.point.tolist(), out.value, strict=True)}
    assert found == expected


def test_what_members_have_in_common_is_known_of_a_group():
    points = directory()
    run = Run("window", {"every": "1s", "stats": ["mean"], "over": "*/{what}", "name": "{what}"}, points)
    run.process([(p, T0, 1.0, 0) for p in range(6)])
    run.operator.clock_stepped(0)
    about = points.point(points.find("voltage#mean"))
    assert (about.unit, about.labels) == ("V", {"what": "voltage"})
    device = Run("window", {"every": "1s", "stats": ["mean"], "over": "device", "name": "{device}"}, points)
    device.process([(p, T0, 1.0, 0) for p in range(6)])
    device.operator.clock_stepped(0)
    assert points.point(points.find("m1#mean")).unit == ""


def test_sums_over_a_group_do_not_depend_on_how_points_come():
    totals = set()
    for order in ([0, 1, 4], [4, 1, 0], [1, 4, 0]):
        run = Run("window", {"every": "1s", "stats": ["sum"], "over": "all", "name": "all"})
        run.process([(p, T0, [0.1, 1e16, 0, 0, -1e16][p], 0) for p in order])
        totals.add(run.operator.clock_stepped(0).value[0])
    assert totals == {0.1}


def test_a_new_point_joins_its_group():
    run = Run("window", {"every": "10s", "stats": ["count"], "over": "device", "name": "{device}", "lateness": "0s"})
    run.process([(0, T0, 1.0, 0)])
    run = run.moved()
    late = run.points.add(Point(name="m1/current"))
    run.process([(late, T0 + 1, 1.0, 0)])
    assert told(run, run._count(0, run.operator.clock_stepped, 0)) == [("m1#count", 10, 2, 0)]


def arrays(state):
    """All numpy arrays that are reachable from an object, each once."""
    seen, stack, found = set(), [state], []
    while stack:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            found.append(one)
        elif isinstance(one, dict):
            stack += one.values()
        elif isinstance(one, list | tuple):
            stack += one
        elif type(one).__module__.startswith("pipelines"):
            own = [name for cls in type(one).__mro__ for name in getattr(cls, "__slots__", ())]
            stack += [*getattr(one, "__dict__", {}).values(), *(getattr(one, name) for name in own)]
    return found


def test_the_usual_chain_keeps_at_most_400_bytes_a_point():
    points, many = directory(), 5000
    ids = np.array([points.add(Point(name=f"d{i}/voltage", limits=(0, 300))) for i in range(many)], np.int32)
    steps = [
        LimitsConfig().create(points),
        operator("deadband", {"percent": 0.5, "max_silence": "60s"}, points),
        operator("window", {"every": "15m", "stats": ["count", "mean", "min", "max", "last"]}, points),
    ]
    for second in range(0, 1200, 60):
        frame = Frame.of(ids, T0 + second * S, 230.0 + np.arange(many) % 7 + second)
        for step in steps:
            frame = step.process(frame)
        for step in steps:
            step.tick(T0 + second * S)
    size = sum(array.nbytes for step in steps for array in arrays(step))
    assert size / many <= 400


def test_a_snapshot_of_a_large_set_of_values_goes_on():
    options = {"every": "1h", "stats": ["distinct"], "lateness": "0s"}
    run = Run("window", options)
    values = np.random.default_rng(1).normal(0, 1, 8000)
    samples = [(1, T0, v, 0) for v in values.tolist()]
    run.process(samples[:5000])
    other = run.moved()
    assert plain(other.operator.snapshot()) == plain(run.operator.snapshot())
    for one in (run, other):
        one.process(samples[5000:])
    found, moved = (one.operator.clock_stepped(0).value[0] for one in (run, other))
    assert found == moved
    assert abs(found / 8000 - 1) < 0.065
    shuffled = Run("window", options)
    for at in range(0, 8000, 1000):
        shuffled.process(samples[::-1][at : at + 1000])
    assert shuffled.operator.clock_stepped(0).value[0] == found


@pytest.mark.parametrize(("kind", "options"), BENCH)
def test_what_the_benchmark_runs_is_valid(kind, options):
    assert operator(kind, options, directory())
