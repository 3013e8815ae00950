"""The chains of the spool prove completeness: what a receiver's ledger makes of the rows of a real spool."""

import random

import numpy as np
import pytest

from adapters.frame.ledger import Ledger, Record
from gateway.frame import Frame
from gateway.store.config import SpoolConfig, SpoolFull
from gateway.store.spool import Spool
from gateway.units import Duration, Size

CHANCE = np.random.default_rng(3)


def spool_of(db, when_full=SpoolFull.DROP_OLDEST):
    spool = Spool(db, SpoolConfig(max_size=Size(2**20), max_age=Duration(3600), when_full=when_full), epoch=9)
    with db:
        spool.load()
    return spool


def frame(samples):
    return Frame.of(np.zeros(samples, np.int32), np.arange(samples), CHANCE.random(samples))


def test_rows_of_uplinks_and_pipelines_are_chained_apart_also_after_a_restart(database):
    spool, order, made = spool_of(database()), random.Random(1), []
    for number in range(120):
        if number == 60:
            spool = spool_of(database())
        with spool.db:
            uplink = order.choice(("a", "b"))
            made += [(uplink, row) for row in spool.append(uplink, order.choice("pq"), frame(3), number)]
            if number % 3 == 0:  # rows that are gone count all the same
                spool.remove([(uplink, made[-1][1].seq)])
    newest = {}
    for uplink, row in made:
        assert row.chain[1] == newest.get((uplink, row.pipeline), (0, 0))[1]
        newest[uplink, row.pipeline] = (row.chain[0], row.seq)
    assert len({number for number, _ in newest.values()}) == 4
    read = {row.seq: row.chain for uplink in "ab" for row in spool.read(uplink, 0, 500, 0)}
    written = {row.seq: row.chain for _, row in made}
    assert read.items() <= written.items()


@pytest.mark.parametrize("when_full", [SpoolFull.DROP_OLDEST, SpoolFull.DROP_NEWEST])
def test_what_a_full_spool_gives_up_is_told_and_no_gap(database, when_full):
    spool = spool_of(database(), when_full)
    ledger = Ledger()
    with spool.db:
        first = spool.append("a", "p", frame(100), 0)
        for number in range(200):
            spool.append("b", "p", frame(5), number)
            spool.append("a", "p", frame(1500), number)
        spool.remove([("a", row.seq) for row in spool.read("a", 0, 3, 0)])
        spool.announce("a", 99)
    kept = spool.read("a", 0, 500, 0)
    assert any(row.loss for row in kept)
    for row in [*first, *kept]:
        ledger.add("g", row)
    removed_by_us = {hole.missing for hole in ledger.holes()}
    # The three rows that were removed without a word are the only ones that are missing
    assert len(removed_by_us) == 1
    assert not ledger.has(Record("g", 9, removed_by_us.pop()), kept[0].chain[0])
