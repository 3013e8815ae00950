"""When receipts are asked for: soon where the broker waits for acknowledgements, later where it does not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from adapters.mqtt import acks as module
from adapters.mqtt.acks import Acknowledger
from gateway.tasks import ended
from tests.support.context import RecordedReceipt

NONE = np.empty(0, np.uint64)


class Line:
    """What an acknowledger sees of a session: when the broker spoke last, and a place for acknowledgements."""

    def __init__(self) -> None:
        self.speaking = True
        self.sent: list[bytes] = []
        self._silent_since = 0.0

    @property
    def heard_at(self) -> float:
        return asyncio.get_running_loop().time() if self.speaking else self._silent_since

    def acknowledge(self, packet_ids: list[bytes]) -> None:
        self.sent += packet_ids


@asynccontextmanager
async def at_work(monkeypatch, patience_s: float = 60.0):
    monkeypatch.setattr(module, "PATIENCE_S", patience_s)
    line = Line()
    acks = Acknowledger(line)
    task = asyncio.create_task(acks.run())
    try:
        yield line, acks
    finally:
        await ended(task)


async def batch(acks: Acknowledger, count: int) -> RecordedReceipt:
    receipt = RecordedReceipt(held=True)
    await acks.add(receipt, [b"id"] * count, NONE)
    return receipt


async def soon(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


async def test_nobody_asks_while_messages_keep_coming(monkeypatch):
    async with at_work(monkeypatch) as (line, acks):
        first = await batch(acks, 20)
        second = await batch(acks, 20)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not first.asked.is_set()
        line.speaking = False
        await soon(first.asked.is_set)
        first.position.set_result(1)
        second.position.set_result(2)
        await soon(lambda: len(line.sent) == 40)


async def test_a_flow_without_end_is_acknowledged_all_the_same(monkeypatch):
    async with at_work(monkeypatch, 0.01) as (_line, acks):
        receipt = await batch(acks, 20)
        await soon(receipt.asked.is_set)


async def test_half_of_the_window_that_is_known_is_not_waited_for(monkeypatch):
    async with at_work(monkeypatch) as (line, acks):
        line.speaking = False
        stalled = await batch(acks, 20)
        await soon(stalled.asked.is_set)
        stalled.position.set_result(1)
        await soon(lambda: len(line.sent) == 20)
        line.speaking = True
        few = await batch(acks, 9)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not few.asked.is_set()
        half = await batch(acks, 1)
        await soon(few.asked.is_set)
        few.position.set_result(2)
        half.position.set_result(3)
        await soon(lambda: len(line.sent) == 30)
        await batch(acks, 15)
        more = await batch(acks, 15)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not more.asked.is_set(), "it sends more than 20, so it does not wait for them"


@pytest.mark.parametrize("speaking", [True, False])
async def test_an_end_does_not_wait(monkeypatch, speaking):
    monkeypatch.setattr(module, "PATIENCE_S", 60.0)
    line = Line()
    line.speaking = speaking
    acks = Acknowledger(line)
    (await batch(acks, 3)).position.set_result(1)
    async with asyncio.timeout(5):
        await acks.settle()
    assert len(line.sent) == 3
