"""Compaction: the history holds what the journal held, found by point and time, whenever a process ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import StoreError
from gateway.frame import Frame, concat, grouped
from gateway.store import compact
from gateway.store.compact import Compaction, newest
from gateway.store.config import JournalConfig, StoreConfig
from gateway.store.database import rows_of, set_meta
from gateway.store.reading import NoStateError, Query, Reader
from gateway.store.segments import Tick
from gateway.store.store import Store
from gateway.units import Duration, Size
from tests.support.trials import trials

S = 1_000_000_000
HOUR = 3600 * S


@pytest.fixture
def opened(tmp_path):
    """Opens (and closes and opens again) the store of one folder."""
    stores = []

    def again(**options) -> Store:
        while stores:
            stores.pop().close()
        stores.append(Store(tmp_path, StoreConfig(journal=JournalConfig(**options)), 1))
        return stores[-1]

    yield again
    while stores:
        stores.pop().close()


def fill(store: Store, frames, first_ns: int = 0) -> None:
    """A block a frame, a second apart, all behind the checkpoint."""
    with store.transaction():
        for number, frame in enumerate(frames):
            store.journal.append([frame, Tick(number)], first_ns + number * S)
        set_meta(store.journal.db, "checkpoint", store.journal.last)
    store.checkpointed = store.journal.last


def work(store: Store, now_ns: int) -> int:
    """All there is to do; how many pieces that was."""
    compaction, pieces = Compaction(store), 0
    while compaction.step(now_ns):
        pieces += 1
    return pieces


def some_frames(count: int, points: int = 40, seed: int = 1) -> list[Frame]:
    chance = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        n = int(chance.integers(1, 60))
        times = number * S + chance.integers(-3, 3, n) * S  # late and early ones
        frames.append(Frame.of(chance.integers(0, points, n), times, chance.normal(0, 1, n).round(2)))
    return frames


def plainly(frames, points, since, until) -> Frame:
    """What a query has to find, in the order of point, time and arrival."""
    whole = concat(frames)
    keep = np.isin(whole.point, points) & (whole.time >= since) & (whole.time < until)
    return sorted_by_point(whole.take(keep))


def sorted_by_point(frame: Frame) -> Frame:
    return frame.take(np.lexsort((frame.value, frame.time, frame.point)))


def found(folder, points=None, since=-(1 << 63), until=(1 << 63) - 1, **options) -> Frame:
    with Reader(folder) as reader:
        ids = None if points is None else np.array(points, np.int32)
        return sorted_by_point(concat(Query(reader, ids, since, until, **options)))


def test_the_history_holds_what_came(opened, tmp_path):
    store, frames = opened(), some_frames(300)
    fill(store, frames)
    before = found(tmp_path)
    assert before == plainly(frames, range(40), -HOUR, HOUR)
    assert not work(store, 300 * S), "there is not enough for a segment yet"
    assert work(store, 2 * HOUR) > 3
    assert store.journal.rows == 0
    assert not list(rows_of(store.journal.db, "SELECT 1 FROM journal"))
    assert found(tmp_path) == before
    fill(store, some_frames(50, seed=2), 3 * HOUR)
    everything = found(tmp_path)
    assert len(everything) == len(before) + sum(map(len, some_frames(50, seed=2)))
    assert found(tmp_path, backwards=True) == everything
    bytes_held = store.journal.bytes
    store = opened()
    assert store.journal.bytes == bytes_held
    assert store.journal.rows == 50
    assert store.journal.last == 350


@settings(max_examples=trials(30), deadline=None)
@given(
    points=st.sets(st.integers(0, 60), max_size=5),
    since=st.integers(-10, 150),
    length=st.integers(0, 100),
    cut=st.integers(0, 100),
)
def test_queries_against_plain_columns(tmp_path_factory, points, since, length, cut):
    """Some blocks compacted into two segments of small chunks, some not."""
    frames = some_frames(120)
    folder = tmp_path_factory.mktemp("state")
    store = Store(folder, StoreConfig(), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compact, "CHUNK", 100)
        patch.setattr(compact, "PIECE", 70)
        fill(store, frames[: cut // 2])
        work(store, 2 * HOUR)
        fill(store, frames[cut // 2 : cut])
        work(store, 2 * HOUR)
        fill(store, frames[cut:], 2 * HOUR)
    span = (since * S, (since + length) * S)
    got = found(folder, sorted(points), *span)
    store.close()
    assert got == plainly(frames, sorted(points), *span)


def test_one_point_reads_little(opened, tmp_path):
    """A thousand points once a second for half an hour: the blocks of a query are a small part."""
    store = opened()
    ids = np.arange(1000, dtype=np.int32)
    fill(store, [Frame.of(ids, second * S, 230.0 + ids % 7 + second % 5) for second in range(1800)])
    work(store, 2 * HOUR)
    with Reader(tmp_path) as reader:
        query = Query(reader, np.array([500], np.int32))
        assert sum(map(len, query)) == 1800
        everything = Query(reader, None)
        assert sum(map(len, everything)) == 1_800_000
    assert query.effort.bytes * 20 < everything.effort.bytes


def test_a_point_that_fills_segments_alone(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(compact, "CHUNK", 100)
    store = opened()
    frames = [Frame.of([7] * 500, [n * S + k for k in range(500)], np.arange(500.0)) for n in range(4)]
    fill(store, frames)
    work(store, 2 * HOUR)
    sizes = [n for (n,) in rows_of(store.journal.db, "SELECT samples FROM history_chunk")]
    assert sum(sizes) == 2000
    assert max(sizes) <= 200
    assert found(tmp_path, [7]) == sorted_by_point(concat(frames))


def test_what_a_checkpoint_still_needs_stays(opened):
    store = opened()
    fill(store, some_frames(20))
    store.checkpointed = 12
    work(store, 2 * HOUR)
    assert [position for position, _ in store.journal.read(0)] == list(range(13, 21))
    assert store.journal.compacted == 12


def test_latest_is_the_newest_of_each_point(opened, tmp_path):
    store, frames = opened(), some_frames(200, points=3000)
    expected = newest(grouped(concat(frames)))
    for first in range(0, 200, 50):
        fill(store, frames[first : first + 50])
        if first < 150:
            work(store, 2 * HOUR)
    with Reader(tmp_path) as reader:
        assert reader.latest() == expected


def test_newest_of_equal_times_is_the_last_that_came():
    frame = Frame.of([1, 1, 1, 2, 2], [5, 9, 9, 8, 3], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert newest(frame) == Frame.of([1, 2], [9, 8], [3.0, 4.0])


def test_a_crash_between_any_two_pieces_loses_nothing(opened, tmp_path, monkeypatch):
    """The process ends after each number of pieces: what is read is the same, and the next one goes on."""
    monkeypatch.setattr(compact, "CHUNK", 200)
    monkeypatch.setattr(compact, "PIECE", 300)
    frames = some_frames(40)
    store = opened()
    fill(store, frames)
    expected = found(tmp_path)
    pieces = 0
    while store.journal.rows or list(rows_of(store.journal.db, "SELECT 1 FROM journal LIMIT 1")):
        pieces += 1
        compaction = Compaction(store)
        for _ in range(pieces):
            compaction.step(2 * HOUR)
        store = opened()
        assert found(tmp_path) == expected
        store.checkpointed = 40
    assert pieces > 4


def test_a_write_that_fails_changes_nothing(opened, tmp_path):
    store = opened()
    fill(store, some_frames(30))
    expected, held = found(tmp_path), store.journal.bytes
    store.journal.db.execute("CREATE TRIGGER full BEFORE INSERT ON history BEGIN SELECT raise(ABORT, 'no room'); END")
    with pytest.raises(StoreError, match="no room"):
        work(store, 2 * HOUR)
    store.journal.db.execute("DROP TRIGGER full")
    assert found(tmp_path) == expected
    store = opened()
    assert store.journal.bytes == held
    store.checkpointed = 30
    work(store, 2 * HOUR)
    assert found(tmp_path) == expected


def test_damaged_blocks_cost_themselves(opened, tmp_path):
    store, frames = opened(), [Frame.of([n], n * S, [1.0]) for n in range(30)]
    fill(store, frames)
    store.journal.db.execute("UPDATE journal SET block = zeroblob(40) WHERE position = 3")
    work(store, 2 * HOUR)
    assert store.journal.take_damages() == [], "it was processed: an uplink has lost nothing"
    with Reader(tmp_path) as reader:
        query = Query(reader, None)
        assert sum(map(len, query)) == 29
        assert query.effort.damaged == 1
    store.journal.db.execute("UPDATE history_chunk SET block = zeroblob(40)")
    with Reader(tmp_path) as reader:
        query = Query(reader, None)
        assert sum(map(len, query)) == 0
        assert query.effort.damaged == 30


def test_bounds_hold_by_segment(opened, tmp_path):
    store = opened(max_age=Duration(8 * 3600))
    for hour in range(12):
        fill(store, some_frames(20, seed=hour), hour * HOUR)
        work(store, (hour + 1) * HOUR + 20 * S)
    assert store.journal.rows == 0
    with store.transaction():
        assert store.journal.trim(store.checkpointed, 12 * HOUR) == 4
    ages = [written for (written,) in rows_of(store.journal.db, "SELECT written_ns FROM history")]
    assert len(ages) == 8
    assert min(ages) >= 4 * HOUR
    assert store.journal.bytes == sum(
        n for (n,) in rows_of(store.journal.db, "SELECT length(block) FROM history_chunk")
    )
    small = opened(max_age=Duration(8 * 3600), max_size=Size(2**20))
    small.journal.config = JournalConfig(max_age=Duration(8 * 3600), max_size=Size(2**20))
    small.journal.db.execute("UPDATE history SET bytes = 300000")
    small.journal.load()
    with small.transaction():
        small.journal.trim(store.checkpointed, 12 * HOUR)
    assert small.journal.bytes <= 2**20
    assert len(list(rows_of(small.journal.db, "SELECT DISTINCT segment FROM history_chunk"))) == 3


def test_a_short_history_is_not_compacted(opened):
    store = opened(max_age=Duration(300))
    fill(store, some_frames(20))
    assert work(store, 2 * HOUR) == 0
    assert store.journal.rows == 20


def test_there_must_be_something_to_read(tmp_path):
    with pytest.raises(NoStateError, match="no state folder"):
        Reader(tmp_path)


def test_a_file_of_another_format_is_refused(opened, tmp_path):
    store = opened()
    version = store.journal.db.pragma("user_version")
    store.journal.db.pragma("user_version", version + 1)
    with pytest.raises(NoStateError, match="a newer version wrote it"):
        Reader(tmp_path)
    store.journal.db.pragma("user_version", 1)
    with pytest.raises(NoStateError, match="when it starts"):
        Reader(tmp_path)
