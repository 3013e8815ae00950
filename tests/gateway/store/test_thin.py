"""Thinning: totals before and after are the same, exactly, however often; and the spool under the rule ``thin``."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame, concat
from gateway.point import Kind, Merge, Point
from gateway.store.config import Queue, SpoolConfig, SpoolFull, StreamBounds
from gateway.store.spool import Spool
from gateway.store.thin import Thinner
from gateway.units import Duration, Size
from tests.support.trials import trials

S = 1_000_000_000
WINDOW = 60 * S
CHANCE = np.random.default_rng(11)


def directory() -> Directory:
    """0 and 1: gauges, one with a resolution; 2: a counter; 3: a state."""
    found = Directory()
    found.add(Point(name="m1/power"))
    found.add(Point(name="m1/voltage", resolution=0.1))
    found.add(Point(name="m1/energy", kind=Kind.COUNTER))
    found.add(Point(name="m1/mode", kind=Kind.STATE))
    return found


UNIT = 2**1074
"""Every float64 is a whole number of parts of this size."""


def exact(value: float) -> int:
    numerator, denominator = value.as_integer_ratio()
    return numerator * (UNIT // denominator)


def totals(points: Directory, frame: Frame) -> dict[str, tuple[int, int]]:
    """(count, exact sum in units, by steps of the resolution) of the gauges, from samples or from their aggregates."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    valid = ~np.isnan(frame.value) & ((frame.quality & q.VALIDITY) != q.INVALID)
    for point_id in np.unique(frame.point).tolist():
        point = points.point(point_id)
        base, _, what = point.name.partition("#")
        values = frame.value[(frame.point == point_id) & valid].tolist()
        if not what and point.kind is Kind.GAUGE:
            step = point.resolution
            found[base][0] += len(values)
            found[base][1] += sum(exact(float(round(value / step))) if step else exact(value) for value in values)
        elif what == "count":
            found[base][0] += int(sum(values))
        elif match := re.fullmatch(r"sum\.(-?\d+)(?:@.*)?", what):
            assert all(value.is_integer() for value in values)
            found[base][1] += int(sum(map(int, values)) * UNIT * Fraction(2) ** (26 * int(match[1])))
    return {base: (count, total) for base, (count, total) in found.items() if count}


samples = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 3600),
        st.floats(-1e9, 1e9).map(lambda value: round(value, 3)) | st.sampled_from([0.0, -0.0, math.nan, 1e-9, 230.1]),
        st.sampled_from([q.GOOD, q.QUESTIONABLE, q.INVALID]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=trials(60), deadline=None)
