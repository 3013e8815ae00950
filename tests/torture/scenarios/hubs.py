"""A cluster of three hubs under load: one is killed and comes back, then another, and so on."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Any

from gateway.network.carrier.base import Carrier, CarrierError
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig
from gateway.network.hub.reading import read_hub
from gateway.network.hub.status import NoHubError, status
from gateway.units import Duration
from tests.support.hubs import HubProcess, hub_cluster
from tests.torture.bench import Outcome

IN_FLIGHT = 16
PAUSE_S = 0.004
DOWN_S = 2.0
AGREED_S = 60.0


class Load:
    """One who publishes, again under the same id until it is confirmed, and one who reads."""

    def __init__(self, writer: Carrier, reader: Carrier) -> None:
        self._writer = writer
        self._reader = reader
        self._stop = False
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self.sent = 0
        self.refused = 0
        self.confirmed: dict[int, float] = {}
        self.read: Counter[int] = Counter()
        self.seqs: list[int] = []
        self.arrived: list[float] = []

    def end(self) -> None:
        """Send nothing more."""
        self._stop = True

    async def publish(self) -> None:
        """Until :meth:`end`, and until all of it is confirmed."""
        async with asyncio.TaskGroup() as tasks:
            while not self._stop:
                await self._free.acquire()
                tasks.create_task(self._one(self.sent), name=f"publish {self.sent}")
                self.sent += 1
                await asyncio.sleep(PAUSE_S)

    async def _one(self, number: int) -> None:
        while True:
            try:
                await self._writer.publish(f"up/me/{number % 7}", b"%d" % number, f"load/{number}")
            except CarrierError:
                self.refused += 1
                await asyncio.sleep(random.uniform(0.02, 0.2))
            else:
                break
        self.confirmed[number] = time.monotonic()
        self._free.release()

    async def consume(self) -> None:
        """Until cancelled."""
        async with aclosing(self._reader.consume("up/me/**")) as messages:
            async for some in messages:
                self.read.update(int(message.payload) for message in some)
                self.seqs += [message.seq for message in some]
                self.arrived.append(time.monotonic())

    async def all_read(self) -> None:
        """Wait until what was confirmed has been read, and a moment longer for what should not come."""
        async with asyncio.timeout(AGREED_S):
            while len(self.read) < self.sent:  # noqa: ASYNC110  polled on purpose: it is looked at from outside
                await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)


async def killed_one_after_the_other(n: int, folder: Path) -> Outcome:
    """``n`` kills."""
    outcome = Outcome(n)
    async with hub_cluster(folder) as hubs:
        writer, reader = [await _open(hubs, name) for name in ("writer", "reader")]
        try:
            load = Load(writer, reader)
            publishing = asyncio.create_task(load.publish(), name="load")
            reading = asyncio.create_task(load.consume(), name="reading")
            for number in range(n):
                await _one_kill(hubs, number)
            await asyncio.sleep(1.0)
            load.end()
            await publishing
            await load.all_read()
            reading.cancel()
            await asyncio.wait([reading])
        finally:
            await writer.close()
            await reader.close()
    _judge(outcome, load)
    return outcome


async def _one_kill(hubs: list[HubProcess], number: int) -> None:
    await asyncio.sleep(random.uniform(0.5, 1.5))
    victim = hubs[number % len(hubs)]
    await victim.kill()
    await asyncio.sleep(DOWN_S)
    await victim.start()
    await _agreed(hubs)


async def _agreed(hubs: list[HubProcess]) -> None:
    """Wait until all hubs have the same again: two of three are always needed."""
    async with asyncio.timeout(AGREED_S):
        while not all([await _follows(one) for one in hubs]):  # noqa: ASYNC110  other processes
            await asyncio.sleep(0.2)


async def _follows(one: HubProcess) -> bool:
    try:
        found = await status(read_hub(one.file, {}))
    except NoHubError:
        return False
    cluster, streams = found["cluster"], found["streams"]
    others = not cluster["leads"] or all(other["follows"] for other in cluster["others"])
    return bool(cluster["leader"]) and others and bool(streams) and all(map(_whole, streams))


def _whole(stream: dict[str, Any]) -> bool:
    """As far as this hub knows: of a stream that another leads, that other is asked as well."""
    return bool(stream["leader"]) and not stream["behind"]


async def _open(hubs: list[HubProcess], name: str) -> Carrier:
    config = CarrierConfig(url=",".join(one.url for one in hubs), replicas=3, timeout=Duration(10))
    async with asyncio.timeout(AGREED_S):
        while True:
            carrier = carrier_of(config, name)
            try:
                await carrier.open()
            except CarrierError:  # they elect their first leader
                await asyncio.sleep(0.2)
            else:
                return carrier


def _judge(outcome: Outcome, load: Load) -> None:
    lost = load.sent - len(load.read)
    doubled = sum(count - 1 for count in load.read.values())
    outcome.expect(f"{lost} of {load.sent} lost", holds=lost == 0)
    outcome.expect(f"{doubled} doubled", holds=doubled == 0)
    outcome.expect("numbers do not grow", holds=load.seqs == sorted(set(load.seqs)))
    outcome.expect("nothing was sent", holds=load.sent > 0)
    outcome.facts = {
        "messages": str(load.sent),
        "lost": str(lost),
        "doubled": str(doubled),
        "tried again": str(load.refused),
        "longest stall of the publisher": f"{_longest(sorted(load.confirmed.values())):.1f} s",
        "of the reader": f"{_longest(load.arrived):.1f} s",
    }


def _longest(times: list[float]) -> float:
    return max((later - sooner for sooner, later in itertools.pairwise(times)), default=0.0)
