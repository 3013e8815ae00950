"""What came and what is missing, against sets in plain Python."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.frame.ledger import MAX_INTERVALS, Ledger, Record, Seqs
from gateway.batch import Batch, Loss
from gateway.errors import PayloadError
from gateway.frame import EMPTY


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=40))
def test_intervals_are_a_set(spans):
    seqs, plain = Seqs(), set()
    for first, more in spans:
        seqs.add(first, first + more)
        plain |= set(range(first, first + more + 1))
        flat = seqs.flat
        assert flat == sorted(flat)
        assert all(after > before + 1 for before, after in zip(flat[1::2], flat[2::2], strict=False))
    assert {n for n in range(-3, 80) if n in seqs} == plain
    assert Seqs(seqs.flat).flat == seqs.flat


def test_intervals_are_bounded():
    seqs = Seqs()
    for n in range(MAX_INTERVALS + 10):
        seqs.add(3 * n, 3 * n)
    assert len(seqs) == MAX_INTERVALS
    assert 0 not in seqs
    assert 3 * MAX_INTERVALS in seqs


def row(seq, chain, prev, loss=None):
    return Batch(seq, f"p{chain}", 0, EMPTY, loss, epoch=1, chain=(chain, prev))


@given(st.data())
def test_two_chains_in_any_order_prove_what_is_missing(data):
    """Rows of two uplinks share the numbers; whatever is held back is told, and nothing else."""
    owners = data.draw(st.lists(st.sampled_from((1, 2)), min_size=2, max_size=30))
    newest, rows = {1: 0, 2: 0}, []
    for seq, chain in enumerate(owners, 1):
        rows.append(row(seq, chain, newest[chain]))
        newest[chain] = seq
    held = data.draw(st.sets(st.sampled_from(rows).map(lambda one: one.seq), max_size=5))
    came = data.draw(st.permutations([one for one in rows if one.seq not in held]))
    ledger = Ledger()
    for one in came:
        assert not ledger.has(Record("g", 1, one.seq), one.chain[0])
        ledger.add("g", one)
    named = {(one.chain[0], one.chain[1]) for one in came if one.chain[1]}
    seen = {(one.chain[0], one.seq) for one in came}
    first = {chain: min((one.seq for one in came if one.chain[0] == chain), default=0) for chain in (1, 2)}
    wanted = {(chain, seq) for chain, seq in named - seen if seq > first[chain]}
    assert {(hole.chain, hole.missing) for hole in ledger.holes()} == wanted
    kept = Ledger()
    kept.load("g", 1, ledger.encode("g", 1))
    assert list(kept.holes()) == list(ledger.holes())
    for one in came:
        assert kept.has(Record("g", 1, one.seq), one.chain[0])
    for one in rows:
        if one.seq in held and (one.chain[0], one.seq) in named:
            assert not kept.has(Record("g", 1, one.seq), one.chain[0])
            kept.add("g", one)
    assert {(hole.chain, hole.missing) for hole in kept.holes()}.isdisjoint(wanted)


def test_a_chain_without_holes_is_one_interval_though_others_lie_between():
    ledger, prev = Ledger(), 0
    for seq in range(5, 50_000, 5):
        ledger.add("g", row(seq, 1, prev))
        prev = seq
    assert len(ledger.encode("g", 1)) < 40


def test_a_loss_marker_closes_the_hole_that_it_tells_of():
    ledger = Ledger()
    ledger.add("g", row(2, 1, 0))
    ledger.add("g", row(20, 1, 16))
    assert [hole.missing for hole in ledger.holes()] == [16]
    ledger.add("g", row(24, 1, 20, Loss(0, 9, 100, "spool-full", 4, 16)))
    assert not list(ledger.holes())


def test_records_before_the_first_that_came_are_no_holes():
    ledger = Ledger()
    ledger.add("g", row(20, 1, 16))
    assert not list(ledger.holes())


def test_a_damaged_ledger_is_told():
    with pytest.raises(PayloadError, match="bad-ledger"):
        Ledger().load("g", 1, b"\x81\x01\x02")
