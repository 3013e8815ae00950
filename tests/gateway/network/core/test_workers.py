"""Workers in processes of their own: killed at any moment, coming and going; nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.gateway.network.core.crowd import Crowd
from tests.gateway.network.core.feeding import until

KILLS = int(os.environ.get("ONPATH_CORE_KILLS", "3"))


def exact(found):
    assert (found.lost, found.wrong_sum, found.doubled, found.unconfirmed) == (0, 0, 0, 0), found


async def test_workers_that_are_killed_lose_and_double_nothing(tmp_path):
    async with Crowd(tmp_path / "net") as crowd:
        await crowd.add(2)
        await crowd.settled()
        for _ in range(KILLS):
            feeding = asyncio.create_task(crowd.feed(10, 0.1))
            await asyncio.sleep(crowd.chance.uniform(0.1, 1.2))
            await crowd.kill()
            await feeding
        found = await crowd.finish()
        assert found.kills == KILLS
        exact(found)


async def test_from_one_worker_to_two_to_four_and_back_to_two(tmp_path):
    async with Crowd(tmp_path / "net") as crowd:
        await crowd.add()
        await crowd.settled()
        for change in (None, crowd.add, lambda: crowd.add(2), lambda: crowd.remove(2)):
            feeding = asyncio.create_task(crowd.feed(8, 0.1))
            if change is not None:
                await change()
            await feeding
            await crowd.settled()
        # On a busy machine one may just have been taken for dead
        await until(lambda: [len(worker.held) > 4 for worker in crowd.workers] == [True, True], 30)
        exact(await crowd.finish())


async def test_a_worker_that_stood_still_is_fenced_off(tmp_path):
    """Its leases are over and others have its partitions, but it does not know that when it goes on."""
    async with Crowd(tmp_path / "net", sites=8) as crowd:
        await crowd.add(2)
        await crowd.settled()
        await crowd.feed(3)
        await asyncio.sleep(0.2)
        one = crowd.workers[0]
        one.process.send_signal(signal.SIGSTOP)
        feeding = asyncio.create_task(crowd.feed(10, 0.5))
        await asyncio.sleep(5)
        one.process.send_signal(signal.SIGCONT)
        await feeding
        found = await crowd.finish()
        assert "is lost" in one.errors.read_text()
        exact(found)
