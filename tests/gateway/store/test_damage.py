"""A store with any byte changed opens, and takes in and gives out again."""

import random
import shutil

import pytest

from gateway.directory import Directory
from gateway.engine import Engine, Group
from gateway.frame import Frame
from gateway.point import Point
from gateway.store.database import FILE
from gateway.store.segments import Tick
from gateway.store.store import with_store
from tests.support.build import config_of, engine_over, spooled

S = 1_000_000_000
CONFIG = config_of("""
gateway: g
state: /x
pipelines: {a: {from: ["**"], steps: [{deadband: {absolute: 1}}, {window: {every: 10s, stats: [count]}}], to: [out]}}
uplinks: {out: {type: stdout}}
""")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A store with something in every table, closed by a kill."""
    folder = tmp_path_factory.mktemp("original")
    engine = engine_over(folder, CONFIG)
    for n in range(20):
        engine.directory.add(Point(name=f"p{n}"))
    for n in range(30):
        frame = Frame.of(range(20), n * 5 * S, [float(n * 7)] * 20)
        engine.commit(Group([frame, Tick(n * 5 * S)], checkpoint=n == 15, learned={("a", str(n)): b"x"}), n)
    engine.store.close()
    return folder


def opened(folder):
    def begin(store):
        directory = Directory()
        store.load_directory(directory)
        engine = Engine(store, directory, CONFIG.pipelines)
        engine.recover(0)
        return engine

    return with_store(folder, CONFIG.store, 99, begin)


def test_any_byte_may_be_damaged(tmp_path, original):
    chance = random.Random(3)
    content = (original / FILE).read_bytes()
    set_aside = 0
    for number in range(160):
        at = chance.randrange(len(content)) if number % 4 else chance.randrange(4096)
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = bytearray(content)
        damaged[at] ^= 1 << chance.randrange(8)
        (folder / FILE).write_bytes(damaged)
        engine = opened(folder)
        point = engine.directory.add(Point(name="fresh"))
        before = len(spooled(engine))
        engine.commit(Group([Frame.of([point], 10**18, [1.0]), Tick(10**18), Tick(10**18 + 60 * S)]), 0)
        assert len(spooled(engine)) > before, f"byte {at}"
        set_aside += any(path.name.startswith("corrupt-") for path in folder.iterdir())
        engine.store.close()
        shutil.rmtree(folder)
    assert 0 < set_aside < 80, "most damage costs a record, not the store"


def test_what_is_whole_is_never_set_aside(tmp_path, original):
    shutil.copy(original / FILE, tmp_path)

    def fail(_store):
        raise ValueError("a defect of ours")

    with pytest.raises(ValueError, match="a defect of ours"):
        with_store(tmp_path, CONFIG.store, 99, fail)
    assert [path.name for path in tmp_path.iterdir() if "corrupt" in path.name] == []
