"""A partition while this worker has it: what comes is taken, time passes, snapshots are written and told of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import msgspec

from adapters.frame.receipts import receipts
from gateway.network.assignment import record_of
from gateway.network.carrier.base import CarrierError
from gateway.network.config import core_subject
from gateway.network.core.machine import Machine
from gateway.network.core.points import Log
from gateway.network.core.saved import RETRY_S, Saved
from gateway.network.core.services import Running, Version, aged, running
from gateway.network.core.time import PartitionTime
from gateway.tasks import ended, task_group

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from gateway.network.assignment import ServiceRecord
    from gateway.network.carrier.base import Carrier, Message
    from gateway.network.config import NetworkConfig
    from gateway.network.core.machine import Captured, Stuck
    from gateway.network.core.threads import Threads

log = logging.getLogger(__name__)

TICK_S: Final = 0.25
LOOK_S: Final = 2.0
"""How often it looks whether services have changed."""
MOST_BYTES: Final = 1 << 20
"""Of messages that are taken in one step."""
AT_ONCE: Final = 32
"""Messages on their way out."""
MOST_HOPELESS: Final = 1000

R = TypeVar("R")
Versions = Mapping[Version, Running]
Services = dict[str, tuple[int, str]]
"""The newest version of each service, and its YAML."""


class Holding:
    """One partition of one worker."""

    def __init__(
        self,
        carrier: Carrier,
        threads: Threads,
        partition: int,
        options: NetworkConfig,
        services: Callable[[], Services],
        clock: Callable[[], int],
    ) -> None:
        self._carrier, self._threads, self._options = carrier, threads, options
        self._partition, self._name = partition, core_subject(partition)
        self._services, self._clock = services, clock
        self._saved = Saved(carrier, threads, self._name)
        self._machine: Machine
        self._time: PartitionTime
        self._turn = asyncio.Lock()
        """Who has it may use the machine."""
        self._told = False
        """Whether something that was refused was logged."""

    async def open(self) -> None:
        """Go on where the last snapshot was.

        Raises:
            CarrierError: it cannot be read now.
            PayloadError: it cannot be read at all.
        """
        state = await self._saved.load()
        corrections = self._options.corrections
        if state is None:
            self._machine = Machine(self._partition, corrections, self._clock(), Log([]))
            self._time = PartitionTime(0, self._clock())
            return
        self._machine = await self._threads.run(Machine.of, self._partition, corrections, state)
        self._time = PartitionTime(self._machine.stream_ns, self._clock())
        await self._publish(self._machine.outbox)  # whoever wrote it may not have come to that

    async def run(self, leave: asyncio.Event) -> None:
        """Work until it is to be left; then everything is in a snapshot, and told.

        Raises:
            FencedError: somebody else has the partition.
        """
        last = asyncio.Event()
        async with task_group() as tasks:
            tasks.create_task(self._save(last), name=f"{self._name} snapshots")
            working = [
                tasks.create_task(self._consume(), name=f"{self._name} messages"),
                tasks.create_task(self._tick(), name=f"{self._name} ticks"),
                tasks.create_task(self._look(), name=f"{self._name} services"),
            ]
            await leave.wait()
            await ended(*working)
            last.set()

    # What comes

    async def _consume(self) -> None:
        async for messages in self._carrier.consume(f"up/{self._name}/**", self._machine.seq):
            for some in _pieces(messages):
                await self._take(some)

    async def _take(self, messages: Sequence[Message]) -> None:
        rest = messages
        while rest:
            async with self._turn:
                stuck = await self._threads.run(self._machine.take, rest)
            if stuck is None:
                return
            rest = stuck.rest
            await self._fetch(stuck)

    async def _fetch(self, stuck: Stuck) -> None:
        """Get what is lacking, or know that nobody has it."""
        if stuck.service is None:
            found = await _patiently(partial(self._carrier.get, "directories", stuck.directory))
            learned = found is not None and found.value is not None and self._machine.learn(found.value)
            if not learned:
                self._warn(f"the directory message {stuck.directory} is missing")
                if len(self._machine.hopeless) >= MOST_HOPELESS:
                    self._machine.hopeless.clear()
                self._machine.hopeless.add(stuck.directory)
            return
        wanted = stuck.service
        one = await self._version(*wanted)
        if one is None:
            self._warn(f"a batch of service {wanted[0]}, version {wanted[1]}, which is not known")
            self._machine.refused.add(wanted)
            return
        await self._run(lambda versions: {**versions, wanted: one})

    async def _version(self, name: str, version: int) -> Running | None:
        known = self._services().get(name)
        yaml = known[1] if known is not None and known[0] == version else ""
        if not yaml:
            record = await self._record(name)
            versions = {} if record is None else {**record.earlier, record.version: record.yaml}
            yaml = versions.get(version, "")
        return await self._threads.run(running, name, version, yaml) if yaml else None

    async def _record(self, name: str) -> ServiceRecord | None:
        """What the carrier says of a service; None if it is not there any more."""
        entry = await _patiently(partial(self._carrier.get, "services", name))
        try:
            record = None if entry is None or entry.value is None else record_of(entry.value)
        except msgspec.DecodeError:
            return None
        return None if record is None or record.removed else record

    async def _run(self, change: Callable[[Versions], Versions]) -> None:
        """Run other versions, made of those that run now."""
        async with self._turn:
            versions = change(self._machine.versions)
            if versions != self._machine.versions:
                await self._threads.run(self._machine.run, versions)

    def _warn(self, text: str) -> None:
        """Once a partition; the rest is counted."""
        if not self._told:
            self._told = True
            log.warning("%s: %s; the rest is counted", self._name, text)

    # What time does

    async def _tick(self) -> NoReturn:
        while True:
            await asyncio.sleep(TICK_S)
            if self._machine.wants_tick(self._time.now_ns()):
                async with self._turn:
                    await self._threads.run(self._machine.tick, self._time.now_ns())

    async def _look(self) -> NoReturn:
        while True:
            await asyncio.sleep(LOOK_S)
            self._machine.refused.clear()
            services = self._services()
            newest = {name: version for name, (version, _) in services.items()}
            missing = {name for name, _ in self._machine.versions} - newest.keys()
            removed = {name for name in missing if await self._record(name) is None}
            heard, self._machine.heard = self._machine.heard, set()
            await self._run(partial(aged, newest=newest, removed=removed, heard=heard, now_ns=self._time.now_ns()))

    # Snapshots

    async def _save(self, last: asyncio.Event) -> None:
        over = False
        while not over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.snapshot):
                    await last.wait()
            over = last.is_set()
            if self._machine.fresh:
                await self._snapshot()

    async def _snapshot(self) -> None:
        async with self._turn:
            captured = await self._threads.run(self._machine.capture)
        for name, directory in captured.directories:
            await _patiently(partial(self._carrier.put, "directories", name, directory))
        await self._saved.commit(captured.state)
        await self._publish(captured.outbox)
        await self._tell(captured)

    async def _publish(self, outbox: Sequence[list[Any]]) -> None:
        """What a snapshot says is published; a repetition has the same id."""
        for start in range(0, len(outbox), AT_ONCE):
            some = outbox[start : start + AT_ONCE]
            calls = [partial(self._carrier.publish, subject, payload, name) for subject, name, payload in some]
            await asyncio.gather(*map(_patiently, calls))

    async def _tell(self, captured: Captured) -> None:
        """Gateways may let go what is in the snapshot, and the stream, too."""
        with contextlib.suppress(CarrierError):  # who hears nothing sends again
            for subject, payload in receipts(captured.done, "/"):
                await self._carrier.tell(subject, payload)
            await self._carrier.purge(f"up/{self._name}/**", captured.seq)

    def status(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        machine = self._machine
        return {
            "seq": machine.seq,
            "snapshot": self._saved.number,
            "snapshot_bytes": self._saved.bytes,
            "points": len(machine.directory),
            "services": sorted(f"{name}@{version}" for name, version in machine.versions),
            **machine.counts,
        }


def _pieces(messages: Sequence[Message]) -> Iterator[list[Message]]:
    piece: list[Message] = []
    size = 0
    for message in messages:
        piece.append(message)
        size += len(message.payload)
        if size >= MOST_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


async def _patiently(call: Callable[[], Awaitable[R]]) -> R:
    """The result of a call to the carrier, however long that is away."""
    while True:
        try:
            return await call()
        except CarrierError as error:
            log.debug("the carrier: %s", error)
            await asyncio.sleep(RETRY_S)
