"""Bits that flip at rest: they are found, cost at most what their page held, are told, and never stop a start."""

import os
import random
import shutil

import apsw
import pytest

from gateway.batch import Loss
from gateway.directory import Directory
from gateway.engine import Engine, Group
from gateway.frame import Frame
from gateway.point import Point
from gateway.store import database
from gateway.store import salvage as module
from gateway.store.database import FILE, WAL, rows_of
from gateway.store.opening import with_store
from gateway.store.pages import SIZES, read_log
from gateway.store.segments import Tick
from tests.support.build import config_of, engine_over

S = 1_000_000_000
DELIVERED = [("out", 1), ("other", 2), ("out", 4)]
BYTES = int(os.environ.get("ONPATH_FLIPS", "40"))
"""How many bytes are flipped; 0: each of them, one after the other."""
CONFIG = config_of("""
gateway: g
state: /x
pipelines:
  a: {from: ["**"], steps: [{deadband: {absolute: 1}}, {window: {every: 10s, stats: [count]}}], to: [out]}
  b: {from: ["**"], to: [out, other]}
uplinks: {out: {type: stdout}, other: {type: stdout}}
""")


@pytest.fixture(scope="module", params=SIZES)
def size(request):
    """Bytes of a page: new stores have small ones, those of earlier versions keep theirs."""
    return request.param


@pytest.fixture(scope="module")
def original(tmp_path_factory, size):
    """A store with something in every table: (folder, with everything in the file; folder, with a log beside it)."""
    folder, killed = tmp_path_factory.mktemp("original"), tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "PAGE", size)
        engine = engine_over(folder, CONFIG)
    for n in range(20):
        engine.directory.add(Point(name=f"p{n}", unit="kW"))
    chance = random.Random(5)
    for n in range(30):
        frame = Frame.of(list(range(20)) * 4, n * 5 * S, [chance.random() for _ in range(80)])
        engine.commit(Group([frame, Tick(n * 5 * S)], checkpoint=n == 15, learned={("a", str(n)): b"x" * 50}), n)
    engine.commit(Group(delivered=DELIVERED), 40)
    for name in (FILE, WAL):
        shutil.copy(folder / name, killed / name)
    engine.store.close()
    return folder, killed


def opened(folder):
    def begin(store):
        directory = Directory()
        store.load_directory(directory)
        engine = Engine(store, directory, CONFIG.pipelines)
        engine.recover(0)
        return engine

    return with_store(folder, CONFIG.store, 99, begin)


def held(engine):
    """{(uplink, seq): what is sent under it}."""
    rows = {}
    for uplink in ("out", "other"):
        after = 0
        while batches := engine.store.spool.read(uplink, after, 64, 0):
            rows |= {(uplink, batch.seq): (batch.pipeline, batch.loss or batch.frame) for batch in batches}
            after = batches[-1].seq
    return rows


def samples_of(rows):
    return sum(len(content) for _, content in rows if isinstance(content, Frame))


