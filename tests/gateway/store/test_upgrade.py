"""Every released format is read: the fixtures were written by the code of their time (format-1: revision b48a6d6)."""

import shutil
from pathlib import Path

import apsw
import pytest

from gateway.batch import Loss
from gateway.directory import Directory
from gateway.engine import Engine, Group
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.point import Point
from gateway.store.database import FILE, rows_of
from gateway.store.opening import with_store
from gateway.store.segments import Tick
from gateway.store.store import Store
from gateway.store.upgrade import FIRST, FORMAT, STEPS, expected_schema, schema_of
from tests.support.build import config_of

S = 1_000_000_000
START = 1_790_000_000 * S
FIXTURES = Path(__file__).parents[2] / "cases" / "store"
CONFIG = config_of("""
gateway: g
state: /x
pipelines:
  raw: {from: ["**"], to: [out, spare]}
  counted:
    from: ["**"]
    steps: [{deadband: {absolute: 1}}, {window: {every: 10s, stats: [count, sum], lateness: 1s}}]
    to: [out]
uplinks: {out: {type: stdout}, spare: {type: stdout}}
""")


@pytest.fixture
def folder(tmp_path):
    shutil.copy(FIXTURES / "format-1.db", tmp_path / FILE)
    return tmp_path


def opened(folder):
    def begin(store: Store) -> Engine:
        directory = Directory()
        store.load_directory(directory)
        engine = Engine(store, directory, CONFIG.pipelines)
        engine.recover(START + 60 * S)
        return engine

    return with_store(folder, CONFIG.store, START + 60 * S, begin)


def everything(engine, uplink):
    batches, after = [], 0
    while found := engine.store.spool.read(uplink, after, 64, START):
        batches += found
        after = batches[-1].seq
    return batches


def test_a_file_of_format_1_has_everything_afterwards(folder):
    plain = apsw.Connection(str(folder / FILE))
    before = {
        uplink: [
            (seq, samples)
            for seq, samples in rows_of(plain, "SELECT seq, samples FROM spool WHERE uplink = ?", (uplink,))
        ]
        for uplink in ("out", "spare")
    }
    (epoch,) = next(rows_of(plain, "SELECT value FROM meta WHERE key = 'epoch'"))
    plain.close()
    engine = opened(folder)
    assert engine.store._db.pragma("user_version") == FORMAT
    assert engine.store.salvaged is None
    assert engine.store.epoch == epoch
    assert [engine.directory.name(n) for n in range(10)] == [f"m{n}/power" for n in range(10)]
    assert engine.directory.states(3) == ["idle", "busy"]
    assert engine.memory == {("bus", "k0"): b"v18", ("bus", "k1"): b"v19", ("bus", "k2"): b"v17"}
    for uplink, rows in before.items():
        assert [(batch.seq, len(batch.frame)) for batch in everything(engine, uplink)][: len(rows)] == rows
    assert [b.loss for b in everything(engine, "out") if b.loss] == [Loss(START, START + S, 7, "spool-full")]
    assert engine.store.journal.last == 20
    assert engine.graph.queued > 0, "the windows' state came with the checkpoint and the journal behind it"
    engine.store.close()


def test_an_upgraded_file_goes_on(folder):
    engine = opened(folder)
    newest = engine.store.spool.newest
    point = engine.directory.add(Point(name="fresh"))
    made = engine.commit(Group([Frame.of([point], START + 100 * S, [1.0]), Tick(START + 100 * S)]), START + 100 * S)
    assert min(batch.seq for batch in made.batches["out"]) > newest
    engine.store.close()
    again = opened(folder)
    assert again.directory.find("fresh") == point
    again.store.close()


def test_an_upgraded_file_has_the_tables_of_a_new_one(folder):
    engine = opened(folder)
    assert schema_of(engine.store._db) == expected_schema()
    engine.store.close()


@pytest.mark.parametrize("cut", range(len(STEPS)))
def test_a_step_that_fails_leaves_the_format_before(folder, monkeypatch, cut):
    def fail(db):
        STEPS[cut](db)
        raise apsw.FullError("no room")

    steps = (*STEPS[:cut], fail, *STEPS[cut + 1 :])
    with monkeypatch.context() as patch:
        patch.setattr("gateway.store.upgrade.STEPS", steps)
        with pytest.raises(StoreError, match="no room"):
            opened(folder)
    db = apsw.Connection(str(folder / FILE))
    assert db.pragma("user_version") == cut + 1
    if not cut:
        plain = apsw.Connection(":memory:")
        plain.execute(FIRST)
        assert schema_of(plain) <= schema_of(db)
        plain.close()
    db.close()
    opened(folder).store.close()
