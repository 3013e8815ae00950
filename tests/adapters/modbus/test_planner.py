"""The planner against the best that trying everything finds."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.place import Table
from adapters.modbus.planner import Limits, Span, atoms, hull, plan

MAP = st.lists(st.tuples(st.integers(0, 24), st.sampled_from([1, 1, 2, 4])), min_size=1, max_size=7)


def allowed(spans, group, most, gap, cuts):
    """Whether one read may fetch ``group``; registers of any defined value in its range are no gap."""
    start, end = min(s.address for s in group), max(s.end for s in group)
    if end - start > most and len(group) > 1:
        return False
    if any(start < cut <= max(s.address for s in group) for cut in cuts):
        return False
    reach = start
    for span in sorted(group):
        if span.address - reach > gap:
            return False
        reach = max(reach, span.end)
    return True


def fewest(spans, most, gap, cuts):
    """The least number of reads: any values may share any read, and be read along in several."""
    everything = frozenset(range(len(spans)))
    usable = [
        frozenset(group)
        for size in range(1, len(spans) + 1)
        for group in itertools.combinations(range(len(spans)), size)
        if allowed(spans, [spans[i] for i in group], most, gap, cuts)
    ]
    covered, reads = {frozenset()}, 0
    while everything not in covered:
        covered = {done | group for done in covered for group in usable}
        reads += 1
    return reads


@given(MAP, st.integers(4, 12), st.integers(0, 5), st.lists(st.integers(1, 24), max_size=2))
def test_no_plan_has_fewer_reads(values, most, gap, cuts):
    spans = [Span(Table.HOLDING, address, width) for address, width in values]
    reads = plan(spans, Limits(most, gap, [(Table.HOLDING, cut) for cut in cuts]))
    assert len(reads) == fewest(spans, most, gap, cuts)
    assert sorted(i for read in reads for i in read.members) == list(range(len(spans)))
    for read in reads:
        assert read.count <= most
        assert allowed(spans, [spans[i] for i in read.members], most, gap, cuts)
        for i in read.members:
            assert read.address <= spans[i].address
            assert spans[i].end <= read.address + read.count


def optimum(spans, limits):
    """The least number of reads by dynamic programming over all ways to cut the sorted values into runs."""
    best = [0]
    for last in range(len(spans)):
        options = []
        for first in range(last, -1, -1):
            run = spans[first : last + 1]
            if allowed(spans, run, limits.max_registers, limits.max_gap, [cut for _, cut in limits.cuts]):
                options.append(best[first] + 1)
            elif run[-1].end - run[0].address > limits.max_registers:
                break
        best.append(min(options))
    return best[-1]


@pytest.mark.parametrize("seed", range(20))
def test_300_points_with_random_gaps_need_no_more_reads_than_the_optimum(seed):
    chance = random.Random(seed)
    spans, at = [], 0
    for _ in range(300):
        at += chance.choice([0, 0, 0, 1, 2, 5, 11, 30, chance.randrange(120)])
        spans.append(Span(Table.HOLDING, at, chance.choice([1, 1, 2, 2, 4])))
        at = spans[-1].end
    holes = [(Table.HOLDING, spans[i].address) for i in chance.sample(range(300), seed % 7)]
    limits = Limits(chance.choice([20, 50, 80, 125]), chance.choice([0, 4, 10, 40]), holes)
    shuffled = chance.sample(spans, len(spans))
    reads = plan(shuffled, limits)
    assert len(reads) == optimum(spans, limits)
    assert sorted(i for read in reads for i in read.members) == list(range(300))


def test_learned_lengths_hold_for_their_table_only():
    spans = [Span(table, i, 1) for table in (Table.HOLDING, Table.INPUT, Table.COIL) for i in range(100)]
    limits = Limits(125, 10, most={Table.INPUT: 30, Table.COIL: 64})
    assert [(read.table, read.count) for read in plan(spans, limits)] == [
        (Table.COIL, 64),
        (Table.COIL, 36),
        *[(Table.INPUT, count) for count in (30, 30, 30, 10)],
        (Table.HOLDING, 100),
    ]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=300, unique=True))
def test_bits_have_their_own_limits(addresses):
    spans = [Span(Table.COIL, address, 1) for address in addresses]
    for read in plan(spans, Limits(125, 10)):
        assert read.count <= 2000
        inside = sorted(spans[i].address for i in read.members)
        assert all(b - a <= 161 for a, b in itertools.pairwise(inside))


def test_tables_are_never_mixed():
    spans = [Span(table, 0, 1) for table in Table]
    assert [(read.table, read.count) for read in plan(spans, Limits())] == [(table, 1) for table in Table]


def test_no_gap_means_no_undefined_register():
    spans = [Span(Table.INPUT, address, 2) for address in (0, 2, 5, 7)]
    reads = plan(spans, Limits(125, 0))
    assert [(read.address, read.count) for read in reads] == [(0, 4), (5, 4)]


def test_values_that_overlap_belong_together():
    spans = [Span(Table.HOLDING, 10, 2), Span(Table.HOLDING, 11, 1), Span(Table.HOLDING, 12, 1)]
    assert atoms(spans, range(3)) == [(0, 1), (2,)]
    assert (hull(spans, (1, 0)).address, hull(spans, (1, 0)).count) == (10, 2)
