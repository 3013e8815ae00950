"""Outages and line losses: cases with known answers."""

from __future__ import annotations

import math

import pytest

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Kind, Merge, Point
from gateway.units import Duration
from pipelines.operators.power.energy import EnergyConfig
from pipelines.operators.power.line_loss import LineLossConfig
from pipelines.operators.power.outage import STATES
from pipelines.runner import Pipeline
from tests.pipelines.power.support import DOUBTFUL, T0, Case, S, of

GONE = (q.no_value(q.Reason.TIMEOUT), q.INVALID)


def supply(**options):
    options = {"of": ["*/u1", "*/u2", "*/u3"], "nominal": 230, "lateness": "0s", **options}
    return Case("outage", options, {f"{m}/u{i}": "V" for m in ("m1", "m2") for i in (1, 2, 3)})


def three(t, *values, meter="m1"):
    """Samples of the three phases for one time."""
    values = values if len(values) == 3 else values * 3
    return [(f"{meter}/u{i}", t, *(v if isinstance(v, tuple) else (v,))) for i, v in enumerate(values, 1)]


def states(found):
    return [(t, STATES[int(v)], w) for t, v, w in of(found, "/supply")]


def test_an_outage_is_when_all_three_phases_are_under_a_tenth():
    case = supply()
    found = case.feed(*three(0, 230.0), *three(1, 22.0, 21.0, 24.0), *three(2, 22.0), *three(5, 10.0), *three(9, 231.0))
    assert states(found) == [(0, "supplied", 0), (1, "phase-loss", 0), (2, "outage", 0), (9, "supplied", 0)]
    assert of(found, "#outage_duration") == [(9, pytest.approx(7.0), 0)]


def test_the_state_point_has_its_words():
    case = supply()
    case.feed(*three(0, 230.0))
    point = case.points.find("m1/supply")
    assert case.points.point(point).kind is Kind.STATE
    assert case.points.states(point) == list(STATES)


def test_a_device_that_does_not_answer_is_no_outage():
    case = supply()
    found = case.feed(*three(0, 230.0), *three(1, GONE), *three(2, GONE), *three(3, 229.0))
    assert states(found) == [(0, "supplied", 0), (1, "no-communication", 0), (3, "supplied", 0)]
    assert of(found, "#outage_duration") == []


def test_an_outage_across_a_loss_of_communication_is_questionable():
    case = supply()
    found = case.feed(*three(0, 0.0), *three(10, GONE), *three(60, 0.0), *three(70, 230.0))
    assert states(found) == [(0, "outage", 0), (10, "no-communication", 0), (60, "outage", 0), (70, "supplied", 0)]
    assert of(found, "#outage_duration") == [(70, pytest.approx(70.0), DOUBTFUL)]


def test_silence_is_a_loss_of_communication_of_that_device_only():
    case = supply(silence="60s", lateness="2s")
    case.feed(*three(0, 230.0), *three(0, 230.0, meter="m2"), tick=False)
    assert len(case.tick(2)) == 2
    assert case.tick(56) == []
    case.feed(*three(57, 230.0, meter="m2"))
    assert [(n, t, v) for n, t, v, _ in case.tick(5)] == [("m1/supply", 60, 3.0)]
    case.feed(*three(70, 230.0))
    assert [(n, t, v) for n, t, v, _ in case.tick(2)] == [("m1/supply", 70, 0.0)]


def test_where_only_some_phases_have_a_value_nothing_is_told():
    case = supply()
    found = case.feed(*three(0, 230.0), *three(1, 230.0, 230.0, GONE), *three(2, 0.0, GONE, GONE), *three(3, 230.0))
    assert states(found) == [(0, "supplied", 0)]


def test_a_state_is_told_once_until_it_changes():
    case = supply()
    for t in range(5):
        found = case.feed(*three(t, 230.0))
        assert len(found) == (1 if t == 0 else 0)


UNITS = {"feeder/e#delta": "kW.h", "m1/e#delta": "kW.h", "m2/e#delta": "W.h"}


def line(units=None, **options):
    options = {"head": "feeder/e#delta", "children": "m*/e#delta", "set": "feeder/loss", "lateness": "60s", **options}
    return Case("line_loss", options, units or UNITS)


def interval(t, head, *children):
    names = ["feeder/e#delta", "m1/e#delta", "m2/e#delta"]
    return [(name, t, value) for name, value in zip(names, (head, *children), strict=False) if value is not None]


