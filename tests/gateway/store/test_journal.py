"""The journal: positions only grow, bounds never reach behind the checkpoint, damage costs its block."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.frame import Frame
from gateway.store.config import JournalConfig
from gateway.store.database import open_database, rows_of
from gateway.store.journal import DamagedBlock, Journal
from gateway.store.segments import Step, Tick
from gateway.units import Duration, Size
from tests.support.trials import trials

S = 1_000_000_000


def journal_over(db, **bounds) -> Journal:
    journal = Journal(db, JournalConfig(**bounds))
    journal.load()
    return journal


def frame(n: int, first: int = 0) -> Frame:
    return Frame.of(list(range(n)), first, [0.5] * n)


def positions(journal: Journal, after: int = 0) -> list[int]:
    return [position for position, _ in journal.read(after)]


def test_blocks_come_back_in_order_from_any_position(database):
    journal = journal_over(database())
    blocks = [[frame(2), Tick(n), Step(-n)] for n in range(150)]
    given_positions = [journal.append(block, 7) for block in blocks]
    assert given_positions == sorted(set(given_positions))
    assert list(journal.read(0)) == list(zip(given_positions, blocks, strict=True))
    assert positions(journal, given_positions[99]) == given_positions[100:]
    assert positions(journal, given_positions[-1]) == []


def test_positions_only_grow_also_when_the_table_was_emptied(database):
    journal = journal_over(database(), max_age=Duration(1))
    first = [journal.append([Tick(n)], 0) for n in range(3)]
    assert journal.trim(first[-1], 100 * S) == 3
    assert positions(journal) == []
    journal = journal_over(database(), max_age=Duration(1))
    assert journal.last == first[-1]
    assert journal.append([Tick(1)], 0) > first[-1]


def test_the_index_tells_span_and_size(database):
    db = database()
    journal = journal_over(db)
    journal.append([frame(3, 50), Tick(1), frame(2, 20)], 7)
    journal.append([Tick(5)], 9)
    rows = list(rows_of(db, "SELECT first_ns, last_ns, samples, written_ns FROM journal ORDER BY position"))
    assert rows == [(20, 50, 5, 7), (9, 9, 0, 9)]
    size = sum(size for (size,) in rows_of(db, "SELECT length(block) FROM journal"))
    assert journal.bytes == size
    assert journal_over(database()).bytes == size


def test_a_damaged_block_is_counted_and_passed_over(database):
    db = database()
    journal = journal_over(db)
    first = journal.append([Tick(0)], 0)
    second = journal.append([Frame.of([1, 2, 3], [52, 50, 51], [0.5] * 3)], 0)
    third = journal.append([Tick(2)], 0)
    db.execute("UPDATE journal SET block = substr(block, 1, length(block) - 2) WHERE position = ?", (second,))
    assert list(journal.read(0)) == [(first, [Tick(0)]), (third, [Tick(2)])]
    assert journal.damaged == 1
    assert journal.take_damages() == [DamagedBlock(second, 50, 52, 3)]
    assert journal.take_damages() == []


AGES = st.lists(st.integers(0, 20), min_size=1, max_size=12).map(sorted)


@settings(max_examples=trials(30), deadline=None)
@given(ages=AGES, checkpoint=st.integers(0, 12), now=st.integers(0, 40), keep=st.integers(0, 12))
def test_trim_against_a_plain_list(tmp_path_factory, ages, checkpoint, now, keep):
    """Blocks of 120 kB, so that the bound of at least 1 MiB matters; the oldest go, never one behind the checkpoint."""
    db = open_database(tmp_path_factory.mktemp("journal"), 1)
    bound = max(2**20, keep * 120_000)
    journal = journal_over(db, max_age=Duration(10), max_size=Size(bound))
    blocks = []
    for age in ages:
        position = journal.append([Tick(0)], age * S)
        db.execute("UPDATE journal SET bytes = 120000 WHERE position = ?", (position,))
        blocks.append((position, age))
    journal.load()
    expected = blocks.copy()
    while expected and expected[0][0] <= checkpoint:
        if len(expected) * 120_000 <= bound and expected[0][1] * S >= now * S - 10 * S:
            break
        expected.pop(0)
    gone = journal.trim(checkpoint, now * S)
    assert positions(journal) == [position for position, _ in expected]
    assert gone == len(blocks) - len(expected)
    assert journal.bytes == len(expected) * 120_000
    db.close()


def test_trim_of_very_many_blocks(database):
    db = database()
    journal = journal_over(db, max_age=Duration(1))
    with db:
        last = [journal.append([Tick(n)], 0) for n in range(600)][-1]
    assert journal.trim(last - 1, 100 * S) == 599
    assert positions(journal) == [last]
