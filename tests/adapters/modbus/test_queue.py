"""Writes first, reads in order, so many at once as the endpoint bears."""

from __future__ import annotations

import asyncio

import pytest

from adapters.modbus.line import connect
from adapters.modbus.pdu import AnswerError, read_request
from adapters.modbus.place import Table
from adapters.modbus.queue import Priority, Queue
from adapters.modbus.url import parse_url
from gateway.errors import LinkError
from tests.adapters.modbus.peers import Peer, device, frame, good, modbus, point
from tests.adapters.modbus.test_misbehaviour import values_of
from tests.support.context import RecordingContext, running


def slow(t, u, p):
    return [0.005, frame(t, u, good(p))]


def read(address):
    return read_request(1, Table.HOLDING, address, 1)


def addresses(peer):
    return [int.from_bytes(pdu[1:3], "big") for _, pdu in peer.requests]


async def opened(peer, depth=1, timeout_s=1.0):
    return await connect(parse_url(peer.url), timeout_s=timeout_s, depth=depth)


async def test_a_write_waits_only_for_what_is_under_way():
    async with Peer(slow) as peer:
        line = await opened(peer)
        queue = Queue(line)
        reads = [asyncio.create_task(queue.submit(read(i))) for i in range(4)]
        await asyncio.sleep(0)
        writes = [asyncio.create_task(queue.submit(read(i), Priority.WRITE)) for i in (100, 101)]
        answers = await asyncio.gather(*reads, *writes)
        line.close()
    assert addresses(peer) == [0, 100, 101, 1, 2, 3]
    assert [int.from_bytes(answer.data, "big") for answer in answers] == [0, 1, 2, 3, 100, 101]
    assert all(answer.sent_s + 0.005 <= answer.received_s for answer in answers)


async def test_who_gives_up_waiting_holds_nobody_up():
    async with Peer(slow) as peer:
        line = await opened(peer)
        queue = Queue(line)
        tasks = [asyncio.create_task(queue.submit(read(i))) for i in range(5)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        tasks[0].add_done_callback(lambda _: tasks[1].cancel())  # in the moment its turn comes
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert (await asyncio.wait_for(queue.submit(read(9)), 1)).data == b"\0\x09"
        line.close()
    assert [isinstance(one, asyncio.CancelledError) for one in done] == [False, True, True, False, False]
    assert set(addresses(peer)) >= {0, 3, 4, 9}


async def test_impatience_ends_a_request_before_its_time():
    async with Peer(lambda *_: []) as peer:
        line = await opened(peer, timeout_s=30)
        queue = Queue(line)
        with pytest.raises(AnswerError, match="timeout") as caught:
            await queue.submit(read(0), patience_s=0.02)
        assert caught.value.silent
        line.close()
        with pytest.raises(LinkError):
            await queue.submit(read(1))


@pytest.mark.parametrize("depth", [1, 4])
async def test_as_many_requests_are_under_way_as_there_are_slots(depth):
    under_way, most, held = 0, 0, []
    async with Peer(lambda t, u, p: held.append((t, u, p)) or []) as peer:
        line = await opened(peer, depth)
        queue = Queue(line, depth)

        async def one(i):
            nonlocal under_way, most
            answer = await queue.submit(read(i))
            assert answer.data == i.to_bytes(2, "big")

        tasks = [asyncio.create_task(one(i)) for i in range(12)]
        answered = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.005)
            most = max(most, len(held) - answered)
            if len(held) - answered == min(depth, 12 - answered):
                for t, u, p in reversed(held[answered:]):
                    answered += 1
                    line.data_received(frame(t, u, good(p)))
        await asyncio.gather(*tasks)
        line.close()
    assert most == depth


async def test_a_pipelined_endpoint_is_polled_with_several_requests_under_way():
    waiting = []

    def script(transaction, unit, pdu):
        """Answers two at a time, the later one first."""
        waiting.append(frame(transaction, unit, good(pdu)))
        if len(waiting) < 2:
            return []
        return [waiting.pop(), waiting.pop()]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        points = {f"p{i}": point(f"holding:{i * 200}") for i in range(6)}
        config = modbus(peer.url, {"m": device(every=0.2, points=points)}, timeout=2, pipeline=2)
        async with running(config.create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 5)
    assert all(values_of(ctx, f"m/p{i}") == {float(i * 200)} for i in range(6))
    assert not ctx.stats.reasons
    assert ctx.stats.devices["m"]["missed"] == 0


async def test_devices_of_a_pipelined_endpoint_are_polled_side_by_side():
    async with Peer(lambda t, u, p: [frame(t, u, good(p))] if u < 9 else []) as peer:
        ctx = RecordingContext()
        devices = {f"m{i}": device(i, 0.03, {"a": point("holding:7")}) for i in range(1, 10)}
        async with running(modbus(peer.url, devices, timeout=0.3, pipeline=3).create(), ctx):
            await ctx.until(lambda: len(ctx.samples("m9/a")) >= 3)
        assert len(ctx.samples("m1/a")) > 12, "the silent one holds one slot of three"
    assert values_of(ctx, "m1/a") == {7.0}
    assert not values_of(ctx, "m9/a")


async def test_a_pipelined_link_that_goes_ends_the_run():
    async with Peer(lambda *_: [None]) as peer:
        devices = {f"m{i}": device(i, 0.03, {"a": point("holding:7")}) for i in range(1, 4)}
        with pytest.raises(LinkError):
            await modbus(peer.url, devices, pipeline=3).create().run(RecordingContext())
