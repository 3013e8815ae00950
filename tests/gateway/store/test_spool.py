"""The spool: bounds and their rules, loss markers that are never lost, numbers that only grow."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.batch import Loss
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.store.config import SpoolConfig, SpoolFull
from gateway.store.database import open_database, rows_of
from gateway.store.gauges import Gauges
from gateway.store.spool import HISTORICAL_AFTER_NS, MAX_ROW, Spool
from gateway.units import Duration, Size
from tests.support.trials import trials

S = 1_000_000_000
MIB = Size(2**20)
CHANCE = np.random.default_rng(7)


def noise(n: int = MAX_ROW, time: int = 0) -> Frame:
    """Samples that do not compress: about 8 bytes each."""
    return Frame.of(np.zeros(n, np.int32), np.arange(n) + time, CHANCE.random(n))


def small(time: int, n: int = 1) -> Frame:
    return Frame.of([0] * n, list(range(time, time + n)), [1.0] * n)


def said(loss: Loss) -> Loss:
    """But for the rows that went."""
    return replace(loss, first_seq=None, last_seq=None)


def spool_over(db, rule_for_full: SpoolFull = SpoolFull.DROP_OLDEST, age: float = 3600.0) -> Spool:
    spool = Spool(db, SpoolConfig(max_size=MIB, max_age=Duration(age), when_full=rule_for_full))
    spool.load()
    return spool


def held(spool: Spool, uplink: str = "out", now_ns: int = 0):
    batches = []
    while found := spool.read(uplink, batches[-1].seq if batches else 0, 50, now_ns):
        batches += found
    return batches


def check_gauges(spool: Spool) -> None:
    query = "SELECT uplink, count(*), sum(bytes), sum(samples), sum(length(block)) FROM spool GROUP BY uplink"
    counted = {uplink: (rows, size, samples) for uplink, rows, size, samples, _ in rows_of(spool.db, query)}
    kept = {uplink: (g.rows, g.bytes, g.samples) for uplink, g in spool.gauges.items() if g.rows}
    assert kept == counted
    again = Gauges()
    again.load(spool.db, -1)
    assert {key: gauge for key, gauge in again.waiting.items() if gauge.rows} == {
        key: gauge for key, gauge in spool.counts.waiting.items() if gauge.rows
    }
    assert all(size == real for _, _, size, _, real in rows_of(spool.db, query))


def test_rows_come_back_in_order_by_uplink(database):
    spool = spool_over(database())
    made = [spool.append(uplink, "p", small(n), n)[0] for n, uplink in enumerate(["out", "other", "out", "out"])]
    assert [batch.seq for batch in made] == sorted({batch.seq for batch in made})
    assert held(spool) == [made[0], made[2], made[3]]
    assert held(spool, "other") == [made[1]]
    assert spool.read("out", made[0].seq, 1, 0) == [made[2]]
    check_gauges(spool)


def test_a_large_frame_becomes_several_rows(database):
    spool = spool_over(database())
    frame = noise(2 * MAX_ROW + 1)
    batches = spool.append("out", "p", frame, 0)
    assert [len(batch.frame) for batch in batches] == [MAX_ROW, MAX_ROW, 1]
    assert [row for batch in held(spool) for row in batch.frame.value.tolist()] == frame.value.tolist()


def test_numbers_only_grow_also_when_the_table_was_emptied_and_after_opening_again(database):
    spool, seen = spool_over(database()), []
    for n in range(3):
        seen += [spool.append("out", "p", small(n), n)[0].seq for _ in range(2)]
        spool.remove([("out", seq) for seq in seen])
        assert held(spool) == []
        spool = spool_over(database())
        assert spool.newest == seen[-1]
    assert seen == sorted(set(seen))


def test_remove_takes_only_the_uplinks_own_rows(database):
    spool = spool_over(database())
    batch, other = spool.append("out", "p", small(1, 3), 0)[0], spool.append("other", "p", small(1), 0)[0]
    spool.remove([("other", batch.seq), ("out", 999), ("out", other.seq)])
    assert (spool.gauge("out").samples, spool.gauge("other").samples) == (3, 1)
    spool.remove([("out", batch.seq), ("out", batch.seq)])
    assert (spool.gauge("out").rows, spool.gauge("out").bytes, spool.gauge("out").samples) == (0, 0, 0)
    check_gauges(spool)


def fill(spool: Spool, uplink: str = "out") -> list:
    """Rows until one more would not fit."""
    batches = []
    size = 0
    while spool.gauge(uplink).bytes + size <= MIB - 100:
        before = spool.gauge(uplink).bytes
        batches += spool.append(uplink, "p", noise(time=len(batches) * MAX_ROW), 0)
        size = spool.gauge(uplink).bytes - before
    return batches


def test_drop_oldest_makes_just_enough_room_and_tells(database):
    spool = spool_over(database())
    batches = fill(spool)
    other = spool.append("other", "p", small(1), 0)
    fresh = spool.append("out", "p", noise(time=10**9), 0)
    assert held(spool) == [*batches[1:], *fresh]
    assert held(spool, "other") == other
    assert spool.gauge("out").bytes <= MIB
    assert spool.lost == {"out": MAX_ROW}
    assert spool.given_up == {"out": [batches[0].seq]}
    assert spool.untold() == ["out"]
    (marker,) = spool.announce("out", 5)
    assert said(marker.loss) == Loss(0, MAX_ROW - 1, MAX_ROW, "spool-full")
    assert held(spool)[-1] == marker
    assert spool.untold() == []
    check_gauges(spool)


def test_drop_newest_keeps_what_is_there_and_tells(database):
    spool = spool_over(database(), SpoolFull.DROP_NEWEST)
    batches = fill(spool)
    assert spool.append("out", "p", noise(time=10**9), 0) == []
    assert spool.append("out", "q", noise(5000, time=0), 0)[1:] == []
    assert [batch.seq for batch in held(spool)][: len(batches)] == [batch.seq for batch in batches]
    spool.remove([("out", batch.seq) for batch in batches])
    told = {marker.pipeline: marker.loss for marker in spool.announce("out", 0)}
    assert said(told["p"]) == Loss(10**9, 10**9 + MAX_ROW - 1, MAX_ROW, "spool-full")
    assert sum(loss.count for loss in told.values()) == spool.lost["out"]


def test_block_takes_everything_and_says_that_it_is_full(database):
    spool = spool_over(database(), SpoolFull.BLOCK)
    batches = fill(spool)
    assert not spool.full("out")
    batches += spool.append("out", "p", noise(), 0)
    assert spool.full("out")
    assert not spool.full("other")
    assert held(spool) == batches
    assert (spool.lost, spool.untold()) == ({}, [])
    spool.remove([("out", batches[0].seq), ("out", batches[1].seq)])
    assert not spool.full("out")


def test_what_is_too_old_is_given_up_and_told(database):
    spool = spool_over(database(), age=60)
    old = [spool.append("out", "p", small(n, 2), n * S)[0] for n in range(3)]
    assert spool.expire(60 * S) == 0
    assert spool.expire(62 * S) == 2
    assert held(spool) == [old[2]]
    assert spool.given_up == {"out": [old[0].seq, old[1].seq]}
    assert said(spool.announce("out", 0)[0].loss) == Loss(0, 2, 4, "spool-age")
    check_gauges(spool)


def test_losses_wait_on_disk_until_they_are_told(database):
    spool = spool_over(database(), age=60)
    spool.append("out", "p", small(7), 0)
    spool.expire(100 * S)
    spool = spool_over(database(), age=60)
    assert spool.untold() == ["out"]
    assert said(spool.announce("out", 0)[0].loss) == Loss(7, 7, 1, "spool-age")
    assert spool_over(database()).untold() == []


def test_a_marker_that_is_given_up_itself_is_told_again(database):
    spool = spool_over(database(), age=60)
    spool.append("out", "p", small(7, 3), 0)
    spool.expire(100 * S)
    spool.announce("out", 100 * S)
    spool.append("out", "p", small(50), 100 * S)
    spool.expire(500 * S)
    assert spool.lost == {"out": 4}
    (marker,) = spool.announce("out", 500 * S)
    assert said(marker.loss) == Loss(7, 50, 4, "spool-age")


@pytest.mark.parametrize("marker", [False, True])
def test_a_damaged_row_becomes_a_loss_marker_in_its_place(database, marker):
    db = database()
    spool = spool_over(db, age=60)
    first, last = spool.append("out", "p", small(3, 4), 0)[0], spool.append("out", "p", small(9), 0)[0]
    if marker:
        db.execute("UPDATE spool SET kind = 1 WHERE seq = ?", (first.seq,))
    db.execute("UPDATE spool SET block = x'00112233' WHERE seq = ?", (first.seq,))
    damaged, whole = spool.read("out", 0, 10, 0)
    assert (damaged.seq, said(damaged.loss), len(damaged.frame)) == (first.seq, Loss(3, 6, 4, "spool-damaged"), 0)
    assert whole == last
    assert spool.damaged == 1


def test_what_waited_is_flagged_as_historical(database):
    spool = spool_over(database())
    spool.append("out", "p", small(1), 5 * S)
    assert not spool.read("out", 0, 1, 5 * S + HISTORICAL_AFTER_NS)[0].historical
    assert spool.read("out", 0, 1, 6 * S + HISTORICAL_AFTER_NS)[0].historical
    assert spool.oldest_ns("out") == 5 * S
    assert spool.oldest_ns("other") is None


@pytest.mark.parametrize(
    ("bounds", "field"), [({"max_size": Size(2**20 - 1)}, "max_size"), ({"max_age": Duration(0)}, "max_age")]
)
def test_bounds_that_make_no_sense_are_refused(bounds, field):
    with pytest.raises(FieldError) as caught:
        SpoolConfig(**bounds)
    assert caught.value.field == (field,)


class SpoolMachine(RuleBasedStateMachine):
    """Samples in = delivered + waiting + told or to be told as lost, whatever happens in whatever order."""

    @initialize(rule_for_full=st.sampled_from([SpoolFull.DROP_OLDEST, SpoolFull.DROP_NEWEST]))
    def begin(self, rule_for_full):
        self.folder = self.tmp.mktemp("spool")
        self.rule = rule_for_full
        self.now = self.taken = self.delivered = self.told = self.newest = 0
        self.db = open_database(self.folder, 1)
        self.spool = spool_over(self.db, self.rule, 60)

    @rule(rows=st.integers(1, 40), pipeline=st.sampled_from("pq"))
    def append(self, rows, pipeline):
        with self.db:
            for batch in self.spool.append("out", pipeline, noise(rows * MAX_ROW, self.now), self.now):
                assert batch.seq > self.newest
                self.newest = batch.seq
        self.taken += rows * MAX_ROW

    @rule(seconds=st.integers(1, 50))
    def wait(self, seconds):
        self.now += seconds * S
        self.spool.expire(self.now)

    @rule()
    def announce(self):
        for uplink in self.spool.untold():
            if not self.spool.full(uplink):
                self.newest = max(self.newest, *(batch.seq for batch in self.spool.announce(uplink, self.now)))

    @rule(count=st.integers(1, 60))
    def deliver(self, count):
        batches = self.spool.read("out", 0, count, self.now)
        self.delivered += sum(len(batch.frame) for batch in batches)
        self.told += sum(batch.loss.count for batch in batches if batch.loss)
        self.spool.remove([("out", batch.seq) for batch in batches])

    @rule()
    def reopen(self):
        self.db.close()
        self.db = open_database(self.folder, 1)
        self.spool = spool_over(self.db, self.rule, 60)
        assert self.spool.newest == self.newest

    @invariant()
    def nothing_is_missing(self):
        if not hasattr(self, "db"):
            return
        waiting = held(self.spool, now_ns=self.now)
        losses = sum(batch.loss.count for batch in waiting if batch.loss)
        losses += sum(count for (count,) in rows_of(self.db, "SELECT count FROM loss"))
        assert self.taken == self.delivered + self.told + losses + sum(len(batch.frame) for batch in waiting)
        assert self.spool.gauge("out").bytes <= MIB + 1000
        check_gauges(self.spool)

    def teardown(self):
        with contextlib.suppress(AttributeError):
            self.db.close()


def test_nothing_is_ever_missing(tmp_path_factory):
    SpoolMachine.tmp = tmp_path_factory
    machine = SpoolMachine.TestCase("runTest")
    machine.settings = settings(max_examples=trials(12), stateful_step_count=15, deadline=None)
    machine.runTest()
