"""A store that fails under the running intake: what is acknowledged, what is held, let go, and told."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import apsw
import numpy as np
import pytest

from gateway import intake as module
from gateway import notify
from gateway.batch import Loss
from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.intake import Intake
from gateway.point import Point
from gateway.quality import CLOCK_NOT_SYNCHRONISED
from gateway.store.opening import with_store
from gateway.watchdog import Watchdog
from tests.gateway.test_intake import one, until
from tests.support.build import config_of, spooled
from tests.torture.faults import Disk, Nth
from tests.torture.lives import Directory, Engine

S = 1_000_000_000
CONFIG = config_of("""
gateway: g
state: /x
store: {commit: 10ms, receipt_commit: 2ms}
pipelines:
  all: {from: ["**"], to: [out]}
  volts: {from: ["*/voltage"], to: [out]}
uplinks: {out: {type: stdout}}
""")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.02)


@asynccontextmanager
async def running(folder, fault, clock=None):
    """An intake over a disk that fails as told; the fault counts from when it runs."""
    with Disk() as disk, ThreadPoolExecutor(1) as executor:

        def begin(store):
            directory = Directory()
            store.load_directory(directory)
            engine = Engine(store, directory, CONFIG.pipelines)
            engine.recover(0)
            return engine

        def opened():
            return with_store(folder, CONFIG.store, 0, begin, disk.files)

        engine = await asyncio.get_running_loop().run_in_executor(executor, opened)
        engine.directory.add(Point(name="m1/power"))
        engine.directory.add(Point(name="m1/voltage"))
        reopened = []
        intake = Intake(engine, executor, clock or Clock(), CONFIG.store, lambda *_: None, lambda: reopened.append(1))
        intake.reopened = reopened
        task = asyncio.create_task(intake.run())
        await (await intake.emit(one())).durable()
        await until(lambda: not intake._behind)
        disk.before = fault
        try:
            yield intake
        finally:
            fault.healed = True
            intake.stop()
            await task
            await intake.on_store(intake.engine.shut)


class Descriptors:
    """Which files were synced after a sync of them had failed, by their descriptor."""

    def __init__(self, monkeypatch):
        from tests.torture import faults

        real, self.failed, self.again = faults._File.xSync, set(), 0

        def sync(file, flags):
            self.again += id(file) in self.failed
            try:
                real(file, flags)
            except apsw.Error:
                self.failed.add(id(file))
                self.kept = [*getattr(self, "kept", []), file]  # so that no other gets its id
                raise

        monkeypatch.setattr(faults._File, "xSync", sync)


@pytest.mark.parametrize("file", ["-wal", ".db"])
async def test_a_sync_that_fails_once_is_never_tried_again_on_its_descriptor(tmp_path, monkeypatch, file):
    monkeypatch.setattr("gateway.store.store.LOG_PAGES", 12)
    descriptors = Descriptors(monkeypatch)
    fault = Nth(1, "sync", apsw.SQLITE_IOERR_FSYNC, file=file)
    async with running(tmp_path, fault) as intake:
        for number in range(20):
            await (await intake.emit(one(float(number)))).durable()
        assert fault.failed == 1
        assert intake.health()["failures"] == 1
        assert descriptors.again == 0
        assert intake.outage.lost_samples == 0
        await intake.commit(checkpoint=True)
        rows = await intake.on_store(lambda: spooled(intake.engine))
        values = [v for name, frame in rows if name == "all" for v in frame.value.tolist()]
        assert values == [1.0, *map(float, range(20))]


async def test_a_log_whose_sync_failed_is_a_new_file_before_anything_is_built_on_it(tmp_path):
    """The kernel calls its pages clean now: no sync of the same file would bring them to the disk."""
    before = []
    fault = Nth(1, "sync", apsw.SQLITE_IOERR_FSYNC, file="-wal")
    async with running(tmp_path, fault) as intake:
        before.append((tmp_path / "onpath.db-wal").stat().st_ino)
        await (await intake.emit(one())).durable()
        assert (tmp_path / "onpath.db-wal").stat().st_ino not in before


async def test_a_sync_that_fails_for_ever_acknowledges_nothing_and_starves_the_watchdog(tmp_path, monkeypatch, caplog):
    fed = []
    monkeypatch.setattr(notify, "watchdog_interval_s", lambda: 0.01)
    monkeypatch.setattr(notify, "notify", lambda *said: fed.extend(said))
    fault = Nth(1, "sync", apsw.SQLITE_IOERR_FSYNC, forever=True)
    async with running(tmp_path, fault) as intake:
        watching = asyncio.create_task(Watchdog(intake).run())
        await until(lambda: "WATCHDOG=1" in fed)
        receipt = asyncio.create_task((await intake.emit(one(2.0))).durable())
        await until(lambda: fault.failed > 3)
        assert not receipt.done()
        health = intake.health()
        assert (health["healthy"], health["failure"]) == (False, "store-failed")
        assert not intake.sound
        fed.clear()
        await asyncio.sleep(0.1)
        assert fed == []
        assert "still fails" not in caplog.text or caplog.text.count("still fails") < 3
        status = await intake.status()
        assert status["store"]["failure"] == "store-failed"
        assert "spool" in status["store"], "what is known of it is still told"
        fault.healed = True
        await asyncio.wait_for(receipt, 20)
        await until(lambda: "WATCHDOG=1" in fed)
        assert intake.health()["healthy"]
        watching.cancel()


FULL = [
    (apsw.SQLITE_FULL, "store-full"),
    (apsw.SQLITE_READONLY, "store-read-only"),
    (apsw.SQLITE_IOERR_WRITE, "store-failed"),
]


@pytest.mark.parametrize(("code", "reason"), FULL)
async def test_beyond_the_bound_what_cannot_be_asked_again_is_let_go_counted_and_told(
    tmp_path, monkeypatch, code, reason
):
    monkeypatch.setattr(module, "GROUP_SAMPLES", 100)
    monkeypatch.setattr(module, "MAX_WAITING", 200)
    fault = Nth(1, "write", code, forever=True)
    async with running(tmp_path, fault) as intake:
        held = await intake.emit(Frame.of([0] * 90, S, np.arange(90.0)))
        await until(lambda: intake.failure is not None)
        assert intake.health()["failure"] == reason
        assert intake.sound == (reason != "store-failed"), "a restart makes no room"
        also = await intake.emit(Frame.of([0] * 120, S, np.arange(120.0)))
        asked = asyncio.create_task(intake.emit(one(7.0), "bus", np.array([7], np.uint64)))
        gone = await asyncio.wait_for(intake.emit(Frame.of([0, 1, 1], [5 * S, 6 * S, 7 * S], [0.0] * 3)), 5)
        with pytest.raises(StoreError):
            await gone.durable()
        assert intake.outage.lost_samples == 3
        await asyncio.sleep(0.05)
        assert not asked.done(), "who can be asked again, waits"
        fault.healed = True
        positions = {await held.durable(), await also.durable()}
        assert len(positions) == 1
        await (await asyncio.wait_for(asked, 5)).durable()
        await intake.commit(checkpoint=True)
        rows = await intake.on_store(lambda: spooled(intake.engine))
        losses = {
            (name, row.count, row.first_ns, row.last_ns, row.reason) for name, row in rows if isinstance(row, Loss)
        }
        assert losses == {("all", 3, 5 * S, 7 * S, reason), ("volts", 2, 5 * S, 7 * S, reason)}
        assert sum(len(row) for name, row in rows if name == "all" and isinstance(row, Frame)) == 1 + 90 + 120 + 1


async def test_what_is_held_when_the_gateway_stops_is_refused_and_said(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    fault = Nth(1, "write", apsw.SQLITE_FULL, forever=True)
    async with running(tmp_path, fault) as intake:
        receipt = await intake.emit(one(n=5))
        await until(lambda: intake.outage.held is not None)
        intake.stop()
        with pytest.raises(StoreError):
            await asyncio.wait_for(receipt.durable(), 10)
        assert "5 samples are lost" in caplog.text


async def test_a_read_that_finds_damage_has_the_store_saved_and_opened_again(tmp_path):
    """Rows that only an uplink reads: what SQLite says then must not end in a loop of its retries."""
    fault = Nth(1, "none", 0)
    async with running(tmp_path, fault) as intake:
        for number in range(30):
            await (await intake.emit(Frame.of([0] * 200, S, np.random.default_rng(number).random(200)))).durable()

        def damaged():
            raise apsw.CorruptError("database disk image is malformed")

        with pytest.raises(StoreError):
            await intake.on_store(damaged)
        await until(lambda: intake.failure is None)
        assert intake.engine.store.salvaged is not None
        await (await intake.emit(one(3.0))).durable()
        await intake.commit(checkpoint=True)
        rows = await intake.on_store(lambda: spooled(intake.engine))
        assert sum(len(row) for name, row in rows if name == "all") == 1 + 30 * 200 + 1
        assert intake.reopened == [1]


class Moved:
    """A wall clock that a test moves."""

    def __init__(self, wall_ns):
        self.wall_ns = wall_ns

    def __call__(self):
        return self.wall_ns


@pytest.mark.parametrize("step_s", [315_360_000, -315_360_000, 3600])
async def test_a_clock_that_jumps_makes_nothing_too_old_and_is_told_of(tmp_path, monkeypatch, step_s):
    """Ten years ahead: by that clock all that waits would be past its age."""
    fault = Nth(1, "none", 0)
    start = 1_790_000_000 * S
    wall = Moved(start)
    async with running(tmp_path, fault, Clock(wall, lambda: 5 * S, lambda: None)) as intake:
        await (await intake.emit(Frame.of([0, 0], [start, start - 3600 * S], [1.0, 2.0]))).durable()
        wall.wall_ns += step_s * S
        await until(lambda: intake._clock.steps == 1)
        stamps = [wall.wall_ns, start - 7200 * S]
        await (await intake.emit(Frame.of([0, 0], stamps, [3.0, 4.0]))).durable()
        for _ in range(3):
            await intake.commit(checkpoint=True)
        rows = await intake.on_store(lambda: spooled(intake.engine))
        assert not any(isinstance(row, Loss) for _, row in rows)
        found = {
            value: quality
            for name, row in rows
            if name == "all"
            for value, quality in zip(row.value.tolist(), row.quality.tolist(), strict=True)
        }
        assert found == {1.0: 0, 2.0: 0, 3.0: CLOCK_NOT_SYNCHRONISED, 4.0: 0}, "only what we stamped ourselves"


async def test_pipelines_that_are_wanted_while_the_store_fails_come_with_it(tmp_path):
    fault = Nth(1, "write", apsw.SQLITE_FULL, forever=True)
    async with running(tmp_path, fault) as intake:
        failing = await intake.emit(one(7.0))
        await until(lambda: intake.failure is not None)
        with pytest.raises(StoreError):
            await intake.reconfigure({"all": CONFIG.pipelines["all"]}, {("who", "what"): b"plan 8"})
        assert intake.engine.graph.pipelines.keys() == {"all", "volts"}
        fault.healed = True
        await failing.durable()
        await until(lambda: intake.engine.graph.pipelines.keys() == {"all"})
        await until(lambda: intake.memory.get(("who", "what")) == b"plan 8")
        assert not intake.engine.wants