@pytest.fixture(scope="module")
def whole(original, tmp_path_factory):
    """What the store says undamaged."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copy(original[0] / FILE, folder)
    engine = opened(folder)
    found = held(engine), engine.store.epoch, engine.store.spool.newest, dict(engine.memory)
    engine.store.close()
    return found


def judge(folder, whole, cells, what):
    """Open a damaged store: everything it says must be what was written, and what is missing must be told."""
    rows, epoch, newest, memory = whole
    engine = opened(folder)
    engine.commit(Group(), 0)  # tells of losses
    found = held(engine)
    assert engine.store.epoch == epoch, what
    for number in range(20):
        assert engine.directory.name(number) in {f"p{number}", f"?{number}"}, what
    for key, content in engine.memory.items():
        assert memory[key] == content, what
    # what was delivered may be sent again, under the same id, if the page that said so is gone
    old = {key: value for key, value in found.items() if key[1] <= newest and key not in DELIVERED}
    for key, (pipeline, content) in old.items():
        assert isinstance(content, Loss) or (pipeline, content) == rows[key], what
    missing = [rows[key] for key in rows if not isinstance(old.get(key, ("", None))[1], type(rows[key][1]))]
    told = [content for _, content in found.values() if isinstance(content, Loss)]
    assert len(missing) <= cells, f"{what}: {len(missing)} rows of at most {cells}"
    assert sum(loss.count for loss in told) >= samples_of(missing) or any(loss.count == 0 for loss in told), what
    assert bool(told) or not missing, what
    point = engine.directory.add(Point(name="fresh"))
    made = engine.commit(Group([Frame.of([point], 10**18, [1.0]), Tick(10**18), Tick(10**18 + 60 * S)]), 0)
    assert min(batch.seq for batch in made.batches["out"]) > newest, f"{what}: a record id comes twice"
    salvaged = engine.store.salvaged
    engine.store.close()
    return salvaged, missing


def cells_by_page(folder):
    """How many rows of the spool a page holds (part of)."""
    db = apsw.Connection(str(folder / FILE))
    query = "SELECT pageno, pagetype, ncell FROM dbstat WHERE name = 'spool'"
    cells = {page: cells if kind == "leaf" else 1 for page, kind, cells in rows_of(db, query) if kind != "internal"}
    db.close()
    return cells


def places(length, size):
    if not BYTES:
        return [(at, at % 8) for at in range(length)]
    chance = random.Random(3)
    return [(chance.randrange(length) if n % 4 else chance.randrange(size), chance.randrange(8)) for n in range(BYTES)]


@pytest.mark.timeout(120 if 0 < BYTES <= 100 else 0)
def test_any_byte_may_be_damaged(tmp_path, original, whole, size):
    content = (original[0] / FILE).read_bytes()
    cells = cells_by_page(original[0])
    saved = lost = 0
    for at, bit in places(len(content), size):
        folder = tmp_path / "damaged"
        folder.mkdir()
        damaged = bytearray(content)
        damaged[at] ^= 1 << bit
        (folder / FILE).write_bytes(damaged)
        salvaged, missing = judge(folder, whole, cells.get(at // size + 1, 0), f"bit {bit} of byte {at}")
        saved += salvaged is not None
        lost += len(missing)
        shutil.rmtree(folder)
    print(f"{len(places(len(content), size))} flips: {saved} stores salvaged, {lost} rows of the spool lost and told")
    assert saved


@pytest.mark.parametrize("page", ["first", "all but the leaves", "sequences"])
def test_a_whole_page_may_be_gone(tmp_path, original, whole, size, page):
    shutil.copy(original[0] / FILE, tmp_path)
    db = apsw.Connection(str(tmp_path / FILE))
    query = {
        "first": "SELECT 1",
        "all but the leaves": "SELECT pageno FROM dbstat WHERE pagetype = 'internal' AND pageno > 1",
        "sequences": "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_sequence'",
    }[page]
    gone = [number for (number,) in rows_of(db, query)]
    db.close()
    assert gone
    damaged = bytearray((tmp_path / FILE).read_bytes())
    for number in gone:
        damaged[(number - 1) * size : number * size] = os.urandom(size)
    (tmp_path / FILE).write_bytes(damaged)
    salvaged, missing = judge(tmp_path, whole, 0, page)
    assert salvaged is not None
    assert missing == []


def test_a_log_with_a_flipped_bit_in_its_midst_is_found(tmp_path, original, whole):
    """SQLite takes it for the end of the log, and says nothing of all the commits behind it."""
    length = (original[1] / WAL).stat().st_size
    chance = random.Random(9)
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(original[1] / FILE, folder)
        damaged = bytearray((original[1] / WAL).read_bytes())
        damaged[chance.randrange(length // 4, length // 2)] ^= 4
        (folder / WAL).write_bytes(damaged)
        salvaged, _ = judge(folder, whole, 20, f"log {number}")
        assert salvaged is not None


def test_a_torn_end_of_the_log_is_no_damage(original, size):
    """Whatever a power cut has left of the last commit, also if its last page is there and others are not."""
    log = (original[1] / WAL).read_bytes()
    whole = read_log(log)
    assert not whole.rotten
    frames = [at for at in range(32, len(log) - size, 24 + size) if log[at + 4 : at + 8] != bytes(4)]
    first, last = frames[-2] + 24 + size, frames[-1]
    for at in range(first, last + 24 + size, 24 + size):
        torn = bytearray(log)
        torn[at + 100] ^= 1
        found = read_log(bytes(torn))
        assert not found.rotten
        assert not found.bad
        assert found.pages == read_log(log[:first]).pages, "as if it had not been"


def test_what_is_set_aside_is_bounded_and_the_newest_stays(tmp_path, original, monkeypatch):
    for number in range(4):
        shutil.copy(original[0] / FILE, tmp_path)
        with (tmp_path / FILE).open("r+b") as file:
            file.write(b"damaged")
        monkeypatch.setattr(module, "KEPT_BYTES", 0 if number == 3 else 2**30)
        opened_at = with_store(tmp_path, CONFIG.store, number, lambda store: store)
        opened_at.close()
        aside = sorted(path.name for path in tmp_path.glob(f"corrupt-*-{FILE}"))
        assert f"corrupt-{number}-{FILE}" in aside
        assert len(aside) == min(number + 1, module.KEPT if number < 3 else 1)


@pytest.mark.parametrize("moment", ["built", "exchanged"])
def test_a_kill_while_saving_is_finished_by_the_next_start(tmp_path, original, whole, size, monkeypatch, moment):
    shutil.copy(original[0] / FILE, tmp_path)
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(size)
        file.write(os.urandom(64))
    real, renames = module.StoreFiles.rename, []

    def rename(files, old, new):
        renames.append(new.name)
        if len(renames) == {"built": 1, "exchanged": 3}[moment]:
            raise KeyboardInterrupt
        real(files, old, new)

    with monkeypatch.context() as patch:
        patch.setattr(module.StoreFiles, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path)
    assert len(renames) > 0
    judge(tmp_path, whole, 0, moment)
    assert not (tmp_path / module.DONE).exists()
    assert not (tmp_path / module.WORK).exists()


def test_what_is_whole_is_never_set_aside(tmp_path, original):
    shutil.copy(original[0] / FILE, tmp_path)

    def fail(_store):
        raise ValueError("a defect of ours")

    with pytest.raises(ValueError, match="a defect of ours"):
        with_store(tmp_path, CONFIG.store, 99, fail)
    assert [path.name for path in tmp_path.iterdir() if "corrupt" in path.name] == []
