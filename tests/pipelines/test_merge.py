"""Partial results: any tree of merges gives the bits that one node gives, and what ``merge`` promises one by one."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame
from gateway.merge import merged
from gateway.point import Merge, Point
from pipelines.operators.aggregate.window_partials import share_of
from tests.pipelines import reference_aggregate
from tests.pipelines.scripts import START_NS, S, operator, plain
from tests.pipelines.test_operators import config_of
from tests.support.trials import trials

STATS = ["count", "sum", "mean", "min", "max", "range", "variance", "stddev", "histogram", "p5", "p95", "coverage"]
BINS = {"bins": [-100, 0, 1, 230, 1e6]}
MIN = 60 * S
T0 = START_NS // MIN * MIN
POINTS = (
    Point(name="m1/power", unit="W"),
    Point(name="m1/energy", unit="kW.h", resolution=0.01),
    Point(name="m2/power", unit="W", resolution=0.1, labels={"area": "north"}),
    Point(name="m3/power", unit="W", labels={"area": "north"}),
)


class Node:
    """A gateway with one step: samples come and go by name, as between gateways."""

    def __init__(self, kind, options, *, knows=POINTS, facts=True):
        self.points = Directory()
        for point in knows:
            self.points.add(point)
        self.facts = facts
        self.step = operator(kind, options, self.points)

    def give(self, samples, prefix=""):
        """Take samples (point or name, time, value, quality); what passes."""
        ids = []
        for point, *_ in samples:
            known = point if isinstance(point, Point) else Point(name=point)
            known = Point(**{f: getattr(known, f) for f in known.__struct_fields__} | {"name": prefix + known.name})
            ids.append(self.points.add(known if self.facts else Point(name=known.name)))
        rest = list(zip(*(sample[1:] for sample in samples), strict=True)) or [(), (), ()]
        frame = Frame.of(ids, *map(list, rest)) if samples else EMPTY
        out = self.step.process(frame)
        return self.told(out)

    def told(self, frame):
        points = [self.points.point(i) for i in frame.point.tolist()]
        return list(zip(points, frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True))

    def flush(self):
        out = self.told(self.step.clock_stepped(0))
        self.step.counts.samples_out = self.step.counts.samples_in - (
            self.step.counts.aggregated + self.step.counts.dropped + self.step.counts.queued
        )
        assert self.step.counts.queued == 0
        return out


def bits(samples):
    """By name and time: value by its bits, quality."""
    return {(p.name, t): (struct.pack("<d", v), word) for p, t, v, word in samples}


def partial(samples, **options):
    leaf = Node("window", {"every": "1m", "stats": STATS, "partial": True, **BINS, **options})
    leaf.give(samples)
    return leaf.flush()


def joined(parts, *, facts=True, **options):
    node = Node("merge", {"stats": STATS, **options}, knows=(), facts=facts)
    for part in parts:
        node.give(part)
    return node.flush()


def tree(leaves, draw):
    """Merge partial results in a random tree until one set is left, and finish that."""
    parts = [partial(leaf) for leaf in leaves]
    while len(parts) > 1:
        many = draw(st.integers(2, len(parts)))
        chosen = sorted(draw(st.permutations(range(len(parts))))[:many], reverse=True)
        taken = [parts.pop(at) for at in chosen]
        parts.append(joined(taken, partial=True))
    return joined(parts)


VALUES = st.one_of(
    st.floats(-1000, 1000),
    st.floats(-1000, 1000).map(lambda v: round(v, 2)),
    st.floats(allow_nan=True),
    st.sampled_from([0.0, -0.0, 1e300, -1e300, 5e-324, 1e16, 0.1, 229.99]),
)
SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(POINTS),
        st.integers(0, 3 * MIN - 1).map(lambda ns: T0 + ns),
        VALUES,
        st.sampled_from([0, 0, 0, 0, q.INVALID, q.QUESTIONABLE, q.HISTORICAL, q.QUESTIONABLE | q.OLD_DATA]),
    ),
    max_size=60,
)


@settings(max_examples=trials(150), deadline=None)
@given(samples=SAMPLES, data=st.data())
def test_any_tree_gives_the_bits_of_one_node(samples, data):
    many = data.draw(st.integers(1, 6))
    leaves = [[] for _ in range(many)]
    for sample in samples:
        leaves[data.draw(st.integers(0, many - 1))].append(sample)
    assert bits(tree(leaves, data.draw)) == bits(joined([partial(samples)]))


def in_order(results):
    """By time and point: in which order points come within a frame means nothing."""
    return sorted(results, key=lambda one: (one[1], one[0].name.partition("#")[0]))


EXACT = {"count", "min", "max", "range", "p5", "p95", "coverage"}


def usable_of(samples):
    """The valid values by point and window."""
    found = {}
    for point, time, value, word in samples:
        if not math.isnan(value) and word & 3 not in {1, 2}:
            found.setdefault((point.name, time // MIN), []).append(value)
    return found


@settings(max_examples=trials(100), deadline=None)
@given(samples=SAMPLES)
def test_one_merged_partial_is_what_the_plain_window_gives(samples):
    window = Node("window", {"every": "1m", "stats": STATS, **BINS})
    window.give(samples)
    expected, found = in_order(window.flush()), in_order(joined([partial(samples)]))
    assert [(p.name, t) for p, t, *_ in found] == [(p.name, t) for p, t, *_ in expected]
    steps, inputs = {p.name: p.resolution for p in POINTS}, usable_of(samples)
    for (point, time, value, word), (_, _, wanted, expected_word) in zip(found, expected, strict=True):
        base, _, stat = point.name.partition("#")
        largest = max(map(abs, inputs.get((base, time // MIN - 1), [0.0])))
        if largest > 1e100:  # squares overflow
            continue
        assert word == expected_word
        if stat in EXACT or stat.startswith("hist") or (steps[base] and stat in {"sum", "mean"} and largest < 1e13):
            assert value == wanted or (math.isnan(value) and math.isnan(wanted)), point.name
        else:
            size = largest ** (2 if stat == "variance" else 1) * 60
            slack = (1e-7 if stat == "stddev" else 1e-13) * size
            assert value == pytest.approx(wanted, rel=1e-12, abs=slack, nan_ok=True)


@settings(max_examples=trials(60), deadline=None)
@given(
    st.lists(st.floats(-5, 5).map(lambda v: 230 + v), min_size=2, max_size=50),
    st.integers(1, 4),
    st.sampled_from(POINTS[:2]),
)
def test_variance_is_within_a_billionth_of_a_permille(values, many, point):
    samples = [(point, T0 + i, value, 0) for i, value in enumerate(values)]
    window = Node("window", {"every": "1m", "stats": ["variance"]})
    window.give(samples)
    merged_ones = joined([partial(samples[at::many]) for at in range(many)], stats=["variance"])
    step = Fraction(point.resolution or 1)
    exact = [Fraction(round(v / point.resolution)) * step if point.resolution else Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    wanted = float(sum((x - mean) ** 2 for x in exact) / len(exact))
    assert merged_ones[0][2] == pytest.approx(wanted, rel=1e-12, abs=1e-26)
    spread = max(values) - min(values)
    assert window.flush()[0][2] == pytest.approx(wanted, rel=1e-12, abs=1e-12 * spread**2 + 1e-26)


@settings(max_examples=trials(40), deadline=None)
@given(samples=SAMPLES, many=st.integers(1, 4))
def test_the_rules_of_the_points_are_enough_to_merge(samples, many):
    """What ``gateway.merge`` does with samples of one point and time, without knowing what they are."""
    points = Directory()
    ids, columns = [], []
    for at in range(many):
        for point, *rest in partial(samples[at::many]):
            ids.append(points.add(point))
            columns.append(rest)
    frame = Frame.of(ids, *map(list, zip(*columns, strict=True))) if ids else EMPTY
    out = merged(frame, points.merge_rules()[frame.point])
    summed = Node("merge", {"stats": STATS}, knows=()).told(EMPTY)
    assert summed == []
    told = [(points.point(i), t, v, w) for i, t, v, w in zip(*(c.tolist() for c in columns_of(out)), strict=True)]
    parts = [partial(samples[at::many]) for at in range(many)]
    assert without_infinities(bits(joined([told]))) == without_infinities(bits(joined(parts)))


def columns_of(frame):
    return frame.point, frame.time, frame.value, frame.quality


def without_infinities(results):
    """A minimum of -0.0 and 0.0 may be either."""
    return {
        key: (struct.pack("<d", struct.unpack("<d", value)[0] + 0.0), word) for key, (value, word) in results.items()
    }


def test_names_alone_are_enough():
    samples = [(point, T0 + i * S, 0.1 * i, 0) for i in range(50) for point in POINTS]
    parts = [partial(samples[at::3]) for at in range(3)]
    assert bits(joined(parts, facts=False)) == bits(joined(parts))


def test_results_know_their_unit():
    samples = [(point, T0 + i * S, 0.1 * i, 0) for i in range(50) for point in POINTS]
    for stats in (["mean", "count"], ["mean", "max"], ["max", "variance"]):
        parts = [partial(samples, stats=stats, bins=None)]
        about = {p.name: p for p, *_ in joined(parts, stats=stats)}
        assert about[f"m1/energy#{stats[0]}"].unit == "kW.h"
        if "max" in stats:
            assert about["m2/power#max"].resolution == 0.1
            assert about["m2/power#max"].merge is Merge.MAX
        if "variance" in stats:
            assert about["m1/energy#variance"].unit == "(kW.h)2"
            assert about["m2/power#variance"].labels == {"area": "north"}


def two_gateways():
    samples = [(POINTS[0], T0 + i * S, float(i), 0) for i in range(30)]
    other = [(POINTS[3], T0 + i * S, float(-i), 0) for i in range(20)]
    return [partial(samples, stats=["count", "mean"], bins=None), partial(other, stats=["count", "mean"], bins=None)]


@pytest.mark.parametrize(
    ("over", "name", "expected"),
    [
        (None, "", {"gw0/m1/power": 30, "gw1/m3/power": 20}),
        ("all", "site/power", {"site/power": 50}),
        ("device", "{device}/total", {"gw0/total": 30, "gw1/total": 20}),
        ("*/*/{what}", "site/{what}", {"site/power": 50}),
        ("{gw}/m1/*", "{gw}/sum", {"gw0/sum": 30}),
        ("label area", "area-{area}/power", {"area-north/power": 20}),
    ],
)
def test_sources_of_other_names_make_groups(over, name, expected):
    grouping = {} if over is None else {"over": over, "name": name}
    node = Node("merge", {"stats": ["count", "mean"], **grouping}, knows=())
    passed = [node.give(part, prefix=f"gw{at}/") for at, part in enumerate(two_gateways())]
    assert {p.name: v for p, _, v, _ in node.flush() if p.name.endswith("#count")} == {
        f"{base}#count": count for base, count in expected.items()
    }
    assert all(not sample[0].name.startswith("gw0") or over == "label area" for part in passed for sample in part)


@settings(max_examples=trials(60), deadline=None)
@given(samples=SAMPLES, many=st.integers(1, 3), lag=st.integers(0, 3))
def test_merging_gives_what_the_reference_gives(samples, many, lag):
    options = {
        "stats": ["count", "sum", "mean", "min", "max"],
        "over": "device",
        "name": "{device}/x",
        "lateness": "90s",
    }
    node = Node("merge", options, knows=())
    plain_one = reference_aggregate.Merge(config_of("merge", options), node.points)
    tame = [sample for sample in samples if abs(sample[2]) < 1e20]
    parts = [one for at in range(many) for one in partial(tame[at::many], stats=["mean", "min", "max"], bins=None)]
    found, expected, now = [], [], T0
    for at in range(0, len(parts) + 8, 8):
        rows = [(node.points.add(p), *rest) for p, *rest in parts[at : at + 8]]
        node.give(parts[at : at + 8])
        assert plain_one.process(rows) == []
        now += lag * 40 * S
        found += node.told(node.step.tick(now))
        expected += plain_one.tick(now)
    assert len(found) == len(expected)
    for (p, time, value, _), (name, end, wanted, _) in zip(in_order(found), sorted(expected, key=by_time), strict=True):
        assert (p.name, time) == (name, end)
        assert value == pytest.approx(wanted, rel=1e-12, abs=1e-6, nan_ok=True)


def by_time(result):
    return result[1], result[0].partition("#")[0]


def ticked(node, seconds):
    return node.told(node.step.tick(T0 + seconds * S))


def test_a_window_waits_for_its_last_source_and_no_longer():
    first, second = two_gateways()
    node = Node("merge", {"stats": ["count"], "over": "all", "name": "all", "lateness": "10s"}, knows=())
    node.give(first)
    assert ticked(node, 60) == []
    node.give(second)
    assert ticked(node, 69) == []
    assert [(p.name, t, v) for p, t, v, _ in ticked(node, 70)] == [("all#count", T0 + 60 * S, 50.0)]
    assert node.give(second) == []
    assert node.step.counts.reasons == {"late": len(second)}
    assert node.step.counts.dropped == len(second)


def test_late_partial_results_may_pass():
    first, second = two_gateways()
    node = Node("merge", {"stats": ["count"], "over": "all", "name": "all", "late": "pass", "lateness": "0s"}, knows=())
    node.give(first)
    assert len(ticked(node, 60)) == 1
    assert node.give(second) == second
    assert node.step.counts.reasons == {"late": len(second)}


def test_missing_sources_show_in_the_coverage():
    first, second = two_gateways()
    options = {"stats": ["coverage"], "sources": 2, "over": "all", "name": "all"}
    assert [v for *_, v, _ in joined([first, second], **options)] == [1.0]
    assert [v for *_, v, _ in joined([first], **options)] == [0.5]
    half = joined([first, second], stats=["count"], partial=True, over="all", name="all")
    assert ("all#parts", 2.0) in [(p.name, v) for p, _, v, _ in half]
    assert [v for *_, v, _ in joined([half], **options)] == [1.0]


def test_what_a_partial_result_lacks_has_no_value():
    found = joined([two_gateways()[0]], stats=["count", "mean", "stddev", "p50", "max"])
    assert [math.isnan(v) for *_, v, _ in found] == [False, False, True, True, True]
    assert [w for *_, w in found][2] == q.INVALID


def test_an_invalid_partial_result_makes_the_result_questionable():
    part = two_gateways()[0]
    broken = [(p, t, math.nan, q.INVALID | q.OLD_DATA) if p.name.endswith("#count") else (p, t, v, w)
              for p, t, v, w in part]  # fmt: skip
    found = {p.name: (v, w) for p, _, v, w in joined([broken, two_gateways()[1]], over="all", name="all")}
    assert found["all#count"] == (20.0, q.QUESTIONABLE | q.OLD_DATA)


def test_other_points_pass_and_odd_times_are_dropped():
    node = Node("merge", {}, knows=())
    strangers = [
        (name, T0, 1.0, 0) for name in ("m1/power", "m1/power#mean", "#count", "a#sum.x", "a#sum.0@0", "a#b#min")
    ]
    assert [p.name for p, *_ in node.give(strangers)] == [name for name, *_ in strangers]
    assert node.give([("m1/power#count", T0 + 1, 1.0, 0)]) == []
    assert node.step.counts.reasons == {"no-window": 1}
    assert node.flush() == []


def test_sketches_of_another_error_are_taken_over():
    samples = [(POINTS[0], T0 + i, 1.1**i, 0) for i in range(50)]
    fine = partial(samples, stats=["p50"], bins=None, relative_error=0.001)
    [(_, _, value, _)] = joined([fine], stats=["p50"], relative_error=0.02)
    assert value == pytest.approx(1.1**24, rel=0.0211)


@given(
    st.one_of(
        st.text(max_size=30), st.from_regex(r"a#(sum|sumsq|bin|hist)\.-?[0-9]{1,4}(@[0-9.e+-]{1,8})?", fullmatch=True)
    )
)
def test_any_name_is_a_share_or_none(name):
    share = share_of(name)
    if share is not None:
        assert name.startswith(share.base + "#")
        assert isinstance(hash(share), int)


@settings(max_examples=trials(30), deadline=None)
@given(samples=SAMPLES, cut=st.integers(0, 200))
def test_a_merge_goes_on_from_a_snapshot(samples, cut):
    parts = [one for at in range(3) for one in partial(samples[at::3])]
    straight, broken = (Node("merge", {"stats": STATS, "over": "all", "name": "all"}, knows=()) for _ in range(2))
    straight.give(parts)
    cut %= len(parts) + 1
    broken.give(parts[:cut])
    state = broken.step.snapshot()
    kept = plain(state)
    broken.step = operator("merge", {"stats": STATS, "over": "all", "name": "all"}, broken.points)
    broken.step.restore(state)
    assert plain(broken.step.snapshot()) == kept
    broken.step.counts.queued = cut
    broken.give(parts[cut:])
    assert bits(broken.flush()) == bits(straight.flush())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"stats": ["wmean"]}, ("stats", 0)),
        ({"stats": []}, ("stats",)),
        ({"over": "all"}, ("name",)),
        ({"name": "x"}, ("name",)),
        ({"over": "device", "name": "{dev}"}, ("name",)),
        ({"over": "devices", "name": "x"}, ("over",)),
        ({"over": "{a}/{a}", "name": "x"}, ("over",)),
        ({"over": "{A}/*", "name": "x"}, ("over",)),
        ({"over": "all", "name": "a#b"}, ("name",)),
        ({"sources": 2, "partial": True}, ("sources",)),
    ],
)
def test_nonsense_is_refused(options, field):
    with pytest.raises(msgspec.ValidationError) as error:
        operator("merge", options, Directory())
    assert isinstance(error.value.__cause__, FieldError)
    assert error.value.__cause__.field == field


def test_partial_results_of_the_sums_are_small_numbers():
    """What travels for 900 samples of a voltage: integers that a few bytes hold."""
    chance = np.random.default_rng(5)
    samples = [(POINTS[1], T0 + i * S // 20, round(v, 2), 0) for i, v in enumerate(chance.normal(230, 1, 900))]
    names = [p.name.partition("#")[2] for p, *_ in partial(samples, stats=["mean", "variance", "max"], bins=None)]
    assert names == ["count", "max", "sum.0@0.01", "sumsq.0@0.01", "sumsq.1@0.01"]
