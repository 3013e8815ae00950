"""Alignment of several points, against a plain reference over random streams."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame, grouped
from gateway.point import Point
from pipelines.operators.aligned import Aligner, Mode, worst_of
from tests.support.trials import trials

S = 1_000_000_000
NAMES = ("m1/p", "m1/q", "m2/p", "m2/q", "site/total", "m1/p#mean", "other")
LATENESS = 2 * S


def directory():
    points = Directory()
    for name in NAMES:
        points.add(Point(name=name))
    return points


def frame_of(samples):
    """Samples (name, time in s, value)."""
    if not samples:
        return Frame.of([], [], [])
    return grouped(Frame.of(*map(list, zip(*((NAMES.index(n), int(t * S), v) for n, t, v in samples), strict=True))))


def told(aligner, rows):
    """Rows as (group text, time in s, values) tuples; a missing value is None."""
    return [
        (aligner.text(g), t / S, tuple(None if math.isnan(v) else v for v in values))
        for g, t, values in zip(rows.group.tolist(), rows.time.tolist(), rows.value.tolist(), strict=True)
    ]


def run(aligner, parts):
    """(samples, seconds until the tick) parts; all rows, then what a flush still gives."""
    now, out, taken, consumed = 1000 * S, [], 0, 0
    for samples, pause in parts:
        taken += aligner.add(frame_of(samples)).held
        now += int(pause * S)
        rows, done = aligner.tick(now)
        out += told(aligner, rows)
        consumed += done
    rows, done = aligner.flush()
    assert taken == consumed + done
    assert len(aligner) == 0
    return out, told(aligner, rows)


def aligned(inputs, **options):
    return Aligner(directory(), inputs, lateness_ns=LATENESS, **options)


def test_exact_rows_are_made_for_each_device_where_all_inputs_are_there():
    samples = [("m1/p", 1, 10), ("m1/q", 1, 20), ("m1/p", 2, 11), ("m2/p", 1, 5), ("m2/q", 1, 6), ("m1/p#mean", 1, 0)]
    out, rest = run(aligned(["*/p", "*/q"]), [(samples, 0), ([], 9)])
    assert out == [("m1", 1.0, (10.0, 20.0)), ("m2", 1.0, (5.0, 6.0))]
    assert rest == []


def test_fixed_names_make_one_group():
    out, _ = run(aligned(["m1/p", "m2/p"]), [([("m1/p", 1, 10), ("m2/p", 1, 20)], 0), ([], 9)])
    assert out == [(".", 1.0, (10.0, 20.0))]


def test_an_input_without_a_star_is_shared():
    samples = [("m1/p", 1, 10), ("m2/p", 1, 20), ("site/total", 1, 100)]
    out, _ = run(aligned(["*/p", "site/total"]), [(samples, 0), ([], 9)])
    assert out == [("m1", 1.0, (10.0, 100.0)), ("m2", 1.0, (20.0, 100.0))]


def test_held_values_have_an_age_limit():
    samples = [("m1/p", 1, 10), ("m1/q", 2, 20), ("m1/p", 9, 11)]
    out, _ = run(aligned(["*/p", "*/q"], mode=Mode.LAST, max_gap_ns=3 * S), [(samples, 0), ([], 20)])
    assert out == [("m1", 1.0, (10.0, None)), ("m1", 2.0, (10.0, 20.0)), ("m1", 9.0, (11.0, None))]


def test_what_is_held_lasts_from_tick_to_tick():
    parts = [([("m1/q", 1, 5)], 0), ([], 10), ([("m1/p", 12, 7)], 0), ([], 10)]
    out, _ = run(aligned(["*/p", "*/q"], mode=Mode.LAST, max_gap_ns=60 * S), parts)
    assert out == [("m1", 1.0, (None, 5.0)), ("m1", 12.0, (7.0, 5.0))]


def test_a_grid_between_samples_is_linear_up_to_the_gap():
    samples = [("m1/p", 0.5, 0.0), ("m1/p", 2.5, 20.0), ("m1/p", 9.5, 90.0)]
    out, _ = run(aligned(["*/p"], mode=Mode.LINEAR, max_gap_ns=3 * S, grid_ns=S), [(samples, 0), ([], 20)])
    by_time = {t: v[0] for _, t, v in out}
    assert by_time[1.0] == pytest.approx(5.0)
    assert by_time[2.0] == pytest.approx(15.0)
    assert by_time[3.0] is None
    assert min(by_time) == 1.0


def test_a_grid_of_held_values():
    parts = [([("m1/p", 0.5, 7.0)], 0), ([], 5)]
    out, _ = run(aligned(["*/p"], mode=Mode.LAST, max_gap_ns=2 * S, grid_ns=S), parts)
    assert [(t, v[0]) for _, t, v in out] == [(1.0, 7.0), (2.0, 7.0), (3.0, None)]


def test_the_later_of_two_samples_for_one_time_counts():
    out, _ = run(aligned(["*/p", "*/q"]), [([("m1/p", 1, 1), ("m1/q", 1, 2), ("m1/p", 1, 3)], 0), ([], 9)])
    assert out == [("m1", 1.0, (3.0, 2.0))]


def test_one_point_may_be_two_inputs():
    out, _ = run(aligned(["*/p", "m1/p"]), [([("m1/p", 1, 1), ("m2/p", 1, 2)], 0), ([], 9)])
    assert out == [("m1", 1.0, (1.0, 1.0)), ("m2", 1.0, (2.0, 1.0))]


def test_late_samples_are_counted_and_left_out():
    aligner = aligned(["*/p", "*/q"])
    aligner.add(frame_of([("m1/p", 1, 1), ("m1/q", 1, 2)]))
    for now in (1000, 1009):
        aligner.tick(now * S)
    assert aligner.add(frame_of([("m1/p", 1, 1.0)])).late == 1


def test_wild_dates_do_not_overflow():
    aligner = aligned(["*/p"], mode=Mode.LAST, grid_ns=S, max_gap_ns=S)
    taken = aligner.add(Frame.of([0, 0, 0], [-(1 << 63), (1 << 63) - 1, 5 * S], [1.0, 1.0, 2.0]))
    assert (taken.early, taken.held) == (2, 1)
    aligner.tick(1000 * S)
    rows, _ = aligner.tick(1004 * S)
    assert rows.time.tolist() == [5 * S, 6 * S, 7 * S]


def test_quality_of_a_row():
    words = np.array([[q.GOOD, q.QUESTIONABLE | q.OUT_OF_RANGE], [q.INVALID, q.GOOD], [q.GOOD, q.GOOD]], np.uint16)
    assert worst_of(words).tolist() == [q.QUESTIONABLE | q.OUT_OF_RANGE, q.INVALID, q.GOOD]


def plain(mode, samples, max_gap, grid, upto):
    """All rows of one long run without late samples, by device, as anybody would write them."""
    held = {}
    for name, t, v in samples:
        held.setdefault(name, {})[t] = v
    rows = []
    for device in ("m1", "m2"):
        p, r = held.get(f"{device}/p", {}), held.get(f"{device}/q", {})
        times = sorted({*p, *r})
        if grid and times:
            times = [n * grid for n in range(math.ceil(times[0] / grid), math.floor(upto[device] / grid) + 1)]
        for t in times:
            row = tuple(value_at(mode, one, t, max_gap) for one in (p, r))
            if mode is not Mode.EXACT or None not in row:
                rows.append((device, float(t), row))
    return rows


def value_at(mode, samples, t, max_gap):
    if t in samples:
        return float(samples[t])
    before = max((s for s in samples if s < t), default=None)
    if mode is Mode.EXACT or before is None:
        return None
    if mode is Mode.LAST:
        return float(samples[before]) if t - before <= max_gap else None
    after = min((s for s in samples if s > t), default=None)
    if after is None or after - before > max_gap:
        return None
    return samples[before] + (samples[after] - samples[before]) * ((t - before) / (after - before))


SAMPLES = st.lists(st.tuples(st.sampled_from(NAMES[:4]), st.integers(0, 30), st.integers(-50, 50)), max_size=30)


@settings(max_examples=trials(60), deadline=None)
@given(
    samples=SAMPLES,
    mode=st.sampled_from(list(Mode)),
    gap=st.integers(0, 8),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
def test_against_the_plain_reference(samples, mode, gap, cuts):
    grid = 3 if mode is Mode.LINEAR else 0
    samples = sorted(samples, key=lambda s: s[1])  # in order: nothing is late
    at = [0, *sorted(cut % (len(samples) + 1) for cut in cuts), len(samples)]
    parts = [(samples[a:b], 0) for a, b in itertools.pairwise(at)]
    if not grid:
        parts.append(([], 100))
    aligner = aligned(["*/p", "*/q"], mode=mode, max_gap_ns=gap * S, grid_ns=grid * S)
    out, rest = run(aligner, parts)
    upto = {d: max((t for n, t, _ in samples if n.startswith(d)), default=0) for d in ("m1", "m2")}
    expected = sorted(plain(mode, samples, gap, grid, upto), key=lambda row: row[:2])
    found = sorted([*out, *rest], key=lambda row: row[:2])
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for (_, _, got), (_, _, want) in zip(found, expected, strict=True):
        assert got == tuple(w if w is None else pytest.approx(w) for w in want)


@settings(max_examples=trials(40), deadline=None)
@given(samples=SAMPLES, mode=st.sampled_from(list(Mode)), at=st.integers(0, 30))
def test_snapshot_and_restore(samples, mode, at):
    points = directory()
    grid = 2 * S if mode is Mode.LINEAR else 0

    def fresh():
        return Aligner(points, ["*/p", "*/q"], mode=mode, max_gap_ns=4 * S, grid_ns=grid, lateness_ns=LATENESS)

    whole, first = fresh(), fresh()
    now = 1000 * S
    for number, sample in enumerate(samples):
        if number == at:
            second = fresh()
            second.restore(first.snapshot())
            first = second
        now += S
        frame = frame_of([sample])
        assert whole.add(frame).held == first.add(frame).held
        assert told(whole, whole.tick(now)[0]) == told(first, first.tick(now)[0])
    assert told(whole, whole.flush()[0]) == told(first, first.flush()[0])
