"""The worker of the core in this process: which partitions it has, and how it comes by them and gives them back.

Each partition belongs to the living member with the highest draw for it. Who has a partition that belongs to another
one finishes it, writes its snapshot and gives its lease back; who should have one waits for that lease. What protects
the state is the snapshot's compare-and-set, not the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import PayloadError
from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.lease import TTL_S, Leases, clock_s
from gateway.network.config import PARTITIONS, core_subject
from gateway.network.core.holding import Holding, Services
from gateway.network.core.members import Members, Orphans, shares
from gateway.network.core.saved import FencedError
from gateway.network.core.threads import Threads
from gateway.tasks import ended

if TYPE_CHECKING:
    from gateway.network.carrier.base import Carrier
    from gateway.network.config import NetworkConfig

log = logging.getLogger(__name__)

TURN_S: Final = 0.5
OPENED_AT_ONCE: Final = 4
PAUSE_S: Final = 2.0
"""After a partition that could not be held."""


class _Part:
    """A partition that should be here."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.holding: Holding | None = None
        """While it is open."""


class CoreWorkers:
    """See the module.

    Args:
        carrier: an open one.
        node: this node's name.
        options: its ``network:`` section.
        services: the newest version and YAML of each service, by name, whenever it is asked.
        ttl_s: how long a lease lives that is not renewed.
        again: of this state folder, which one process has at a time: what was held before a restart is ours at once.
        clock: UTC, ns since 1970.
    """

    def __init__(
        self,
        carrier: Carrier,
        node: str,
        options: NetworkConfig,
        services: Callable[[], Services],
        *,
        ttl_s: float = TTL_S,
        again: str = "",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._carrier, self._node, self._options = carrier, node, options
        self._services, self._ttl_s, self._clock = services, ttl_s, clock
        self._again = again
        self._parts: dict[int, _Part] = {}
        self._members = Members(node)
        self._orphans = Orphans(ttl_s)
        self._opening = asyncio.Semaphore(OPENED_AT_ONCE)
        self._news = asyncio.Event()
        self._heard = asyncio.Event()
        self._details: dict[int, str] = {}
        """Why a partition cannot be held."""

    @property
    def held(self) -> list[int]:
        """Partitions that are open here."""
        return sorted(number for number, part in self._parts.items() if part.holding is not None)

    async def run(self) -> None:
        """Work until cancelled; then everything is handed over, as far as time allows."""
        threads = Threads()
        try:
            async with Leases(self._carrier, self._node, ttl_s=self._ttl_s, again=self._again) as leases:
                watching = asyncio.create_task(self._watch(), name="core members")
                try:
                    await self._begin(leases)
                    while True:
                        self._settle(leases, threads)
                        self._news.clear()
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(TURN_S):
                                await self._news.wait()
                finally:
                    await ended(watching)
                    await self._go()
        finally:
            threads.close()

    async def _begin(self, leases: Leases) -> None:
        """Know who is there and who holds what before anything is taken."""
        await self._heard.wait()
        while True:
            try:
                await leases.ready()
            except CarrierError as error:
                log.debug("core: %s", error)
            else:
                return

    async def _go(self) -> None:
        """Hand over all partitions, and say that this member is gone."""
        for part in self._parts.values():
            part.leave.set()
        tasks = [part.task for part in self._parts.values() if part.task is not None]
        try:
            if tasks:
                await asyncio.wait(tasks)
            with contextlib.suppress(CarrierError):
                await self._carrier.delete("nodes", self._node)
        finally:
            await ended(*tasks)

    async def _watch(self) -> None:
        async for entries in self._carrier.watch("nodes"):
            self._members.hear(entries, clock_s())
            self._heard.set()
            self._news.set()

    def _settle(self, leases: Leases, threads: Threads) -> None:
        """Begin what should be here and is not, and leave what should be elsewhere."""
        now_s = clock_s()
        wanted = shares(self._members.living(now_s))
        names = {number: leases.holder_of(core_subject(number)) for number in range(PARTITIONS)}
        holders = {number: held.holder for number, held in names.items() if held is not None}
        for name in self._orphans.look(wanted, holders, now_s):
            if self._members.give_up(name):
                log.warning("core: nothing lives of %s; its partitions are taken over", name)
                self._news.set()
        for number, part in list(self._parts.items()):
            if wanted[number] != self._node:
                part.leave.set()
            if part.task is not None and part.task.done():
                del self._parts[number]
                if not part.task.cancelled() and (error := part.task.exception()) is not None:
                    log.error("core: partition %d failed and begins anew", number, exc_info=error)
        for number, name in wanted.items():
            if name == self._node and number not in self._parts:
                part = self._parts[number] = _Part()
                part.task = asyncio.create_task(
                    self._hold(number, part, leases, threads), name=f"core partition {number}"
                )

    async def _hold(self, number: int, part: _Part, leases: Leases, threads: Threads) -> None:
        """Have a partition until it is to be left, again and again if it must be."""
        lost = asyncio.Event()
        lease = leases.lease(core_subject(number), on_lost=lost.set)
        while not part.leave.is_set():
            try:
                if await _unless(lease.acquire(), part.leave):
                    lost.clear()
                    await self._held(number, part, lost, threads)
                    self._details.pop(number, None)
            except (FencedError, CarrierError, PayloadError) as error:
                if self._details.get(number) != str(error):
                    log.warning("core: partition %d: %s", number, error)
                self._details[number] = str(error)
                await lease.release()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE_S * random.uniform(0.5, 1.5)):  # noqa: S311  spreads load
                        await part.leave.wait()
            finally:
                part.holding = None
                await lease.release()

    async def _held(self, number: int, part: _Part, lost: asyncio.Event, threads: Threads) -> None:
        async def work() -> None:
            holding = Holding(self._carrier, threads, number, self._options, self._services, self._clock)
            async with self._opening:
                await holding.open()
            part.holding = holding
            await holding.run(part.leave)

        if not await _unless(work(), lost):
            log.warning("core: the lease of partition %d is lost; what no snapshot has is done again", number)

    def status(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        return {
            "members": sorted(self._members.living(clock_s())),
            "held": self.held,
            "waiting": sorted(number for number, part in self._parts.items() if part.holding is None),
            "partitions": {
                str(number): part.holding.status()
                for number, part in sorted(self._parts.items())
                if part.holding is not None
            },
            "troubles": {str(number): text for number, text in sorted(self._details.items())},
        }


async def _unless(work: Any, event: asyncio.Event) -> bool:
    """Do something to its end, or until an event; whether it came to its end. Raises what it raises."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        await ended(waiting, working)
