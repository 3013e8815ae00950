"""Leases over both carriers: one holder at a time, handed over, lost in time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.lease import SAFE_PART, Held, Leases, clock_s
from tests.gateway.network.carrier.conftest import Place


async def test_of_many_one_holds(place: Place) -> None:
    async with AsyncExitStack() as stack:
        many = [await stack.enter_async_context(Leases(await place.carrier(), f"n{n}", ttl_s=30)) for n in range(4)]
        leases = [one.lease("controller", b"from %d" % number) for number, one in enumerate(many)]
        took = await asyncio.gather(*(lease.try_acquire() for lease in leases))
        assert took.count(True) == 1
        assert [lease.held for lease in leases] == took
        holder = took.index(True)
        await until(lambda: all(one.holder_of("controller") is not None for one in many))
        assert {one.holder_of("controller").holder for one in many} == {f"n{holder}"}
        assert many[0].holder_of("controller").details == b"from %d" % holder
        assert many[0].holder_of("none") is None


async def test_a_lease_that_is_given_back_goes_at_once(place: Place) -> None:
    async with Leases(await place.carrier(), "a", ttl_s=600) as one, Leases(await place.carrier(), "b") as two:
        first, second = one.lease("k"), two.lease("k")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(0.2)
        assert not waiting.done()
        revision = first.revision
        await first.release()
        async with asyncio.timeout(10):
            await waiting
        assert second.held
        assert second.revision > revision
        assert not first.held
        assert not first.lost.is_set()
        assert not await first.try_acquire()
        await first.release()
        assert second.held


async def test_what_is_renewed_stays(place: Place) -> None:
    async with Leases(await place.carrier(), "a", ttl_s=1.5) as one, Leases(await place.carrier(), "b") as two:
        lease, other = one.lease("k"), two.lease("k")
        await lease.acquire()
        first = lease.revision
        for _ in range(15):
            await asyncio.sleep(0.2)
            assert lease.held
            assert not await other.try_acquire()
        assert lease.revision > first
        lease.details = b"new"
        await until(lambda: two.holder_of("k").details == b"new")


async def test_who_cannot_renew_knows_before_anybody_takes_it(place: Place) -> None:
    """Its carrier is closed, which is as if its network were cut."""
    carrier, told = await place.carrier(), []
    async with Leases(carrier, "a", ttl_s=2) as one, Leases(await place.carrier(), "b", ttl_s=2) as two:
        lease, other = one.lease("k", on_lost=lambda: told.append(clock_s())), two.lease("k")
        await lease.acquire()
        await until(lambda: two.holder_of("k") is not None)
        begun = clock_s()
        await carrier.close()
        async with asyncio.timeout(20):
            await other.acquire()
        taken = clock_s()
        assert not lease.held
        assert lease.lost.is_set()
        assert len(told) == 1
        assert told[0] < taken
        assert taken - begun >= 2 * SAFE_PART


async def test_whoever_was_killed_has_his_own_again_at_once(place: Place) -> None:
    carrier = await place.carrier()
    before = Leases(carrier, "a", ttl_s=600, again="a/1")
    await before.__aenter__()
    lease = before.lease("k")
    await lease.acquire()
    for task in before._tasks:  # killed: nothing is given back
        task.cancel()
    async with (
        Leases(await place.carrier(), "b", ttl_s=600, again="b/1") as other,
        Leases(await place.carrier(), "a", ttl_s=600, again="a/1") as again,
    ):
        await until(lambda: other.holder_of("k") is not None)
        assert not await other.lease("k").try_acquire(), "for the others it lives"
        mine = again.lease("k")
        assert await mine.try_acquire()
        assert mine.revision > lease.revision
        assert mine.held
        async with Leases(await place.carrier(), "a", ttl_s=600, again="a/1") as copy:
            theirs = copy.lease("k")
            assert await theirs.try_acquire(), "which there should not be"
            await until(mine.lost.is_set)
            assert not await mine.try_acquire(), "it goes to and fro once, and no more"
            assert theirs.held


async def test_a_process_that_stood_still_does_not_hold_what_is_over(place: Place) -> None:
    now = [100.0]
    async with (
        Leases(await place.carrier(), "a", ttl_s=60, clock=lambda: now[0]) as one,
        Leases(await place.carrier(), "b", ttl_s=60, clock=lambda: now[0]) as two,
    ):
        lease, other = one.lease("k"), two.lease("k")
        await lease.acquire()
        await until(lambda: two.holder_of("k") is not None)
        now[0] += 60 * SAFE_PART - 1
        assert lease.held
        assert not await other.try_acquire()
        now[0] += 1
        assert not lease.held  # at once, before any task has run
        assert not await other.try_acquire()
        now[0] += 60
        assert await other.try_acquire()
        assert not await lease.try_acquire()


async def test_many_leases_are_cheap_and_share_one_watch(place: Place) -> None:
    async with Leases(await place.carrier(), "a", ttl_s=30) as one, Leases(await place.carrier(), "b") as two:
        leases = [one.lease(f"core-{number:02d}") for number in range(64)]
        assert all(await asyncio.gather(*(lease.try_acquire() for lease in leases)))
        await until(lambda: len(two.seen) == 64)
        assert not any(await asyncio.gather(*(two.lease(lease.name).try_acquire() for lease in leases)))
        await asyncio.gather(*(lease.release() for lease in leases[:32]))
        async with asyncio.timeout(10):
            await asyncio.gather(*(two.lease(lease.name).acquire() for lease in leases[:32]))
        assert [lease.held for lease in leases] == [False] * 32 + [True] * 32


async def test_leaving_gives_all_back(place: Place) -> None:
    carrier = await place.carrier()
    async with Leases(carrier, "a", ttl_s=600) as one:
        lease = one.lease("k")
        await lease.acquire()
    assert not lease.held
    assert await carrier.get("lease", "k") is None
    async with Leases(carrier, "b", ttl_s=600) as two:
        assert await two.lease("k").try_acquire()


async def test_somebody_who_writes_over_it_ends_it(place: Place) -> None:
    carrier = await place.carrier()
    async with Leases(carrier, "a", ttl_s=30) as one:
        lease = one.lease("k")
        await lease.acquire()
        await carrier.put("lease", "k", b"not even ours")
        async with asyncio.timeout(10):
            await lease.lost.wait()
        assert not lease.held
        assert one.holder_of("k") == Held(holder="?", token="", ttl=30)


class Forgetful:
    """A carrier of which the next writing arrives and is not confirmed."""

    def __init__(self, carrier) -> None:
        self._carrier = carrier
        self.forget = 0

    def __getattr__(self, name):
        return getattr(self._carrier, name)

    async def put(self, *args):
        written = await self._carrier.put(*args)
        if self.forget:
            self.forget -= 1
            raise CarrierError("lost on the way back")
        return written


@pytest.mark.parametrize("when", ["taken", "renewed"])
async def test_a_writing_that_was_not_confirmed_is_recognised(place: Place, when: str) -> None:
    carrier = Forgetful(await place.carrier())
    async with Leases(carrier, "a", ttl_s=1.5) as one:
        lease = one.lease("k")
        if when == "taken":
            carrier.forget = 1
            with pytest.raises(CarrierError):
                await lease.try_acquire()
        async with asyncio.timeout(1.2):  # sooner than it would be over
            await lease.acquire()
        if when == "renewed":
            carrier.forget = 1
        for _ in range(10):
            await asyncio.sleep(0.2)
            assert lease.held
        assert not lease.lost.is_set()
        assert carrier.forget == 0


async def until(true, for_s: float = 15.0) -> None:
    async with asyncio.timeout(for_s):
        while not true():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.02)