def test_the_loss_is_the_head_less_its_children_in_the_unit_of_the_head():
    case = line()
    found = case.feed(*interval(900, 10.0, 5.5, 4200.0)) + case.tick(61)
    assert of(found, "/loss") == [(900, pytest.approx(0.3), 0)]
    assert of(found, "#percent") == [(900, pytest.approx(3.0), 0)]
    made = case.points.point(case.points.find("feeder/loss"))
    assert (made.unit, made.merge) == ("kW.h", Merge.ADD)


def test_an_interval_waits_for_its_last_meter():
    case = line()
    assert case.feed(*interval(900, 10.0, 5.0)) + case.tick(50) == []
    found = case.feed(("m2/e#delta", 900, 4000.0)) + case.tick(11)
    assert of(found, "/loss") == [(900, pytest.approx(1.0), 0)]


def test_an_interval_that_is_not_complete_has_no_loss():
    case = line()
    case.feed(*interval(900, 10.0, 5.0))
    case.operator.tick(case.now)
    case.now += 61 * S
    out = case.operator.tick(case.now)
    assert q.reason_codes(out.value).tolist() == [q.Reason.MISSING] * 2
    assert case.operator.counts.reasons["incomplete"] == 1
    assert case.feed(("m2/e#delta", 900, 4000.0)) + case.tick(100) == []
    assert case.operator.counts.reasons["late"] == 1


def test_a_child_without_a_usable_value_is_missing_too():
    case = line()
    found = case.feed(*interval(900, 10.0, 5.0), ("m2/e#delta", 900, math.nan, q.INVALID)) + case.tick(61)
    assert of(found, "/loss") == [(900, None, q.INVALID)]


def test_a_doubtful_child_makes_a_doubtful_loss():
    case = line()
    found = case.feed(*interval(900, 10.0, 5.0), ("m2/e#delta", 900, 4000.0, DOUBTFUL)) + case.tick(61)
    assert of(found, "/loss") == [(900, pytest.approx(1.0), DOUBTFUL)]


def test_without_the_head_there_is_nothing_to_tell():
    case = line()
    assert case.feed(*interval(900, None, 5.0, 4000.0)) + case.tick(100) == []


def test_other_units_do_not_add_up():
    case = line({**UNITS, "m2/e#delta": "kW"})
    found = case.feed(*interval(900, 10.0, 5.0, 4.0)) + case.tick(61)
    assert of(found, "/loss") == [(900, None, q.INVALID)]
    assert case.operator.counts.reasons["other-unit"] == 1


def test_a_childs_clock_set_wildly_ahead_does_not_move_the_line():
    case = line()
    case.feed(*interval(0, 1.0, 0.5, 400.0))
    case.tick(61)
    case.feed(("m1/e#delta", 200_000, 1.0), ("m1/e#delta", 200_900, 1.0), tick=False)
    case.now = case.start + 61 * S
    found = case.feed(*interval(900, 10.0, 5.0, 4000.0)) + case.tick(61)
    assert of(found, "/loss")[-1] == (900, pytest.approx(1.0), 0)


def test_from_counters_to_the_loss_of_a_line():
    """Meters read at odd moments, wrapping when they like (one through 0): each quarter of an hour loses 10 %."""
    points = Directory()
    names = ["feeder/energy", "m1/energy", "m2/energy"]
    for name in names:
        points.add(Point(name=name, unit="kW.h", kind=Kind.COUNTER))
    energy = EnergyConfig(points="*/energy", rated="1MW", rollover=1000.0, every=Duration(900), keep=False)
    loss = LineLossConfig(head="feeder/energy#delta", children="m*/energy#delta", set="feeder/loss", keep=False)
    line = Pipeline("line", ["**"], [("energy", energy), ("line_loss", loss)], points)
    found = []
    for step in range(400):
        now = T0 + step * 30 * S
        meter = step % 3
        rate, begin = ((100.0, 950.0), (50.0, 990.0), (40.0, 10.0))[meter]
        line.process(Frame.of([meter], now, [(begin + rate * step * 30 / 3600) % 1000]))
        frame = line.tick(now)
        found += zip(map(points.name, frame.point.tolist()), frame.time, frame.value, frame.quality, strict=True)
    percent = [(t, v, w) for name, t, v, w in found if name == "feeder/loss#percent"]
    assert [(t - T0) // S for t, *_ in percent] == list(range(900, 900 * 13, 900))
    assert [v for _, v, _ in percent[1:]] == pytest.approx([10.0] * 11)
    assert [w for _, _, w in percent] == [DOUBTFUL] + [0] * 11  # m1 and m2 were met in the first interval only
