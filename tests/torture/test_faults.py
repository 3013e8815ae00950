"""Kills and power cuts at every storage call, and calls that fail: what was acknowledged arrives, once.

``ONPATH_POWER_CUTS`` and ``ONPATH_FAULTS`` say how often; ``make torture`` sets them.
"""

import asyncio
import contextlib
import os
import random
import shutil

import apsw
import pytest

from gateway import intake as intake_module
from gateway.errors import StoreError
from gateway.store import database
from gateway.store import store as store_module
from tests.torture.faults import Disk, Nth, PowerCutError, PowerDisk, copy_as_killed
from tests.torture.lives import WELL, Life, World, engine_over, last_life, waiting

CUTS = int(os.environ.get("ONPATH_POWER_CUTS", "60"))
FAULTS = int(os.environ.get("ONPATH_FAULTS", "24"))
"""How many of the calls that can fail are made to; 0: every one of them."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A log that is folded often, and a store that is tried again at once."""
    monkeypatch.setattr(store_module, "LOG_PAGES", 12)
    monkeypatch.setattr(intake_module, "RETRY_S", 0.01)


def finished(folder, world):
    last_life(folder, world)
    return world.check()


async def test_a_calm_life_is_well(tmp_path):
    world = World()
    for number in range(3):
        await Life(tmp_path, world, chance=random.Random(number)).run()
    assert len(world.acknowledged) == 72
    assert finished(tmp_path, world) == WELL


async def test_a_kill_at_every_storage_call_is_recovered_from(tmp_path):
    """The folder is copied before each call of a whole life, with what was acknowledged by then."""
    moments = []
    world, folder = World(), tmp_path / "state"
    folder.mkdir()

    def before(_kind, _file):
        copy_as_killed(folder, tmp_path / f"kill-{len(moments)}")
        moments.append((set(world.acknowledged), dict(world.received)))

    with Disk(before) as disk:
        await Life(folder, world, disk.files, messages=2).run()
    assert len(moments) > 100
    assert {"open", "write", "sync", "truncate", "size", "read", "os open"} <= disk.calls.keys()
    for number, (acknowledged, received) in enumerate(moments):
        after = World(dict(world.sent), {}, acknowledged, received, names=dict(world.names))
        found = finished(tmp_path / f"kill-{number}", after)
        assert found == WELL, f"killed before call {number}"
    print(f"{len(moments)} kills, {dict(disk.calls)}")


@pytest.mark.timeout(0 if CUTS > 200 else 120)
async def test_power_cuts_lose_nothing_and_double_nothing(tmp_path):
    """Lives that each end with a cut; the next one finds what the disk had."""
    chance = random.Random(int(os.environ.get("ONPATH_SEED", "11")))
    world, folder = World(), tmp_path / "0"
    folder.mkdir()
    unsynced = 0
    for number in range(1, CUTS + 1):
        with PowerDisk.over(folder) as disk:
            left = chance.randint(1, 260)
            at = [left]

            def before(_kind, _file, at=at):
                at[0] -= 1
                if at[0] < 0:
                    raise PowerCutError

            disk.before = before
            life = Life(folder, world, disk.files, random.Random(chance.random()), messages=8)
            with contextlib.suppress(PowerCutError, asyncio.CancelledError):
                await life.run()
            unsynced += sum(len(kept.pending) for kept in disk.names.values())
            shutil.rmtree(folder)
            folder = tmp_path / str(number)
            folder.mkdir()
            disk.cut(folder, chance)
        if number % 10 == 0:
            engine = engine_over(folder, world)
            after = World(dict(world.sent), {}, set(world.acknowledged), dict(world.received), names=dict(world.names))
            for batch in waiting(engine):
                after.take(batch)
            engine.store.close()
            found = after.check()
            assert (found["lost"], found["doubled"], found["differing"]) == ([], [], []), f"after cut {number}"
    found = finished(folder, world)
    assert found == WELL
    print(f"{CUTS} cuts, {len(world.acknowledged)} acknowledged, {unsynced} writes unsynced, {world.repeated} repeated")


async def test_the_bench_sees_a_store_that_does_not_sync(tmp_path, monkeypatch):
    """The same with a store that says that it is on disk when it is not."""
    real = database.open_database

    def careless(*args):
        db = real(*args)
        db.pragma("synchronous", "off")
        return db

    monkeypatch.setattr(store_module, "open_database", careless)
    seen = 0
    for number in range(6):
        world, folder, after = World(), tmp_path / f"{number}", tmp_path / f"{number}-after"
        folder.mkdir()
        after.mkdir()
        with PowerDisk.over(folder) as disk:
            await Life(folder, world, disk.files, random.Random(number)).run()
            disk.cut(after, random.Random(number))
        try:
            seen += finished(after, world) != WELL
        except AssertionError:  # what was saved is not even consistent
            seen += 1
    assert seen


FAILURES = [
    ("write", apsw.SQLITE_FULL),
    ("write", apsw.SQLITE_IOERR_WRITE),
    ("sync", apsw.SQLITE_IOERR_FSYNC),
    ("truncate", apsw.SQLITE_IOERR_TRUNCATE),
    ("size", apsw.SQLITE_IOERR_FSTAT),
    ("read", apsw.SQLITE_IOERR_READ),
]


async def count(tmp_path):
    """How many calls of each kind a life makes once it has begun."""
    world = World()
    with Disk() as disk:
        await Life(tmp_path, world, messages=2).run()
        disk.calls.clear()
        await Life(tmp_path, world, disk.files, messages=6).run()
    return disk.calls


@pytest.mark.timeout(0 if not FAULTS else 120)
async def test_any_call_may_fail_once(tmp_path):
    """The same process goes on: nothing is lost, nothing doubled, and no acknowledgement was a lie."""
    counts = await count(tmp_path / "count")
    chance = random.Random(5)
    places = [(kind, code, n) for kind, code in FAILURES for n in range(1, counts[kind] + 1)]
    if FAULTS:
        places = [min(p for p in places if p[0] == kind) for kind, _ in FAILURES] + chance.sample(places, FAULTS)
    failed = 0
    for number, (kind, code, n) in enumerate(places):
        folder, world = tmp_path / str(number), World()
        await Life(folder, world, messages=2).run()
        fault = Nth(n, kind, code)
        with Disk(fault) as disk:
            try:
                await Life(folder, world, disk.files, random.Random(number), messages=6).run()
            except StoreError as error:  # while it starts: it is started again
                assert fault.failed, (kind, n, error)
                await Life(folder, world, disk.files, random.Random(number), messages=6).run()
        failed += fault.failed
        assert finished(folder, world) == WELL, (kind, n)
        assert not any(world.open.values()), (kind, n)
        shutil.rmtree(folder)
    assert failed > len(FAILURES)
    print(f"{len(places)} places, {failed} calls failed")