@given(samples, st.lists(st.sampled_from([60, 240, 900, 3600, 7200]), min_size=1, max_size=3))
def test_totals_survive_exactly_however_often(rows, windows):
    points = directory()
    thinner = Thinner(points)
    ids, seconds, values, words = zip(*rows, strict=True)
    frame = Frame.of(ids, np.array(seconds) * S, values, words)
    before = totals(points, frame)
    cut = thinner.thin(frame.take(slice(0, len(frame) // 2)), WINDOW)
    rest = thinner.thin(frame.take(slice(len(frame) // 2, None)), WINDOW)
    whole = thinner.thin(concat([cut, rest]), WINDOW)
    assert totals(points, whole) == before
    for seconds_long in sorted(windows):
        whole = thinner.thin(whole, seconds_long * S)
        assert totals(points, whole) == before
    once = thinner.thin(frame, max(windows) * S)
    shown = {(p, t): v for p, t, v in zip(whole.point.tolist(), whole.time.tolist(), whole.value.tolist(), strict=True)}
    for p, t, v in zip(once.point.tolist(), once.time.tolist(), once.value.tolist(), strict=True):
        if points.name(p).endswith(("#min", "#max", "#count")) and all(max(windows) % w == 0 for w in windows):
            assert shown[p, t] == v, points.name(p)


def test_what_remains_of_a_window():
    points = directory()
    frame = Frame.of(
        [0, 0, 0, 0, 1], [WINDOW + S, WINDOW + 3 * S, WINDOW + 2 * S, 2 * WINDOW, WINDOW],
        [5.0, 7.0, -1.0, 3.0, 230.1], [q.GOOD, q.QUESTIONABLE, q.GOOD, q.INVALID, q.GOOD],
    )  # fmt: skip
    out = Thinner(points).thin(frame, WINDOW)
    found = {
        (points.name(p), t // S): v for p, t, v in zip(out.point.tolist(), out.time.tolist(), out.value, strict=True)
    }
    assert found == {
        ("m1/power#count", 120): 3, ("m1/power#min", 120): -1, ("m1/power#max", 120): 7, ("m1/power#last", 120): 7,
        ("m1/power#sum.0", 120): 11, ("m1/power#count", 180): 0, ("m1/power#rejected", 180): 1,
        ("m1/voltage#count", 120): 1, ("m1/voltage#min", 120): 230.1, ("m1/voltage#max", 120): 230.1,
        ("m1/voltage#last", 120): 230.1, ("m1/voltage#sum.0@0.1", 120): 2301,
    }  # fmt: skip
    assert (out.quality & q.HISTORICAL > 0).all()
    assert points.point(points.find("m1/power#count")).merge is Merge.ADD


def test_of_counters_and_states_the_last_remains_as_it_is():
    points = directory()
    frame = Frame.of([2, 2, 2, 3, 3], [S, 59 * S, 61 * S, S, 2 * S], [1.0, 2.0, 3.0, 0.0, 1.0])
    out = Thinner(points).thin(frame, WINDOW)
    assert list(zip(out.point.tolist(), out.time.tolist(), out.value.tolist(), strict=True)) == [
        (2, 59 * S, 2.0), (2, 61 * S, 3.0), (3, 2 * S, 1.0),
    ]  # fmt: skip


def test_a_sum_that_would_not_be_exact_any_more_is_refused():
    points = directory()
    thinner = Thinner(points)
    (slice_id,) = points.derive(np.array([0], np.int32), "#sum.0", merge=Merge.ADD, kind=Kind.GAUGE).tolist()
    frame = Frame.of([slice_id, slice_id], [S, 2 * S], [2.0**52, 2.0**52])
    assert thinner.thin(frame, WINDOW) is None


MIB = Size(2**20)


def noise(seconds: int, n: int = 2000, points: int = 2) -> Frame:
    """So many samples of a second, which do not compress."""
    ids = np.sort(CHANCE.integers(0, points, n)).astype(np.int32)
    return Frame.of(ids, seconds * S + np.sort(CHANCE.integers(0, S, n)), CHANCE.normal(100, 20, n))


def spool_over(db, points: Directory, **stream) -> Spool:
    bounds = SpoolConfig(max_size=Size(2 * MIB) if stream else MIB, when_full=SpoolFull.THIN, thin_window=Duration(60))
    queue = Queue(bounds=bounds, streams={"p": StreamBounds(**stream)} if stream else {})
    spool = Spool(db, bounds, queues={"out": queue}, points=points)
    spool.load()
    return spool


def all_rows(spool: Spool) -> list:
    rows = []
    while found := spool.read("out", rows[-1].seq if rows else 0, 100, 0):
        rows += found
    return rows


@pytest.mark.parametrize("held", [0, 20])
def test_a_spool_that_is_full_keeps_all_totals(database, held):
    points, taken = directory(), []
    spool = spool_over(database(), points)
    sent = []
    for second in range(150):
        frame = noise(second)
        taken.append(frame)
        with spool.db:
            made = spool.append("out", "p", frame, second * S)
        sent = sent or [batch.seq for batch in made]
        spool.held = {"out": {row.seq for row in all_rows(spool)[:held]}} if held and second % 20 == 0 else spool.held
        assert spool.gauge("out").bytes <= MIB
    rows = all_rows(spool)
    assert totals(points, concat(row.frame for row in rows)) == totals(points, concat(taken))
    assert spool.lost == {}
    thinned = [row for row in rows if any(bound["step"] == "thin" for bound in row.bounds)]
    assert 0 < len(thinned) < 60, "a window's parts become one"
    plain = sum(len(row.frame) for row in rows if row not in thinned)
    assert spool.thinned == {"out": sum(map(len, taken)) - plain}
    (marker,) = spool.announce("out", 0)
    assert (marker.loss.reason, marker.loss.count) == ("thinned", spool.thinned["out"])
    assert marker.loss.first_seq <= marker.loss.last_seq < rows[-1].seq
    spool.counts.load(spool.db, -1)
    assert spool.gauge("out").rows == len(rows) + 1


def test_what_was_thinned_is_thinned_again_before_anything_goes(database):
    """A day of many points: with one window alone it would not fit."""
    points = directory()
    for number in range(300):
        points.add(Point(name=f"x{number}/power"))
    spool = spool_over(database(), points)
    taken = []
    for minute in range(0, 300, 2):
        ids = np.repeat(np.arange(4, 304, dtype=np.int32), 6)
        frame = Frame.of(ids, minute * WINDOW + np.tile(np.arange(6) * 10 * S, 300), CHANCE.normal(0, 1, 1800))
        taken.append(frame)
        with spool.db:
            spool.append("out", "p", frame, minute * WINDOW)
    rows = all_rows(spool)
    assert spool.lost == {}
    assert totals(points, concat(row.frame for row in rows)) == totals(points, concat(taken))
    assert max(bound["window_ns"] for row in rows for bound in row.bounds) > WINDOW, "longer windows than the first"


def test_what_cannot_be_thinned_goes_and_is_told(database):
    """One sample a point and window at most: aggregates would be larger."""
    points = directory()
    for number in range(4000):
        points.add(Point(name=f"x{number}/power"))
    spool = spool_over(database(), points)
    taken = 0
    for day in range(40):
        frame = Frame.of(np.arange(4, 4004), day * 86400 * S, CHANCE.random(4000))
        taken += len(frame)
        with spool.db:
            spool.append("out", "p", frame, day * S)
        assert spool.gauge("out").bytes <= MIB
    assert spool.lost["out"] > 0
    assert spool.lost["out"] + sum(len(row.frame) for row in all_rows(spool)) == taken
    assert spool.thinned == {}


def test_one_pipeline_alone_may_be_thinned(database):
    points = directory()
    spool = spool_over(database(), points, max_size=MIB)
    with spool.db:
        other = spool.append("out", "q", noise(0), 0)
        for second in range(120):
            spool.append("out", "p", noise(second), second * S)
    assert spool.counts.stream("out", "p").bytes <= MIB
    assert [row for row in all_rows(spool) if row.pipeline == "q"] == other
    assert spool.thinned["out"] > 0
