"""The core with one worker in this process: what goes in comes out exactly, and nobody is told too early."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import PARTITIONS, core_subject
from gateway.tasks import ended
from tests.gateway.network.core.feeding import SUMS, TOTAL, Feeder, Results, apply, until
from tests.gateway.network.core.working import options, working


@pytest.fixture
async def carrier(tmp_path):
    found = LocalCarrier(tmp_path / "net")
    await found.open()
    yield found
    await found.close()


@contextlib.asynccontextmanager
async def reading(carrier, *feeders):
    results = Results()
    tasks = [asyncio.create_task(results.read(carrier)), *(asyncio.create_task(one.hear()) for one in feeders)]
    try:
        yield results
    finally:
        await ended(*tasks)
        for task in tasks:
            assert task.cancelled() or not task.exception(), task.exception()


async def test_everything_that_goes_in_comes_out(carrier, tmp_path):
    await apply(carrier, "sums", SUMS)
    await apply(carrier, "total", TOTAL)
    feeders = [Feeder(carrier, f"n{at}", f"site{at % 2}", "sums" if at < 2 else "total", seed=at) for at in range(4)]
    async with reading(carrier, *feeders) as results, working(carrier, "w1", options(tmp_path / "net")) as worker:
        for round_ in range(20):
            for feeder in feeders:
                await feeder.feed(100, round_ * 3)
        for service, pair in (("sums", feeders[:2]), ("total", feeders[2:])):
            wanted = sum(one.count for one in pair)
            await until(
                lambda service=service, wanted=wanted: results.total(service, "count") == wanted,
                what=lambda service=service: (results.total(service, "count"), worker.core.status()),
            )
            assert results.total(service, "sum") == sum(one.sum for one in pair)
        await until(lambda: not any(one.sent for one in feeders), what="receipts")
        assert len(worker.core.held) == PARTITIONS
    assert results.doubled == 0
    assert not [key async for key in _left(carrier)]


async def _left(carrier):
    for partition in range(PARTITIONS):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                async for messages in carrier.consume(f"up/{core_subject(partition)}/**"):
                    for message in messages:
                        yield message
