"""Reconstruction errors along a replay are those of the plain definition, however the samples are cut."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.trial import errors
from gateway.trial.errors import Errors, width_of
from gateway.trial.series import MOST, Pictured, reconstructed
from gateway.trial.watch import Watched
from pipelines.bounds import Bound
from pipelines.reconstruct import RECONSTRUCTION, reconstruct
from tests.pipelines.scripts import operator

S = 1_000_000_000
NAMES = ("a", "b", "c")
KINDS = ("deadband", "swinging_door")


def directory(*limits):
    points = Directory()
    for name, pair in zip(NAMES, limits or (None,) * 3, strict=True):
        points.add(Point(name=name, limits=pair))
    return points


SERIES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.floats(-5, 5).map(lambda v: round(v, 1))),
    min_size=1,
    max_size=60,
)


def judged(kind, options, moves, cuts, gathered, points=None):
    """The rows of Errors, and what came and was kept."""
    points = points or directory()
    watch = Errors(RECONSTRUCTION[kind], operator(kind, options, points).bound, points)
    step = Watched(operator(kind, options, points), [watch])
    times = np.cumsum([gap for _, gap, _ in moves]) * S
    came = Frame.of([point for point, _, _ in moves], times, [value for _, _, value in moves])
    outs = []
    # Samples of one time come together: of such, apart from each other, each is judged and not only the last
    apart = [at for at in range(1, len(came)) if came.time[at] != came.time[at - 1]] or [len(came)]
    places = [0, *sorted(apart[cut % len(apart)] for cut in cuts), len(came)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(errors, "GATHERED", gathered)
        for start, end in itertools.pairwise(places):
            outs.append(step.process(came.take(slice(start, end))))
        outs.append(step.clock_stepped(0))
        watch.close()
    kept = Frame.of(*(np.concatenate([getattr(out, c) for out in outs]) for c in ("point", "time", "value")))
    return watch, came, kept


@pytest.mark.parametrize("kind", KINDS)
@given(moves=SERIES, cuts=st.lists(st.integers(0, 99), max_size=4), gathered=st.sampled_from([1, 10, 1000]))
def test_they_are_those_of_the_definition(kind, moves, cuts, gathered):
    watch, came, kept = judged(kind, {"absolute": 0.7}, moves, cuts, gathered)
    rows = {row["point"]: row for row in watch.result()}
    for point, name in enumerate(NAMES):
        mine, sent = came.take(came.point == point), kept.take(kept.point == point)
        if not len(mine):
            assert name not in rows
            continue
        last = np.append(mine.time[1:] != mine.time[:-1], True)
        plain = np.abs(reconstruct(RECONSTRUCTION[kind], sent.time, sent.value, mine.time) - mine.value)[last]
        row = rows[name]
        assert (row["in"], row["kept"]) == (len(mine), len(sent))
        assert row["largest_error"] == pytest.approx(plain.max(), abs=1e-12)
        assert row["mean_error"] == pytest.approx(plain.mean(), abs=1e-12)
        assert row["above_bound"] == 0
        assert row["largest_error"] <= 0.7 + 1e-9
    assert watch.unjudged == 0


@pytest.mark.parametrize("rule", ["hold", "linear"])
@given(kept=SERIES, came=SERIES, far=st.sampled_from([1, 1 << 61]))
def test_many_points_at_once_are_reconstructed_like_each(rule, kept, came, far):
    def frame(rows):
        rows = sorted(rows, key=lambda row: row[:2])
        return Frame.of([p for p, _, _ in rows], [t * far for _, t, _ in rows], [v for _, _, v in rows])

    kept, came = frame(kept), frame(came)
    found = reconstructed(rule, came, kept)
    for point in range(3):
        mine, sent = came.point == point, kept.point == point
        plain = reconstruct(rule, kept.time[sent], kept.value[sent], came.time[mine])
        np.testing.assert_array_equal(found[mine], plain)


def test_what_is_out_of_bound_is_said():
    points = directory()
    watch = Errors("hold", Bound(absolute=1.0), points)
    came = Frame.of([0, 0, 0], [1, 2, 3], [10, 10.9, 12])
    watch.saw(came, came.take(slice(1)), 0)
    watch.close()
    (row,) = watch.result()
    assert (row["above_bound"], row["largest_error"], row["bound"]) == (1, 2, 1.0)
    assert row["bias"] == pytest.approx(-(0.9 + 2) / 3)


def test_times_that_go_back_are_not_judged():
    points = directory()
    watch = Errors("hold", Bound(absolute=1.0), points)
    first = Frame.of([0, 0, 1], [10, 5, 10], [1, 50, 1])
    watch.saw(first, first.take(slice(1)), 0)
    watch._settle(open_ended=False)
    again = Frame.of([0, 0, 1], [20, 30, 20], [3, 3.5, 1])
    watch.saw(again, again.take(slice(1)), 0)
    watch.close()
    rows = {row["point"]: row for row in watch.result()}
    assert rows["a"]["above_bound"] == 0
    assert rows["a"]["largest_error"] == 0.5
    assert watch.unjudged == 2 + 2, "two of a, and all of b, of which nothing was kept"


def test_pending_samples_are_bounded(monkeypatch):
    monkeypatch.setattr(errors, "MAX_PENDING", 5)
    monkeypatch.setattr(errors, "GATHERED", 1)
    watch = Errors("linear", None, directory())
    came = Frame.of([0] * 20, np.arange(20) * S, [1.0] * 20)
    watch.saw(came, came.take(slice(1)), 1)
    watch.close()
    (row,) = watch.result()
    assert watch.unjudged == 20 - 1 - 5
    assert "bound" not in row


def test_a_sample_without_a_value_costs_nothing():
    watch = Errors("hold", Bound(absolute=1.0), directory())
    came = Frame.of([0, 0, 0], [1, 2, 3], [1.0, math.nan, 1.0])
    watch.saw(came, came, 0)
    watch.close()
    assert (watch.result()[0]["largest_error"], watch.unjudged) == (0, 0)


def test_the_bound_of_a_point():
    percent = Bound(percent=2.0)
    assert width_of(Point(name="a", limits=(0, 300)), percent) == (6.0, 0.0)
    assert width_of(Point(name="a"), percent) == (0.0, 0.02)
    assert width_of(Point(name="a", kind=Kind.STATE), percent) == (0.0, 0.0)
    assert width_of(Point(name="a"), None) == (math.inf, 0.0)


def test_pictured_points_are_chosen_and_bounded():
    taken = Pictured(lambda point: point != 1, 2)
    came = Frame.of([0, 1, 2, 3], 5, [1, 2, 3, 4])
    for _ in range(2):
        taken(came, came.value + 1)
    series = taken.series()
    assert series.keys() == {0, 2}
    assert [column.tolist() for column in series[2]] == [[5, 5], [3, 3], [4, 4]]
    big = Frame.of(np.zeros(MOST, np.int32), 5, np.zeros(MOST))
    taken(big, big.value)
    taken(came, came.value)
    assert len(taken.series()[0][0]) == MOST + 2
