"""Merging against a plain dict, and that infinities are no reason to raise or to warn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import quality as q
from gateway.frame import EMPTY, Frame
from gateway.merge import RULES, merged
from gateway.point import Merge

POINTS = 6
TIMES = st.one_of(st.integers(0, 3), st.sampled_from([-(2**63), 2**63 - 1, 2**40]))
SAMPLES = st.lists(
    st.tuples(st.integers(0, POINTS - 1), TIMES, st.integers(-(2**40), 2**40), st.integers(0, 0xFFFF)), max_size=50
)
RULE_OF = [Merge.LAST, Merge.ADD, Merge.MIN, Merge.MAX, Merge.ADD, Merge.LAST]
CODES = np.array([RULES.index(rule) for rule in RULE_OF], np.uint8)


def reference(rows):
    """(point, time) to (value, quality), one sample after the other."""
    combine = {Merge.ADD: lambda a, b: a + b, Merge.MIN: min, Merge.MAX: max}
    table: dict[tuple[int, int], tuple[int, int]] = {}
    for point, time, value, word in rows:
        rule = RULE_OF[point]
        if (point, time) not in table or rule is Merge.LAST:
            table[point, time] = value, word
        else:
            before, words = table[point, time]
            table[point, time] = combine[rule](before, value), q.worst([words, word])
    return sorted((point, time, float(value), word) for (point, time), (value, word) in table.items())


def rows_of(frame: Frame):
    columns = (frame.point, frame.time, frame.value, frame.quality)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(SAMPLES)
def test_merged_is_what_a_dict_gives(rows):
    frame = Frame.of(*map(list, zip(*rows, strict=True))) if rows else EMPTY
    assert rows_of(merged(frame, CODES[frame.point])) == reference(rows)


@given(SAMPLES, st.randoms(use_true_random=False))
def test_sums_and_extremes_do_not_depend_on_the_tree(rows, chance):
    """However the samples of several gateways are cut and ordered, the total is the same, bit for bit."""
    rows = [row for row in rows if RULE_OF[row[0]] is not Merge.LAST]
    shuffled = rows.copy()
    chance.shuffle(shuffled)
    cut = chance.randint(0, len(rows))
    parts = [part for part in (shuffled[:cut], shuffled[cut:]) if part]
    tiers = [row for part in parts for row in reference(part)]
    assert reference(tiers) == reference(rows)
    if tiers:
        frame = Frame.of(*map(list, zip(*tiers, strict=True)))
        assert rows_of(merged(frame, CODES[frame.point])) == reference(rows)


@pytest.mark.parametrize("rule", RULE_OF[:4])
def test_infinities_and_nans_pass_without_a_warning(rule):
    values = [math.inf, -math.inf, 1e308, 1e308, math.nan, 5.0]
    frame = Frame.of([0, 0, 0, 0, 1, 1], 1, values)
    out = merged(frame, np.full(6, RULES.index(rule), np.uint8))
    assert out.point.tolist() == [0, 1]
    if rule is Merge.LAST:
        assert out.value.tolist() == [1e308, 5.0]


def test_a_thousand_points_of_one_time_stay_apart():
    n = 1000
    frame = Frame.of(np.tile(np.arange(n, dtype=np.int32), 2), 7, np.ones(2 * n))
    out = merged(frame, np.full(2 * n, RULES.index(Merge.ADD), np.uint8))
    assert out.point.tolist() == list(range(n))
    assert set(out.value.tolist()) == {2.0}
