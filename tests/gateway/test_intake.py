"""The intake: when groups are committed, what receipts promise, backpressure, and a store that fails."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import pytest

from gateway import intake as module
from gateway.batch import Loss
from gateway.clock import Clock
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.intake import Intake
from gateway.point import Point
from gateway.store.journal import Journal
from gateway.store.segments import Step, Tick
from tests.support.build import config_of, engine_over, spooled

S = 1_000_000_000
CONFIG = """
gateway: g
state: /x
store: {{commit: {commit}, receipt_commit: 5ms{store}}}
pipelines: {{all: {{from: ["**"], steps: [{steps}], to: [out]}}}}
uplinks: {{out: {{type: stdout}}}}
"""


class Wall:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> int:
        return time.monotonic_ns() + 10**18 + self.ahead


@asynccontextmanager
async def running(folder, *, commit="50ms", store="", steps=""):
    """(intake, what it committed, wall clock) over a real store."""
    config = config_of(CONFIG.format(commit=commit, store=store, steps=steps))
    committed, wall = [], Wall()
    clock = Clock(wall)
    with ThreadPoolExecutor(1) as executor:
        engine = await asyncio.get_running_loop().run_in_executor(executor, engine_over, folder, config)
        engine.directory.add(Point(name="p0"))
        intake = Intake(
            engine,
            executor,
            clock,
            config.store,
            lambda made, _: committed.append(made),
            lambda: committed.append("reopened"),
        )
        task = asyncio.create_task(intake.run())
        try:
            yield intake, committed, wall
        finally:
            intake.stop()
            await task
            await intake.on_store(engine.store.close)


def one(value=1.0, n=1):
    return Frame.of([0] * n, S, np.full(n, value))


async def until(condition, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def test_a_receipt_is_durable_when_it_says_so(tmp_path):
    async with running(tmp_path, commit="10s") as (intake, _, _):
        receipt = await intake.emit(one())
        position = await asyncio.wait_for(receipt.durable(), 5)
        rows = await intake.on_store(lambda: list(intake.engine.store.journal.read(position - 1)))
        assert rows[0][1][-1] == one()


async def test_the_first_sample_after_a_quiet_time_comes_behind_a_tick(tmp_path):
    """Without it, windows compare the sample with the time at which the gateway fell silent, and drop it as early."""
    async with running(tmp_path) as (intake, _, _):
        at = intake.engine.store.journal.last
        for quiet_s in (0, 0.7):
            await asyncio.sleep(quiet_s)
            await (await intake.emit(one())).durable()
        await (await intake.emit(one())).durable()
        rows = await intake.on_store(lambda: list(intake.engine.store.journal.read(at)))
    kinds = [type(segment) for _, segments in rows for segment in segments]
    first, second = (place for place, kind in enumerate(kinds) if kind is Tick and kinds[place + 1 :][:1] == [Frame])
    assert first == 0
    assert second > 1


async def test_frames_of_one_group_share_a_commit(tmp_path):
    async with running(tmp_path, commit="100ms") as (intake, committed, _):
        await (await intake.emit(one())).durable()
        before = intake.commits
        receipts = [await intake.emit(one(n)) for n in range(20)]
        positions = {await receipt.durable() for receipt in receipts}
        assert len(positions) == 1
        await until(lambda: sum(len(b.frame) for c in committed for b in c.batches.get("out", [])) == 21)
        assert intake.commits <= before + 3


async def test_without_a_waiting_receipt_commits_keep_the_longer_interval(tmp_path):
    async with running(tmp_path, commit="300ms") as (intake, _, _):
        await (await intake.emit(one())).durable()
        await until(lambda: not intake._behind)
        before, began = intake.commits, time.monotonic()
        while time.monotonic() - began < 0.25:
            await intake.emit(one())
            await asyncio.sleep(0.01)
        assert intake.commits <= before + 1


async def test_a_sample_after_a_quiet_time_is_written_at_once(tmp_path):
    async with running(tmp_path, commit="2s") as (intake, committed, _):
        intake._last_commit -= 10
        intake._last_run -= 10
        await intake.emit(one())
        await until(lambda: committed, 1.0)


async def test_emit_waits_while_the_gateway_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GROUP_SAMPLES", 100)
    monkeypatch.setattr(module, "MAX_WAITING", 200)
    async with running(tmp_path) as (intake, _, _):
        async with intake._lock:  # no commit can run
            await intake.emit(one(n=250))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(intake.emit(one()), 0.1)
        receipt = await asyncio.wait_for(intake.emit(one()), 5)
        await receipt.durable()


async def test_time_passes_only_where_samples_wait_for_it(tmp_path):
    window = "{window: {every: 1s, stats: [count], lateness: 0s}}"
    async with running(tmp_path, steps=window) as (intake, committed, _):
        await (await intake.emit(one())).durable()
        await until(lambda: any(c.batches for c in committed), 5)
        assert intake.engine.graph.queued == 0
        await asyncio.sleep(0.1)
        before = intake.commits
        await asyncio.sleep(module.TICK_S * 2.5)
        assert intake.commits == before, "an idle gateway leaves its disk alone"


async def test_a_step_of_the_wall_clock_is_an_event_and_moves_no_timer(tmp_path):
    window = "{window: {every: 1h, stats: [count]}}"
    async with running(tmp_path, steps=window) as (intake, committed, wall):
        await (await intake.emit(one())).durable()
        wall.ahead = 3600 * S
        await until(lambda: any(c.batches for c in committed))
        blocks = await intake.on_store(lambda: [s for _, b in intake.engine.store.journal.read(0) for s in b])
        steps = [s for s in blocks if isinstance(s, Step)]
        assert [round(step.delta_ns / S) for step in steps] == [3600]
        ticks = [s.now_ns for s in blocks if isinstance(s, Tick)]
        assert max(ticks) - min(ticks) < 60 * S
        assert intake.engine.graph.queued == 0, "open windows are let go"


async def test_a_group_that_failed_is_written_when_the_store_works_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    async with running(tmp_path) as (intake, committed, _):
        await (await intake.emit(one())).durable()
        await fill(intake)
        noise = Frame.of([0] * 20_000, S, np.random.default_rng(1).normal(size=20_000))
        receipt = await intake.emit(noise)
        await receipt.durable()  # not refused: it only comes later
        assert committed.count("reopened") == 1
        assert intake.health()["failures"] == 1
        assert intake.health()["lost_samples"] == 0
        await until(lambda: not intake._behind)
        rows = await intake.on_store(lambda: spooled(intake.engine))
        assert [len(frame) for _, frame in rows][:1] == [1]
        assert sum(len(frame) for _, frame in rows) == 20_001


async def fill(intake):
    """No room for anything, until the store is opened again."""
    pages = await intake.on_store(lambda: intake.engine.store._db.pragma("page_count"))
    await intake.on_store(lambda: intake.engine.store._db.pragma("max_page_count", pages))


async def test_a_group_that_the_store_cannot_take_is_given_up_and_told(tmp_path, monkeypatch):
    """Whatever is wrong with it: it is not tried for ever, and the rest goes on."""
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    async with running(tmp_path) as (intake, _, _):
        await (await intake.emit(one())).durable()
        real = Journal.append

        def refuse(journal, items, now_ns):
            if any(isinstance(item, Frame) and (item.value == 13.0).any() for item in items):
                raise StoreError("not this one")
            return real(journal, items, now_ns)

        monkeypatch.setattr(Journal, "append", refuse)
        with pytest.raises(StoreError, match="not this one"):
            await (await intake.emit(one(13.0, n=7))).durable()
        assert intake.health()["lost_samples"] == 7
        await until(lambda: intake.failure is None)
        await (await intake.emit(one(5.0))).durable()
        await until(lambda: not intake._behind)  # the pipelines have their own pace
        rows = await intake.on_store(lambda: spooled(intake.engine))
        assert [row.reason for _, row in rows if isinstance(row, Loss)] == ["store-failed"]
        assert [row.count for _, row in rows if isinstance(row, Loss)] == [7]
        assert [v for _, row in rows if isinstance(row, Frame) for v in row.value.tolist()] == [1.0, 5.0]


async def test_a_full_spool_under_block_stops_the_intake_until_it_drains(tmp_path):
    async with running(tmp_path, store=", spool: {max_size: 1MiB, when_full: block}") as (intake, committed, _):
        noise = np.random.default_rng(1).normal(size=(10, 20_000))
        for row in noise:
            if not intake._room.is_set():
                break
            await (await intake.emit(Frame.of([0] * 20_000, S, row))).durable()
            await intake.commit()
        await until(lambda: not intake._room.is_set())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(intake.emit(one()), 0.2)
        for batch in [b for c in committed for b in c.batches.get("out", [])]:
            intake.delivered("out", batch.seq)
        await asyncio.wait_for(intake.emit(one()), 5)


async def test_a_delivery_is_noted_even_when_nothing_else_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ACK_DELAY_S", 0.1)
    async with running(tmp_path) as (intake, committed, _):
        await (await intake.emit(one())).durable()
        await until(lambda: any(c.batches for c in committed))
        (batch,) = [b for c in committed for b in c.batches.get("out", [])]
        intake.delivered("out", batch.seq)
        await until(lambda: intake.engine.store.spool.gauge("out").rows == 0, 3)


async def test_what_adapters_learned_is_kept_across_a_restart(tmp_path):
    async with running(tmp_path) as (intake, _, _):
        intake.remember("meters", "holes", b"\x01")
        intake.remember("meters", "holes", b"\x02")
        await until(lambda: not intake._notes)
    async with running(tmp_path) as (intake, _, _):
        assert intake.memory == {("meters", "holes"): b"\x02"}
