"""A publisher that floods a slow disk is slowed itself: memory stays bounded, and what was acknowledged is there."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from adapters.mqtt.packets import V311, publish_packet
from adapters.mqtt.publish import Publish
from adapters.mqtt.session import MAX_MESSAGES
from gateway import intake as module
from gateway.clock import Clock
from gateway.intake import Intake
from gateway.tasks import ended
from tests.adapters.mqtt.scripted import scripted
from tests.adapters.mqtt.support import mqtt_config
from tests.support.build import config_of, engine_over, spooled
from tests.support.context import RecordingContext, running

CONFIG = """
gateway: g
state: /x
pipelines: {all: {from: ["**"], to: [out]}}
uplinks: {out: {type: stdout}}
"""
TOTAL = 30_000
GROUP, WAITING = 500, 2_000
SLOW_S = 0.02
PADDING = b" " * 1000


class Stored(RecordingContext):
    """A context over the real intake."""

    def __init__(self, intake: Intake) -> None:
        super().__init__("bus")
        self.intake = intake
        self.points = intake.directory

    async def emit(self, frame, tokens=None):
        self.stats.samples += len(frame)
        return await self.intake.emit(frame, self.name, tokens)

    def known(self, tokens):
        return self.intake.recent.known(self.name, tokens)


@asynccontextmanager
async def slow_store(folder, monkeypatch):
    """An intake whose disk takes its time; ended as by a crash, without a last commit."""
    monkeypatch.setattr(module, "GROUP_SAMPLES", GROUP)
    monkeypatch.setattr(module, "MAX_WAITING", WAITING)
    config = config_of(CONFIG)
    with ThreadPoolExecutor(1) as executor:
        loop = asyncio.get_running_loop()
        engine = await loop.run_in_executor(executor, engine_over, folder, config)
        commit = engine.commit

        def slowly(*args):
            time.sleep(SLOW_S)
            return commit(*args)

        monkeypatch.setattr(engine, "commit", slowly)
        intake = Intake(engine, executor, Clock(time.time_ns), config.store, lambda *_: None, lambda: None)
        task = asyncio.create_task(intake.run())
        try:
            yield intake
        finally:
            await ended(task)
            await loop.run_in_executor(executor, engine.store.close)


def flood() -> bytes:
    """All messages at once, 30 MB; each has its own number as its value and as its packet id."""
    numbers = range(1, TOTAL + 1)
    return b"".join(publish_packet(V311, Publish("x/d", b'{"v": %d}' % n + PADDING, 1), n) for n in numbers)


def acknowledged(broker) -> set[int]:
    heard = broker.heard
    return {int.from_bytes(heard[at + 2 : at + 4], "big") for at in range(0, len(heard) // 4 * 4, 4)}


async def test_a_flood_meets_a_slow_disk(tmp_path, monkeypatch):
    most = 0
    async with scripted() as broker:
        made = mqtt_config({"topic": "x/{device}", "points": {"v": {}}}, url=broker.url).create()
        async with slow_store(tmp_path, monkeypatch) as intake:
            ctx = Stored(intake)
            async with running(made, ctx):
                await ctx.until(lambda: ctx.links)
                broker.send(flood())

                def enough() -> bool:
                    nonlocal most
                    most = max(most, ctx.stats.messages - len(broker.heard) // 4)
                    return len(broker.heard) // 4 >= TOTAL // 3

                await ctx.until(enough, 30)
                assert broker._writer.transport.get_write_buffer_size() > 2**20, "the flood is held back"
                # The disk is gone: nothing of what follows may be acknowledged
                intake._room.clear()
                for task in asyncio.all_tasks():
                    if task.get_coro().__qualname__ == "Intake.run":
                        task.cancel()
        told = acknowledged(broker)
    assert most <= WAITING + 3 * MAX_MESSAGES, most
    again = engine_over(tmp_path, config_of(CONFIG), time.time_ns())
    kept = {int(value) for _, frame in spooled(again) for value in frame.value}
    again.store.close()
    assert len(told) >= TOTAL // 3
    assert told <= kept
