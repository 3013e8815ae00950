"""Workers that come, go and are killed while gateways feed them; what came out at the end, against what went in."""

from __future__ import annotations

import asyncio
import random
import signal
from dataclasses import dataclass

from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import PARTITIONS
from gateway.tasks import ended
from tests.gateway.network.core.feeding import SUMS, TOTAL, Feeder, Results, apply, until
from tests.gateway.network.core.working import Process

ROUND_S = 2
"""Of event time."""


@dataclass
class Found:
    """What a run showed."""

    lost: int = 0
    """Samples; below 0: counted twice."""
    wrong_sum: int = 0
    doubled: int = 0
    """Results that were published twice under one id."""
    unconfirmed: int = 0
    samples: int = 0
    kills: int = 0
    took_s: float = 0.0


class Crowd:
    """Any number of workers on one folder."""

    def __init__(self, folder, sites=12, samples=200, seed=1):
        self.folder = folder
        self.carrier = LocalCarrier(folder)
        self.chance = random.Random(seed)
        self.workers: list[Process] = []
        self.results = Results()
        self.feeders = [
            Feeder(self.carrier, f"node{at}", f"site{at}", ("sums", "total")[at % 2], seed=seed * 100 + at)
            for at in range(sites)
        ]
        self.samples = samples
        self.kills = 0
        self.at_s = 0
        self._number = 0
        self._tasks: list[asyncio.Task] = []

    async def __aenter__(self):
        await self.carrier.open()
        await apply(self.carrier, "sums", SUMS)
        await apply(self.carrier, "total", TOTAL)
        calls = [self.results.read(self.carrier), *(feeder.hear() for feeder in self.feeders)]
        self._tasks = [asyncio.create_task(call) for call in calls]
        return self

    async def __aexit__(self, *error):
        await asyncio.gather(*(worker.end(signal.SIGKILL) for worker in self.workers))
        await ended(*self._tasks)
        await self.carrier.close()

    async def add(self, many=1):
        """More workers."""
        for _ in range(many):
            self._number += 1
            self.workers.append(await Process(self.folder, f"w{self._number}").start())

    async def remove(self, many=1):
        """Workers that leave in order."""
        going = [self.workers.pop(0) for _ in range(many)]
        await asyncio.gather(*(one.end() for one in going))

    async def kill(self):
        """One of the workers is killed, and comes back under its name or another one."""
        one = self.workers.pop(self.chance.randrange(len(self.workers)))
        await one.end(signal.SIGKILL)
        self.kills += 1
        if self.chance.random() < 0.5:
            self.workers.append(await Process(self.folder, one.name).start())
        else:
            await self.add()

    async def settled(self, patience_s=60):
        """Every partition is held by somebody, and all share."""

        def well():
            held = [number for worker in self.workers for number in worker.held]
            return sorted(held) == list(range(PARTITIONS)) and all(worker.held for worker in self.workers)

        await until(well, patience_s, what=lambda: [(one.name, one.held) for one in self.workers])

    async def feed(self, rounds, pause_s=0.0):
        """Batches of all gateways."""
        for _ in range(rounds):
            self.at_s += ROUND_S
            for feeder in self.feeders:
                await feeder.feed(self.samples, self.at_s)
            await asyncio.sleep(pause_s)

    async def burst(self, rounds):
        """Batches as fast as they go; samples a second until all are confirmed, and those a second of CPU."""
        loop = asyncio.get_running_loop()
        await self._confirmed()
        before, cpu_s, began = self._fed(), self._cpu_s(), loop.time()
        await self.feed(rounds)
        await self._confirmed()
        took_s, fed = loop.time() - began, self._fed() - before
        await asyncio.sleep(0.5)  # until all have said how much CPU they took
        return fed / took_s, fed / max(self._cpu_s() - cpu_s, 0.01)

    async def _confirmed(self):
        repeating = asyncio.create_task(self._repeat())
        try:
            await until(lambda: not any(one.sent for one in self.feeders), 120, "receipts")
        finally:
            await ended(repeating)

    def _fed(self):
        return sum(feeder.count for feeder in self.feeders)

    def _cpu_s(self):
        return sum(worker.status.get("cpu_s", 0.0) for worker in self.workers)

    async def finish(self, patience_s=120):
        """Wait for the end of all that was fed; what it came to."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        wanted = {service: [one for one in self.feeders if one.service == service] for service in ("sums", "total")}
        counts = {service: sum(one.count for one in some) for service, some in wanted.items()}
        found = Found(samples=sum(counts.values()), kills=self.kills)
        repeating = asyncio.create_task(self._repeat())
        try:
            await until(
                lambda: (
                    all(self.results.total(service, "count") >= count for service, count in counts.items())
                    and not any(one.sent for one in self.feeders)
                ),
                patience_s,
            )
        except AssertionError:
            found.unconfirmed = sum(len(one.sent) for one in self.feeders)
        finally:
            await ended(repeating)
        await asyncio.sleep(1.0)  # for what is too much
        found.lost = sum(count - self.results.total(service, "count") for service, count in counts.items())
        for service, some in wanted.items():
            found.wrong_sum += abs(sum(one.sum for one in some) - self.results.total(service, "sum"))
        found.doubled, found.took_s = self.results.doubled, loop.time() - began
        return found

    async def _repeat(self):
        while True:
            await asyncio.sleep(3.0)
            for feeder in self.feeders:
                await feeder.repeat()
