"""A receiver at work: connects, takes, writes in a thread, acknowledges, until it is told to stop or nothing comes."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from adapters.frame.config import FrameConfig
from adapters.frame.receipts import receipts
from adapters.frame.source import Message, Source, source_of
from adapters.frame.topics import base_of
from gateway.errors import LinkError
from gateway.receive.receiver import Receiver, Settled
from gateway.receive.state import ReceiverState
from gateway.supervisor import STEADY_S, pause_s
from gateway.tasks import in_thread

log = logging.getLogger(__name__)

TICK_S: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How to receive."""

    client_id: str
    kept: bool
    """Whether the broker keeps messages while we are away."""
    receipts: bool
    for_s: float | None
    idle_s: float | None
    """End when nothing came for so long."""
    settle_s: float
    """What is missing for longer than this is a gap."""


class Receiving:
    """One run of ``onpath receive``."""

    def __init__(self, config: FrameConfig, wishes: Wishes, state: ReceiverState, receiver: Receiver) -> None:
        self._config = config
        self._wishes = wishes
        self._state = state
        self._receiver = receiver
        self._end = asyncio.Event()
        self._heard = time.monotonic()
        self._began: float | None = None
        self._ended = 0.0
        self._told: set[tuple[Any, ...]] = set()
        self.reasons: Counter[str] = Counter()
        self.links = 0
        """Connections made."""

    async def run(self) -> None:
        """Until it ends. What was taken is durable and acknowledged then.

        Raises:
            OnpathError: the output cannot be written.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end.set)
        working = asyncio.create_task(self._work(), name="receive")
        ending = asyncio.create_task(self._until_end(), name="end")
        try:
            await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, ending):
                task.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        if not working.cancelled() and (error := working.exception()) is not None:
            raise error

    async def _until_end(self) -> None:
        wishes = self._wishes
        end = time.monotonic() + wishes.for_s if wishes.for_s is not None else None
        while not self._end.is_set():
            now = time.monotonic()
            if end is not None and now >= end:
                return
            if wishes.idle_s is not None and self.links and now - self._heard >= wishes.idle_s:
                return
            try:
                async with asyncio.timeout(TICK_S):
                    await self._end.wait()
            except TimeoutError:
                continue

    async def _work(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._connected()
            except (LinkError, OSError, EOFError) as error:
                log.warning("%s", error)
            failures = 1 if time.monotonic() - began > STEADY_S else failures + 1
            await asyncio.sleep(pause_s(failures))

    async def _connected(self) -> None:
        async with self._source() as source:
            keeping = asyncio.create_task(source.keep(), name="keep")
            try:
                await self._pump(source, keeping)
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    @asynccontextmanager
    async def _source(self) -> AsyncIterator[Source]:
        wishes = self._wishes
        source = source_of(self._config, wishes.client_id, time.time_ns, self.reasons, kept=wishes.kept)
        kept_as = f"{wishes.client_id} at {self._config.url}"
        had = msgspec.json.decode(self._state.fact("filters") or "[]", type=list[str])
        try:
            said = await source.open(had[1:] if had[:1] == [kept_as] else [])
            self._state.commit(
                self._receiver.ledger, (), (), [("filters", msgspec.json.encode([kept_as, *source.filters]).decode())]
            )
            log.info("connected to %s: %s", self._config.url, said)
            self.links += 1
            self._heard = time.monotonic()
            yield source
        finally:
            await source.close()

    async def _pump(self, source: Source, keeping: asyncio.Task[Any]) -> None:
        try:
            while True:
                messages = await self._some(source)
                if keeping.done():
                    keeping.result()
                now = time.monotonic()
                if messages:
                    self._heard = now
                    self._began = self._began or now
                settled = await in_thread(self._step, messages, source.dot, now)
                if messages:
                    self._heard = time.monotonic()  # while we worked nobody could be heard
                await self._tell(source, settled)
                await self._ask(source, now)
        finally:
            # At the end all that was taken is written and told, whatever the output had it wait for
            await self._tell(source, await in_thread(self._receiver.commit))

    @staticmethod
    async def _some(source: Source) -> list[Message]:
        try:
            async with asyncio.timeout(TICK_S):
                return await source.take()
        except TimeoutError:
            return []

    def _step(self, messages: list[Message], dot: str, now: float) -> Settled:
        """In a thread."""
        self._receiver.take(messages, dot, now)
        if self._receiver.due(now - self._heard):
            return self._receiver.commit()
        return Settled()

    async def _tell(self, source: Source, settled: Settled) -> None:
        await source.acknowledge(settled.messages)
        if settled.messages:
            self._ended = time.monotonic()
        if self._wishes.receipts:
            for topic, payload in receipts(settled.done, source.dot):
                await source.publish(topic, payload)
        for problem in self._receiver.problems:
            log.warning("%s", problem)
        self._receiver.problems.clear()

    async def _ask(self, source: Source, now: float) -> None:
        """Ask for directories that should have come, and say what is missing."""
        for topic, name in list(self._receiver.waiting.ask(now)):
            payload = await source.directory(base_of(topic, source.dot), name)
            if payload is not None:
                await in_thread(self._receiver.take, [Message(topic, payload)], source.dot, now)
        for hole in self._receiver.holes(now - self._wishes.settle_s):
            if hole[:5] not in self._told and len(self._told) < 1000:
                self._told.add(hole[:5])
                log.warning(
                    "gap: %s/%d/%d of %s is missing, which %d names",
                    hole.gateway, hole.epoch, hole.missing, hole.pipeline, hole.known_by,
                )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        """All counts; what is missing for less than ``settle`` may still be on its way and is no gap."""
        idle = self._wishes.idle_s
        settle = self._wishes.settle_s if idle is None else min(idle, self._wishes.settle_s)
        gaps = self._receiver.holes(time.monotonic() - settle)
        found = self._receiver.summary(gaps)
        found["rejected"] |= dict(self.reasons)
        found["seconds"] = round(self._ended - self._began, 3) if self._began and self._ended else 0.0
        return found
